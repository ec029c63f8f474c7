package upkeep

import (
	"context"
	"encoding/json"
	"fmt"
)

// marked is the unfinished tasks, each with whether it should be marked as ready:
// in a lane, that is the first of those that wait, unless one is running.
const marked = `SELECT scope, lane, project_key, id, ready, CASE WHEN running = 1 THEN 0 WHEN lane = '' THEN 1
	WHEN row_number() OVER (PARTITION BY scope, lane ORDER BY running DESC, run_at, id) = 1 THEN 1 ELSE 0 END AS want FROM live`

// liveRow is an unfinished task, and where its lock is.
type liveRow struct {
	Lock
	run string
}

// liveRows returns some of the unfinished tasks that a query selects.
func (v *visit) liveRows(ctx context.Context, sql string) ([]liveRow, error) {
	var all []liveRow
	err := v.Rows(ctx, Statement{SQL: sql}, func(row []any) error {
		var r liveRow
		r.Scope, _ = row[0].(int64)
		r.Lane, _ = row[1].(string)
		r.Project, _ = row[2].(int64)
		r.ID, _ = row[3].(string)
		r.run, _ = row[4].(string)
		all = append(all, r)
		return nil
	})
	return all, err
}

// settle sets the marks of a task's lane, or of the task if it is in none.
func (r liveRow) settle() []Statement {
	if r.Lane == "" {
		return []Statement{{`UPDATE live SET ready = 1 - running WHERE project_key = $1 AND id = $2 AND lane = '' AND ready <> 1 - running`, []any{r.Project, r.ID}}}
	}
	const first = `(SELECT id FROM live WHERE scope = $1 AND lane = $2 ORDER BY running DESC, run_at, id LIMIT 1)`
	args := []any{r.Scope, r.Lane}
	return []Statement{
		{`UPDATE live SET ready = 0 WHERE scope = $1 AND lane = $2 AND ready = 1 AND (running = 1 OR id <> ` + first + `)`, args},
		{`UPDATE live SET ready = 1 WHERE scope = $1 AND lane = $2 AND ready = 0 AND running = 0 AND id = ` + first, args},
	}
}

// mendMarks sets the marks of lanes where they are wrong.
func mendMarks(ctx context.Context, v *visit) error {
	return v.mendEach(ctx, `SELECT scope, lane, project_key, id, '' FROM (`+marked+`) x WHERE ready <> want ORDER BY scope, lane, project_key, id LIMIT 500`,
		func(liveRow) ([]Statement, error) { return nil, nil })
}

// mendLive does away with unfinished tasks for which a condition holds.
func mendLive(where string, away func(liveRow, string) ([]Statement, error)) func(context.Context, *visit) error {
	return func(ctx context.Context, v *visit) error {
		return v.mendEach(ctx, `SELECT x.scope, x.lane, x.project_key, x.id, x.run FROM live x WHERE `+where+` ORDER BY x.scope, x.lane, x.project_key, x.id LIMIT 500`,
			func(r liveRow) ([]Statement, error) { return away(r, where) })
	}
}

// mendEach changes what a query gives, task by task under the lock of its lane,
// until it gives nothing.
func (v *visit) mendEach(ctx context.Context, sql string, change func(liveRow) ([]Statement, error)) error {
	for {
		rows, err := v.liveRows(ctx, sql)
		if err != nil || len(rows) == 0 {
			return err
		}
		var changed int64
		for _, r := range rows {
			all, err := change(r)
			if err != nil {
				return err
			}
			n, err := v.Mend(ctx, r.Lock, append(all, r.settle()...)...)
			if err != nil {
				return err
			}
			changed += n
		}
		if changed == 0 { // others were quicker
			return nil
		}
	}
}

// dropLive removes an unfinished task that has no record.
func dropLive(r liveRow, where string) ([]Statement, error) {
	key := []any{r.Project, r.ID}
	return []Statement{
		{`DELETE FROM secrets WHERE project_key = $1 AND id = $2 AND EXISTS (SELECT 1 FROM live x WHERE x.project_key = $1 AND x.id = $2 AND ` + where + `)`, key},
		{`DELETE FROM live WHERE (project_key, id) IN (SELECT x.project_key, x.id FROM live x WHERE x.project_key = $1 AND x.id = $2 AND ` + where + `)`, key},
	}, nil
}

// endLive moves the run of a task that has ended to where those are.
func endLive(r liveRow, where string) ([]Statement, error) {
	run := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(r.run), &run); err != nil {
		return nil, fmt.Errorf("the run of task %s is not understood: %w", r.ID, err)
	}
	for _, lease := range []string{"token", "worker", "beat", "expires", "due"} {
		delete(run, lease)
	}
	text, err := json.Marshal(run)
	if err != nil {
		return nil, err
	}
	keep := Statement{`INSERT INTO runs (project_key, id, run) SELECT x.project_key, x.id, CAST($3 AS text) FROM live x WHERE x.project_key = $1 AND x.id = $2 AND ` + where +
		` AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.project_key = x.project_key AND o.id = x.id)`, []any{r.Project, r.ID, string(text)}}
	drop, err := dropLive(r, where)
	return append([]Statement{keep}, drop...), err
}
