package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
)

// What has not ended, of a project or of an instance. Both are sorted: they are
// few. The instances leave out what was forgotten and is still being removed.
const (
	liveIn = ` FROM live l JOIN instances i ON i.scope = l.scope
		WHERE l.project_key = (SELECT id FROM scopes WHERE project = $1 AND instance = '' AND engine = '')`
	liveOf = ` FROM live l JOIN instances i ON i.scope = l.scope WHERE l.scope = $1`

	unfinishedCounts = `SELECT coalesce(sum(l.running), 0)::bigint, count(*)`
	firstLive        = `SELECT ` + wholeColumns + ` FROM (SELECT l.project_key, l.id, l.running, l.run_at`
	liveOrder        = ` ORDER BY l.running DESC, l.run_at, l.id LIMIT $2) x
		JOIN tasks t ON t.project_key = x.project_key AND t.id = x.id` + wholeJoins + `
		ORDER BY x.running DESC, x.run_at, x.id`

	unfinishedIn      = firstLive + liveIn + liveOrder
	unfinishedOf      = firstLive + liveOf + liveOrder
	countUnfinishedIn = unfinishedCounts + liveIn
	countUnfinishedOf = unfinishedCounts + liveOf
)

// Unfinished implements tasks.Queue.
func (s *Store) Unfinished(ctx context.Context, project, instance string, limit int) (list []*errand.Task, running, waiting int, err error) {
	count, first, of := countUnfinishedIn, unfinishedIn, any(project)
	if instance != "" {
		if _, err := s.Instance(ctx, project, instance); err != nil { // from the database, not from memory
			return nil, 0, 0, err
		}
		in, _, err := s.home(ctx, project, instance)
		if err != nil {
			return nil, 0, 0, err
		}
		count, first, of = countUnfinishedOf, unfinishedOf, in.scope
	}
	err = s.snapshot(ctx, func(ctx context.Context, t pgx.Tx) error {
		list = nil
		if err := t.QueryRow(ctx, count, of).Scan(&running, &waiting); err != nil {
			return err
		}
		waiting -= running
		rows, err := t.Query(ctx, first, of, limit)
		if err != nil {
			return err
		}
		return readRecords(rows, func(r *record) { list = append(list, &r.Task) })
	})
	return list, running, waiting, err
}

// Runs are looked up one by one: a join might read through all there are.
const runsOf = `SELECT t.id, coalesce((SELECT l.run FROM live l WHERE l.project_key = t.project_key AND l.id = t.id),
		(SELECT r.run FROM runs r WHERE r.project_key = t.project_key AND r.id = t.id))
	FROM tasks t JOIN instances i ON i.scope = t.scope
	WHERE t.project_key = (SELECT id FROM scopes WHERE project = $1 AND instance = '' AND engine = '')
		AND t.id = ANY($2::text[]) AND t.origin IS NULL`

// LoadRuns implements tasks.Queue.
func (s *Store) LoadRuns(ctx context.Context, project string, list []errand.Task) error {
	var ids []string
	for i := range list {
		if list[i].Run = nil; list[i].Origin == nil {
			ids = append(ids, list[i].ID)
		}
	}
	if len(ids) == 0 {
		return ctx.Err()
	}
	runs := make(map[string]*errand.Run, len(ids))
	err := s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, runsOf, project, ids)
		if err != nil {
			return err
		}
		var id string
		var text *string
		_, err = pgx.ForEachRow(rows, []any{&id, &text}, func() (err error) {
			if text != nil {
				runs[id], err = stored.DecodeRun([]byte(*text))
			}
			return err
		})
		return err
	})
	if err != nil {
		return err
	}
	for i := range list {
		if list[i].Origin == nil {
			list[i].Run = runs[list[i].ID]
		}
	}
	return nil
}
