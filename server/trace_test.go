package server

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// receiver is an OTLP collector that keeps what it gets.
type receiver struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []receivedSpan
}

type receivedSpan struct{ name, node, trace, id, parent string }

func (r *receiver) Export(_ context.Context, req *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rs := range req.ResourceSpans {
		node := ""
		for _, a := range rs.Resource.Attributes {
			if a.Key == "service.instance.id" {
				node = a.Value.GetStringValue()
			}
		}
		for _, ss := range rs.ScopeSpans {
			for _, sp := range ss.Spans {
				r.spans = append(r.spans, receivedSpan{sp.Name, node, string(sp.TraceId), string(sp.SpanId), string(sp.ParentSpanId)})
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// exportTo starts a collector and returns telemetry that exports to it, named by the standard variables.
func exportTo(t *testing.T, ctx context.Context, to collector.TraceServiceServer) *Telemetry {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	collector.RegisterTraceServiceServer(srv, to)
	go srv.Serve(lis)
	t.Cleanup(srv.Stop)
	env := map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://" + lis.Addr().String(), "OTEL_BSP_SCHEDULE_DELAY": "100"}
	for k, v := range env {
		t.Setenv(k, v)
	}
	tel, err := NewTelemetry(ctx, os.Getenv)
	if err != nil || tel == nil {
		t.Fatalf("telemetry: %v, %v", tel, err)
	}
	return tel
}

// TestOneTracePerStatement: an INSERT is one trace from the gateway to the apply on every replica, exported to
// whatever the standard variables name.
func TestOneTracePerStatement(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	rec := &receiver{}
	tel := exportTo(t, ctx, rec)
	d, err := StartDemo(ctx, DemoConfig{SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: t.TempDir(), Logger: testLogger(t), Telemetry: tel})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+d.Servers[1].SQLAddr()+"/postgres?sslmode=disable&default_query_exec_mode=simple_protocol")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{"create table traced (a int primary key, b text)", "insert into traced values (1, 'x')"} {
		if _, err := conn.Exec(ctx, q); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close(ctx)
	if err := d.Stop(); err != nil {
		t.Error(err)
	}
	if err := tel.Close(); err != nil {
		t.Error(err)
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	// The trace of the INSERT is the last one that commits.
	last := ""
	for _, sp := range rec.spans {
		if sp.name == "txn.commit" && sp.node == "n2" {
			last = sp.trace
		}
	}
	byName, roots := map[string][]string{}, 0
	ids := map[string]bool{}
	for _, sp := range rec.spans {
		if sp.trace == last {
			byName[sp.name] = append(byName[sp.name], sp.node)
			ids[sp.id] = true
		}
	}
	for _, sp := range rec.spans {
		if sp.trace == last && !ids[sp.parent] {
			roots++
			if !strings.HasPrefix(sp.name, "sql.") && !strings.HasPrefix(sp.name, "pgwire") {
				t.Errorf("root span %q", sp.name)
			}
		}
	}
	if roots != 1 {
		t.Errorf("%d roots in the trace: %v", roots, byName)
	}
	applied := byName["raft.apply"]
	slices.Sort(applied)
	if got := slices.Compact(applied); len(got) != 3 {
		t.Errorf("raft.apply on %v, want all three nodes; spans: %v", got, byName)
	}
	for _, name := range []string{"range COMMIT_ONE", "raft.propose"} {
		if len(byName[name]) == 0 {
			t.Errorf("no span %q; spans: %v", name, byName)
		}
	}
}

// TestTelemetryOff: without the variables there is no tracing at all, and a wrong one is named.
func TestTelemetryOff(t *testing.T) {
	for _, tc := range []struct {
		env  map[string]string
		want string
	}{
		{nil, ""}, {map[string]string{"OTEL_SDK_DISABLED": "true", "OTEL_TRACES_EXPORTER": "otlp"}, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "x"}, ""},
		{map[string]string{"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "OTEL_EXPORTER_OTLP_PROTOCOL"},
	} {
		tel, err := NewTelemetry(t.Context(), func(k string) string { return tc.env[k] })
		if tel != nil || tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%v: %v, %v", tc.env, tel, err)
		}
	}
	if tel := (*Telemetry)(nil).Node(t.Context(), "n1", "r"); tel.Tracer("x") != nil || tel.Close() != nil {
		t.Error("tracing that is off hands out a tracer")
	}
}

// TestShareOfTraces: of what comes without a trace so much is drawn as the variables say, and what has been drawn is traced; a
// client's trace is followed, or not, as the client says.
func TestShareOfTraces(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
	tel := exportTo(t, t.Context(), &receiver{})
	node := tel.Node(t.Context(), "n1", "r")
	tracer := node.Tracer("sql")
	drawn := 0
	for range 4000 {
		if !node.Sample() {
			continue
		}
		drawn++
		ctx, span := tracer.Start(t.Context(), "root")
		_, child := tracer.Start(ctx, "child")
		if !span.IsRecording() || !child.IsRecording() {
			t.Fatal("drawn, and not traced")
		}
		child.End()
		span.End()
	}
	if drawn < 800 || drawn > 1200 {
		t.Errorf("%d of 4000 are traced, want a quarter", drawn)
	}
	for _, flags := range []trace.TraceFlags{0, trace.FlagsSampled} {
		parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: flags, Remote: true})
		for range 100 {
			_, span := tracer.Start(trace.ContextWithRemoteSpanContext(t.Context(), parent), "root")
			if span.IsRecording() != flags.IsSampled() || span.SpanContext().TraceID() != parent.TraceID() {
				t.Fatalf("flags %s: recording %v in trace %s", flags, span.IsRecording(), span.SpanContext().TraceID())
			}
			span.End()
		}
	}
	if err := tel.Close(); err != nil {
		t.Error(err)
	}
}
