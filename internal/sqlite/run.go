package sqlite

import (
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand/internal/stored"
)

func zeroOrAt(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return at(us)
}

const (
	liveRun = `SELECT l.run, s.sealed FROM live l LEFT JOIN secrets s ON s.project_key = l.project_key AND s.id = l.id
		WHERE l.project_key = ?1 AND l.id = ?2`
	endedRun = `SELECT run, NULL FROM runs WHERE project_key = ?1 AND id = ?2`
)

// withRun adds to a record what is kept of its run. Records that were imported
// have none.
func (c *conn) withRun(r *record) error {
	if r.Origin != nil {
		return nil
	}
	for _, query := range [...]string{liveRun, endedRun} {
		err := c.rows(query, func(st *sqlite.Stmt) (err error) {
			if r.Run, err = stored.DecodeRun(blob(st, 0)); err == nil && !st.ColumnIsNull(1) {
				r.Run.Sealed = blob(st, 1)
			}
			return err
		}, r.project, r.ID)
		if err != nil || r.Run != nil {
			return err
		}
	}
	return nil
}
