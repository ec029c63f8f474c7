package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

// submission is a task on its way in.
type submission struct {
	home
	task  *errand.Task
	key   tasks.SubmitKey
	event *errand.Event
	admit func(first *errand.Task, unfinished int) error

	run string // as it is kept

	// The task that the key was used for, if it was.
	earlier, digest string
}

// Submit implements tasks.Queue.
func (s *Store) Submit(ctx context.Context, task *errand.Task, key tasks.SubmitKey, e *errand.Event,
	admit func(first *errand.Task, unfinished int) error,
) (earlier *errand.Task, digest string, err error) {
	x := &submission{task: task, key: key, event: e, admit: admit}
	if x.run, err = stored.EncodeRun(task.Run); err != nil {
		return nil, "", err
	}
	for range moves {
		if x.home, _, err = s.home(ctx, task.Project, task.Instance); err != nil {
			return nil, "", err
		}
		err = s.do(ctx, x.op(s))
		switch {
		case errors.Is(err, errMoved): // the instance that was remembered is gone
			s.homes.drop(task.Project, task.Instance)
			continue
		case taken(err, "live_running"):
			return nil, "", busy(task.ID).WithCause(err)
		case taken(err, ""):
			if err = s.vacate(ctx, x.project, task.ID); err != nil {
				return nil, "", err
			}
			continue
		case err != nil:
			return nil, "", err
		case x.earlier == "":
			return nil, "", nil
		}
		earlier, err = s.Get(context.WithoutCancel(ctx), task.Project, x.earlier)
		if e := errand.ErrorOf(err); e != nil && e.Kind == errand.NotFound {
			err = errand.Errorf(errand.Conflict, "idempotency_key", "the idempotency key was used for task %s, which has been deleted since", x.earlier)
		}
		if err != nil {
			return nil, "", err
		}
		return earlier, x.digest, nil
	}
	return nil, "", unavailable("the instance is changed by others all the time; try again", err)
}

func (x *submission) op(s *Store) *op {
	lane := x.task.Run.Lane
	o := &op{scopes: []int64{x.scope}, weight: weigh(len(x.task.Params) + len(x.task.Run.Sealed))}
	if lane == "" {
		o.keys = append(o.keys, taskLock(x.project, x.task.ID))
	} else {
		o.keys = append(o.keys, laneLock(x.scope, lane))
	}
	if x.key.Key != "" {
		o.keys = append(o.keys, keyLock(x.project, x.key.Key))
	}
	o.needs = func(n *needs) {
		n.instances = append(n.instances, x.scope)
		if lane != "" {
			n.lane(laneKey{x.scope, lane}, 0, true)
		}
		if x.key.Key != "" {
			n.keys = append(n.keys, submitKey{x.project, x.key.Key})
		}
	}
	o.decide = func(f *flow) error {
		if err := x.decide(f); err != nil || x.earlier != "" {
			return err
		}
		at := spot{place: x.place, live: true, lane: lane}
		f.after = append(f.after, func() { s.spots.put(x.task.Project, x.task.ID, at) })
		return nil
	}
	return o
}

func (x *submission) decide(f *flow) error {
	x.earlier, x.digest = "", ""
	if !f.instances[x.scope] {
		return errMoved
	}
	x.task.Engine = x.engine
	if used, ok := f.keys[submitKey{x.project, x.key.Key}]; ok && x.key.Key != "" && used.expires > micro(x.task.CreatedAt) {
		x.earlier, x.digest = used.task, used.digest
		f.shown = append(f.shown, submitKey{x.project, x.key.Key})
		return nil
	}
	r := &record{Task: *x.task, place: x.place, live: true}
	l := f.lanes[r.laneKey()]
	var first *errand.Task
	unfinished := 0
	if l != nil && len(l.rows) > 0 {
		unfinished = l.length
		if head := f.tasks[l.rows[0].taskKey]; head != nil {
			first = &head.Task
		}
	}
	if err := x.admit(first, unfinished); err != nil {
		return err
	}
	if err := f.added.add(x.place, x.task); err != nil {
		return err
	}
	f.live.add(x.place, x.task, x.run)
	if l != nil {
		l.set(r.row())
	}
	x.keep(f)
	return nil
}

// keep notes what is kept beside the task.
func (x *submission) keep(f *flow) {
	k, createdAt := taskKey{x.project, x.task.ID}, micro(x.task.CreatedAt)
	f.count(x.place, createdAt, 1)
	if x.task.Run.Scheduled {
		f.planned.scope, f.planned.createdAt = append(f.planned.scope, x.scope), append(f.planned.createdAt, createdAt)
		f.planned.id = append(f.planned.id, x.task.ID)
	}
	if len(x.task.Run.Sealed) > 0 {
		f.sealed.keys, f.sealed.data = append(f.sealed.keys, k), append(f.sealed.data, x.task.Run.Sealed)
	}
	if x.key.Key != "" {
		u := &f.used
		u.project, u.key, u.task = append(u.project, x.project), append(u.key, x.key.Key), append(u.task, x.task.ID)
		u.digest, u.expires = append(u.digest, x.key.Digest), append(u.expires, micro(x.key.Expires))
		u.now = max(u.now, createdAt)
	}
	f.append(x.event)
}

// vacate makes room for an id that a task of a forgotten instance still has:
// that task is gone for everybody but the index of ids. Any other is in the way.
func (s *Store) vacate(ctx context.Context, project int64, id string) error {
	return s.transact(ctx, func(ctx context.Context, t *tx) error {
		var there bool
		err := t.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM tasks t JOIN instances i ON i.scope = t.scope WHERE t.project_key = $1 AND t.id = $2)`, project, id).Scan(&there)
		if err != nil {
			return err
		}
		if there {
			return errand.Errorf(errand.Conflict, "task", "a task with id %s is there already", id)
		}
		return t.removeForgotten(ctx, []taskKey{{project, id}})
	})
}

// removeForgotten removes what is left of tasks of forgotten instances.
func (t *tx) removeForgotten(ctx context.Context, keys []taskKey) error {
	projects, ids := columns(keys)
	rows, err := t.Query(ctx, `DELETE FROM tasks x USING unnest($1::bigint[], $2::text[]) AS k(project_key, id)
		WHERE x.project_key = k.project_key AND x.id = k.id AND NOT EXISTS (SELECT 1 FROM instances i WHERE i.scope = x.scope)
		RETURNING x.scope, x.grp, x.project_key, x.id, x.created_at`, projects, ids)
	if err != nil {
		return err
	}
	_, err = t.removed(ctx, rows)
	return err
}

// removed counts tasks whose rows were removed, and removes what was kept
// beside them. It returns how many there were.
func (t *tx) removed(ctx context.Context, rows pgx.Rows) (int, error) {
	var p place
	var id string
	var createdAt int64
	var gone goneRows
	_, err := pgx.ForEachRow(rows, []any{&p.scope, &p.grp, &p.project, &id, &createdAt}, func() error {
		t.count(p, createdAt, -1)
		gone.add(p, id, createdAt)
		return nil
	})
	if err != nil || len(gone.keys) == 0 {
		return 0, err
	}
	b := &pgx.Batch{}
	gone.queue(b)
	return len(gone.keys), t.SendBatch(ctx, b).Close()
}
