package errand

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Run is what is needed to run a task here, and what became of its attempts.
// Records that were imported have none.
type Run struct {
	// Lane is what must not run side by side: at most one task of an instance
	// and lane is running at any moment. "" is no lane.
	Lane string

	RunAt    time.Time     // not to be started before
	Deadline time.Time     // to be started by, or it fails; zero: whenever
	Timeout  time.Duration // of one attempt

	MaxAttempts int
	OnLost      LostPolicy
	Backoff     Backoff

	RetryOf   string // id of the task that this one runs again, or ""
	Scheduled bool   // submitted to run later

	// Due is when something must have happened, or the sweep looks at the task.
	// It is never zero before the task is final, and always zero after.
	Due time.Time

	Lease    Lease
	Cancel   *Cancel
	Attempts []Attempt // the current one last
	Stalled  bool      // that it waits for a worker that nobody has seen is on record

	Result json.RawMessage // what the last attempt returned, a JSON value or nil

	// Sealed holds the secrets that the task was submitted with, encrypted. It
	// is erased when the task ends.
	Sealed []byte
}

// Lease is one worker's exclusive, expiring right to run a task. Token is new
// on every claim, so a worker that lost its lease can never write.
type Lease struct {
	Token   string
	Worker  string
	Beat    time.Time // when the worker was last heard of
	Expires time.Time
}

// Attempt is one claim-to-finish run of a task.
type Attempt struct {
	Worker    string
	StartedAt time.Time
	EndedAt   time.Time // zero: it has not ended
	Error     string    // why it did not succeed; "" if it did
}

// Cancel is a request to stop a running task.
type Cancel struct {
	By     User
	At     time.Time
	Force  time.Time // when the task is stopped without its worker
	Reason string
}

// LostPolicy says what becomes of a task whose worker was lost.
type LostPolicy string

const (
	// FailWhenLost ends the task: its outcome is unknown, and to run a failover
	// twice is worse than to ask a person.
	FailWhenLost LostPolicy = "fail"
	// RetryWhenLost starts another attempt, if one is left.
	RetryWhenLost LostPolicy = "retry"
)

// Valid reports whether p is a known policy.
func (p LostPolicy) Valid() bool { return p == FailWhenLost || p == RetryWhenLost }

// Backoff is how long to wait before attempt n+1: a random time of up to
// Base·2ⁿ⁻¹, at most Max (full jitter).
type Backoff struct {
	Base, Max time.Duration
}

// Ceiling returns the longest wait after the given number of attempts.
func (b Backoff) Ceiling(attempts int) time.Duration {
	d := b.Base
	for range attempts - 1 {
		if d >= b.Max {
			break
		}
		d *= 2
	}
	return max(0, min(d, b.Max))
}

// Outcome is what a worker says of an attempt.
type Outcome struct {
	Status    Status // Succeeded, Failed or Cancelled
	ErrorCode string
	Reason    string
	Permanent bool            // of a failure: another attempt would fail too
	Result    json.RawMessage // a JSON value or nil
}

// Validate reports the first thing that is wrong with o.
func (o Outcome) Validate() error {
	switch {
	case !o.Status.Final():
		return Errorf(Invalid, "status", "an attempt ends as succeeded, failed or cancelled, not as %.32q", string(o.Status))
	case !ValidText(o.ErrorCode, MaxNameLen):
		return Errorf(Invalid, "error_code", "error code must be at most %d bytes of UTF-8", MaxNameLen)
	case !ValidText(o.Reason, MaxAttributeLen):
		return Errorf(Invalid, "reason", "reason must be at most %d bytes of UTF-8", MaxAttributeLen)
	case !ValidText(string(o.Result), MaxDetailsLen):
		return Errorf(Invalid, "result", "result must be at most %d bytes of UTF-8", MaxDetailsLen)
	case o.Result != nil && !json.Valid(o.Result):
		return Errorf(Invalid, "result", "result must be one JSON value")
	}
	return nil
}

// grace is how long a worker may take to notice the end of its time before the
// attempt is taken for lost.
const grace = 10 * time.Second

// recheck is how often a task that waits is looked at.
const recheck = time.Minute

// Claim starts an attempt under l.
func (t *Task) Claim(l Lease, now time.Time) error {
	if t.Run == nil || t.Status != Pending {
		return Errorf(Conflict, "task", "task %s is %s and cannot be claimed", t.ID, t.Status)
	}
	t.Run.Lease = l
	t.Run.Attempts = append(slices.Clone(t.Run.Attempts), Attempt{Worker: l.Worker, StartedAt: now})
	t.Progress, t.ErrorCode, t.Reason = nil, "", ""
	return t.to(Running, now)
}

// Hold checks that token is the lease that t runs under.
func (t *Task) Hold(token string) error {
	if t.Run == nil || t.Status != Running || token == "" || t.Run.Lease.Token != token {
		return Errorf(LeaseLost, "lease", "the lease is no longer held: the task has been taken over or has ended")
	}
	return nil
}

// Extend prolongs the lease named by token and notes progress, unless it is nil.
func (t *Task) Extend(token string, expires time.Time, p *Progress, now time.Time) error {
	if err := t.Hold(token); err != nil {
		return err
	}
	if err := p.validate(); err != nil {
		return err
	}
	t.Run.Lease.Beat, t.Run.Lease.Expires = now, expires
	if p != nil {
		t.Progress, t.UpdatedAt = p, later(t.UpdatedAt, now)
	}
	t.schedule(now)
	return nil
}

// Finish ends the attempt held by token. A failure sends t back to Pending, to
// be tried again at retryAt, while attempts are left and nobody asked it to stop.
func (t *Task) Finish(token string, o Outcome, retryAt, now time.Time) error {
	if err := t.Hold(token); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	if o.Status == Failed && !o.Permanent && t.Run.Cancel == nil && len(t.Run.Attempts) < t.Run.MaxAttempts {
		return t.again(retryAt, orDefault(o.Reason, "failed"), now)
	}
	t.ErrorCode, t.Reason, t.Run.Result = o.ErrorCode, o.Reason, o.Result
	t.endAttempt(attemptError(o), now)
	t.Progress = t.Progress.ended(o.Status, now)
	return t.to(o.Status, now)
}

// stepsEnd is what becomes of a step that was running when its attempt ended.
var stepsEnd = map[Status]StepStatus{Succeeded: StepSucceeded, Failed: StepFailed, Cancelled: StepFailed}

// ended returns the progress of an attempt that ended so: nothing is running
// any more, and a success is complete.
func (p *Progress) ended(s Status, now time.Time) *Progress {
	if p == nil {
		return nil
	}
	c := Progress{Percent: p.Percent, Steps: endSteps(p.Steps, stepsEnd[s], now)}
	if s == Succeeded {
		c.Percent = 100
	}
	return &c
}

func endSteps(steps []Step, s StepStatus, now time.Time) []Step {
	steps = slices.Clone(steps)
	for i := range steps {
		if steps[i].Status == StepRunning {
			steps[i].Status, steps[i].EndedAt = s, later(steps[i].StartedAt, now)
		}
		steps[i].Steps = endSteps(steps[i].Steps, s, now)
	}
	return steps
}

func attemptError(o Outcome) string {
	if o.Status == Succeeded {
		return ""
	}
	return orDefault(o.Reason, string(o.Status))
}

// Release gives back a claim whose worker never heard of it, as if it had not
// been made.
func (t *Task) Release(token string, now time.Time) error {
	if err := t.Hold(token); err != nil {
		return err
	}
	t.Run.Attempts = slices.Clone(t.Run.Attempts[:len(t.Run.Attempts)-1])
	t.Run.Lease = Lease{}
	if t.Run.Cancel != nil {
		t.Reason = orDefault(t.Run.Cancel.Reason, "cancelled before it started")
		return t.to(Cancelled, now)
	}
	return t.to(Pending, now)
}

// Lose ends the attempt of a worker that was not heard of in time. reason says
// what was missing.
func (t *Task) Lose(reason string, retryAt, now time.Time) error {
	if t.Run == nil || t.Status != Running {
		return Errorf(Conflict, "task", "task %s is %s: there is no attempt to lose", t.ID, t.Status)
	}
	if t.Run.Cancel == nil && t.Run.OnLost == RetryWhenLost && len(t.Run.Attempts) < t.Run.MaxAttempts {
		return t.again(retryAt, reason, now)
	}
	t.endAttempt(reason, now)
	if t.Run.Cancel != nil {
		t.Reason = reason
		return t.to(Cancelled, now)
	}
	t.ErrorCode, t.Reason = "OutcomeUnknown", "outcome unknown: "+reason
	return t.to(Failed, now)
}

// AskToStop cancels t: at once if it waits, else by asking its worker, which
// has until force. Asking again only moves force forward in time.
func (t *Task) AskToStop(c Cancel, now time.Time) error {
	if t.Run == nil {
		return Errorf(Conflict, "status", "task %s ran elsewhere and is only kept as a record here", t.ID)
	}
	switch t.Status {
	case Pending:
		t.Run.Cancel, t.Reason = &c, orDefault(c.Reason, "cancelled before it started")
		return t.to(Cancelled, now)
	case Running:
		if old := t.Run.Cancel; old != nil {
			if !c.Force.Before(old.Force) {
				return nil
			}
			c.By, c.At, c.Reason = old.By, old.At, old.Reason
		}
		t.Run.Cancel = &c
		t.UpdatedAt = later(t.UpdatedAt, now)
		t.schedule(now)
		return nil
	}
	return Errorf(Conflict, "status", "task %s is %s already", t.ID, t.Status)
}

// Stop ends a task that was asked to stop and whose worker did not in time.
func (t *Task) Stop(now time.Time) error {
	if t.Run == nil || t.Status != Running || t.Run.Cancel == nil {
		return Errorf(Conflict, "task", "task %s was not asked to stop", t.ID)
	}
	t.Reason = orDefault(t.Run.Cancel.Reason, "cancelled")
	t.endAttempt("stopped by force: the worker did not stop in time", now)
	return t.to(Cancelled, now)
}

// Miss fails a task that could not be started by its deadline.
func (t *Task) Miss(reason string, now time.Time) error {
	if t.Run == nil || t.Status != Pending {
		return Errorf(Conflict, "task", "task %s is %s and has no deadline to miss", t.ID, t.Status)
	}
	t.ErrorCode, t.Reason = "DeadlinePassed", reason
	return t.to(Failed, now)
}

// Reschedule moves the start of a task that waits.
func (t *Task) Reschedule(at, now time.Time) error {
	if t.Run == nil || t.Status != Pending || len(t.Run.Attempts) > 0 {
		return Errorf(Conflict, "status", "task %s is %s; only a task that has not started can be rescheduled", t.ID, t.Status)
	}
	t.Run.RunAt, t.UpdatedAt = at, later(t.UpdatedAt, now)
	t.schedule(now)
	return nil
}

// Wait notes that t still waits, and when to look at it again.
func (t *Task) Wait(now time.Time) { t.schedule(now) }

// Accept makes a new task ready to be kept: pending, with its first due time.
func (t *Task) Accept(now time.Time) {
	t.Status, t.CreatedAt, t.UpdatedAt = Pending, now, now
	t.schedule(now)
}

// again sends t back to wait for its next attempt.
func (t *Task) again(at time.Time, why string, now time.Time) error {
	t.endAttempt(why, now)
	t.Run.RunAt, t.Reason = at, why
	if err := t.to(Pending, now); err != nil {
		return err
	}
	if !t.Run.Deadline.IsZero() { // it was met by the first attempt
		t.Run.Deadline = time.Time{}
		t.schedule(now)
	}
	return nil
}

func (t *Task) endAttempt(err string, now time.Time) {
	if n := len(t.Run.Attempts); n > 0 {
		t.Run.Attempts = slices.Clone(t.Run.Attempts)
		last := &t.Run.Attempts[n-1]
		last.EndedAt, last.Error = later(last.StartedAt, now), err
	}
	t.Run.Lease = Lease{}
}

func (t *Task) to(s Status, now time.Time) error {
	if !t.Status.CanBecome(s) {
		return Errorf(Conflict, "task", "task %s is %s and cannot become %s", t.ID, t.Status, s)
	}
	t.Status, t.UpdatedAt = s, later(t.UpdatedAt, now)
	t.schedule(now)
	return nil
}

// schedule sets Due: what must have happened next, and by when.
func (t *Task) schedule(now time.Time) {
	r := t.Run
	switch {
	case t.Status.Final():
		r.Due, r.Sealed = time.Time{}, nil
	case t.Status == Running:
		r.Due = r.Lease.Expires
		if end, ok := t.AttemptEnds(); ok {
			r.Due = earlier(r.Due, end.Add(grace))
		}
		if r.Cancel != nil {
			r.Due = earlier(r.Due, r.Cancel.Force)
		}
	default:
		r.Due = later(r.RunAt, now.Add(recheck))
		if r.RunAt.After(now) {
			r.Due = r.RunAt.Add(recheck)
		}
		if !r.Deadline.IsZero() {
			r.Due = earlier(r.Due, r.Deadline)
		}
	}
}

// AttemptEnds returns when the current attempt has had all its time.
func (t *Task) AttemptEnds() (time.Time, bool) {
	if t.Run == nil || t.Status != Running || t.Run.Timeout == 0 || len(t.Run.Attempts) == 0 {
		return time.Time{}, false
	}
	return t.Run.Attempts[len(t.Run.Attempts)-1].StartedAt.Add(t.Run.Timeout), true
}

// AttemptNumber is the number of the current or last attempt, counted from 1; 0
// before the first.
func (t *Task) AttemptNumber() int {
	if t.Run == nil {
		return 0
	}
	return len(t.Run.Attempts)
}

func (l Lease) String() string {
	return fmt.Sprintf("lease of %s until %s", l.Worker, l.Expires.UTC().Format(time.RFC3339))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
