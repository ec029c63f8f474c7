package tasks

import (
	"context"
	"encoding/json"
	"time"

	"github.com/errandhq/errand"
)

// Get returns one task with its Run, its attempts and its progress, or NotFound
// about "task".
func (r *Runs) Get(ctx context.Context, p errand.Principal, project, id string) (*errand.Task, error) {
	t, err := r.svc.Show(ctx, p, project, "", id)
	if err != nil {
		return nil, err
	}
	return public(t), nil
}

// Cancel asks a task to stop. One that waits is cancelled at once; the worker of
// a running one is told with its next beat and has a grace time, after which the
// task is stopped without it. Errors: NotFound about "task"; Conflict about
// "status" if it has ended, or only is a record.
func (r *Runs) Cancel(ctx context.Context, p errand.Principal, project, id, reason string) (*errand.Task, error) {
	if err := authorize(p, project, errand.Operator); err != nil {
		return nil, err
	}
	if !errand.ValidText(reason, errand.MaxAttributeLen) {
		return nil, errand.Errorf(errand.Invalid, "reason", "a reason has at most %d bytes of UTF-8", errand.MaxAttributeLen)
	}
	return r.act(ctx, p, project, id, func(t *errand.Task, now time.Time) (errand.Act, error) {
		c := errand.Cancel{By: p.User, At: now, Force: now.Add(r.opt.CancelGrace), Reason: reason}
		if err := t.AskToStop(c, now); err != nil {
			return "", err
		}
		if t.Status == errand.Cancelled {
			return errand.ActCancelled, nil
		}
		return errand.ActStopping, nil
	}, reason)
}

// Reschedule moves the start of a task that has not started. Errors: NotFound
// about "task", Conflict about "status", Invalid about "run_at".
func (r *Runs) Reschedule(ctx context.Context, p errand.Principal, project, id string, at time.Time) (*errand.Task, error) {
	if err := authorize(p, project, errand.Operator); err != nil {
		return nil, err
	}
	if at = utc(at); at.After(r.now().Add(maxAhead)) {
		return nil, errand.Errorf(errand.Invalid, "run_at", "run_at must be within a year")
	}
	return r.act(ctx, p, project, id, func(t *errand.Task, now time.Time) (errand.Act, error) {
		if t.Run != nil && !t.Run.Deadline.IsZero() && at.After(t.Run.Deadline) {
			return "", errand.Errorf(errand.Invalid, "run_at", "run_at would be after the deadline")
		}
		return errand.ActRescheduled, t.Reschedule(at, now)
	}, "to "+at.Format(time.RFC3339))
}

// InInstance reports NotFound about "instance" or "task" unless the instance is
// known and the task is one of it: for callers whose path names both.
func (r *Runs) InInstance(ctx context.Context, p errand.Principal, project, instance, id string) error {
	_, err := r.svc.Show(ctx, p, project, instance, id)
	return err
}

// Unschedule cancels a task that waits for its time, and deletes its record; of
// one that has ended it deletes the record. Errors: NotFound about "instance" or
// "task", Conflict about "task" while it is running.
func (r *Runs) Unschedule(ctx context.Context, p errand.Principal, project, instance, id string) error {
	if err := authorize(p, project, errand.Operator); err != nil {
		return err
	}
	t, err := r.svc.Show(ctx, p, project, instance, id)
	if err != nil {
		return err
	}
	if t.Status == errand.Pending && t.Run != nil {
		if _, err := r.Cancel(ctx, p, project, id, "the scheduled task was deleted"); err != nil {
			return err
		}
	}
	return r.svc.Delete(ctx, p, project, id, DeleteOptions{Instance: instance})
}

// act changes one task at somebody's wish.
func (r *Runs) act(ctx context.Context, p errand.Principal, project, id string,
	do func(*errand.Task, time.Time) (errand.Act, error), reason string,
) (*errand.Task, error) {
	if !errand.ValidID(id) {
		return nil, badTaskID(id)
	}
	now := r.now()
	t, err := r.queue.Update(ctx, project, id, func(t *errand.Task) (*errand.Event, error) {
		from := t.Status
		act, err := do(t, now)
		if err != nil {
			return nil, err
		}
		e := event(p, t, act, now)
		e.From, e.To, e.Reason = from, t.Status, reason
		return e, nil
	})
	if err != nil {
		return nil, err
	}
	r.changed()
	return public(t), nil
}

// Retry submits what a task did once more, as a new task that names the old.
// Secrets are not kept beyond a task's end: an operation that needs some is
// given them anew. Errors: NotFound about "task", Conflict about "task" while it
// has not ended, and those of Submit.
func (r *Runs) Retry(ctx context.Context, p errand.Principal, project, id string, secrets map[string]string, key string) (*errand.Task, error) {
	if err := authorize(p, project, errand.Operator); err != nil {
		return nil, err
	}
	old, err := r.svc.Show(ctx, p, project, "", id)
	if err != nil {
		return nil, err
	}
	if !old.Status.Final() {
		return nil, errand.Errorf(errand.Conflict, "task", "task %s is %s; only a task that has ended can be run again", id, old.Status)
	}
	o, ok := r.catalog.Operation(old.Engine, old.Operation)
	if !ok {
		return nil, errand.Errorf(errand.NotFound, "operation", "no operation %.64q is declared for %s instances any more", old.Operation, old.Engine)
	}
	i, err := r.svc.Instance(ctx, p, project, old.Instance)
	if err != nil {
		return nil, err
	}
	now := r.now()
	s := Submission{Operation: old.Operation, Params: json.RawMessage(old.Params), Secrets: secrets, Details: old.Details, Key: key, RetryOf: old.ID}
	if old.Params == "" {
		s.Params = nil
	}
	if old.Run != nil {
		s.Timeout = old.Run.Timeout
	}
	if err := r.checkSubmission(o, &s, now); err != nil {
		return nil, err
	}
	t := r.newTask(p, i, o, s, now)
	t.Run.RetryOf = old.ID
	return r.submit(ctx, p, t, o, s, now)
}
