package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
)

const eventColumns = `seq, project, instance, task, at, act, actor_id, actor_name, from_status, to_status, request, reason, remote`

func eventOf(st *sqlite.Stmt) errand.Event {
	return errand.Event{
		Seq:      st.ColumnInt64(0),
		Project:  st.ColumnText(1),
		Instance: st.ColumnText(2),
		Task:     st.ColumnText(3),
		At:       at(st.ColumnInt64(4)),
		Act:      errand.Act(st.ColumnText(5)),
		Actor:    errand.User{ID: st.ColumnText(6), Name: st.ColumnText(7)},
		From:     errand.Status(st.ColumnText(8)),
		To:       errand.Status(st.ColumnText(9)),
		Request:  st.ColumnText(10),
		Reason:   st.ColumnText(11),
		Remote:   st.ColumnText(12),
	}
}

// The index is named because SQLite would choose that of the project, which is
// far longer than that of a task.
const eventsOf = `SELECT ` + eventColumns + ` FROM events INDEXED BY events_by_task WHERE task = ?1 AND project = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4 + 0`

// Events implements tasks.Store.
func (s *Store) Events(ctx context.Context, project, task string, after int64, limit int) ([]errand.Event, error) {
	return s.events(ctx, eventsOf, task, project, after, limit)
}

const feedOf = `SELECT ` + eventColumns + ` FROM events WHERE project = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3 + 0`

// Feed implements tasks.Queue.
func (s *Store) Feed(ctx context.Context, project string, after int64, limit int) ([]errand.Event, error) {
	return s.events(ctx, feedOf, project, after, limit)
}

func (s *Store) events(ctx context.Context, query string, args ...any) ([]errand.Event, error) {
	var all []errand.Event
	err := s.read(ctx, func(c *conn) error {
		return c.rows(query, func(st *sqlite.Stmt) error {
			all = append(all, eventOf(st))
			return nil
		}, args...)
	})
	return all, err
}

// LastSeq implements tasks.Queue.
func (s *Store) LastSeq(ctx context.Context) (int64, error) {
	var seq int64
	err := s.read(ctx, func(c *conn) (err error) {
		seq, err = c.number(`SELECT coalesce(max(seq), 0) FROM events`)
		return err
	})
	return seq, err
}

const (
	logEnd    = `SELECT at + length(text) FROM task_log WHERE project_key = ? AND id = ? ORDER BY at DESC LIMIT 1`
	logLast   = `SELECT at, iif(length(text) < ?3, text, NULL) FROM task_log WHERE project_key = ?1 AND id = ?2 ORDER BY at DESC LIMIT 1`
	logPiece  = `SELECT at FROM task_log WHERE project_key = ? AND id = ? AND at <= ? ORDER BY at DESC LIMIT 1`
	logPieces = `SELECT at, text FROM task_log WHERE project_key = ? AND id = ? AND at >= ? AND at < ? ORDER BY at`
)

// shortPiece is the length below which a piece of a log is written again with
// what follows: workers send lines one by one.
const shortPiece = 2048

// AppendLog implements tasks.Queue.
func (s *Store) AppendLog(ctx context.Context, project, id string, text []byte, limit int64) (truncated bool, err error) {
	err = s.w.do(ctx, func(t *tx) error {
		r, err := t.known(project, id)
		if err != nil {
			return err
		}
		size, err := t.logSize(r.project, id)
		if err != nil {
			return err
		}
		keep := text
		if room := max(0, limit-size); int64(len(keep)) > room {
			keep, truncated = keep[:room], true
		}
		if len(keep) == 0 {
			return nil
		}
		start := size
		err = t.rows(logLast, func(st *sqlite.Stmt) error {
			if !st.ColumnIsNull(1) {
				start, keep = st.ColumnInt64(0), append(blob(st, 1), keep...)
			}
			return nil
		}, r.project, id, shortPiece)
		if err != nil {
			return err
		}
		return t.exec(`INSERT OR REPLACE INTO task_log (project_key, id, at, text) VALUES (?, ?, ?, ?)`, r.project, id, start, keep)
	})
	return truncated, err
}

func (c *conn) logSize(project int64, id string) (int64, error) {
	return c.number(logEnd, project, id)
}

// Log implements tasks.Queue.
func (s *Store) Log(ctx context.Context, project, id string, offset int64, limit int) (text []byte, size int64, err error) {
	err = s.snapshot(ctx, func(c *conn) error {
		text = nil
		r, err := c.task(taskByID, project, id)
		if err != nil {
			return err
		}
		if r == nil {
			return noTask(id)
		}
		key := r.project
		if size, err = c.logSize(key, id); err != nil || offset >= size {
			return err
		}
		first, err := c.number(logPiece, key, id, offset)
		if err != nil {
			return err
		}
		return c.rows(logPieces, func(st *sqlite.Stmt) error {
			piece := blob(st, 1)
			if from := offset - st.ColumnInt64(0); from > 0 {
				piece = piece[from:]
			}
			text = append(text, piece[:min(len(piece), limit-len(text))]...)
			return nil
		}, key, id, first, offset+int64(limit))
	})
	return text, size, err
}
