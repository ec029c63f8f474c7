package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

func updateChecks() []queueCheck {
	return []queueCheck{
		{"update keeps all that a life changes", updateLife},
		{"update that fails changes nothing", updateFails},
		{"update without an event changes nothing", updateNothing},
		{"update of what is not there", updateUnknown},
		{"update of records from elsewhere and of ended tasks", updateRecord},
		{"renew keeps the lease and nothing else", renewLease},
		{"renew with progress shows at once", renewProgress},
		{"renew that fails changes nothing", renewFails},
		{"renew of what is not there or has ended", renewUnknown},
	}
}

// wantStored compares what a call returned with what is kept.
func wantStored(t *testing.T, s Queue, got *errand.Task) {
	t.Helper()
	same(t, "task as it was returned", got, get(t, s, got.ID))
}

func updateLife(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, full(1, 1))
	want := full(1, 1)
	want.Engine = errand.Kafka
	steps := []errand.Step{{Name: "one", Status: errand.StepRunning, StartedAt: noon}, {Name: "two", Status: errand.StepWaiting}}

	// Every step is done to a copy in memory as well.
	now := noon.Add(time.Second)
	_, err := claiming(now)(want)
	if err != nil {
		t.Fatal(err)
	}
	wantTaken(t, s, now, 1)
	same(t, "claimed", get(t, s, taskID(1)), want)

	progress := func(x *errand.Task) error {
		return x.Extend(leaseOf(x), now.Add(time.Minute), &errand.Progress{Percent: 40, Remaining: 9 * time.Second, Steps: steps}, now)
	}
	if err := progress(want); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Renew(t.Context(), project, taskID(1), progress); err != nil {
		t.Fatal(err)
	}
	same(t, "extended", get(t, s, taskID(1)), want)

	for _, change := range []func(*errand.Task) (*errand.Event, error){
		finishing(errand.Failed, now), claiming(now.Add(time.Minute)), cancelling(now.Add(2 * time.Minute)), finishing(errand.Cancelled, now.Add(3*time.Minute)),
	} {
		if _, err := change(want); err != nil {
			t.Fatal(err)
		}
		got := update(t, s, 1, change)
		same(t, "after an update", got, want)
		wantStored(t, s, got)
		listed := list(t, s, errand.Filter{Instance: instanceID(1)}).Tasks[0]
		if listed.Status != want.Status || listed.UpdatedAt != want.UpdatedAt || listed.Reason != want.Reason || listed.Run != nil {
			t.Errorf("listed as %s, want %s", show(listed), show(want))
		}
	}
	if want.Status != errand.Cancelled || len(want.Run.Attempts) != 2 || want.Run.Cancel == nil || want.Run.Result == nil {
		t.Fatalf("this life is too short: %s", show(want))
	}
	var acts []errand.Act
	for _, e := range events(t, s, 1) {
		acts = append(acts, e.Act)
	}
	same(t, "events", acts, []errand.Act{errand.ActSubmitted, errand.ActClaimed, errand.ActFinished, errand.ActClaimed, errand.ActStopping, errand.ActFinished})
}

func updateFails(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, full(1, 1))
	before := get(t, s, taskID(1))
	refused := errors.New("no")
	_, err := s.Update(t.Context(), project, taskID(1), func(x *errand.Task) (*errand.Event, error) {
		_, _ = claiming(noon)(x)
		x.Run.Attempts[0].Worker, x.Reason, x.Run.Sealed[0] = "X", "X", 'X'
		return nil, refused
	})
	if err != refused { //nolint:errorlint // it must be the very error
		t.Errorf("error is %v, want change's own", err)
	}
	same(t, "task", get(t, s, taskID(1)), before)
	if es := events(t, s, 1); len(es) != 1 {
		t.Errorf("events are %+v", es)
	}
}

func updateNothing(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, full(1, 1))
	before := get(t, s, taskID(1))
	got := update(t, s, 1, func(x *errand.Task) (*errand.Event, error) {
		_, _ = claiming(noon)(x)
		return nil, nil
	})
	same(t, "task as it was returned", got, before)
	same(t, "task", get(t, s, taskID(1)), before)
	wantTaken(t, s, noon, 1)
}

func updateUnknown(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0))
	for _, where := range []struct{ project, id string }{{project, taskID(2)}, {otherProject, taskID(1)}} {
		_, err := s.Update(t.Context(), where.project, where.id, claiming(noon))
		wantError(t, err, errand.NotFound, "task")
	}
}

func updateRecord(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	put(t, s, rich(1, 1, noon))
	submit(t, s, waiting(1, 2, 0))
	update(t, s, 2, cancelling(noon))
	for n := 1; n <= 2; n++ {
		before := get(t, s, taskID(n))
		_, err := s.Update(t.Context(), project, taskID(n), func(x *errand.Task) (*errand.Event, error) {
			same(t, "task that change is shown", x, before)
			return cancelling(noon)(x)
		})
		wantError(t, err, errand.Conflict, "status")
		same(t, "task", get(t, s, taskID(n)), before)
	}
}

func renewLease(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, full(1, 1))
	wantTaken(t, s, noon, 1)
	want := get(t, s, taskID(1))
	beat := noon.Add(5 * time.Second)
	got, err := s.Renew(t.Context(), project, taskID(1), func(x *errand.Task) error {
		return x.Extend(leaseOf(x), beat.Add(10*time.Second), nil, beat)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantStored(t, s, got)
	if err := want.Extend(leaseOf(want), beat.Add(10*time.Second), nil, beat); err != nil {
		t.Fatal(err)
	}
	same(t, "task", get(t, s, taskID(1)), want)
	if es := events(t, s, 1); len(es) != 2 {
		t.Errorf("a heartbeat is on record: %+v", es)
	}
	// What is not a heartbeat's is not saved.
	_, err = s.Renew(t.Context(), project, taskID(1), func(x *errand.Task) error {
		x.Status, x.Reason, x.ErrorCode = errand.Failed, "X", "X"
		x.Run.Stalled, x.Run.Result, x.Run.RunAt, x.Run.Cancel = false, []byte("1"), noon.Add(time.Hour), &errand.Cancel{Reason: "X"}
		x.Run.Sealed, x.Run.MaxAttempts = nil, 9
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "task", get(t, s, taskID(1)), want)
	// The sweep sees the new due time.
	swept, next, err := s.Sweep(t.Context(), want.Run.Due.Add(-time.Microsecond), 10, claiming(noon))
	if swept != 0 || err != nil || !next.Equal(want.Run.Due) {
		t.Errorf("%d tasks are due, next %v (%v), want none until %v", swept, next, err, want.Run.Due)
	}
}

func renewProgress(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0))
	wantTaken(t, s, noon, 1)
	for n, p := range []*errand.Progress{
		{Percent: 10, Remaining: time.Minute, Steps: []errand.Step{{Name: "a", Status: errand.StepRunning, StartedAt: noon}}},
		{Percent: 10, Remaining: time.Minute, Steps: []errand.Step{{Name: "a", Status: errand.StepSucceeded, StartedAt: noon}}}, // a step alone
		{Percent: 20, Remaining: time.Minute}, {}, rich(1, 1, noon).Progress,
	} {
		now := noon.Add(time.Duration(n) * time.Second)
		got, err := s.Renew(t.Context(), project, taskID(1), func(x *errand.Task) error { return x.Extend(leaseOf(x), now.Add(10*time.Second), p, now) })
		if err != nil {
			t.Fatal(err)
		}
		wantStored(t, s, got)
		same(t, "progress", got.Progress, p)
		listed := list(t, s, errand.Filter{Instance: instanceID(1)}).Tasks[0]
		if listed.UpdatedAt != now || listed.Progress == nil || listed.Progress.Percent != p.Percent {
			t.Errorf("listed as %s, want progress %s", show(listed), show(p))
		}
	}
	if es := events(t, s, 1); len(es) != 2 {
		t.Errorf("progress is on record: %+v", es)
	}
}

func renewFails(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0))
	wantTaken(t, s, noon, 1)
	before := get(t, s, taskID(1))
	_, err := s.Renew(t.Context(), project, taskID(1), func(x *errand.Task) error {
		x.Run.Lease.Expires, x.Run.Due, x.Progress = noon.Add(time.Hour), noon.Add(time.Hour), &errand.Progress{Percent: 1}
		return x.Hold("another token")
	})
	wantError(t, err, errand.LeaseLost, "lease")
	same(t, "task", get(t, s, taskID(1)), before)
}

func renewUnknown(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	_, err := s.Renew(t.Context(), project, taskID(1), func(*errand.Task) error { return nil })
	wantError(t, err, errand.NotFound, "task")
	submit(t, s, waiting(1, 1, 0))
	update(t, s, 1, cancelling(noon))
	before := get(t, s, taskID(1))
	_, err = s.Renew(t.Context(), project, taskID(1), func(x *errand.Task) error { return x.Extend("", noon.Add(time.Hour), nil, noon) })
	wantError(t, err, errand.LeaseLost, "lease")
	same(t, "task that has ended", get(t, s, taskID(1)), before)
}
