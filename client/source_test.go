package client_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/client"
	"github.com/errandhq/errand/internal/openapitest"
	"github.com/errandhq/errand/internal/sqlite"
	"github.com/errandhq/errand/internal/wire"
	"github.com/errandhq/errand/internal/wire/native"
	"github.com/errandhq/errand/internal/workertest"
	"github.com/errandhq/errand/worker"
)

// worksIn takes everybody for a worker of a project: who signed is not what a
// source is about, and the server's clock is the test's.
type worksIn string

func (p worksIn) Authenticate(*http.Request) (errand.Principal, error) {
	return errand.Principal{User: errand.User{ID: "w", Name: "w"}, Project: string(p), Role: errand.Worker}, nil
}

// TestSource holds the source of tasks over HTTP against the contract that the
// one in the server's process keeps too.
func TestSource(t *testing.T) {
	t.Parallel()
	workertest.RunSource(t, func(t *testing.T) workertest.Store {
		store, err := sqlite.Open(filepath.Join(t.TempDir(), "errand.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		return store
	}, func(t *testing.T, s *workertest.Server) worker.Source {
		api := native.New(native.Deps{Tasks: s.Service, Auth: worksIn(s.Project), Now: s.Now, Runs: s.Runs, Operations: s.Catalog.Operations})
		srv := httptest.NewServer(openapitest.Wrap(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			api.ServeHTTP(w, wire.Begin(w, r, &wire.Exchange{ID: errand.NewID(time.Now())}))
		})))
		t.Cleanup(srv.Close)
		c, err := client.New(client.Options{Server: srv.URL, Access: "AK", Secret: "SK"})
		if err != nil {
			t.Fatal(err)
		}
		return c.Source(s.Project)
	})
}
