package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
)

// collect returns what scan makes of the rows of a query.
func collect[T any](ctx context.Context, s *Store, scan pgx.RowToFunc[T], query string, args ...any) (all []T, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		all, err = pgx.AppendRows([]T(nil), rows, scan)
		return err
	})
	return all, err
}

const eventColumns = `seq, project, instance, task, at, act, actor_id, actor_name, from_status, to_status, request, reason, remote`

func scanEvent(row pgx.CollectableRow) (e errand.Event, err error) {
	var us int64
	err = row.Scan(&e.Seq, &e.Project, &e.Instance, &e.Task, &us, &e.Act, &e.Actor.ID, &e.Actor.Name, &e.From, &e.To, &e.Request, &e.Reason, &e.Remote)
	e.At = at(us)
	return e, err
}

// Rows are compared as wholes, so that only the index of just these columns has
// the order: that of the numbers alone would be read through for a task, or a
// project, that has few of many events.
const (
	eventsOf = `SELECT ` + eventColumns + ` FROM events WHERE (task, seq) > ($1, $2) AND (task, seq) <= ($1, 9223372036854775807)
		AND project = $4 ORDER BY task, seq LIMIT $3`
	feedOf = `SELECT ` + eventColumns + ` FROM events WHERE (project, seq) > ($1, $2) AND (project, seq) <= ($1, 9223372036854775807)
		ORDER BY project, seq LIMIT $3`
)

// Events implements tasks.Store.
func (s *Store) Events(ctx context.Context, project, task string, after int64, limit int) ([]errand.Event, error) {
	return collect(ctx, s, scanEvent, eventsOf, task, after, limit, project)
}

// Feed implements tasks.Queue.
func (s *Store) Feed(ctx context.Context, project string, after int64, limit int) ([]errand.Event, error) {
	return collect(ctx, s, scanEvent, feedOf, project, after, limit)
}

// LastSeq implements tasks.Queue.
func (s *Store) LastSeq(ctx context.Context) (seq int64, err error) {
	err = s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		return c.QueryRow(ctx, `SELECT coalesce(max(seq), 0) FROM events`).Scan(&seq)
	})
	return seq, err
}
