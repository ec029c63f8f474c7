package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"
)

const (
	forgetBatch = 200             // tasks in one transaction
	forgetLogs  = 8 << 20         // bytes of their logs, about
	forgetRetry = 5 * time.Second // after a failure, such as a full disk
)

// What is removed of an instance: first what has not ended, and of each lane its
// last task first, so that the marks of those that are left stay right.
const (
	unfinishedOf = `SELECT created_at, id, project_key FROM live INDEXED BY live_lane WHERE scope = ? ORDER BY lane DESC, running, run_at DESC, id DESC LIMIT ? + 0`
	tasksOf      = `SELECT created_at, id, project_key FROM tasks WHERE scope = ? ORDER BY created_at, id LIMIT ? + 0`
)

// forget removes the tasks of forgotten instances, those of earlier runs first.
func (s *Store) forget() {
	for {
		for again := true; again; {
			var err error
			again, err = s.forgetSome()
			if err == nil {
				continue
			}
			select {
			case <-s.quit:
				return
			case <-time.After(forgetRetry):
				s.log.Warn("tasks of a forgotten instance could not be removed; trying again", "err", err)
				again = true
			}
		}
		select {
		case <-s.quit:
			return
		case <-s.forgotten:
		}
	}
}

// forgetSome removes one batch and reports whether there may be more.
func (s *Store) forgetSome() (more bool, err error) {
	err = s.w.do(context.Background(), func(t *tx) error {
		more = false
		var p place
		err := t.rows(`SELECT scope, grp FROM forgotten ORDER BY scope LIMIT 1`, func(st *sqlite.Stmt) error {
			p.scope, p.grp, more = st.ColumnInt64(0), st.ColumnInt64(1), true
			return nil
		})
		if err != nil || !more {
			return err
		}
		var times []int64
		var ids []string
		var unfinished bool
		for _, query := range [...]string{unfinishedOf, tasksOf} {
			err = t.rows(query, func(st *sqlite.Stmt) error {
				times, ids = append(times, st.ColumnInt64(0)), append(ids, st.ColumnText(1))
				p.project = st.ColumnInt64(2)
				return nil
			}, p.scope, forgetBatch)
			if err != nil {
				return err
			}
			if unfinished = query == unfinishedOf && len(ids) > 0; unfinished {
				break
			}
		}
		logs := int64(0)
		for i, id := range ids {
			size, err := t.logSize(p.project, id)
			if err != nil {
				return err
			}
			if err := t.remove(p, times[i], id); err != nil {
				return err
			}
			if logs += size; logs > forgetLogs {
				return nil
			}
		}
		if len(ids) < forgetBatch && !unfinished {
			return t.exec(`DELETE FROM forgotten WHERE scope = ?`, p.scope)
		}
		return nil
	})
	return more, err
}
