package postgres

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/pgtest"
	"github.com/errandhq/errand/internal/tasks"
)

// eventually asks until ok; the test's own deadline ends a wait in vain.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it did not come to that")
		}
	}
}

// TestPing has a database refuse writes for a while.
func TestPing(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	db := newDatabase(t)
	s := openAt(t, srv.URL(db))
	register(t, s, 1)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv.Exec(t, "postgres", "ALTER DATABASE "+db+" SET default_transaction_read_only = on",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+db+"'")
	eventually(t, func() bool { return s.Ping(t.Context()) != nil })
	wantUnavailable(t, s.Ping(t.Context()))
	wantUnavailable(t, s.AddInstance(t.Context(), testInstance(2)))
	if _, err := s.Instance(t.Context(), testProject, instanceID(1)); err != nil {
		t.Errorf("reading is refused, too: %v", err)
	}
	srv.Exec(t, "postgres", "ALTER DATABASE "+db+" RESET default_transaction_read_only")
	eventually(t, func() bool { return s.Ping(t.Context()) == nil })
	register(t, s, 2)
}

// TestLostConnections cuts all connections again and again: reads notice nothing.
func TestLostConnections(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	db := newDatabase(t)
	s := openAt(t, srv.URL(db))
	register(t, s, 1)
	put(t, s, testTask(1, 1))
	for range 5 {
		srv.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+db+"'")
		if p, err := s.List(t.Context(), errand.Filter{Project: testProject, Instance: instanceID(1), Limit: 1}); err != nil || p.Total != 1 {
			t.Errorf("total %d, %v", p.Total, err)
		}
		if _, err := s.Instance(t.Context(), testProject, instanceID(1)); err != nil {
			t.Error(err)
		}
	}
}

// TestManyLostConnections has more connections lost at once than a read has tries.
func TestManyLostConnections(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	db := newDatabase(t)
	s := openAt(t, srv.URL(db))
	register(t, s, 1)
	var all []*pgxpool.Conn
	for range 6 {
		c, err := s.readers.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	srv.Exec(t, "postgres", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '"+db+"'")
	for _, c := range all {
		c.Release()
	}
	for range 3 {
		if _, err := s.Instance(t.Context(), testProject, instanceID(1)); err != nil {
			t.Error(err)
		}
	}
}

// TestExclusivelyLost cuts the connection that holds the lock: who is inside is
// told to stop, and that it was not alone.
func TestExclusivelyLost(t *testing.T) {
	t.Parallel()
	srv := realServer(t)
	db := newDatabase(t)
	s := openAt(t, srv.URL(db))
	err := s.Exclusively(t.Context(), func(ctx context.Context) error {
		srv.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+db+"'")
		<-ctx.Done()
		return nil
	})
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Unavailable || e.Subject != "outcome" {
		t.Errorf("error is %v, want one that says that the outcome is not known", err)
	}
	if err := s.Exclusively(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
}

// TestTextThatCannotBeKept wants it to be the caller's mistake, not ours.
func TestTextThatCannotBeKept(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	for _, text := range []string{"a\x00b", "\xff"} {
		x := testTask(1, 1)
		x.Params = text
		err := s.Put(t.Context(), []*errand.Task{x}, save)
		if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Invalid {
			t.Errorf("%q: %v", text, err)
		}
		if _, err := s.UserByName(t.Context(), text); errand.ErrorOf(err).Kind == errand.Internal {
			t.Errorf("a user %q: %v", text, err)
		}
	}
}

// TestCrash kills the database and starts it again: what was acknowledged is
// there, nodes meet anew, and who listens hears again.
func TestCrash(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a real server")
	}
	srv := pgtest.Start(t)
	address := srv.URL(srv.Database(t, ""))
	a, b := openAt(t, address), openAt(t, address)
	register(t, a, 1)
	meet := func(s *Store, id string) ([]tasks.Node, error) {
		return s.Meet(t.Context(), tasks.Node{ID: id}, time.Hour)
	}
	if _, err := meet(a, "a"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	rings := make(chan tasks.Ring, 10_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		b.Listen(ctx, func(r tasks.Ring) {
			select {
			case rings <- r:
			default:
			}
		})
	})
	defer wg.Wait()
	defer cancel()
	<-rings
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	list := func() error {
		_, err := a.List(t.Context(), errand.Filter{Project: testProject, Instance: instanceID(1), Limit: 1})
		return err
	}
	// The children of the server answer until they notice.
	eventually(t, func() bool { return list() != nil && a.Ping(t.Context()) != nil })
	wantUnavailable(t, list())
	wantUnavailable(t, a.Ping(t.Context()))
	if _, err := meet(a, "a"); err == nil {
		t.Error("nodes meet without a database")
	}
	if err := a.AddInstance(t.Context(), testInstance(2)); errand.ErrorOf(err).Kind != errand.Unavailable {
		t.Errorf("a write without a database: %v", err)
	}
	eventually(t, func() bool { return srv.Start() == nil }) // children of the killed server may hold its memory
	eventually(t, func() bool { return a.Ping(t.Context()) == nil })
	others, err := meet(b, "b")
	if err != nil || len(others) != 0 {
		t.Errorf("nodes are %v (%v), want none: what was kept of them is gone", others, err)
	}
	if others, err := meet(a, "a"); err != nil || len(others) != 1 {
		t.Errorf("nodes are %v (%v), want the other", others, err)
	}
	if _, err := b.Instance(t.Context(), testProject, instanceID(1)); err != nil {
		t.Error(err)
	}
	if err := a.AddUser(t.Context(), auth.User{ID: "u", Name: "u"}); err != nil {
		t.Fatal(err)
	}
	for r := range rings {
		if r&tasks.RingCredentials != 0 {
			break
		}
	}
}
