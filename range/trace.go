package ranges

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	pb "go.etcd.io/raft/v3/raftpb"
)

// A proposal made under a sampled span carries that span's identity in its log entry, so that every replica adds a span to
// the trace: from when it got the entry to when it has applied it, with an event for when the entry was durable. Entries of
// other proposals cost one flag test.

// maxTraced bounds tracedAppends: a replica that is out of service appends and does not apply.
const maxTraced = 1000

// tracedAppends notes when traced entries were queued for the log and when they were durable, until they are applied.
type tracedAppends struct {
	mu   sync.Mutex
	list []tracedAppend
}

type tracedAppend struct {
	index           uint64
	queued, durable time.Time
}

func entryTracedData(e *pb.Entry) bool {
	return e.GetType() == pb.EntryNormal && len(e.Data) > entryHeaderSize && e.Data[1]&entryTraced != 0
}

func (r *Replica) tracesAny(ents []*pb.Entry) bool {
	return slices.ContainsFunc(ents, entryTracedData)
}

// traceAppend notes that the traced entries of w, queued at w.since, are durable. Raft must not have been told yet: they
// could be applied before.
func (r *Replica) traceAppend(w *appendWork) {
	now := time.Now()
	r.traced.mu.Lock()
	defer r.traced.mu.Unlock()
	if len(r.traced.list) > maxTraced {
		r.traced.list = nil
	}
	for _, e := range w.m.Entries {
		if entryTracedData(e) {
			r.traced.list = append(r.traced.list, tracedAppend{e.GetIndex(), w.since, now})
		}
	}
}

// take returns what was noted of an entry, zero if nothing was, and forgets what was noted of it and those before: an entry
// that another has replaced is never taken.
func (t *tracedAppends) take(index uint64) (a tracedAppend) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = slices.DeleteFunc(t.list, func(x tracedAppend) bool {
		if x.index == index {
			a = x
		}
		return x.index <= index
	})
	return a
}

// traceApply starts the span of a traced entry that is being applied, nil for others. It has no attributes: its parent says
// which range it is, its resource which node.
func (r *Replica) traceApply(h entryHeader, index uint64) trace.Span {
	if !h.span.IsValid() {
		return nil
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), h.span)
	a := r.traced.take(index)
	if a.index == 0 { // it was in the log when the node started, or there are too many
		_, span := r.store.cfg.Tracer.Start(ctx, "raft.apply")
		return span
	}
	_, span := r.store.cfg.Tracer.Start(ctx, "raft.apply", trace.WithTimestamp(a.queued))
	span.AddEvent("durable", trace.WithTimestamp(a.durable))
	return span
}
