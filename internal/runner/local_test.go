package runner_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/runner"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/internal/workertest"
	"github.com/errandhq/errand/worker"
)

func openStore(t *testing.T) workertest.Store {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(t.TempDir(), "errand.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func TestLocal(t *testing.T) {
	t.Parallel()
	workertest.RunSource(t, openStore, func(_ *testing.T, s *workertest.Server) worker.Source { return runner.Local(s.Runs) })
}

// TestRunner runs what is declared, for every project, and leaves alone what
// other workers run.
func TestRunner(t *testing.T) {
	t.Parallel()
	s := workertest.NewServer(t, openStore(t), `---
engine: redis
name: script
lane: other
secrets: [password]
runner: {program: {path: /bin/sh, args: [-c, 'cat <&3; echo "{\"result\":$(cat)}"']}}
---
engine: redis
name: pretend
runner: {simulate: {steps: [{name: a, duration: 1h}]}}
`)
	there := s.Within(t, strings.Repeat("0b", 16))
	r, err := runner.New(s.Runs, s.Catalog.Entries(), runner.Options{Dir: t.TempDir(), Wait: func(context.Context, time.Duration) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Operations(errand.Redis); !slices.Equal(got, []string{"pretend", "script"}) || r.Operations(errand.Kafka) != nil {
		t.Errorf("operations %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()

	remote := s.Submit(t, "again", `{}`, nil)
	for _, s := range []*workertest.Server{s, there} {
		id := s.Submit(t, "script", `{"n":5}`, map[string]string{"password": "s3cret"})
		x := s.Final(t, id)
		var result struct{ Params json.RawMessage }
		if err := json.Unmarshal(x.Run.Result, &result); err != nil || string(result.Params) != `{"n":5}` || x.Status != errand.Succeeded {
			t.Errorf("task %+v, result %s: %v", x, x.Run.Result, err)
		}
		if log := s.Log(t, id); log != "{\"password\":\"***\"}\n" {
			t.Errorf("log %q", log)
		}
		workers, err := s.Runs.Workers(s.Admin(), s.Project)
		if err != nil || len(workers) != 1 || workers[0].Name != "local/redis" || !slices.Equal(workers[0].Engines, []errand.Engine{errand.Redis}) {
			t.Errorf("workers %+v, %v", workers, err)
		}
		why, err := s.Runs.Why(t.Context(), s.Admin(), s.Project, id)
		if err != nil || why.Code != tasks.WhyEnded {
			t.Errorf("why %+v, %v", why, err)
		}
	}
	if x := there.Final(t, there.Submit(t, "pretend", `{}`, nil)); x.Status != errand.Succeeded || x.Progress == nil || len(x.Progress.Steps) != 1 {
		t.Errorf("task %+v", x)
	}
	if why, err := s.Runs.Why(t.Context(), s.Admin(), s.Project, remote); err != nil || why.Code != tasks.WhyNoWorker {
		t.Errorf("why %+v, %v", why, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestClaimAllIsOurs: no credential claims for every project.
func TestClaimAllIsOurs(t *testing.T) {
	t.Parallel()
	s := workertest.NewServer(t, openStore(t))
	c := tasks.ClaimRequest{Worker: "w", Operations: []string{"work"}, Limit: 1}
	for _, p := range []errand.Principal{s.Admin(), {Role: errand.Admin}, {Role: errand.Operator}, {Role: errand.Worker, Project: s.Project}} {
		if _, err := s.Runs.ClaimAll(t.Context(), p, c); errand.ErrorOf(err) == nil || errand.ErrorOf(err).Kind != errand.Forbidden {
			t.Errorf("ClaimAll as %+v = %v", p, err)
		}
	}
}

// TestLimits: what a worker may send at a time is what the rules take.
func TestLimits(t *testing.T) {
	t.Parallel()
	if worker.MaxClaim != tasks.MaxClaim || worker.MaxLogWrite != tasks.MaxLogWrite {
		t.Error("the limits of worker and tasks differ")
	}
}
