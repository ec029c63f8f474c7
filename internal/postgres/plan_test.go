package postgres

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// explain returns the plan that a statement has for whatever arguments, with the
// settings of connections for reading.
func explain(t testing.TB, s *Store, query string) (plan string) {
	t.Helper()
	params := 0
	for strings.Contains(query, fmt.Sprintf("$%d", params+1)) {
		params++
	}
	nulls := ""
	if params > 0 {
		nulls = "(" + strings.TrimSuffix(strings.Repeat("NULL,", params), ",") + ")"
	}
	err := s.read(context.Background(), func(ctx context.Context, c *pgx.Conn) error {
		if _, err := c.Exec(ctx, `PREPARE explained AS `+query, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		rows, err := c.Query(ctx, `EXPLAIN (COSTS OFF) EXECUTE explained`+nulls, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return err
		}
		plan = strings.Join(lines, "\n")
		_, err = c.Exec(ctx, `DEALLOCATE explained`)
		return err
	})
	if err != nil {
		t.Fatalf("%v: %s", err, query)
	}
	return plan
}

// TestPlans wants every statement of a listing, and those that look up one thing,
// to find its rows by an index, and to sort no more than a page: no table that
// grows is read through, whatever the arguments.
func TestPlans(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	for n := range 8 {
		register(t, s, n)
		seed(t, s, n, 2000)
	}
	register(t, s, 100)
	seed(t, s, 100, 30_000)
	settle(t, s)
	fillOthers(t, s)
	type plan struct {
		query string
		keys  []string // in the order of the plan
	}
	const (
		countsOf = `Index (Only )?Scan (Backward )?using counts_pkey on counts`
		byScope  = `Index Scan Backward using tasks_pkey on tasks t.*\n.*Index Cond: \(\(?scope = \$\d`
		byGroup  = `Index Scan Backward using tasks_by_group on tasks t.*\n.*Index Cond: \(\(?grp = g.id`
	)
	plans := map[string]plan{
		"task by id":     {taskByID, []string{`using tasks_by_id`}},
		"events":         {eventsOf, []string{`using events_by_task on events`}},
		"runs":           {runsOf, []string{`using tasks_by_id`}},
		"feed":           {feedOf, []string{`using events_by_project on events`}},
		"key":            {keyByAccess, nil},
		"seek":           {instanceListing.seek, []string{countsOf, countsOf, countsOf, countsOf}},
		"seek in groups": {groupListing.seek, []string{countsOf, countsOf, countsOf, countsOf}},
	}
	for i, size := range pageSizes {
		plans[fmt.Sprintf("page of %d of an instance", size)] = plan{instanceListing.whole[i], []string{countsOf, byScope}}
		plans[fmt.Sprintf("page of %d of an instance in a range", size)] = plan{instanceListing.within[i], []string{countsOf, countsOf, countsOf, countsOf, byScope}}
		plans[fmt.Sprintf("page of %d of groups", size)] = plan{groupListing.whole[i], []string{countsOf, byGroup}}
		plans[fmt.Sprintf("page of %d of groups in a range", size)] = plan{groupListing.within[i], []string{countsOf, countsOf, countsOf, countsOf, byGroup}}
	}
	through := regexp.MustCompile(`Seq Scan on (tasks|counts|events|runs|task_log)|Bitmap`)
	for name, c := range plans {
		t.Run(name, func(t *testing.T) {
			got := explain(t, s, c.query)
			if through.MatchString(got) {
				t.Errorf("a table that grows is read through:\n%s", got)
			}
			rest := got
			for _, key := range c.keys {
				at := regexp.MustCompile(key).FindStringIndex(rest)
				if at == nil {
					t.Fatalf("plan lacks %q:\n%s", key, got)
				}
				rest = rest[at[1]:]
			}
		})
	}
}

// fillOthers gives events enough rows for the planner to mind.
func fillOthers(t testing.TB, s *Store) {
	t.Helper()
	for _, query := range []string{
		`INSERT INTO events (project, instance, task, at, act, actor_id, actor_name, from_status, to_status, request, reason)
			SELECT CASE WHEN k % 50 = 0 THEN 'small' ELSE 'big' END, 'i', 't' || (k / 4), k, 'a', '', '', '', '', '', '' FROM generate_series(1, 20000) AS k`,
		`VACUUM ANALYZE events`,
	} {
		if _, err := s.writers.Exec(context.Background(), query); err != nil {
			t.Fatal(err)
		}
	}
}
