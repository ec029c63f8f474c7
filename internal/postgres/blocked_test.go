package postgres

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
)

// hold takes a lock of the database, as another node does, until the returned
// function is called, which does more before it lets go.
func hold(t *testing.T, s *Store, query string, lock int64) (free func(before ...string)) {
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
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return func(before ...string) {
		for _, query := range append(before, `COMMIT`) {
			if _, err := c.Exec(t.Context(), query); err != nil {
				t.Error(err)
			}
		}
	}
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

// TestPutLocksWhatItFinds registers an instance anew while an import waits for the
// lock of the old one: the import must hold that of the new one.
func TestPutLocksWhatItFinds(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	at, _, err := s.home(t.Context(), testProject, instanceID(1))
	if err != nil {
		t.Fatal(err)
	}
	free := hold(t, s, takeLocks, instanceLock(at.scope))
	done := make(chan error)
	go func() {
		done <- s.Put(t.Context(), []*errand.Task{testTask(1, 1)}, func(old, x *errand.Task) (*errand.Event, error) {
			lock := instanceLock(at.scope + 1000)
			n, err := s.number(t.Context(), `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
				AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
				AND classid::bigint = $1 AND objid::bigint = $2`, lock>>32, lock&0xffffffff)
			if err != nil || n != 1 {
				t.Errorf("%d hold the lock of the instance that the task is put into (%v), want 1", n, err)
			}
			return save(old, x)
		})
	}()
	eventually(t, func() bool { return waits(t, s, ofInstance) })
	free(`UPDATE instances SET scope = scope + 1000`)
	if err := <-done; err != nil {
		t.Errorf("Put: %v", err)
	}
}

// TestForgetPassesOverWhatFails has the counts of a forgotten instance be wrong, so
// that its tasks cannot be removed. Those of others are.
func TestForgetPassesOverWhatFails(t *testing.T) {
	t.Parallel()
	db := newDatabase(t)
	s := openAt(t, realServer(t).URL(db))
	register(t, s, 1, 2)
	put(t, s, testTask(1, 1), testTask(1, 2), testTask(2, 3))
	at, _, err := s.home(t.Context(), testProject, instanceID(1))
	if err != nil {
		t.Fatal(err)
	}
	realServer(t).Exec(t, db, fmt.Sprintf(`UPDATE counts SET n = 1 WHERE n = 2 AND scope = %d`, at.scope))
	for n := 1; n <= 2; n++ {
		if err := s.DeleteInstance(t.Context(), testProject, instanceID(n)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool {
		n, err := s.number(t.Context(), `SELECT count(*) FROM tasks`)
		if err != nil {
			t.Fatal(err)
		}
		return n == 2
	})
}
