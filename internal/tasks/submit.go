package tasks

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/errandhq/errand"
)

// Submission asks for an operation on an instance.
type Submission struct {
	Operation string            `json:"operation"`
	Params    json.RawMessage   `json:"params,omitempty"`  // a JSON object; {} if empty
	Secrets   map[string]string `json:"secrets,omitempty"` // by the names that the operation declares
	Details   json.RawMessage   `json:"details,omitempty"` // before-and-after values to show, a JSON object
	RunAt     time.Time         `json:"run_at,omitzero"`   // not before; zero: now
	Deadline  time.Time         `json:"deadline,omitzero"` // to be started by; zero: whenever
	Timeout   time.Duration     `json:"timeout,omitempty"` // of one attempt; 0: as the operation says
	Reject    bool              `json:"reject,omitempty"`  // refuse it if the lane is taken

	// Key makes it safe to submit again after an answer that was lost: within a
	// day the same key with the same submission is the same task.
	Key string `json:"-"`

	// RetryOf is the task that is run again, set by Retry.
	RetryOf string `json:"-"`
}

// The limits of a submission.
const (
	MaxKeyLen   = 255
	MaxSecrets  = 64
	MaxSecret   = 16 << 10
	maxAhead    = 366 * 24 * time.Hour // how far in the future a task may be scheduled
	maxTimeout  = 30 * 24 * time.Hour
	maxLaneWait = 1000 // tasks that may wait in one lane
)

// Submit accepts a task and returns it, durable and visible. An earlier task
// with the same key is returned instead of a second one. Errors: NotFound about
// "instance" or "operation"; Invalid about the member that is wrong; Conflict
// about "idempotency_key" (used for something else) or "instance" (the lane is
// taken and the submission or the operation does not wait).
func (r *Runs) Submit(ctx context.Context, p errand.Principal, project, instance string, s Submission) (*errand.Task, error) {
	if err := authorize(p, project, errand.Operator); err != nil {
		return nil, err
	}
	i, err := r.svc.Instance(ctx, p, project, instance)
	if err != nil {
		return nil, err
	}
	o, ok := r.catalog.Operation(i.Engine, s.Operation)
	if !ok {
		return nil, errand.Errorf(errand.NotFound, "operation", "no operation %.64q is declared for %s instances", s.Operation, i.Engine)
	}
	now := r.now()
	if err := r.checkSubmission(o, &s, now); err != nil {
		return nil, err
	}
	t := r.newTask(p, i, o, s, now)
	if err := t.Validate(); err != nil {
		return nil, err
	}
	return r.submit(ctx, p, t, o, s, now)
}

// checkSubmission refuses what can be refused before anything is kept.
func (r *Runs) checkSubmission(o errand.Operation, s *Submission, now time.Time) error {
	if len(s.Params) == 0 {
		s.Params = json.RawMessage("{}")
	}
	switch {
	case !errand.ValidText(s.Key, MaxKeyLen):
		return errand.Errorf(errand.Invalid, "idempotency_key", "an idempotency key has at most %d bytes of UTF-8", MaxKeyLen)
	case !errand.ValidText(string(s.Params), errand.MaxParamsLen):
		return errand.Errorf(errand.Invalid, "params", "params must be at most %d bytes of UTF-8", errand.MaxParamsLen)
	case !errand.ValidText(string(s.Details), errand.MaxDetailsLen):
		return errand.Errorf(errand.Invalid, "details", "details must be at most %d bytes of UTF-8", errand.MaxDetailsLen)
	case !isObject(s.Params):
		return errand.Errorf(errand.Invalid, "params", "params must be a JSON object")
	case len(s.Details) > 0 && !isObject(s.Details):
		return errand.Errorf(errand.Invalid, "details", "details must be a JSON object")
	case s.Timeout < 0 || s.Timeout > maxTimeout:
		return errand.Errorf(errand.Invalid, "timeout", "timeout must be positive and at most %v", maxTimeout)
	case s.RunAt.After(now.Add(maxAhead)):
		return errand.Errorf(errand.Invalid, "run_at", "run_at must be within a year")
	case !s.Deadline.IsZero() && !s.Deadline.After(now):
		return errand.Errorf(errand.Invalid, "deadline", "the deadline has passed already")
	case !s.Deadline.IsZero() && s.Deadline.Before(s.RunAt):
		return errand.Errorf(errand.Invalid, "deadline", "the deadline is before run_at")
	}
	if err := checkSecrets(o, s.Secrets); err != nil {
		return err
	}
	if err := checkNoSecret(o, "params", s.Params); err != nil {
		return err
	}
	if err := checkNoSecret(o, "details", s.Details); err != nil {
		return err
	}
	return r.catalog.Check(o, s.Params)
}

func checkSecrets(o errand.Operation, secrets map[string]string) error {
	if len(secrets) > MaxSecrets {
		return errand.Errorf(errand.Invalid, "secrets", "a submission has at most %d secrets", MaxSecrets)
	}
	for name, value := range secrets {
		if !slices.Contains(o.Secrets, name) {
			return errand.Errorf(errand.Invalid, "secrets", "operation %s declares no secret %.64q; it has %v", o.Name, name, o.Secrets)
		}
		if len(value) > MaxSecret {
			return errand.Errorf(errand.Invalid, "secrets", "secret %s is longer than %d bytes", name, MaxSecret)
		}
	}
	return nil
}

// checkNoSecret refuses an object in which a secret was put by mistake: what it
// holds is kept and shown as it is.
func checkNoSecret(o errand.Operation, subject string, j json.RawMessage) error {
	if len(o.Secrets) == 0 || len(j) == 0 {
		return nil
	}
	members, _ := object(j)
	for _, name := range o.Secrets {
		if _, ok := members[name]; ok {
			return errand.Errorf(errand.Invalid, subject, "%s is a secret of operation %s: give it among the secrets, because %s are shown to everybody who may read the task", name, o.Name, subject)
		}
	}
	return nil
}

func isObject(j json.RawMessage) bool {
	_, ok := object(j)
	return ok
}

func object(j json.RawMessage) (map[string]json.RawMessage, bool) {
	var m map[string]json.RawMessage
	return m, json.Unmarshal(j, &m) == nil && m != nil
}

func (r *Runs) newTask(p errand.Principal, i errand.Instance, o errand.Operation, s Submission, now time.Time) *errand.Task {
	id := r.newID(now)
	t := &errand.Task{
		ID: id, JobID: id, Project: i.Project, Instance: i.ID, Engine: i.Engine, Operation: o.Name,
		User: p.User, Params: string(s.Params), Details: s.Details,
		Run: &errand.Run{
			Lane: o.Lane, RunAt: utc(s.RunAt), Deadline: utc(s.Deadline), Timeout: o.Timeout, MaxAttempts: max(1, o.MaxAttempts),
			OnLost: o.OnLost, Backoff: o.Backoff, Scheduled: s.RunAt.After(now),
		},
	}
	if s.Timeout > 0 {
		t.Run.Timeout = s.Timeout
	}
	if !t.Run.Scheduled {
		t.Run.RunAt = now
	}
	if len(t.Details) == 0 {
		t.Details = r.catalog.Details(o, s.Params)
	}
	if len(s.Secrets) > 0 {
		plain, _ := json.Marshal(s.Secrets) // strings always marshal
		t.Run.Sealed = r.sealer.Seal(sealedSecrets(t), plain)
	}
	t.Accept(now)
	return t
}

// sealedSecrets names the secrets of a task, so that they cannot be opened as
// another's.
func sealedSecrets(t *errand.Task) string {
	return "secrets of task " + t.ID + " of project " + t.Project
}

func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// submit keeps a task that has been checked.
func (r *Runs) submit(ctx context.Context, p errand.Principal, t *errand.Task, o errand.Operation, s Submission, now time.Time) (*errand.Task, error) {
	e := event(p, t, errand.ActSubmitted, now)
	e.To = t.Status
	key := SubmitKey{Key: s.Key, Digest: r.digest(p, t.Instance, s), Expires: now.Add(r.opt.KeyWindow)}
	reject := s.Reject || o.RejectBusy
	earlier, digest, err := r.queue.Submit(ctx, t, key, e, func(first *errand.Task, unfinished int) error {
		switch {
		case reject && first != nil:
			return errand.Errorf(errand.Conflict, "instance", "instance %s is busy: task %s (%s) is %s", t.Instance, first.ID, first.Operation, first.Status)
		case unfinished >= maxLaneWait:
			return errand.Errorf(errand.Conflict, "instance", "%d tasks wait for instance %s already", unfinished, t.Instance)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case earlier == nil:
		r.changed()
		return t, nil
	case digest != key.Digest:
		return nil, errand.Errorf(errand.Conflict, "idempotency_key", "idempotency key %.64q was used for another submission, task %s", s.Key, earlier.ID)
	}
	return earlier, nil
}

// digest tells submissions apart. It is keyed, because secrets take part in it.
func (r *Runs) digest(p errand.Principal, instance string, s Submission) string {
	if s.Key == "" {
		return ""
	}
	j, _ := json.Marshal(s) // its members always marshal
	return r.sealer.Digest(p.User.ID + "\n" + instance + "\n" + s.RetryOf + "\n" + string(j))
}
