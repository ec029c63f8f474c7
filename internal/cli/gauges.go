package cli

import (
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
