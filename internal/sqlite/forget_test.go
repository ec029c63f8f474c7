package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/errandhq/errand"
)

// waitForgotten returns once nothing is left of forgotten instances. It takes
// turns with the store through the queue of the writer.
func waitForgotten(t *testing.T, s *Store) {
	t.Helper()
	for left := int64(1); left > 0; {
		err := s.w.do(t.Context(), func(tx *tx) (err error) {
			left, err = tx.number(`SELECT count(*) FROM forgotten`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (c *conn) mustCount(t *testing.T, query string) int64 {
	t.Helper()
	n, err := c.number(query)
	if err != nil {
		t.Error(err)
	}
	return n
}

func TestForgottenTasksGo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "errand.db")
	s := openAt(t, path)
	register(t, s, 1, 2)
	batch := []*errand.Task{testTask(2, 9999)}
	for n := range 2*forgetBatch + 100 {
		batch = append(batch, testTask(1, n))
	}
	put(t, s, batch...)
	if err := s.DeleteInstance(t.Context(), testProject, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	waitForgotten(t, s)
	left := func() {
		t.Helper()
		checkCounts(t, s)
		_ = s.snapshot(t.Context(), func(c *conn) error {
			if n := c.mustCount(t, `SELECT count(*) FROM tasks`); n != 1 {
				t.Errorf("%d tasks are left, want the one of the other instance", n)
			}
			if n := c.mustCount(t, `SELECT count(*) FROM scopes WHERE instance <> ''`); n != 1 {
				t.Errorf("%d instance scopes are left, want one", n)
			}
			if n := c.mustCount(t, `SELECT count(*) FROM events`); n != int64(len(batch)) {
				t.Errorf("%d events are left, want all %d", n, len(batch))
			}
			return nil
		})
	}
	left()

	// A crash between two batches: the next start goes on.
	register(t, s, 1)
	put(t, s, batch[1:]...)
	err := s.w.do(t.Context(), func(tx *tx) error {
		e, err := tx.instance(testProject, instanceID(1))
		if err != nil {
			return err
		}
		if err := tx.exec(`INSERT INTO forgotten VALUES (?, ?)`, e.scope, e.grp); err != nil {
			return err
		}
		if err := tx.exec(`DELETE FROM scopes WHERE id = ?`, e.scope); err != nil {
			return err
		}
		return tx.exec(`DELETE FROM instances WHERE scope = ?`, e.scope)
	})
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = openAt(t, path)
	waitForgotten(t, s)
	batch = append(batch, batch[1:]...) // their events
	left()
}

func TestCacheForgets(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	seen := s.cache.forgotten.Load()
	e, err := s.instance(t.Context(), testProject, instanceID(1))
	if err != nil {
		t.Fatal(err)
	}
	if s.cache.get(testProject, instanceID(1)) != e {
		t.Error("an instance that was read is not kept")
	}
	if err := s.DeleteInstance(t.Context(), testProject, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	s.cache.put(e, seen) // by someone who read it before
	if s.cache.get(testProject, instanceID(1)) != nil {
		t.Error("an instance is kept that was forgotten since it was read")
	}
	if s.cache.bytes != 0 {
		t.Errorf("the empty cache holds %d bytes", s.cache.bytes)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := cache{entries: make(map[instanceKey]*entry)}
	big := make([]byte, 64<<10)
	for n := range 2 * cacheBytes / len(big) {
		i := testInstance(n)
		i.Attributes = map[string]string{"big": string(big)}
		c.put(&entry{inst: i}, 0)
		if c.bytes > cacheBytes {
			t.Fatalf("the cache holds %d bytes", c.bytes)
		}
	}
	if len(c.entries) < cacheBytes/len(big)/2 {
		t.Errorf("the cache holds only %d entries", len(c.entries))
	}
}
