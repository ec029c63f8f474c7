package sqlite

import (
	"fmt"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	storetest.RunHistory(t, func(t *testing.T) storetest.HistoryStore {
		s := openNew(t)
		t.Cleanup(func() { checkCounts(t, s) })
		return s
	})
}

// TestPurgePassesOver puts a thousand records that have not ended before all
// others: a purge passes over each of them once.
func TestPurgePassesOver(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1, 2)
	var batch []*errand.Task
	for n := range 1200 {
		x := testTask(1+n%2, n)
		if n < 1000 {
			x.Status = errand.Running
		}
		batch = append(batch, x)
	}
	put(t, s, batch...)
	for _, dry := range []bool{true, false} {
		p := tasks.Purge{Project: testProject, Before: noon.Add(10000 * time.Minute), Limit: 100, DryRun: dry}
		var sum tasks.Purged
		for calls := 1; ; calls++ {
			done, err := s.Purge(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if sum = sum.Add(done); !done.More {
				break
			}
			if p.After = done.Next; calls > 30 {
				t.Fatalf("%d calls, and still more: %+v", calls, sum)
			}
		}
		if want := (tasks.Purged{Tasks: 200, Events: 200}); sum != want {
			t.Errorf("dry %v: %+v, want %+v", dry, sum, want)
		}
	}
	checkCounts(t, s)
}

// TestPurgeLeavesNoRows looks into every table after everything has been purged.
func TestPurgeLeavesNoRows(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	ctx := t.Context()
	for n := range 3 {
		x := testTask(1, n)
		x.Status = errand.Pending
		x.Run = &errand.Run{Lane: "instance", RunAt: x.CreatedAt, MaxAttempts: 1, Scheduled: true, Sealed: []byte("s")}
		e := &errand.Event{Project: testProject, Instance: x.Instance, Task: x.ID, At: noon, Act: errand.ActSubmitted}
		if _, _, err := s.Submit(ctx, x, tasks.SubmitKey{}, e, func(*errand.Task, int) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AppendLog(ctx, testProject, x.ID, []byte("log"), 100); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Update(ctx, testProject, x.ID, func(x *errand.Task) (*errand.Event, error) {
			x.Status = errand.Cancelled
			return e, nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	done, err := s.Purge(ctx, tasks.Purge{Project: testProject, Before: noon.Add(time.Hour), Limit: 10})
	if want := (tasks.Purged{Tasks: 3, Logs: 3, LogBytes: 9, Events: 6, More: true, Next: done.Next}); err != nil || done != want {
		t.Errorf("%+v, %v, want %+v", done, err, want)
	}
	_ = s.snapshot(ctx, func(c *conn) error {
		for _, table := range []string{"tasks", "live", "secrets", "runs", "scheduled", "task_log", "counts"} {
			if n := c.mustCount(t, `SELECT count(*) FROM `+table); n != 0 {
				t.Errorf("%d rows are left in %s", n, table)
			}
		}
		if n := c.mustCount(t, `SELECT count(*) FROM events`); n != 1 {
			t.Errorf("%d events are left, want one that stands for the last number", n)
		}
		return nil
	})
}

func TestPurgeAfter(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	for _, after := range []string{"x", "t/", "t/1", "q/1/", "t/x/", "t/1/x", "tt/1/", "t/1/" + instanceID(1)} {
		_, err := s.Purge(t.Context(), tasks.Purge{Project: testProject, Before: noon, Limit: 1, After: after})
		if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Invalid || e.Subject != "after" {
			t.Errorf("after %q: %v, want it refused", after, err)
		}
	}
	for _, c := range []cursor{{'t', mark{-5, testTask(1, 1).ID}}, {'l', mark{0, testTask(1, 1).ID}}, {'e', mark{77, ""}}} {
		if got, err := parseCursor(c.String()); err != nil || got != c {
			t.Errorf("%s is read as %+v, %v", c, got, err)
		}
	}
}

// BenchmarkPurge measures a batch of two hundred tasks with four events each, and
// what a writer beside it waits for.
func BenchmarkPurge(b *testing.B) {
	s := openNew(b)
	register(b, s, 1)
	ctx := b.Context()
	fill := func(from, to int) {
		for n := from; n < to; n += 1000 {
			var batch []*errand.Task
			for i := n; i < min(to, n+1000); i++ {
				batch = append(batch, testTask(1, i))
			}
			for round := range 4 {
				err := s.Put(ctx, batch, func(old, x *errand.Task) (*errand.Event, error) {
					x.Reason = fmt.Sprint(round)
					return save(old, x)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	const each = 200
	fill(0, 20_000)
	left, next := 20_000, 20_000
	for b.Loop() {
		if left < each {
			b.StopTimer()
			fill(next, next+20_000)
			left, next = left+20_000, next+20_000
			b.StartTimer()
		}
		done, err := s.Purge(ctx, tasks.Purge{Project: testProject, Before: noon.AddDate(100, 0, 0), Limit: each})
		if err != nil || done.Tasks != each {
			b.Fatalf("%+v, %v", done, err)
		}
		left -= each
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*each), "µs/task")
}

// TestPurgeOfWhatHasChanged changes what was found before it is removed.
func TestPurgeOfWhatHasChanged(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	put(t, s, testTask(1, 1), testTask(1, 2))
	remove := func(n int) {
		t.Helper()
		if err := s.Delete(t.Context(), testProject, testTask(1, n).ID, func(x *errand.Task) (*errand.Event, error) { return save(nil, x) }); err != nil {
			t.Fatal(err)
		}
	}
	p := tasks.Purge{Project: testProject, Before: noon.Add(time.Hour), Limit: 10}
	find := func() (found *past) {
		t.Helper()
		from, _ := parseCursor("")
		if err := s.snapshot(t.Context(), func(c *conn) (err error) { found, err = c.past(p, from); return err }); err != nil || found.empty() {
			t.Fatalf("%+v, %v", found, err)
		}
		return found
	}
	purge := func(found *past) (done tasks.Purged) {
		t.Helper()
		if err := s.w.do(t.Context(), func(tx *tx) error { return tx.purge(found, &done) }); err != nil {
			t.Fatal(err)
		}
		return done
	}
	found := find()
	remove(1)
	again := testTask(1, 2)
	again.Status = errand.Running
	put(t, s, again)
	if done := purge(found); !done.Nothing() {
		t.Errorf("%+v was removed of what has changed", done)
	}
	checkCounts(t, s)
	found = find() // the events of task 1
	if len(found.events) != 2 {
		t.Fatalf("found %+v, want two events", found)
	}
	put(t, s, testTask(1, 1))
	if done := purge(found); !done.Nothing() {
		t.Errorf("%+v was removed though the task is back", done)
	}
}
