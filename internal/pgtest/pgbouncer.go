package pgtest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Bouncer starts a PgBouncer before the server, which hands its connections from
// transaction to transaction, and returns what makes the address of a database
// that is reached through it. It ends with the test. The settings (NAME = VALUE)
// are added to its own.
func (s *Server) Bouncer(t testing.TB, settings ...string) func(database string) string {
	t.Helper()
	bin := "/usr/sbin/pgbouncer"
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		bin = path
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "errand-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 6
max_client_conn = 1000
max_db_connections = 6
server_idle_timeout = 5
`, s.Port, port)
	for _, line := range settings {
		conf += line + "\n"
	}
	ini := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(ini, []byte(conf), 0o644); err != nil { //nolint:gosec // it holds no secret, and another user reads it
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // likewise
		t.Fatal(err)
	}
	var out bytesUntil
	cmd := exec.Command(bin, ini)
	cmd.SysProcAttr, cmd.Stdout, cmd.Stderr = dieWithUs(*s.cred), &out, &out
	ended, started := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread() // the death of this thread would be taken for that of the test
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatalf("%v; `make setup` installs what tests need", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		_ = os.RemoveAll(dir)
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("pgbouncer ended: %s", out.text)
		case <-ctx.Done():
			t.Fatalf("pgbouncer does not answer: %v", err)
		}
	}
	return func(database string) string {
		return (&url.URL{Scheme: "postgres", User: url.User("postgres"), Host: address, Path: "/" + database, RawQuery: "sslmode=disable"}).String()
	}
}

// bytesUntil keeps the beginning of what is written.
type bytesUntil struct{ text []byte }

func (b *bytesUntil) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), max(0, 4000-len(b.text)))]...)
	return len(p), nil
}
