package pgtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby copies a running server, starts the copy so that it follows, and has
// the server wait for it with every COMMIT from now on. The copy may be read, and
// is stopped and removed when the test ends. Once promoted, it waits for nobody.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	b, err := prepare(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("postgresql: %v", err)
		}
	})
	from := fmt.Sprintf("--dbname=host=127.0.0.1 port=%d user=postgres application_name=standby", s.Port)
	if err := b.run("pg_basebackup", "--pgdata="+b.Dir, "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync", from); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	// Not on the command line: the copy would wait for itself after its promotion.
	s.Exec(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	s.Await(t, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')")
	return b
}

// Promote makes a standby the primary. It returns once it takes writes.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.Exec(t, "postgres", "SELECT pg_promote(true, 60)")
	s.Await(t, "SELECT NOT pg_is_in_recovery()")
}

// Await asks until the answer is true.
func (s *Server) Await(t testing.TB, query string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var yes bool
		if err := c.QueryRow(ctx, query).Scan(&yes); err != nil {
			t.Fatalf("%s: %v: %s", query, err, s.Log())
		}
		if yes {
			return
		}
		<-tick.C
	}
}

// Recover starts a server that was killed, as soon as what it left behind lets
// it.
func (s *Server) Recover() error {
	for end := time.Now().Add(time.Minute); ; {
		err := s.Start()
		if err == nil || time.Now().After(end) {
			return err
		}
		time.Sleep(50 * time.Millisecond) // its children notice by themselves that it is gone
	}
}

// URLs returns the address of a database that is on whichever of the servers
// takes writes.
func URLs(database string, servers ...*Server) string {
	var hosts []string
	for _, s := range servers {
		hosts = append(hosts, fmt.Sprintf("127.0.0.1:%d", s.Port))
	}
	return "postgres://postgres@" + strings.Join(hosts, ",") + "/" + database + "?sslmode=disable&target_session_attrs=read-write"
}
