package storetest

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

var _ tasks.Queue = (*oracle)(nil)

// Memory returns a store that keeps everything in memory, for tests of the rules
// that need no database. It is the oracle that the other stores are held
// against: plain, and slow once it holds many tasks.
func Memory() Queue { return &oracle{} }

// ref names something within a project: a task by its id, or an idempotency key.
type ref struct{ project, id string }

type usedKey struct {
	tasks.SubmitKey
	task string
}

// keptDurations is how many durations of an operation a store remembers.
const keptDurations = 50

// took is how long a successful attempt lasted.
type took struct {
	project, operation string
	engine             errand.Engine
	d                  time.Duration
}

func (o *oracle) Submit(ctx context.Context, t *errand.Task, key tasks.SubmitKey, e *errand.Event,
	admit func(first *errand.Task, unfinished int) error,
) (*errand.Task, string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	i := o.instance(t.Project, t.Instance)
	if i < 0 {
		return nil, "", errand.Errorf(errand.NotFound, "instance", "no instance")
	}
	t.Engine = o.instances[i].Engine
	if used, ok := o.keys[ref{t.Project, key.Key}]; ok && key.Key != "" && used.Expires.After(t.CreatedAt) {
		at := o.byID(t.Project, used.task)
		if at < 0 {
			return nil, "", errand.Errorf(errand.Conflict, "idempotency_key", "the task of the key is gone")
		}
		return clone(o.tasks[at]), used.Digest, nil
	}
	var first *errand.Task
	lane := o.lane(t)
	if len(lane) > 0 {
		first = clone(lane[0])
	}
	if err := admit(first, len(lane)); err != nil {
		return nil, "", err
	}
	if o.byID(t.Project, t.ID) >= 0 {
		return nil, "", errand.Errorf(errand.Conflict, "task", "task exists")
	}
	if key.Key != "" {
		if o.keys == nil {
			o.keys = make(map[ref]usedKey)
		}
		key.Expires = round(key.Expires)
		o.keys[ref{t.Project, key.Key}] = usedKey{key, t.ID}
	}
	o.tasks = append(o.tasks, clone(t))
	o.record(e)
	return nil, "", nil
}

// lane returns the unfinished tasks of t's lane in their order, or none if it has
// no lane.
func (o *oracle) lane(t *errand.Task) []*errand.Task {
	if t.Run.Lane == "" {
		return nil
	}
	var lane []*errand.Task
	for _, x := range o.tasks {
		if unfinished(x) && x.Project == t.Project && x.Instance == t.Instance && x.Run.Lane == t.Run.Lane {
			lane = append(lane, x)
		}
	}
	slices.SortFunc(lane, inTurn)
	return lane
}

// others is lane without t itself.
func (o *oracle) others(t *errand.Task) []*errand.Task {
	return slices.DeleteFunc(o.lane(t), func(x *errand.Task) bool { return x.ID == t.ID })
}

func unfinished(t *errand.Task) bool { return t.Run != nil && !t.Status.Final() }

// inTurn is the order of a lane: the running task first, then oldest first.
func inTurn(a, b *errand.Task) int {
	running := func(t *errand.Task) int {
		if t.Status == errand.Running {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(running(a), running(b)), a.Run.RunAt.Compare(b.Run.RunAt), cmp.Compare(a.ID, b.ID))
}

func (o *oracle) byID(project, id string) int {
	return o.find(func(t *errand.Task) bool { return t.Project == project && t.ID == id })
}

func (o *oracle) Update(ctx context.Context, project, id string, change tasks.Change) (*errand.Task, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at := o.byID(project, id)
	if at < 0 {
		return nil, errand.Errorf(errand.NotFound, "task", "no task")
	}
	t := clone(o.tasks[at])
	e, err := change(t)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return clone(o.tasks[at]), nil
	}
	if err := o.replace(at, t); err != nil {
		return nil, err
	}
	o.record(e)
	return clone(o.tasks[at]), nil
}

// replace saves what a change made of a task: what may change of it.
func (o *oracle) replace(at int, t *errand.Task) error {
	old := o.tasks[at]
	kept := clone(old)
	kept.Status, kept.ErrorCode, kept.Reason, kept.Progress, kept.UpdatedAt, kept.Run = t.Status, t.ErrorCode, t.Reason, t.Progress, t.UpdatedAt, t.Run
	kept = clone(kept)
	if r := kept.Run; r != nil {
		if lane := o.others(kept); kept.Status == errand.Running && len(lane) > 0 && lane[0].Status == errand.Running {
			return errand.Errorf(errand.Conflict, "task", "two tasks of one lane would run")
		}
		if kept.Status.Final() {
			r.Lease, r.Sealed = errand.Lease{}, nil
		}
		if n := len(r.Attempts); kept.Status == errand.Succeeded && old.Status != errand.Succeeded && n > 0 {
			last := r.Attempts[n-1]
			o.took = append(o.took, took{kept.Project, kept.Operation, kept.Engine, last.EndedAt.Sub(last.StartedAt)})
		}
	}
	o.tasks[at] = kept
	return nil
}

func (o *oracle) Renew(ctx context.Context, project, id string, change func(*errand.Task) error) (*errand.Task, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at := o.byID(project, id)
	if at < 0 {
		return nil, errand.Errorf(errand.NotFound, "task", "no task")
	}
	t := clone(o.tasks[at])
	if err := change(t); err != nil {
		return nil, err
	}
	if kept := clone(o.tasks[at]); unfinished(kept) {
		kept.Run.Lease, kept.Run.Due, kept.Progress, kept.UpdatedAt = t.Run.Lease, t.Run.Due, t.Progress, t.UpdatedAt
		o.tasks[at] = clone(kept)
	}
	return clone(o.tasks[at]), nil
}

func (o *oracle) Take(ctx context.Context, want tasks.Want, change tasks.Change) ([]*errand.Task, time.Time, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, time.Time{}, err
	}
	before, events, durations := slices.Clone(o.tasks), len(o.events), len(o.took)
	ready, _ := o.claimable(want)
	var taken []*errand.Task
	for _, x := range ready[:min(want.Limit, len(ready))] {
		at := o.byID(x.Project, x.ID)
		t := clone(x)
		e, err := change(t)
		if err == nil && e != nil {
			err = o.replace(at, t)
		}
		if err != nil {
			o.tasks, o.events, o.took = before, o.events[:events], o.took[:durations]
			return nil, time.Time{}, err
		}
		if e != nil {
			o.record(e)
			taken = append(taken, clone(o.tasks[at]))
		}
	}
	_, next := o.claimable(want)
	return taken, next, nil
}

// claimable returns the tasks that may be taken, and when the next one may.
func (o *oracle) claimable(want tasks.Want) (ready []*errand.Task, next time.Time) {
	for _, t := range o.tasks {
		switch {
		case !unfinished(t) || t.Status != errand.Pending,
			want.Project != "" && t.Project != want.Project,
			len(want.Operations) > 0 && !slices.Contains(want.Operations, t.Operation),
			len(want.Engines) > 0 && !slices.Contains(want.Engines, t.Engine):
			continue
		}
		if lane := o.lane(t); len(lane) > 0 && inTurn(lane[0], t) < 0 {
			continue
		}
		if !t.Run.RunAt.After(want.Now) {
			ready = append(ready, t)
		} else if next.IsZero() || t.Run.RunAt.Before(next) {
			next = t.Run.RunAt
		}
	}
	slices.SortFunc(ready, inTurn)
	return ready, next
}

func (o *oracle) Sweep(ctx context.Context, now time.Time, limit int, change tasks.Change) (swept int, next time.Time, first error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, time.Time{}, err
	}
	live := slices.DeleteFunc(slices.Clone(o.tasks), func(t *errand.Task) bool { return !unfinished(t) })
	slices.SortFunc(live, func(a, b *errand.Task) int {
		return cmp.Or(a.Run.Due.Compare(b.Run.Due), cmp.Compare(a.ID, b.ID))
	})
	for _, x := range live[:min(limit, len(live))] {
		if x.Run.Due.After(now) {
			break
		}
		t := clone(x)
		e, err := change(t)
		if err == nil {
			err = o.replace(o.byID(x.Project, x.ID), t)
		}
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		if e != nil {
			o.record(e)
		}
		swept++
	}
	for _, t := range o.tasks {
		if unfinished(t) && (next.IsZero() || t.Run.Due.Before(next)) {
			next = t.Run.Due
		}
	}
	return swept, next, first
}

func (o *oracle) Lane(ctx context.Context, project, instance, lane string) ([]*errand.Task, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.instance(project, instance) < 0 {
		return nil, errand.Errorf(errand.NotFound, "instance", "no instance")
	}
	var all []*errand.Task
	for _, t := range o.tasks {
		if unfinished(t) && t.Project == project && t.Instance == instance && t.Run.Lane == lane {
			all = append(all, clone(t))
		}
	}
	slices.SortFunc(all, inTurn)
	return all, nil
}

func (o *oracle) Scheduled(ctx context.Context, f errand.Filter) (errand.Page, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.page(ctx, f, func(t *errand.Task) bool { return t.Run != nil && t.Run.Scheduled }, func(t *errand.Task) {})
}

func (o *oracle) AppendLog(ctx context.Context, project, id string, text []byte, limit int64) (truncated bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if o.byID(project, id) < 0 {
		return false, errand.Errorf(errand.NotFound, "task", "no task")
	}
	if o.logs == nil {
		o.logs = make(map[ref][]byte)
	}
	k := ref{project, id}
	fits := min(int64(len(text)), max(0, limit-int64(len(o.logs[k]))))
	o.logs[k] = append(o.logs[k], text[:fits]...)
	return fits < int64(len(text)), nil
}

func (o *oracle) Log(ctx context.Context, project, id string, offset int64, limit int) (text []byte, size int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	if o.byID(project, id) < 0 {
		return nil, 0, errand.Errorf(errand.NotFound, "task", "no task")
	}
	all := o.logs[ref{project, id}]
	size = int64(len(all))
	from := min(offset, size)
	return bytes.Clone(all[from:min(from+int64(limit), size)]), size, nil
}

// erase removes what belongs to a record that goes.
func (o *oracle) erase(t *errand.Task) {
	delete(o.logs, ref{t.Project, t.ID})
}

func (o *oracle) Feed(ctx context.Context, project string, after int64, limit int) ([]errand.Event, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []errand.Event
	for _, e := range o.events[min(max(after, 0), int64(len(o.events))):] { // Seq counts from 1
		if e.Project == project && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, ctx.Err()
}

func (o *oracle) LastSeq(ctx context.Context) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int64(len(o.events)), ctx.Err()
}

func (o *oracle) Durations(ctx context.Context, project string, engine errand.Engine, operation string, limit int) ([]time.Duration, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []time.Duration
	for _, x := range slices.Backward(o.took) {
		if x.project == project && x.engine == engine && x.operation == operation && len(out) < min(limit, keptDurations) {
			out = append(out, x.d)
		}
	}
	return out, ctx.Err()
}

func (o *oracle) Backlog(ctx context.Context, now time.Time) (tasks.Backlog, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b tasks.Backlog
	for _, t := range o.tasks {
		switch {
		case !unfinished(t):
		case t.Status == errand.Running:
			b.Running++
		case t.Run.RunAt.After(now):
			b.Later++
		default:
			b.Behind++
		}
	}
	ready, _ := o.claimable(tasks.Want{Now: now})
	b.Ready, b.Behind = len(ready), b.Behind-len(ready)
	if b.Ready > 0 {
		b.Oldest = ready[0].Run.RunAt
	}
	return b, ctx.Err()
}
