package worker_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/worker"
)

const ttl = 9 * time.Second // a beat every 3 s

// script is a source that a test writes: what it grants and how it answers. It
// keeps what it was told.
type script struct {
	grants chan worker.Grant // given out one at a time

	// The answers; nil functions say yes.
	onClaim  func(n int) error
	onExtend func(token string, n int, b worker.Beat) (worker.Extended, error)
	onFinish func(token string, n int) error
	hangs    int // the beat that is never answered

	mu       sync.Mutex
	began    time.Time
	claims   []worker.ClaimRequest
	beats    []beat
	finishes []finish
}

type beat struct {
	at    time.Duration
	token string
	worker.Beat
}

type finish struct {
	at    time.Duration
	token string
	errand.Outcome
	log string
}

func newScript(grants ...worker.Grant) *script {
	s := &script{grants: make(chan worker.Grant, 100), began: time.Now()}
	for _, g := range grants {
		s.grants <- g
	}
	return s
}

func (s *script) Claim(ctx context.Context, c worker.ClaimRequest) ([]worker.Grant, error) {
	s.mu.Lock()
	s.claims = append(s.claims, c)
	n := len(s.claims)
	s.mu.Unlock()
	if s.onClaim != nil {
		if err := s.onClaim(n); err != nil {
			return nil, err
		}
	}
	wait := time.NewTimer(c.Wait)
	defer wait.Stop()
	select {
	case g := <-s.grants:
		return []worker.Grant{g}, nil
	case <-wait.C:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *script) Extend(ctx context.Context, token string, b worker.Beat) (worker.Extended, error) {
	s.mu.Lock()
	s.beats = append(s.beats, beat{time.Since(s.began), token, b})
	n := len(s.beats)
	s.mu.Unlock()
	if n == s.hangs {
		<-ctx.Done()
		return worker.Extended{}, ctx.Err()
	}
	if s.onExtend != nil {
		return s.onExtend(token, n, b)
	}
	return worker.Extended{TTL: ttl}, nil
}

func (s *script) Finish(_ context.Context, token string, o errand.Outcome, log []byte) error {
	s.mu.Lock()
	s.finishes = append(s.finishes, finish{time.Since(s.began), token, o, string(log)})
	n := len(s.finishes)
	s.mu.Unlock()
	if s.onFinish != nil {
		return s.onFinish(token, n)
	}
	return nil
}

func (s *script) told() ([]worker.ClaimRequest, []beat, []finish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.claims), slices.Clone(s.beats), slices.Clone(s.finishes)
}

func grant(id string) worker.Grant {
	return worker.Grant{
		Token: "token of " + id, TTL: ttl,
		Task: &errand.Task{
			ID: id, Project: "p", Instance: "i", Engine: errand.Redis, Operation: "op", Params: `{"n":1}`, Status: errand.Running,
			Run: &errand.Run{Lane: "lane " + id, Attempts: []errand.Attempt{{Worker: "w"}}},
		},
	}
}

// scene runs a pool over a script under fake time. play is called with the pool
// running; ending its context is what stops the pool.
func scene(t *testing.T, s func() *script, h worker.Handler, set func(*worker.Pool), play func(t *testing.T, s *script, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		src := s()
		m := &worker.Mux{}
		m.Handle("op", h)
		p := &worker.Pool{Source: src, Mux: m, Name: "w", Size: 2, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
		if set != nil {
			set(p)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.Run(ctx) }()
		play(t, src, cancel)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// onlyFinish waits until everything is quiet and returns the one finish.
func onlyFinish(t *testing.T, s *script) finish {
	t.Helper()
	synctest.Wait()
	_, _, f := s.told()
	if len(f) != 1 {
		t.Fatalf("%d attempts were finished: %+v", len(f), f)
	}
	return f[0]
}
