package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) tasks.Store {
		s := openNew(t)
		t.Cleanup(func() { checkCounts(t, s) })
		return s
	})
}

func TestAuthStore(t *testing.T) {
	t.Parallel()
	storetest.RunAuth(t, func(t *testing.T) auth.Store { return openNew(t) })
}

// openAt opens the database at path for the time of the test.
func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func openNew(t testing.TB) *Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "errand.db"))
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

const testProject = "0123456789abcdef0123456789abcdef"

var noon = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

func instanceID(n int) string { return fmt.Sprintf("5560df16-cebf-4473-95c4-%012x", n) }

func testInstance(n int) errand.Instance {
	return errand.Instance{
		Project: testProject, ID: instanceID(n), Name: fmt.Sprintf("i%d", n), Engine: errand.Engines()[n%4],
		Attributes: map[string]string{"version": "3.7"}, CreatedAt: noon,
	}
}

func testTask(instance, n int) *errand.Task {
	return &errand.Task{
		ID: fmt.Sprintf("%032x", n), Project: testProject, Instance: instanceID(instance), Operation: "EXTEND", JobID: fmt.Sprintf("%032x", n),
		Params: `{"new_size":600}`, Status: errand.Succeeded, CreatedAt: noon.Add(time.Duration(n) * time.Minute), UpdatedAt: noon,
	}
}

func save(_, t *errand.Task) (*errand.Event, error) {
	return &errand.Event{Project: t.Project, Instance: t.Instance, Task: t.ID, At: noon, Act: errand.ActImported, To: t.Status}, nil
}

func register(t testing.TB, s *Store, ns ...int) {
	t.Helper()
	for _, n := range ns {
		if err := s.AddInstance(context.Background(), testInstance(n)); err != nil {
			t.Fatal(err)
		}
	}
}

func put(t testing.TB, s *Store, batch ...*errand.Task) {
	t.Helper()
	if err := s.Put(context.Background(), batch, save); err != nil {
		t.Fatal(err)
	}
}

// total returns how many tasks an instance has by its counts; 0 stands for all.
func total(t testing.TB, s *Store, instance int) int {
	t.Helper()
	f := errand.Filter{Project: testProject, Limit: 1}
	if instance != 0 {
		f.Instance = instanceID(instance)
	}
	p, err := s.List(context.Background(), f)
	if err != nil {
		t.Fatal(err)
	}
	return p.Total
}

func wantUnavailable(t testing.TB, err error) {
	t.Helper()
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Unavailable {
		t.Fatalf("error is %v, want one that says to try again", err)
	}
}
