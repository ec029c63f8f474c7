package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// TestPick has callers with locks wait, and looks who shares a transaction.
func TestPick(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		busy  []int64
		keys  [][]int64
		try   [][]int64
		want  []int // of the waiting, by number
		tried []int64
	}{
		{"different locks", nil, [][]int64{{1}, {2}, {3, 4}}, nil, []int{0, 1, 2}, nil},
		{"the same lock", nil, [][]int64{{1}, {1}, {2}}, nil, []int{0, 2}, nil},
		{"a lock that is busy", []int64{1}, [][]int64{{1}, {2}}, nil, []int{1}, nil},
		{"nobody overtakes on a lock", []int64{1}, [][]int64{{1, 2}, {2}, {3}}, nil, []int{2}, nil},
		{"all are busy", []int64{1, 2}, [][]int64{{1}, {2}}, nil, nil, nil},
		{"what is tried and busy is passed over", []int64{1}, [][]int64{{2}, nil}, [][]int64{nil, {1, 2, 3}}, []int{0, 1}, []int64{3}},
		{"what is tried and all busy waits", []int64{1}, [][]int64{nil, {1}, {2}}, [][]int64{{1}, nil, nil}, []int{2}, nil},
	} {
		g := newGroup()
		for _, k := range c.busy {
			g.busy[k] = true
		}
		var all []*op
		for i, keys := range c.keys {
			o := &op{keys: keys}
			if c.try != nil {
				o.try = c.try[i]
			}
			all = append(all, o)
			g.enter(o)
		}
		picked := g.pick()
		var got []int
		for _, o := range picked {
			got = append(got, slices.Index(all, o))
			if len(o.try) > 0 && !slices.Equal(o.tried, c.tried) {
				t.Errorf("%s: tried %v, want %v", c.name, o.tried, c.tried)
			}
		}
		if !slices.Equal(got, c.want) || len(g.waiting) != len(all)-len(got) {
			t.Errorf("%s: picked %v of %d, %d left; want %v", c.name, got, len(all), len(g.waiting), c.want)
		}
		g.free(picked)
		if len(g.busy) != len(c.busy) {
			t.Errorf("%s: %d locks are busy in the end, want %d", c.name, len(g.busy), len(c.busy))
		}
	}
}

// TestPickWeighs has callers wait with as many secrets as a task may have.
func TestPickWeighs(t *testing.T) {
	t.Parallel()
	g := newGroup()
	for n := range int64(maxGroup) {
		x := &submission{task: waiting(1, int(n), "")}
		x.task.Run.Sealed = make([]byte, 1<<20)
		o := x.op(nil)
		g.enter(o)
	}
	if n := len(g.pick()); n < 2 || n > 8 {
		t.Errorf("%d tasks of 1 MiB share a transaction, want 8 at most", n)
	}
}

// TestCallerLeaves has a caller give up while it waits for another.
func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	if _, err := submit(t.Context(), s, waiting(1, 1, "x"), ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	inside, late := make(chan struct{}), make(chan error)
	done := make(chan error)
	go func() {
		_, err := s.Update(t.Context(), testProject, waiting(1, 1, "x").ID, func(x *errand.Task) (*errand.Event, error) {
			close(inside)
			if err := <-late; !errors.Is(err, context.Canceled) { // who waits behind us has gone by now
				t.Errorf("the caller who left was told %v", err)
			}
			return claiming(x)
		})
		done <- err
	}()
	<-inside
	go func() {
		for s.group.length() == 0 {
			select { // it takes a moment to get there
			case <-done:
				return
			default:
			}
		}
		cancel()
	}()
	_, err := s.Update(ctx, testProject, waiting(1, 1, "x").ID, func(*errand.Task) (*errand.Event, error) {
		t.Error("change was called for a caller who left")
		return nil, nil
	})
	late <- err
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (g *group) length() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// TestPanicIsOneCallers has a caller panic in a group.
func TestPanicIsOneCallers(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	if _, err := submit(t.Context(), s, waiting(1, 1, ""), ""); err != nil {
		t.Fatal(err)
	}
	_, err := s.Update(t.Context(), testProject, waiting(1, 1, "").ID, func(*errand.Task) (*errand.Event, error) { panic("oh") })
	if err == nil || !strings.Contains(err.Error(), "oh") {
		t.Errorf("a panic gives %v", err)
	}
	if _, err := s.Update(t.Context(), testProject, waiting(1, 1, "").ID, claiming); err != nil {
		t.Errorf("after the panic: %v", err)
	}
}

// TestPanicLeavesNothing has a caller panic when it has noted half of what it
// wants written.
func TestPanicLeavesNothing(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	err := s.do(t.Context(), &op{needs: func(*needs) {}, decide: func(f *flow) error {
		f.append(fact(waiting(1, 1, ""), errand.ActSubmitted))
		panic("oh")
	}})
	if errand.ErrorOf(err) == nil || errand.ErrorOf(err).Kind != errand.Internal {
		t.Errorf("a panic gives %v", err)
	}
	if es, err := s.Feed(t.Context(), testProject, 0, 10); err != nil || len(es) != 0 {
		t.Errorf("the feed has %v (%v), want nothing of who panicked", es, err)
	}
}

// TestWritesFindRowsByKeys looks at the plans of what groups read and change, and
// at who looks for work, on tables whose sizes the planner does not know.
func TestWritesFindRowsByKeys(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	ctx := t.Context()
	c, err := s.writers.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	keys := []any{[]int64{1, 2}, []string{"a", "b"}}
	places := []any{[]int64{1, 2}, []int64{1, 2}, []string{"a", "b"}}
	one := tasks.Want{Project: testProject, Operations: []string{"EXTEND"}}
	oneNow, oneNext := lookFor(one)
	allNow, allNext := lookFor(tasks.Want{Operations: []string{"EXTEND"}})
	looking := func(project string) []any { return []any{project, []string{"EXTEND"}, []string{}, int64(1), 10} }
	for _, x := range []struct {
		query string
		args  []any
		with  string
	}{
		{tasksByKey, keys, "tasks_by_id"},
		{laneHeads, []any{[]int64{1}, []string{"a"}, []int64{1}, []bool{true}}, "live_lane"},
		{laneFirsts, []any{[]int64{1}, []string{"a"}}, "live_lane"},
		{usedKeys, keys, "submit_keys_pkey"},
		{logEnds, append(keys[:2:2], int64(9)), "task_log_pkey"},
		{`UPDATE live x SET ready = 1` + byKey, keys, "live_pkey"},
		{removeTasks, places, "tasks_pkey"},
		{forgetTasks, []any{int64(1), 10, int64(1)}, "tasks_pkey"},
		{oneNow, looking(testProject), "live_ready "},
		{oneNext, looking(testProject), "live_ready "},
		{allNow, looking(""), "live_ready_all "},
		{allNext, looking(""), "live_ready_all "},
	} {
		rows, err := c.Query(ctx, `EXPLAIN (COSTS OFF) `+x.query, x.args...)
		if err != nil {
			t.Errorf("%v: %s", err, x.query)
			continue
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		plan := strings.Join(lines, "\n")
		if err != nil || !strings.Contains(plan, x.with) || strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "Hash Join") {
			t.Errorf("%v, want a plan by %s:\n%s\n%s", err, x.with, x.query, plan)
		}
	}
}

// TestTakeAfterSubmit has one caller take what it has just submitted: by then its
// lock is free.
func TestTakeAfterSubmit(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	for n := range 100 {
		for k := range 2 { // what is passed over is noticed only beside something that is not
			if _, err := submit(t.Context(), s, waiting(1, 1+2*n+k, ""), ""); err != nil {
				t.Fatal(err)
			}
		}
		got, _, err := s.Take(t.Context(), tasks.Want{Project: testProject, Operations: []string{"EXTEND"}, Now: noon, Limit: 5}, claiming)
		if err != nil || len(got) != 2 {
			t.Fatalf("took %d of 2: %v", len(got), err)
		}
	}
}
