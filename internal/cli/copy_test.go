package cli

import (
	"encoding/json"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand/internal/pgtest"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/upkeep"
)

// full makes an SQLite database with something of everything.
func full(t *testing.T, dir string, imported int) string {
	t.Helper()
	path := filepath.Join(dir, "errand.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Fill(t, s, imported)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

// copied runs the command and returns what it found.
func copied(t *testing.T, from, to string, more ...string) upkeep.Result {
	t.Helper()
	r := errandEnv(t, nil, "", append([]string{"copy", "-o", "json", "--from", from, "--to", to}, more...)...)
	if r.code != exitOK || r.stderr != "" {
		t.Fatalf("copy from %s to %s: exit %d: %s", from, to, r.code, r.stderr)
	}
	var found upkeep.Result
	if err := json.Unmarshal([]byte(r.stdout), &found); err != nil {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	if !found.Equal || found.Rows == 0 {
		t.Errorf("copy from %s to %s: %s", from, to, r.stdout)
	}
	return found
}

func wantCopyError(t *testing.T, code int, why, from, to string, more ...string) {
	t.Helper()
	r := errandEnv(t, nil, "", append([]string{"copy", "--from", from, "--to", to}, more...)...)
	if r.code != code || !strings.Contains(r.stderr, why) {
		t.Errorf("copy from %s to %s: exit %d, want %d with %q: %s%s", from, to, r.code, code, why, r.stdout, r.stderr)
	}
}

// TestCopyCommand takes a database to PostgreSQL and back.
func TestCopyCommand(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real PostgreSQL")
	}
	t.Parallel()
	srv := pgtest.Start(t, pgtest.Fast...)
	dir := t.TempDir()
	lite := full(t, dir, 1500)
	name := srv.Database(t, "")
	pg, other, back := srv.URL(name), srv.URL(srv.Database(t, "")), "sqlite:"+filepath.Join(dir, "back.db")

	there := copied(t, lite, pg)
	and := copied(t, pg, back)
	for i := range there.Tables {
		if there.Tables[i] != and.Tables[i] {
			t.Errorf("on the way back, %+v is %+v", there.Tables[i], and.Tables[i])
		}
	}
	copied(t, pg, other)
	copied(t, lite, back, "--verify-only")
	copied(t, lite, other, "--verify-only")

	r := errandEnv(t, nil, "", "copy", "--from", back, "--to", pg, "--verify-only")
	if r.code != exitOK || !strings.Contains(r.stdout, "TABLE") || !strings.Contains(r.stdout, "rows are the same in sqlite:") || r.stderr != "" {
		t.Errorf("verify: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	wantCopyError(t, exitRefused, "is not empty: it has rows in access_keys (3)", lite, pg)
	wantCopyError(t, exitRefused, "is not empty", pg, back)
	wantCopyError(t, exitUsage, "the same database", lite, lite)
	wantCopyError(t, exitUsage, `not as "mysql"`, "mysql://root:secret@h/d", lite)
	wantCopyError(t, exitFailure, "does not exist", lite, srv.URL("nowhere"))
	wantCopyError(t, exitNotFound, "does not exist", "sqlite:"+filepath.Join(dir, "nowhere.db"), pg)

	srv.Exec(t, name, `INSERT INTO nodes VALUES ('n1', clock_timestamp(), '{}')`)
	empty := srv.Database(t, "")
	wantCopyError(t, exitRefused, "1 nodes were seen within the last minute", pg, srv.URL(empty))
	copied(t, pg, srv.URL(empty), "--force")
	srv.Exec(t, name, `UPDATE nodes SET seen = seen - interval '2 minutes'`, `UPDATE tasks SET reason = 'other' WHERE id = '00000000000000000000000000000001'`)
	r = errandEnv(t, nil, "", "copy", "--from", pg, "--to", lite, "--verify-only")
	if r.code != exitFailure || !strings.Contains(r.stdout, "tasks differs: the target has") || !strings.Contains(r.stderr, "differ") {
		t.Errorf("verify of databases that differ: exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

// TestNotADatabase checks that nothing of a password is shown.
func TestNotADatabase(t *testing.T) {
	t.Parallel()
	for address, shown := range map[string]bool{"mysql://root:secret@h/d": true, "secret": false, "password=secret host=h": false, "password=secret port=5432:": false} {
		text := notADatabase(address).Error()
		if strings.Contains(text, "secret") || strings.Contains(text, "not as") != shown || !strings.Contains(text, "sqlite:PATH or postgres://") {
			t.Errorf("%s: %s", address, text)
		}
	}
}

// TestCopyToPostgresKeepsNumbers checks that nothing that was counted is given
// out again.
func TestCopyToPostgresKeepsNumbers(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real PostgreSQL")
	}
	t.Parallel()
	srv := pgtest.Start(t, pgtest.Fast...)
	name := srv.Database(t, "")
	lite := full(t, t.TempDir(), 3)
	copied(t, lite, srv.URL(name))
	// The instance with the greatest scope has been forgotten: its number must
	// not come again, nor that of an event that is there.
	srv.Exec(t, name, `DO $$ DECLARE n bigint; m bigint; BEGIN
		INSERT INTO scopes (project, instance, engine) VALUES ('p', 'i', 'kafka') RETURNING id INTO n;
		SELECT count(*) INTO m FROM scopes;
		IF n <> 12 OR m >= 12 THEN RAISE 'scope % of %', n, m; END IF;
		SELECT max(seq) INTO m FROM events;
		INSERT INTO events (project, instance, task, at, act, actor_id, actor_name, from_status, to_status, request, reason)
			VALUES ('p', 'i', 't', 0, '', '', '', '', '', '', '') RETURNING seq INTO n;
		IF n <> m + 1 THEN RAISE 'event %', n; END IF;
		END $$`)
}

// TestCopyRefusesText has values in SQLite that PostgreSQL cannot keep.
func TestCopyRefusesText(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real PostgreSQL")
	}
	t.Parallel()
	srv := pgtest.Start(t, pgtest.Fast...)
	lite := full(t, t.TempDir(), 3)
	if out, err := exec.Command("sqlite3", strings.TrimPrefix(lite, "sqlite:"),
		`UPDATE tasks SET reason = 'a' || char(0) || 'b' WHERE id = '00000000000000000000000000000001';
		UPDATE access_keys SET note = CAST(x'41ff' AS TEXT) WHERE access = 'AK000000000000000002'`).CombinedOutput(); err != nil {
		t.Skipf("needs the sqlite3 shell: %v: %s", err, out)
	}
	name := srv.Database(t, "")
	for range 2 { // nothing is left behind
		r := errandEnv(t, nil, "", "copy", "--from", lite, "--to", srv.URL(name))
		for _, want := range []string{
			"cannot keep 2 values of the source",
			`table access_keys, row with access "AK000000000000000002", column note: it is not UTF-8`,
			`id "00000000000000000000000000000001", column reason: it holds a NUL character`,
		} {
			if r.code != exitUsage || !strings.Contains(r.stderr, want) {
				t.Errorf("exit %d, want %q in %s", r.code, want, r.stderr)
			}
		}
	}
	copied(t, full(t, t.TempDir(), 5), srv.URL(name))
}

// TestCopyKilled kills the real program at random moments, in both directions,
// and runs it again until it is done.
func TestCopyKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and kills a real program")
	}
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	srv := pgtest.Start(t, pgtest.Fast...)
	dir := t.TempDir()
	bin := build(t, dir)
	lite := full(t, dir, 10_000)
	pg, back := srv.URL(srv.Database(t, "")), "sqlite:"+filepath.Join(dir, "back.db")
	for _, c := range []struct{ from, to string }{{lite, pg}, {pg, back}} {
		killed := 0
		wait := 20 * time.Millisecond // less than any machine needs for all of it
		for {
			cmd := exec.Command(bin, "copy", "--from", c.from, "--to", c.to)
			var out strings.Builder
			cmd.Stderr = &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(wait+time.Duration(random.Int64N(int64(wait))), func() { _ = cmd.Process.Kill() })
			err := cmd.Wait()
			timer.Stop()
			if err == nil {
				break
			}
			if cmd.ProcessState.Exited() && killed > 0 && strings.Contains(out.String(), "is not empty") {
				break // the one before was killed after its end
			}
			if cmd.ProcessState.Exited() {
				t.Fatalf("copy: %v: %s", err, &out)
			}
			killed++
			wait += wait / 2 // every run has something to do before it goes on
		}
		t.Logf("from %s: killed %d times", c.from, killed)
		if killed < 2 {
			t.Errorf("from %s: killed only %d times", c.from, killed)
		}
		copied(t, c.from, c.to, "--verify-only")
	}
}
