package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
)

// What has not ended, of a project or of an instance. Both are sorted: they are
// few. What was forgotten and is still being removed is passed over.
const (
	liveIn = ` FROM live WHERE project_key = ?1` + notForgotten
	liveOf = ` FROM live INDEXED BY live_lane WHERE scope = ?1` + notForgotten

	unfinishedCounts = `SELECT coalesce(sum(running), 0), count(*)`
	firstLive        = `SELECT project_key, id`
	liveOrder        = ` ORDER BY running DESC, run_at, id LIMIT ?2 + 0`

	unfinishedIn      = firstLive + liveIn + liveOrder
	unfinishedAt      = firstLive + liveOf + liveOrder
	countUnfinishedIn = unfinishedCounts + liveIn
	countUnfinishedAt = unfinishedCounts + liveOf
)

// Unfinished implements tasks.Queue.
func (s *Store) Unfinished(ctx context.Context, project, instance string, limit int) (list []*errand.Task, running, waiting int, err error) {
	count, first, scope := countUnfinishedIn, unfinishedIn, int64(0)
	if instance != "" {
		e, err := s.instance(ctx, project, instance)
		if err != nil {
			return nil, 0, 0, err
		}
		count, first, scope = countUnfinishedAt, unfinishedAt, e.scope
	}
	err = s.snapshot(ctx, func(c *conn) error {
		list = nil
		of := scope
		if instance == "" {
			var err error
			if of, err = c.projectKey(project); err != nil {
				return err
			}
		}
		err := c.rows(count, func(st *sqlite.Stmt) error {
			running = st.ColumnInt(0)
			waiting = st.ColumnInt(1) - running
			return nil
		}, of)
		if err != nil {
			return err
		}
		keys, err := c.keys(first, of, limit)
		if err != nil {
			return err
		}
		for _, k := range keys {
			r, err := c.task(taskByID, project, k.id)
			if err != nil {
				return err
			}
			if r != nil {
				list = append(list, &r.Task)
			}
		}
		return nil
	})
	return list, running, waiting, err
}

const runOf = `SELECT coalesce(l.run, r.run) FROM tasks t CROSS JOIN instances i ON i.scope = t.scope
	LEFT JOIN live l ON l.project_key = t.project_key AND l.id = t.id
	LEFT JOIN runs r ON r.project_key = t.project_key AND r.id = t.id
	WHERE t.project_key = ?1 AND t.id = ?2 AND t.origin IS NULL`

// LoadRuns implements tasks.Queue.
func (s *Store) LoadRuns(ctx context.Context, project string, list []errand.Task) error {
	return s.snapshot(ctx, func(c *conn) error {
		key, err := c.projectKey(project)
		if err != nil {
			return err
		}
		for i := range list {
			t := &list[i]
			if t.Run = nil; t.Origin != nil {
				continue
			}
			err := c.rows(runOf, func(st *sqlite.Stmt) (err error) {
				if !st.ColumnIsNull(0) {
					t.Run, err = stored.DecodeRun(blob(st, 0))
				}
				return err
			}, key, t.ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
