package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
)

const (
	forgetBatch = 500              // tasks in one transaction
	forgetLogs  = 8 << 20          // bytes of their logs, about
	forgetRetry = 5 * time.Second  // after a failure, such as a full disk
	forgetEvery = 30 * time.Second // whoever forgot them: that node may be gone
)

// forget removes the tasks of forgotten instances, whichever node forgot them.
func (s *Store) forget() {
	for {
		again, err := s.forgetSome()
		if again && err == nil {
			if s.open() != nil {
				return
			}
			continue
		}
		wait := forgetEvery/2 + rand.N(forgetEvery)
		if err != nil {
			if s.open() != nil {
				return
			}
			s.log.Warn("tasks of a forgotten instance could not be removed; trying again", "err", err)
			wait = forgetRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-s.quit:
			timer.Stop()
			return
		case <-s.forgotten:
		case <-timer.C:
		}
		timer.Stop()
	}
}

const (
	// Those that another node is busy with are passed over. The lock is that of
	// the instance: who holds it shared will see that the instance is gone.
	nextForgotten = `SELECT scope, grp FROM forgotten ORDER BY scope`

	// The next tasks of a scope, as far as their logs are not too long together.
	forgetTasks = `DELETE FROM tasks x USING (
			SELECT created_at, id, sum(size) OVER (ORDER BY created_at, id) - size AS before FROM (
				SELECT t.created_at, t.id, coalesce((SELECT l.at + length(l.text) FROM task_log l
					WHERE l.project_key = t.project_key AND l.id = t.id ORDER BY l.at DESC LIMIT 1), 0) AS size
				FROM tasks t WHERE t.scope = $1 ORDER BY t.created_at, t.id LIMIT $2) s) k
		WHERE x.scope = $1 AND x.created_at = k.created_at AND x.id = k.id AND k.before <= $3
		RETURNING x.scope, x.grp, x.project_key, x.id, x.created_at`
)

// forgetSome removes one batch and reports whether there may be more to do for
// this node.
func (s *Store) forgetSome() (more bool, err error) {
	ctx := context.Background()
	var waiting []place
	err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		waiting = nil
		rows, err := c.Query(ctx, nextForgotten)
		if err != nil {
			return err
		}
		var p place
		_, err = pgx.ForEachRow(rows, []any{&p.scope, &p.grp}, func() error {
			waiting = append(waiting, p)
			return nil
		})
		return err
	})
	if err != nil {
		return false, err
	}
	for _, p := range waiting { // one that cannot be removed is not in the way of others
		switch e := s.transact(ctx, func(ctx context.Context, t *tx) error { return t.forgetSome(ctx, p) }); {
		case e == nil:
			return true, nil
		case errand.ErrorOf(e).Kind == errand.Unavailable:
			return false, e
		case !errors.Is(e, errHeld):
			err = e
		}
	}
	return false, err
}

// errHeld says that another node is at it.
var errHeld = errors.New("another node holds the lock")

func (t *tx) forgetSome(ctx context.Context, p place) error {
	var got bool
	if err := t.QueryRow(ctx, `SELECT pg_try_advisory_xact_lock($1)`, instanceLock(p.scope)).Scan(&got); err != nil {
		return err
	}
	if !got {
		return errHeld
	}
	rows, err := t.Query(ctx, forgetTasks, p.scope, forgetBatch, int64(forgetLogs))
	if err != nil {
		return err
	}
	n, err := t.removed(ctx, rows)
	if err != nil || n > 0 {
		return err
	}
	_, err = t.Exec(ctx, `DELETE FROM forgotten WHERE scope = $1`, p.scope)
	return err
}

// notify wakes who waits on c, now or next time, without blocking.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
