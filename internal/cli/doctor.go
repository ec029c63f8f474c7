package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand/internal/config"
	"github.com/errandhq/errand/internal/postgres"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/upkeep"
)

func (a *app) doctorCmd() *cobra.Command {
	var o upkeep.CheckOptions
	cmd := &cobra.Command{Use: "doctor", Short: "Check a database, and mend what is safe to mend",
		Long: `Open the database itself and look for everything that may be wrong with it: its
schema and settings, clocks, counts that differ from their rows, what has lost its
task, lanes that are stuck, and more. With SQLite the server has to be stopped;
with PostgreSQL nodes may be running.

Each check prints a line. With --fix, what is safe to mend is mended, in short
transactions beside those of the nodes; the status of a task is never changed. The
exit code is 1 if errors remain. Where the schema or the user's rights stop the
checks, the last line says after which.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.load(cmd)
			if err != nil {
				return err
			}
			return a.doctor(cmd.Context(), c, o)
		}}
	config.AddFlags(cmd.Flags(), "db")
	cmd.Flags().BoolVar(&o.Fix, "fix", false, "mend what is safe to mend")
	cmd.Flags().BoolVar(&o.Full, "full", false, "SQLite: check every page and index of the file, which takes longer")
	a.outputFlag(cmd)
	return cmd
}

// patient is what a store gives to be checked.
type patient interface {
	upkeep.Patient
	Close() error
}

func openPatient(ctx context.Context, c *config.Config) (patient, error) {
	if c.Postgres() {
		return postgres.OpenPatient(ctx, c.DB)
	}
	return sqlite.OpenPatient(c.SQLitePath())
}

func (a *app) doctor(ctx context.Context, c *config.Config, o upkeep.CheckOptions) (err error) {
	p, err := openPatient(ctx, c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	meter := &meter{w: a.stderr, on: isTerminal(a.stderr)}
	o.Progress = meter.say
	r, err := upkeep.Check(ctx, p, o)
	meter.end()
	if len(r.Findings) > 0 {
		err = errors.Join(a.examined(r), err)
	}
	rest := ""
	if r.Stopped != "" {
		rest = fmt.Sprintf("nothing after %s was checked", r.Stopped)
	}
	switch {
	case err != nil:
		return err
	case r.Errors() == 0:
		if rest != "" {
			fmt.Fprintf(a.stderr, "errand: %s\n", rest)
		}
		return nil
	case rest != "":
		return fmt.Errorf("%d checks found errors that remain; %s", r.Errors(), rest)
	}
	return fmt.Errorf("%d checks found errors that remain", r.Errors())
}

// examined prints what was found.
func (a *app) examined(r upkeep.Report) error {
	if a.structured() {
		return a.data(r)
	}
	for _, f := range r.Findings {
		if _, err := fmt.Fprintln(a.stdout, findingLine(f)); err != nil {
			return err
		}
	}
	return nil
}

// findingLine says all of a finding.
func findingLine(f upkeep.Finding) string {
	word := string(f.Severity)
	if f.Mended > 0 && f.Severity == upkeep.OK {
		word = "fixed"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-5s  %-21s  %d %s", word, f.Check, f.Count+f.Mended, f.What)
	if f.Example != "" {
		fmt.Fprintf(&b, ", such as: %s", plain(f.Example))
	}
	switch {
	case f.Act == "":
	case f.Mended > 0 && f.Count > 0:
		fmt.Fprintf(&b, "; %d were mended, %d are left", f.Mended, f.Count)
	case f.Mended > 0:
		fmt.Fprintf(&b, "; mended: %s", f.Act)
	case f.Fixable:
		fmt.Fprintf(&b, "; --fix %s", f.Act)
	default:
		fmt.Fprintf(&b, "; %s", f.Act)
	}
	return b.String()
}
