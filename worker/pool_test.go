package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/worker"
)

// TestBeats looks at what is sent when: a beat at a third of the lease with all
// that is new, a second after the last one if a step has changed, at once if the
// log fills a call; and nothing once the handler is gone.
func TestBeats(t *testing.T) {
	t.Parallel()
	scene(t, func() *script { return newScript(grant("t1")) }, func(_ context.Context, j *worker.Job) error {
		j.Progress(10, 20*time.Second) // no hurry
		time.Sleep(3500 * time.Millisecond)
		j.Logf("one")
		j.Step("copy") // the last beat was half a second ago
		time.Sleep(time.Second)
		fmt.Fprint(j.Writer(), strings.Repeat(strings.Repeat("x", 1023)+"\n", 257))
		time.Sleep(time.Second)
		j.Logf("end")
		return nil
	}, nil, func(t *testing.T, s *script, _ func()) {
		time.Sleep(time.Hour)
		f := onlyFinish(t, s)
		_, beats, _ := s.told()
		var got []string
		for _, b := range beats {
			p := "-"
			if b.Progress != nil {
				p = fmt.Sprintf("%d%% %v %d", b.Progress.Percent, b.Progress.Remaining, len(b.Progress.Steps))
			}
			got = append(got, fmt.Sprintf("%v: %s, %d", b.at, p, len(b.Log)))
		}
		want := []string{
			"3s: 10% 20s 0, 0",
			"4s: 10% 20s 1, 4",
			"4.5s: -, 262144",
			"5.5s: 100% 0s 1, 1028", // the step has ended, and so has the rest of the log
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("beats (-want +got):\n%s", diff)
		}
		if f.at != 5500*time.Millisecond || f.log != "" {
			t.Errorf("finished after %v with %d bytes of log", f.at, len(f.log))
		}
	})
}

// TestBeatRefused leaves out what the server refuses, and keeps the lease.
func TestBeatRefused(t *testing.T) {
	t.Parallel()
	scene(t, func() *script {
		s := newScript(grant("t1"))
		s.onExtend = func(_ string, _ int, b worker.Beat) (worker.Extended, error) {
			if b.Progress != nil || b.Log != nil {
				return worker.Extended{}, errand.Errorf(errand.Invalid, "log", "no")
			}
			return worker.Extended{TTL: ttl}, nil
		}
		return s
	}, func(_ context.Context, j *worker.Job) error {
		j.Step("a")
		j.Logf("text")
		time.Sleep(time.Minute)
		return nil
	}, nil, func(t *testing.T, s *script, _ func()) {
		time.Sleep(2 * time.Minute)
		if f := onlyFinish(t, s); f.Status != errand.Succeeded || f.at != time.Minute {
			t.Errorf("outcome %+v after %v", f.Outcome, f.at)
		}
	})
}

// TestStaleGrant is given a task after a claim that took so long that the lease
// may be another's by now: it asks first, and does not begin if it is.
func TestStaleGrant(t *testing.T) {
	t.Parallel()
	for name, held := range map[string]bool{"lost": false, "held": true} {
		t.Run(name, func(t *testing.T) {
			var begun atomic.Bool
			scene(t, func() *script {
				s := newScript(grant("t1"))
				s.onClaim = func(n int) error {
					if n == 1 {
						time.Sleep(ttl) // the process stood still
					}
					return nil
				}
				s.onExtend = func(string, int, worker.Beat) (worker.Extended, error) {
					if !held {
						return worker.Extended{}, errand.Errorf(errand.LeaseLost, "lease", "no")
					}
					if begun.Load() {
						t.Error("the handler began before the lease was confirmed")
					}
					return worker.Extended{TTL: ttl}, nil
				}
				return s
			}, func(context.Context, *worker.Job) error {
				begun.Store(true)
				return nil
			}, nil, func(t *testing.T, s *script, _ func()) {
				time.Sleep(time.Minute)
				_, beats, finishes := s.told()
				if begun.Load() != held || len(beats) != 1 || (len(finishes) == 1) != held {
					t.Errorf("begun %v after %d beats, %d reports", begun.Load(), len(beats), len(finishes))
				}
			})
		})
	}
}

// TestLogTruncated sends no more once the server's log is full.
func TestLogTruncated(t *testing.T) {
	t.Parallel()
	scene(t, func() *script {
		s := newScript(grant("t1"))
		s.onExtend = func(string, int, worker.Beat) (worker.Extended, error) {
			return worker.Extended{TTL: ttl, LogTruncated: true}, nil
		}
		return s
	}, func(_ context.Context, j *worker.Job) error {
		for range 5 { // the first two go with the first beat
			j.Logf("line")
			time.Sleep(2 * time.Second)
		}
		return nil
	}, nil, func(t *testing.T, s *script, _ func()) {
		time.Sleep(time.Minute)
		sent := onlyFinish(t, s).log
		_, beats, _ := s.told()
		for _, b := range beats {
			sent += string(b.Log)
		}
		if sent != "line\nline\n" {
			t.Errorf("log %q", sent)
		}
	})
}

// TestFinishAgain repeats the report while the lease can live, and no longer.
func TestFinishAgain(t *testing.T) {
	t.Parallel()
	unavailable := errand.Errorf(errand.Unavailable, "server", "no")
	for _, tt := range []struct {
		name   string
		finish func(n int) error
		calls  func(int) bool
		last   errand.Outcome
	}{
		{"until it is heard", func(n int) error {
			if n < 4 {
				return unavailable
			}
			return nil
		}, func(n int) bool { return n == 4 }, errand.Outcome{Status: errand.Succeeded}},
		{"while the lease lives", func(int) error { return unavailable }, func(n int) bool { return n >= 6 && n <= 10 }, errand.Outcome{Status: errand.Succeeded}},
		{"an error that nobody classified", func(n int) error {
			if n == 1 {
				return errors.New("connection reset")
			}
			return nil
		}, func(n int) bool { return n == 2 }, errand.Outcome{Status: errand.Succeeded}},
		{"not if it is lost", func(int) error { return errand.Errorf(errand.LeaseLost, "lease", "no") }, func(n int) bool { return n == 1 }, errand.Outcome{Status: errand.Succeeded}},
		{"in other words if it is refused", func(n int) error {
			if n == 1 {
				return errand.Errorf(errand.Invalid, "result", "too odd")
			}
			return nil
		}, func(n int) bool { return n == 2 }, errand.Outcome{Status: errand.Failed, ErrorCode: "BadOutcome", Reason: "the worker's report was refused: too odd", Permanent: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			scene(t, func() *script {
				s := newScript(grant("t1"))
				s.onFinish = func(_ string, n int) error { return tt.finish(n) }
				return s
			}, func(context.Context, *worker.Job) error { return nil }, nil, func(t *testing.T, s *script, _ func()) {
				time.Sleep(time.Hour)
				_, beats, f := s.told()
				if !tt.calls(len(f)) {
					t.Fatalf("%d calls", len(f))
				}
				last := f[len(f)-1]
				if diff := cmp.Diff(tt.last, last.Outcome); diff != "" || last.at >= ttl || len(beats) > 0 {
					t.Errorf("last call after %v, %d beats (-want +got):\n%s", last.at, len(beats), diff)
				}
			})
		})
	}
}

// TestSize runs no more handlers than it may, and asks for no more.
func TestSize(t *testing.T) {
	t.Parallel()
	var running, most atomic.Int32
	scene(t, func() *script {
		s := newScript()
		for i := range 20 {
			s.grants <- grant(fmt.Sprint(i))
		}
		return s
	}, func(context.Context, *worker.Job) error {
		if n := running.Add(1); n > most.Load() {
			most.Store(n)
		}
		time.Sleep(time.Second)
		running.Add(-1)
		return nil
	}, func(p *worker.Pool) { p.Size = 3; p.Engines = []errand.Engine{errand.Redis} }, func(t *testing.T, s *script, _ func()) {
		time.Sleep(time.Minute)
		claims, _, f := s.told()
		if len(f) != 20 || most.Load() != 3 {
			t.Errorf("%d finished, %d at a time", len(f), most.Load())
		}
		for _, c := range claims {
			if want := (worker.ClaimRequest{Worker: "w", Operations: []string{"op"}, Engines: []errand.Engine{errand.Redis}, Limit: c.Limit, Wait: 30 * time.Second}); !cmp.Equal(c, want) || c.Limit < 1 || c.Limit > 3 {
				t.Errorf("claim %+v", c)
			}
		}
	})
}

// TestClaimFails asks again, ever more slowly, but gives up at once if it is
// refused from the beginning.
func TestClaimFails(t *testing.T) {
	t.Parallel()
	scene(t, func() *script {
		s := newScript(grant("t1"))
		s.onClaim = func(n int) error {
			if n <= 10 {
				return errors.New("connection refused")
			}
			if n == 13 { // no reason to give up any more
				return errand.Errorf(errand.Forbidden, "role", "no")
			}
			return nil
		}
		return s
	}, func(context.Context, *worker.Job) error { return nil }, nil, func(t *testing.T, s *script, _ func()) {
		time.Sleep(5 * time.Minute)
		claims, _, f := s.told()
		if len(f) != 1 || f[0].at < 12*time.Second || f[0].at > time.Minute || len(claims) < 14 {
			t.Errorf("%d claims, finished %+v", len(claims), f)
		}
	})
	for _, kind := range []errand.Kind{errand.Invalid, errand.Unauthenticated, errand.Forbidden, errand.NotFound} {
		s := newScript()
		no := errand.Errorf(kind, "role", "no")
		s.onClaim = func(int) error { return no }
		m := &worker.Mux{}
		m.Handle("op", func(context.Context, *worker.Job) error { return nil })
		if err := (&worker.Pool{Source: s, Mux: m}).Run(t.Context()); !errors.Is(err, no) {
			t.Errorf("Run = %v, want %v", err, no)
		}
	}
}

// TestAbandoned leaves a handler behind that does not stop: nothing is reported
// of it, it keeps its place, and nobody enters its lane before it returns.
func TestAbandoned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		deaf, next, third, other := grant("deaf"), grant("next"), grant("third"), grant("other")
		for _, g := range []worker.Grant{deaf, next, third} {
			g.Task.Run.Lane = "lane"
		}
		deaf.Task.Run.Timeout = time.Minute
		next.Task.Run.Timeout = 30 * time.Second // gives up while it waits
		s := newScript(deaf)
		wake := make(chan struct{})
		var mu sync.Mutex
		var all []string
		ran := func() []string {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(all)
		}
		m := &worker.Mux{}
		m.Handle("op", func(_ context.Context, j *worker.Job) error {
			mu.Lock()
			all = append(all, j.Task.ID)
			mu.Unlock()
			if j.Task.ID == "deaf" {
				<-wake
			}
			return nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		p := &worker.Pool{Source: s, Mux: m, Name: "w", Size: 2, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
		go func() { ended <- p.Run(ctx) }()

		time.Sleep(time.Minute + 9*time.Second) // the timeout and the grace are over
		_, before, _ := s.told()
		if last := before[len(before)-1].at; last > time.Minute+8*time.Second {
			t.Errorf("a beat after %v", last)
		}
		s.grants <- next
		time.Sleep(20 * time.Second)
		if len(ran()) != 1 {
			t.Fatalf("these have run: %v", ran())
		}
		time.Sleep(20 * time.Second) // now next is out of time
		if f := onlyFinish(t, s); f.token != next.Token || f.ErrorCode != "Timeout" || !strings.Contains(f.Reason, "the handler of task deaf, which is in the same lane, does not return") {
			t.Errorf("finish %+v", f)
		}
		s.grants <- third
		s.grants <- other // only one place is left, and third waits in it
		time.Sleep(20 * time.Second)
		_, beats, _ := s.told()
		log := ""
		for _, b := range beats {
			log += string(b.Log)
		}
		if len(ran()) != 1 || !strings.Contains(log, "[not started yet: the handler of task deaf on this worker") {
			t.Fatalf("these have run: %v; log %q", ran(), log)
		}
		close(wake)
		synctest.Wait()
		if got := ran(); len(got) != 3 || !slices.Contains(got, "third") || !slices.Contains(got, "other") {
			t.Errorf("these have run: %v", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
		_, _, f := s.told()
		for _, f := range f {
			if f.token == deaf.Token {
				t.Errorf("an abandoned handler was reported: %+v", f)
			}
		}
	})
}

// TestRunLeavesHandlersBehind says so when a handler outlives the pool.
func TestRunLeavesHandlersBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, wake := newScript(grant("t1")), make(chan struct{})
		m := &worker.Mux{}
		m.Handle("op", func(context.Context, *worker.Job) error { <-wake; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(time.Second, cancel)
		err := (&worker.Pool{Source: s, Mux: m, StopTimeout: time.Minute, Grace: 5 * time.Second}).Run(ctx)
		if err == nil || !strings.Contains(err.Error(), "1 handlers did not stop") || time.Since(began) != time.Second+time.Minute+5*time.Second {
			t.Errorf("Run = %v after %v", err, time.Since(began))
		}
		close(wake)
	})
}

// TestStopLetsHandlersEnd gives handlers their time, and starts nothing new.
func TestStopLetsHandlersEnd(t *testing.T) {
	t.Parallel()
	scene(t, func() *script { return newScript(grant("t1")) },
		func(context.Context, *worker.Job) error { time.Sleep(20 * time.Second); return nil }, nil,
		func(t *testing.T, s *script, stop func()) {
			time.Sleep(time.Second)
			stop()
			synctest.Wait()
			s.grants <- grant("t2")
			time.Sleep(time.Minute)
			if f := onlyFinish(t, s); f.Status != errand.Succeeded || f.at != 20*time.Second {
				t.Errorf("outcome %+v after %v", f.Outcome, f.at)
			}
		})
}

// TestHungSource keeps the lease with the next call when one hangs.
func TestHungSource(t *testing.T) {
	t.Parallel()
	scene(t, func() *script {
		s := newScript(grant("t1"))
		s.hangs = 2
		return s
	}, func(ctx context.Context, _ *worker.Job) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Minute):
			return nil
		}
	}, nil, func(t *testing.T, s *script, _ func()) {
		time.Sleep(2 * time.Minute)
		if f := onlyFinish(t, s); f.Status != errand.Succeeded {
			t.Errorf("outcome %+v", f.Outcome)
		}
	})
}

func TestMuxPanics(t *testing.T) {
	t.Parallel()
	h := func(context.Context, *worker.Job) error { return nil }
	for name, f := range map[string]func(*worker.Mux){
		"no name":    func(m *worker.Mux) { m.Handle("", h) },
		"no handler": func(m *worker.Mux) { m.Handle("x", nil) },
		"twice":      func(m *worker.Mux) { m.Handle("x", h); m.Handle("x", h) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f(&worker.Mux{})
		}()
	}
}

func TestPoolNeedsParts(t *testing.T) {
	t.Parallel()
	for _, p := range []*worker.Pool{{}, {Source: newScript()}, {Source: newScript(), Mux: &worker.Mux{}}} {
		if err := p.Run(t.Context()); err == nil {
			t.Error("a pool without its parts runs")
		}
	}
}
