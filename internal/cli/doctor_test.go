package cli

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/errandhq/errand/internal/pgtest"
	"github.com/errandhq/errand/internal/upkeep"
)

// doctored runs the command and returns what it found that is not as it should
// be, by check.
func doctored(t *testing.T, code int, args ...string) map[string]upkeep.Finding {
	t.Helper()
	r := errandEnv(t, nil, "", append([]string{"doctor", "-o", "json"}, args...)...)
	var report upkeep.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil || r.code != code {
		t.Fatalf("doctor: exit %d, want %d: %v: %s%s", r.code, code, err, r.stdout, r.stderr)
	}
	if len(report.Findings) < 25 || report.Database == "" {
		t.Errorf("a short report: %s", r.stdout)
	}
	found := map[string]upkeep.Finding{}
	for _, f := range report.Findings {
		if f.Severity != upkeep.OK || f.Mended > 0 {
			found[f.Check] = f
		}
	}
	return found
}

// old is what a store of long ago has: fill's tasks are of 2024.
func old(found map[string]upkeep.Finding) int {
	n := 0
	for _, name := range []string{"overdue", "idempotency-keys", "access-keys", "tokens", "durability"} {
		if _, ok := found[name]; ok {
			delete(found, name)
			n++
		}
	}
	return n
}

func TestDoctorCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real PostgreSQL")
	}
	t.Parallel()
	srv := pgtest.Start(t, pgtest.Fast...)
	lite := full(t, t.TempDir(), 20)
	name := srv.Database(t, "")
	copied(t, lite, srv.URL(name))
	breaks := []string{`DELETE FROM counts WHERE level = 29`, `INSERT INTO runs SELECT project_key, 'ghost', run FROM runs LIMIT 1`}
	srv.Exec(t, name, breaks...)
	if out, err := exec.Command("sqlite3", strings.TrimPrefix(lite, "sqlite:"), strings.Join(breaks, ";")).CombinedOutput(); err != nil {
		t.Skipf("needs the sqlite3 shell: %v: %s", err, out)
	}
	for _, db := range []string{lite, srv.URL(name)} {
		for _, c := range []struct {
			code int
			args []string
			want string // severity of counts, then of runs
		}{
			{exitFailure, nil, "error warn"},
			{exitOK, []string{"--fix", "--full"}, "ok ok"},
			{exitOK, nil, " "},
		} {
			found := doctored(t, c.code, append(c.args, "--db", db)...)
			delete(found, "forgotten") // the server may have been stopped before it got to that
			// Nothing is late in a file that no server has used since.
			if n := old(found); (n > 0) != isPostgres(db) {
				t.Errorf("%s: %d checks found what is old", db, n)
			}
			if got := string(found["counts"].Severity) + " " + string(found["runs"].Severity); got != c.want || len(found) != len(strings.Fields(c.want)) {
				t.Errorf("%s %v: found %+v, want %q", db, c.args, found, c.want)
			}
		}
	}

	srv.Exec(t, name, breaks...)
	r := errandEnv(t, map[string]string{"ERRAND_DB": srv.URL(name)}, "", "doctor")
	for _, want := range []string{
		"\nerror  counts  ", "; --fix counts again\n", "\nwarn   runs  ", "1 runs whose task is gone, such as: ghost; --fix removes them\n", "\nok     tasks  ",
	} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
	if r.code != exitFailure || r.stderr != "errand: 1 checks found errors that remain\n" {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	r = errandEnv(t, map[string]string{"ERRAND_DB": srv.URL(name)}, "", "doctor", "--fix")
	if r.code != exitOK || !strings.Contains(r.stdout, "\nfixed  runs  ") || !strings.Contains(r.stdout, "; mended: removes them\n") {
		t.Errorf("exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
	srv.Exec(t, name, `ALTER TABLE live DROP COLUMN running CASCADE`)
	r = errandEnv(t, map[string]string{"ERRAND_DB": srv.URL(name)}, "", "doctor")
	if r.code != exitFailure || !strings.Contains(r.stdout, "\nerror  schema  ") || !strings.Contains(r.stdout, "the schema is not as the migrations made it") ||
		strings.Contains(r.stdout, "ok     schema") || !strings.Contains(r.stderr, "1 checks found errors that remain; nothing after ") {
		t.Errorf("a column is missing: exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if r := errandEnv(t, nil, "", "doctor", "--db", "sqlite:"+t.TempDir()+"/no.db"); r.code != exitNotFound {
		t.Errorf("no database: exit %d: %s", r.code, r.stderr)
	}
}
