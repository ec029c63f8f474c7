package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/pgtest"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/upkeep"
)

func patient(t *testing.T, url string) *Patient {
	t.Helper()
	p, err := OpenPatient(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func finding(t *testing.T, r upkeep.Report, check string) upkeep.Finding {
	t.Helper()
	for _, f := range r.Findings {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no finding of %s in %+v", check, r)
	return upkeep.Finding{}
}

func TestPatient(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real server")
	}
	t.Parallel()
	srv := pgtest.Start(t) // with settings that are as they should be
	full := srv.Database(t, "")
	s, err := Open(t.Context(), srv.URL(full), Options{})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Fill(t, s, 60)
	closeStore(t, s)
	storetest.RunPatient(t, func(t *testing.T) (upkeep.Patient, func(...string)) {
		name := srv.Database(t, full)
		return patient(t, srv.URL(name)), func(all ...string) { srv.Exec(t, name, all...) }
	}, `SELECT setval(pg_get_serial_sequence('scopes', 'id'), 1)`)
}

func TestPatientBesideNodes(t *testing.T) {
	t.Parallel()
	url := realServer(t).URL(newDatabase(t))
	s := openAt(t, url)
	storetest.Fill(t, s, 50)
	for n, skew := range map[string]time.Duration{"a": 0, "b": -90 * time.Second} {
		if _, err := s.Meet(t.Context(), tasks.Node{ID: n, Name: "host-" + n, Version: "v1", Skew: skew}, 0); err != nil {
			t.Fatal(err)
		}
	}
	r, err := upkeep.Check(t.Context(), patient(t, url), upkeep.CheckOptions{Now: storetest.Noon()})
	if err != nil {
		t.Fatal(err)
	}
	if f := finding(t, r, "nodes"); f.Severity != upkeep.OK || f.Count != 2 || f.Example != "host-a v1, host-b v1" {
		t.Errorf("nodes: %+v", f)
	}
	if f := finding(t, r, "node-clocks"); f.Severity != upkeep.Warn || f.Count != 1 || f.Example != "host-b is -1m30s ahead" {
		t.Errorf("clocks of nodes: %+v", f)
	}
	if f := finding(t, r, "durability"); f.Severity != upkeep.Warn || !strings.Contains(f.Example, "fsync = off") || f.Count != 3 {
		t.Errorf("durability: %+v", f)
	}
	if r.Errors() != 0 {
		t.Errorf("errors in %+v", r)
	}
}

// While tasks come and go, what they are counted by is mended, and is right in
// the end.
func TestCountsAreMendedBesideWriters(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	url := realServer(t).URL(db)
	s := openAt(t, url)
	storetest.Fill(t, s, 60)
	p := patient(t, url)
	ctx, stop := context.WithCancel(t.Context())
	wrote := make(chan int)
	go func() {
		n := 0
		defer func() { wrote <- n }()
		for ; ctx.Err() == nil; n++ {
			x := testTask(1, 1<<20+n)
			if err := s.Put(ctx, []*errand.Task{x}, save); err != nil && ctx.Err() == nil {
				t.Errorf("put: %v", err)
				return
			}
		}
	}()
	for range 5 {
		realServer(t).Exec(t, db, `UPDATE counts SET n = n + 2 WHERE bucket % 2 = 0`)
		r, err := upkeep.Check(t.Context(), p, upkeep.CheckOptions{Fix: true, Now: storetest.Noon()})
		if err != nil {
			t.Fatal(err)
		}
		if f := finding(t, r, "counts"); f.Severity != upkeep.OK || f.Mended == 0 {
			t.Errorf("counts: %+v", f)
		}
	}
	stop()
	if n := <-wrote; n == 0 {
		t.Error("nothing was written meanwhile")
	}
	checkCounts(t, s)
}

func TestPatientIsRefused(t *testing.T) {
	t.Parallel()
	_, err := OpenPatient(t.Context(), realServer(t).URL("nowhere"))
	if err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a database that is not there: %v", err)
	}
	r, err := upkeep.Check(t.Context(), patient(t, realServer(t).URL(realServer(t).Database(t, ""))), upkeep.CheckOptions{Fix: true})
	if err != nil || finding(t, r, "version").Count == 0 || r.Errors() > 0 {
		t.Errorf("an empty database: %+v, %v", r, err)
	}
}

// TestPatientIsUnfit covers what stops the doctor: it is said, and nothing after it
// is taken for checked.
func TestPatientIsUnfit(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	srv.Exec(t, "postgres", "CREATE ROLE lowly LOGIN")
	broken := func(breaks ...string) string {
		db := newDatabase(t)
		srv.Exec(t, db, breaks...)
		return srv.URL(db)
	}
	lowly := func(url string) string { return strings.Replace(url, "//postgres@", "//lowly@", 1) }
	foreign := srv.Database(t, "")
	srv.Exec(t, foreign, `CREATE TABLE migrations (id int, name text)`)
	for _, tt := range []struct{ name, url, check, example, act string }{
		{"no rights", lowly(broken()), "rights", "permission denied for table migrations", "GRANT ALL ON ALL TABLES"},
		{"rights for one table", lowly(broken(`GRANT SELECT ON migrations TO lowly`)), "rights", "permission denied", "owns the tables"},
		{"no column", broken(`ALTER TABLE live DROP COLUMN running CASCADE`), "schema", "running", "restore a backup"},
		{"no table", broken(`DROP TABLE live CASCADE`), "schema", "table live", "restore a backup"},
		{"no record", broken(`DROP TABLE migrations`), "version", "no record of the migrations", "restore a backup"},
		{"an empty record", broken(`DELETE FROM migrations`), "version", "no record of the migrations", "restore a backup"},
		{"a foreign record", srv.URL(foreign), "version", "belongs to another program", "search_path"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := upkeep.Check(t.Context(), patient(t, tt.url), upkeep.CheckOptions{})
			if err != nil {
				t.Fatal(err)
			}
			f := finding(t, r, tt.check)
			if f.Severity != upkeep.Bad || !strings.Contains(f.Example, tt.example) || !strings.Contains(f.Act, tt.act) {
				t.Errorf("found %+v", f)
			}
			if last := r.Findings[len(r.Findings)-1]; last.Check != tt.check || r.Stopped == "" {
				t.Errorf("stopped at %q, after %+v", r.Stopped, last)
			}
		})
	}
}
