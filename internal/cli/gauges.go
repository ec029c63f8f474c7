package cli

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/errandhq/errand/internal/tasks"
)

// memberGauges adds to a server's metrics what it knows of the nodes that share
// its database. All of it is in memory.
func memberGauges(to prometheus.Registerer, m *tasks.Member) {
	for _, g := range []struct {
		name, help string
		value      func(tasks.Meeting) float64
	}{
		{"errand_nodes", "Servers that share the database, this one included, when they last met.", func(k tasks.Meeting) float64 { return float64(1 + len(k.Nodes)) }},
		{"errand_node_met_seconds", "Time since this server last met the others; -1 before the first time.", func(k tasks.Meeting) float64 { return k.Age.Seconds() }},
		{"errand_clock_skew_seconds", "How far this machine's clock is ahead of the database's, which is used instead.", func(k tasks.Meeting) float64 { return k.Skew.Seconds() }},
	} {
		to.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return g.value(m.Meeting()) }))
	}
}

// The bounds of what a scrape costs the database.
const (
	backlogEvery   = 5 * time.Second
	backlogTimeout = 3 * time.Second
)

// backlogGauges tells a server's metrics how much there is to do. Without an
// answer of the store there are no such metrics, rather than old ones.
type backlogGauges struct {
	runs       *tasks.Runs
	tasks, age *prometheus.Desc

	mu   sync.Mutex
	read time.Time
	last tasks.Backlog
	wait time.Duration // of the oldest that is ready
	err  error
}

func newBacklogGauges(runs *tasks.Runs) *backlogGauges {
	return &backlogGauges{
		runs:  runs,
		tasks: prometheus.NewDesc("errand_tasks", "Tasks that have not ended: running, ready (waiting for a worker), behind (others in their lane), later (not to be run yet).", []string{"state"}, nil),
		age:   prometheus.NewDesc("errand_oldest_ready_seconds", "How long the task has waited that waits for a worker longest; 0 if none does.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (g *backlogGauges) Describe(out chan<- *prometheus.Desc) { out <- g.tasks; out <- g.age }

// Collect implements prometheus.Collector.
func (g *backlogGauges) Collect(out chan<- prometheus.Metric) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.read) > backlogEvery {
		g.look()
	}
	if g.err != nil {
		return
	}
	for state, n := range map[string]int{"running": g.last.Running, "ready": g.last.Ready, "behind": g.last.Behind, "later": g.last.Later} {
		out <- prometheus.MustNewConstMetric(g.tasks, prometheus.GaugeValue, float64(n), state)
	}
	out <- prometheus.MustNewConstMetric(g.age, prometheus.GaugeValue, g.wait.Seconds())
}

func (g *backlogGauges) look() {
	ctx, cancel := context.WithTimeout(context.Background(), backlogTimeout)
	defer cancel()
	var now time.Time
	g.last, now, g.err = g.runs.Backlog(ctx)
	g.read, g.wait = time.Now(), 0
	if !g.last.Oldest.IsZero() {
		g.wait = max(0, now.Sub(g.last.Oldest))
	}
}
