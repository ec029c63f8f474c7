package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func callerChecks() []check {
	return []check{
		{"callers at once are each answered and kept once", callersPut},
		{"callers who race for one id see each other", callersRace},
		{"callers who list see whole batches", callersList},
		{"callers who list see an instance whole or forgotten", callersForget},
		{"callers who have gone change nothing", callersGone},
		{"callers who fail do not harm the others", callersFail},
		{"ping", callersPing},
	}
}

func callersPut(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1), kafka(2), kafka(3))
	const callers, each = 40, 15
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				n := c*each + i
				given := task(1+n%3, n, noon.Add(time.Duration(n%7)*time.Hour))
				given.Params = fmt.Sprintf("%d\n", n)
				if err := s.Put(t.Context(), []*errand.Task{given}, save); err != nil {
					t.Errorf("put %d: %v", n, err)
				}
				if got, err := s.Get(t.Context(), project, given.ID); err != nil || got.Params != given.Params {
					t.Errorf("record %d right after it was acknowledged: %+v, %v", n, got, err)
				}
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	sum := 0
	for n := range 3 {
		page := list(t, s, errand.Filter{Instance: instanceID(n + 1)})
		sum += page.Total
		for i := range page.Tasks {
			if seen[page.Tasks[i].ID] {
				t.Errorf("task %s is listed twice", page.Tasks[i].ID)
			}
			seen[page.Tasks[i].ID] = true
		}
	}
	if sum != callers*each || len(seen) != callers*each {
		t.Errorf("total %d and %d listed, want %d", sum, len(seen), callers*each)
	}
	if p := list(t, s, errand.Filter{Limit: 1}); p.Total != callers*each {
		t.Errorf("the project holds %d, want %d", p.Total, callers*each)
	}
}

func callersRace(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	exists := errors.New("exists")
	var mu sync.Mutex
	won := 0
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			err := s.Put(t.Context(), []*errand.Task{task(1, 1, noon)}, func(old, task *errand.Task) (*errand.Event, error) {
				if old != nil {
					return nil, exists
				}
				return save(old, task)
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, exists) {
				t.Errorf("put: %v", err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d callers added the same task, want one", won)
	}
	if es := events(t, s, 1); len(es) != 1 {
		t.Errorf("%d events, want one", len(es))
	}
	wantPage(t, list(t, s, errand.Filter{}), 1, 1)
}

// callersList reads pages while all tasks are rewritten together, each time an
// hour earlier or later: total and rows of a page must be of one moment, and no
// batch may be seen in part.
func callersList(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	const size, rounds = 21, 60
	rewrite := func(round int) {
		var batch []*errand.Task
		for n := range size {
			x := task(1, n, noon.Add(time.Duration(round%2)*time.Hour+time.Duration(n)*time.Second))
			x.Params = fmt.Sprint(round)
			batch = append(batch, x)
		}
		put(t, s, batch...)
	}
	rewrite(0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for _, f := range []errand.Filter{
		{Project: project, Instance: instanceID(1), Limit: 1000},
		{Project: project, Limit: 1000},
		{Project: project, Instance: instanceID(1), To: noon.Add(time.Minute), Limit: 1000},
	} {
		wg.Go(func() {
			for ctx.Err() == nil {
				p, err := s.List(t.Context(), f)
				if err != nil || p.Total != len(p.Tasks) || p.Total != size && (p.Total != 0 || f.To.IsZero()) {
					t.Errorf("page has total %d and %d tasks (%v); all %d were written together", p.Total, len(p.Tasks), err, size)
					return
				}
				for i := range p.Tasks {
					if p.Tasks[i].Params != p.Tasks[0].Params {
						t.Errorf("page shows rounds %s and %s", p.Tasks[0].Params, p.Tasks[i].Params)
						return
					}
				}
			}
		})
	}
	for r := range rounds {
		rewrite(r)
	}
	cancel()
	wg.Wait()
}

func callersGone(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	put(t, s, task(1, 1, noon))
	ctx := ended(t)
	calls := map[string]func() error{
		"Put":            func() error { return s.Put(ctx, []*errand.Task{task(1, 2, noon)}, save) },
		"Delete":         func() error { return s.Delete(ctx, project, taskID(1), drop) },
		"AddInstance":    func() error { return s.AddInstance(ctx, kafka(2)) },
		"DeleteInstance": func() error { return s.DeleteInstance(ctx, project, instanceID(1)) },
		"Get":            func() error { _, err := s.Get(ctx, project, taskID(1)); return err },
		"List":           func() error { _, err := s.List(ctx, errand.Filter{Project: project, Limit: 1}); return err },
		"Events":         func() error { _, err := s.Events(ctx, project, taskID(1), 0, 1); return err },
		"Ping":           func() error { return s.Ping(ctx) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a context that ended gives %v", name, err)
		}
	}
	wantPage(t, list(t, s, errand.Filter{Instance: instanceID(1)}), 1, 1)
	_, err := s.Instance(t.Context(), project, instanceID(2))
	wantError(t, err, errand.NotFound, "instance")
}

// callersForget reads an instance while it is forgotten: its records must all be
// there, and from one moment on none, even while they are being removed.
func callersForget(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1), kafka(2))
	const many = 1200
	batch := []*errand.Task{task(2, many, noon)}
	for n := range many {
		batch = append(batch, task(1, n, noon.Add(-time.Duration(n)*time.Hour)))
	}
	put(t, s, batch...)
	var wg sync.WaitGroup
	deleted := make(chan struct{})
	watch := func(f errand.Filter, whole int, after func(errand.Page, error) bool) {
		wg.Go(func() {
			for left := 30; left > 0; {
				late := false
				select {
				case <-deleted:
					late = true
					left--
				default:
				}
				p, err := s.List(t.Context(), f)
				if gone := after(p, err); !gone && (late || err != nil || p.Total != whole) {
					t.Errorf("listing %+v: total %d, %v; forgotten before: %v", f, p.Total, err, late)
					return
				}
			}
		})
	}
	watch(errand.Filter{Project: project, Instance: instanceID(1), Offset: many / 2, Limit: 3}, many, func(_ errand.Page, err error) bool {
		e := errand.ErrorOf(err)
		return e != nil && e.Kind == errand.NotFound && e.Subject == "instance"
	})
	watch(errand.Filter{Project: project, Limit: 3}, many+1, func(p errand.Page, err error) bool {
		return err == nil && p.Total == 1 && len(p.Tasks) == 1
	})
	if err := s.DeleteInstance(t.Context(), project, instanceID(1)); err != nil {
		t.Error(err)
	}
	close(deleted)
	wg.Wait()
}

// callersFail mixes calls that succeed with ones that are refused after they
// changed something: whatever shares a transaction, each stands for itself.
func callersFail(t *testing.T, s tasks.Store) {
	register(t, s, kafka(1))
	refused := errors.New("refused")
	var wg sync.WaitGroup
	for n := range 60 {
		wg.Go(func() {
			batch := []*errand.Task{task(1, 2*n, noon), task(1, 2*n+1, noon.AddDate(0, 0, -n))}
			err := s.Put(t.Context(), batch, func(old, task *errand.Task) (*errand.Event, error) {
				if n%3 == 0 && task.ID == batch[1].ID {
					return nil, refused
				}
				return save(old, task)
			})
			if want := n%3 == 0; errors.Is(err, refused) != want || !want && err != nil {
				t.Errorf("put %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	for n := range 60 {
		for _, id := range []string{taskID(2 * n), taskID(2*n + 1)} {
			_, err := s.Get(t.Context(), project, id)
			if n%3 == 0 {
				wantError(t, err, errand.NotFound, "task")
			} else if err != nil {
				t.Errorf("task %s: %v", id, err)
			}
		}
	}
	if p := list(t, s, errand.Filter{Instance: instanceID(1)}); p.Total != 80 || len(p.Tasks) != 80 {
		t.Errorf("total %d, %d listed, want 80", p.Total, len(p.Tasks))
	}
	if p := list(t, s, errand.Filter{Instance: instanceID(1), To: noon.Add(-time.Microsecond)}); p.Total != 40 {
		t.Errorf("total before noon %d, want 40", p.Total)
	}
}

func callersPing(t *testing.T, s tasks.Store) {
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping: %v", err)
	}
	wantPage(t, list(t, s, errand.Filter{}), 0)
}
