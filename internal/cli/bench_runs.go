package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/worker"
)

// benchWorker begins the name of a bench's worker.
const benchWorker = "errand-bench/"

// benchRuns tells who waits for a task that its attempt has ended.
type benchRuns struct {
	worker.Source
	awaited map[string]bool // instances whose tasks somebody waits for
	foreign atomic.Int64

	mu     sync.Mutex
	tasks  map[string]string        // by token, while they run
	over   map[string]bool          // ended before somebody waited
	waiter map[string]chan struct{} // by task
}

func newBenchRuns(source worker.Source, instances []string) *benchRuns {
	r := &benchRuns{Source: source, awaited: map[string]bool{}, tasks: map[string]string{}, over: map[string]bool{}, waiter: map[string]chan struct{}{}}
	for _, id := range instances {
		r.awaited[id] = true
	}
	return r
}

// work claims and ends tasks until ctx is done.
func (b *bencher) work(ctx context.Context) error {
	ours := map[string]bool{}
	for _, id := range b.made {
		ours[id] = true
	}
	mux := &worker.Mux{}
	mux.Handle(b.operation, func(_ context.Context, j *worker.Job) error {
		if ours[j.Task.Instance] {
			return nil
		}
		b.runs.foreign.Add(1)
		return worker.Permanent(errors.New("a load generator (errand bench) claimed this task, and did nothing"))
	})
	host, _ := os.Hostname()
	pool := &worker.Pool{
		Source: b.runs, Mux: mux, Name: fmt.Sprintf("%s%s:%d", benchWorker, host, os.Getpid()), Engines: []errand.Engine{errand.Engine(b.engine)},
		Size: b.workers, StopTimeout: b.drain,
	}
	return pool.Run(ctx)
}

// Claim implements worker.Source.
func (r *benchRuns) Claim(ctx context.Context, c worker.ClaimRequest) ([]worker.Grant, error) {
	grants, err := r.Source.Claim(ctx, c)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range grants {
		if r.awaited[g.Task.Instance] {
			r.tasks[g.Token] = g.Task.ID
		}
	}
	return grants, err
}

// Finish implements worker.Source.
func (r *benchRuns) Finish(ctx context.Context, token string, o errand.Outcome, log []byte) error {
	err := r.Source.Finish(ctx, token, o, log)
	r.mu.Lock()
	defer r.mu.Unlock()
	id, awaited := r.tasks[token]
	if !awaited || err != nil {
		return err // the pool says it again, or the server ends the attempt
	}
	delete(r.tasks, token)
	if ch := r.waiter[id]; ch != nil {
		close(ch)
	} else {
		r.over[id] = true
	}
	return nil
}

// await waits until a task has ended, for limit at the most.
func (r *benchRuns) await(ctx context.Context, id string, limit time.Duration) error {
	r.mu.Lock()
	if r.over[id] {
		delete(r.over, id)
		r.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	r.waiter[id] = done
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.waiter, id)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return errand.Errorf(errand.Unavailable, "task", "task %s has not ended within %s", id, limit)
	case <-ctx.Done():
		return ctx.Err()
	}
}
