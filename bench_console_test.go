package errand_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/api"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/console"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/wire"
)

// benchSite is the console over the benchmark's history, with a session.
type benchSite struct {
	*benchServer
	url     string
	cookies []*http.Cookie // of as many users: each may watch 50 pages
}

// benchUsers is how many users there are.
const benchUsers = 20

func newBenchSite(b *testing.B) *benchSite {
	b.Helper()
	s := &benchSite{benchServer: newBenchServer(b)}
	c := console.New(console.Deps{Tasks: s.svc, Runs: s.runs, Directory: s.directory, Find: s.svc.Instance, Operations: s.operations.Operations, OpenAPI: api.OpenAPI, Now: time.Now})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.ServeHTTP(w, wire.Begin(w, r, &wire.Exchange{ID: "bench"}))
	}))
	b.Cleanup(srv.Close)
	s.url = srv.URL
	ctx := context.Background()
	for n := range benchUsers {
		name := fmt.Sprintf("viewer %d %d", n, time.Now().UnixNano())
		if _, err := s.directory.AddUser(ctx, s.importPrincipal, auth.NewUser{Name: name, Roles: map[string]errand.Role{s.project: errand.Viewer}}); err != nil {
			b.Fatal(err)
		}
		k, err := s.directory.AddKey(ctx, s.importPrincipal, auth.NewKey{User: name, Project: s.project})
		if err != nil {
			b.Fatal(err)
		}
		token, _, err := s.directory.KeyToken(ctx, k.Access, k.Secret, "")
		if err != nil {
			b.Fatal(err)
		}
		s.cookies = append(s.cookies, &http.Cookie{Name: "errand-" + srv.URL[len("http://127.0.0.1:"):], Value: token})
	}
	return s
}

func (s *benchSite) get(ctx context.Context, user int, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	if err != nil {
		return nil, err
	}
	r.AddCookie(s.cookies[user%benchUsers])
	return http.DefaultTransport.RoundTrip(r)
}

// unfinished submits tasks on as many instances, one of which the caller gets the
// lease of.
func (s *benchSite) unfinished(b *testing.B, n int) tasks.Grant {
	b.Helper()
	ctx := context.Background()
	b.Cleanup(func() { s.drain(b) })
	for i := range n {
		if _, err := s.runs.Submit(ctx, s.importPrincipal, s.project, benchInstance(i), tasks.Submission{Operation: "inLane"}); err != nil {
			b.Fatal(err)
		}
	}
	grants, err := s.runs.Claim(ctx, s.importPrincipal, s.project, tasks.ClaimRequest{Worker: "bench", Operations: []string{"inLane"}, Limit: 1})
	if err != nil || len(grants) != 1 {
		b.Fatalf("%d grants, %v", len(grants), err)
	}
	return grants[0]
}

// BenchmarkConsole measures pages over the benchmark's history and a queue of 300
// tasks, as a browser asks for them one after another.
func BenchmarkConsole(b *testing.B) {
	s := newBenchSite(b)
	g := s.unfinished(b, 300)
	hot := "/instances/" + benchInstance(0)
	for _, c := range []struct{ name, path string }{
		{"overview", "/"}, {"instances", "/instances"}, {"instance", hot}, {"instance-month", hot + "?zoom=month&at=2025-06-30"},
		{"instance-deep", hot + "?offset=" + fmt.Sprint(*benchTasks/10*9/10)}, {"tasks", "/tasks"}, {"tasks-search", "/tasks?status=failed"}, {"task", "/tasks/" + g.Task.ID},
	} {
		b.Run(c.name, func(b *testing.B) {
			var took []time.Duration
			size := int64(0)
			for b.Loop() {
				begin := time.Now()
				w, err := s.get(context.Background(), 0, c.path)
				if err != nil || w.StatusCode != http.StatusOK {
					b.Fatalf("%v, %v", w, err)
				}
				size, _ = io.Copy(io.Discard, w.Body)
				_ = w.Body.Close()
				took = append(took, time.Since(begin))
			}
			report(b, took, "pages/s")
			b.ReportMetric(float64(size)/1000, "kB")
		})
	}
}

// BenchmarkOverview measures what a page of the overview is made from: while
// nothing happens, and the first time after a start, when the events of a day are
// read, up to 100,000 of them. The records of the history have all been imported
// just before, so there are as many.
func BenchmarkOverview(b *testing.B) {
	s := newBenchSite(b)
	s.unfinished(b, 300)
	ctx := context.Background()
	for _, c := range []struct {
		name string
		runs func() *tasks.Runs
	}{{"warm", func() *tasks.Runs { return s.runs }}, {"cold", s.restarted}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.runs().Overview(ctx, s.importPrincipal, s.project); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("mark", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.runs.Mark(ctx, s.importPrincipal, s.project, "", ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkWatchers holds a thousand open pages on one node, and reports what they
// cost: memory each, and the share of one processor while nothing happens and
// while a task tells of its progress ten times a second. The watchers' own side is
// in the same process and counted with it.
func BenchmarkWatchers(b *testing.B) {
	const watchers = 1000
	s := newBenchSite(b)
	g := s.unfinished(b, 300)
	for _, c := range []struct{ name, query string }{{"overview", "project=1"}, {"instance", "instance=" + g.Task.Instance}, {"task", "task=" + g.Task.ID}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				s.watch(b, watchers, c.query, g)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// watch opens n pages and measures them for a few seconds.
func (s *benchSite) watch(b *testing.B, n int, query string, g tasks.Grant) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var open, watching sync.WaitGroup
	var told atomic.Int64
	before := heap()
	open.Add(n)
	for user := range n {
		watching.Go(func() {
			w, err := s.get(ctx, user, "/live?"+query)
			if err != nil {
				b.Error(err)
				open.Done()
				return
			}
			defer w.Body.Close()
			first := true
			for lines := bufio.NewScanner(w.Body); lines.Scan(); {
				switch {
				case first && lines.Text() == "event: hello":
					first = false
					open.Done()
				case lines.Text() == "event: change":
					told.Add(1)
				}
			}
		})
	}
	open.Wait()
	b.ReportMetric(float64(heap()-before)/float64(n)/1000, "kB/watcher")
	const long = 5 * time.Second
	b.ReportMetric(100*busy(func() { time.Sleep(long) }), "%cpu-idle")
	told.Store(0)
	b.ReportMetric(100*busy(func() {
		end := time.Now().Add(long)
		for i := 0; time.Now().Before(end); i++ {
			beat := tasks.Beat{Progress: &errand.Progress{Percent: i % 100}}
			if _, err := s.runs.Extend(ctx, s.importPrincipal, s.project, g.Token, beat); err != nil {
				b.Error(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	}), "%cpu-busy")
	b.ReportMetric(float64(told.Load())/float64(n)/long.Seconds(), "told/s")
	cancel()
	watching.Wait()
}

// heap is the memory in use, in bytes, with that of stacks.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// busy is the share of one processor that this process took while fn ran.
func busy(fn func()) float64 {
	begin, used := time.Now(), cpu()
	fn()
	return float64(cpu()-used) / float64(time.Since(begin))
}

func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
