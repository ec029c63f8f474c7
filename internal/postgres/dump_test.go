package postgres

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/upkeep"
)

// lite makes an SQLite database with something of everything.
func lite(t *testing.T, imported int) *sqlite.Dump {
	t.Helper()
	path := filepath.Join(t.TempDir(), "full.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Fill(t, s, imported)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d, err := sqlite.DumpSource(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func dumpTarget(t *testing.T, url string) *Dump {
	t.Helper()
	d, err := DumpTarget(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func dumpSource(t *testing.T, url string) *Dump {
	t.Helper()
	d, err := DumpSource(t.Context(), url, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func wantDumpError(t *testing.T, err error, kind errand.Kind, why string) {
	t.Helper()
	if err == nil || errand.ErrorOf(err).Kind != kind || !strings.Contains(err.Error(), why) {
		t.Fatalf("error is %v, want %v with %q", err, kind, why)
	}
}

// cut is a target that is lost after some transactions.
type cut struct {
	upkeep.Target
	left int
	stop context.CancelFunc
}

var errCut = errors.New("the machine is gone")

func (c *cut) Write(ctx context.Context, t upkeep.Table, rows [][]any) error {
	if c.left--; c.left < 0 {
		c.stop()
		return errCut
	}
	return c.Target.Write(ctx, t, rows)
}

func TestCopyIsResumed(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	url := realServer(t).URL(newDatabase(t))
	from := lite(t, 400)
	runs := 0
	for done := false; !done; runs++ {
		to := dumpTarget(t, url)
		if runs == 0 {
			_, err := DumpTarget(t.Context(), url)
			wantDumpError(t, err, errand.Conflict, "another copy is writing")
		}
		ctx, stop := context.WithCancel(t.Context())
		r, err := upkeep.Copy(ctx, from, &cut{to, 1 + random.IntN(12), stop}, upkeep.Options{Batch: 50})
		stop()
		if done = err == nil; done {
			if !r.Equal || !r.Resumed {
				t.Errorf("the last run says %+v", r)
			}
		} else if !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
		if !done {
			_, err := Open(t.Context(), url, Options{})
			wantDumpError(t, err, errand.Conflict, "holds an unfinished copy")
			_, err = DumpSource(t.Context(), url, false)
			wantDumpError(t, err, errand.Conflict, "holds an unfinished copy")
		}
		if runs > 200 {
			t.Fatal("the copy never ends")
		}
	}
	if runs < 3 {
		t.Errorf("only %d runs", runs)
	}
	back, err := sqlite.DumpTarget(filepath.Join(t.TempDir(), "back.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if r, err := upkeep.Copy(t.Context(), dumpSource(t, url), back, upkeep.Options{}); err != nil || !r.Equal {
		t.Fatalf("back: %+v, %v", r, err)
	}
	if r, err := upkeep.Verify(t.Context(), from, back, upkeep.Options{}); err != nil || !r.Equal {
		t.Errorf("verify: %+v, %v", r, err)
	}
	for _, d := range []upkeep.Reader{dumpSource(t, url), back} {
		want, err := from.Numbers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := d.Numbers(t.Context()); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: numbers are %v (%v), want %v", d.Name(), got, err, want)
		}
	}
}

// The stores must agree on the tables and their columns.
func TestTablesAreThoseOfSQLite(t *testing.T) {
	t.Parallel()
	ours, err := dumpSource(t, realServer(t).URL(newDatabase(t))).Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := lite(t, 1).Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range max(len(ours), len(theirs)) {
		if i >= len(ours) || i >= len(theirs) || fmt.Sprint(ours[i]) != fmt.Sprint(theirs[i]) {
			t.Fatalf("PostgreSQL has\n%+v, SQLite\n%+v", ours[min(i, len(ours)):], theirs[min(i, len(theirs)):])
		}
	}
	if len(ours) < 18 {
		t.Errorf("only %d tables", len(ours))
	}
}

func TestCopyRefusesNodes(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	srv := server(t)
	dumpTarget(t, srv.URL(db))
	srv.Exec(t, db, `INSERT INTO nodes (id, seen, node) VALUES ('n1', clock_timestamp(), '{}')`)
	_, err := DumpTarget(t.Context(), srv.URL(db))
	wantDumpError(t, err, errand.Conflict, "1 nodes were seen")
	_, err = DumpSource(t.Context(), srv.URL(db), false)
	wantDumpError(t, err, errand.Conflict, "1 nodes were seen")
	d, err := DumpSource(t.Context(), srv.URL(db), true)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
