package storetest

import (
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func laneChecks() []queueCheck {
	return []queueCheck{
		{"lane has one task run at a time, oldest first", laneOrder},
		{"lane is free again whatever its head came to", laneFree},
		{"lane of an instance is that instance's alone", laneApart},
		{"lane is not blocked by what is to be run later", laneLater},
		{"lane whose head nobody wants waits for it", laneHead},
		{"lane whose head is moved has another one", laneMoved},
		{"lane never has two tasks run, whoever tries", laneGuard},
		{"lane is listed with its runs", laneList},
	}
}

func laneOrder(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 3, 0), waiting(1, 2, 0), waiting(1, 4, -time.Second))
	for i, n := range []int{4, 2, 3} {
		now := noon.Add(time.Duration(i) * time.Second)
		wantTaken(t, s, now, n)
		wantTaken(t, s, now)
		update(t, s, n, finishing(errand.Succeeded, now))
	}
	wantTaken(t, s, noon.Add(time.Hour))
	submit(t, s, waiting(1, 5, 0))
	wantTaken(t, s, noon, 5)
}

func laneFree(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	for n := range 9 {
		submit(t, s, waiting(1, n, 0))
	}
	now := noon.Add(time.Second)
	permanently := func(x *errand.Task) (*errand.Event, error) {
		err := x.Finish(leaseOf(x), errand.Outcome{Status: errand.Failed, Permanent: true}, now, now)
		return recorded(x, errand.ActFinished, errand.Running), err
	}
	stopped := func(x *errand.Task) (*errand.Event, error) {
		_, _ = cancelling(now)(x)
		return recorded(x, errand.ActCancelled, errand.Running), x.Stop(now)
	}
	for n, end := range []tasks.Change{
		finishing(errand.Succeeded, now), finishing(errand.Cancelled, now), permanently, stopped,
		finishing(errand.Failed, now), // to be tried again in a minute
	} {
		wantTaken(t, s, noon, n)
		update(t, s, n, end)
	}
	update(t, s, 5, cancelling(now)) // a head that waits
	missed := func(x *errand.Task) (*errand.Event, error) {
		return recorded(x, errand.ActMissed, errand.Pending), x.Miss("late", now)
	}
	update(t, s, 6, missed)
	if err := s.Delete(t.Context(), project, taskID(7), drop); err != nil { // rules forbid it; a store need not
		t.Fatal(err)
	}
	wantTaken(t, s, noon, 8)
	update(t, s, 8, cancelling(now)) // it runs on
	wantTaken(t, s, now.Add(time.Hour))
	update(t, s, 8, finishing(errand.Cancelled, now))
	wantTaken(t, s, now.Add(time.Minute-time.Microsecond))
	wantTaken(t, s, now.Add(time.Minute), 4)
}

func laneApart(t *testing.T, s Queue) {
	there := kafka(1)
	there.Project = otherProject
	register(t, s, kafka(1), kafka(2), there)
	elsewhere := waiting(1, 1, 0)
	elsewhere.Project = otherProject
	network := waiting(1, 4, 0)
	network.Run.Lane = "network"
	submit(t, s, waiting(1, 1, 0), waiting(2, 2, 0), waiting(1, 3, 0), network, elsewhere, free(1, 5, 0), free(1, 6, 0))
	wantTaken(t, s, noon, 1, 2, 4, 5, 6)
	got, _ := take(t, s, tasks.Want{Project: otherProject, Now: noon, Limit: 9})
	wantTasks(t, "taken elsewhere", got, 1)
	if got[0].Project != otherProject {
		t.Errorf("taken from %s", got[0].Project)
	}
}

func laneLater(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, time.Hour), waiting(1, 2, 0), waiting(1, 3, time.Minute))
	got, next := take(t, s, everything(noon.Add(-time.Second)))
	wantTasks(t, "taken early", got)
	if !next.Equal(noon) {
		t.Errorf("next is %v, want noon", next)
	}
	wantTaken(t, s, noon, 2)
	wantTaken(t, s, noon.Add(2*time.Hour)) // behind 2
	update(t, s, 2, finishing(errand.Succeeded, noon))
	got, next = take(t, s, everything(noon))
	wantTasks(t, "taken", got)
	if want := noon.Add(time.Minute); !next.Equal(want) {
		t.Errorf("next is %v, want %v", next, want)
	}
	submit(t, s, waiting(1, 4, 30*time.Second))
	wantTaken(t, s, noon.Add(2*time.Hour), 4)
	update(t, s, 4, finishing(errand.Succeeded, noon))
	wantTaken(t, s, noon.Add(2*time.Hour), 3)
}

func laneHead(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	head := waiting(1, 1, 0)
	head.Operation = "RESTART"
	submit(t, s, head, waiting(1, 2, time.Second))
	now := noon.Add(time.Second)
	w := everything(now)
	w.Operations = []string{"EXTEND"}
	got, next := take(t, s, w)
	wantTasks(t, "taken past the head", got)
	if !next.IsZero() {
		t.Errorf("next is %v, want none: what is in the way has no time", next)
	}
	w.Operations = []string{"RESTART"}
	got, _ = take(t, s, w)
	wantTasks(t, "head", got, 1)
	update(t, s, 1, finishing(errand.Succeeded, now))
	w.Operations = []string{"EXTEND"}
	got, _ = take(t, s, w)
	wantTasks(t, "taken after the head", got, 2)
}

func laneMoved(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0), waiting(1, 2, time.Second), waiting(1, 3, 2*time.Second))
	move := func(to time.Time) tasks.Change {
		return func(x *errand.Task) (*errand.Event, error) {
			return recorded(x, errand.ActRescheduled, errand.Pending), x.Reschedule(to, noon)
		}
	}
	update(t, s, 1, move(noon.Add(time.Hour))) // the head goes to the end
	update(t, s, 3, move(noon))                // the last comes first
	wantTaken(t, s, noon.Add(time.Minute), 3)
	update(t, s, 3, finishing(errand.Succeeded, noon))
	submit(t, s, waiting(1, 4, -time.Second)) // older than the head
	wantTaken(t, s, noon.Add(time.Minute), 4)
	update(t, s, 4, finishing(errand.Succeeded, noon))
	wantTaken(t, s, noon.Add(time.Minute), 2)
	update(t, s, 2, finishing(errand.Succeeded, noon))
	wantTaken(t, s, noon.Add(time.Hour), 1)
}

// laneGuard claims by Update, which knows no lanes: the store must still refuse.
func laneGuard(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0), waiting(1, 2, time.Second), waiting(1, 3, 2*time.Second))
	update(t, s, 2, claiming(noon)) // past the head, but alone
	for _, n := range []int{1, 3} {
		before := get(t, s, taskID(n))
		_, err := s.Update(t.Context(), project, taskID(n), claiming(noon))
		wantError(t, err, errand.Conflict, "task")
		same(t, "task", get(t, s, taskID(n)), before)
		if es := events(t, s, n); len(es) != 1 {
			t.Errorf("events are %+v", es)
		}
	}
	wantTaken(t, s, noon.Add(time.Hour))
	update(t, s, 2, finishing(errand.Succeeded, noon))
	wantTaken(t, s, noon.Add(time.Hour), 1)
}

func laneList(t *testing.T, s Queue) {
	register(t, s, kafka(1), kafka(2))
	submit(t, s, waiting(1, 5, time.Second), waiting(1, 4, time.Hour), full(1, 3), waiting(1, 2, time.Second), waiting(2, 1, 0), free(1, 6, 0), waiting(1, 7, 0))
	of := func(lane string, ns ...int) []*errand.Task {
		t.Helper()
		got, err := s.Lane(t.Context(), project, instanceID(1), lane)
		if err != nil {
			t.Fatal(err)
		}
		wantTasks(t, "lane", got, ns...)
		for _, x := range got {
			same(t, "task of the lane", x, get(t, s, x.ID))
		}
		return got
	}
	of("instance", 3, 7, 2, 5, 4)
	wantTaken(t, s, noon, 1, 3, 6)
	if lane := of("instance", 3, 7, 2, 5, 4); lane[0].Run.Lease.Worker != "w1" {
		t.Errorf("the first is %s", show(lane[0]))
	}
	update(t, s, 3, finishing(errand.Failed, noon.Add(time.Second))) // once more, in a minute
	of("instance", 7, 2, 5, 3, 4)
	of("nothing")
	_, err := s.Lane(t.Context(), project, instanceID(3), "instance")
	wantError(t, err, errand.NotFound, "instance")
}
