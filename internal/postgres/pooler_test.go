package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/storetest"
	"github.com/errandhq/errand/internal/tasks"
)

func names(all ...[]setting) string {
	var names []string
	for _, s := range slices.Concat(all...) {
		names = append(names, s.name)
	}
	return strings.Join(names, ",")
}

// TestPooler holds the store to its whole contract behind a PgBouncer that hands
// connections from transaction to transaction: one that refuses the settings of
// sessions, and one that loses them.
func TestPooler(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a real server")
	}
	for name, settings := range map[string][]string{
		"refuses": nil,
		"loses":   {"ignore_startup_parameters = " + names(readSettings, writeSettings)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := realServer(t).Bouncer(t, settings...)
			open := func(t *testing.T) *Store {
				s := openAt(t, url(newDatabase(t)))
				if !s.target.pooled {
					t.Error("the pooler was not noticed")
				}
				t.Cleanup(func() {
					checkCounts(t, s)
					checkLive(t, s)
				})
				return s
			}
			if settings != nil {
				t.Run("auth", func(t *testing.T) { storetest.RunAuth(t, func(t *testing.T) auth.Store { return open(t) }) })
				return
			}
			t.Run("store", func(t *testing.T) { storetest.Run(t, func(t *testing.T) tasks.Store { return open(t) }) })
			t.Run("queue", func(t *testing.T) { storetest.RunQueue(t, func(t *testing.T) storetest.Queue { return open(t) }) })
			t.Run("auth", func(t *testing.T) { storetest.RunAuth(t, func(t *testing.T) auth.Store { return open(t) }) })
			t.Run("cluster", func(t *testing.T) {
				storetest.RunCluster(t, func(t *testing.T) func() storetest.Node {
					db := url(newDatabase(t))
					return func() storetest.Node { return openAt(t, db) }
				})
			})
		})
	}
}

// TestPoolerTakesNoCopy: the lock of who copies is a session's.
func TestPoolerTakesNoCopy(t *testing.T) {
	t.Parallel()
	url := realServer(t).Bouncer(t)
	_, err := DumpTarget(t.Context(), url(newDatabase(t)))
	if e := errand.ErrorOf(err); e == nil || e.Kind != errand.Invalid || e.Subject != "target" {
		t.Errorf("a copy into a pooler: %v", err)
	}
}
