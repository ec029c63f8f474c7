// Package workertest tests what runs tasks: handlers by themselves, and sources
// by one suite.
package workertest

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/worker"
)

// Trial is one attempt of a task that a pool runs.
type Trial struct {
	Handler worker.Handler
	Task    *errand.Task // its operation has the handler
	Secrets map[string]string
}

// Report is what the server would know of a trial.
type Report struct {
	errand.Outcome
	Log      string
	Progress *errand.Progress // the last
}

// Run runs the attempt to its end.
func (x Trial) Run(t *testing.T) Report {
	t.Helper()
	r, err := Attempt(t.Context(), x.Handler, x.Task, x.Secrets)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Attempt is Trial.Run outside of a test.
func Attempt(ctx context.Context, h worker.Handler, task *errand.Task, secrets map[string]string) (Report, error) {
	if task.Run == nil {
		task.Run = &errand.Run{Attempts: []errand.Attempt{{Worker: "trial"}}}
	}
	m := &worker.Mux{}
	m.Handle(task.Operation, h)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &once{grant: worker.Grant{Task: task, Token: "token", Secrets: secrets, TTL: time.Minute}, ended: cancel}
	p := &worker.Pool{Source: s, Mux: m, Name: "trial", Size: 1, Log: slog.New(slog.DiscardHandler), StopTimeout: time.Minute}
	err := p.Run(ctx)
	return Report{s.outcome, s.log.String(), s.progress}, err
}

// once is a source of one task.
type once struct {
	grant worker.Grant
	ended func()

	mu       sync.Mutex
	given    bool
	outcome  errand.Outcome
	log      strings.Builder
	progress *errand.Progress
}

func (s *once) Claim(ctx context.Context, _ worker.ClaimRequest) ([]worker.Grant, error) {
	s.mu.Lock()
	given := s.given
	s.given = true
	s.mu.Unlock()
	if given {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return []worker.Grant{s.grant}, nil
}

func (s *once) Extend(_ context.Context, _ string, b worker.Beat) (worker.Extended, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Write(b.Log)
	if b.Progress != nil {
		s.progress = b.Progress
	}
	return worker.Extended{TTL: time.Minute}, nil
}

func (s *once) Finish(_ context.Context, _ string, o errand.Outcome, log []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Write(log)
	s.outcome = o
	s.ended()
	return nil
}
