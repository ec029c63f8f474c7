package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
	"github.com/errandhq/errand/internal/tasks"
)

// What may be taken of one operation, or of any, in one project, or in all. The
// operation is part of the key, so that what waits for another worker costs who
// asks nothing, however much it is. The engines are an empty list where any will
// do. What was forgotten and is still being removed is passed over.
const (
	fits     = ` AND ready = 1` + notForgotten + ` AND (?3 = '' OR engine IN (SELECT value FROM json_each(?3)))`
	inTime   = fits + ` AND run_at <= ?4 ORDER BY run_at, id LIMIT ?5 + 0`
	tooEarly = fits + ` AND run_at > ?4 ORDER BY run_at, id LIMIT ?5 + 0`
	which    = `SELECT project_key, id, run_at FROM live INDEXED BY `

	inProject     = `live_ready WHERE project_key = ?1 AND ?2 = ''`
	inAll         = `live_ready_all WHERE ?1 = 0 AND ?2 = ''`
	ofOneIn       = `live_ready_of WHERE project_key = ?1 AND operation = ?2`
	ofOneInAll    = `live_ready_of_all WHERE ?1 = 0 AND operation = ?2`
	readyIn       = which + inProject + inTime
	readyInAll    = which + inAll + inTime
	readyOfOneIn  = which + ofOneIn + inTime
	readyOfOneAll = which + ofOneInAll + inTime
	nextIn        = which + inProject + tooEarly
	nextInAll     = which + inAll + tooEarly
	nextOfOneIn   = which + ofOneIn + tooEarly
	nextOfOneAll  = which + ofOneInAll + tooEarly
)

// wanted is a tasks.Want as the statements need it.
type wanted struct {
	project     string
	operations  []string // "" alone is any
	engines     string
	now         int64
	limit       int
	ready, next string // statements
}

func wantedOf(w tasks.Want) (wanted, error) {
	engines, err := list(w.Engines)
	q := wanted{project: w.Project, operations: []string{""}, engines: engines, now: micro(w.Now), limit: w.Limit, ready: readyIn, next: nextIn}
	if w.Project == "" {
		q.ready, q.next = readyInAll, nextInAll
	}
	if len(w.Operations) > 0 {
		q.operations = slices.Compact(slices.Sorted(slices.Values(w.Operations)))
		if q.ready, q.next = readyOfOneIn, nextOfOneIn; w.Project == "" {
			q.ready, q.next = readyOfOneAll, nextOfOneAll
		}
	}
	return q, err
}

// candidate is a task that may be taken, now or later.
type candidate struct {
	taskKey
	runAt int64
}

// candidates runs a statement of w for each operation, and returns the first
// limit of what it gives, in order.
func (c *conn) candidates(w wanted, query string, limit int) ([]candidate, error) {
	project, err := c.projectKey(w.project)
	if err != nil {
		return nil, err
	}
	var all []candidate
	for _, o := range w.operations {
		err := c.rows(query, func(st *sqlite.Stmt) error {
			all = append(all, candidate{taskKey{st.ColumnInt64(0), st.ColumnText(1)}, st.ColumnInt64(2)})
			return nil
		}, project, o, w.engines, w.now, limit)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.runAt, b.runAt), cmp.Compare(a.id, b.id))
	})
	return all[:min(limit, len(all))], nil
}

// moreAt is when the next task may be taken, or zero.
func (c *conn) moreAt(w wanted) (time.Time, error) {
	more, err := c.candidates(w, w.next, 1)
	if err != nil || len(more) == 0 {
		return time.Time{}, err
	}
	return zeroOrAt(more[0].runAt), nil
}

// What is due, and what waits in a lane.
const (
	notForgotten = ` AND scope NOT IN (SELECT scope FROM forgotten)`
	firstDue     = `SELECT due FROM live WHERE 1` + notForgotten + ` ORDER BY due LIMIT 1`
	overdue      = `SELECT project_key, id FROM live WHERE due <= ?` + notForgotten + ` ORDER BY due, id LIMIT ? + 0`

	laneOf   = `SELECT project_key, id FROM live WHERE scope = ? AND lane = ? ORDER BY running DESC, run_at, id LIMIT ? + 0`
	laneSize = `SELECT count(*) FROM live WHERE scope = ? AND lane = ?`
	laneHead = `SELECT project_key, id, running, ready FROM live WHERE scope = ? AND lane = ? ORDER BY running DESC, run_at, id LIMIT 1`
	unready  = `UPDATE live INDEXED BY live_head SET ready = 0 WHERE scope = ? AND lane = ? AND ready = 1 AND lane <> '' AND id <> ?`
)

// Take implements tasks.Queue.
func (s *Store) Take(ctx context.Context, want tasks.Want, change tasks.Change) (taken []*errand.Task, next time.Time, err error) {
	w, err := wantedOf(want)
	if err != nil {
		return nil, time.Time{}, err
	}
	// Most who ask find nothing: a look that writes nothing comes first.
	var some bool
	err = s.snapshot(ctx, func(c *conn) error {
		found, err := c.candidates(w, w.ready, 1)
		if some = len(found) > 0; err != nil || some {
			return err
		}
		next, err = c.moreAt(w)
		return err
	})
	if err != nil || !some {
		return nil, next, err
	}
	err = s.w.do(ctx, func(t *tx) error {
		taken = nil
		found, err := t.candidates(w, w.ready, w.limit)
		if err != nil {
			return err
		}
		for _, k := range found {
			r, before, event, err := t.offer(k.taskKey, change)
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
		next, err = t.moreAt(w)
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
	r := stored.ReachOf(f)
	count, list, args := countScheduled+scheduledIn, pageOfScheduledIn, []any{f.Project, r.From, r.Until, string(f.Engine)}
	if f.Instance != "" {
		e, err := s.instance(ctx, f.Project, f.Instance)
		if err != nil {
			return errand.Page{}, err
		}
		count, list, args = countScheduled+scheduledOf, pageOfScheduledOf, []any{e.scope, r.From, r.Until}
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
