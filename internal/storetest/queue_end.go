package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func endChecks() []queueCheck {
	return []queueCheck{
		{"ended task keeps its run without lease and secrets", endKeeps},
		{"deleting an ended task takes its run along and leaves its key", endDelete},
		{"forgetting an instance takes its unfinished tasks along", endForget},
		{"put is shown the run of the task that has the id", endPut},
		{"backlog counts what has not ended", endBacklog},
	}
}

func endKeeps(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, full(1, 1))
	wantTaken(t, s, noon, 1)
	// A change that leaves them behind cannot make the store keep them.
	got := update(t, s, 1, func(x *errand.Task) (*errand.Event, error) {
		lease, sealed := x.Run.Lease, x.Run.Sealed
		e, err := finishing(errand.Succeeded, noon.Add(time.Second))(x)
		x.Run.Lease, x.Run.Sealed = lease, sealed
		return e, err
	})
	wantStored(t, s, got)
	r := get(t, s, taskID(1)).Run
	if r == nil || r.Lease.Token != "" || r.Sealed != nil || len(r.Attempts) != 1 || string(r.Result) != `{"<ok>": 1.0}` || r.RetryOf != taskID(77) {
		t.Errorf("run of the ended task is %s", show(r))
	}
	lane, err := s.Lane(t.Context(), project, instanceID(1), "instance")
	if err != nil || len(lane) > 0 {
		t.Errorf("the lane has %s, %v", show(lane), err)
	}
	if n, next, err := s.Sweep(t.Context(), noon.AddDate(1, 0, 0), 10, cancelling(noon)); n > 0 || !next.IsZero() || err != nil {
		t.Errorf("swept %d, next %v, %v", n, next, err)
	}
}

func endDelete(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	keyed(t, s, 1, "k", "d", noon)
	keyed(t, s, 2, "k2", "d", noon)
	update(t, s, 1, cancelling(noon))
	if err := s.Delete(t.Context(), project, taskID(1), func(x *errand.Task) (*errand.Event, error) {
		if x.Run == nil || x.Run.Cancel == nil {
			t.Errorf("change is shown %s, without its run", show(x))
		}
		return drop(x)
	}); err != nil {
		t.Fatal(err)
	}
	_, err := s.Update(t.Context(), project, taskID(1), cancelling(noon))
	wantError(t, err, errand.NotFound, "task")
	usedUp(t, s, 3, "k")
	put(t, s, task(1, 1, noon))
	if got := get(t, s, taskID(1)); got.Run != nil {
		t.Errorf("another task with the id has the run %s", show(got.Run))
	}
	if earlier, _ := keyed(t, s, 4, "k2", "d", noon); earlier == nil || earlier.ID != taskID(2) {
		t.Errorf("the other key gives %s", show(earlier))
	}
}

func endForget(t *testing.T, s Queue) {
	register(t, s, kafka(1), kafka(2))
	keyed(t, s, 1, "k", "d", noon)
	submit(t, s, waiting(1, 2, 0), planned(1, 3, 0), waiting(2, 4, 0), free(1, 6, time.Second))
	wantTaken(t, s, noon, 1, 4)
	if err := s.DeleteInstance(t.Context(), project, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	got, next := take(t, s, everything(noon))
	if len(got) > 0 || !next.IsZero() {
		t.Errorf("taken %s, next %v: the instance is forgotten", show(got), next)
	}
	wantTaken(t, s, noon.Add(time.Hour))
	_, err := s.Update(t.Context(), project, taskID(1), finishing(errand.Succeeded, noon))
	wantError(t, err, errand.NotFound, "task")
	_, err = s.Renew(t.Context(), project, taskID(1), func(x *errand.Task) error { return nil })
	wantError(t, err, errand.NotFound, "task")
	wantPage(t, scheduled(t, s, errand.Filter{}), 0)
	_, err = s.Lane(t.Context(), project, instanceID(1), "instance")
	wantError(t, err, errand.NotFound, "instance")

	// The same once more: nothing of the first life is in the way.
	register(t, s, kafka(1))
	usedUp(t, s, 5, "k")
	submit(t, s, waiting(1, 1, 0))
	wantTaken(t, s, noon, 1)
}

func endPut(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, full(1, 1), waiting(1, 2, 0))
	update(t, s, 2, cancelling(noon))
	refused := errors.New("it runs here")
	for n := 1; n <= 2; n++ {
		before := get(t, s, taskID(n))
		err := s.Put(t.Context(), []*errand.Task{task(1, n, noon)}, func(old, _ *errand.Task) (*errand.Event, error) {
			same(t, "old task", old, before)
			return nil, refused
		})
		if !errors.Is(err, refused) {
			t.Errorf("Put: %v", err)
		}
		same(t, "task", get(t, s, taskID(n)), before)
	}
	got, _, err := s.Take(t.Context(), tasks.Want{Project: project, Now: noon, Limit: 1}, claiming(noon))
	if err != nil {
		t.Fatal(err)
	}
	wantTasks(t, "taken", got, 1)
}

func endBacklog(t *testing.T, s Queue) {
	register(t, s, kafka(1), kafka(2), kafka(3))
	want := func(now time.Time, b tasks.Backlog) {
		t.Helper()
		got, err := s.Backlog(t.Context(), now)
		must(t, err)
		same(t, "backlog", got, b)
	}
	want(noon, tasks.Backlog{})
	put(t, s, task(1, 99, noon)) // a record from elsewhere
	submit(t, s, waiting(1, 1, 2*time.Second), waiting(1, 2, 3*time.Second), waiting(1, 3, time.Hour), waiting(2, 4, 0), free(2, 5, time.Second), waiting(3, 6, 0))
	want(noon, tasks.Backlog{Ready: 2, Later: 4, Oldest: noon})
	now := noon.Add(3 * time.Second)
	want(now, tasks.Backlog{Ready: 4, Behind: 1, Later: 1, Oldest: noon})
	update(t, s, 4, claiming(now))
	update(t, s, 1, claiming(now))
	want(now, tasks.Backlog{Running: 2, Ready: 2, Behind: 1, Later: 1, Oldest: noon})
	update(t, s, 1, finishing(errand.Succeeded, now))
	must(t, s.DeleteInstance(t.Context(), project, instanceID(3)))
	want(now, tasks.Backlog{Running: 1, Ready: 2, Later: 1, Oldest: noon.Add(time.Second)})
}
