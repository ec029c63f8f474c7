package storetest

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// oracle is a store in memory that is plain enough to be believed.
type oracle struct {
	mu        sync.Mutex
	tasks     []*errand.Task
	instances []errand.Instance
	events    []errand.Event
	keys      map[ref]usedKey
	logs      map[ref][]byte
	took      []took
}

var _ tasks.Store = (*oracle)(nil)

func (o *oracle) Put(ctx context.Context, batch []*errand.Task, decide func(old, t *errand.Task) (*errand.Event, error)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	kept, events := slices.Clone(o.tasks), slices.Clone(o.events)
	for _, t := range batch {
		err := o.put(t, decide)
		if err != nil {
			o.tasks, o.events = kept, events
			return err
		}
	}
	return nil
}

func (o *oracle) put(t *errand.Task, decide func(old, t *errand.Task) (*errand.Event, error)) error {
	i := o.instance(t.Project, t.Instance)
	if i < 0 {
		return errand.Errorf(errand.NotFound, "instance", "no instance")
	}
	t.Engine = o.instances[i].Engine
	at := o.find(func(x *errand.Task) bool { return x.Project == t.Project && x.ID == t.ID })
	var old *errand.Task
	if at >= 0 {
		old = clone(o.tasks[at])
	}
	e, err := decide(old, t)
	if err != nil || e == nil {
		return err
	}
	if at >= 0 {
		o.tasks = slices.Delete(slices.Clone(o.tasks), at, at+1)
	}
	o.tasks = append(o.tasks, clone(t))
	o.record(e)
	return nil
}

func (o *oracle) record(e *errand.Event) {
	kept := *e
	kept.Seq, kept.At = int64(len(o.events)+1), round(kept.At)
	o.events = append(o.events, kept)
}

func (o *oracle) Get(ctx context.Context, project, id string) (*errand.Task, error) {
	return o.newest(ctx, func(t *errand.Task) bool { return t.ID == id && t.Project == project })
}

func (o *oracle) GetJob(ctx context.Context, project, jobID string) (*errand.Task, error) {
	return o.newest(ctx, func(t *errand.Task) bool { return t.Project == project && t.JobID == jobID })
}

func (o *oracle) newest(ctx context.Context, match func(*errand.Task) bool) (*errand.Task, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sort()
	at := o.find(match)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if at < 0 {
		return nil, errand.Errorf(errand.NotFound, "task", "no task")
	}
	return clone(o.tasks[at]), nil
}

func (o *oracle) List(ctx context.Context, f errand.Filter) (errand.Page, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.page(ctx, f, func(*errand.Task) bool { return true }, func(t *errand.Task) {
		t.Run = nil
		if t.Progress != nil {
			t.Progress.Steps = nil
		}
	})
}

// page lists the tasks that match f and also; listed leaves out what the listing
// does not show.
func (o *oracle) page(ctx context.Context, f errand.Filter, also func(*errand.Task) bool, listed func(*errand.Task)) (errand.Page, error) {
	if err := ctx.Err(); err != nil {
		return errand.Page{}, err
	}
	if f.Instance != "" && o.instance(f.Project, f.Instance) < 0 {
		return errand.Page{}, errand.Errorf(errand.NotFound, "instance", "no instance")
	}
	o.sort()
	var p errand.Page
	for _, t := range o.tasks {
		switch {
		case t.Project != f.Project,
			f.Instance != "" && t.Instance != f.Instance,
			f.Instance == "" && f.Engine != "" && t.Engine != f.Engine,
			!f.From.IsZero() && t.CreatedAt.Before(f.From),
			!f.To.IsZero() && t.CreatedAt.After(f.To),
			!also(t):
			continue
		}
		if p.Total >= f.Offset && len(p.Tasks) < f.Limit {
			shown := clone(t)
			listed(shown)
			p.Tasks = append(p.Tasks, *shown)
		}
		p.Total++
	}
	return p, nil
}

func (o *oracle) Delete(ctx context.Context, project, id string, change tasks.Change) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	at := o.find(func(t *errand.Task) bool { return t.Project == project && t.ID == id })
	if at < 0 {
		return errand.Errorf(errand.NotFound, "task", "no task")
	}
	e, err := change(clone(o.tasks[at]))
	if err != nil || e == nil {
		return err
	}
	o.erase(o.tasks[at])
	o.tasks = slices.Delete(o.tasks, at, at+1)
	o.record(e)
	return nil
}

func (o *oracle) Events(ctx context.Context, project, task string, after int64, limit int) ([]errand.Event, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []errand.Event
	for _, e := range o.events {
		if e.Project == project && e.Task == task && e.Seq > after && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, ctx.Err()
}

func (o *oracle) AddInstance(ctx context.Context, i errand.Instance) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.instance(i.Project, i.ID) >= 0 {
		return errand.Errorf(errand.Conflict, "instance", "instance exists")
	}
	i.Attributes, i.CreatedAt = maps.Clone(i.Attributes), round(i.CreatedAt)
	o.instances = append(o.instances, i)
	return nil
}

func (o *oracle) Instance(ctx context.Context, project, id string) (errand.Instance, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	at := o.instance(project, id)
	if at < 0 {
		return errand.Instance{}, errand.Errorf(errand.NotFound, "instance", "no instance")
	}
	i := o.instances[at]
	i.Attributes = maps.Clone(i.Attributes)
	return i, ctx.Err()
}

func (o *oracle) Instances(ctx context.Context, project string, offset, limit int) ([]errand.Instance, int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []errand.Instance
	for _, i := range o.instances {
		if i.Project == project {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b errand.Instance) int { return cmp.Compare(a.ID, b.ID) })
	total := len(all)
	return all[min(offset, total):min(offset+limit, total)], total, ctx.Err()
}

func (o *oracle) DeleteInstance(ctx context.Context, project, id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	at := o.instance(project, id)
	if at < 0 {
		return errand.Errorf(errand.NotFound, "instance", "no instance")
	}
	o.instances = slices.Delete(o.instances, at, at+1)
	o.tasks = slices.DeleteFunc(o.tasks, func(t *errand.Task) bool {
		gone := t.Project == project && t.Instance == id
		if gone {
			o.erase(t)
		}
		return gone
	})
	return nil
}

func (o *oracle) Ping(ctx context.Context) error { return ctx.Err() }

func (o *oracle) find(match func(*errand.Task) bool) int { return slices.IndexFunc(o.tasks, match) }

func (o *oracle) instance(project, id string) int {
	return slices.IndexFunc(o.instances, func(i errand.Instance) bool { return i.Project == project && i.ID == id })
}

// sort puts the newest first, ties by id.
func (o *oracle) sort() {
	slices.SortFunc(o.tasks, func(a, b *errand.Task) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
}

// clone copies a task as a store keeps it.
func clone(t *errand.Task) *errand.Task {
	c := *t
	c.CreatedAt, c.UpdatedAt = round(c.CreatedAt), round(c.UpdatedAt)
	c.Details = bytes.Clone(c.Details)
	if c.Origin != nil {
		o := *c.Origin
		c.Origin = &o
	}
	if c.Progress != nil {
		p := *c.Progress
		p.Steps = cloneSteps(p.Steps)
		c.Progress = &p
	}
	c.Run = cloneRun(c.Run)
	return &c
}

func cloneRun(in *errand.Run) *errand.Run {
	if in == nil {
		return nil
	}
	r := *in
	for _, t := range []*time.Time{&r.RunAt, &r.Deadline, &r.Due, &r.Lease.Beat, &r.Lease.Expires} {
		*t = round(*t)
	}
	if r.Cancel != nil {
		c := *r.Cancel
		c.At, c.Force = round(c.At), round(c.Force)
		r.Cancel = &c
	}
	r.Attempts = slices.Clone(r.Attempts)
	for i := range r.Attempts {
		a := &r.Attempts[i]
		a.StartedAt, a.EndedAt = round(a.StartedAt), round(a.EndedAt)
	}
	r.Result, r.Sealed = bytes.Clone(r.Result), bytes.Clone(r.Sealed)
	return &r
}

func cloneSteps(in []errand.Step) []errand.Step {
	out := slices.Clone(in)
	for i := range out {
		s := &out[i]
		s.StartedAt, s.EndedAt, s.Steps = round(s.StartedAt), round(s.EndedAt), cloneSteps(s.Steps)
	}
	return out
}

func round(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Microsecond)
}
