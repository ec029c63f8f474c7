package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/pgtest"
)

// proxy stands between a store and its server. Once it is armed, it cuts the
// next connection on which the server's answer to a statement is seen, before
// the answer is passed on.
type proxy struct {
	l      net.Listener
	server string
	answer atomic.Pointer[string] // the command tag to look for
	says   []byte                 // instead of that answer
	wg     sync.WaitGroup
}

func newProxy(t testing.TB, port int) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, server: fmt.Sprint("127.0.0.1:", port)}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.pass(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", p.l.Addr(), database)
}

// cut arms the proxy.
func (p *proxy) cut(tag string) { p.answer.Store(&tag) }

func (p *proxy) pass(client net.Conn) {
	defer client.Close()
	srv, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer srv.Close()
	p.wg.Go(func() {
		_, _ = io.Copy(srv, client)
		_ = srv.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := srv.Read(buf)
		if tag := p.answer.Load(); tag != nil && bytes.Contains(buf[:n], []byte(*tag+"\x00")) && p.answer.CompareAndSwap(tag, nil) {
			_, _ = client.Write(p.says)
			return
		}
		if err != nil {
			return
		}
		if _, err := client.Write(buf[:n]); err != nil {
			return
		}
	}
}

func isOutcomeUnknown(err error) bool {
	e := errand.ErrorOf(err)
	return e != nil && e.Kind == errand.Unavailable && e.Subject == "outcome"
}

// TestConnectionIsCut cuts the connection of a transaction before its COMMIT,
// which nobody notices, and before the answer to that.
func TestConnectionIsCut(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	p := newProxy(t, realServer(t).Port)
	s := openAt(t, p.url(db))
	register(t, s, 1)

	p.cut("BEGIN")
	if earlier, err := submit(t.Context(), s, waiting(1, 1, "x"), "a"); err != nil || earlier != nil {
		t.Errorf("a transaction that was cut before its COMMIT: %v, %v", earlier, err)
	}
	p.cut("COMMIT")
	_, err := submit(t.Context(), s, waiting(1, 2, "x"), "b")
	if !isOutcomeUnknown(err) || !strings.Contains(errand.ErrorOf(err).Msg, "idempotency key") {
		t.Fatalf("a transaction without an answer to its COMMIT gives %v", err)
	}
	if p.answer.Load() != nil {
		t.Fatal("nothing was cut")
	}
	earlier, err := submit(t.Context(), s, waiting(1, 3, "x"), "b")
	if err != nil || earlier == nil || earlier.ID != fmt.Sprintf("%032x", 2) {
		t.Errorf("the same key again gives %+v, %v; want the first task", earlier, err)
	}
	// Transactions outside the groups are no different.
	p.cut("BEGIN")
	put(t, s, testTask(1, 4))
	p.cut("COMMIT")
	if err := s.Put(t.Context(), []*errand.Task{testTask(1, 5)}, save); !isOutcomeUnknown(err) {
		t.Errorf("Put without an answer to its COMMIT gives %v", err)
	}
	if page, err := s.List(t.Context(), errand.Filter{Project: testProject, Limit: 10}); err != nil || page.Total != 4 || len(page.Tasks) != 4 {
		t.Errorf("%d tasks, total %d, %v", len(page.Tasks), page.Total, err)
	}
	checkCounts(t, s)
	checkLive(t, s)
}

// TestPoolerLosesServer has a pooler say that it lost its server when COMMIT was
// done but not answered: that is not a failure to be tried again.
func TestPoolerLosesServer(t *testing.T) {
	t.Parallel()
	p := newProxy(t, realServer(t).Port)
	p.says, _ = (&pgproto3.ErrorResponse{
		Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "08P01", Message: "server conn crashed?",
	}).Encode(nil)
	s := openAt(t, p.url(newDatabase(t)))
	register(t, s, 1)
	if _, err := submit(t.Context(), s, waiting(1, 1, "x"), ""); err != nil {
		t.Fatal(err)
	}
	id := waiting(1, 1, "x").ID
	p.cut("COMMIT")
	if _, err := s.AppendLog(t.Context(), testProject, id, []byte("once"), 100); !isOutcomeUnknown(err) {
		t.Errorf("AppendLog gives %v, want an unknown outcome", err)
	}
	if text, _, err := s.Log(t.Context(), testProject, id, 0, 100); err != nil || string(text) != "once" {
		t.Errorf("the log is %q (%v), want it once", text, err)
	}
}

// TestBackendsAreKilled ends connections in the middle of load on two nodes.
func TestBackendsAreKilled(t *testing.T) {
	t.Parallel()
	nodes := twoNodes(t)
	const callers, each = 8, 15
	for n := range callers {
		register(t, nodes[0], n)
	}
	var unknown atomic.Int64
	var ids [callers][each]string
	done := make(chan struct{})
	var wg, killing sync.WaitGroup
	killing.Go(func() { kill(t, nodes[0], done) })
	for c := range callers {
		wg.Go(func() {
			for n := range each {
				x := waiting(c, 1+c*each+n, "x")
				key := fmt.Sprintf("%d/%d", c, n)
				for try := 0; ; try++ {
					earlier, err := submit(t.Context(), nodes[c%2], x, key)
					if err == nil {
						if ids[c][n] = x.ID; earlier != nil {
							ids[c][n] = earlier.ID
						}
						break
					}
					if isOutcomeUnknown(err) {
						unknown.Add(1)
					} else if e := errand.ErrorOf(err); e.Kind != errand.Unavailable || try > 100 {
						t.Errorf("Submit: %v", err)
						return
					}
					x = waiting(c, 1_000_000+try*callers*each+c*each+n, "x") // another id, as a new request has
				}
			}
		})
	}
	wg.Wait()
	close(done)
	killing.Wait()
	t.Logf("%d outcomes were unknown", unknown.Load())
	page, err := nodes[1].List(context.Background(), errand.Filter{Project: testProject, Limit: 1000})
	if err != nil || page.Total != callers*each {
		t.Errorf("%d tasks (%v), want %d", page.Total, err, callers*each)
	}
	there := make(map[string]bool)
	for i := range page.Tasks {
		there[page.Tasks[i].ID] = true
	}
	for c := range ids {
		for n, id := range ids[c] {
			if !there[id] {
				t.Errorf("task %q of caller %d, number %d, was acknowledged and is not there", id, c, n)
			}
		}
	}
	checkCounts(t, nodes[0])
	checkLive(t, nodes[0])
}

// kill ends the connections that write, again and again.
func kill(t *testing.T, s *Store, done chan struct{}) {
	ctx := context.Background()
	c, err := pgx.ConnectConfig(ctx, s.target.with(nil).ConnConfig)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close(ctx)
	for {
		select {
		case <-done:
			return
		default:
		}
		_, err := c.Exec(ctx, `SELECT pg_terminate_backend(pid), pg_sleep(0.03) FROM pg_stat_activity
			WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle' LIMIT 1`)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("kill: %v", err)
			return
		}
	}
}

// TestStandbyIsNotWaitedFor cancels the wait of a COMMIT for a synchronous
// standby, which PostgreSQL answers with success and a warning.
func TestStandbyIsNotWaitedFor(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real server")
	}
	t.Parallel()
	srv := pgtest.Start(t, "fsync=off")
	url := srv.URL(srv.Database(t, ""))
	s := openAt(t, url)
	register(t, s, 1)
	srv.Exec(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
	done := make(chan [2]error)
	go func() {
		var errs [2]error
		for i := range errs { // the second finds what the first one left
			_, errs[i] = submit(context.Background(), s, waiting(1, 1+i, "x"), "a")
		}
		done <- errs
	}()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case errs := <-done:
			if !isOutcomeUnknown(errs[0]) {
				t.Errorf("a COMMIT whose wait was cancelled gives %v", errs[0])
			}
			if !isOutcomeUnknown(errs[1]) {
				t.Errorf("the same key again gives %v, and the standby still lacks the task", errs[1])
			}
			srv.Exec(t, "postgres", "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
			return
		case <-tick.C:
			if _, err := c.Exec(t.Context(), `SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`); err != nil {
				t.Fatal(err)
			}
		}
	}
}
