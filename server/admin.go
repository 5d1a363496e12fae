package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/meridian-db/meridian/server/console"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn"
)

// startAdmin serves health, metrics and profiles from the beginning, so that a node that cannot come up can be
// asked why.
func (s *Server) startAdmin() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.reg, promhttp.HandlerOpts{}))
	mux.Handle("GET /", console.Handler(consoleSource{s}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("GET /debug/zip", s.debugZip)
	var handler http.Handler = mux
	listener := s.listeners.HTTP
	if s.guarded() {
		handler = newDoor(s, mux)
		listener = newSniffer(listener, s.certs.SQL)
	}
	s.admin = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.admin.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("admin port failed", "err", err)
		}
	}()
	s.onClose("admin port", func(ctx context.Context) error {
		err := s.admin.Close()
		<-done
		return err
	})
}

// health says why the node cannot do its work, nil when it can.
func (s *Server) health() error {
	if err := s.Failure(); err != nil {
		return err
	}
	return s.clock.Health()
}

// healthz answers 200 while the process can go on. A clock that is not trusted does not count: it mends itself, and a
// supervisor that restarts the node for it would only make that take longer.
func (s *Server) healthz(w http.ResponseWriter, r *http.Request) {
	if err := s.Failure(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintf(w, "ok: %s\n", nodeState(s.state.Load()))
}

// readyz answers 200 while the node serves SQL and reaches its ranges.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	err := s.health()
	if st := nodeState(s.state.Load()); err == nil && st != stateServing {
		err = fmt.Errorf("node is %s", st)
	}
	if err == nil {
		err = s.core.probe(r.Context())
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (s *Server) registerMetrics() {
	s.reg.MustRegister(s.securityMetrics()...)
	s.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		s.rpc, nodeCollector{s}, clockCollector{s.clock}, txnCollector{s.core.DB})
}

// clockCollector shows the clock's status as metrics.
type clockCollector struct{ clock *truetime.SyncClock }

var (
	descBound      = prometheus.NewDesc("meridian_clock_bound_seconds", "Uncertainty of the clock, half the width of its interval.", nil, nil)
	descOffset     = prometheus.NewDesc("meridian_clock_offset_seconds", "Middle of the clock's interval minus the host's wall clock.", nil, nil)
	descHealthy    = prometheus.NewDesc("meridian_clock_healthy", "1 while the node may serve from its clock.", nil, nil)
	descContradict = prometheus.NewDesc("meridian_clock_contradictions_total", "Times a majority of the sources contradicted the clock.", nil, nil)
	descPauses     = prometheus.NewDesc("meridian_clock_pauses_total", "Suspends and pauses of the machine noticed.", nil, nil)
	descSrcBound   = prometheus.NewDesc("meridian_clock_source_bound_seconds", "Error bound of the source's newest sample, aged.", []string{"source"}, nil)
	descSrcOffset  = prometheus.NewDesc("meridian_clock_source_offset_seconds", "The source's time minus the host's wall clock.", []string{"source"}, nil)
	descSrcGood    = prometheus.NewDesc("meridian_clock_source_good", "1 while the source agrees with the majority.", []string{"source", "verdict"}, nil)
	descSrcFailed  = prometheus.NewDesc("meridian_clock_source_failed_polls_total", "Polls of the source without a usable answer.", []string{"source"}, nil)
)

func (c clockCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBound, descOffset, descHealthy, descContradict, descPauses, descSrcBound, descSrcOffset, descSrcGood, descSrcFailed} {
		ch <- d
	}
}

func (c clockCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.clock.Status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	if st.Synced {
		gauge(descBound, st.Bound.Seconds())
		gauge(descOffset, st.Offset.Seconds())
	}
	gauge(descHealthy, flag(st.Fenced == ""))
	ch <- prometheus.MustNewConstMetric(descContradict, prometheus.CounterValue, float64(st.Contradictions))
	ch <- prometheus.MustNewConstMetric(descPauses, prometheus.CounterValue, float64(st.Pauses))
	for _, src := range st.Sources {
		if src.Age >= 0 {
			gauge(descSrcBound, src.Bound.Seconds(), src.Name)
			gauge(descSrcOffset, src.Offset.Seconds(), src.Name)
		}
		gauge(descSrcGood, flag(src.Verdict == truetime.VerdictGood), src.Name, string(src.Verdict))
		ch <- prometheus.MustNewConstMetric(descSrcFailed, prometheus.CounterValue, float64(src.Failed), src.Name)
	}
}

// txnCollector shows the gateway's counters.
type txnCollector struct{ db *txn.DB }

var (
	descTxn      = prometheus.NewDesc("meridian_gateway_transactions_total", "Transactions of this gateway by what became of them.", []string{"outcome"}, nil)
	descCommits  = prometheus.NewDesc("meridian_gateway_commits_total", "Commits of this gateway by protocol.", []string{"kind"}, nil)
	descRequests = prometheus.NewDesc("meridian_gateway_requests_total", "Range requests of this gateway by destination.", []string{"to"}, nil)
	descReroutes = prometheus.NewDesc("meridian_gateway_reroutes_total", "Requests that had to be routed anew.", nil, nil)
)

func (c txnCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descTxn, descCommits, descRequests, descReroutes} {
		ch <- d
	}
}

func (c txnCollector) Collect(ch chan<- prometheus.Metric) {
	m := c.db.Metrics()
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	counter(descTxn, m.Begun.Load(), "begun")
	counter(descTxn, m.Committed.Load(), "committed")
	counter(descTxn, m.RolledBack.Load(), "rolled_back")
	counter(descTxn, m.Aborted.Load(), "aborted")
	counter(descTxn, m.Ambiguous.Load(), "ambiguous")
	counter(descTxn, m.Deadlocks.Load(), "deadlock")
	counter(descCommits, m.OneRange.Load(), "one_range")
	counter(descCommits, m.TwoPhase.Load(), "two_phase")
	counter(descCommits, m.Staged.Load(), "staged")
	counter(descRequests, m.LocalCalls.Load(), "local")
	counter(descRequests, m.RemoteCalls.Load(), "remote")
	counter(descReroutes, m.Reroutes.Load())
}
