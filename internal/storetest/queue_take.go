package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

func takeChecks() []queueCheck {
	return []queueCheck{
		{"take gives the oldest first, up to its limit", takeOrder},
		{"take gives what was asked for", takeFilters},
		{"take waits for run times and says when to come again", takeNext},
		{"take that fails takes nothing", takeFails},
		{"take passes over what change lets be", takePassed},
		{"takers at once get each task once", takeRace},
		{"take with callers that have gone", takeGone},
	}
}

func takeOrder(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, free(1, 5, -time.Second), free(1, 4, 0), free(1, 3, 0), free(1, 2, -time.Hour), free(1, 1, -2*time.Second))
	for _, want := range [][]int{{2, 1}, {5, 3}, {4}, {}} {
		got, _ := take(t, s, tasks.Want{Project: project, Now: noon, Limit: 2})
		wantTasks(t, "taken", got, want...)
		for _, x := range got {
			wantStored(t, s, x)
			if x.Status != errand.Running || x.Run.Lease.Token != leaseOf(x) || x.Instance != instanceID(1) || x.Project != project || x.Engine != errand.Kafka {
				t.Errorf("taken: %s", show(x))
			}
		}
	}
	if es := events(t, s, 2); len(es) != 2 || es[1].Act != errand.ActClaimed {
		t.Errorf("events are %+v", es)
	}
}

func takeFilters(t *testing.T, s Queue) {
	for n, e := range errand.Engines() {
		i, there := kafka(n), kafka(n)
		i.Engine, there.Engine, there.Project = e, e, otherProject
		register(t, s, i, there)
	}
	reset := func() {
		for n := range 8 { // of each engine one that extends and one that restarts
			x, there := free(n%4, n, 0), free(n%4, n, 0)
			if n >= 4 {
				x.Operation, there.Operation = "RESTART", "RESTART"
			}
			there.Project = otherProject
			submit(t, s, x, there)
		}
	}
	engines := errand.Engines()
	for _, c := range []struct {
		name string
		want tasks.Want
		ns   []int
	}{
		{"all of a project", tasks.Want{Project: project}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"an operation", tasks.Want{Project: project, Operations: []string{"RESTART"}}, []int{4, 5, 6, 7}},
		{"operations, one of them unknown", tasks.Want{Project: project, Operations: []string{"RESTART", "A", "EXTEND", "Z", "EXTEND"}}, []int{0, 1, 2, 3, 4, 5, 6, 7}},
		{"unknown operations", tasks.Want{Project: project, Operations: []string{"A", "EXTEND2", "extend", "Z"}}, nil},
		{"an engine", tasks.Want{Project: project, Engines: engines[1:2]}, []int{1, 5}},
		{"engines", tasks.Want{Project: project, Engines: engines[2:]}, []int{2, 3, 6, 7}},
		{"an operation of an engine", tasks.Want{Project: project, Engines: engines[3:], Operations: []string{"EXTEND"}}, []int{3}},
		{"a project that nobody knows", tasks.Want{Project: taskID(9)}, nil},
		{"every project", tasks.Want{}, []int{0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7}},
		{"an operation of every project", tasks.Want{Operations: []string{"RESTART"}}, []int{4, 4, 5, 5, 6, 6, 7, 7}},
		{"an engine of every project", tasks.Want{Engines: engines[:1]}, []int{0, 0, 4, 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			reset()
			c.want.Now, c.want.Limit = noon, 100
			got, _ := take(t, s, c.want)
			wantTasks(t, "taken", got, c.ns...)
			for _, p := range []string{project, otherProject} {
				for n := range 8 {
					if err := s.Delete(t.Context(), p, taskID(n), drop); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func takeNext(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	wantNext := func(now time.Time, next time.Time, ns ...int) {
		t.Helper()
		got, n := take(t, s, everything(now))
		wantTasks(t, "taken", got, ns...)
		if !n.Equal(next) {
			t.Errorf("next is %v, want %v", n, next)
		}
	}
	wantNext(noon, time.Time{})
	other := free(1, 9, time.Second)
	other.Operation = "OTHER"
	submit(t, s, free(1, 1, 0), free(1, 2, 2*time.Second), free(1, 3, time.Minute), other)
	wantNext(noon.Add(-time.Microsecond), noon)
	w := everything(noon)
	w.Operations = []string{"EXTEND"}
	if _, n := take(t, s, w); !n.Equal(noon.Add(2 * time.Second)) {
		t.Errorf("next of an operation is %v", n)
	}
	if got := get(t, s, taskID(1)); got.Status != errand.Running {
		t.Errorf("task 1 is %s", got.Status)
	}
	wantNext(noon, noon.Add(time.Second))
	wantNext(noon.Add(time.Second-time.Microsecond), noon.Add(time.Second))
	wantNext(noon.Add(2*time.Second), noon.Add(time.Minute), 9, 2)
	wantNext(noon.Add(time.Minute), time.Time{}, 3)
}

func takeFails(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, free(1, 1, 0), free(1, 2, 0), waiting(1, 3, 0))
	refused := errors.New("no")
	n := 0
	got, _, err := s.Take(t.Context(), everything(noon), func(x *errand.Task) (*errand.Event, error) {
		if n++; n == 3 {
			return nil, refused
		}
		return claiming(noon)(x)
	})
	if err != refused || len(got) > 0 { //nolint:errorlint // it must be the very error
		t.Errorf("taken %v, %v; want change's own error", got, err)
	}
	for n := 1; n <= 3; n++ {
		if x := get(t, s, taskID(n)); x.Status != errand.Pending || len(x.Run.Attempts) > 0 || len(events(t, s, n)) != 1 {
			t.Errorf("task %d is %s", n, show(x))
		}
	}
	wantTaken(t, s, noon, 1, 2, 3)
}

func takePassed(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, free(1, 1, 0), free(1, 2, 0))
	got, _, err := s.Take(t.Context(), everything(noon), func(x *errand.Task) (*errand.Event, error) {
		if x.ID == taskID(1) {
			x.Reason = "X"
			return nil, nil
		}
		return claiming(noon)(x)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantTasks(t, "taken", got, 2)
	if x := get(t, s, taskID(1)); x.Status != errand.Pending || x.Reason != "" {
		t.Errorf("task 1 is %s", show(x))
	}
	wantTaken(t, s, noon, 1)
}

func takeRace(t *testing.T, s Queue) {
	const lanes, each, takers = 5, 12, 8
	for i := range lanes {
		register(t, s, kafka(i))
		for n := range each {
			submit(t, s, waiting(i, i*each+n, 0))
		}
	}
	for n := range each {
		submit(t, s, free(n%lanes, lanes*each+n, 0))
	}
	var mu sync.Mutex
	seen := map[string]string{} // by id, who took it
	busy := map[string]string{} // by lane, what runs in it
	left := (lanes + 1) * each
	var wg sync.WaitGroup
	for w := range takers {
		wg.Go(func() {
			for round := 0; ; round++ {
				mu.Lock()
				done := left == 0 || round > 10_000
				mu.Unlock()
				if done {
					return
				}
				got, _, err := s.Take(t.Context(), tasks.Want{Project: project, Now: noon, Limit: 1 + w%3}, claiming(noon))
				if err != nil {
					t.Errorf("Take: %v", err)
					return
				}
				for _, x := range got {
					mu.Lock()
					if by, ok := seen[x.ID]; ok {
						t.Errorf("task %s was taken by %s and %d", x.ID, by, w)
					}
					if other := busy[x.Instance]; other != "" && x.Run.Lane != "" {
						t.Errorf("task %s was taken while %s runs in its lane", x.ID, other)
					}
					if seen[x.ID] = fmt.Sprint(w); x.Run.Lane != "" {
						busy[x.Instance] = x.ID
					}
					mu.Unlock()
				}
				for _, x := range got {
					mu.Lock()
					if x.Run.Lane != "" {
						delete(busy, x.Instance)
					}
					left--
					mu.Unlock()
					if _, err := s.Update(t.Context(), project, x.ID, finishing(errand.Succeeded, noon)); err != nil {
						t.Errorf("finish: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if len(seen) != (lanes+1)*each {
		t.Errorf("%d tasks were taken, want %d", len(seen), (lanes+1)*each)
	}
}

func takeGone(t *testing.T, s Queue) {
	register(t, s, kafka(1))
	submit(t, s, waiting(1, 1, 0))
	ctx := ended(t)
	x := waiting(1, 2, 0)
	calls := map[string]func() error{
		"Submit": func() error {
			_, _, err := s.Submit(ctx, x, tasks.SubmitKey{}, recorded(x, errand.ActSubmitted, ""), admitAll)
			return err
		},
		"Take":   func() error { _, _, err := s.Take(ctx, everything(noon), claiming(noon)); return err },
		"Update": func() error { _, err := s.Update(ctx, project, taskID(1), cancelling(noon)); return err },
		"Renew": func() error {
			_, err := s.Renew(ctx, project, taskID(1), func(*errand.Task) error { return nil })
			return err
		},
		"Sweep": func() error { _, _, err := s.Sweep(ctx, noon.Add(time.Hour), 9, cancelling(noon)); return err },
		"Log":   func() error { _, err := s.AppendLog(ctx, project, taskID(1), []byte("x"), 9); return err },
		"Lane":  func() error { _, err := s.Lane(ctx, project, instanceID(1), "instance"); return err },
		"Feed":  func() error { _, err := s.Feed(ctx, project, 0, 9); return err },
	}
	before := get(t, s, taskID(1))
	for name, call := range calls {
		if err := call(); err == nil {
			t.Errorf("%s with a context that ended gives no error", name)
		}
	}
	same(t, "task", get(t, s, taskID(1)), before)
	wantPage(t, list(t, s, errand.Filter{}), 1, 1)
}
