// Package cli is the command line, one file for each command. It is the only
// place where the parts of the program are put together.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/config"
)

// version is set by the linker; see the Makefile.
var version string

// The exit codes of every command.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4
	exitUnreachable = 5

	// Of commands that wait for a task.
	exitTaskFailed    = 6
	exitTaskCancelled = 7
)

const exitCodesHelp = `Every command exits with

    0  if it did what it was asked
    1  if it failed for a reason that has no code of its own
    2  if the command line, a setting or the input is wrong
    3  if something it names does not exist
    4  if the server refused: credentials, permission, or a conflict with what is there
    5  if the server could not be reached, or cannot answer now
    6  if the task that it waited for failed
    7  if the task that it waited for was cancelled`

// app is what every command shares: where it reads and writes.
type app struct {
	getenv func(string) string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	output string // of -o
	colour string // of --color
	ran    bool   // a command was found, and its flags and arguments are right
}

// Main runs the command line args and returns the exit code. A first SIGINT or
// SIGTERM asks the command to stop, a second one ends the process.
func Main(args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-signals:
			signal.Stop(signals) // the next one has its usual effect
			cancel()
		case <-ctx.Done():
			signal.Stop(signals)
		}
	}()
	code := run(ctx, args, getenv, stdin, stdout, stderr)
	cancel()
	<-watched
	return code
}

func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !a.ran {
		stop := ";"
		if strings.HasSuffix(err.Error(), "?") {
			stop = ""
		}
		err = usage("%w%s see `%s --help`", err, stop, cmd.CommandPath())
	}
	fmt.Fprintf(stderr, "errand: %s\n", message(err))
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "errand",
		Short: "Background tasks of Kafka, RocketMQ, RabbitMQ and Redis instances",
		Long: `Errand keeps the background tasks of Kafka, RocketMQ, RabbitMQ and Redis instances
and serves them through the REST API of Huawei Cloud DMS and DCS.

Settings come from flags, over environment variables, over the file that --config
names. The commands that ask a server also take them from the profile that "errand
login" makes. "errand config" shows each setting with its source.

` + exitCodesHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          unknown,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	a.colourFlag(root)
	a.addCommands(root)
	root.SetFlagErrorFunc(flagError)
	a.noteRun(root)
	return root
}

// noteRun lets every command below c note that it ran: errors before that are
// of the command line.
func (a *app) noteRun(c *cobra.Command) {
	if do := c.RunE; do != nil {
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.ran = true
			return do(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		a.noteRun(sub)
	}
}

// group returns a command that only holds others.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: unknown,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var names []string
			for _, s := range cmd.Commands() {
				names = append(names, s.Name())
			}
			return usage("%s needs one of: %s", cmd.CommandPath(), strings.Join(names, ", "))
		}}
	c.AddCommand(sub...)
	return c
}

// usageError is an error of the one who wrote the command line or the settings.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// message is what is printed of an error: what a client may see of a classified
// one, with its cause, for the person at the keyboard is the one to know it.
func message(err error) string {
	lines := strings.Split(strings.TrimSpace(plain(err.Error())), "\n")
	for i := range lines {
		lines[i] = cut(lines[i], maxLine)
	}
	return strings.Join(lines, "\n")
}

func exitCode(err error) int {
	if code, ok := codeOf(err); ok {
		return code
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	e, ok := errors.AsType[*errand.Error](err)
	if !ok || interrupted(err) {
		return exitFailure
	}
	switch e.Kind {
	case errand.Invalid:
		return exitUsage
	case errand.NotFound:
		return exitNotFound
	case errand.Unauthenticated, errand.Forbidden, errand.Conflict, errand.LeaseLost:
		return exitRefused
	case errand.Unavailable:
		return exitUnreachable
	case errand.Internal:
		return exitFailure
	}
	return exitFailure
}

// load reads the settings for cmd. Whatever is wrong with them is a matter of usage.
func (a *app) load(cmd *cobra.Command) (*config.Config, error) {
	c, err := config.Load(cmd.Flags(), a.getenv)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// Version returns the version that the program was built as.
func Version() string {
	if version != "" {
		return version
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}

func (a *app) versionCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.structured() {
				return a.data(map[string]string{"version": Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
			}
			_, err := fmt.Fprintf(a.stdout, "errand %s (%s, %s/%s)\n", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}}
	a.outputFlag(cmd)
	return cmd
}
