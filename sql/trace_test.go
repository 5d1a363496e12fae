package sql

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// One statement is one trace: its parts are children of one root span.
func TestStatementIsOneTrace(t *testing.T) {
	srv := newTestServer(t, kvtest.New())
	s := newTestSession(t, srv)
	s.run("CREATE TABLE t (a int PRIMARY KEY)")

	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	srv.cfg.Tracer = provider.Tracer("sql")
	s.run("INSERT INTO t VALUES (1)")
	s.run("INSERT INTO t VALUES (1)")
	srv.cfg.Tracer = nil

	traces := map[string][]string{}
	failed := map[string]string{}
	for _, span := range recorder.Ended() {
		id := span.SpanContext().TraceID().String()
		traces[id] = append(traces[id], span.Name())
		if !span.Parent().IsValid() && span.Status().Code == codes.Error {
			failed[id] = span.Status().Description
		}
	}
	if len(traces) != 2 {
		t.Fatalf("%d traces for two statements: %v", len(traces), traces)
	}
	for id, names := range traces {
		want := map[string]bool{"sql.query": true, "sql.execute": true}
		if failed[id] == "" {
			want["sql.commit"] = true
		} else if failed[id] != pgerr.UniqueViolation {
			t.Errorf("failed with %s", failed[id])
		}
		for _, n := range names {
			delete(want, n)
		}
		if len(want) > 0 {
			t.Errorf("trace %v lacks %v", names, want)
		}
	}
	if len(failed) != 1 {
		t.Errorf("%d traces show an error, want 1", len(failed))
	}
	_ = provider.Shutdown(context.Background())
}

func TestTracingOffAllocatesNothing(t *testing.T) {
	s := newTestSession(t, newTestServer(t, kvtest.New()))
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		span := s.rootSpan("query", "SELECT 1")
		_, child := s.span(ctx, "plan")
		endSpan(child, nil)
		span.end(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
