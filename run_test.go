package errand

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func waiting() *Task {
	t := &Task{ID: "t", Operation: "EXTEND", Run: &Run{RunAt: t0, MaxAttempts: 2, OnLost: RetryWhenLost, Timeout: time.Hour, Sealed: []byte("sealed")}}
	t.Accept(t0)
	return t
}

func held() *Task {
	t := waiting()
	if err := t.Claim(Lease{Token: "L1", Worker: "w", Beat: t0, Expires: t0.Add(10 * time.Second)}, t0); err != nil {
		panic(err)
	}
	return t
}

// after returns the task that change makes of t, or its error's kind.
func after(t *Task, change func(*Task) error) (*Task, *Error) {
	return t, ErrorOf(change(t))
}

func TestRunTransitions(t *testing.T) {
	now := t0.Add(5 * time.Second)
	retry := now.Add(time.Minute)
	asked := Cancel{By: User{Name: "ann"}, At: now, Force: now.Add(30 * time.Second), Reason: "wrong one"}
	once := func(t *Task) *Task { t.Run.MaxAttempts = 1; return t }
	failing := func(t *Task) *Task { t.Run.OnLost = FailWhenLost; return t }
	for _, tt := range []struct {
		name    string
		task    *Task
		change  func(*Task) error
		status  Status
		due     time.Time
		reason  string
		kind    Kind
		subject string
	}{
		{"claim", waiting(), func(x *Task) error { return x.Claim(Lease{Token: "L", Expires: now.Add(time.Second)}, now) }, Running, now.Add(time.Second), "", 0, ""},
		{"claim twice", held(), func(x *Task) error { return x.Claim(Lease{Token: "L"}, now) }, "", t0, "", Conflict, "task"},
		{"extend", held(), func(x *Task) error { return x.Extend("L1", now.Add(time.Minute), nil, now) }, Running, now.Add(time.Minute), "", 0, ""},
		{"extend beyond the timeout", held(), func(x *Task) error { return x.Extend("L1", now.Add(5*time.Hour), nil, now) }, Running, t0.Add(time.Hour + grace), "", 0, ""},
		{"extend another's", held(), func(x *Task) error { return x.Extend("L2", now, nil, now) }, "", t0, "", LeaseLost, "lease"},
		{"extend without a token", waiting(), func(x *Task) error { return x.Extend("", now, nil, now) }, "", t0, "", LeaseLost, "lease"},
		{"extend by 250 %", held(), func(x *Task) error { return x.Extend("L1", now, &Progress{Percent: 250}, now) }, "", t0, "", Invalid, "progress"},
		{"succeed", held(), func(x *Task) error { return x.Finish("L1", Outcome{Status: Succeeded}, retry, now) }, Succeeded, time.Time{}, "", 0, ""},
		{"fail, to be tried again", held(), func(x *Task) error { return x.Finish("L1", Outcome{Status: Failed, Reason: "boom"}, retry, now) }, Pending, retry.Add(recheck), "boom", 0, ""},
		{"fail the last attempt", once(held()), func(x *Task) error { return x.Finish("L1", Outcome{Status: Failed, Reason: "boom"}, retry, now) }, Failed, time.Time{}, "boom", 0, ""},
		{"fail for good", held(), func(x *Task) error {
			return x.Finish("L1", Outcome{Status: Failed, Permanent: true, Reason: "boom"}, retry, now)
		}, Failed, time.Time{}, "boom", 0, ""},
		{"end as cancelled", held(), func(x *Task) error { return x.Finish("L1", Outcome{Status: Cancelled}, retry, now) }, Cancelled, time.Time{}, "", 0, ""},
		{"end as running", held(), func(x *Task) error { return x.Finish("L1", Outcome{Status: Running}, retry, now) }, "", t0, "", Invalid, "status"},
		{"end another's", held(), func(x *Task) error { return x.Finish("L2", Outcome{Status: Succeeded}, retry, now) }, "", t0, "", LeaseLost, "lease"},
		{"end with garbage", held(), func(x *Task) error {
			return x.Finish("L1", Outcome{Status: Succeeded, Result: json.RawMessage("{")}, retry, now)
		}, "", t0, "", Invalid, "result"},
		{"give back", held(), func(x *Task) error { return x.Release("L1", now) }, Pending, now.Add(recheck), "", 0, ""},
		{"give back another's", held(), func(x *Task) error { return x.Release("L2", now) }, "", t0, "", LeaseLost, "lease"},
		{"give back what is to stop", held(), func(x *Task) error {
			_ = x.AskToStop(asked, now)
			return x.Release("L1", now)
		}, Cancelled, time.Time{}, "wrong one", 0, ""},
		{"lost, to be tried again", held(), func(x *Task) error { return x.Lose("silent", retry, now) }, Pending, retry.Add(recheck), "silent", 0, ""},
		{"lost, once", once(held()), func(x *Task) error { return x.Lose("silent", retry, now) }, Failed, time.Time{}, "outcome unknown: silent", 0, ""},
		{"lost, not to be run twice", failing(held()), func(x *Task) error { return x.Lose("silent", retry, now) }, Failed, time.Time{}, "outcome unknown: silent", 0, ""},
		{"lose what waits", waiting(), func(x *Task) error { return x.Lose("silent", retry, now) }, "", t0, "", Conflict, "task"},
		{"cancel what waits", waiting(), func(x *Task) error { return x.AskToStop(asked, now) }, Cancelled, time.Time{}, "wrong one", 0, ""},
		{"ask to stop", held(), func(x *Task) error { return x.AskToStop(asked, now) }, Running, t0.Add(10 * time.Second), "", 0, ""},
		{"cancel what has ended", held(), func(x *Task) error {
			_ = x.Finish("L1", Outcome{Status: Succeeded}, retry, now)
			return x.AskToStop(asked, now)
		}, "", t0, "", Conflict, "status"},
		{"asked to stop, fails: not tried again", held(), func(x *Task) error {
			_ = x.AskToStop(asked, now)
			return x.Finish("L1", Outcome{Status: Failed, Reason: "boom"}, retry, now)
		}, Failed, time.Time{}, "boom", 0, ""},
		{"asked to stop, lost", held(), func(x *Task) error {
			_ = x.AskToStop(asked, now)
			return x.Lose("silent", retry, now)
		}, Cancelled, time.Time{}, "silent", 0, ""},
		{"stopped by force", held(), func(x *Task) error {
			_ = x.AskToStop(asked, now)
			return x.Stop(now)
		}, Cancelled, time.Time{}, "wrong one", 0, ""},
		{"stop what nobody asked to stop", held(), func(x *Task) error { return x.Stop(now) }, "", t0, "", Conflict, "task"},
		{"miss the deadline", waiting(), func(x *Task) error { return x.Miss("too late", now) }, Failed, time.Time{}, "too late", 0, ""},
		{"miss while running", held(), func(x *Task) error { return x.Miss("too late", now) }, "", t0, "", Conflict, "task"},
		{"reschedule", waiting(), func(x *Task) error { return x.Reschedule(retry, now) }, Pending, retry.Add(recheck), "", 0, ""},
		{"reschedule what runs", held(), func(x *Task) error { return x.Reschedule(retry, now) }, "", t0, "", Conflict, "status"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x, e := after(tt.task, tt.change)
			if tt.status == "" {
				if e == nil || e.Kind != tt.kind || e.Subject != tt.subject {
					t.Errorf("error %+v, want %v about %q", e, tt.kind, tt.subject)
				}
				return
			}
			if e != nil || x.Status != tt.status || !x.Run.Due.Equal(tt.due) || x.Reason != tt.reason {
				t.Errorf("%s, due %v, reason %q, %v; want %s, %v, %q", x.Status, x.Run.Due, x.Reason, e, tt.status, tt.due, tt.reason)
			}
			if x.Status.Final() && (x.Run.Sealed != nil || x.Run.Lease != Lease{}) {
				t.Errorf("a final task keeps its secrets or its lease: %+v", x.Run)
			}
			if n := x.AttemptNumber(); n > 0 && x.Status != Running && x.Run.Attempts[n-1].EndedAt.IsZero() {
				t.Errorf("the attempt has no end: %+v", x.Run.Attempts)
			}
		})
	}
}

// TestRunInvariants drives a task at random, with clocks that jump, and holds
// after each step: a final task stays as it is, every other has a due time, and
// only the holder of the lease can end an attempt.
func TestRunInvariants(t *testing.T) {
	for seed := range uint64(2000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		x, now, tokens := waiting(), t0, 0
		for range 30 {
			now = now.Add(time.Duration(rnd.Int64N(int64(4*time.Hour))) - 2*time.Hour)
			before := *x
			run := *x.Run
			before.Run = &run
			token := "L" + string(rune('a'+rnd.IntN(tokens+2)))
			held := x.Status == Running && x.Run.Lease.Token == token
			var err error
			ends := false
			switch rnd.IntN(7) {
			case 0:
				tokens++
				err = x.Claim(Lease{Token: "L" + string(rune('a'+tokens)), Expires: now.Add(time.Minute)}, now)
			case 1:
				err = x.Extend(token, now.Add(time.Minute), nil, now)
				ends = true
			case 2:
				err = x.Finish(token, Outcome{Status: []Status{Succeeded, Failed, Cancelled}[rnd.IntN(3)]}, now, now)
				ends = true
			case 3:
				err = x.Lose("silent", now, now)
			case 4:
				err = x.AskToStop(Cancel{At: now, Force: now.Add(time.Minute)}, now)
			case 5:
				err = x.Stop(now)
			case 6:
				err = x.Miss("late", now)
			}
			switch {
			case ends && !held && err == nil:
				t.Fatalf("seed %d: %q was let through on %+v", seed, token, before)
			case before.Status.Final() && err == nil:
				t.Fatalf("seed %d: a final task changed: %+v", seed, x)
			case err != nil && !reflect.DeepEqual(before, *x):
				t.Fatalf("seed %d: a refused change left a trace:\n%+v\n%+v", seed, before.Run, x.Run)
			case x.Status.Final() != x.Run.Due.IsZero():
				t.Fatalf("seed %d: %s and due %v", seed, x.Status, x.Run.Due)
			case x.UpdatedAt.Before(before.UpdatedAt):
				t.Fatalf("seed %d: updated_at went back", seed)
			case len(x.Run.Attempts) > x.Run.MaxAttempts:
				t.Fatalf("seed %d: %d attempts of %d", seed, len(x.Run.Attempts), x.Run.MaxAttempts)
			}
		}
	}
}

func TestProgressEnds(t *testing.T) {
	now := t0.Add(time.Minute)
	x := held()
	p := &Progress{Percent: 40, Remaining: time.Minute, Steps: []Step{
		{Name: "a", Status: StepSucceeded, EndedAt: t0},
		{Name: "b", Status: StepRunning, StartedAt: t0, Steps: []Step{{Name: "b1", Status: StepRunning}}},
		{Name: "c", Status: StepWaiting},
	}}
	if err := x.Extend("L1", now, p, t0); err != nil {
		t.Fatal(err)
	}
	if err := x.Finish("L1", Outcome{Status: Succeeded}, now, now); err != nil {
		t.Fatal(err)
	}
	want := &Progress{Percent: 100, Steps: []Step{
		{Name: "a", Status: StepSucceeded, EndedAt: t0},
		{Name: "b", Status: StepSucceeded, StartedAt: t0, EndedAt: now, Steps: []Step{{Name: "b1", Status: StepSucceeded, EndedAt: now}}},
		{Name: "c", Status: StepWaiting},
	}}
	if !reflect.DeepEqual(x.Progress, want) {
		t.Errorf("progress %+v, want %+v", x.Progress, want)
	}
	if p.Steps[1].Status != StepRunning {
		t.Error("the worker's own progress was changed")
	}
}

func TestBackoff(t *testing.T) {
	b := Backoff{Base: time.Second, Max: 10 * time.Second}
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 5: 10 * time.Second, 1000: 10 * time.Second} {
		if got := b.Ceiling(n); got != want {
			t.Errorf("after %d attempts: %v, want %v", n, got, want)
		}
	}
	if (Backoff{}).Ceiling(3) != 0 {
		t.Error("no backoff waits")
	}
}

func TestOutcomeValidate(t *testing.T) {
	for subject, o := range map[string]Outcome{
		"":           {Status: Failed, Result: json.RawMessage(`{"a":1}`)},
		"status":     {Status: "done"},
		"error_code": {Status: Failed, ErrorCode: strings.Repeat("x", MaxNameLen+1)},
		"reason":     {Status: Failed, Reason: "\xff"},
		"result":     {Status: Failed, Result: json.RawMessage(strings.Repeat("1", MaxDetailsLen+1))},
	} {
		if e := ErrorOf(o.Validate()); (e == nil) != (subject == "") || e != nil && e.Subject != subject {
			t.Errorf("Validate(%.60v) = %v, want about %q", o, e, subject)
		}
	}
}
