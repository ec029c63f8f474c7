package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand/internal/postgres"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/upkeep"
)

func (a *app) copyCmd() *cobra.Command {
	var from, to string
	var verify, force bool
	cmd := &cobra.Command{Use: "copy --from DATABASE --to DATABASE", Short: "Copy a whole database into an empty one of either kind",
		Long: `Copy every record, id, event and key of one database into another, empty one:
from SQLite to PostgreSQL, back, or to another of the same kind. Stop the servers
of both first. At the end both are read again and their tables compared by
checksums; only then can a server use the target. A copy that was cut off goes on
where it was when the same command is run again. The schema of both is brought up
to date first, as the start of a server would.

A database is written as sqlite:PATH or postgres://USER@HOST/DATABASE. Passwords
can come from PGPASSWORD or a file named by PGPASSFILE. What is sealed in the
database needs the key file of the old server; copy that too.`,
		Example: `  errand copy --from sqlite:errand.db --to postgres://errand@db.example.com/errand
  errand copy --from sqlite:errand.db --to postgres://errand@db.example.com/errand --verify-only`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == to {
				return usage("--from and --to name the same database")
			}
			return a.copy(cmd.Context(), from, to, verify, force)
		}}
	cmd.Flags().StringVar(&from, "from", "", "database that is copied")
	cmd.Flags().StringVar(&to, "to", "", "database that it is copied into")
	cmd.Flags().BoolVar(&verify, "verify-only", false, "compare the two and copy nothing")
	cmd.Flags().BoolVar(&force, "force", false, "copy although nodes use the PostgreSQL database that is copied")
	for _, f := range []string{"from", "to"} {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // there is no such flag
		}
	}
	a.outputFlag(cmd)
	return cmd
}

func (a *app) copy(ctx context.Context, from, to string, verify, force bool) (err error) {
	source, err := openSource(ctx, from, force)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	open := func() (dump, error) { return openTarget(ctx, to) }
	if verify {
		open = func() (dump, error) { return openSource(ctx, to, force) }
	}
	target, err := open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, target.Close()) }()

	meter := &meter{w: a.stderr, on: isTerminal(a.stderr)}
	o := upkeep.Options{Progress: meter.show}
	var r upkeep.Result
	if verify {
		r, err = upkeep.Verify(ctx, source, target, o)
		if err == nil && !r.Equal {
			err = errors.New("the two databases differ")
		}
	} else {
		r, err = upkeep.Copy(ctx, source, target, o)
	}
	meter.end()
	if len(r.Tables) > 0 {
		err = errors.Join(a.copied(r), err)
	}
	if err != nil && ctx.Err() != nil && !verify {
		return fmt.Errorf("interrupted; run the same command again to go on: %w", err)
	}
	return err
}

// dump is what a store gives to be copied or copied into.
type dump interface {
	upkeep.Target
	Close() error
}

func openSource(ctx context.Context, address string, force bool) (dump, error) {
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		return sqlite.DumpSource(path)
	}
	if isPostgres(address) {
		return postgres.DumpSource(ctx, address, force)
	}
	return nil, notADatabase(address)
}

func openTarget(ctx context.Context, address string) (dump, error) {
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		return sqlite.DumpTarget(path)
	}
	if isPostgres(address) {
		return postgres.DumpTarget(ctx, address)
	}
	return nil, notADatabase(address)
}

func isPostgres(address string) bool {
	return strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}

func notADatabase(address string) error {
	const right = "a database is written as sqlite:PATH or postgres://USER@HOST/DATABASE"
	scheme, _, ok := strings.Cut(address, ":") // what follows may hold a password
	if !ok || strings.Contains(scheme, "=") {  // and so may keys and values, as libpq takes them
		return usage("%s", right)
	}
	return usage("%s, not as %.20q", right, scheme)
}

// copied prints what was found of each table.
func (a *app) copied(r upkeep.Result) error {
	if a.structured() {
		return a.data(r)
	}
	out := newTable(column{"TABLE", isKey}, column{"ROWS", 0}, column{"SHA-256", 0})
	for _, t := range r.Tables {
		out.add(t.Table, strconv.FormatInt(t.Rows, 10), t.SHA256)
		if t.Target != nil {
			out.add(t.Table+" differs: the target has", strconv.FormatInt(t.Target.Rows, 10), t.Target.SHA256)
		}
	}
	if err := a.table(out); err != nil {
		return err
	}
	if !r.Equal {
		return nil
	}
	_, err := fmt.Fprintf(a.stdout, "%d rows are the same in %s and %s\n", r.Rows, r.From, r.To)
	return err
}

// meter shows on a terminal how far something is.
type meter struct {
	w    io.Writer
	on   bool
	last time.Time
	n    int // characters shown
}

func (m *meter) show(p upkeep.Progress) {
	if time.Since(m.last) < 200*time.Millisecond {
		return
	}
	m.last = time.Now()
	text := fmt.Sprintf("%s: %d", p.Phase, p.Rows)
	if p.Total > 0 {
		text += fmt.Sprintf(" of %d rows (%d%%)", p.Total, p.Rows*100/p.Total)
	} else {
		text += " rows"
	}
	if s := p.Elapsed.Seconds(); s > 0.5 {
		text += fmt.Sprintf(", %.0f/s", float64(p.Rows)/s)
	}
	m.say(text + ", " + p.Table)
}

// say shows a text in place of the one before.
func (m *meter) say(text string) {
	if m.on {
		fmt.Fprintf(m.w, "\r%-*s", m.n, text)
		m.n = len(text)
	}
}

// end takes away what was shown.
func (m *meter) end() {
	if m.n > 0 {
		fmt.Fprintf(m.w, "\r%*s\r", m.n, "")
	}
}
