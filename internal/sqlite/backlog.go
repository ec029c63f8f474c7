package sqlite

import (
	"context"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand/internal/tasks"
)

const countLive = `SELECT count(*) FILTER (WHERE running = 1),
		count(*) FILTER (WHERE running = 0 AND ready = 1 AND run_at <= ?1),
		count(*) FILTER (WHERE running = 0 AND ready = 0 AND run_at <= ?1),
		count(*) FILTER (WHERE running = 0 AND run_at > ?1),
		min(run_at) FILTER (WHERE running = 0 AND ready = 1 AND run_at <= ?1)
	FROM live WHERE scope IN (SELECT scope FROM instances)`

// Backlog implements tasks.Queue.
func (s *Store) Backlog(ctx context.Context, now time.Time) (tasks.Backlog, error) {
	var b tasks.Backlog
	err := s.read(ctx, func(c *conn) error {
		return c.rows(countLive, func(st *sqlite.Stmt) error {
			b = tasks.Backlog{Running: st.ColumnInt(0), Ready: st.ColumnInt(1), Behind: st.ColumnInt(2), Later: st.ColumnInt(3), Oldest: atOrZero(st, 4)}
			return nil
		}, micro(now))
	})
	return b, err
}
