package sqlite

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
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
	again := testTask(2, 7) // the id of a task that is gone but not yet removed
	err = s.Put(t.Context(), []*errand.Task{again}, func(old, task *errand.Task) (*errand.Event, error) {
		if old != nil {
			t.Errorf("decide was shown a forgotten task: %+v", old)
		}
		return save(old, task)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := total(t, s, 0); n != 2 {
		t.Errorf("the project has %d tasks, want the two of the other instance", n)
	}
	if err := s.Delete(t.Context(), testProject, again.ID, func(t *errand.Task) (*errand.Event, error) { return save(nil, t) }); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = openAt(t, path)
	waitForgotten(t, s)
	batch = append(batch, batch[1:]...) // their events
	batch = append(batch, again, again)
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

// A listing may look its instance up just before that is forgotten, and read
// its tasks just after.
func TestListOfInstanceForgottenMeanwhile(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1, 2)
	put(t, s, testTask(1, 1), testTask(2, 2))
	f := errand.Filter{Project: testProject, Limit: 10}
	before := s.cache.forgotten.Load()
	var known [2]*entry
	for n := range known {
		var err error
		if known[n], err = s.instance(t.Context(), testProject, instanceID(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteInstance(t.Context(), testProject, instanceID(1)); err != nil {
		t.Fatal(err)
	}
	waitForgotten(t, s)
	f.Instance = instanceID(1)
	_, err := s.listInstance(t.Context(), f, known[0], before)
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.NotFound || e.Subject != "instance" {
		t.Errorf("listing of the instance that was forgotten: %v", err)
	}
	f.Instance = instanceID(2)
	p, err := s.listInstance(t.Context(), f, known[1], before)
	if err != nil || p.Total != 1 || len(p.Tasks) != 1 {
		t.Errorf("listing of another instance: %+v, %v", p, err)
	}
}

// TestForgottenWorkIsNotGivenOut looks at the time between the moment in which an
// instance is forgotten and the one in which the last of its tasks is removed.
func TestForgottenWorkIsNotGivenOut(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1, 2)
	const many = forgetBatch + 20
	for n := range many {
		x := waitingTask(1, n)
		if n%3 == 0 {
			x.Run.Lane = ""
		}
		mustSubmit(t, s, x)
	}
	other := waitingTask(2, many)
	mustSubmit(t, s, other)
	err := s.w.do(t.Context(), func(tx *tx) error { // as DeleteInstance does, but it tells nobody
		e, err := tx.instance(testProject, instanceID(1))
		if err != nil {
			return err
		}
		if err := tx.exec(`INSERT INTO forgotten VALUES (?, ?)`, e.scope, e.grp); err != nil {
			return err
		}
		return tx.exec(`DELETE FROM instances WHERE scope = ?`, e.scope)
	})
	if err != nil {
		t.Fatal(err)
	}
	look := func() {
		t.Helper()
		at := noon.AddDate(1, 0, 0)
		for _, w := range []tasks.Want{{Project: testProject}, {}, {Operations: []string{other.Operation}}, {Project: testProject, Operations: []string{other.Operation}}} {
			w.Now, w.Limit = at, 1
			var offered []string
			_, _, err := s.Take(t.Context(), w, func(x *errand.Task) (*errand.Event, error) {
				offered = append(offered, x.ID)
				return nil, nil
			})
			if err != nil || !slices.Equal(offered, []string{other.ID}) {
				t.Errorf("take %+v is offered %v, %v; want the one task of the other instance", w, offered, err)
			}
		}
		var seen []string
		n, next, err := s.Sweep(t.Context(), at, 1, func(x *errand.Task) (*errand.Event, error) {
			seen = append(seen, x.ID)
			return nil, nil
		})
		if err != nil || n != 1 || !slices.Equal(seen, []string{other.ID}) || !next.Equal(other.Run.Due) {
			t.Errorf("sweep looks at %v, next at %v, %v; want the one task of the other instance, at %v", seen, next, err, other.Run.Due)
		}
		checkLive(t, s)
		checkCounts(t, s)
	}
	look()
	for more := true; more; {
		if more, err = s.forgetSome(); err != nil {
			t.Fatal(err)
		}
		look()
	}
	_ = s.snapshot(t.Context(), func(c *conn) error {
		if n := c.mustCount(t, `SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM live) + (SELECT count(*) FROM forgotten)`); n != 2 {
			t.Errorf("%d rows are left, want the other task and its run", n)
		}
		return nil
	})
}
