// Package tasks holds the rules of Errand: what may be asked of tasks and
// instances, and by whom. It declares the [Store] that it needs and knows
// neither a database nor a wire format.
package tasks

import (
	"context"
	"time"

	"github.com/errandhq/errand"
)

// MaxLimit is the longest page that any caller may ask for.
const MaxLimit = 1000

// Service answers every question about tasks and instances. Each method takes
// the principal first: nothing is done for nobody.
type Service struct {
	Store Store
	Now   func() time.Time

	// Set by NewRuns: changed is told of every event, and remaining estimates how
	// long a running task still takes.
	changed   func()
	remaining func(context.Context, *errand.Task, time.Time) (time.Duration, error)
}

// New returns a Service over store with the clock now.
func New(store Store, now func() time.Time) *Service {
	return &Service{Store: store, Now: now, changed: func() {}}
}

// authorize lets p act in project if its credential is bound to it and its role
// allows what need allows. The mismatch of projects is the provider's 401: such
// a credential says nothing about this project, not even that it exists.
func authorize(p errand.Principal, project string, need errand.Role) error {
	if !errand.ValidProjectID(project) {
		return errand.Errorf(errand.Invalid, "project_id", "project id %.64q is neither 32 hex digits nor a UUID", project)
	}
	if p.Project == "" || p.Project != project {
		return errand.Errorf(errand.Unauthenticated, "project_id", "the credential is for another project than the one in the path")
	}
	if !p.Can(need) {
		return errand.Errorf(errand.Forbidden, "role", "role %s may not do this; it takes %s", p.Role, need)
	}
	return nil
}

// List returns one page of tasks. Errors: NotFound about "instance", Invalid
// about the member of f that is out of range.
func (s *Service) List(ctx context.Context, p errand.Principal, f errand.Filter) (errand.Page, error) {
	if err := checkFilter(p, f); err != nil {
		return errand.Page{}, err
	}
	return s.Store.List(ctx, f)
}

func checkFilter(p errand.Principal, f errand.Filter) error {
	if err := authorize(p, f.Project, errand.Viewer); err != nil {
		return err
	}
	switch {
	case f.Instance != "" && !errand.ValidInstanceID(f.Instance):
		return badInstanceID(f.Instance)
	case f.Limit < 1 || f.Limit > MaxLimit:
		return errand.Errorf(errand.Invalid, "limit", "limit must be 1 to %d, not %d", MaxLimit, f.Limit)
	case f.Offset < 0:
		return errand.Errorf(errand.Invalid, "offset", "offset must not be negative")
	case f.Engine != "" && !f.Engine.Valid():
		return errand.Errorf(errand.Invalid, "engine", "engine %.64q is not one of %v", string(f.Engine), errand.Engines())
	case !f.From.IsZero() && !f.To.IsZero() && f.To.Before(f.From):
		return errand.Errorf(errand.Invalid, "time_range", "the end of the time range is before its beginning")
	}
	return nil
}

// Show returns one task with its progress. instance may be empty where the
// caller's path does not name one. Errors: NotFound about "instance" or "task".
func (s *Service) Show(ctx context.Context, p errand.Principal, project, instance, id string) (*errand.Task, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return nil, err
	}
	if err := s.checkPath(ctx, project, instance, id); err != nil {
		return nil, err
	}
	t, err := s.Store.Get(ctx, project, id)
	if err != nil {
		return nil, err
	}
	if instance != "" && t.Instance != instance {
		return nil, noTask(id)
	}
	return t, nil
}

// Progress is Show with the time that a running task still takes estimated from
// the runs before it, where its worker does not say.
func (s *Service) Progress(ctx context.Context, p errand.Principal, project, instance, id string) (*errand.Task, error) {
	t, err := s.Show(ctx, p, project, instance, id)
	if err != nil || s.remaining == nil || t.Status != errand.Running || t.Run == nil {
		return t, err
	}
	left, err := s.remaining(ctx, t, s.Now())
	if err != nil {
		return nil, err
	}
	estimated := errand.Progress{}
	if t.Progress != nil {
		estimated = *t.Progress
	}
	estimated.Remaining = left
	t.Progress = &estimated
	return t, nil
}

// Job returns the task of engine with the given job id, or NotFound about
// "job": the job call of a product knows only its own tasks.
func (s *Service) Job(ctx context.Context, p errand.Principal, project string, engine errand.Engine, jobID string) (*errand.Task, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return nil, err
	}
	if !errand.ValidID(jobID) {
		return nil, errand.Errorf(errand.Invalid, "job_id", "job id %.64q is not 32 lower-case hex digits", jobID)
	}
	t, err := s.Store.GetJob(ctx, project, jobID)
	if e := errand.ErrorOf(err); e != nil && e.Kind != errand.NotFound {
		return nil, err
	}
	if err != nil || t.Engine != engine {
		return nil, errand.Errorf(errand.NotFound, "job", "job %s does not exist", jobID)
	}
	return t, nil
}

// DeleteOptions narrow what Delete may remove.
type DeleteOptions struct {
	Instance string        // the instance that the path names, or ""
	Engine   errand.Engine // the engine that the path implies, or ""
}

// Delete removes the record of a finished task. Errors: NotFound about
// "instance" or "task", Conflict about "task" while the task is not final.
func (s *Service) Delete(ctx context.Context, p errand.Principal, project, id string, o DeleteOptions) error {
	if err := authorize(p, project, errand.Operator); err != nil {
		return err
	}
	if err := s.checkPath(ctx, project, o.Instance, id); err != nil {
		return err
	}
	now := s.Now()
	err := s.Store.Delete(ctx, project, id, func(t *errand.Task) (*errand.Event, error) {
		if o.Instance != "" && t.Instance != o.Instance || o.Engine != "" && t.Engine != o.Engine {
			return nil, noTask(id)
		}
		if !t.Status.Final() {
			return nil, errand.Errorf(errand.Conflict, "task", "task %s is %s; only finished tasks can be deleted", id, t.Status)
		}
		e := event(p, t, errand.ActDeleted, now)
		e.From = t.Status
		return e, nil
	})
	if err == nil {
		s.changed()
	}
	return err
}

// Events returns up to limit events of a task, oldest first, after the one
// numbered after. They outlive the task's record; an id that has neither is
// NotFound about "task".
func (s *Service) Events(ctx context.Context, p errand.Principal, project, id string, after int64, limit int) ([]errand.Event, error) {
	if err := authorize(p, project, errand.Viewer); err != nil {
		return nil, err
	}
	switch {
	case !errand.ValidID(id):
		return nil, badTaskID(id)
	case limit < 1 || limit > MaxLimit:
		return nil, errand.Errorf(errand.Invalid, "limit", "limit must be 1 to %d, not %d", MaxLimit, limit)
	}
	events, err := s.Store.Events(ctx, project, id, after, limit)
	if err == nil && len(events) == 0 && after <= 0 {
		_, err = s.Store.Get(ctx, project, id)
	}
	return events, err
}

// checkPath checks the ids of a path in the order in which it names them.
func (s *Service) checkPath(ctx context.Context, project, instance, id string) error {
	if instance != "" {
		if !errand.ValidInstanceID(instance) {
			return badInstanceID(instance)
		}
		if _, err := s.Store.Instance(ctx, project, instance); err != nil {
			return err
		}
	}
	if !errand.ValidID(id) {
		return badTaskID(id)
	}
	return nil
}

func event(p errand.Principal, t *errand.Task, act errand.Act, now time.Time) *errand.Event {
	return &errand.Event{Project: t.Project, Instance: t.Instance, Task: t.ID, At: now, Act: act, Actor: p.User, Request: p.Request, Remote: p.Remote}
}

func badInstanceID(id string) error {
	return errand.Errorf(errand.Invalid, "instance_id", "instance id %.64q is not a UUID in lower case", id)
}

func badTaskID(id string) error {
	return errand.Errorf(errand.Invalid, "task_id", "task id %.64q is not 32 lower-case hex digits", id)
}

func noTask(id string) error {
	return errand.Errorf(errand.NotFound, "task", "task %s does not exist", id)
}
