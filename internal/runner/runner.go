// Package runner runs the operations that the server runs by itself: local
// programs and simulations, as their declarations say.
//
// # Programs
//
// A program is started once for each attempt, in a process group of its own and,
// unless it declares another, in a new directory that is removed afterwards. It
// gets
//
//   - on standard input one line of JSON, {"task":{…},"params":{…}};
//   - on file descriptor 3 the secrets as one JSON object, {} if there are none:
//     never among its arguments or in its environment, which others can see;
//   - an environment of PATH, HOME and TMPDIR (the new directory), LANG, and
//     ERRAND_TASK_ID, ERRAND_ATTEMPT, ERRAND_PROJECT_ID, ERRAND_INSTANCE_ID,
//     ERRAND_ENGINE, ERRAND_OPERATION and ERRAND_WORKDIR. Nothing of the server's
//     own environment but PATH reaches it.
//
// Lines on its standard output that are JSON objects with one of these members
// are messages; all other lines, and standard error, are the task's log:
//
//	{"steps":["copy","switch"]}              the steps that are to come
//	{"step":"copy"}                          this one begins, the one before has succeeded
//	{"step":{"name":"copy","status":"failed","detail":"disk full","error_code":"E7"}}
//	{"substep":"part 1"}                     a part of the current step begins
//	{"progress":33,"remaining":120}          percent, seconds
//	{"log":"text"}
//	{"result":{…}}                           any JSON value, at most 64 KiB
//	{"error":{"code":"E7","message":"disk full","permanent":true}}
//
// A message has at most 128 KiB. Exit status 0 without an error message is
// success; every other status, a signal and an error message are failures, and
// the last line of standard error is their reason if no message gives one.
//
// A program that is to stop gets SIGTERM, with its whole group, and SIGKILL after
// Options.Grace; one whose lease was lost gets SIGKILL at once. What it returns
// after that does not count. When it has ended, whatever is left of its group is
// killed, and so is every process that has left the group but still carries its
// ERRAND_WORKDIR in its environment.
//
// # When the server ends
//
// A server that stops in order gives its programs time (see worker.Pool), stops
// them as above and reports the attempts as failed. When the server is killed or
// crashes, the kernel kills every program with it; processes that a program has
// started itself may live on until the next start, which kills them before it
// claims anything. Nothing was reported, so the lease of the task expires, and
// the operation's declaration decides: fail with an unknown outcome, or retry.
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/worker"
)

// Options are what does not depend on an operation. Zero members stand for their
// defaults.
type Options struct {
	Name string // of the workers, for people; "local"
	// Dir is where attempts get their directories. It belongs to one process at
	// a time: what it finds there was left behind. Must be set.
	Dir         string
	Size        int           // tasks of one engine at a time; 4
	Grace       time.Duration // between SIGTERM and SIGKILL; 5 s
	StopTimeout time.Duration // see worker.Pool
	Log         *slog.Logger

	// Wait passes the time of simulations; sleeping if nil.
	Wait func(context.Context, time.Duration) error
}

// Runner runs the operations of a catalog that have a local runner.
type Runner struct {
	runs  *tasks.Runs
	opt   Options
	muxes map[errand.Engine]*worker.Mux
}

// New returns a Runner of those entries that a program or a simulation runs. It
// kills and removes what an earlier process has left behind in o.Dir.
func New(runs *tasks.Runs, entries []catalog.Entry, o Options) (*Runner, error) {
	o.Name = cmp.Or(o.Name, "local")
	o.Grace = cmp.Or(o.Grace, 5*time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Wait == nil {
		o.Wait = sleep
	}
	if o.Dir == "" {
		return nil, errors.New("runner: no directory for attempts")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := tidy(o.Dir, o.Log); err != nil {
		return nil, err
	}
	r := &Runner{runs: runs, opt: o, muxes: map[errand.Engine]*worker.Mux{}}
	for _, e := range entries {
		h := r.Handler(e)
		if h == nil {
			continue
		}
		if r.muxes[e.Engine] == nil {
			r.muxes[e.Engine] = &worker.Mux{}
		}
		r.muxes[e.Engine].Handle(e.Name, h)
	}
	return r, nil
}

// Handler returns what runs an entry, or nil if that is left to other workers.
func (r *Runner) Handler(e catalog.Entry) worker.Handler {
	switch {
	case e.Program != nil:
		p := &program{Program: *e.Program, opt: r.opt}
		return p.run
	case e.Simulation != nil:
		s := &simulation{Simulation: *e.Simulation, wait: r.opt.Wait}
		return s.run
	}
	return nil
}

// Run works until ctx is done, and returns when everything has ended. It has a
// pool for each engine, because one name may be a program on one engine and left
// to other workers on another.
func (r *Runner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for engine, mux := range r.muxes {
		p := &worker.Pool{
			Source: Local(r.runs), Mux: mux, Name: fmt.Sprintf("%s/%s", r.opt.Name, engine), Engines: []errand.Engine{engine},
			Size: r.opt.Size, Log: r.opt.Log, StopTimeout: r.opt.StopTimeout, Grace: r.opt.Grace + 3*time.Second,
		}
		wg.Go(func() {
			if err := p.Run(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// Operations returns the names of what is run here for an engine, sorted.
func (r *Runner) Operations(e errand.Engine) []string {
	if m := r.muxes[e]; m != nil {
		return m.Operations()
	}
	return nil
}

// workdirs is how the directories of attempts are named.
const workdirs = "attempt-"

// tidy kills and removes what attempts of an earlier process have left.
func tidy(dir string, log *slog.Logger) error {
	all, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range all {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), workdirs) {
			continue
		}
		left := filepath.Join(dir, e.Name())
		n := killMarked(left)
		log.Warn("an attempt of an earlier process was left behind", "dir", left, "processes_killed", n)
		if err := os.RemoveAll(left); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
