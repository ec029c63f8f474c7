package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func sweepChecks() []queueCheck {
	return []queueCheck{
		{"sweep looks at what is due, the longest overdue first", sweepOrder},
		{"sweep of one that fails goes on with the others", sweepFails},
		{"sweep without an event saves the task", sweepSilent},
		{"sweep ends attempts and frees lanes", sweepEnds},
		{"sweep crosses projects and forgotten instances", sweepProjects},
	}
}

// due submits task n, to be looked at some time after noon.
func due(t *testing.T, s Queue, n int, after time.Duration) {
	t.Helper()
	x := free(1, n, time.Hour)
	x.Run.Due = noon.Add(after)
	submit(t, s, x)
}

// sweep returns what change was shown, as it was then.
func sweep(t *testing.T, s Queue, now time.Time, limit int, change tasks.Change) (seen []*errand.Task, swept int, next time.Time, err error) {
	t.Helper()
	swept, next, err = s.Sweep(t.Context(), now, limit, func(x *errand.Task) (*errand.Event, error) {
		seen = append(seen, clone(x))
		return change(x)
	})
	return seen, swept, next, err
}

// later moves the due time of a task to an hour past noon.
func later(x *errand.Task) (*errand.Event, error) {
	x.Run.Due = noon.Add(time.Hour)
	return nil, nil
}

func sweepOrder(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	if seen, n, next, err := sweep(t, s, noon, 10, later); n != 0 || len(seen) > 0 || !next.IsZero() || err != nil {
		t.Errorf("a sweep of nothing gives %d, %v, %v", n, next, err)
	}
	due(t, s, 1, 0)
	due(t, s, 2, -time.Second)
	due(t, s, 3, time.Microsecond)
	due(t, s, 5, -time.Minute)
	due(t, s, 4, -time.Minute)
	want := get(t, s, taskID(4))
	for _, c := range []struct {
		now  time.Time
		ns   []int
		next time.Time
	}{
		{noon.Add(-time.Minute - time.Microsecond), nil, noon.Add(-time.Minute)},
		{noon, []int{4, 5}, noon.Add(-time.Second)},
		{noon, []int{2, 1}, noon.Add(time.Microsecond)},
		{noon, nil, noon.Add(time.Microsecond)},
		{noon.Add(time.Microsecond), []int{3}, noon.Add(time.Hour)},
	} {
		seen, n, next, err := sweep(t, s, c.now, 2, later)
		if err != nil {
			t.Fatal(err)
		}
		wantTasks(t, "seen", seen, c.ns...)
		if n != len(c.ns) || !next.Equal(c.next) {
			t.Errorf("swept %d, next %v; want %d, %v", n, next, len(c.ns), c.next)
		}
		if len(seen) > 0 && seen[0].ID == want.ID {
			same(t, "task that change is shown", seen[0], want)
		}
	}
}

func sweepFails(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	for n := range 5 {
		due(t, s, n, time.Duration(n)*time.Second)
	}
	first, second := errors.New("first"), errors.New("second")
	now := noon.Add(time.Minute)
	_, n, next, err := sweep(t, s, now, 10, func(x *errand.Task) (*errand.Event, error) {
		x.Reason = "X"
		switch x.ID {
		case taskID(1):
			x.Run.Due = noon.Add(2 * time.Hour)
			return nil, first
		case taskID(3):
			return nil, second
		}
		return cancelling(now)(x)
	})
	if err != first || n != 3 { //nolint:errorlint // it must be the very error
		t.Errorf("swept %d, %v; want 3 and the first error", n, err)
	}
	if want := noon.Add(time.Second); !next.Equal(want) {
		t.Errorf("next is %v, want %v, of the first that failed", next, want)
	}
	for n := range 5 {
		x := get(t, s, taskID(n))
		if failed := n == 1 || n == 3; failed != (x.Status == errand.Pending) || failed != (len(events(t, s, n)) == 1) || failed && x.Reason != "" {
			t.Errorf("task %d is %s", n, show(x))
		}
	}
}

func sweepSilent(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	due(t, s, 1, 0)
	want := get(t, s, taskID(1))
	_, n, _, err := sweep(t, s, noon, 10, func(x *errand.Task) (*errand.Event, error) {
		x.Run.Stalled = true
		return later(x)
	})
	if n != 1 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
	want.Run.Stalled, want.Run.Due = true, noon.Add(time.Hour)
	same(t, "task", get(t, s, taskID(1)), want)
	if es := events(t, s, 1); len(es) != 1 {
		t.Errorf("events are %+v", es)
	}
}

func sweepEnds(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, full(1, 1), waiting(1, 2, 0))
	wantTaken(t, s, noon, 1)
	expired := noon.Add(10 * time.Second)
	lose := func(x *errand.Task) (*errand.Event, error) {
		if x.Status != errand.Running {
			x.Wait(expired)
			return nil, nil
		}
		return recorded(x, errand.ActLost, errand.Running), x.Lose("silence", expired.Add(time.Minute), expired)
	}
	if _, n, _, err := sweep(t, s, expired, 10, lose); n != 1 || err != nil {
		t.Fatalf("swept %d, %v", n, err)
	}
	x := get(t, s, taskID(1))
	if x.Status != errand.Pending || len(x.Run.Attempts) != 1 || x.Run.Attempts[0].Error != "silence" || x.Run.Lease != (errand.Lease{}) {
		t.Errorf("the lost task is %s", show(x))
	}
	if x.Run.Sealed == nil {
		t.Error("the next attempt would have no secrets")
	}
	wantTaken(t, s, expired, 2)
}

func sweepProjects(t *testing.T, s Queue) {
	there := kafka(1)
	there.Project = otherProject
	register(t, s, kafka(1), kafka(2), there)
	for n, x := range []*errand.Task{waiting(1, 1, 0), waiting(1, 2, 0), waiting(2, 3, 0)} {
		if n == 1 {
			x.Project = otherProject
		}
		submit(t, s, x)
	}
	if err := s.DeleteInstance(t.Context(), project, instanceID(2)); err != nil {
		t.Fatal(err)
	}
	seen, _, next, err := sweep(t, s, noon.Add(time.Hour), 10, func(x *errand.Task) (*errand.Event, error) {
		x.Wait(noon.Add(time.Hour))
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantTasks(t, "seen", seen, 1, 2)
	if want := noon.Add(time.Hour + time.Minute); len(seen) == 2 && (seen[1].Project != otherProject || seen[0].Project != project || !next.Equal(want)) {
		t.Errorf("seen in %s and %s, next %v", seen[0].Project, seen[1].Project, next)
	}
}
