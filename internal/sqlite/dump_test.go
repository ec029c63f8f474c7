package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/upkeep"
)

// filled makes a database with something of everything and returns its path.
func filled(t *testing.T, imported int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "full.db")
	s := openAt(t, path)
	storetest.Fill(t, s, imported)
	for more := true; more; { // the tasks of forgotten instances
		var err error
		if more, err = s.forgetSome(); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	return path
}

func source(t *testing.T, path string) *Dump {
	t.Helper()
	d, err := DumpSource(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func target(t *testing.T, path string) *Dump {
	t.Helper()
	d, err := DumpTarget(path)
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

func TestCopy(t *testing.T) {
	t.Parallel()
	from := source(t, filled(t, 500))
	path := filepath.Join(t.TempDir(), "copy.db")
	to := target(t, path)
	phases := map[string]int64{}
	r, err := upkeep.Copy(t.Context(), from, to, upkeep.Options{Batch: 100, Progress: func(p upkeep.Progress) { phases[p.Phase] = p.Rows }})
	if err != nil || !r.Equal || r.Resumed {
		t.Fatalf("copy: %+v, %v", r, err)
	}
	rows := map[string]int64{}
	for _, s := range r.Tables {
		rows[s.Table] = s.Rows
	}
	for table, least := range map[string]int64{
		"access_keys": 3, "checks": 1, "counts": 100, "durations": 1, "events": 510, "instances": 4, "live": 8, "projects": 2, "roles": 6,
		"runs": 2, "scheduled": 2, "scopes": 7, "secrets": 2, "submit_keys": 1, "task_log": 2, "tasks": 510, "tokens": 3, "users": 3,
	} {
		if rows[table] < least {
			t.Errorf("%d rows of table %s were copied, want %d at least", rows[table], table, least)
		}
	}
	for _, p := range []string{upkeep.PhaseSource, upkeep.PhaseWrite, upkeep.PhaseVerify} {
		if phases[p] != r.Rows {
			t.Errorf("%s ended after %d of %d rows", p, phases[p], r.Rows)
		}
	}
	numbers, err := from.Numbers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := to.Numbers(t.Context()); err != nil || fmt.Sprint(got) != fmt.Sprint(numbers) || got["scopes.id"] <= rows["scopes"] {
		t.Errorf("numbers are %v (%v), want %v, beyond the scopes that are there", got, err, numbers)
	}
	if v, err := upkeep.Verify(t.Context(), from, to, upkeep.Options{}); err != nil || !v.Equal {
		t.Errorf("verify: %+v, %v", v, err)
	}
	if _, err := upkeep.Copy(t.Context(), from, to, upkeep.Options{}); err == nil || !strings.Contains(err.Error(), "is not empty: it has rows in access_keys (3)") {
		t.Errorf("copy into a copy: %v", err)
	}
	if err := to.c.exec(`UPDATE tasks SET reason = 'x' WHERE id = ?`, fmt.Sprintf("%032x", 1)); err != nil {
		t.Fatal(err)
	}
	v, err := upkeep.Verify(t.Context(), from, to, upkeep.Options{})
	if err != nil || v.Equal {
		t.Errorf("a difference goes unnoticed: %+v, %v", v, err)
	}
	for _, s := range v.Tables {
		if (s.Target != nil) != (s.Table == "tasks") {
			t.Errorf("table %s: target %v", s.Table, s.Target)
		}
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	openAt(t, path)
}

// ahead is a source that has given out numbers of events that are gone.
type ahead struct {
	*Dump
	by int64
}

func (a ahead) Numbers(ctx context.Context) (map[string]int64, error) {
	n, err := a.Dump.Numbers(ctx)
	if err == nil {
		n["events.seq"] += a.by
	}
	return n, err
}

// TestCopyKeepsNumbersOfEvents checks that the number of an event that is gone
// does not come again after a copy, nor after a copy of that.
func TestCopyKeepsNumbersOfEvents(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	from := source(t, filled(t, 3))
	want, err := ahead{from, 7}.Numbers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var reader upkeep.Reader = ahead{from, 7}
	for _, name := range []string{"first.db", "second.db"} {
		path := filepath.Join(dir, name)
		to := target(t, path)
		if r, err := upkeep.Copy(t.Context(), reader, to, upkeep.Options{}); err != nil || !r.Equal {
			t.Fatalf("copy: %+v, %v", r, err)
		}
		if r, err := upkeep.Verify(t.Context(), from, to, upkeep.Options{}); err != nil || !r.Equal {
			t.Errorf("verify: %+v, %v", r, err)
		}
		if got, err := to.Numbers(t.Context()); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("numbers are %v (%v), want %v", got, err, want)
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
		reader = source(t, path)
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
	full := filled(t, 400)
	path := filepath.Join(t.TempDir(), "copy.db")
	runs := 0
	for done := false; !done; runs++ {
		from, to := source(t, full), target(t, path)
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
		if from.Close() != nil || to.Close() != nil {
			t.Fatal("close failed")
		}
		if !done {
			_, err := Open(path, Options{})
			wantDumpError(t, err, errand.Conflict, "holds an unfinished copy")
			_, err = DumpSource(path)
			wantDumpError(t, err, errand.Conflict, "holds an unfinished copy")
		}
		if runs > 200 {
			t.Fatal("the copy never ends")
		}
	}
	if runs < 3 {
		t.Errorf("only %d runs", runs)
	}
	if r, err := upkeep.Verify(t.Context(), source(t, full), source(t, path), upkeep.Options{}); err != nil || !r.Equal {
		t.Errorf("verify: %+v, %v", r, err)
	}
}

// A source that went on working between two runs is copied as it is now.
func TestCopyOfASourceThatChanged(t *testing.T) {
	t.Parallel()
	full := filled(t, 300)
	path := filepath.Join(t.TempDir(), "copy.db")
	from, to := source(t, full), target(t, path)
	ctx, stop := context.WithCancel(t.Context())
	if _, err := upkeep.Copy(ctx, from, &cut{to, 25, stop}, upkeep.Options{Batch: 50}); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, full)
	register(t, s, 77)
	put(t, s, testTask(77, 1<<20))
	closeStore(t, s)
	c, err := connect(full)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.script(`DELETE FROM events WHERE seq = 3; UPDATE users SET password = 'x'; DELETE FROM access_keys`); err != nil || c.Close() != nil {
		t.Fatal(err)
	}
	r, err := upkeep.Copy(t.Context(), source(t, full), to, upkeep.Options{Batch: 50})
	if err != nil || !r.Equal || !r.Resumed {
		t.Errorf("copy: %+v, %v", r, err)
	}
}

func TestCopyRefuses(t *testing.T) {
	t.Parallel()
	full, other := filled(t, 10), filled(t, 10)
	c, err := connect(other)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.script(`UPDATE checks SET value = x'00'`); err != nil || c.Close() != nil {
		t.Fatal(err)
	}
	t.Run("a source that is not there", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "no.db")
		_, err := DumpSource(path)
		wantDumpError(t, err, errand.NotFound, "does not exist")
		if _, err := os.Stat(path); err == nil {
			t.Error("it was made")
		}
	})
	t.Run("a source in use", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "errand.db")
		openAt(t, path)
		if _, err := DumpSource(path); err == nil || !strings.Contains(err.Error(), "is in use by process") {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("an unfinished copy of another source", func(t *testing.T) {
		to := target(t, filepath.Join(t.TempDir(), "copy.db"))
		ctx, stop := context.WithCancel(t.Context())
		if _, err := upkeep.Copy(ctx, source(t, full), &cut{to, 1, stop}, upkeep.Options{}); !errors.Is(err, errCut) {
			t.Fatal(err)
		}
		_, err := upkeep.Copy(t.Context(), source(t, other), to, upkeep.Options{})
		wantDumpError(t, err, errand.Conflict, "holds an unfinished copy of another database")
	})
	t.Run("values that do not fit their column", func(t *testing.T) {
		c, err := connect(other)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.script(`UPDATE users SET password = x'41' WHERE name = 'üser-2'`); err != nil || c.Close() != nil {
			t.Fatal(err)
		}
		to := target(t, filepath.Join(t.TempDir(), "copy.db"))
		_, err = upkeep.Copy(t.Context(), source(t, other), to, upkeep.Options{})
		wantDumpError(t, err, errand.Invalid, "table users, row with id \"00000000000000000000000000000002\", column password: it holds bytes, and only text can be kept")
		if state, err := to.Copying(t.Context()); state != "" || err != nil {
			t.Errorf("the copy has begun: %q, %v", state, err)
		}
	})
}
