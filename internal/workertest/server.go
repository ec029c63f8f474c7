package workertest

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/catalog"
	"github.com/errandhq/errand/internal/tasks"
	"github.com/errandhq/errand/worker"
)

// Store is what a server keeps its tasks in.
type Store interface {
	tasks.Store
	tasks.Queue
}

// Server is the rules over a store with an instance and two operations, "work"
// (one attempt, a secret "password") and "again" (three attempts, also when a
// worker is lost), and a clock that the test moves.
type Server struct {
	Service *tasks.Service
	Runs    *tasks.Runs
	Catalog *catalog.Catalog
	Project string

	mu  sync.Mutex
	now time.Time
}

// Admin is who submits and looks.
func (s *Server) Admin() errand.Principal {
	return errand.Principal{User: errand.User{ID: "ann", Name: "ann"}, Project: s.Project, Role: errand.Admin}
}

// lease is long enough for a busy machine, and short enough for a test to wait
// for a third of it.
const lease = 3 * time.Second

const declared = `
engine: redis
name: work
lane: instance
secrets: [password]
---
engine: redis
name: again
attempts: 3
backoff: {base: 1s, max: 1s}
on_lost: retry
`

// Instance is the one that the server knows.
const Instance = "11111111-2222-3333-4444-000000000001"

// NewServer returns a server over an empty store, with more operations where the
// test declares some.
func NewServer(t *testing.T, store Store, operations ...string) *Server {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "operations.yaml"), []byte(declared+strings.Join(operations, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := auth.NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Catalog: c, Project: strings.Repeat("0a", 16), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	s.Service = tasks.New(store, s.Now)
	s.Runs = tasks.NewRuns(s.Service, store, c, sealer, tasks.RunOptions{Lease: lease})
	s.register(t, s.Project)
	return s
}

func (s *Server) register(t *testing.T, project string) {
	t.Helper()
	p, i := s.Admin(), errand.Instance{Project: project, ID: Instance, Name: "cache", Engine: errand.Redis}
	p.Project = project
	if _, err := s.Service.Register(t.Context(), p, i); err != nil {
		t.Fatal(err)
	}
}

// Within returns the same server as seen from another project.
func (s *Server) Within(t *testing.T, project string) *Server {
	t.Helper()
	s.register(t, project)
	return &Server{Service: s.Service, Runs: s.Runs, Catalog: s.Catalog, Project: project, now: s.Now()}
}

// Now is the server's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Pass moves the clock, and sweeps.
func (s *Server) Pass(t *testing.T, d time.Duration) {
	t.Helper()
	s.mu.Lock()
	s.now = s.now.Add(d)
	s.mu.Unlock()
	if _, _, err := s.Runs.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Submit submits an operation and returns the task's id.
func (s *Server) Submit(t *testing.T, operation, params string, secrets map[string]string) string {
	t.Helper()
	x, err := s.Runs.Submit(t.Context(), s.Admin(), s.Project, Instance, tasks.Submission{Operation: operation, Params: []byte(params), Secrets: secrets})
	if err != nil {
		t.Fatal(err)
	}
	return x.ID
}

// Await returns a task once it is as the test wants it.
func (s *Server) Await(t *testing.T, id string, want func(*errand.Task) bool) *errand.Task {
	t.Helper()
	for {
		changed := s.Runs.Changed()
		x, err := s.Runs.Get(t.Context(), s.Admin(), s.Project, id)
		if err != nil {
			t.Fatal(err)
		}
		if want(x) {
			return x
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatalf("the task is still %s: %+v", x.Status, x.Run)
		}
	}
}

// Final waits for the end of a task.
func (s *Server) Final(t *testing.T, id string) *errand.Task {
	t.Helper()
	return s.Await(t, id, func(x *errand.Task) bool { return x.Status.Final() })
}

// Log returns what a task's attempts wrote.
func (s *Server) Log(t *testing.T, id string) string {
	t.Helper()
	text, _, err := s.Runs.Log(t.Context(), s.Admin(), s.Project, id, 0, tasks.MaxLogRead)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Work runs a pool with one handler for both operations until the test ends.
func (s *Server) Work(t *testing.T, source worker.Source, h worker.Handler) {
	t.Helper()
	m := &worker.Mux{}
	m.Handle("work", h)
	m.Handle("again", h)
	p := &worker.Pool{Source: source, Mux: m, Name: "pool", Size: 3, Log: slog.New(slog.DiscardHandler), StopTimeout: 10 * time.Second}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}
