package postgres

import (
	"bytes"
	"context"
	"reflect"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

// Update implements tasks.Queue.
func (s *Store) Update(ctx context.Context, project, id string, change tasks.Change) (*errand.Task, error) {
	var after *errand.Task
	refused := func(t *errand.Task) (bool, error) {
		event, err := change(t)
		return event == nil, err
	}
	err := s.onTask(ctx, project, id, refused, func(f *flow, r *record, at spot) error {
		after = nil
		before := asBefore(&r.Task)
		event, err := change(&r.Task)
		if err != nil || event == nil {
			return err
		}
		if !r.at(at) {
			return errMoved
		}
		v, err := newSaving(r, &before, event)
		if err != nil {
			return err
		}
		if err := f.admits(v); err != nil {
			return err
		}
		f.save(v)
		f.after = append(f.after, func() { s.spots.note(v) })
		after = &r.Task
		return nil
	})
	if err == nil && after == nil { // what change did to it does not count
		return s.Get(context.WithoutCancel(ctx), project, id)
	}
	if err != nil {
		return nil, err
	}
	return after, nil
}

// Renew implements tasks.Queue.
func (s *Store) Renew(ctx context.Context, project, id string, change func(*errand.Task) error) (*errand.Task, error) {
	var after *errand.Task
	ended := func(t *errand.Task) (bool, error) {
		given := asBefore(t)
		after = t
		return t.Run == nil || t.Status.Final(), change(&given)
	}
	err := s.onTask(ctx, project, id, ended, func(f *flow, r *record, at spot) error {
		given, before := asBefore(&r.Task), asBefore(&r.Task)
		if err := change(&given); err != nil {
			return err
		}
		after = &r.Task
		if after.Run == nil || after.Status.Final() {
			return nil
		}
		if !r.at(at) {
			return errMoved
		}
		after.Progress, after.UpdatedAt = given.Progress, given.UpdatedAt
		after.Run.Lease, after.Run.Due = given.Run.Lease, given.Run.Due
		v, err := newSaving(r, &before, nil)
		if err != nil {
			return err
		}
		f.save(v)
		if v.seen && s.progress.due() {
			f.ring(tasks.RingProgress)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

// onTask has decide look at one task in a group. at is where it was when its
// locks were chosen. Those of a task that has ended may be held by an import for
// long, and who comes too late mostly wants nothing: late looks at it before.
func (s *Store) onTask(ctx context.Context, project, id string, late func(*errand.Task) (done bool, err error),
	decide func(f *flow, r *record, at spot) error,
) error {
	first := func(ctx context.Context) (done bool, err error) {
		t, err := s.Get(ctx, project, id)
		if err == nil {
			err = call(func(*flow) (err error) { done, err = late(t); return err }, nil)
		}
		return done, err
	}
	return s.atSpot(ctx, project, id, func(at spot) *op {
		k := taskKey{at.project, id}
		return &op{
			first:  first,
			scopes: []int64{at.scope}, keys: at.locks(id), alone: !at.live, weight: 1,
			needs: func(n *needs) {
				n.tasks = append(n.tasks, k)
				if at.lane != "" {
					n.lane(laneKey{at.scope, at.lane}, 1, false)
				}
			},
			decide: func(f *flow) error {
				r := f.tasks[k]
				if r == nil {
					s.spots.drop(project, id)
					return noTask(id)
				}
				return decide(f, r, at)
			},
		}
	})
}

// asBefore copies a task that is about to be changed.
func asBefore(t *errand.Task) errand.Task {
	c := *t
	if t.Run != nil {
		run := *t.Run
		c.Run = &run
	}
	return c
}

// saving is what becomes of a task, ready to be written.
type saving struct {
	r      *record
	before *errand.Task
	event  *errand.Event

	seen               bool // a listing shows a difference
	percent, remaining *int64
	steps              *string
	run                string
}

// newSaving does all that may fail.
func newSaving(r *record, before *errand.Task, event *errand.Event) (*saving, error) {
	v := &saving{r: r, before: before, event: event, seen: seen(before, &r.Task)}
	var err error
	if v.percent, v.remaining, v.steps, err = progressColumns(r.Progress); err != nil || r.Run == nil {
		return v, err
	}
	if r.Status.Final() {
		ended := *r.Run
		ended.Lease, ended.Sealed = errand.Lease{}, nil
		r.Run = &ended
	}
	v.run, err = stored.EncodeRun(r.Run)
	return v, err
}

// seen reports whether a listing shows a difference.
func seen(a, b *errand.Task) bool {
	return a.Status != b.Status || a.ErrorCode != b.ErrorCode || a.Reason != b.Reason || !a.UpdatedAt.Equal(b.UpdatedAt) ||
		!reflect.DeepEqual(a.Progress, b.Progress)
}

// admits refuses a second running task of a lane.
func (f *flow) admits(v *saving) error {
	if v.r.Run == nil || v.r.Status != errand.Running || v.r.Run.Lane == "" {
		return nil
	}
	if l := f.lanes[v.r.laneKey()]; l != nil && l.runs(v.r.key()) {
		return busy(v.r.ID)
	}
	return nil
}

func busy(id string) *errand.Error {
	return errand.Errorf(errand.Conflict, "task", "task %s cannot run: another one of its lane is running", id)
}

// save notes what is to be written of a task, and of the event that says so, if
// there is one. It cannot fail.
func (f *flow) save(v *saving) {
	if v.seen {
		f.rewritten.add(v.r, v.percent, v.remaining, v.steps)
	}
	if v.r.Run != nil {
		f.saveRun(v)
	}
	if v.event != nil {
		f.append(v.event)
	}
}

// saveRun keeps the run of a task; one that has ended leaves the queue.
func (f *flow) saveRun(v *saving) {
	r := v.r
	l := f.lanes[r.laneKey()]
	switch {
	case r.Status.Final():
		if r.live {
			f.left = append(f.left, r.key())
			if l != nil {
				l.drop(r.key())
			}
			if v.before.Run.Sealed != nil {
				f.unsealed = append(f.unsealed, r.key())
			}
		}
		f.runs.keys, f.runs.text = append(f.runs.keys, r.key()), append(f.runs.text, v.run)
		if n := len(r.Run.Attempts); r.Status == errand.Succeeded && v.before.Status != errand.Succeeded && n > 0 {
			f.noteDuration(r, r.Run.Attempts[n-1])
		}
		return
	case !bytes.Equal(r.Run.Sealed, v.before.Run.Sealed) && len(r.Run.Sealed) > 0:
		f.sealed.keys, f.sealed.data = append(f.sealed.keys, r.key()), append(f.sealed.data, r.Run.Sealed)
	case !bytes.Equal(r.Run.Sealed, v.before.Run.Sealed):
		f.unsealed = append(f.unsealed, r.key())
	}
	if r.Status == v.before.Status && r.Run.RunAt.Equal(v.before.Run.RunAt) { // its lane stays as it is
		f.renewed.add(r.place, &r.Task, v.run)
		return
	}
	f.moved.add(r.place, &r.Task, v.run)
	if l != nil {
		l.set(r.row())
	}
}

// keptDurations is how many runs of an operation are remembered.
const keptDurations = 50

func (f *flow) noteDuration(r *record, a errand.Attempt) {
	if f.took == nil {
		f.took, f.late = make(map[operationKey][]int64), f.queueDurations
	}
	k := operationKey{r.project, string(r.Engine), r.Operation}
	all := append(f.took[k], a.EndedAt.Sub(a.StartedAt).Microseconds())
	f.took[k] = all[max(0, len(all)-keptDurations):]
}

// queueDurations numbers them on, which must be done by one at a time.
func (f *flow) queueDurations(b *pgx.Batch) {
	var projects, of, took []int64
	var engines, operations []string
	for k, all := range f.took {
		projects, engines, operations = append(projects, k.project), append(engines, k.engine), append(operations, k.operation)
		for _, d := range all {
			of, took = append(of, int64(len(projects))), append(took, d)
		}
	}
	b.Queue(`INSERT INTO durations (project_key, engine, operation, n, took)
		SELECT o.project_key, o.engine, o.operation, last.n + d.i, d.took
		FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS o(project_key, engine, operation, i)
		CROSS JOIN LATERAL (SELECT coalesce(max(x.n), 0) AS n FROM durations x
			WHERE x.project_key = o.project_key AND x.engine = o.engine AND x.operation = o.operation) last
		JOIN unnest($4::bigint[], $5::bigint[]) WITH ORDINALITY AS d(o, took, i) ON d.o = o.i`, projects, engines, operations, of, took)
	b.Queue(`DELETE FROM durations x USING (SELECT o.project_key, o.engine, o.operation,
				(SELECT max(y.n) FROM durations y WHERE y.project_key = o.project_key AND y.engine = o.engine AND y.operation = o.operation) AS n
			FROM unnest($1::bigint[], $2::text[], $3::text[]) AS o(project_key, engine, operation)) last
		WHERE x.project_key = last.project_key AND x.engine = last.engine AND x.operation = last.operation AND x.n <= last.n - $4`,
		projects, engines, operations, int64(keptDurations))
}
