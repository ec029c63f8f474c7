package tasks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/auth"
	"github.com/errandhq/errand/internal/pgtest"
	"github.com/errandhq/errand/internal/postgres"
	"github.com/errandhq/errand/internal/tasks"
)

// nodesHistory records what callers did to one lane by way of several nodes that
// share a database.
func nodesHistory(t *testing.T, url string, seed uint64, clients, calls int) []porcupine.Operation {
	t.Helper()
	sealer, err := auth.NewSealer(make([]byte, auth.MasterKeySize))
	if err != nil {
		t.Fatal(err)
	}
	again := shelf{"EXTEND": {Lane: "instance", MaxAttempts: attempts, OnLost: errand.FailWhenLost}}
	s := &callers{}
	for n := range 3 {
		store, err := postgres.Open(t.Context(), url, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		svc := tasks.New(store, func() time.Time { return now })
		if n == 0 {
			if _, err := svc.Register(t.Context(), as(errand.Admin), errand.Instance{Project: project, ID: kafkaID, Name: "kafka", Engine: errand.Kafka}); err != nil {
				t.Fatal(err)
			}
		}
		s.nodes = append(s.nodes, tasks.NewRuns(svc, store, again, sealer, tasks.RunOptions{}))
	}
	return s.record(t, seed, clients, calls)
}

// TestLaneIsLinearizableAcrossNodes is TestLaneIsLinearizable by way of three
// nodes on PostgreSQL.
func TestLaneIsLinearizableAcrossNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real PostgreSQL")
	}
	t.Parallel()
	pg := pgtest.Start(t, pgtest.Fast...)
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			history := nodesHistory(t, pg.URL(pg.Database(t, "")), seed, 6, 40)
			if !porcupine.CheckOperations(laneModel, history) {
				t.Errorf("no order of these calls explains their answers:\n%s", told(history))
			}
			// The same with a claim of another task must not pass.
			at := slices.IndexFunc(history, func(o porcupine.Operation) bool { return o.Output.(answer).token != "" })
			if at < 0 {
				t.Fatal("nothing was claimed")
			}
			forged := slices.Clone(history)
			forged[at].Output = answer{id: strings.Repeat("0", 32), token: forged[at].Output.(answer).token}
			if porcupine.CheckOperations(laneModel, forged) {
				t.Error("a history with a claim of a task that nobody submitted passes")
			}
		})
	}
}
