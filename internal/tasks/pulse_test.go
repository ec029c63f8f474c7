package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
)

// counted counts what is asked of a store, and fails when it is told to.
type counted struct {
	storetest.Queue
	mu    sync.Mutex
	calls map[string]int
	fail  error
}

func (c *counted) note(what string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[what]++
	return c.fail
}

// reset forgets the calls so far, and returns them.
func (c *counted) reset() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	calls := c.calls
	c.calls = map[string]int{}
	return calls
}

func (c *counted) failWith(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

func (c *counted) Feed(ctx context.Context, project string, after int64, limit int) ([]errand.Event, error) {
	if err := c.note("feed"); err != nil {
		return nil, err
	}
	return c.Queue.Feed(ctx, project, after, limit)
}

func (c *counted) Unfinished(ctx context.Context, project, instance string, limit int) ([]*errand.Task, int, int, error) {
	if err := c.note("unfinished"); err != nil {
		return nil, 0, 0, err
	}
	return c.Queue.Unfinished(ctx, project, instance, limit)
}

// memoryWorld is a world over a store in memory that counts what it is asked.
func memoryWorld(t *testing.T) (*world, *counted) {
	c := &counted{Queue: storetest.Memory(), calls: map[string]int{}}
	w := &world{t: t, now: now.Truncate(time.Second)}
	w.svc = tasks.New(c, func() time.Time { return w.now })
	w.Runs = runsOver(t, w.svc, c)
	for n, id := range []string{kafkaID, redisID} {
		i := errand.Instance{Project: project, ID: id, Name: id, Engine: []errand.Engine{errand.Kafka, errand.Redis}[n]}
		if _, err := w.svc.Register(t.Context(), as(errand.Admin), i); err != nil {
			t.Fatal(err)
		}
	}
	return w, c
}

func runsOver(t testing.TB, svc *tasks.Service, q tasks.Queue) *tasks.Runs {
	sealer, err := auth.NewSealer(make([]byte, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return tasks.NewRuns(svc, q, operations, sealer, tasks.RunOptions{})
}

// TestMarkIsShared has many look at once: the store is asked once after a change,
// and not at all without one.
func TestMarkIsShared(t *testing.T) {
	t.Parallel()
	w, c := memoryWorld(t)
	for range 20 {
		w.submit(kafkaID, tasks.Submission{Operation: "check"})
	}
	look := func(overviews bool) {
		var wg sync.WaitGroup
		for n := range 100 {
			wg.Go(func() {
				if _, err := w.Mark(t.Context(), as(errand.Viewer), project, []string{"", kafkaID}[n%2], ""); err != nil {
					t.Error(err)
				}
				if overviews && n%10 == 0 {
					if _, err := w.Overview(t.Context(), as(errand.Viewer), project); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	look(true)
	c.reset()
	look(true)
	if got := c.reset(); len(got) > 0 {
		t.Errorf("without a change the store was asked %v", got)
	}
	w.now = w.now.Add(time.Second)
	w.submit(kafkaID, tasks.Submission{Operation: "check"})
	look(true)
	if got := c.reset(); got["feed"] != 1 || got["unfinished"] != 1 {
		t.Errorf("after a change the store was asked %v", got)
	}
	w.submit(kafkaID, tasks.Submission{Operation: "check"})
	look(false)
	if got := c.reset(); got["feed"] != 1 || got["unfinished"] != 0 {
		t.Errorf("after another one within a second the store was asked %v", got)
	}
	// An overview is never behind the events that it counts, whoever asks first.
	look(true)
	if got := c.reset(); got["feed"] != 0 || got["unfinished"] != 1 {
		t.Errorf("for overviews after that the store was asked %v", got)
	}
}

// TestLateRing wants who was shown what is too fresh to be read again to be woken
// for it.
func TestLateRing(t *testing.T) {
	t.Parallel()
	w, _ := memoryWorld(t)
	w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	g := w.claim("w1", "EXTEND")[0]
	before := w.mark("", "")
	w.beat(g, 50)
	changed := w.Changed()
	if m := w.mark("", ""); m != before {
		t.Fatalf("progress was read again at once: %+v after %+v", m, before)
	}
	<-changed
	w.now = w.now.Add(time.Second)
	if m := w.mark("", ""); m == before {
		t.Error("progress is not seen after the bell has rung once more")
	}
}

func TestMarkFails(t *testing.T) {
	t.Parallel()
	w, c := memoryWorld(t)
	w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	boom := errors.New("boom")
	c.failWith(boom)
	for range 10 {
		if _, err := w.Mark(t.Context(), as(errand.Viewer), project, "", ""); !errors.Is(err, boom) {
			t.Fatalf("Mark = %v", err)
		}
	}
	if got := c.reset(); got["feed"] != 1 {
		t.Errorf("a store that fails was asked %v", got)
	}
	c.failWith(nil)
	w.now = w.now.Add(time.Second)
	w.mark("", "")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	w.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	_, _ = w.Mark(gone, as(errand.Viewer), project, "", "")
	w.mark("", "")
}

// TestColdIsWarm does random things, and wants who begins to look after them to
// see what they see who looked all the time.
func TestColdIsWarm(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, c := memoryWorld(t)
		var held []tasks.Grant
		rt.Repeat(map[string]func(*rapid.T){
			"submit": func(rt *rapid.T) {
				s := tasks.Submission{Operation: rapid.SampledFrom([]string{"EXTEND", "modify", "check"}).Draw(rt, "operation")}
				_, _ = w.Submit(t.Context(), as(errand.Operator), project, rapid.SampledFrom([]string{kafkaID, redisID}).Draw(rt, "instance"), s)
			},
			"claim": func(*rapid.T) { held = append(held, w.claim("w1", "EXTEND", "check")...) },
			"finish": func(rt *rapid.T) {
				if len(held) > 0 {
					_ = w.finish(held[0], errand.Outcome{Status: rapid.SampledFrom([]errand.Status{errand.Succeeded, errand.Failed}).Draw(rt, "as")})
					held = held[1:]
				}
			},
			"cancel": func(rt *rapid.T) {
				if page, _ := w.svc.List(t.Context(), as(errand.Viewer), errand.Filter{Project: project, Limit: 9}); len(page.Tasks) > 0 {
					id := page.Tasks[rapid.IntRange(0, len(page.Tasks)-1).Draw(rt, "task")].ID
					_, _ = w.Cancel(t.Context(), as(errand.Operator), project, id, "")
					if rapid.Bool().Draw(rt, "delete") {
						_ = w.svc.Delete(t.Context(), as(errand.Operator), project, id, tasks.DeleteOptions{})
					}
				}
			},
			"sweep": func(*rapid.T) { w.sweep() },
			"wait": func(rt *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.SampledFrom([]int{1, 10, 1000, 5000, 40_000}).Draw(rt, "seconds")) * time.Second)
			},
			"look": func(rt *rapid.T) { w.sameFromNow(rt, c) },
		})
		w.sameFromNow(rt, c)
	})
}

// sameFromNow compares what w sees with what one sees who begins now.
func (w *world) sameFromNow(rt *rapid.T, c *counted) {
	warm := w.overview()
	svc := tasks.New(c, func() time.Time { return w.now })
	begun := runsOver(w.t, svc, c)
	cold, err := begun.Overview(w.t.Context(), as(errand.Viewer), project)
	if err != nil {
		rt.Fatal(err)
	}
	warm.Stuck, cold.Stuck = nil, nil // who serves what is known to who was there
	if !reflect.DeepEqual(warm, cold) {
		rt.Fatalf("who looked all the time sees\n%+v, who begins\n%+v", warm, cold)
	}
}

// TestPulseReach wants a first look to read a bounded number of events, and to
// say so.
func TestPulseReach(t *testing.T) {
	t.Parallel()
	w, _ := memoryWorld(t)
	x := w.submit(kafkaID, tasks.Submission{Operation: "check"})
	w.now = w.now.Add(time.Hour)
	o := w.overview()
	if o.Hours[22].Submitted != 1 || !o.Since.Equal(w.now.Add(-24*time.Hour)) {
		t.Fatalf("before: %+v since %v", o.Hours[22:], o.Since)
	}
	before := w.mark("", x.ID)
	id := fmt.Sprintf("%032x", 1)
	imported := &errand.Task{ID: id, JobID: id, Project: project, Instance: redisID, Operation: "X", Status: errand.Succeeded, CreatedAt: w.now, UpdatedAt: w.now, Origin: &errand.Origin{Status: "SUCCESS"}}
	batch := slices.Repeat([]*errand.Task{imported}, tasks.PulseReach)
	at := w.now
	if err := w.svc.Store.Put(t.Context(), batch, func(_, x *errand.Task) (*errand.Event, error) {
		return &errand.Event{Project: project, Instance: x.Instance, Task: x.ID, At: at, Act: errand.ActImported, To: x.Status}, nil
	}); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	w.submit(kafkaID, tasks.Submission{Operation: "check"})
	for what, r := range map[string]*tasks.Runs{"cold": runsOver(t, tasks.New(w.svc.Store, func() time.Time { return w.now }), w.svc.Store.(tasks.Queue)), "warm": w.Runs} {
		o, err := r.Overview(t.Context(), as(errand.Viewer), project)
		if err != nil {
			t.Fatal(err)
		}
		if o.Hours[21].Submitted != 0 || o.Hours[23].Submitted != 1 || !o.Since.Equal(at) {
			t.Errorf("%s: %+v since %v, want since %v", what, o.Hours[21:], o.Since, at)
		}
		m, err := r.Mark(t.Context(), as(errand.Viewer), project, "", x.ID)
		if err != nil || m == before {
			t.Errorf("%s: %+v, %v: a task must look changed of which too much has been passed over", what, m, err)
		}
	}
}
