package sqlite

import (
	"context"
	"fmt"
	"testing"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand/internal/stored"
)

// checkCounts compares every count with the rows it stands for, in SQL and
// from one snapshot, so that it holds at any moment.
func checkCounts(t testing.TB, s *Store) {
	t.Helper()
	err := s.snapshot(context.Background(), func(c *conn) error { // the test may be over
		for level := stored.Finest; level <= stored.Coarsest; level += stored.Fanout {
			want := fmt.Sprintf(`SELECT scope, %[1]d AS level, created_at >> %[1]d AS bucket, count(*) AS n FROM tasks GROUP BY 1, 3
				UNION ALL SELECT grp, %[1]d, created_at >> %[1]d, count(*) FROM tasks GROUP BY 1, 3`, level)
			got := fmt.Sprintf(`SELECT scope, level, bucket, n FROM counts WHERE level = %d`, level)
			for _, q := range []struct{ what, query string }{
				{"is missing", want + ` EXCEPT ` + got},
				{"should not be", got + ` EXCEPT SELECT * FROM (` + want + `)`},
			} {
				err := c.rows(q.query, func(st *sqlite.Stmt) error {
					t.Errorf("count %s: scope %d, level %d, bucket %d, n %d", q.what,
						st.ColumnInt64(0), st.ColumnInt64(1), st.ColumnInt64(2), st.ColumnInt64(3))
					return nil
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
