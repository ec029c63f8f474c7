package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

// record is a stored task with its place.
type record struct {
	errand.Task
	place
}

const wholeTask = `SELECT ` + taskColumns + `, i.id, i.engine, t.steps, t.scope, t.grp, t.project_key
	FROM tasks t CROSS JOIN instances i ON i.scope = t.scope WHERE `

const (
	taskByID = wholeTask + `t.project_key = (SELECT id FROM scopes WHERE project = ?1 AND instance = '' AND engine = '') AND t.id = ?2`
	// Job ids need not be unique among imported records: the newest counts.
	taskByJob = wholeTask + `t.project_key = (SELECT id FROM scopes WHERE project = ?1 AND instance = '' AND engine = '') AND t.job_id = ?2
		ORDER BY t.created_at DESC, t.id DESC LIMIT 1`
)

// task reads a whole task, or nil if there is none.
func (c *conn) task(query, project, id string) (*record, error) {
	r, err := c.bareTask(query, project, id)
	if err != nil || r == nil {
		return nil, err
	}
	return r, c.withRun(r)
}

// bareTask is task without the Run.
func (c *conn) bareTask(query, project, id string) (*record, error) {
	st, err := c.Prepare(query)
	if err != nil {
		return nil, err
	}
	st.BindText(1, project)
	st.BindText(2, id)
	r := new(record)
	found, err := c.readTasksAnd(st, 1, errand.Task{Project: project}, func(t *errand.Task) error {
		r.place = place{st.ColumnInt64(colScope), st.ColumnInt64(colGroup), st.ColumnInt64(colProject)}
		if t.Progress == nil || st.ColumnIsNull(colSteps) {
			return nil
		}
		var err error
		t.Progress.Steps, err = stored.DecodeSteps(blob(st, colSteps))
		return err
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	r.Task = found[0]
	return r, nil
}

// Get implements tasks.Store.
func (s *Store) Get(ctx context.Context, project, id string) (*errand.Task, error) {
	var r *record
	err := s.read(ctx, func(c *conn) (err error) {
		r, err = c.bareTask(taskByID, project, id)
		return err
	})
	if err == nil && r != nil && r.Origin == nil { // it has a run, which must be of the same moment
		err = s.snapshot(ctx, func(c *conn) (err error) {
			r, err = c.task(taskByID, project, id)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, noTask(id)
	}
	return &r.Task, nil
}

// GetJob implements tasks.Store.
func (s *Store) GetJob(ctx context.Context, project, jobID string) (*errand.Task, error) {
	var own, other *record
	err := s.snapshot(ctx, func(c *conn) (err error) {
		if own, err = c.task(taskByID, project, jobID); err != nil {
			return err
		}
		other, err = c.task(taskByJob, project, jobID)
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case own != nil && own.JobID != jobID:
		own = nil
	}
	switch {
	case own == nil && other == nil:
		return nil, noTask(jobID)
	case own == nil || other != nil && newer(&other.Task, &own.Task):
		return &other.Task, nil
	}
	return &own.Task, nil
}

// newer is the order of listings.
func newer(a, b *errand.Task) bool {
	if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
		return c > 0
	}
	return a.ID > b.ID
}

// Put implements tasks.Store.
func (s *Store) Put(ctx context.Context, batch []*errand.Task, decide func(old, t *errand.Task) (*errand.Event, error)) error {
	return s.w.do(ctx, func(tx *tx) error {
		var in *entry // where the last task went
		for _, t := range batch {
			if in == nil || in.inst.Project != t.Project || in.inst.ID != t.Instance {
				var err error
				if in, err = tx.instance(t.Project, t.Instance); err != nil {
					return err
				}
			}
			t.Engine = in.inst.Engine
			if err := tx.put(in.place, t, decide); err != nil {
				return err
			}
		}
		return nil
	})
}

func (t *tx) put(p place, task *errand.Task, decide func(old, t *errand.Task) (*errand.Event, error)) error {
	old, err := t.task(taskByID, task.Project, task.ID)
	if err != nil {
		return err
	}
	var before *errand.Task
	if old != nil {
		before = &old.Task
	}
	event, err := decide(before, task)
	if err != nil || event == nil {
		return err
	}
	createdAt := micro(task.CreatedAt)
	switch {
	case old == nil:
		err = t.removeForgotten(p.project, task.ID)
	case old.scope == p.scope && micro(old.CreatedAt) == createdAt:
		err = t.drop(p.scope, createdAt, task.ID) // no count changes
	default:
		err = t.remove(old.place, micro(old.CreatedAt), task.ID)
	}
	if err != nil {
		return err
	}
	if err := t.insert(p, task); err != nil {
		return err
	}
	if old == nil || old.scope != p.scope || micro(old.CreatedAt) != createdAt {
		t.count(p, createdAt, 1)
	}
	return t.append(event)
}

// remove takes a task out of its instance, with all that is kept of its run.
func (t *tx) remove(p place, createdAt int64, id string) error {
	t.count(p, createdAt, -1)
	for _, query := range [...]string{
		`DELETE FROM live WHERE project_key = ? AND id = ?`,
		dropSecrets,
		`DELETE FROM runs WHERE project_key = ? AND id = ?`,
		`DELETE FROM task_log WHERE project_key = ? AND id = ?`,
	} {
		if err := t.exec(query, p.project, id); err != nil {
			return err
		}
	}
	if err := t.exec(`DELETE FROM scheduled WHERE scope = ? AND created_at = ? AND id = ?`, p.scope, createdAt, id); err != nil {
		return err
	}
	return t.drop(p.scope, createdAt, id)
}

func (t *tx) drop(scope, createdAt int64, id string) error {
	t.changed = append(t.changed, scope)
	return t.exec(`DELETE FROM tasks WHERE scope = ? AND created_at = ? AND id = ?`, scope, createdAt, id)
}

// removeForgotten makes room for an id that a task of a forgotten instance
// still has: that task is gone for everybody but the index of ids.
func (t *tx) removeForgotten(project int64, id string) error {
	var p place
	var createdAt int64
	err := t.rows(`SELECT scope, grp, created_at FROM tasks WHERE project_key = ? AND id = ?`, func(st *sqlite.Stmt) error {
		p = place{st.ColumnInt64(0), st.ColumnInt64(1), project}
		createdAt = st.ColumnInt64(2)
		return nil
	}, project, id)
	if err != nil || p.scope == 0 {
		return err
	}
	return t.remove(p, createdAt, id)
}

func (t *tx) insert(p place, task *errand.Task) error {
	t.changed = append(t.changed, p.scope)
	var jobID, origin, details any
	if task.JobID != task.ID && task.JobID != "" {
		jobID = task.JobID
	}
	if task.Origin != nil {
		origin = task.Origin.Status
	}
	if len(task.Details) > 0 {
		details = string(task.Details)
	}
	percent, remaining, steps, err := progressColumns(task.Progress)
	if err != nil {
		return err
	}
	return t.exec(`INSERT INTO tasks (scope, created_at, id, grp, project_key, job_id, operation, user_id, user_name, params, details,
			status, error_code, reason, origin, percent, remaining, updated_at, steps)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		p.scope, micro(task.CreatedAt), task.ID, p.grp, p.project, jobID, task.Operation, task.User.ID, task.User.Name, task.Params, details,
		string(task.Status), task.ErrorCode, task.Reason, origin, percent, remaining, micro(task.UpdatedAt), steps)
}

// progressColumns are the columns of a task's progress.
func progressColumns(p *errand.Progress) (percent, remaining, steps any, err error) {
	if p == nil {
		return nil, nil, nil, nil
	}
	if len(p.Steps) > 0 {
		if steps, err = stored.EncodeSteps(p.Steps); err != nil {
			return nil, nil, nil, err
		}
	}
	return p.Percent, p.Remaining.Microseconds(), steps, nil
}

// Delete implements tasks.Store.
func (s *Store) Delete(ctx context.Context, project, id string, change tasks.Change) error {
	return s.w.do(ctx, func(t *tx) error {
		r, err := t.task(taskByID, project, id)
		if err != nil {
			return err
		}
		if r == nil {
			return noTask(id)
		}
		createdAt := micro(r.CreatedAt)
		event, err := change(&r.Task)
		if err != nil || event == nil {
			return err
		}
		lane := ""
		if r.Run != nil {
			lane = r.Run.Lane
		}
		if err := t.remove(r.place, createdAt, id); err != nil {
			return err
		}
		if err := t.settleLane(r.scope, lane); err != nil {
			return err
		}
		return t.append(event)
	})
}

// append adds an event to the history.
func (t *tx) append(e *errand.Event) error {
	return t.exec(`INSERT INTO events (project, instance, task, at, act, actor_id, actor_name, from_status, to_status, request, reason, remote)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		e.Project, e.Instance, e.Task, micro(e.At), string(e.Act), e.Actor.ID, e.Actor.Name, string(e.From), string(e.To), e.Request, e.Reason, e.Remote)
}
