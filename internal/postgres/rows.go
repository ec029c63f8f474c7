package postgres

import (
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
)

// place says where the tasks of an instance are.
type place struct {
	scope, grp, project int64
}

// record is a stored task with its place.
type record struct {
	errand.Task
	place
	live bool // it has not ended
}

// taskColumns come first in every statement that reads tasks. What else it reads
// is given to newTaskScan.
const taskColumns = `t.id, t.operation, t.user_id, t.user_name, t.params, t.status, t.error_code, t.reason, t.job_id, t.origin, t.details,
	t.percent, t.remaining, t.created_at, t.updated_at`

// taskScan reads tasks row by row.
type taskScan struct {
	id, operation, userID, userName, params, status, code, reason string
	jobID, origin                                                 *string
	details                                                       []byte
	percent, remaining                                            *int64
	createdAt, updatedAt                                          int64

	dests []any
}

// newTaskScan reads into more what a statement gives after taskColumns.
func newTaskScan(more ...any) *taskScan {
	s := &taskScan{}
	s.dests = append([]any{
		&s.id, &s.operation, &s.userID, &s.userName, &s.params, &s.status, &s.code, &s.reason, &s.jobID, &s.origin, &s.details,
		&s.percent, &s.remaining, &s.createdAt, &s.updatedAt,
	}, more...)
	return s
}

// scan reads the current row into t, which has what rows do not name.
func (s *taskScan) scan(rows pgx.Rows, t *errand.Task) error {
	s.details = nil // the task keeps it
	if err := rows.Scan(s.dests...); err != nil {
		return err
	}
	t.ID, t.JobID, t.Operation, t.User = s.id, s.id, s.operation, errand.User{ID: s.userID, Name: s.userName}
	t.Params, t.Status, t.ErrorCode, t.Reason = s.params, errand.Status(s.status), s.code, s.reason
	if s.jobID != nil {
		t.JobID = *s.jobID
	}
	if s.origin != nil {
		t.Origin = &errand.Origin{Status: *s.origin}
	}
	if s.details != nil {
		t.Details = json.RawMessage(s.details)
	}
	if s.percent != nil {
		t.Progress = &errand.Progress{Percent: int(*s.percent)}
		if s.remaining != nil {
			t.Progress.Remaining = time.Duration(*s.remaining) * time.Microsecond
		}
	}
	t.CreatedAt, t.UpdatedAt = at(s.createdAt), at(s.updatedAt)
	return nil
}

// A whole task is read with its instance, its steps, its place and its run; the
// row of tasks is t. A task whose instance has been forgotten is not found.
const (
	wholeColumns = taskColumns + `, i.project, i.id, i.engine, t.steps, t.scope, t.grp, t.project_key,
		l.id IS NOT NULL, coalesce(l.run, r.run), s.sealed`
	wholeJoins = ` JOIN instances i ON i.scope = t.scope
		LEFT JOIN live l ON l.project_key = t.project_key AND l.id = t.id
		LEFT JOIN secrets s ON s.project_key = t.project_key AND s.id = t.id
		LEFT JOIN runs r ON r.project_key = t.project_key AND r.id = t.id`

	taskByID = `SELECT ` + wholeColumns + ` FROM scopes p JOIN tasks t ON t.project_key = p.id` + wholeJoins + `
		WHERE p.project = $1 AND p.instance = '' AND p.engine = '' AND t.id = $2`
	tasksByKey = `SELECT ` + wholeColumns + ` FROM unnest($1::bigint[], $2::text[]) WITH ORDINALITY AS k(project_key, id, n)
		JOIN tasks t ON t.project_key = k.project_key AND t.id = k.id` + wholeJoins + ` ORDER BY k.n`
)

// readRecords calls each for every whole task that rows give.
func readRecords(rows pgx.Rows, each func(*record)) error {
	defer rows.Close()
	var project, instance, engine string
	var steps, run *string
	var p place
	var live bool
	var sealed []byte
	s := newTaskScan(&project, &instance, &engine, &steps, &p.scope, &p.grp, &p.project, &live, &run, &sealed)
	for rows.Next() {
		r := &record{}
		sealed = nil
		if err := s.scan(rows, &r.Task); err != nil {
			return err
		}
		r.Project, r.Instance, r.Engine, r.place, r.live = project, instance, errand.Engine(engine), p, live
		if r.Progress != nil && steps != nil {
			var err error
			if r.Progress.Steps, err = stored.DecodeSteps([]byte(*steps)); err != nil {
				return err
			}
		}
		if run != nil && r.Origin == nil {
			var err error
			if r.Run, err = stored.DecodeRun([]byte(*run)); err != nil {
				return err
			}
			if live {
				r.Run.Sealed = sealed
			}
		}
		each(r)
	}
	return rows.Err()
}

// insertTasks adds rows; its arguments are those of taskRows.
const insertTasks = `INSERT INTO tasks (scope, created_at, id, grp, project_key, job_id, operation, user_id, user_name, params, details,
		status, error_code, reason, origin, percent, remaining, updated_at, steps)
	SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::text[],
		$10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::bigint[], $17::bigint[], $18::bigint[], $19::text[])`

// taskRows are tasks to be added, column by column.
type taskRows struct {
	scope, createdAt, grp, project, updatedAt                     []int64
	id, operation, userID, userName, params, status, code, reason []string
	jobID, details, origin, steps                                 []*string
	percent, remaining                                            []*int64
}

func (r *taskRows) len() int { return len(r.id) }

func (r *taskRows) add(p place, t *errand.Task) error {
	percent, remaining, steps, err := progressColumns(t.Progress)
	if err != nil {
		return err
	}
	var jobID, details, origin *string
	if t.JobID != t.ID && t.JobID != "" {
		jobID = &t.JobID
	}
	if t.Origin != nil {
		origin = &t.Origin.Status
	}
	if len(t.Details) > 0 {
		d := string(t.Details)
		details = &d
	}
	r.scope, r.createdAt, r.id = append(r.scope, p.scope), append(r.createdAt, micro(t.CreatedAt)), append(r.id, t.ID)
	r.grp, r.project, r.jobID = append(r.grp, p.grp), append(r.project, p.project), append(r.jobID, jobID)
	r.operation, r.userID, r.userName = append(r.operation, t.Operation), append(r.userID, t.User.ID), append(r.userName, t.User.Name)
	r.params, r.details, r.status = append(r.params, t.Params), append(r.details, details), append(r.status, string(t.Status))
	r.code, r.reason, r.origin = append(r.code, t.ErrorCode), append(r.reason, t.Reason), append(r.origin, origin)
	r.percent, r.remaining, r.steps = append(r.percent, percent), append(r.remaining, remaining), append(r.steps, steps)
	r.updatedAt = append(r.updatedAt, micro(t.UpdatedAt))
	return nil
}

func (r *taskRows) args() []any {
	return []any{
		r.scope, r.createdAt, r.id, r.grp, r.project, r.jobID, r.operation, r.userID, r.userName, r.params, r.details,
		r.status, r.code, r.reason, r.origin, r.percent, r.remaining, r.updatedAt, r.steps,
	}
}

// progressColumns are the columns of a task's progress.
func progressColumns(p *errand.Progress) (percent, remaining *int64, steps *string, err error) {
	if p == nil {
		return nil, nil, nil, nil
	}
	if len(p.Steps) > 0 {
		text, err := stored.EncodeSteps(p.Steps)
		if err != nil {
			return nil, nil, nil, err
		}
		steps = &text
	}
	n, left := int64(p.Percent), p.Remaining.Microseconds()
	return &n, &left, steps, nil
}

// micro and at turn a moment into microseconds and back.
func micro(t time.Time) int64 { return t.UnixMicro() }
func at(us int64) time.Time   { return time.UnixMicro(us).UTC() }

func zeroOrAt(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return at(us)
}
