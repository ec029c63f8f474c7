package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/tasks"
)

func TestReopenKeepsEverything(t *testing.T) {
	t.Parallel()
	address := realServer(t).URL(newDatabase(t))
	s := openAt(t, address)
	register(t, s, 1, 2)
	for n := range 50 {
		put(t, s, testTask(1+n%2, n))
	}
	key := auth.Key{Access: "AK", Secret: []byte{1, 0, 2}, UserID: "u", CreatedAt: noon}
	if err := s.AddKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	all := errand.Filter{Project: testProject, Limit: 1000}
	before, err := s.List(t.Context(), all)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)

	s = openAt(t, address)
	after, err := s.List(t.Context(), all)
	if err != nil || before.Total != 50 || !reflect.DeepEqual(before, after) {
		t.Errorf("after reopening, the page is %+v (%v), want %+v", after, err, before)
	}
	if got, err := s.Key(t.Context(), "AK"); err != nil || !reflect.DeepEqual(got, key) {
		t.Errorf("key is %+v, %v", got, err)
	}
}

// TestOpenAtOnce has several nodes start on an empty database.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	address := srv.URL(srv.Database(t, ""))
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			s, err := Open(context.Background(), address, Options{})
			if err != nil {
				t.Error(err)
				return
			}
			defer closeStore(t, s)
			if err := s.AddInstance(context.Background(), testInstance(n)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, total, err := openAt(t, address).Instances(t.Context(), testProject, 0, 10); err != nil || total != 4 {
		t.Errorf("%d instances are there, %v; want 4", total, err)
	}
}

// secret is in every address below, and must be in no error.
const secret = "correct-horse"

// TestOpenRefuses holds each reason why a database is not used against what the
// operator is told.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	srv.Exec(t, "postgres", "DROP ROLE IF EXISTS guest, locked", "CREATE ROLE guest LOGIN", "CREATE ROLE locked NOLOGIN")
	of := func(db, user, more string) string {
		u := url.URL{Scheme: "postgres", User: url.UserPassword(user, secret), Host: fmt.Sprintf("127.0.0.1:%d", srv.Port), Path: db}
		return u.String() + "?sslmode=disable" + more
	}
	in := func(queries ...string) string {
		db := srv.Database(t, "")
		srv.Exec(t, db, queries...)
		return db
	}
	latin := "latin_" + srv.Database(t, "")
	srv.Exec(t, "postgres", "CREATE DATABASE "+latin+" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	readOnly := in()
	srv.Exec(t, "postgres", "ALTER DATABASE "+readOnly+" SET default_transaction_read_only = on")
	crowded := in()
	srv.Exec(t, "postgres", "ALTER DATABASE "+crowded+" CONNECTION LIMIT 0")
	newer, changed, gap, dropped := newDatabase(t), newDatabase(t), newDatabase(t), newDatabase(t)
	srv.Exec(t, newer, `INSERT INTO migrations VALUES ((SELECT max(version) + 1 FROM migrations), '9999_future.sql', 'x')`)
	srv.Exec(t, changed, `UPDATE migrations SET checksum = 'x'`)
	srv.Exec(t, gap, `DELETE FROM migrations WHERE version = 1`)
	srv.Exec(t, dropped, `DROP TABLE counts`)
	for name, c := range map[string]struct{ address, why string }{
		"no address":          {"", "needs an address"},
		"not an address":      {"postgres://postgres:" + secret + "/x@y:5432/db", "is not understood"},
		"not a port":          {"postgres://postgres:" + secret + "@127.0.0.1:port/db", "is not understood"},
		"missing database":    {of("nowhere", "postgres", ""), `database nowhere on 127.0.0.1:` + fmt.Sprint(srv.Port) + ` (as user postgres) does not exist; create it`},
		"unknown user":        {of("postgres", "nobody", ""), "refuses that user"},
		"locked user":         {of("postgres", "locked", ""), "refuses that user"},
		"nobody there":        {"postgres://postgres:" + secret + "@127.0.0.1:1/db?sslmode=disable", "cannot be reached"},
		"no rights":           {of(in(), "guest", ""), "does not give that user the rights"},
		"too many":            {of(crowded, "guest", ""), "has no connection left"},
		"another encoding":    {of(latin, "postgres", ""), "its encoding is LATIN1"},
		"read-only":           {of(readOnly, "postgres", ""), "read-only"},
		"no schema":           {of("postgres", "postgres", "&search_path=nowhere"), "search_path names no schema"},
		"unknown setting":     {of("postgres", "postgres", "&no_such_setting=1"), "no_such_setting"},
		"newer":               {of(newer, "postgres", ""), "this program knows versions up to"},
		"changed migration":   {of(changed, "postgres", ""), "was made by another build: its migration 0001_schema.sql"},
		"gap":                 {of(gap, "postgres", ""), "is missing from the record"},
		"dropped table":       {of(dropped, "postgres", ""), "its table counts is missing"},
		"tables of others":    {of(in(`CREATE TABLE tasks (n int)`), "postgres", ""), "holds tables that these migrations have not made"},
		"record of others":    {of(in(`CREATE TABLE migrations (id int)`), "postgres", ""), "holds tables that these migrations have not made"},
		"record without ours": {of(in(`CREATE TABLE migrations (version bigint, name text, checksum text)`, `CREATE TABLE events (n int)`), "postgres", ""), "holds tables that these migrations have not made"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.Context(), c.address, Options{})
			if err == nil {
				closeStore(t, s)
				t.Fatalf("opened; want %q", c.why)
			}
			if !strings.Contains(err.Error(), c.why) || strings.Contains(err.Error(), secret) {
				t.Errorf("error is %q; want %q, and no password", err, c.why)
			}
		})
	}
}

func TestMigrationsGoForward(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	address := srv.URL(newDatabase(t))
	old := openAt(t, address)
	register(t, old, 1)

	files := fstest.MapFS{}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(name, "migrations/")] = &fstest.MapFile{Data: text}
	}
	next := func(n int, name string) string { return fmt.Sprintf("%04d_%s.sql", len(names)+n, name) }
	files[next(1, "more")] = &fstest.MapFile{Data: []byte("CREATE TABLE more (n bigint);\nINSERT INTO more VALUES (7);")}
	files[next(2, "broken")] = &fstest.MapFile{Data: []byte("INSERT INTO more VALUES (8);\nINSERT INTO elsewhere VALUES (9);")}
	if _, err := open(t.Context(), address, Options{}, files); err == nil || !strings.Contains(err.Error(), "broken.sql") {
		t.Fatalf("a broken migration gives %v", err)
	}
	files[next(2, "broken")].Data = []byte("UPDATE more SET n = n + 1;")
	for range 2 {
		s, err := open(t.Context(), address, Options{}, files)
		if err != nil {
			t.Fatal(err)
		}
		sums, err := collect(t.Context(), s, pgx.RowTo[int64], `SELECT sum(n)::bigint FROM more`)
		if err != nil || sums[0] != 8 {
			t.Errorf("sum is %v (%v), want each migration to have run once and whole", sums, err)
		}
		closeStore(t, s)
	}
	// The node of the release before goes on; another of that release does not start.
	put(t, old, testTask(1, 1))
	if _, err := Open(t.Context(), address, Options{}); err == nil || !strings.Contains(err.Error(), "has schema version") {
		t.Errorf("an older program starts on a newer schema: %v", err)
	}
}

// TestSearchPath keeps two Errands in one database apart.
func TestSearchPath(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	db := srv.Database(t, "")
	srv.Exec(t, db, "CREATE SCHEMA one", "CREATE SCHEMA two")
	one := openAt(t, srv.URL(db)+"&options=-csearch_path%3Done")
	two := openAt(t, srv.URL(db)+"&search_path=two")
	register(t, one, 1)
	if _, total, err := two.Instances(t.Context(), testProject, 0, 1); err != nil || total != 0 {
		t.Errorf("the other has %d instances, %v", total, err)
	}
	if one.channel == two.channel {
		t.Error("both are told of each other's changes")
	}
}

func TestCallsAfterClose(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	closeStore(t, s)
	closeStore(t, s)
	wantUnavailable(t, s.Ping(t.Context()))
	wantUnavailable(t, s.Put(t.Context(), []*errand.Task{testTask(1, 1)}, save))
	_, err := s.List(t.Context(), errand.Filter{Project: testProject, Limit: 1})
	wantUnavailable(t, err)
	_, err = s.Time(t.Context())
	wantUnavailable(t, err)
	wantUnavailable(t, s.Exclusively(t.Context(), func(context.Context) error { return nil }))
	s.Listen(t.Context(), func(tasks.Ring) {}) // returns
}
