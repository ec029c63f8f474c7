package conformance

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// server is a running errand.
type server struct {
	bin string
	endpoints
	admin key
	env   []string // of the command line, as admin
	log   *logFile
	stop  func() // ends the server; then the log is complete
}

// startServer runs errand on a database of its own until the test ends.
func startServer(t *testing.T) *server {
	t.Helper()
	return startNodes(t, "sqlite:"+filepath.Join(t.TempDir(), "errand.db"), 1)[0]
}

// startNodes builds errand, unless ERRAND_BIN names a binary to measure, and
// runs some of it on one database, each in a directory of its own, with a
// listener for each product and one for all, until the test ends.
func startNodes(t *testing.T, db string, n int) []*server {
	t.Helper()
	bin := os.Getenv("ERRAND_BIN")
	if bin == "" {
		bin = filepath.Join(t.TempDir(), "errand")
		if _, err := command(t.Context(), "..", []string{"GOWORK=off"}, "go", "build", "-o", bin, "./cmd/errand"); err != nil {
			t.Fatal(err)
		}
	}
	shared := t.TempDir()
	var nodes []*server
	for range n {
		s := &server{bin: bin, log: &logFile{}}
		s.start(t, shared, db)
		s.readCredentials(t, filepath.Join(shared, "credentials"))
		nodes = append(nodes, s)
	}
	return nodes
}

// start runs one node. What nodes have in common is in the directory shared.
func (s *server) start(t *testing.T, shared, db string) {
	t.Helper()
	dir := t.TempDir()
	declare(t, filepath.Join(dir, "operations.d"))
	cmd := exec.Command(s.bin, "serve", "--operations", "operations.d", "--lease", "3s", "--runners", "64", "--db", db, "--work-dir", "work",
		"--key-file", filepath.Join(shared, "errand.key"), "--credentials", filepath.Join(shared, "credentials"),
		"--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0=dms", "--listen", "127.0.0.1:0=dcs", "--log-format", "json")
	cmd.Dir, cmd.Stderr = dir, s.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("errand serve: %v\n%s", err, s.log.tail())
		}
	})
	t.Cleanup(s.stop)
	if err := s.awaitReady(bufio.NewScanner(out)); err != nil {
		t.Fatalf("%v\n%s", err, s.log.tail())
	}
}

// awaitReady reads the addresses that the server prints.
func (s *server) awaitReady(lines *bufio.Scanner) error {
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "ready" {
			go func() { // keeps the pipe from filling up
				for lines.Scan() {
				}
			}()
			return nil
		}
		rest, listening := strings.CutPrefix(line, "listening on ")
		if !listening {
			continue
		}
		addr, dialect, _ := strings.Cut(rest, " ")
		switch dialect {
		case "(dms)":
			s.dms = addr
		case "(dcs)":
			s.dcs = addr
		default:
			s.any = addr
		}
	}
	return fmt.Errorf("errand serve ended before it was ready")
}

// readCredentials reads the credentials file of the first start.
func (s *server) readCredentials(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if !found || strings.HasPrefix(name, "#") {
			continue
		}
		value = strings.Trim(value, `"'`)
		switch name {
		case "HUAWEICLOUD_SDK_AK":
			s.admin.ak = value
		case "HUAWEICLOUD_SDK_SK":
			s.admin.sk = value
		case "HUAWEICLOUD_SDK_PROJECT_ID":
			s.env = append(s.env, "HUAWEICLOUD_SDK_PROJECT_ID="+value)
		}
	}
	s.env = append(s.env, "ERRAND_SERVER="+s.any, "HUAWEICLOUD_SDK_AK="+s.admin.ak, "HUAWEICLOUD_SDK_SK="+s.admin.sk)
}

// cli runs a command of errand as admin.
func (s *server) cli(ctx context.Context, args ...string) (string, error) {
	return command(ctx, "", s.env, s.bin, args...)
}

// build sets up the world of a client through the command line.
func (s *server) build(t *testing.T, w *world) {
	t.Helper()
	run := func(args ...string) string {
		out, err := s.cli(t.Context(), args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run("project", "add", w.region, "--id", w.project)
	run("project", "add", w.region+"-other", "--id", w.strange)
	for _, role := range []string{"operator", "viewer"} {
		run("user", "add", role+"-"+w.project, "--role", w.project+"="+role)
	}
	newKey := func(user string, more ...string) key {
		return parseKey(t, run(append([]string{"key", "add", "--user", user, "--project", w.project, "-o", "json"}, more...)...))
	}
	w.keys.operator = newKey("operator-" + w.project)
	w.keys.viewer = newKey("viewer-" + w.project)
	w.keys.temporary = newKey("operator-"+w.project, "--temporary", "1h")

	// Instances and records are put in place by the operator.
	owner := s.as(w)
	for _, svc := range services {
		g := w.of[svc.name]
		for name, id := range map[string]string{"list": g.list, "del": g.del, "empty": g.empty, "busy": g.busy, "plan": g.plan} {
			owner.add(t, svc, name, id)
		}
		owner.imports(t, g.list, g.tasks)
		owner.imports(t, g.del, []record{g.done, g.running, g.waiting})
	}
}

// as returns the same server, with a command line that acts as the operator of w.
func (s *server) as(w *world) *server {
	k := w.keys.operator
	return &server{bin: s.bin, env: []string{"ERRAND_SERVER=" + s.any, "HUAWEICLOUD_SDK_PROJECT_ID=" + w.project,
		"HUAWEICLOUD_SDK_AK=" + k.ak, "HUAWEICLOUD_SDK_SK=" + k.sk}}
}

func (s *server) add(t *testing.T, svc service, name, id string) {
	t.Helper()
	if _, err := s.cli(t.Context(), "instance", "add", "--id", id, "--name", svc.name+"-"+name, "--engine", svc.engine); err != nil {
		t.Fatal(err)
	}
}

func (s *server) imports(t *testing.T, instance string, tasks []record) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "records.json")
	if err := os.WriteFile(file, document(tasks), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.cli(t.Context(), "import", "--instance", instance, file); err != nil {
		t.Fatal(err)
	}
}

func parseKey(t *testing.T, out string) key {
	t.Helper()
	var k struct {
		Access string `json:"access"`
		Secret string `json:"secret"`
		Token  string `json:"security_token"`
	}
	if err := json.Unmarshal([]byte(out), &k); err != nil || k.Access == "" || k.Secret == "" {
		t.Fatalf("errand key add printed %s (%v)", out, err)
	}
	return key{k.Access, k.Secret, k.Token}
}

// logFile keeps what the server logs.
type logFile struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logFile) tail() string {
	s := l.String()
	return s[max(0, len(s)-4000):]
}
