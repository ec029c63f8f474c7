package server

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// metrics are labelled by what the program knows in advance, never by project,
// instance or user: their number must not grow with what is kept.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight gauge
}

// gauge is a count that is cheap to change from many goroutines and to read.
type gauge struct{ n atomic.Int64 }

func (g *gauge) Inc() { g.n.Add(1) }
func (g *gauge) Dec() { g.n.Add(-1) }

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "errand_http_requests_total",
			Help: "Requests answered, by dialect, route pattern, method and class of status.",
		}, []string{"dialect", "route", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "errand_http_request_duration_seconds",
			Help:    "Time from the end of a request's header to the end of its answer.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10},
		}, []string{"dialect", "route"}),
	}
	inFlight := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "errand_http_requests_in_flight",
		Help: "Requests that are being answered now.",
	}, func() float64 { return float64(m.inFlightNow()) })
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "errand_build_info",
		Help:        "Always 1; the labels tell the version.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	}, func() float64 { return 1 })
	m.registry.MustRegister(m.requests, m.duration, inFlight, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) inFlightNow() int64 { return m.inFlight.n.Load() }

func (m *metrics) observe(q *request, method string, took time.Duration) {
	dialect, route := q.exchange.Dialect, routeLabel(q.exchange.Route)
	if dialect == "" {
		dialect = "none"
	}
	m.requests.WithLabelValues(dialect, route, methodLabel(method), statusClass(q.status)).Inc()
	m.duration.WithLabelValues(dialect, route).Observe(took.Seconds())
}

func statusClass(status int) string {
	classes := [...]string{"", "1xx", "2xx", "3xx", "4xx", "5xx"}
	if status == 0 {
		status = 200 // nothing written: net/http answers 200
	}
	if c := status / 100; c >= 1 && c < len(classes) {
		return classes[c]
	}
	return "other"
}
