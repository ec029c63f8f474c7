package sqlite

import (
	"regexp"
	"strings"
	"testing"

	"zombiezen.com/go/sqlite"
)

// Every statement that a request runs must find its rows by a key and in order:
// nothing is sorted, and no table is read through.
func TestPlans(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1, 2, 3, 4)
	for n := range 200 {
		put(t, s, testTask(1+n%4, n))
	}
	for name, c := range map[string]struct {
		query string
		keys  []string // in the order of the plan
	}{
		"page of an instance": {pageOfInstance, []string{"t USING PRIMARY KEY (scope=? AND created_at>? AND created_at<?)"}},
		"page of a group": {pageOfGroup, []string{
			"t USING INDEX tasks_by_group (grp=? AND created_at>? AND created_at<?)", "i USING INTEGER PRIMARY KEY (rowid=?)",
		}},
		"page of a project": {pageOfGroups, []string{
			"t USING INDEX tasks_by_group (grp=? AND created_at>? AND created_at<?)", "i USING INTEGER PRIMARY KEY (rowid=?)",
		}},
		"count of an instance": {instanceSince, []string{
			"counts USING PRIMARY KEY (scope=? AND level=? AND bucket>?)",
			"counts USING PRIMARY KEY (scope=? AND level=? AND bucket>? AND bucket<?)",
			"tasks USING PRIMARY KEY (scope=? AND created_at>? AND created_at<?)",
		}},
		"count of a group": {groupSince, []string{"tasks USING COVERING INDEX tasks_by_group (grp=? AND created_at>? AND created_at<?)"}},
		"total":            {totalOf, []string{"counts USING PRIMARY KEY (scope=? AND level=?)"}},
		"buckets":          {bucketsOf, []string{"counts USING PRIMARY KEY (scope=? AND level=? AND bucket>? AND bucket<?)"}},
		"task by id":       {taskByID, []string{"t USING INDEX tasks_by_id (project_key=? AND id=?)", "i USING INTEGER PRIMARY KEY (rowid=?)"}},
		"task by job":      {taskByJob, []string{"t USING INDEX tasks_by_job (project_key=? AND job_id=?)"}},
		"events":           {eventsOf, []string{"events USING INDEX events_by_task (task=? AND seq>?)"}},
		"key":              {keysWith + `access = ?`, []string{"access_keys USING PRIMARY KEY (access=?)"}},
	} {
		t.Run(name, func(t *testing.T) {
			var plan []string
			err := s.read(t.Context(), func(c2 *conn) error {
				return c2.rows(`EXPLAIN QUERY PLAN `+c.query, func(st *sqlite.Stmt) error {
					plan = append(plan, st.ColumnText(3))
					return nil
				})
			})
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(strings.Join(plan, "\n"), "SCAN CONSTANT ROW", "") // that is no table
			if regexp.MustCompile(`TEMP B-TREE|SCAN `).MatchString(text) {
				t.Errorf("plan sorts or reads through a table:\n%s", text)
			}
			rest := text
			for _, key := range c.keys {
				at := strings.Index(rest, "SEARCH "+key)
				if at < 0 {
					t.Fatalf("plan lacks %q:\n%s", key, text)
				}
				rest = rest[at:]
			}
		})
	}
}
