package sqlite

import (
	"context"
	"encoding/json"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// What may be taken: the words in brackets are empty lists where anything will
// do.
const (
	fits = `ready = 1 AND (?2 = '' OR operation IN (SELECT value FROM json_each(?2))) AND (?3 = '' OR engine IN (SELECT value FROM json_each(?3)))`

	readyOf  = `SELECT l.project_key, l.id FROM live l INDEXED BY live_ready WHERE project_key = ?1 AND ` + fits + ` AND run_at <= ?4 ORDER BY run_at, id LIMIT ?5 + 0`
	readyAll = `SELECT l.project_key, l.id FROM live l INDEXED BY live_ready_all WHERE ?1 = 0 AND ` + fits + ` AND run_at <= ?4 ORDER BY run_at, id LIMIT ?5 + 0`
	nextOf   = `SELECT run_at FROM live INDEXED BY live_ready WHERE project_key = ?1 AND ` + fits + ` AND run_at > ?4 ORDER BY run_at, id LIMIT 1`
	nextAll  = `SELECT run_at FROM live INDEXED BY live_ready_all WHERE ?1 = 0 AND ` + fits + ` AND run_at > ?4 ORDER BY run_at, id LIMIT 1`
)

// What is due, and what waits in a lane.
const (
	firstDue = `SELECT due FROM live ORDER BY due LIMIT 1`
	overdue  = `SELECT project_key, id FROM live WHERE due <= ? ORDER BY due, id LIMIT ? + 0`

	laneOf   = `SELECT project_key, id FROM live WHERE scope = ? AND lane = ? ORDER BY running DESC, run_at, id LIMIT ? + 0`
	laneSize = `SELECT count(*) FROM live WHERE scope = ? AND lane = ?`
	laneHead = `SELECT project_key, id, running, ready FROM live WHERE scope = ? AND lane = ? ORDER BY running DESC, run_at, id LIMIT 1`
	unready  = `UPDATE live SET ready = 0 WHERE scope = ? AND lane = ? AND running = 0 AND ready = 1 AND id <> ?`
)

// Take implements tasks.Queue.
func (s *Store) Take(ctx context.Context, want tasks.Want, change tasks.Change) (taken []*errand.Task, next time.Time, err error) {
	ready, later := readyOf, nextOf
	if want.Project == "" {
		ready, later = readyAll, nextAll
	}
	operations, err := list(want.Operations)
	if err != nil {
		return nil, time.Time{}, err
	}
	engines, err := list(want.Engines)
	if err != nil {
		return nil, time.Time{}, err
	}
	// Most who ask find nothing: a look that writes nothing comes first.
	var some bool
	err = s.snapshot(ctx, func(c *conn) error {
		project, err := c.projectKey(want.Project)
		if err != nil {
			return err
		}
		args := []any{project, operations, engines, micro(want.Now)}
		if err := c.rows(ready, func(*sqlite.Stmt) error { some = true; return nil }, append(args, 1)...); err != nil || some {
			return err
		}
		us, err := c.number(later, args...)
		next = zeroOrAt(us)
		return err
	})
	if err != nil || !some {
		return nil, next, err
	}
	err = s.w.do(ctx, func(t *tx) error {
		taken = nil
		project, err := t.projectKey(want.Project)
		if err != nil {
			return err
		}
		args := []any{project, operations, engines, micro(want.Now)}
		keys, err := t.keys(ready, append(args, want.Limit)...)
		if err != nil {
			return err
		}
		for _, k := range keys {
			r, before, event, err := t.offer(k, change)
			if err != nil {
				return err
			}
			if event == nil {
				continue
			}
			if err := t.save(r, &before, event); err != nil {
				return err
			}
			taken = append(taken, &r.Task)
		}
		us, err := t.number(later, args...)
		next = zeroOrAt(us)
		return err
	})
	if err != nil {
		return nil, time.Time{}, err
	}
	return taken, next, nil
}

// list is a JSON array for json_each, and "" for an empty one.
func list[T ~string](words []T) (string, error) {
	if len(words) == 0 {
		return "", nil
	}
	b, err := json.Marshal(words)
	return string(b), err
}

// projectKey returns a project's number; 0 is none, or all.
func (c *conn) projectKey(project string) (int64, error) {
	if project == "" {
		return 0, nil
	}
	return c.number(`SELECT id FROM scopes WHERE project = ? AND instance = '' AND engine = ''`, project)
}

type taskKey struct {
	project int64
	id      string
}

func (c *conn) keys(query string, args ...any) ([]taskKey, error) {
	var keys []taskKey
	err := c.rows(query, func(st *sqlite.Stmt) error {
		keys = append(keys, taskKey{st.ColumnInt64(0), st.ColumnText(1)})
		return nil
	}, args...)
	return keys, err
}

// offer loads a task and asks change about it. A task whose instance has been
// forgotten is passed over.
func (t *tx) offer(k taskKey, change tasks.Change) (r *record, before errand.Task, e *errand.Event, err error) {
	if r, err = t.byKey(k); err != nil || r == nil {
		return r, before, nil, err
	}
	before = asBefore(&r.Task)
	e, err = change(&r.Task)
	return r, before, e, err
}

func (c *conn) byKey(k taskKey) (*record, error) {
	var project string
	err := c.rows(`SELECT project FROM scopes WHERE id = ?`, func(st *sqlite.Stmt) error {
		project = st.ColumnText(0)
		return nil
	}, k.project)
	if err != nil || project == "" {
		return nil, err
	}
	return c.task(taskByID, project, k.id)
}

// Sweep implements tasks.Queue.
func (s *Store) Sweep(ctx context.Context, now time.Time, limit int, change tasks.Change) (swept int, next time.Time, err error) {
	var due int64
	err = s.read(ctx, func(c *conn) (err error) {
		due, err = c.number(firstDue)
		return err
	})
	if err != nil || due == 0 || due > micro(now) {
		return 0, zeroOrAt(due), err
	}
	var refused error
	err = s.w.do(ctx, func(t *tx) error {
		swept, refused = 0, nil
		keys, err := t.keys(overdue, micro(now), limit)
		if err != nil {
			return err
		}
		for _, k := range keys {
			r, before, event, err := t.offer(k, change)
			switch {
			case err != nil:
				if refused == nil {
					refused = err
				}
				continue
			case r == nil:
				continue
			}
			if err := t.save(r, &before, event); err != nil {
				return err
			}
			swept++
		}
		due, err := t.number(firstDue)
		next = zeroOrAt(due)
		return err
	})
	if err == nil {
		err = refused
	}
	return swept, next, err
}

// lane returns the unfinished tasks of a lane, the running one first.
func (c *conn) lane(project string, scope int64, lane string, limit int) ([]*errand.Task, error) {
	keys, err := c.keys(laneOf, scope, lane, limit)
	if err != nil {
		return nil, err
	}
	var all []*errand.Task
	for _, k := range keys {
		r, err := c.task(taskByID, project, k.id)
		if err != nil {
			return nil, err
		}
		if r != nil {
			all = append(all, &r.Task)
		}
	}
	return all, nil
}

// maxLane is how many tasks of a lane are read: more than may wait in one.
const maxLane = 2000

// Lane implements tasks.Queue.
func (s *Store) Lane(ctx context.Context, project, instance, lane string) ([]*errand.Task, error) {
	e, err := s.instance(ctx, project, instance)
	if err != nil {
		return nil, err
	}
	var all []*errand.Task
	err = s.snapshot(ctx, func(c *conn) (err error) {
		all, err = c.lane(project, e.scope, lane, maxLane)
		return err
	})
	return all, err
}

// What was submitted to run later: of an instance, or of a project, which is
// sorted.
const (
	scheduledOf = ` FROM scheduled s WHERE scope = ?1 AND created_at >= ?2 AND created_at < ?3`
	scheduledIn = ` FROM instances i CROSS JOIN scheduled s ON s.scope = i.scope
		WHERE i.project = ?1 AND s.created_at >= ?2 AND s.created_at < ?3 AND (?4 = '' OR i.engine = ?4)`

	countScheduled    = `SELECT count(*)`
	pageOfScheduledOf = `SELECT 0, s.id` + scheduledOf + ` ORDER BY s.created_at DESC, s.id DESC LIMIT ?4 + 0 OFFSET ?5 + 0`
	pageOfScheduledIn = `SELECT 0, s.id` + scheduledIn + ` ORDER BY s.created_at DESC, s.id DESC LIMIT ?5 + 0 OFFSET ?6 + 0`
)

// Scheduled implements tasks.Queue.
func (s *Store) Scheduled(ctx context.Context, f errand.Filter) (errand.Page, error) {
	r := reachOf(f)
	count, list, args := countScheduled+scheduledIn, pageOfScheduledIn, []any{f.Project, r.from, r.until, string(f.Engine)}
	if f.Instance != "" {
		e, err := s.instance(ctx, f.Project, f.Instance)
		if err != nil {
			return errand.Page{}, err
		}
		count, list, args = countScheduled+scheduledOf, pageOfScheduledOf, []any{e.scope, r.from, r.until}
	}
	var page errand.Page
	err := s.snapshot(ctx, func(c *conn) error {
		n, err := c.number(count, args...)
		if err != nil {
			return err
		}
		page = errand.Page{Total: int(n)}
		keys, err := c.keys(list, append(args, f.Limit, f.Offset)...)
		if err != nil {
			return err
		}
		for _, k := range keys {
			r, err := c.task(taskByID, f.Project, k.id)
			if err != nil {
				return err
			}
			if r != nil {
				page.Tasks = append(page.Tasks, r.Task)
			}
		}
		return nil
	})
	return page, err
}
