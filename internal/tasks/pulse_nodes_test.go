package tasks_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/errandhq/errand"
	"github.com/errandhq/errand/internal/pgtest"
	"github.com/errandhq/errand/internal/postgres"
	"github.com/errandhq/errand/internal/tasks"
)

// TestMarkOfAnotherNode wants a node to see within a second what another has
// changed, even if nobody told it.
func TestMarkOfAnotherNode(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a real PostgreSQL")
	}
	t.Parallel()
	pg := pgtest.Start(t, pgtest.Fast...)
	url := pg.URL(pg.Database(t, ""))
	at := now
	var nodes [2]*world
	for n := range nodes {
		store, err := postgres.Open(t.Context(), url, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = store.Close() })
		w := &world{t: t, now: at, svc: tasks.New(store, func() time.Time { return at })}
		w.Runs = runsOver(t, w.svc, store)
		clock, err := tasks.NewClock(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		w.Join(store, clock, tasks.Node{ID: []string{"a", "b"}[n]}, func() {}, slog.New(slog.DiscardHandler))
		nodes[n] = w
	}
	a, b := nodes[0], nodes[1]
	if _, err := a.svc.Register(t.Context(), as(errand.Admin), errand.Instance{Project: project, ID: kafkaID, Name: "kafka", Engine: errand.Kafka}); err != nil {
		t.Fatal(err)
	}
	before := b.mark("", "")
	a.submit(kafkaID, tasks.Submission{Operation: "EXTEND"})
	at = at.Add(time.Second)
	told := b.mark("", "")
	if told == before {
		t.Error("a submission on another node is not seen")
	}
	g := a.claim("w1", "EXTEND")[0]
	at = at.Add(time.Second)
	before = b.mark("", g.Task.ID)
	a.beat(g, 10)
	at = at.Add(time.Second)
	if m := b.mark("", g.Task.ID); m == before {
		t.Error("progress on another node is not seen")
	}
	o, err := b.Overview(t.Context(), as(errand.Viewer), project)
	if err != nil || o.Running != 1 || o.Hours[23].Submitted+o.Hours[22].Submitted != 1 {
		t.Errorf("overview is %+v, %v", o, err)
	}
}
