package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand/internal/pgtest"
)

// serveNode starts a server in dir on the database at url.
func serveNode(t *testing.T, dir, url string, args ...string) (*background, map[string]string) {
	t.Helper()
	b := start(t, map[string]string{"ERRAND_DB": url}, append([]string{"serve", "--listen=127.0.0.1:0", "--key-file=" + filepath.Join(dir, "errand.key"),
		"--credentials=" + filepath.Join(dir, "credentials"), "--work-dir=" + filepath.Join(t.TempDir(), "work")}, args...)...)
	text := b.stdout.waitFor(t, "ready")
	env := readEnv(t, filepath.Join(dir, "credentials"))
	env["ERRAND_SERVER"] = listening.FindStringSubmatch(text)[1]
	return b, env
}

// eventually asks until the answer is what it should be.
func eventually(t *testing.T, what string, ask func() (string, bool)) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; stormWait(t.Context(), 50*time.Millisecond) {
		text, ok := ask()
		if ok {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %s", what, text)
		}
	}
}

// TestNodes runs two servers on one database: what is done on the one is seen on
// the other, and both get over the loss of the database.
func TestNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real PostgreSQL")
	}
	t.Parallel()
	pg := pgtest.Start(t, pgtest.Fast...)
	url := strings.Replace(pg.URL(pg.Database(t, "")), "postgres@", "postgres:pw-value@", 1)
	dir := t.TempDir()
	operations := filepath.Join(dir, "operations.d")
	if err := os.Mkdir(operations, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(operations, "extend.yaml"), "engine: redis\nname: EXTEND\nrunner: {simulate: {duration: 10ms}}\n", 0o600)
	a, env := serveNode(t, dir, url, "--node=first", "--region=eu-1", "--operations="+operations)
	b, other := serveNode(t, dir, url, "--node=second", "--region=eu-1")
	if text := b.stdout.String(); strings.Contains(text, "first start") || strings.Contains(text, env["HUAWEICLOUD_SDK_SK"]) {
		t.Errorf("the second node made accounts of its own: %s", text)
	}

	other["I"] = testInstance
	runSteps(t, env, []step{{args: "instance add --id " + testInstance + " --name r1 --engine redis", out: `r1`}})
	runSteps(t, other, []step{
		{args: "instance show $I", out: `r1`},
		{args: "submit EXTEND --instance $I --param new_capacity=16 --wait", out: `succeeded`},
		{args: "backup " + filepath.Join(dir, "copy.db"), code: exitRefused, out: `pg_dump`},
	})
	if left, _ := filepath.Glob(filepath.Join(dir, "copy.db*")); left != nil {
		t.Errorf("a refused backup left %v", left)
	}
	eventually(t, "the workers that the other node knows", func() (string, bool) {
		r := errandEnv(t, other, "", "worker", "list")
		return r.stdout + r.stderr, r.code == exitOK && strings.Contains(r.stdout, "first/redis")
	})
	t.Run("metrics", func(t *testing.T) {
		for _, server := range []string{env["ERRAND_SERVER"], other["ERRAND_SERVER"]} {
			eventually(t, "metrics", func() (string, bool) {
				_, text := body(t, server+"/metrics")
				met := regexp.MustCompile(`(?m)^errand_node_met_seconds \d`).MatchString(text)
				skew := regexp.MustCompile(`(?m)^errand_clock_skew_seconds -?\d`).MatchString(text)
				idle := strings.Contains(text, "\nerrand_tasks{state=\"running\"} 0\n") && strings.Contains(text, "\nerrand_oldest_ready_seconds 0\n")
				return text, met && skew && idle && strings.Contains(text, "\nerrand_nodes 2\n")
			})
		}
	})

	if err := pg.Kill(); err != nil {
		t.Fatal(err)
	}
	status, text := body(t, env["ERRAND_SERVER"]+"/readyz")
	if status != 503 || !strings.Contains(text, "not ready: the ") {
		t.Errorf("readyz without a database: %d %s", status, text)
	}
	if err := pg.Recover(); err != nil {
		t.Fatal(err)
	}
	for _, server := range []string{env["ERRAND_SERVER"], other["ERRAND_SERVER"]} {
		eventually(t, "readyz", func() (string, bool) {
			status, text := body(t, server+"/readyz")
			return text, status == 200
		})
	}
	runSteps(t, other, []step{{args: "instance show $I", out: `r1`}})
	for _, node := range []*background{a, b} { // the second one without a database
		if code := node.stop(); code != exitOK {
			t.Errorf("stop: exit code %d: %s", code, node.stderr)
		}
		if node == a {
			if err := pg.Kill(); err != nil {
				t.Error(err)
			}
		}
		if log := node.stderr.String() + node.stdout.String(); strings.Contains(log, "pw-value") || strings.Contains(node.stderr.String(), env["HUAWEICLOUD_SDK_SK"]) {
			t.Errorf("a secret was printed: %s", log)
		}
	}
}

// TestNodeRefuses starts servers that must not start.
func TestNodeRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real PostgreSQL")
	}
	t.Parallel()
	pg := pgtest.Start(t, pgtest.Fast...)
	url := pg.URL(pg.Database(t, ""))
	dir, elsewhere := t.TempDir(), t.TempDir()
	b, _ := serveNode(t, dir, url)
	key := filepath.Join(elsewhere, "errand.key")
	refused := func(what, url, want string, code int, args ...string) {
		t.Helper()
		r := errandEnv(t, map[string]string{"ERRAND_DB": url}, "", append([]string{"serve", "--listen=127.0.0.1:0", "--key-file=" + key, "--credentials=" + filepath.Join(elsewhere, "credentials")}, args...)...)
		if r.code != code || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: exit code %d, %s; want %d and %q", what, r.code, r.stderr, code, want)
		}
		if strings.Contains(r.stderr, "pw-value") {
			t.Errorf("%s: a password is shown: %s", what, r.stderr)
		}
	}
	refused("a node without the key", url, "copy it from another node", exitUsage)
	if _, err := os.Stat(key); err == nil {
		t.Error("a key that was made for nothing is still there")
	}
	nobody := strings.NewReplacer("postgres@", "postgres:pw-value@", ":"+strings.Split(strings.Split(url, ":")[2], "/")[0]+"/", ":1/").Replace(url)
	refused("no server there", nobody, "cannot be reached", exitFailure)
	refused("no such database", strings.Replace(url, "/test_", "/nothing_", 1), "does not exist", exitFailure)
	refused("keys and values", "host=127.0.0.1 password=pw-value", "write a URL", exitUsage)
	if r := errandEnv(t, map[string]string{"ERRAND_DB": "postgres://me:pw-value@h/db"}, "", "config"); r.code != exitOK || strings.Contains(r.stdout, "pw-value") || !strings.Contains(r.stdout, "postgres://me:xxxxx@h/db") {
		t.Errorf("config: %+v", r)
	}
	// None of these may have harmed the one that runs.
	if status, text := body(t, listening.FindStringSubmatch(b.stdout.String())[1]+"/readyz"); status != 200 {
		t.Errorf("readyz: %d %s", status, text)
	}
}
