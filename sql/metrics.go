package sql

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are a server's counters. They count whether or not they are registered.
type metrics struct {
	statements prometheus.Counter // executed, whatever their outcome
	latency    prometheus.Histogram
	errors     *prometheus.CounterVec // by SQLSTATE class
	retries    prometheus.Counter     // implicit transactions run again
	replays    prometheus.Counter     // blocks run again without the client noticing
	diverged   prometheus.Counter     // blocks that could not be, because an answer differed
	planHits   prometheus.Counter
	planMisses prometheus.Counter
	limited    prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "meridian", Subsystem: "sql", Name: name, Help: help})
	}
	return &metrics{
		statements: counter("statements_total", "Messages that ran statements."),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "meridian", Subsystem: "sql", Name: "statement_seconds",
			Help: "Time from reading a statement to its answer.", Buckets: prometheus.ExponentialBuckets(25e-6, 2, 22)}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "meridian", Subsystem: "sql", Name: "errors_total",
			Help: "Errors sent to clients, by class of SQLSTATE."}, []string{"class"}),
		retries:    counter("retries_total", "Implicit transactions run again after a conflict."),
		replays:    counter("replays_total", "Transaction blocks run again after a conflict, with the same answers."),
		diverged:   counter("replays_diverged_total", "Transaction blocks that failed with 40001 because an answer differed when they were run again."),
		limited:    counter("statements_limited_total", "Statements refused because their role had run too many."),
		planHits:   counter("plan_cache_hits_total", "Statements whose plan was in the shared cache."),
		planMisses: counter("plan_cache_misses_total", "Statements that were parsed and planned."),
	}
}

// Register adds the server's metrics to a registry.
func (srv *Server) Register(r prometheus.Registerer) error {
	m := srv.metrics
	sessions := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "meridian", Subsystem: "sql", Name: "sessions", Help: "Open sessions."}, func() float64 {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		return float64(len(srv.mu.sessions))
	})
	for _, c := range []prometheus.Collector{m.statements, m.latency, m.errors, m.retries, m.replays, m.diverged, m.planHits, m.planMisses, m.limited, sessions} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
