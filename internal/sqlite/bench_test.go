package sqlite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/errandhq/errand"
)

// The database of the read benchmarks: tasks over 1,000 instances and a year, a
// tenth of them in instance 0. ERRAND_BENCH_TASKS sets how many; the figures in
// docs/adr are for 1000000, which takes about a minute to make.
const benchInstances = 1000

func benchTasks(b *testing.B) int {
	text := os.Getenv("ERRAND_BENCH_TASKS")
	if text == "" {
		return 50_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func benchTask(r *rand.Rand, instance int, at time.Time) *errand.Task {
	var id [2]uint64
	id[0], id[1] = uint64(at.UnixMilli())<<16|uint64(r.Uint32()>>16), r.Uint64()
	t := testTask(instance, 0)
	t.ID = fmt.Sprintf("%016x%016x", id[0], id[1])
	t.JobID = t.ID
	t.User = errand.User{ID: "e3b0c44298fc1c149afbf4c8996fb924", Name: "alice"}
	t.Params = `{"public_ip_id":"b5a4c6c0-3c5c-4a5e-9a4e-1f2d3c4b5a69","public_ip_address":"203.0.113.7","enable_public_ip":true}`
	t.CreatedAt, t.UpdatedAt = at, at.Add(time.Minute)
	return t
}

// fill stores n tasks in the order of their times.
func fill(b *testing.B, s *Store, n int) {
	for i := range benchInstances {
		register(b, s, i)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var batch []*errand.Task
	for i := range n {
		instance := 0
		if i%10 > 0 {
			instance = 1 + r.IntN(benchInstances-1)
		}
		at := noon.Add(time.Duration(float64(i) / float64(n) * float64(365*24*time.Hour))).Truncate(time.Microsecond)
		batch = append(batch, benchTask(r, instance, at))
		if len(batch) == 5000 || i == n-1 {
			put(b, s, batch...)
			batch = batch[:0]
		}
	}
}

func BenchmarkRead(b *testing.B) {
	n := benchTasks(b)
	s := openAt(b, filepath.Join(b.TempDir(), "errand.db"))
	fill(b, s, n)
	ctx := context.Background()
	month := noon.AddDate(0, 6, 3)
	page := func(f errand.Filter, hot bool) func(*testing.B) {
		f.Project, f.Limit = testProject, 10
		return func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !hot {
					f.Instance = instanceID(1 + i%100)
				}
				p, err := s.List(ctx, f)
				if err != nil || p.Total == 0 && n >= 1_000_000 {
					b.Fatalf("%d tasks, %v", len(p.Tasks), err)
				}
			}
		}
	}
	hot := instanceID(0)
	b.Run("normal", page(errand.Filter{}, false))
	b.Run("normal/30d", page(errand.Filter{From: month, To: month.AddDate(0, 0, 30)}, false))
	b.Run("hot", page(errand.Filter{Instance: hot}, true))
	b.Run("hot/deep", page(errand.Filter{Instance: hot, Offset: n / 10 * 9 / 10}, true))
	b.Run("hot/30d", page(errand.Filter{Instance: hot, From: month, To: month.AddDate(0, 0, 30)}, true))
	b.Run("hot/30d/deep", page(errand.Filter{Instance: hot, From: month, To: month.AddDate(0, 0, 30), Offset: n / 200}, true))
	b.Run("engine", page(errand.Filter{Engine: errand.Kafka}, true))
	b.Run("project", page(errand.Filter{}, true))
	b.Run("project/deep", page(errand.Filter{Offset: n * 9 / 10}, true))

	var ids []string
	p, err := s.List(ctx, errand.Filter{Project: testProject, Offset: n / 2, Limit: 1000})
	if err != nil {
		b.Fatal(err)
	}
	for i := range p.Tasks {
		ids = append(ids, p.Tasks[i].ID)
	}
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := s.Get(ctx, testProject, ids[i%len(ids)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("instance", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Instance(ctx, testProject, hot); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkInsert(b *testing.B) {
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			s := openAt(b, filepath.Join(b.TempDir(), "errand.db"))
			for i := range benchInstances {
				register(b, s, i)
			}
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for c := range callers {
				wg.Go(func() {
					r := rand.New(rand.NewPCG(uint64(c), 3))
					for left.Add(-1) >= 0 {
						given := benchTask(r, r.IntN(benchInstances), time.Now())
						if err := s.Put(context.Background(), []*errand.Task{given}, save); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tasks/s")
		})
	}
}
