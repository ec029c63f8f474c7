package postgres

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

// hold takes a lock of the database, as another node does, until the returned
// function is called.
func hold(t *testing.T, s *Store, query string, lock int64) (free func()) {
	t.Helper()
	c, err := pgx.ConnectConfig(t.Context(), s.target.with(nil).ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() error{
		func() error { _, err := c.Exec(t.Context(), `BEGIN`); return err },
		func() error { _, err := c.Exec(t.Context(), query, []int64{lock}); return err },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	free = func() { _ = c.Close(context.Background()) }
	t.Cleanup(free)
	return free
}

// waits reports whether somebody waits for a lock of that sort.
func waits(t *testing.T, s *Store, sort byte) bool {
	t.Helper()
	n, err := s.number(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND classid::bigint >> 24 = $1`, int64(sort))
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// TestDeleteInstanceHoldsUpNobody forgets an instance into which an import runs:
// it waits, and others who change tasks do not wait behind it.
func TestDeleteInstanceHoldsUpNobody(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1, 2)
	at, _, err := s.home(t.Context(), testProject, instanceID(1))
	if err != nil {
		t.Fatal(err)
	}
	free := hold(t, s, shareLocks, instanceLock(at.scope))
	done := make(chan error)
	go func() { done <- s.DeleteInstance(t.Context(), testProject, instanceID(1)) }()
	eventually(t, func() bool { return waits(t, s, ofInstance) })
	for n := range 3 {
		for instance := 1; instance <= 2; instance++ {
			if _, err := submit(t.Context(), s, waiting(instance, 1+10*instance+n, ""), ""); err != nil {
				t.Errorf("Submit to instance %d beside a deletion that waits: %v", instance, err)
			}
		}
	}
	free()
	if err := <-done; err != nil {
		t.Errorf("DeleteInstance: %v", err)
	}
	if p, err := s.List(t.Context(), errand.Filter{Project: testProject, Limit: 10}); err != nil || p.Total != 3 {
		t.Errorf("%d tasks are left (%v), want 3", p.Total, err)
	}
}

// TestEndedTasksWaitForNoImport has workers ask about tasks that have ended, while
// somebody changes records of the project.
func TestEndedTasksWaitForNoImport(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	at, _, err := s.home(t.Context(), testProject, instanceID(1))
	if err != nil {
		t.Fatal(err)
	}
	x := waiting(1, 1, "x")
	if _, err := submit(t.Context(), s, x, ""); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*errand.Task) (*errand.Event, error){claiming, finishing} {
		if _, err := s.Update(t.Context(), testProject, x.ID, change); err != nil {
			t.Fatal(err)
		}
	}
	hold(t, s, takeLocks, recordsLock(at.project))
	if got, err := s.Renew(t.Context(), testProject, x.ID, func(*errand.Task) error { return nil }); err != nil || got.Status != errand.Succeeded {
		t.Errorf("Renew: %+v, %v", got, err)
	}
	late := errand.Errorf(errand.Conflict, "task", "it has ended")
	if _, err := s.Renew(t.Context(), testProject, x.ID, func(*errand.Task) error { return late }); err != late { //nolint:errorlint // as it is
		t.Errorf("Renew gives %v, want what change says", err)
	}
	if _, err := s.Update(t.Context(), testProject, x.ID, func(*errand.Task) (*errand.Event, error) { return nil, late }); err != late { //nolint:errorlint // as it is
		t.Errorf("Update gives %v, want what change says", err)
	}
	got, err := s.Update(t.Context(), testProject, x.ID, func(x *errand.Task) (*errand.Event, error) {
		x.Reason = "not saved"
		return nil, nil
	})
	if err != nil || got.Reason != "" || got.Status != errand.Succeeded {
		t.Errorf("Update without an event: %+v, %v", got, err)
	}
	if err := s.AddUser(t.Context(), auth.User{ID: "u", Name: "u"}); err != nil {
		t.Errorf("AddUser: %v", err)
	}
}
