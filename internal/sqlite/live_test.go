package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
)

func TestQueue(t *testing.T) {
	t.Parallel()
	storetest.RunQueue(t, func(t *testing.T) storetest.Queue {
		s := openNew(t)
		t.Cleanup(func() {
			checkCounts(t, s)
			checkLive(t, s)
		})
		return s
	})
}

// checkLive compares the tables of the queue with the tasks, and the marks of
// what may be taken with the lanes, from one snapshot.
func checkLive(t testing.TB, s *Store) {
	t.Helper()
	err := s.snapshot(context.Background(), func(c *conn) error { // the test may be over
		for what, query := range map[string]string{
			"unfinished without a task that is": `SELECT id FROM live l WHERE NOT EXISTS (SELECT 1 FROM tasks t
				WHERE t.scope = l.scope AND t.created_at = l.created_at AND t.id = l.id AND t.status = iif(l.running, 'running', 'pending'))`,
			"ended without a task that has": `SELECT id FROM runs r WHERE NOT EXISTS (SELECT 1 FROM tasks t
				WHERE t.project_key = r.project_key AND t.id = r.id AND t.status NOT IN ('running', 'pending'))`,
			"both unfinished and ended": `SELECT id FROM live JOIN runs USING (project_key, id)`,
			"free but not ready":        `SELECT id FROM live WHERE lane = '' AND ready = running`,
			"ready out of turn": `SELECT id FROM live l WHERE lane <> '' AND ready <> (running = 0 AND NOT EXISTS (SELECT 1 FROM live o
				WHERE o.scope = l.scope AND o.lane = l.lane AND o.id <> l.id AND (o.running = 1 OR (o.run_at, o.id) < (l.run_at, l.id))))`,
			"gone but its secrets":     `SELECT id FROM secrets s WHERE NOT EXISTS (SELECT 1 FROM live l WHERE l.project_key = s.project_key AND l.id = s.id)`,
			"a log without a task":     `SELECT id FROM task_log l WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.project_key = l.project_key AND t.id = l.id)`,
			"scheduled without a task": `SELECT id FROM scheduled s WHERE NOT EXISTS (SELECT 1 FROM tasks t WHERE t.scope = s.scope AND t.created_at = s.created_at AND t.id = s.id)`,
		} {
			err := c.rows(query, func(st *sqlite.Stmt) error {
				t.Errorf("task %s is %s", st.ColumnText(0), what)
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// waitingTask returns a task to be run from noon on, in the lane of its instance.
func waitingTask(instance, n int) *errand.Task {
	x := testTask(instance, n)
	x.Run = &errand.Run{Lane: errand.DefaultLane, RunAt: noon, MaxAttempts: 1, OnLost: errand.FailWhenLost}
	x.Accept(noon.Add(time.Duration(n) * time.Microsecond))
	return x
}

func mustSubmit(t testing.TB, s *Store, x *errand.Task) {
	t.Helper()
	e, _ := save(nil, x)
	if _, _, err := s.Submit(context.Background(), x, tasks.SubmitKey{}, e, func(*errand.Task, int) error { return nil }); err != nil {
		t.Fatal(err)
	}
}

// start claims a task in a change, stop ends it.
func start(x *errand.Task) (*errand.Event, error) {
	if err := x.Claim(errand.Lease{Token: "t" + x.ID, Worker: "w", Beat: noon, Expires: noon.Add(time.Minute)}, noon); err != nil {
		return nil, err
	}
	return save(nil, x)
}

func stop(x *errand.Task) (*errand.Event, error) {
	if err := x.Finish("t"+x.ID, errand.Outcome{Status: errand.Succeeded}, noon, noon.Add(time.Second)); err != nil {
		return nil, err
	}
	return save(nil, x)
}

// TestLaneIndex checks that two of a lane cannot run, whatever the code above
// the index believes.
func TestLaneIndex(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1, 2)
	for n := range 2 {
		mustSubmit(t, s, waitingTask(1, n))
		mustSubmit(t, s, waitingTask(2, 10+n))
	}
	run := func(where string) error {
		return s.w.do(t.Context(), func(t *tx) error { return t.exec(`UPDATE live SET running = 1, ready = 0 WHERE ` + where) })
	}
	for _, n := range []int{0, 10} { // one of each lane
		if err := run(`id = '` + testTask(0, n).ID + `'`); err != nil {
			t.Fatal(err)
		}
	}
	err := run(`id = '` + testTask(0, 1).ID + `'`)
	var e *errand.Error
	if err == nil || !taken(err) && !(errors.As(err, &e) && taken(e.Err)) {
		t.Errorf("two of a lane run side by side: %v", err)
	}
}

// TestSecretsGo checks that nothing of what was sealed is left in a row once
// its task has ended, in whatever way.
func TestSecretsGo(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	secret := []byte("correct horse battery staple")
	ends := map[int]tasks.Change{
		1: stop,
		2: func(x *errand.Task) (*errand.Event, error) {
			_ = x.Lose("silence", noon, noon)
			return save(nil, x)
		},
		3: func(x *errand.Task) (*errand.Event, error) { // a change that forgets to forget
			sealed := x.Run.Sealed
			e, err := stop(x)
			x.Run.Sealed = sealed
			return e, err
		},
	}
	holds := func() (n int) {
		t.Helper()
		err := s.snapshot(t.Context(), func(c *conn) error {
			for _, table := range []string{"live", "secrets", "runs", "tasks", "events", "submit_keys", "task_log", "scheduled", "durations"} {
				err := c.rows(`SELECT * FROM `+table, func(st *sqlite.Stmt) error {
					for col := range st.ColumnCount() {
						if text := blob(st, col); bytes.Contains(text, secret) {
							n++
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for n, end := range ends {
		x := waitingTask(1, n)
		x.Run.Sealed = secret
		mustSubmit(t, s, x)
		if _, err := s.Update(t.Context(), testProject, x.ID, start); err != nil {
			t.Fatal(err)
		}
		if got := holds(); got != 1 {
			t.Fatalf("%d rows hold the secret of a running task, want one: this test would see nothing", got)
		}
		got, err := s.Update(t.Context(), testProject, x.ID, end)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Status.Final() || got.Run.Sealed != nil {
			t.Errorf("task %d is %s and holds %q", n, got.Status, got.Run.Sealed)
		}
		if got := holds(); got != 0 {
			t.Errorf("%d rows hold the secret of task %d, which has ended", got, n)
		}
	}
	checkLive(t, s)
}

// TestDurationsAreFew checks that what is remembered of an operation does not
// grow.
func TestDurationsAreFew(t *testing.T) {
	t.Parallel()
	s := openNew(t)
	register(t, s, 1)
	for n := range keptDurations + 10 {
		mustSubmit(t, s, waitingTask(1, n))
		for _, change := range []tasks.Change{start, stop} {
			if _, err := s.Update(t.Context(), testProject, waitingTask(1, n).ID, change); err != nil {
				t.Fatal(err)
			}
		}
	}
	err := s.snapshot(t.Context(), func(c *conn) error {
		if n := c.mustCount(t, `SELECT count(*) FROM durations`); n != keptDurations {
			t.Errorf("%d durations are kept, want %d", n, keptDurations)
		}
		if n := c.mustCount(t, `SELECT count(*) FROM live`); n != 0 {
			t.Errorf("%d tasks are unfinished, want none", n)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	checkCounts(t, s)
}
