package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/config"
	"github.com/errandhq/errand/internal/runner"
	"github.com/errandhq/errand/internal/tasks"
)

// buildRuns adds to a node the rules of tasks that run.
func (n *node) buildRuns(c *config.Config, sealer *auth.Sealer) error {
	var err error
	if n.catalog, err = loadOperations(c.Operations); err != nil {
		return err
	}
	n.runs = tasks.NewRuns(n.tasks, n.store, n.catalog, sealer, tasks.RunOptions{
		Lease: time.Duration(c.Lease), CancelGrace: time.Duration(c.CancelGrace),
	})
	return nil
}

// join makes a node one of those that share its store.
func (n *node) join(c *config.Config, shared tasks.Cluster, clock *tasks.Clock) {
	self := tasks.Node{ID: errand.NewID(n.now()), Name: n.name(c), Version: Version()}
	n.member = n.runs.Join(shared, clock, self, n.dir.Forget, n.log)
	memberGauges(n.srv.Registry(), n.member)
}

// name is what a node is called among others: where nothing is set, its machine
// and the port that it listens on.
func (n *node) name(c *config.Config) string {
	if c.Node != "" {
		return c.Node
	}
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	u, err := url.Parse(n.urls[0])
	if err != nil {
		return host
	}
	return host + ":" + u.Port()
}

// buildRunner adds to a node the programs and simulations that it runs by
// itself.
func (n *node) buildRunner(c *config.Config) error {
	local := localEntries(n.catalog)
	if len(local) == 0 {
		return nil
	}
	if c.Runners == 0 {
		n.log.Info("operations with a local runner are declared and none is run here: runners is 0", "operations", len(local))
		return nil
	}
	var err error
	if n.workDir, err = lockWorkDir(c.WorkDir); err != nil {
		return err
	}
	name := "" // the runner's own word for here
	if n.member != nil {
		name = n.name(c)
	}
	n.runner, err = runner.New(n.runs, local, runnerOptions(c, name, n.log))
	return err
}

// loadOperations reads the catalog. What is wrong with it is a matter of who
// wrote the files.
func loadOperations(dir string) (*catalog.Catalog, error) {
	all, err := catalog.Load(dir)
	if problems, ok := errors.AsType[catalog.Problems](err); ok {
		return nil, usage("operations that cannot be used (`errand check %s` lists all):\n%w", dir, problems)
	}
	return all, err
}

// localEntries returns the entries that a program or a simulation runs.
func localEntries(all *catalog.Catalog) []catalog.Entry {
	var local []catalog.Entry
	for _, e := range all.Entries() {
		if e.Program != nil || e.Simulation != nil {
			local = append(local, e)
		}
	}
	return local
}

func runnerOptions(c *config.Config, name string, log *slog.Logger) runner.Options {
	return runner.Options{
		Name: name, Dir: c.WorkDir, Size: c.Runners, Log: log,
		StopTimeout: max(time.Millisecond, time.Duration(c.DrainTimeout)), // its zero is its default
	}
}

// lockWorkDir makes a directory for attempts and keeps other processes out of it:
// they would take what runs there for left behind, and kill it.
func lockWorkDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("work directory: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("work directory: %w", err)
	}
	if err := lockFile(d); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("work directory %s is in use by another process; give each its own with --work-dir (%w)", dir, err)
	}
	return d, nil
}

// run works until ctx is done or a part of the node fails, waits for all parts to
// stop, and then closes everything.
func (n *node) run(ctx context.Context) error {
	if n.member != nil { // so that the sweeper knows the workers of other nodes
		_ = n.member.Meet(ctx) // which has said so
	}
	parts := []func(context.Context) error{n.srv.Run, n.watchHangups, func(ctx context.Context) error { return n.runs.Run(ctx, n.log) }}
	parts = append(parts, func(ctx context.Context) error { return n.history.Run(ctx, n.log) })
	if n.runner != nil {
		parts = append(parts, n.runner.Run)
	}
	if n.member != nil {
		parts = append(parts, n.member.Run)
	}
	return errors.Join(together(ctx, parts), n.closeStore())
}

// together runs every part until ctx is done or one of them ends, and waits for
// all of them.
func together(ctx context.Context, parts []func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(parts))
	var running sync.WaitGroup
	for i, part := range parts {
		running.Go(func() {
			defer cancel()
			errs[i] = part(ctx)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

func (n *node) watchHangups(ctx context.Context) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-hangups:
			n.reload()
		case <-ctx.Done():
			return nil
		}
	}
}

// closeStore closes what the parts of a node share.
func (n *node) closeStore() error {
	if n.workDir != nil {
		_ = n.workDir.Close() // which lets others in
	}
	return n.store.Close()
}
