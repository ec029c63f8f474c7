package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// Queue is a store that tasks can run on.
type Queue = interface {
	tasks.Store
	tasks.Queue
}

type queueCheck struct {
	name string
	run  func(*testing.T, Queue)
}

// RunQueue holds the store that open returns against the contract of
// tasks.Queue, as Run does against that of tasks.Store.
func RunQueue(t *testing.T, open func(*testing.T) Queue) {
	for _, area := range [][]queueCheck{
		submitChecks(), updateChecks(), takeChecks(), laneChecks(), unfinishedChecks(), sweepChecks(), logChecks(), feedChecks(), endChecks(), queueRandomChecks(),
	} {
		for _, c := range area {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, open(t))
			})
		}
	}
}

// waiting returns task n of an instance as it is submitted at noon, to be run
// after some seconds. Its lane is that of the whole instance.
func waiting(instance, n int, after time.Duration) *errand.Task {
	t := task(instance, n, noon)
	t.Status, t.UpdatedAt = errand.Pending, noon
	t.Run = &errand.Run{
		Lane: errand.DefaultLane, RunAt: noon.Add(after), Timeout: time.Hour, MaxAttempts: 3,
		OnLost: errand.RetryWhenLost, Backoff: errand.Backoff{Base: time.Second, Max: time.Minute},
	}
	t.Accept(noon)
	return t
}

// free returns waiting's task in no lane.
func free(instance, n int, after time.Duration) *errand.Task {
	t := waiting(instance, n, after)
	t.Run.Lane = ""
	return t
}

// full returns a task whose run has every member set.
func full(instance, n int) *errand.Task {
	t := waiting(instance, n, 0)
	t.Details, t.Params = []byte("{ \"old\":1 }\n"), "{\"a\": \"<&>\"}\r\n"
	t.Run.Deadline, t.Run.RetryOf, t.Run.Scheduled, t.Run.Stalled = noon.Add(time.Hour), taskID(77), true, true
	t.Run.Sealed = []byte("sealed\x00secrets\xff")
	t.Accept(noon)
	return t
}

// recorded returns an event of t at its last change.
func recorded(t *errand.Task, act errand.Act, from errand.Status) *errand.Event {
	return &errand.Event{Project: t.Project, Instance: t.Instance, Task: t.ID, At: t.UpdatedAt, Act: act, From: from, To: t.Status, Remote: "192.0.2.9"}
}

func admitAll(*errand.Task, int) error { return nil }

// submit adds tasks without keys.
func submit(t *testing.T, s Queue, ts ...*errand.Task) {
	t.Helper()
	for _, x := range ts {
		if earlier, _, err := s.Submit(t.Context(), x, tasks.SubmitKey{}, recorded(x, errand.ActSubmitted, ""), admitAll); err != nil || earlier != nil {
			t.Fatalf("Submit %s: %v, %v", x.ID, earlier, err)
		}
	}
}

// everything wants any task of project that is to be run by now.
func everything(now time.Time) tasks.Want { return tasks.Want{Project: project, Now: now, Limit: 100} }

// leaseOf is the token under which claiming has a task run.
func leaseOf(t *errand.Task) string { return fmt.Sprintf("%s/%d", t.ID, len(t.Run.Attempts)) }

// claiming starts an attempt at now, under a lease of ten seconds.
func claiming(now time.Time) tasks.Change {
	return func(t *errand.Task) (*errand.Event, error) {
		from := t.Status
		l := errand.Lease{Worker: "w1", Beat: now, Expires: now.Add(10 * time.Second)}
		l.Token = fmt.Sprintf("%s/%d", t.ID, len(t.Run.Attempts)+1)
		if err := t.Claim(l, now); err != nil {
			return nil, err
		}
		return recorded(t, errand.ActClaimed, from), nil
	}
}

// finishing ends an attempt; a failure is tried again a minute later.
func finishing(status errand.Status, now time.Time) tasks.Change {
	return func(t *errand.Task) (*errand.Event, error) {
		from := t.Status
		if err := t.Finish(leaseOf(t), errand.Outcome{Status: status, Result: []byte(`{"<ok>": 1.0}`)}, now.Add(time.Minute), now); err != nil {
			return nil, err
		}
		return recorded(t, errand.ActFinished, from), nil
	}
}

// cancelling asks to stop at now, by force half a minute later.
func cancelling(now time.Time) tasks.Change {
	return func(t *errand.Task) (*errand.Event, error) {
		from := t.Status
		c := errand.Cancel{By: errand.User{ID: "u2", Name: "eve"}, At: now, Force: now.Add(30 * time.Second), Reason: "enough"}
		if err := t.AskToStop(c, now); err != nil {
			return nil, err
		}
		return recorded(t, errand.ActStopping, from), nil
	}
}

// update changes task n of project.
func update(t *testing.T, s Queue, n int, change tasks.Change) *errand.Task {
	t.Helper()
	got, err := s.Update(t.Context(), project, taskID(n), change)
	if err != nil {
		t.Fatalf("Update %d: %v", n, err)
	}
	return got
}

// take claims what it can get, and returns it with the next moment to look.
func take(t *testing.T, s Queue, want tasks.Want) ([]*errand.Task, time.Time) {
	t.Helper()
	got, next, err := s.Take(t.Context(), want, claiming(want.Now))
	if err != nil {
		t.Fatalf("Take %+v: %v", want, err)
	}
	return got, next
}

// wantTasks compares ids, given as the numbers of tasks.
func wantTasks(t *testing.T, what string, got []*errand.Task, ns ...int) {
	t.Helper()
	ids := []string{}
	for _, x := range got {
		ids = append(ids, x.ID)
	}
	want := []string{}
	for _, n := range ns {
		want = append(want, taskID(n))
	}
	same(t, what, ids, want)
}

// wantTaken takes what there is at now and compares.
func wantTaken(t *testing.T, s Queue, now time.Time, ns ...int) {
	t.Helper()
	got, _ := take(t, s, everything(now))
	wantTasks(t, "taken at "+now.Format(time.TimeOnly), got, ns...)
}
