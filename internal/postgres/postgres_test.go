package postgres

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/pgtest"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
)

var server, stopServer = pgtest.Shared(pgtest.Fast...)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stopServer(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

var templateOnce sync.Once

// realServer is the server that all tests share.
func realServer(t testing.TB) *pgtest.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("runs a real server")
	}
	return server(t)
}

// newDatabase makes an empty database with our schema.
func newDatabase(t testing.TB) string {
	t.Helper()
	srv := realServer(t)
	templateOnce.Do(func() {
		name := srv.Database(t, "")
		s, err := Open(context.Background(), srv.URL(name), Options{})
		if err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		srv.Exec(t, "postgres", "ALTER DATABASE "+name+" RENAME TO errand_template")
	})
	return srv.Database(t, "errand_template")
}

// openAt opens the database at url for the time of the test.
func openAt(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(context.Background(), url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func openNew(t testing.TB) *Store {
	t.Helper()
	db := newDatabase(t)
	return openAt(t, realServer(t).URL(db))
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) tasks.Store {
		s := openNew(t)
		t.Cleanup(func() { checkCounts(t, s) })
		return s
	})
}

func TestQueue(t *testing.T) {
	t.Parallel()
	storetest.RunQueue(t, func(t *testing.T) storetest.Queue {
		s := openNew(t)
		t.Cleanup(func() {
			checkCounts(t, s)
			checkLive(t, s)
		})
		return s
	})
}

func TestAuthStore(t *testing.T) {
	t.Parallel()
	storetest.RunAuth(t, func(t *testing.T) auth.Store { return openNew(t) })
}

func TestCluster(t *testing.T) {
	t.Parallel()
	storetest.RunCluster(t, func(t *testing.T) func() storetest.Node {
		url := realServer(t).URL(newDatabase(t))
		return func() storetest.Node { return openAt(t, url) }
	})
}

// checkCounts compares every count with the rows it stands for, in SQL and
// from one snapshot, so that it holds at any moment.
func checkCounts(t testing.TB, s *Store) {
	t.Helper()
	noRows(t, s, "count of scope, level, bucket, n", `WITH want AS (
			SELECT scope, level, created_at >> level AS bucket, count(*) AS n
			FROM (SELECT scope, created_at FROM tasks UNION ALL SELECT grp, created_at FROM tasks) t, unnest('{23,29,35,41}'::int[]) AS level
			GROUP BY 1, 2, 3)
		SELECT concat_ws(' ', 'is missing:', scope, level, bucket, n) FROM (TABLE want EXCEPT SELECT scope, level, bucket, n FROM counts) m
		UNION ALL SELECT concat_ws(' ', 'should not be:', scope, level, bucket, n) FROM (SELECT scope, level, bucket, n FROM counts EXCEPT TABLE want) e`)
}

// checkLive compares the tables of the queue with the tasks, and the marks of
// what may be taken with the lanes.
func checkLive(t testing.TB, s *Store) {
	t.Helper()
	for what, query := range map[string]string{
		"unfinished without a task that is": `SELECT id FROM live l WHERE NOT EXISTS (SELECT 1 FROM tasks t
			WHERE t.scope = l.scope AND t.created_at = l.created_at AND t.id = l.id AND t.status = CASE l.running WHEN 1 THEN 'running' ELSE 'pending' END)`,
		"ended without a task that has": `SELECT id FROM runs r WHERE NOT EXISTS (SELECT 1 FROM tasks t
			WHERE t.project_key = r.project_key AND t.id = r.id AND t.status NOT IN ('running', 'pending'))`,
		"both unfinished and ended": `SELECT id FROM live JOIN runs USING (project_key, id)`,
		"free but not ready":        `SELECT id FROM live WHERE lane = '' AND ready = running`,
		"ready out of turn": `SELECT id FROM live l WHERE lane <> '' AND (ready = 1) <> (running = 0 AND NOT EXISTS (SELECT 1 FROM live o
			WHERE o.scope = l.scope AND o.lane = l.lane AND o.id <> l.id AND (o.running = 1 OR (o.run_at, o.id) < (l.run_at, l.id))))`,
		"gone but its secrets":     `SELECT id FROM secrets s WHERE NOT EXISTS (SELECT 1 FROM live l WHERE l.project_key = s.project_key AND l.id = s.id)`,
		"a log without a task":     `SELECT id FROM task_log l WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.project_key = l.project_key AND t.id = l.id)`,
		"scheduled without a task": `SELECT id FROM scheduled s WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.scope = s.scope AND t.created_at = s.created_at AND t.id = s.id)`,
	} {
		noRows(t, s, "task that is "+what, query)
	}
}

// noRows reports what a query of one text column finds.
func noRows(t testing.TB, s *Store, what, query string) {
	t.Helper()
	found, err := collect(context.Background(), s, pgx.RowTo[string], query) // the test may be over
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for _, row := range found {
		t.Errorf("%s: %s", what, row)
	}
}

const testProject = "0123456789abcdef0123456789abcdef"

var noon = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func instanceID(n int) string { return fmt.Sprintf("5560df16-cebf-4473-95c4-%012x", n) }

func testInstance(n int) errand.Instance {
	return errand.Instance{
		Project: testProject, ID: instanceID(n), Name: fmt.Sprintf("i%d", n), Engine: errand.Engines()[n%4],
		Attributes: map[string]string{"version": "3.7"}, CreatedAt: noon,
	}
}

func testTask(instance, n int) *errand.Task {
	return &errand.Task{
		ID: fmt.Sprintf("%032x", n), Project: testProject, Instance: instanceID(instance), Operation: "EXTEND", JobID: fmt.Sprintf("%032x", n),
		Params: `{"new_size":600}`, Status: errand.Succeeded, CreatedAt: noon.Add(time.Duration(n) * time.Minute), UpdatedAt: noon,
	}
}

func save(_, t *errand.Task) (*errand.Event, error) {
	return &errand.Event{Project: t.Project, Instance: t.Instance, Task: t.ID, At: noon, Act: errand.ActImported, To: t.Status}, nil
}

func register(t testing.TB, s *Store, ns ...int) {
	t.Helper()
	for _, n := range ns {
		if err := s.AddInstance(context.Background(), testInstance(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func put(t testing.TB, s *Store, batch ...*errand.Task) {
	t.Helper()
	if err := s.Put(context.Background(), batch, save); err != nil {
		t.Fatal(err)
	}
}

func wantUnavailable(t testing.TB, err error) {
	t.Helper()
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Unavailable || e.Subject != "store" {
		t.Fatalf("error is %v, want one that says to try again", err)
	}
}
