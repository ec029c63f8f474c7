package sqlite

import (
	"bytes"
	"context"
	"reflect"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

var _ tasks.Queue = (*Store)(nil)

// expiredKeys is how many idempotency keys that have expired one submission
// takes away at the most: more than it adds.
const expiredKeys = 4

const (
	dropExpiredKeys = `DELETE FROM submit_keys WHERE (project_key, key) IN (SELECT project_key, key FROM submit_keys WHERE expires <= ? ORDER BY expires LIMIT ?)`
	submittedWith   = `SELECT task, digest FROM submit_keys WHERE project_key = ? AND key = ? AND expires > ?`
	dropSecrets     = `DELETE FROM secrets WHERE project_key = ? AND id = ?`
	latestDurations = `SELECT took FROM durations WHERE project_key = (SELECT id FROM scopes WHERE project = ?1 AND instance = '' AND engine = '')
		AND engine = ?2 AND operation = ?3 ORDER BY n DESC LIMIT ?4 + 0`
)

// Submit implements tasks.Queue.
func (s *Store) Submit(ctx context.Context, task *errand.Task, key tasks.SubmitKey, e *errand.Event,
	admit func(first *errand.Task, unfinished int) error,
) (earlier *errand.Task, digest string, err error) {
	err = s.w.do(ctx, func(t *tx) error {
		earlier, digest = nil, ""
		in, err := t.instance(task.Project, task.Instance)
		if err != nil {
			return err
		}
		task.Engine = in.inst.Engine
		if key.Key != "" {
			if earlier, digest, err = t.submitted(in.project, task, key); err != nil || earlier != nil {
				return err
			}
		}
		if err := t.admit(in.place, task, admit); err != nil {
			return err
		}
		if err := t.vacant(in.project, task); err != nil {
			return err
		}
		if err := t.insert(in.place, task); err != nil {
			return err
		}
		createdAt := micro(task.CreatedAt)
		t.count(in.place, createdAt, 1)
		if task.Run.Scheduled {
			if err := t.exec(`INSERT INTO scheduled (scope, created_at, id) VALUES (?, ?, ?)`, in.scope, createdAt, task.ID); err != nil {
				return err
			}
		}
		if err := t.saveLive(in.place, task); err != nil {
			return err
		}
		if len(task.Run.Sealed) > 0 {
			if err := t.saveSecrets(in.project, task.ID, task.Run.Sealed); err != nil {
				return err
			}
		}
		return t.append(e)
	})
	return earlier, digest, err
}

// submitted returns the task that key was used for, or keeps key.
func (t *tx) submitted(project int64, task *errand.Task, key tasks.SubmitKey) (*errand.Task, string, error) {
	now := micro(task.CreatedAt)
	err := t.exec(dropExpiredKeys, now, expiredKeys)
	if err != nil {
		return nil, "", err
	}
	var id, digest string
	err = t.rows(submittedWith, func(st *sqlite.Stmt) error {
		id, digest = st.ColumnText(0), st.ColumnText(1)
		return nil
	}, project, key.Key, now)
	if err != nil {
		return nil, "", err
	}
	if id != "" {
		r, err := t.task(taskByID, task.Project, id)
		if err == nil && r == nil {
			err = errand.Errorf(errand.Conflict, "idempotency_key", "the idempotency key was used for task %s, which has been deleted since", id)
		}
		if err != nil {
			return nil, "", err
		}
		return &r.Task, digest, nil
	}
	return nil, "", t.exec(`INSERT OR REPLACE INTO submit_keys (project_key, key, task, digest, expires) VALUES (?, ?, ?, ?, ?)`,
		project, key.Key, task.ID, key.Digest, micro(key.Expires))
}

// vacant refuses the id of a task that is there, and makes room for one whose
// old task is of a forgotten instance.
func (t *tx) vacant(project int64, task *errand.Task) error {
	old, err := t.task(taskByID, task.Project, task.ID)
	if err != nil {
		return err
	}
	if old != nil {
		return errand.Errorf(errand.Conflict, "task", "a task with id %s is there already", task.ID)
	}
	return t.removeForgotten(project, task.ID)
}

// admit asks whether a task may join its lane.
func (t *tx) admit(p place, task *errand.Task, admit func(*errand.Task, int) error) error {
	if task.Run.Lane == "" {
		return admit(nil, 0)
	}
	n, err := t.number(laneSize, p.scope, task.Run.Lane)
	if err != nil {
		return err
	}
	var first *errand.Task
	if n > 0 {
		lane, err := t.lane(task.Project, p.scope, task.Run.Lane, 1)
		if err != nil {
			return err
		}
		first = lane[0]
	}
	return admit(first, int(n))
}

// saveLive keeps the run of a task that has not ended, and sees to its lane.
func (t *tx) saveLive(p place, task *errand.Task) error {
	text, err := stored.EncodeRun(task.Run)
	if err != nil {
		return err
	}
	r := task.Run
	running := task.Status == errand.Running
	err = t.exec(`INSERT INTO live (project_key, id, scope, created_at, engine, operation, lane, running, ready, run_at, due, run)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (project_key, id) DO UPDATE SET running = excluded.running, ready = excluded.ready, run_at = excluded.run_at,
			due = excluded.due, run = excluded.run`,
		p.project, task.ID, p.scope, micro(task.CreatedAt), string(task.Engine), task.Operation, r.Lane, running,
		!running && r.Lane == "", micro(r.RunAt), micro(r.Due), text)
	if taken(err) {
		return errand.Errorf(errand.Conflict, "task", "task %s cannot run: another one of its lane is running", task.ID).WithCause(err)
	}
	if err != nil {
		return err
	}
	return t.settleLane(p.scope, r.Lane)
}

// saveSecrets keeps what is sealed of an unfinished task; nil is nothing.
func (t *tx) saveSecrets(project int64, id string, sealed []byte) error {
	if len(sealed) == 0 {
		return t.exec(dropSecrets, project, id)
	}
	return t.exec(`INSERT OR REPLACE INTO secrets (project_key, id, sealed) VALUES (?, ?, ?)`, project, id, sealed)
}

// settleLane marks the task of a lane that may be taken next: the first of those
// that wait, unless one is running.
func (t *tx) settleLane(scope int64, lane string) error {
	if lane == "" {
		return nil
	}
	var project int64
	var first string
	var busy, marked bool
	err := t.rows(laneHead, func(st *sqlite.Stmt) error {
		project, first, busy, marked = st.ColumnInt64(0), st.ColumnText(1), st.ColumnBool(2), st.ColumnBool(3)
		return nil
	}, scope, lane)
	if err != nil || first == "" {
		return err
	}
	if busy {
		first = ""
	}
	err = t.exec(unready, scope, lane, first)
	if err != nil || busy || marked {
		return err
	}
	return t.exec(`UPDATE live SET ready = 1 WHERE project_key = ? AND id = ?`, project, first)
}

// Update implements tasks.Queue.
func (s *Store) Update(ctx context.Context, project, id string, change tasks.Change) (*errand.Task, error) {
	var after *errand.Task
	err := s.w.do(ctx, func(t *tx) error {
		r, err := t.known(project, id)
		if err != nil {
			return err
		}
		after = &r.Task
		before := asBefore(after)
		event, err := change(after)
		if err != nil {
			return err
		}
		if event == nil { // what change did to it does not count
			if r, err = t.known(project, id); err == nil {
				after = &r.Task
			}
			return err
		}
		return t.save(r, &before, event)
	})
	if err != nil {
		return nil, err
	}
	return after, nil
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

// known returns a task that is there.
func (t *tx) known(project, id string) (*record, error) {
	r, err := t.task(taskByID, project, id)
	if err == nil && r == nil {
		err = noTask(id)
	}
	return r, err
}

// Renew implements tasks.Queue.
func (s *Store) Renew(ctx context.Context, project, id string, change func(*errand.Task) error) (*errand.Task, error) {
	var after *errand.Task
	err := s.w.do(ctx, func(t *tx) error {
		r, err := t.known(project, id)
		if err != nil {
			return err
		}
		given, before := asBefore(&r.Task), asBefore(&r.Task)
		if err := change(&given); err != nil {
			return err
		}
		after = &r.Task
		if after.Run == nil || after.Status.Final() {
			return nil
		}
		after.Progress, after.UpdatedAt = given.Progress, given.UpdatedAt
		after.Run.Lease, after.Run.Due = given.Run.Lease, given.Run.Due
		return t.save(r, &before, nil)
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}

// save keeps what became of a task, and the event that says so, if there is one.
func (t *tx) save(r *record, before *errand.Task, e *errand.Event) error {
	after := &r.Task
	if seen(before, after) {
		if err := t.rewrite(r); err != nil {
			return err
		}
	}
	if after.Run != nil {
		if err := t.saveRun(r, before); err != nil {
			return err
		}
	}
	if e == nil {
		return nil
	}
	return t.append(e)
}

// seen reports whether a listing shows a difference.
func seen(a, b *errand.Task) bool {
	return a.Status != b.Status || a.ErrorCode != b.ErrorCode || a.Reason != b.Reason || !a.UpdatedAt.Equal(b.UpdatedAt) ||
		!reflect.DeepEqual(a.Progress, b.Progress)
}

func (t *tx) rewrite(r *record) error {
	t.changed = append(t.changed, r.scope)
	percent, remaining, steps, err := progressColumns(r.Progress)
	if err != nil {
		return err
	}
	return t.exec(`UPDATE tasks SET status = ?, error_code = ?, reason = ?, percent = ?, remaining = ?, updated_at = ?, steps = ?
		WHERE scope = ? AND created_at = ? AND id = ?`,
		string(r.Status), r.ErrorCode, r.Reason, percent, remaining, micro(r.UpdatedAt), steps, r.scope, micro(r.CreatedAt), r.ID)
}

// saveRun keeps the run of a task; one that has ended leaves the queue.
func (t *tx) saveRun(r *record, before *errand.Task) error {
	if !r.Status.Final() {
		if !bytes.Equal(r.Run.Sealed, before.Run.Sealed) {
			if err := t.saveSecrets(r.project, r.ID, r.Run.Sealed); err != nil {
				return err
			}
		}
		if r.Status == before.Status && r.Run.RunAt.Equal(before.Run.RunAt) {
			return t.renewLive(r) // its lane stays as it is
		}
		return t.saveLive(r.place, &r.Task)
	}
	ended := *r.Run
	ended.Lease, ended.Sealed = errand.Lease{}, nil
	text, err := stored.EncodeRun(&ended)
	if err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM live WHERE project_key = ? AND id = ?`, r.project, r.ID); err != nil {
		return err
	}
	if before.Run.Sealed != nil {
		if err := t.saveSecrets(r.project, r.ID, nil); err != nil {
			return err
		}
	}
	if err := t.exec(`INSERT OR REPLACE INTO runs (project_key, id, run) VALUES (?, ?, ?)`, r.project, r.ID, text); err != nil {
		return err
	}
	if err := t.settleLane(r.scope, r.Run.Lane); err != nil {
		return err
	}
	r.Run = &ended
	if n := len(ended.Attempts); r.Status == errand.Succeeded && before.Status != errand.Succeeded && n > 0 {
		return t.noteDuration(r, ended.Attempts[n-1])
	}
	return nil
}

func (t *tx) renewLive(r *record) error {
	text, err := stored.EncodeRun(r.Run)
	if err != nil {
		return err
	}
	return t.exec(`UPDATE live SET due = ?, run = ? WHERE project_key = ? AND id = ?`, micro(r.Run.Due), text, r.project, r.ID)
}

// keptDurations is how many runs of an operation are remembered.
const keptDurations = 50

func (t *tx) noteDuration(r *record, a errand.Attempt) error {
	n, err := t.number(`SELECT coalesce(max(n), 0) + 1 FROM durations WHERE project_key = ? AND engine = ? AND operation = ?`, r.project, string(r.Engine), r.Operation)
	if err != nil {
		return err
	}
	err = t.exec(`INSERT INTO durations (project_key, engine, operation, n, took) VALUES (?, ?, ?, ?, ?)`,
		r.project, string(r.Engine), r.Operation, n, a.EndedAt.Sub(a.StartedAt).Microseconds())
	if err != nil {
		return err
	}
	return t.exec(`DELETE FROM durations WHERE project_key = ? AND engine = ? AND operation = ? AND n <= ?`, r.project, string(r.Engine), r.Operation, n-keptDurations)
}

// Durations implements tasks.Queue.
func (s *Store) Durations(ctx context.Context, project string, engine errand.Engine, operation string, limit int) ([]time.Duration, error) {
	var all []time.Duration
	err := s.read(ctx, func(c *conn) error {
		return c.rows(latestDurations, func(st *sqlite.Stmt) error {
			all = append(all, time.Duration(st.ColumnInt64(0))*time.Microsecond)
			return nil
		}, project, string(engine), operation, limit)
	})
	return all, err
}
