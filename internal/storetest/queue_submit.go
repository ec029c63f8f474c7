package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func submitChecks() []queueCheck {
	return []queueCheck{
		{"submit keeps the whole task, visible at once", submitVisible},
		{"submit to an instance that nobody knows", submitUnknown},
		{"submit of an id that is taken", submitTaken},
		{"submit asks whether the lane admits the task", submitAdmit},
		{"submit with a key that was used gives the earlier task", submitKey},
		{"submit with a key that has expired", submitKeyExpired},
		{"submit with a key of another project", submitKeyProject},
		{"submit that is refused keeps nothing, not even its key", submitRefused},
		{"submits that race on one key give one task", submitRace},
		{"submits at once are each kept", submitMany},
	}
}

func submitVisible(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	given := full(1, 1)
	submit(t, s, given)
	if given.Engine != errand.Kafka {
		t.Errorf("engine of the task is %q, want it filled in", given.Engine)
	}
	want := full(1, 1)
	want.Engine = errand.Kafka
	same(t, "task", get(t, s, taskID(1)), want)
	if job, err := s.GetJob(t.Context(), project, taskID(1)); err != nil {
		t.Error(err)
	} else {
		same(t, "task by its job", job, want)
	}
	for _, f := range []errand.Filter{{Instance: instanceID(1)}, {}, {Engine: errand.Kafka}} {
		page := list(t, s, f)
		wantPage(t, page, 1, 1)
		listed := full(1, 1)
		listed.Engine, listed.Run = errand.Kafka, nil
		same(t, "listed task", &page.Tasks[0], listed)
	}
	es := events(t, s, 1)
	if len(es) != 1 || es[0].Act != errand.ActSubmitted || es[0].To != errand.Pending {
		t.Errorf("events are %+v", es)
	}
	given.Run.Sealed[0], given.Details[2], given.Run.RunAt = 'X', 'X', noon.Add(time.Hour)
	same(t, "task, whatever becomes of what was given", get(t, s, taskID(1)), want)
}

func submitUnknown(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	x := waiting(2, 1, 0)
	_, _, err := s.Submit(t.Context(), x, tasks.SubmitKey{Key: "k", Expires: noon.Add(time.Hour)}, recorded(x, errand.ActSubmitted, ""), admitAll)
	wantError(t, err, errand.NotFound, "instance")
	wantGone(t, s, taskID(1))
}

func submitTaken(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon))
	x := waiting(1, 1, 0)
	_, _, err := s.Submit(t.Context(), x, tasks.SubmitKey{}, recorded(x, errand.ActSubmitted, ""), admitAll)
	wantError(t, err, errand.Conflict, "task")
	submit(t, s, waiting(1, 2, 0))
	_, _, err = s.Submit(t.Context(), waiting(1, 2, 0), tasks.SubmitKey{}, recorded(x, errand.ActSubmitted, ""), func(first *errand.Task, unfinished int) error {
		if first == nil || first.ID != taskID(2) || unfinished != 1 {
			t.Errorf("the lane has %d unfinished tasks, first %s", unfinished, show(first))
		}
		return nil
	})
	wantError(t, err, errand.Conflict, "task")
	if got := get(t, s, taskID(1)); got.Status != errand.Succeeded || got.Run != nil {
		t.Errorf("the record that was there is now %s", show(got))
	}
}

func submitAdmit(t *testing.T, s Queue) {
	register(t, s, kafka(1), kafka(2))
	submit(t, s, waiting(1, 3, 0), waiting(1, 2, 0), waiting(1, 4, -time.Second), waiting(2, 5, -time.Minute), free(1, 6, -time.Minute))
	other := waiting(1, 7, -time.Minute)
	other.Run.Lane = "network"
	submit(t, s, other)
	shown := func(x *errand.Task, count int, ns ...int) {
		t.Helper()
		called := false
		_, _, err := s.Submit(t.Context(), x, tasks.SubmitKey{}, recorded(x, errand.ActSubmitted, ""), func(first *errand.Task, unfinished int) error {
			called = true
			var lane []*errand.Task
			if first != nil {
				lane = append(lane, first)
			}
			wantTasks(t, "first of the lane", lane, ns...)
			if unfinished != count {
				t.Errorf("the lane has %d unfinished tasks, want %d", unfinished, count)
			}
			return nil
		})
		if err != nil || !called {
			t.Errorf("Submit: %v; asked: %v", err, called)
		}
	}
	shown(waiting(1, 10, 0), 3, 4) // oldest by run time
	take(t, s, everything(noon))   // 4 of that lane
	shown(waiting(1, 11, -time.Hour), 4, 4)
	shown(free(1, 12, 0), 0)
	empty := waiting(2, 13, 0)
	empty.Run.Lane = "empty"
	shown(empty, 0)
	update(t, s, 4, finishing(errand.Succeeded, noon))
	shown(waiting(1, 14, 0), 4, 11)
}

// keyed submits task n of instance 1 at a moment.
func keyed(t *testing.T, s Queue, n int, key, digest string, at time.Time) (*errand.Task, string) {
	t.Helper()
	x := waiting(1, n, 0)
	x.Accept(at)
	earlier, kept, err := s.Submit(t.Context(), x, tasks.SubmitKey{Key: key, Digest: digest, Expires: at.Add(time.Hour)}, recorded(x, errand.ActSubmitted, ""), admitAll)
	if err != nil {
		t.Fatalf("Submit %d: %v", n, err)
	}
	return earlier, kept
}

// usedUp checks that a key whose task is gone makes no second one.
func usedUp(t *testing.T, s Queue, n int, key string) {
	t.Helper()
	x := waiting(1, n, 0)
	x.Accept(noon)
	earlier, _, err := s.Submit(t.Context(), x, tasks.SubmitKey{Key: key, Digest: "d", Expires: noon.Add(time.Hour)}, recorded(x, errand.ActSubmitted, ""), admitAll)
	wantError(t, err, errand.Conflict, "idempotency_key")
	if earlier != nil {
		t.Errorf("a key whose task is gone gives %s", show(earlier))
	}
	_, err = s.Get(t.Context(), project, taskID(n))
	wantError(t, err, errand.NotFound, "task")
}

func submitKey(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	if earlier, _ := keyed(t, s, 1, "k", "d1", noon); earlier != nil {
		t.Fatalf("an earlier task at first: %+v", earlier)
	}
	want := func(n int, digest string, status errand.Status) {
		t.Helper()
		asked := false
		x := waiting(1, n, 0)
		earlier, kept, err := s.Submit(t.Context(), x, tasks.SubmitKey{Key: "k", Digest: digest, Expires: noon.Add(time.Hour)}, recorded(x, errand.ActSubmitted, ""),
			func(*errand.Task, int) error { asked = true; return nil })
		if err != nil || earlier == nil || earlier.ID != taskID(1) || earlier.Status != status || earlier.Run == nil || kept != "d1" {
			t.Errorf("second submission gives %s, digest %q, %v; want task 1, %s, digest d1", show(earlier), kept, err, status)
		}
		if asked {
			t.Error("admit was asked about a task that is not added")
		}
		wantGone(t, s, taskID(n))
	}
	want(2, "d1", errand.Pending)
	want(3, "d2", errand.Pending) // another submission: the caller sees that by the digest
	wantTaken(t, s, noon, 1)
	want(4, "d1", errand.Running)
	update(t, s, 1, finishing(errand.Succeeded, noon))
	want(5, "d1", errand.Succeeded)
	wantPage(t, list(t, s, errand.Filter{}), 1, 1)
	if es := events(t, s, 1); len(es) != 3 {
		t.Errorf("%d events, want those of one life", len(es))
	}
	if earlier, _ := keyed(t, s, 6, "K", "d1", noon); earlier != nil {
		t.Error("keys are not told apart by case")
	}
}

func submitKeyExpired(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	keyed(t, s, 1, "k", "d1", noon)
	if earlier, _ := keyed(t, s, 2, "k", "d2", noon.Add(time.Hour-time.Microsecond)); earlier == nil {
		t.Error("the key has expired too early")
	}
	if earlier, _ := keyed(t, s, 3, "k", "d3", noon.Add(time.Hour)); earlier != nil {
		t.Error("the key has not expired")
	}
	if earlier, digest := keyed(t, s, 4, "k", "d4", noon.Add(time.Hour)); earlier == nil || earlier.ID != taskID(3) || digest != "d3" {
		t.Errorf("a key that is used again gives %s, %s", show(earlier), digest)
	}
	// However many have expired, one that has not stays.
	for n := range 20 {
		keyed(t, s, 100+n, fmt.Sprint("old", n), "d", noon)
	}
	for n := range 10 {
		keyed(t, s, 200+n, fmt.Sprint("new", n), "d", noon.Add(90*time.Minute))
	}
	if earlier, _ := keyed(t, s, 300, "new0", "d", noon.Add(2*time.Hour)); earlier == nil {
		t.Error("a key that has not expired is gone")
	}
	if earlier, _ := keyed(t, s, 301, "old19", "d", noon.Add(2*time.Hour)); earlier != nil {
		t.Error("a key that has expired is there")
	}
}

func submitKeyProject(t *testing.T, s Queue) {
	there := kafka(1)
	there.Project = otherProject
	register(t, s, kafka(1), there)
	keyed(t, s, 1, "k", "d", noon)
	x := waiting(1, 1, 0)
	x.Project = otherProject
	earlier, _, err := s.Submit(t.Context(), x, tasks.SubmitKey{Key: "k", Digest: "d", Expires: noon.Add(time.Hour)}, recorded(x, errand.ActSubmitted, ""), admitAll)
	if err != nil || earlier != nil {
		t.Errorf("the key of another project gives %v, %v", earlier, err)
	}
}

func submitRefused(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	refused := errors.New("busy")
	x := waiting(1, 1, 0)
	_, _, err := s.Submit(t.Context(), x, tasks.SubmitKey{Key: "k", Digest: "d", Expires: noon.Add(time.Hour)}, recorded(x, errand.ActSubmitted, ""),
		func(*errand.Task, int) error { return refused })
	if err != refused { //nolint:errorlint // it must be the very error
		t.Errorf("error is %v, want admit's own", err)
	}
	wantGone(t, s, taskID(1))
	if es := events(t, s, 1); len(es) != 0 {
		t.Errorf("events are %+v", es)
	}
	wantTaken(t, s, noon)
	if earlier, _ := keyed(t, s, 2, "k", "d", noon); earlier != nil {
		t.Errorf("the key of a submission that was refused gives %s", show(earlier))
	}
}

func submitRace(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	const callers = 24
	var ids [callers]string
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			x := waiting(1, n, 0)
			earlier, digest, err := s.Submit(t.Context(), x, tasks.SubmitKey{Key: "k", Digest: "d", Expires: noon.Add(time.Hour)}, recorded(x, errand.ActSubmitted, ""), admitAll)
			if err != nil || earlier != nil && digest != "d" {
				t.Errorf("Submit %d: %v, digest %q", n, err, digest)
			}
			if ids[n] = x.ID; earlier != nil {
				ids[n] = earlier.ID
			}
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Errorf("one caller was given task %s, another %s", ids[0], id)
		}
	}
	if p := list(t, s, errand.Filter{}); p.Total != 1 || p.Tasks[0].ID != ids[0] {
		t.Errorf("%d tasks are kept", p.Total)
	}
}

func submitMany(t *testing.T, s Queue) {
	register(t, s, kafka(1), kafka(2), kafka(3))
	const callers, each = 12, 10
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				x := waiting(1+i%3, c*each+i, 0)
				submit(t, s, x)
				if got, err := s.Get(t.Context(), project, x.ID); err != nil || got.Run == nil {
					t.Errorf("task %s right after it was accepted: %s, %v", x.ID, show(got), err)
				}
			}
		})
	}
	wg.Wait()
	if p := list(t, s, errand.Filter{}); p.Total != callers*each {
		t.Errorf("%d tasks, want %d", p.Total, callers*each)
	}
	n := 0
	for now := noon; ; now = now.Add(time.Second) {
		taken, _ := take(t, s, everything(now))
		if len(taken) == 0 {
			break
		}
		if n += len(taken); len(taken) > 3 {
			t.Errorf("%d tasks were taken of three lanes", len(taken))
		}
		for _, x := range taken {
			if _, err := s.Update(t.Context(), project, x.ID, finishing(errand.Succeeded, now)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != callers*each {
		t.Errorf("%d tasks ran, want %d", n, callers*each)
	}
}
