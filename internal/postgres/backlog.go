package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand/internal/tasks"
)

const countLive = `SELECT count(*) FILTER (WHERE running = 1),
		count(*) FILTER (WHERE running = 0 AND ready = 1 AND run_at <= $1),
		count(*) FILTER (WHERE running = 0 AND ready = 0 AND run_at <= $1),
		count(*) FILTER (WHERE running = 0 AND run_at > $1),
		min(run_at) FILTER (WHERE running = 0 AND ready = 1 AND run_at <= $1)
	FROM live WHERE scope IN (SELECT scope FROM instances)`

// Backlog implements tasks.Queue.
func (s *Store) Backlog(ctx context.Context, now time.Time) (tasks.Backlog, error) {
	var b tasks.Backlog
	var oldest *int64
	err := s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, countLive, micro(now)).Scan(&b.Running, &b.Ready, &b.Behind, &b.Later, &oldest)
	})
	if err == nil && oldest != nil {
		b.Oldest = at(*oldest)
	}
	return b, err
}
