package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/errandhq/errand"
)

// completionPatience is how long a completion may ask a server: somebody waits
// with a finger on the key.
const completionPatience = 2 * time.Second

// completionTasks is how many tasks a completion offers.
const completionTasks = 50

// words returns what may be completed. Errors are not shown: there is no place for
// them on a line that is being written.
type words func(ctx context.Context, s *session) ([]string, error)

// complete makes a completion that asks the server.
func (a *app) complete(of words) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
		const no = cobra.ShellCompDirectiveNoFileComp
		s, err := a.connect(cmd)
		if err != nil {
			return nil, no
		}
		parent := cmd.Context()
		if parent == nil {
			parent = context.Background()
		}
		ctx, cancel := context.WithTimeout(parent, completionPatience)
		defer cancel()
		all, err := of(ctx, s)
		if err != nil {
			return nil, no
		}
		var fitting []string
		for _, w := range all {
			// What would end the word, or the line, is left to be typed.
			if strings.HasPrefix(w, begin) && oneLine(w) == w && !strings.Contains(w, " ") {
				fitting = append(fitting, w)
			}
		}
		return fitting, no
	}
}

// completeFirst is complete for the first argument.
func (a *app) completeFirst(of words) cobra.CompletionFunc {
	ask := a.complete(of)
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return ask(cmd, args, begin)
	}
}

func (a *app) completeInstance(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("instance", a.complete(a.instanceWords))
}

func (a *app) completeUser(cmd *cobra.Command) {
	_ = cmd.RegisterFlagCompletionFunc("user", a.complete(a.userWords))
}

func completeStatus(cmd *cobra.Command) {
	var words []string
	for _, s := range errand.Statuses() {
		words = append(words, string(s))
	}
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func completeEngine(cmd *cobra.Command) {
	var engines []string
	for _, e := range errand.Engines() {
		engines = append(engines, string(e))
	}
	_ = cmd.RegisterFlagCompletionFunc("engine", cobra.FixedCompletions(engines, cobra.ShellCompDirectiveNoFileComp))
}

func (a *app) instanceWords(ctx context.Context, s *session) ([]string, error) {
	project, err := s.project(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	err = s.everyInstance(ctx, project, func(i errand.Instance) bool {
		names = append(names, i.Name)
		return len(names) < pageSize
	})
	return names, err
}

func (a *app) operationWords(ctx context.Context, s *session) ([]string, error) {
	return s.operationNames(ctx, "")
}

func (a *app) userWords(ctx context.Context, s *session) ([]string, error) { return s.userNames(ctx) }

// taskWords returns the newest tasks, each with what it is.
func (a *app) taskWords(ctx context.Context, s *session) ([]string, error) {
	project, err := s.project(ctx)
	if err != nil {
		return nil, err
	}
	page, err := s.Tasks(ctx, errand.Filter{Project: project, Limit: completionTasks})
	var ids []string
	for _, t := range page.Tasks {
		ids = append(ids, t.ID)
	}
	return ids, err
}

func (a *app) completionCmd() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{Use: "completion bash|zsh|fish|powershell", Short: "Print a script that completes commands in a shell",
		Long: `Print a script that completes commands, flags, and names that are on the server in
a shell: instances, operations, tasks, users. The server is asked for at most two
seconds; without one, commands and flags are completed all the same.`,
		Example: `  source <(errand completion bash)                                  # in this shell
  errand completion bash > /etc/bash_completion.d/errand            # in every bash
  errand completion zsh > "${fpath[1]}/_errand"
  errand completion fish > ~/.config/fish/completions/errand.fish`,
		Args: cobra.ExactArgs(1), ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.stdout, true)
			case "zsh":
				return root.GenZshCompletion(a.stdout)
			case "fish":
				return root.GenFishCompletion(a.stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.stdout)
			}
			return usage("%.32q is no shell that is known; it must be one of %s%s", args[0], strings.Join(shells, ", "), didYouMean(args[0], shells))
		}}
}

// unknown refuses an argument where a command is expected.
func unknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	return fmt.Errorf("unknown command %.64q for %q%s", args[0], cmd.CommandPath(), didYouMean(args[0], names))
}

// flagError adds to an error about a flag that is not there which may be meant.
func flagError(cmd *cobra.Command, err error) error {
	e, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, "--"+f.Name) })
	return fmt.Errorf("%w%s", err, didYouMean("--"+e.GetSpecifiedName(), names))
}
