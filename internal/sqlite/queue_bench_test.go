package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/tasks"
)

// inParallel has callers share b.N calls of do, which is told their number.
func inParallel(b *testing.B, callers int, do func(n int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= b.N {
					return
				}
				if err := do(n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// benchRun returns task n as somebody submits it to an instance.
func benchRun(instance, n int, lane string) *errand.Task {
	now := noon.Add(time.Duration(n) * time.Microsecond)
	t := testTask(instance, n)
	t.Run = &errand.Run{Lane: lane, RunAt: now, Timeout: time.Hour, MaxAttempts: 3, OnLost: errand.RetryWhenLost, Backoff: errand.Backoff{Base: time.Second, Max: time.Minute}}
	t.Accept(now)
	return t
}

func eventOfTask(t *errand.Task, act errand.Act) *errand.Event {
	return &errand.Event{Project: t.Project, Instance: t.Instance, Task: t.ID, At: t.UpdatedAt, Act: act, To: t.Status}
}

func submitOne(s *Store, t *errand.Task, key string) error {
	k := tasks.SubmitKey{Key: key, Digest: "d41d8cd98f00b204e9800998ecf8427e", Expires: t.CreatedAt.Add(24 * time.Hour)}
	_, _, err := s.Submit(context.Background(), t, k, eventOfTask(t, errand.ActSubmitted), func(*errand.Task, int) error { return nil })
	return err
}

const evening = 8 * time.Hour // after noon, when all benchmarks' tasks are to be run

func takeOne(s *Store, want tasks.Want) (*errand.Task, error) {
	want.Limit = 1
	taken, _, err := s.Take(context.Background(), want, func(t *errand.Task) (*errand.Event, error) {
		l := errand.Lease{Token: t.ID + t.ID, Worker: "worker-1", Beat: want.Now, Expires: want.Now.Add(10 * time.Second)}
		return eventOfTask(t, errand.ActClaimed), t.Claim(l, want.Now)
	})
	if err == nil && len(taken) == 0 {
		err = fmt.Errorf("nothing was there to take")
	}
	if err != nil {
		return nil, err
	}
	return taken[0], nil
}

func finishOne(s *Store, t *errand.Task) error {
	now := noon.Add(evening + time.Minute)
	_, err := s.Update(context.Background(), t.Project, t.ID, func(t *errand.Task) (*errand.Event, error) {
		return eventOfTask(t, errand.ActFinished), t.Finish(t.Run.Lease.Token, errand.Outcome{Status: errand.Succeeded}, now, now)
	})
	return err
}

func benchWant() tasks.Want {
	return tasks.Want{Project: testProject, Operations: []string{"EXTEND", "RESTART", "bindEip"}, Now: noon.Add(evening)}
}

// queueBench opens a database with instances.
func queueBench(b *testing.B) *Store {
	s := openAt(b, filepath.Join(b.TempDir(), "errand.db"))
	for i := range benchInstances {
		register(b, s, i)
	}
	return s
}

// backlog submits n tasks from many callers at once.
func backlog(b *testing.B, s *Store, from, n int, lane string) {
	var wg sync.WaitGroup
	for c := range 64 {
		wg.Go(func() {
			for i := c; i < n; i += 64 {
				if err := submitOne(s, benchRun(i%benchInstances, from+i, lane), ""); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkSubmit(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := queueBench(b)
			inParallel(b, callers, func(n int) error {
				return submitOne(s, benchRun(n%benchInstances, n, errand.DefaultLane), fmt.Sprint("key-", n))
			})
		})
	}
}

// BenchmarkSubmitBehind has one lane in which many wait already.
func BenchmarkSubmitBehind(b *testing.B) {
	for _, waiting := range []int{0, 1000} {
		b.Run(fmt.Sprint(waiting), func(b *testing.B) {
			s := queueBench(b)
			for n := range waiting {
				if err := submitOne(s, benchRun(0, n, errand.DefaultLane), ""); err != nil {
					b.Fatal(err)
				}
			}
			inParallel(b, 16, func(n int) error {
				lane := errand.DefaultLane
				if waiting == 0 {
					lane = "" // nobody is ahead, however many there are
				}
				return submitOne(s, benchRun(0, waiting+n, lane), "")
			})
		})
	}
}

// BenchmarkCycle takes a task and ends it.
func BenchmarkCycle(b *testing.B) {
	for _, lane := range []string{"", errand.DefaultLane} {
		for _, callers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("lane=%s/%d", lane, callers), func(b *testing.B) {
				s := queueBench(b)
				backlog(b, s, 0, b.N, lane)
				inParallel(b, callers, func(int) error {
					t, err := takeOne(s, benchWant())
					if err != nil {
						return err
					}
					return finishOne(s, t)
				})
			})
		}
	}
}

// BenchmarkTakeHistory must not grow with the tasks that have ended
// (ERRAND_BENCH_TASKS sets how many), nor with those that wait for a worker of
// another operation.
func BenchmarkTakeHistory(b *testing.B) {
	for _, c := range []struct{ ended, unserved int }{{10_000, 0}, {benchTasks(b), 0}, {10_000, 10_000}} {
		b.Run(fmt.Sprintf("ended=%d/unserved=%d", c.ended, c.unserved), func(b *testing.B) {
			s := queueBench(b)
			history(b, s, c.ended)
			want := benchWant()
			backlog(b, s, 1<<40, c.unserved, "")
			want.Operations = []string{"RESTART"}
			for n := range b.N {
				t := benchRun(n%benchInstances, n, "")
				t.Operation, t.Run.RunAt = "RESTART", t.Run.RunAt.Add(time.Hour)
				if err := submitOne(s, t, ""); err != nil {
					b.Fatal(err)
				}
			}
			inParallel(b, 1, func(int) error {
				_, err := takeOne(s, want)
				return err
			})
		})
	}
}

// history adds tasks that have ended, in SQL because they are many.
func history(b *testing.B, s *Store, n int) {
	for from := 0; from < n; from += 50_000 {
		err := s.w.do(context.Background(), func(t *tx) error {
			err := t.exec(`WITH RECURSIVE n (i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?2)
				INSERT INTO tasks (scope, created_at, id, grp, project_key, operation, user_id, user_name, params, status, error_code, reason, updated_at)
				SELECT s.scope, ?3 + i, printf('%032x', 9000000000 + i), s.grp, s.project_key, 'EXTEND', 'u', 'alice', '{"new_size":600}', 'succeeded', '', '', ?3 + i
				FROM n JOIN instances s ON s.id = printf('5560df16-cebf-4473-95c4-%012x', i % 1000)`, from, min(from+50_000, n), micro(noon))
			if err != nil {
				return err
			}
			return t.exec(`INSERT OR IGNORE INTO runs (project_key, id, run) SELECT project_key, id, '{"run_at":1,"max_attempts":1}' FROM tasks WHERE created_at >= ?1 AND created_at < ?2`,
				micro(noon)+int64(from), micro(noon)+int64(from)+50_000)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTakeNothing is what a worker costs that asks while there is nothing
// for it.
func BenchmarkTakeNothing(b *testing.B) {
	for _, unserved := range []int{0, 10_000} {
		b.Run(fmt.Sprint("unserved=", unserved), func(b *testing.B) {
			s := queueBench(b)
			backlog(b, s, 0, unserved, "")
			want := benchWant()
			want.Operations, want.Limit = []string{"RESTART", "bindEip"}, 1
			inParallel(b, 1, func(int) error {
				_, _, err := s.Take(context.Background(), want, nil)
				return err
			})
		})
	}
}

func BenchmarkRenew(b *testing.B) {
	for _, c := range []struct{ callers, sealed int }{{1, 0}, {16, 0}, {64, 0}, {16, 16 << 10}} {
		b.Run(fmt.Sprintf("%d/sealed=%d", c.callers, c.sealed), func(b *testing.B) {
			s := queueBench(b)
			const held = 256
			for n := range held {
				t := benchRun(n, n, errand.DefaultLane)
				t.Run.Sealed = make([]byte, c.sealed)
				if err := submitOne(s, t, ""); err != nil {
					b.Fatal(err)
				}
				if _, err := takeOne(s, benchWant()); err != nil {
					b.Fatal(err)
				}
			}
			inParallel(b, c.callers, func(n int) error {
				now := noon.Add(evening + time.Duration(n)*time.Millisecond)
				_, err := s.Renew(context.Background(), testProject, fmt.Sprintf("%032x", n%held), func(t *errand.Task) error {
					return t.Extend(t.Run.Lease.Token, now.Add(10*time.Second), nil, now)
				})
				return err
			})
		})
	}
}
