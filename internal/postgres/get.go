package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
)

// Job ids need not be unique among imported records: the newest counts.
const taskByJob = `SELECT ` + wholeColumns + ` FROM ((SELECT a.scope, a.created_at, a.id FROM tasks a JOIN instances ai ON ai.scope = a.scope
			WHERE a.project_key = (SELECT id FROM scopes WHERE project = $1 AND instance = '' AND engine = '') AND a.id = $2 AND a.job_id IS NULL)
		UNION ALL (SELECT b.scope, b.created_at, b.id FROM tasks b JOIN instances bi ON bi.scope = b.scope
			WHERE b.project_key = (SELECT id FROM scopes WHERE project = $1 AND instance = '' AND engine = '') AND b.job_id = $2
			ORDER BY b.created_at DESC, b.id DESC LIMIT 1)) x
	JOIN tasks t ON t.scope = x.scope AND t.created_at = x.created_at AND t.id = x.id` + wholeJoins + `
	ORDER BY t.created_at DESC, t.id DESC LIMIT 1`

// Get implements tasks.Store.
func (s *Store) Get(ctx context.Context, project, id string) (*errand.Task, error) {
	return s.get(ctx, taskByID, project, id)
}

// GetJob implements tasks.Store.
func (s *Store) GetJob(ctx context.Context, project, jobID string) (*errand.Task, error) {
	return s.get(ctx, taskByJob, project, jobID)
}

// get reads a whole task in one statement, so that all of it is of one moment.
func (s *Store) get(ctx context.Context, query, project, id string) (*errand.Task, error) {
	var t *errand.Task
	err := s.read(ctx, func(ctx context.Context, c *pgx.Conn) error {
		t = nil
		rows, err := c.Query(ctx, query, project, id)
		if err != nil {
			return err
		}
		return readRecords(rows, func(r *record) { t = &r.Task })
	})
	if err == nil && t == nil {
		err = noTask(id)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}
