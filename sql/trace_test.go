package sql

import (
	"context"
	"slices"
	"strings"
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
		want := map[string]bool{"sql.query": true}
		if failed[id] != "" && failed[id] != pgerr.UniqueViolation {
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
		span := s.rootSpan("sql.query", "SELECT 1")
		_, child := s.span(ctx, "plan")
		endSpan(child, nil)
		span.end(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSample: statements that are not drawn leave no span, unless the client traces them; what has nothing to do leaves none
// in any case.
func TestSample(t *testing.T) {
	srv := newTestServer(t, kvtest.New())
	s := newTestSession(t, srv)
	recorder := tracetest.NewSpanRecorder()
	srv.cfg.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("sql")
	statements := func() (n int) {
		for _, span := range recorder.Ended() {
			if span.Name() != "sql.plan" {
				n++
			}
		}
		return n
	}
	drawn := false
	srv.cfg.Sample = func() bool { return drawn }
	s.run("SELECT 1")
	if n := statements(); n != 0 {
		t.Errorf("%d spans of what was not drawn", n)
	}
	s.run("SELECT 1 /*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'*/")
	if n := statements(); n != 1 {
		t.Errorf("%d spans of what the client traces, want 1", n)
	}
	drawn = true
	s.run("SELECT 1")
	if n := statements(); n != 2 {
		t.Errorf("%d spans after a statement that was drawn, want 2", n)
	}
	if err := s.Parse(t.Context(), "begin", "BEGIN", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(t.Context(), BindArgs{Statement: "begin"}); err != nil {
		t.Fatal(err)
	}
	if cols, _, err := s.DescribePortal(t.Context(), ""); cols != nil || err != nil {
		t.Errorf("BEGIN has the columns %v, %v", cols, err)
	}
	if n := statements(); n != 2 {
		t.Errorf("%d spans after the description of BEGIN, want 2", n)
	}
}

// TestClientSpan: a traceparent is found where clients put it, and nothing else is taken for one.
func TestClientSpan(t *testing.T) {
	const tp = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for _, tc := range []struct {
		text, app string
		want      bool
	}{
		{"select 1 /*action='%2Fx',traceparent='" + tp + "',tracestate='a%3Db'*/", "", true},
		{"select 1", "web " + tp, true},
		{"select 1", tp, true},
		{"select 1 /*traceparent='00-0'*/", "web " + tp, true},
		{"select 1", "web " + tp + " 12", false},
		{"select 1 -- traceparent: " + tp, "", true},
		{"select 1", "web", false},
		{"select 1 /*traceparent='" + tp[:40] + "'*/", "", false},
		{"select 1 /*traceparent='00-00000000000000000000000000000000-00f067aa0ba902b7-01'*/", "", false},
		{"select 1 /*traceparent='ff" + tp[2:] + "'*/", "", false},
		{"select 1 /*traceparent='" + strings.Replace(tp, "4bf9", "4bx9", 1) + "'*/", "", false},
		{"select 1 /*traceparent=", "traceparent", false},
	} {
		sc := clientSpan(tc.text, tc.app)
		if sc.IsValid() != tc.want || tc.want && (sc.TraceID().String() != tp[3:35] || sc.SpanID().String() != tp[36:52] || !sc.IsSampled() || !sc.IsRemote()) {
			t.Errorf("%s, %s: %+v", tc.text, tc.app, sc)
		}
	}
}

// TestStatementContinuesTheClientsTrace: the name that a session's application has given itself counts, until a statement says
// otherwise.
func TestStatementContinuesTheClientsTrace(t *testing.T) {
	const ofSession, ofStatement = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	srv := newTestServer(t, kvtest.New())
	s := newTestSession(t, srv)
	s.run("SET application_name = 'web " + ofSession + "'")
	recorder := tracetest.NewSpanRecorder()
	srv.cfg.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder)).Tracer("sql")
	s.run("SELECT 1")
	s.run("SELECT 1 /*traceparent='" + ofStatement + "'*/")
	srv.cfg.Tracer = nil
	var got []string
	for _, span := range recorder.Ended() {
		if span.Parent().IsRemote() {
			got = append(got, span.Parent().TraceID().String())
		}
	}
	if want := []string{ofSession[3:35], ofStatement[3:35]}; !slices.Equal(got, want) {
		t.Errorf("the client's traces are %v, want %v", got, want)
	}
}
