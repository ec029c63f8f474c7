package drive

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// submit has clients submit one task after the other. What they do in the first
// fifth of the time is not counted.
func (d *driver) submit(ctx context.Context, clients int, length time.Duration) (Result, error) {
	warm := length / 5
	start := time.Now().Add(warm)
	end := start.Add(length)
	var seq atomic.Int64
	seq.Store(d.seq)
	times := make([][]time.Duration, clients)
	errs := make([]error, clients)
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() {
			for {
				began := time.Now()
				if !began.Before(end) {
					return
				}
				if errs[i] = d.Submit(ctx, seq.Add(1)); errs[i] != nil {
					return
				}
				if !began.Before(start) {
					times[i] = append(times[i], time.Since(began))
				}
			}
		})
	}
	running.Wait()
	d.seq = seq.Load()
	return result(slices.Concat(times...), time.Since(start)), first(errs)
}

// latency submits one task at a time to a system that does nothing else, and
// waits for its end.
func (d *driver) latency(ctx context.Context, workers int, length time.Duration) (Result, error) {
	if err := d.work(workers); err != nil {
		return Result{}, err
	}
	var done, begun []time.Duration
	start := time.Now()
	for warm := true; time.Since(start) < length || len(done) == 0; warm = false {
		time.Sleep(5*time.Millisecond + rand.N(15*time.Millisecond)) // so that it is idle, and not in step with its polling
		d.seq++
		w := d.await(d.seq)
		began := time.Now()
		if err := d.Submit(ctx, d.seq); err != nil {
			return Result{}, err
		}
		select {
		case <-w.done:
		case <-time.After(30 * time.Second):
			return Result{}, fmt.Errorf("a task has not ended within 30 s")
		}
		if !warm {
			done, begun = append(done, w.doneAt.Sub(began)), append(begun, w.begunAt.Sub(began))
		}
	}
	r := result(done, time.Since(start))
	b := result(begun, 0)
	r.BegunP50, r.BegunP99 = b.P50, b.P99
	return r, d.rest()
}

// drain lets n tasks wait, and then has workers run them; after limit those that
// are done count.
func (d *driver) drain(ctx context.Context, n, workers int, limit time.Duration) (Result, error) {
	if err := d.backlog(ctx, n); err != nil {
		return Result{}, err
	}
	all := d.expect(n)
	start := time.Now()
	if err := d.work(workers); err != nil {
		return Result{}, err
	}
	select {
	case <-all:
	case <-time.After(limit):
	}
	r := Result{Count: d.counted(), Seconds: time.Since(start).Seconds()}
	return r, d.rest()
}

func (d *driver) backlog(ctx context.Context, n int) error {
	first := d.seq + 1
	d.seq += int64(n)
	if bulk, ok := d.System.(Bulk); ok {
		return bulk.SubmitMany(ctx, first, n)
	}
	return Each(n, 32, func(i int) error { return d.Submit(ctx, first+int64(i)) })
}

func (d *driver) work(n int) error {
	if d.stop != nil {
		return fmt.Errorf("there are workers already")
	}
	var err error
	d.stop, err = d.Work(n, d.tracker)
	return err
}

func (d *driver) rest() error {
	stop := d.stop
	d.stop = nil
	if stop == nil {
		return nil
	}
	return stop()
}

// list reads one page after the other, at least three of them.
func (d *driver) list(ctx context.Context, c Command, length time.Duration) (Result, error) {
	p, err := d.List(ctx, 0, true) // which also warms it up
	if err != nil {
		return Result{}, err
	}
	offset := 0
	if c.Deep {
		offset = p.Total / 10 * 9
	}
	var times []time.Duration
	start := time.Now()
	for time.Since(start) < length || len(times) < 3 {
		began := time.Now()
		page, err := d.List(ctx, offset, c.Total)
		if err == nil && page.Rows != min(10, p.Total) {
			err = fmt.Errorf("a page has %d rows of %d", page.Rows, p.Total)
		}
		if err != nil {
			return Result{}, err
		}
		times = append(times, time.Since(began))
	}
	r := result(times, time.Since(start))
	r.Total = p.Total
	return r, nil
}

// Each calls do with 0 to n-1, from some goroutines, and returns the first error.
func Each(n, goroutines int, do func(i int) error) error {
	var next atomic.Int64
	errs := make([]error, goroutines)
	var running sync.WaitGroup
	for g := range goroutines {
		running.Go(func() {
			for errs[g] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[g] = do(i)
			}
		})
	}
	running.Wait()
	return first(errs)
}

func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func result(times []time.Duration, took time.Duration) Result {
	slices.Sort(times)
	return Result{Count: len(times), Seconds: took.Seconds(), P50: quantile(times, 0.50), P99: quantile(times, 0.99)}
}

// quantile returns the smallest time within which the share q ended, in ms.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted))+0.9999999) - 1
	return float64(sorted[min(len(sorted)-1, max(0, i))].Nanoseconds()) / 1e6
}

// tracker notes when tasks begin and end.
type tracker struct {
	mu    sync.Mutex
	waits map[int64]*waiter
	left  int           // of those that are expected
	count int           // of those that came
	all   chan struct{} // closed when none is left
}

type waiter struct {
	begunAt, doneAt time.Time
	done            chan struct{}
}

func newTracker() *tracker { return &tracker{waits: map[int64]*waiter{}} }

func (t *tracker) await(seq int64) *waiter {
	w := &waiter{done: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waits[seq] = w
	return w
}

func (t *tracker) expect(n int) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.left, t.count, t.all = n, 0, make(chan struct{})
	return t.all
}

func (t *tracker) counted() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

// Begun implements Events.
func (t *tracker) Begun(seq int64) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.waits[seq]; w != nil && w.begunAt.IsZero() {
		w.begunAt = now
	}
}

// Done implements Events.
func (t *tracker) Done(seq int64) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.waits[seq]; w != nil {
		delete(t.waits, seq)
		w.doneAt = now
		close(w.done)
	}
	if t.left > 0 {
		t.count++
		if t.left--; t.left == 0 {
			close(t.all)
		}
	}
}
