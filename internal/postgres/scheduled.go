package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/stored"
)

// What was submitted to run later: of an instance, or of a project, which is
// sorted.
const (
	scheduledOf = ` FROM scheduled s JOIN instances i ON i.scope = s.scope
		WHERE s.scope = $1 AND s.created_at >= $2 AND s.created_at < $3`
	scheduledIn = ` FROM instances i JOIN scheduled s ON s.scope = i.scope
		WHERE i.project = $1 AND s.created_at >= $2 AND s.created_at < $3 AND ($4 = '' OR i.engine = $4)`
	scheduledOrder = ` ORDER BY s.created_at DESC, s.id DESC LIMIT `

	countScheduled = `SELECT count(*)`
	pageScheduled  = `SELECT ` + wholeColumns + ` FROM (SELECT s.scope, s.created_at, s.id`
	joinScheduled  = `) x JOIN tasks t ON t.scope = x.scope AND t.created_at = x.created_at AND t.id = x.id` + wholeJoins + `
		ORDER BY t.created_at DESC, t.id DESC`

	pageScheduledOf = pageScheduled + scheduledOf + scheduledOrder + `$4 OFFSET $5` + joinScheduled
	pageScheduledIn = pageScheduled + scheduledIn + scheduledOrder + `$5 OFFSET $6` + joinScheduled
)

// Scheduled implements tasks.Queue.
func (s *Store) Scheduled(ctx context.Context, f errand.Filter) (errand.Page, error) {
	r := stored.ReachOf(f)
	count, list, args := countScheduled+scheduledIn, pageScheduledIn, []any{f.Project, r.From, r.Until, string(f.Engine)}
	if f.Instance != "" {
		if _, err := s.Instance(ctx, f.Project, f.Instance); err != nil { // from the database, not from memory
			return errand.Page{}, err
		}
		in, _, err := s.home(ctx, f.Project, f.Instance)
		if err != nil {
			return errand.Page{}, err
		}
		count, list, args = countScheduled+scheduledOf, pageScheduledOf, []any{in.scope, r.From, r.Until}
	}
	var page errand.Page
	err := s.snapshot(ctx, func(ctx context.Context, t pgx.Tx) error {
		page = errand.Page{}
		if err := t.QueryRow(ctx, count, args...).Scan(&page.Total); err != nil {
			return err
		}
		rows, err := t.Query(ctx, list, append(args, f.Limit, f.Offset)...)
		if err != nil {
			return err
		}
		return readRecords(rows, func(r *record) { page.Tasks = append(page.Tasks, r.Task) })
	})
	return page, err
}

const latestDurations = `SELECT took FROM durations WHERE project_key = (SELECT id FROM scopes WHERE project = $1 AND instance = '' AND engine = '')
	AND engine = $2 AND operation = $3 ORDER BY n DESC LIMIT $4`

// Durations implements tasks.Queue.
func (s *Store) Durations(ctx context.Context, project string, engine errand.Engine, operation string, limit int) ([]time.Duration, error) {
	var all []time.Duration
	err := s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		all = nil
		rows, err := c.Query(ctx, latestDurations, project, string(engine), operation, limit)
		if err != nil {
			return err
		}
		var took int64
		_, err = pgx.ForEachRow(rows, []any{&took}, func() error {
			all = append(all, time.Duration(took)*time.Microsecond)
			return nil
		})
		return err
	})
	return all, err
}
