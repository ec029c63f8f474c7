package errand_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/runner"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/worker"
)

// BenchmarkRuns measures tasks from submission to their end, with handlers that
// do nothing: on an idle server how long one takes, under load how many there
// are in a second; with workers in the server's process and over HTTP, with one
// lane per instance and without.
func BenchmarkRuns(b *testing.B) {
	h := newBenchServer(b)
	remote, err := client.New(client.Options{Server: "http://" + h.addr, Access: h.access, Secret: h.secret})
	if err != nil {
		b.Fatal(err)
	}
	for _, source := range []struct {
		name string
		worker.Source
	}{
		{"in-process", runner.Local(h.runs)},
		{"http", remote.Source(h.project)},
	} {
		for _, operation := range []string{"inLane", "free"} {
			for _, clients := range []int{1, 16, 64} {
				name := fmt.Sprintf("%s/%s/c=%d", source.name, operation, clients)
				b.Run(name, func(b *testing.B) { h.cycle(b, source, operation, clients) })
			}
		}
	}
}

// ends is a source that tells who waits for a task when it has ended.
type ends struct {
	worker.Source
	mu    sync.Mutex
	tasks map[string]string        // by token
	waits map[string]chan struct{} // by task
	over  map[string]bool
}

func (e *ends) Claim(ctx context.Context, c worker.ClaimRequest) ([]worker.Grant, error) {
	grants, err := e.Source.Claim(ctx, c)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, g := range grants {
		e.tasks[g.Token] = g.Task.ID
	}
	return grants, err
}

func (e *ends) Finish(ctx context.Context, token string, o errand.Outcome, log []byte) error {
	err := e.Source.Finish(ctx, token, o, log)
	e.mu.Lock()
	defer e.mu.Unlock()
	id := e.tasks[token]
	delete(e.tasks, token)
	if c := e.waits[id]; c != nil {
		close(c)
	} else {
		e.over[id] = true
	}
	return err
}

func (e *ends) wait(id string) {
	e.mu.Lock()
	if e.over[id] {
		delete(e.over, id)
		e.mu.Unlock()
		return
	}
	c := make(chan struct{})
	e.waits[id] = c
	e.mu.Unlock()
	<-c
	e.mu.Lock()
	delete(e.waits, id)
	e.mu.Unlock()
}

// cycle submits b.N tasks, each client one after another, and waits for the end
// of each.
func (h *benchServer) cycle(b *testing.B, source worker.Source, operation string, clients int) {
	e := &ends{Source: source, tasks: map[string]string{}, waits: map[string]chan struct{}{}, over: map[string]bool{}}
	mux := &worker.Mux{}
	mux.Handle(operation, func(context.Context, *worker.Job) error { return nil })
	ctx, stop := context.WithCancel(context.Background())
	pool := &worker.Pool{Source: e, Mux: mux, Size: 64}
	done := make(chan error, 1)
	go func() { done <- pool.Run(ctx) }()

	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for i := c; ; i++ {
				n := left.Add(-1)
				if n < 0 {
					return
				}
				begin := time.Now()
				t, err := h.runs.Submit(ctx, h.importPrincipal, h.project, benchInstance(i%benchInstances), tasks.Submission{Operation: operation})
				if err != nil {
					b.Error(err)
					return
				}
				e.wait(t.ID)
				took[n] = time.Since(begin)
				i += clients - 1
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
	report(b, took, "tasks/s")
}

// drain cancels what the benchmark of submissions has left waiting.
func (h *benchServer) drain(b *testing.B) {
	ctx := context.Background()
	for {
		grants, err := h.runs.Claim(ctx, h.importPrincipal, h.project, tasks.ClaimRequest{Worker: "drain", Operations: []string{"inLane"}, Limit: tasks.MaxClaim})
		if err != nil {
			b.Fatal(err)
		}
		if len(grants) == 0 {
			return
		}
		var wg sync.WaitGroup
		for _, g := range grants {
			wg.Go(func() {
				if _, err := h.runs.Finish(ctx, h.importPrincipal, h.project, g.Token, errand.Outcome{Status: errand.Succeeded}, nil); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
}
