package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/upkeep"
)

func patient(t *testing.T, path string) *Patient {
	t.Helper()
	p, err := OpenPatient(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// duplicate copies the file of a database that nobody uses.
func duplicate(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "errand.db")
	if err := os.WriteFile(other, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return other
}

func TestPatient(t *testing.T) {
	t.Parallel()
	full := filled(t, 40)
	storetest.RunPatient(t, func(t *testing.T) (upkeep.Patient, func(...string)) {
		p := patient(t, duplicate(t, full))
		return p, func(all ...string) {
			for _, sql := range all {
				if err := p.c.script(sql); err != nil {
					t.Fatalf("%s: %v", sql, err)
				}
			}
		}
	}, `UPDATE sqlite_sequence SET seq = 1 WHERE name = 'scopes'`)
}

// What doctor mends, a server works with.
func TestMendedTasksEnd(t *testing.T) {
	t.Parallel()
	path := filled(t, 10)
	p := patient(t, path)
	if err := p.c.script(`UPDATE tasks SET status = 'succeeded' WHERE id IN (SELECT id FROM live WHERE running = 1)`); err != nil {
		t.Fatal(err)
	}
	if r, err := upkeep.Check(t.Context(), p, upkeep.CheckOptions{Fix: true, Full: true, Now: storetest.Noon()}); err != nil || r.Errors() > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	leases, err := p.c.number(`SELECT count(*) FROM runs WHERE run LIKE '%token%'`)
	if err != nil || leases > 0 {
		t.Errorf("%d runs have their lease still: %v", leases, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path)
	page, err := s.List(t.Context(), errand.Filter{Project: testProject, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	ended := 0
	for _, x := range page.Tasks {
		got, err := s.Get(t.Context(), testProject, x.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got.Status == errand.Succeeded && got.Run != nil && len(got.Run.Attempts) == 1 {
			ended++
		}
	}
	if ended != 3 { // 1, 6 and 14
		t.Errorf("%d tasks have ended with an attempt", ended)
	}
}

func TestPatientOfAnotherTime(t *testing.T) {
	t.Parallel()
	p := patient(t, filled(t, 10))
	if err := p.c.script(`UPDATE events SET at = 32503680000000000 WHERE seq = (SELECT max(seq) FROM events);
		UPDATE tokens SET expires_at = 32500000000000000; UPDATE submit_keys SET expires = 32500000000000000`); err != nil {
		t.Fatal(err)
	}
	kept := func() string {
		t.Helper()
		n, err := p.c.number(`SELECT (SELECT count(*) FROM tokens) * 100 + (SELECT count(*) FROM submit_keys)`)
		if err != nil || n < 101 {
			t.Fatalf("%d, %v", n, err)
		}
		return fmt.Sprint(n)
	}
	before := kept()
	r, err := upkeep.Check(t.Context(), p, upkeep.CheckOptions{Fix: true})
	if after := kept(); after != before {
		t.Errorf("by an event from the future, tokens and keys have expired: %s, and were %s", after, before)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Check == "clock" && (f.Severity != upkeep.Warn || f.Count != 1 || f.Example != "the newest is of 3000-01-01T00:00:00Z") {
			t.Errorf("clock: %+v", f)
		}
	}
}

func TestPatientThatIsDamaged(t *testing.T) {
	t.Parallel()
	path := filled(t, 1000)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(b) / 2; i < len(b)/2+20_000; i++ {
		b[i] = 0xa5
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := upkeep.Check(t.Context(), patient(t, path), upkeep.CheckOptions{})
	if err != nil || len(r.Findings) != 1 || r.Findings[0].Check != "integrity" || r.Errors() != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestPatientIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "errand.db")
	_, err := OpenPatient(path)
	wantDumpError(t, err, errand.NotFound, "does not exist")
	openAt(t, path)
	if _, err := OpenPatient(path); err == nil || !strings.Contains(err.Error(), "is in use by process") {
		t.Errorf("a database in use: %v", err)
	}
}
