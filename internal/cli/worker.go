package cli

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/config"
	"github.com/errandhq/errand/internal/runner"
	"github.com/errandhq/errand/worker"
)

func (a *app) workerCmd() *cobra.Command {
	var name string
	cmd := &cobra.Command{Use: "worker", Short: "Run tasks of a server in this process, on any machine",
		Long: `Run tasks of a server in this process, which may be on another machine: those of
the operations that the files in --operations declare with a program or a
simulation. The server may declare the same operations for workers, or with
another runner; it is asked for work over its API, with role worker or above.

SIGINT and SIGTERM let what is running go on for --drain-timeout, then stop it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd)
			if err != nil {
				return err
			}
			return s.explain(a.work(cmd.Context(), s, name))
		}}
	cmd.Flags().StringVar(&name, "name", "", "`NAME` of this worker, for people (default host:pid)")
	config.AddFlags(cmd.Flags(), append(clientFlags(), "operations", "runners", "work-dir", "drain-timeout", "log-format", "log-level")...)
	cmd.AddCommand(a.workerList())
	return cmd
}

// work runs what the settings declare until ctx is done.
func (a *app) work(ctx context.Context, s *session, name string) error {
	c := s.conf
	if c.Operations == "" {
		return usage("a worker needs --operations DIR: the files that declare what it runs, and how")
	}
	if c.Runners == 0 {
		return usage("a worker with --runners 0 runs nothing")
	}
	all, err := loadOperations(c.Operations)
	if err != nil {
		return err
	}
	local := localEntries(all)
	if len(local) == 0 {
		return usage("no operation in %s has a program or a simulation for a runner; there is nothing to work on", c.Operations)
	}
	project, err := s.project(ctx)
	if err != nil {
		return err
	}
	dir, err := lockWorkDir(c.WorkDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	host, _ := os.Hostname()
	name = cmp.Or(name, fmt.Sprintf("%s:%d", cmp.Or(host, "worker"), os.Getpid()))
	pools, err := newPools(s, project, name, local, newLog(c, a.stderr))
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "worker %s runs %d operations of %s\nready\n", name, len(local), c.Server)
	return together(ctx, pools)
}

// newPools returns a pool for each engine, because one name may be run here on
// one engine and left to others on another.
func newPools(s *session, project, name string, entries []catalog.Entry, log *slog.Logger) ([]func(context.Context) error, error) {
	o := runnerOptions(s.conf, name, log)
	r, err := runner.New(nil, entries, o) // which claims nothing: the pools here do
	if err != nil {
		return nil, err
	}
	muxes := map[errand.Engine]*worker.Mux{}
	for _, e := range entries {
		if muxes[e.Engine] == nil {
			muxes[e.Engine] = &worker.Mux{}
		}
		muxes[e.Engine].Handle(e.Name, r.Handler(e))
	}
	var pools []func(context.Context) error
	for engine, mux := range muxes {
		p := &worker.Pool{
			Source: s.Source(project), Mux: mux, Name: name + "/" + string(engine), Engines: []errand.Engine{engine},
			Size: o.Size, Log: log, StopTimeout: o.StopTimeout,
		}
		pools = append(pools, p.Run)
	}
	return pools, nil
}

// shownOperations is how many operations of a worker a table names.
const shownOperations = 3

func (a *app) workerList() *cobra.Command {
	cmd := a.clientCmd("list", "List the workers that have asked for work within a day", cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error {
		project, err := s.project(ctx)
		if err != nil {
			return err
		}
		all, err := s.Workers(ctx, project)
		if err != nil {
			return err
		}
		t := newTable(column{"NAME", isKey | isFree}, column{"OPERATIONS", isFree}, column{"ENGINES", isFree}, column{"SINCE", isSpare}, column{"SEEN", 0})
		for _, w := range all {
			t.add(w.Name, a.someOf(w.Operations), enginesOf(w.Engines), stamp(w.Since), stamp(w.Seen))
		}
		return a.print(append([]client.Worker{}, all...), t)
	})
	a.tableFlag(cmd)
	return cmd
}

func (a *app) someOf(names []string) string {
	if more := len(names) - shownOperations; more > 0 && a.output != formWide {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:shownOperations], ","), more)
	}
	return strings.Join(names, ",")
}

func enginesOf(engines []errand.Engine) string {
	if len(engines) == 0 {
		return "all"
	}
	var names []string
	for _, e := range engines {
		names = append(names, string(e))
	}
	return strings.Join(names, ",")
}
