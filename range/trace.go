package ranges

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	pb "go.etcd.io/raft/v3/raftpb"
)

// A proposal made under a sampled span carries that span's identity in its log entry, so that append and
// apply become spans of the trace on every replica. Entries of other proposals cost one flag test.

// spanAttributes say which range it was; which node is in the span's resource.
func (r *Replica) spanAttributes() []attribute.KeyValue {
	return []attribute.KeyValue{attribute.Int64("meridian.range", int64(r.id))}
}

func entryTracedData(e *pb.Entry) bool {
	return e.GetType() == pb.EntryNormal && len(e.Data) > entryHeaderSize && e.Data[1]&entryTraced != 0
}

func (r *Replica) tracesAny(ents []*pb.Entry) bool {
	for _, e := range ents {
		if entryTracedData(e) {
			return true
		}
	}
	return false
}

// traceAppend records that the entries of w, queued at w.since, are durable.
func (r *Replica) traceAppend(w *appendWork) {
	for _, e := range w.m.Entries {
		if !entryTracedData(e) {
			continue
		}
		if h, err := decodeEntryHeader(e.Data); err == nil {
			ctx := trace.ContextWithRemoteSpanContext(context.Background(), h.span)
			_, span := r.store.cfg.Tracer.Start(ctx, "raft.append",
				trace.WithTimestamp(w.since), trace.WithAttributes(r.spanAttributes()...))
			span.End(trace.WithTimestamp(time.Now()))
		}
	}
}

// traceApply starts the span of applying a traced entry, nil for others.
func (r *Replica) traceApply(h entryHeader) trace.Span {
	if !h.span.IsValid() {
		return nil
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), h.span)
	_, span := r.store.cfg.Tracer.Start(ctx, "raft.apply", trace.WithAttributes(r.spanAttributes()...))
	return span
}
