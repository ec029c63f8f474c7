package worker_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/worker"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	secret := map[string]string{"password": "s3cr3t!"}
	for _, tt := range []struct {
		name    string
		handler worker.Handler
		want    errand.Outcome
		log     string
	}{
		{name: "success", handler: func(context.Context, *worker.Job) error { return nil }, want: errand.Outcome{Status: errand.Succeeded}},
		{
			name: "result and log",
			handler: func(_ context.Context, j *worker.Job) error {
				var p struct{ N int }
				if err := j.Params(&p); err != nil {
					return err
				}
				j.Logf("n is %d", p.N)
				return j.Result(map[string]any{"n": p.N, "said": "s3cr3t!"})
			},
			want: errand.Outcome{Status: errand.Succeeded, Result: []byte(`{"n":1,"said":"***"}`)}, log: "n is 1\n",
		},
		{
			name:    "failure",
			handler: func(context.Context, *worker.Job) error { return errors.New("no route") },
			want:    errand.Outcome{Status: errand.Failed, Reason: "no route"},
		},
		{
			name: "permanent failure with a code",
			handler: func(context.Context, *worker.Job) error {
				return fmt.Errorf("extend: %w", worker.Permanent(worker.WithCode("DCS.4011", errors.New("quota"))))
			},
			want: errand.Outcome{Status: errand.Failed, ErrorCode: "DCS.4011", Reason: "extend: quota", Permanent: true},
		},
		{
			name:    "wrong params",
			handler: func(_ context.Context, j *worker.Job) error { return j.Params(&[]int{}) },
			want:    errand.Outcome{Status: errand.Failed, Permanent: true, Reason: "params: json: cannot unmarshal object into Go value of type []int"},
		},
		{
			name:    "panic",
			handler: func(context.Context, *worker.Job) error { panic("with s3cr3t!") },
			want:    errand.Outcome{Status: errand.Failed, ErrorCode: "Panic", Reason: "the handler panicked: with ***"},
		},
		{
			name:    "goexit",
			handler: func(context.Context, *worker.Job) error { runtime.Goexit(); return nil },
			want:    errand.Outcome{Status: errand.Failed, Reason: "the handler ended its goroutine"},
		},
		{
			name: "a reason that is too long, broken, and names a secret",
			handler: func(context.Context, *worker.Job) error {
				return errors.New("s3cr3t!\xff\x00" + strings.Repeat("x", 2000))
			},
			want: errand.Outcome{Status: errand.Failed, Reason: "***\uFFFD\uFFFD" + strings.Repeat("x", 1024-3-6-3) + "…"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := grant("t1")
			g.Secrets = secret
			scene(t, func() *script { return newScript(g) }, tt.handler, nil, func(t *testing.T, s *script, _ func()) {
				f := onlyFinish(t, s)
				if diff := cmp.Diff(tt.want, f.Outcome); diff != "" {
					t.Errorf("outcome (-want +got):\n%s", diff)
				}
				if f.log != tt.log || f.token != g.Token || f.at != 0 {
					t.Errorf("log %q, token %q after %v", f.log, f.token, f.at)
				}
				if err := f.Validate(); err != nil {
					t.Errorf("the server would refuse it: %v", err)
				}
			})
		})
	}
}

func TestErrorsOfNil(t *testing.T) {
	t.Parallel()
	if worker.Permanent(nil) != nil || worker.WithCode("x", nil) != nil {
		t.Error("no error became one")
	}
}

func TestResultLimits(t *testing.T) {
	t.Parallel()
	for _, v := range []any{strings.Repeat("x", 64<<10), make(chan int)} {
		scene(t, func() *script { return newScript(grant("t1")) },
			func(_ context.Context, j *worker.Job) error { return j.Result(v) }, nil,
			func(t *testing.T, s *script, _ func()) {
				if f := onlyFinish(t, s); f.Status != errand.Failed || !strings.HasPrefix(f.Reason, "result: ") || f.Result != nil {
					t.Errorf("outcome %+v", f.Outcome)
				}
			})
	}
}

// TestStops ends the handler's context for every reason there is.
func TestStops(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		extend  func(token string, n int, b worker.Beat) (worker.Extended, error)
		timeout time.Duration
		stop    bool
		cause   error
		after   time.Duration
		want    *errand.Outcome // nil: nothing is reported
	}{
		{
			name: "asked to stop",
			extend: func(string, int, worker.Beat) (worker.Extended, error) {
				return worker.Extended{TTL: ttl, Stop: true, Reason: "wrong instance"}, nil
			},
			cause: worker.ErrStopped, after: ttl / 3, want: &errand.Outcome{Status: errand.Cancelled, Reason: "wrong instance"},
		},
		{
			name: "out of time", timeout: time.Minute, cause: worker.ErrTimeout, after: time.Minute,
			want: &errand.Outcome{Status: errand.Failed, ErrorCode: "Timeout", Reason: "the attempt took longer than 1m0s: i/o"},
		},
		{
			name: "the worker stops", stop: true, cause: worker.ErrStopping, after: 30 * time.Second,
			want: &errand.Outcome{Status: errand.Failed, ErrorCode: "WorkerStopped", Reason: "worker w was stopped: i/o"},
		},
		{
			name: "lease taken over",
			extend: func(_ string, n int, _ worker.Beat) (worker.Extended, error) {
				if n == 3 {
					return worker.Extended{}, errand.Errorf(errand.LeaseLost, "lease", "no")
				}
				return worker.Extended{TTL: ttl}, nil
			},
			cause: worker.ErrLeaseLost, after: ttl,
		},
		{
			name: "server not reached for as long as the lease lives",
			extend: func(_ string, n int, _ worker.Beat) (worker.Extended, error) {
				if n == 1 {
					return worker.Extended{TTL: ttl}, nil
				}
				return worker.Extended{}, errand.Errorf(errand.Unavailable, "server", "no")
			},
			cause: worker.ErrLeaseLost, after: ttl/3 + ttl,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := grant("t1")
			g.Task.Run.Timeout = tt.timeout
			var stopped time.Duration
			var cause error
			scene(t, func() *script { s := newScript(g); s.onExtend = tt.extend; return s },
				func(ctx context.Context, _ *worker.Job) error {
					began := time.Now()
					<-ctx.Done()
					stopped, cause = time.Since(began), context.Cause(ctx)
					return worker.Permanent(errors.New("i/o"))
				}, nil,
				func(t *testing.T, s *script, stop func()) {
					if synctest.Wait(); tt.stop {
						stop()
					}
					time.Sleep(tt.after + time.Nanosecond) // of the bubble's time
					synctest.Wait()
					if stopped != tt.after || !errors.Is(cause, tt.cause) {
						t.Errorf("the handler was stopped after %v because %v, want %v, %v", stopped, cause, tt.after, tt.cause)
					}
					if tt.want == nil {
						if _, _, f := s.told(); len(f) != 0 {
							t.Errorf("a lost lease was finished: %+v", f)
						}
						return
					}
					if diff := cmp.Diff(*tt.want, onlyFinish(t, s).Outcome); diff != "" {
						t.Errorf("outcome (-want +got):\n%s", diff)
					}
				})
		})
	}
}

// TestSuccessAfterStop keeps the word of a handler that had finished.
func TestSuccessAfterStop(t *testing.T) {
	t.Parallel()
	scene(t, func() *script {
		s := newScript(grant("t1"))
		s.onExtend = func(string, int, worker.Beat) (worker.Extended, error) {
			return worker.Extended{TTL: ttl, Stop: true}, nil
		}
		return s
	}, func(ctx context.Context, _ *worker.Job) error { <-ctx.Done(); return nil }, nil,
		func(t *testing.T, s *script, _ func()) {
			time.Sleep(ttl)
			if f := onlyFinish(t, s); f.Status != errand.Succeeded {
				t.Errorf("outcome %+v", f.Outcome)
			}
		})
}
