package sqlite

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/errandhq/errand"
)

// hold keeps the writer busy until the returned function is called.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	running, free := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.w.do(context.Background(), func(*tx) error {
			close(running)
			<-free
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-running
	return func() { close(free); wg.Wait() }
}

func TestCallerWhoLeavesIsSkipped(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	release := hold(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Put(ctx, []*errand.Task{testTask(1, 1)}, save); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who has left gets %v", err)
	}
	release()

	// One who leaves after it was taken, before its turn.
	s.stopGoroutines()
	ctx, cancel = context.WithCancel(t.Context())
	group := []*request{
		{ctx: t.Context(), done: make(chan struct{}), fn: func(*tx) error { cancel(); return nil }},
		{ctx: ctx, done: make(chan struct{}), fn: func(tx *tx) error { return tx.putOne(testTask(1, 1)) }},
	}
	s.w.commit(group)
	if group[0].err != nil || !errors.Is(group[1].err, context.Canceled) {
		t.Errorf("errors are %v and %v", group[0].err, group[1].err)
	}
	if n := total(t, s, 1); n != 0 {
		t.Errorf("%d tasks were stored", n)
	}
}

// Callers who wait share one transaction, whatever happens to one of them.
func TestGroupSurvivesOneOfItsCallers(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	boom := func(_, _ *errand.Task) (*errand.Event, error) { panic("boom") }
	half := func(old, task *errand.Task) (*errand.Event, error) {
		if strings.HasSuffix(task.ID, "ff") {
			return nil, errors.New("half way")
		}
		return save(old, task)
	}
	release := hold(t, s)
	var wg sync.WaitGroup
	for n := range 9 {
		wg.Go(func() {
			batch := []*errand.Task{testTask(1, n), testTask(1, n<<8|0xff)}
			decide, want := save, ""
			switch n % 3 {
			case 1:
				decide, want = boom, "boom"
			case 2:
				decide, want = half, "half way"
			}
			err := s.Put(t.Context(), batch, decide)
			if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("put %d: %v, want %q", n, err, want)
			}
			if want == "boom" && errand.ErrorOf(err).Kind != errand.Internal {
				t.Errorf("a panic is %v", errand.ErrorOf(err).Kind)
			}
		})
	}
	release()
	wg.Wait()
	if got := total(t, s, 1); got != 6 {
		t.Errorf("%d tasks are stored, want the 6 of three callers", got)
	}
	checkCounts(t, s)
}

// A transaction that SQLite undoes takes everybody's changes with it: nobody is
// told otherwise, and the next group is not affected.
func TestGroupThatIsUndone(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	group := []*request{
		{fn: func(tx *tx) error { return tx.putOne(testTask(1, 1)) }},
		{fn: func(*tx) error { return errors.New("its own error") }},
		{fn: func(tx *tx) error { return tx.conn.exec(`ROLLBACK`) }},
		{fn: func(tx *tx) error { t.Error("ran after the end"); return nil }},
	}
	for _, r := range group {
		r.ctx, r.done = t.Context(), make(chan struct{})
	}
	s.stopGoroutines()
	s.w.commit(group)
	for i, r := range group {
		<-r.done
		if r.err == nil {
			t.Errorf("caller %d was told that its change is durable", i)
		}
	}
	if got := group[1].err.Error(); got != "its own error" {
		t.Errorf("the caller with an error of its own got %q", got)
	}
	n, err := s.w.c.number(`SELECT count(*) FROM tasks`)
	if err != nil || n != 0 {
		t.Errorf("%d tasks are stored (%v)", n, err)
	}
	next := &request{ctx: t.Context(), done: make(chan struct{}), fn: func(tx *tx) error { return tx.putOne(testTask(1, 5)) }}
	s.w.commit([]*request{next})
	if next.err != nil {
		t.Errorf("the next group: %v", next.err)
	}
}

// stopGoroutines lets a test act as the writer. Close works as usual after it.
func (s *Store) stopGoroutines() {
	close(s.quit)
	s.running.Wait()
	s.quit = make(chan struct{})
}

func (t *tx) putOne(task *errand.Task) error {
	e, err := t.instance(task.Project, task.Instance)
	if err != nil {
		return err
	}
	return t.put(e.place, task, save)
}
