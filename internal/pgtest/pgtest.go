// Package pgtest runs real PostgreSQL servers for tests: on free ports, in
// temporary directories, as the user postgres where the test runs as root. They
// end with the test, or with its process if that is killed.
package pgtest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running PostgreSQL.
type Server struct {
	Dir  string // its data
	Port int

	bin   string
	conf  []string
	cred  *syscall.SysProcAttr
	cmd   *exec.Cmd
	ended chan struct{}
	n     atomic.Int64 // databases
}

// Fast are settings for tests that are not about durability.
var Fast = []string{"fsync=off", "synchronous_commit=off", "full_page_writes=off"}

// Start makes a cluster with the given settings (NAME=VALUE) and starts it. It
// is stopped, and its data removed, when the test ends.
func Start(t testing.TB, conf ...string) *Server {
	t.Helper()
	s, err := New(conf...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("postgresql: %v", err)
		}
	})
	return s
}

// Shared returns a function that starts one server for all tests of a package,
// at its first call, and one that stops it, for TestMain.
func Shared(conf ...string) (get func(testing.TB) *Server, stop func() error) {
	var s *Server
	var err error
	var once sync.Once
	get = func(t testing.TB) *Server {
		t.Helper()
		once.Do(func() { s, err = New(conf...) })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	return get, func() error {
		once.Do(func() {})
		if s == nil {
			return nil
		}
		return s.Close()
	}
}

// New is Start for who closes the server himself.
func New(conf ...string) (*Server, error) {
	s, err := prepare(conf)
	if err != nil {
		return nil, err
	}
	if err := s.run("initdb", "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata="+s.Dir); err != nil {
		return nil, err
	}
	return s, s.Start()
}

// prepare makes an empty directory for a cluster, and finds the programs.
func prepare(conf []string) (*Server, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil { // its fellows are beside the real one
			found = append(found, path)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("PostgreSQL's programs are not here; `make setup` installs what tests need")
	}
	slices.Sort(found)
	dir, err := os.MkdirTemp("", "errand-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: filepath.Join(dir, "data"), bin: filepath.Dir(found[len(found)-1]), conf: conf, cred: &syscall.SysProcAttr{}}
	if os.Getuid() == 0 {
		if err := s.as("postgres"); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(s.Dir, 0o700); err != nil {
		return nil, err
	}
	for _, d := range []string{dir, s.Dir} {
		if c := s.cred.Credential; c != nil {
			if err := os.Chown(d, int(c.Uid), int(c.Gid)); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// as makes the programs run as another user: they refuse to run as root.
func (s *Server) as(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	s.cred.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return nil
}

// run runs one of PostgreSQL's programs to its end.
func (s *Server) run(name string, args ...string) error {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir, cmd.SysProcAttr = filepath.Dir(s.Dir), s.cred
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// Start starts a server that was stopped or killed, on the port that it had.
func (s *Server) Start() error {
	if s.Port == 0 {
		var err error
		if s.Port, err = freePort(); err != nil {
			return err
		}
	}
	args := []string{"-D", s.Dir, "-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(s.Port),
		"-c", "unix_socket_directories=" + filepath.Dir(s.Dir), "-c", "max_connections=300", "-c", "log_min_messages=fatal"}
	for _, c := range s.conf {
		args = append(args, "-c", c)
	}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(s.Dir), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), args...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = filepath.Dir(s.Dir), log, log
	s.cmd.SysProcAttr = dieWithUs(*s.cred)
	s.ended = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the death of this thread would be taken for that of the test
		defer close(s.ended)
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	return s.await()
}

// await waits until the server answers.
func (s *Server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return fmt.Errorf("postgresql ended: %s", s.Log())
		case <-ctx.Done():
			return fmt.Errorf("postgresql does not answer: %w: %s", err, s.Log())
		}
	}
}

// Log returns what the server has written.
func (s *Server) Log() string {
	b, _ := os.ReadFile(filepath.Join(filepath.Dir(s.Dir), "log"))
	return string(b[max(0, len(b)-4000):])
}

// URL returns the address of a database.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", s.Port, database)
}

// Database makes a new database, a copy of template unless that is "", and
// returns its name. It stays until the server goes.
func (s *Server) Database(t testing.TB, template string) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.n.Add(1))
	query := "CREATE DATABASE " + name
	if template != "" {
		query += " TEMPLATE " + template
	}
	s.Exec(t, "postgres", query)
	return name
}

// Exec runs statements in a database, each by itself.
func (s *Server) Exec(t testing.TB, database string, queries ...string) {
	t.Helper()
	ctx := context.Background() // also in cleanups
	c, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for _, q := range queries {
		if _, err := c.Exec(ctx, q, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// Kill ends the server at once, as a crash of its machine would, but for what
// the operating system has been given.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-s.ended
	// Its children notice by themselves; until then they hold its memory.
	return nil
}

// Stop shuts the server down and waits for it.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil { // fast: clients are sent away
		return err
	}
	<-s.ended
	return nil
}

// Close stops the server if it runs, and removes its data.
func (s *Server) Close() error {
	if s.cmd != nil {
		select {
		case <-s.ended:
		default:
			_ = s.cmd.Process.Signal(syscall.SIGQUIT)
			<-s.ended
		}
	}
	return os.RemoveAll(filepath.Dir(s.Dir))
}

// Own gives a directory to the user that the server runs as.
func (s *Server) Own(dir string) error {
	if c := s.cred.Credential; c != nil {
		return os.Chown(dir, int(c.Uid), int(c.Gid))
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
