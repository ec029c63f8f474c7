package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/pgtest"
	"github.com/errandhq/errand/internal/tasks"
)

// durable opens a database that is as durable as PostgreSQL's defaults are,
// with a number of instances.
func durable(b *testing.B, instances int) *Store {
	b.Helper()
	srv := pgtest.Start(b, "shared_buffers=256MB", "max_wal_size=4GB")
	s := openAt(b, srv.URL(srv.Database(b, "")))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := w; n < instances; n += 4 {
				i := testInstance(n)
				i.Engine = errand.Kafka
				if err := s.AddInstance(context.Background(), i); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return s
}

// callers has n goroutines share b.N calls of do, and reports how many there
// were in a second.
func callers(b *testing.B, n int, do func(i int) error) {
	b.Helper()
	var next atomic.Int64
	b.ResetTimer()
	start := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= b.N; i = int(next.Add(1)) {
				if err := do(i); err != nil {
					b.Errorf("%d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "calls/s")
}

var benchIDs atomic.Int64

func fresh(instances int) *errand.Task {
	n := int(benchIDs.Add(1))
	t := waiting(n%instances, n, "instance")
	t.CreatedAt = noon.Add(time.Duration(n) * time.Millisecond)
	return t
}

// BenchmarkSubmit submits to a thousand instances.
func BenchmarkSubmit(b *testing.B) {
	const instances = 1000
	s := durable(b, instances)
	for _, n := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprint(n, "callers"), func(b *testing.B) {
			callers(b, n, func(int) error {
				_, err := submit(context.Background(), s, fresh(instances), "")
				return err
			})
		})
	}
}

// BenchmarkRun claims tasks that wait and finishes them: one by one, and fifty
// at once.
func BenchmarkRun(b *testing.B) {
	const instances = 200
	for _, batch := range []int{1, 50} {
		b.Run(fmt.Sprint("by", batch), func(b *testing.B) {
			s := durable(b, instances)
			want := tasks.Want{Project: testProject, Operations: []string{"EXTEND"}, Now: noon, Limit: batch}
			var wg sync.WaitGroup
			var left atomic.Int64
			left.Store(int64(b.N * batch))
			for range 64 {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						x := fresh(instances)
						x.Run.Lane = ""
						if _, err := submit(context.Background(), s, x, ""); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			var ran atomic.Int64
			callers(b, 16, func(int) error {
				got, _, err := s.Take(context.Background(), want, claiming)
				if err != nil {
					return err
				}
				ran.Add(int64(len(got)))
				var wg sync.WaitGroup
				for _, x := range got {
					wg.Go(func() {
						if _, err := s.Update(context.Background(), x.Project, x.ID, finishing); err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
				return nil
			})
			b.ReportMetric(float64(ran.Load())/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}

// BenchmarkRenew has heartbeats of callers arrive at once.
func BenchmarkRenew(b *testing.B) {
	const instances, running = 500, 500
	s := durable(b, instances)
	for n := range running {
		x := waiting(n, 1+n, "")
		if _, err := submit(context.Background(), s, x, ""); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Update(context.Background(), testProject, x.ID, claiming); err != nil {
			b.Fatal(err)
		}
	}
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n, "callers"), func(b *testing.B) {
			callers(b, n, func(i int) error {
				_, err := s.Renew(context.Background(), testProject, fmt.Sprintf("%032x", 1+i%running), func(t *errand.Task) error {
					return t.Extend(t.ID, noon.Add(time.Minute+time.Duration(i)), nil, noon)
				})
				return err
			})
		})
	}
}
