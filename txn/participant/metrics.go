package participant

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/meridian-db/meridian/txn/txnpb"
)

// metrics are the participant's counters. Without a registerer they are counted and not shown.
type metrics struct {
	lockWaits, wounds, expired        prometheus.Counter
	commitOne, decide, prepares       prometheus.Counter
	preparesRO, aborts, recoveries    prometheus.Counter
	lockWait, commitWait              prometheus.Histogram
	readsLeader, readsFollower        prometheus.Counter
	readsLocking, stagedBytes, pieces prometheus.Counter
	diffs                             prometheus.Counter
	programRows                       prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels prometheus.Labels) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "meridian_txn_" + name, Help: help, ConstLabels: labels})
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "meridian_txn_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(50e-6, 2, 18),
		})
	}
	commit := func(kind string) prometheus.Counter {
		return counter("commits_total", "Commits decided on ranges led here.", prometheus.Labels{"kind": kind})
	}
	prepare := func(kind string) prometheus.Counter {
		return counter("prepares_total", "Prepares on ranges led here.", prometheus.Labels{"kind": kind})
	}
	read := func(kind string) prometheus.Counter {
		return counter("reads_total", "Read requests served.", prometheus.Labels{"kind": kind})
	}
	m := &metrics{
		lockWaits:     counter("lock_waits_total", "Lock requests that had to wait.", nil),
		wounds:        counter("wounds_total", "Transactions aborted in favour of an older one.", nil),
		expired:       counter("expired_total", "Transactions aborted because their gateway went silent.", nil),
		commitOne:     commit("one_range"),
		decide:        commit("two_phase"),
		prepares:      prepare("logged"),
		preparesRO:    prepare("read_only"),
		aborts:        counter("aborts_total", "Commit attempts decided to be aborted.", nil),
		recoveries:    counter("recoveries_total", "Prepared transactions settled through their coordinator.", nil),
		lockWait:      histogram("lock_wait_seconds", "Time requests waited for locks."),
		commitWait:    histogram("commit_wait_seconds", "Commit wait left after replication."),
		readsLeader:   read("leader"),
		readsFollower: read("follower"),
		readsLocking:  read("locking"),
		stagedBytes:   counter("staged_bytes_total", "Bytes staged by large transactions.", nil),
		diffs:         counter("diffs_total", "Changes of rows answered to change feeds.", nil),
		programRows:   counter("program_rows_total", "Rows that filters and aggregates were run over beside the data.", nil),
		pieces:        counter("large_pieces_total", "Pieces in which the writes of large commits were moved.", nil),
	}
	if reg != nil {
		reg.MustRegister(m.lockWaits, m.wounds, m.expired, m.commitOne, m.decide, m.prepares, m.preparesRO,
			m.aborts, m.recoveries, m.lockWait, m.commitWait, m.readsLeader, m.readsFollower, m.readsLocking,
			m.stagedBytes, m.pieces, m.diffs, m.programRows)
	}
	return m
}

// spanNames are the names of the spans of requests, of which making one costs as much as the span.
var spanNames = func() map[txnpb.Kind]string {
	names := make(map[txnpb.Kind]string)
	for kind, name := range txnpb.Kind_name {
		names[txnpb.Kind(kind)] = "range " + name
	}
	return names
}()

// startSpan opens a span for a range request of a sampled trace, else returns nil at no cost.
func (s *Server) startSpan(ctx *context.Context, req *txnpb.BatchRequest) trace.Span {
	if s.cfg.Tracer == nil || !trace.SpanContextFromContext(*ctx).IsSampled() {
		return nil
	}
	attrs := append(make([]attribute.KeyValue, 0, 4), attribute.Int64("range", req.RangeId))
	for _, a := range [...]attribute.KeyValue{attribute.Int("keys", len(req.Keys)), attribute.Int("spans", len(req.SpanStarts)), attribute.Int("writes", len(req.WriteKeys))} {
		if a.Value.AsInt64() > 0 { // each attribute costs a fifth of what a span does
			attrs = append(attrs, a)
		}
	}
	var span trace.Span
	*ctx, span = s.cfg.Tracer.Start(*ctx, spanNames[req.Kind], trace.WithAttributes(attrs...))
	return span
}

func endSpan(span trace.Span, resp *txnpb.BatchResponse, err error) {
	switch {
	case err != nil:
		span.SetStatus(codes.Error, err.Error())
	case resp.Error != txnpb.ErrorCode_OK:
		span.SetStatus(codes.Error, resp.Error.String()+": "+resp.ErrorMessage)
	}
	span.End()
}

// phase opens a child span for a part of a request, when the trace is sampled. The returned function ends it.
func (s *Server) phase(ctx context.Context, name string) func() {
	if s.cfg.Tracer == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return nil
	}
	_, span := s.cfg.Tracer.Start(ctx, name)
	return func() { span.End() }
}
