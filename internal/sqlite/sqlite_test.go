package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
)

// openAt opens the database at path for the time of the test.
func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func openNew(t testing.TB) *Store {
	t.Helper()
	return openAt(t, filepath.Join(t.TempDir(), "errand.db"))
}

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
