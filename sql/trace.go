package sql

import (
	"context"
	"encoding/hex"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/meridian-db/meridian/sql/parser"
)

// maxTracedText bounds the statement text in a span.
const maxTracedText = 2000

// statementSpan is a statement's root span; its zero value does nothing. Without a tracer no span is made
// and nothing is allocated.
type statementSpan struct{ span trace.Span }

func (sp statementSpan) end(err error) {
	if sp.span != nil {
		endSpan(sp.span, err)
	}
}

// rootSpan starts the trace of a message: name is its span's.
func (s *Session) rootSpan(name, text string) statementSpan {
	if s.srv.cfg.Tracer == nil {
		return statementSpan{}
	}
	parent := clientSpan(text, s.vars.cur[idxApplicationName])
	if sample := s.srv.cfg.Sample; sample != nil && !parent.IsValid() && !sample() {
		return statementSpan{}
	}
	ctx := context.Background() // the session's has no span, and looking for one in it takes longer than all else here
	if parent.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parent)
	}
	_, span := s.srv.cfg.Tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	if !span.IsRecording() { // the client has a trace that nobody follows, or the SDK's sampler has left it out
		return statementSpan{span}
	}
	// Traces leave the cluster: they get the statement without its literals.
	if text = parser.Fingerprint(text); len(text) > maxTracedText {
		text = text[:maxTracedText]
	}
	span.SetAttributes(
		attribute.String("db.system.name", "postgresql"),
		attribute.String("db.namespace", s.args.Database),
		attribute.String("db.query.text", text),
		attribute.String("db.user", s.user),
		attribute.Int("meridian.session", int(s.pid)),
	)
	return statementSpan{span}
}

// span starts a child span of the statement. The span is nil when nothing is traced.
func (s *Session) span(ctx context.Context, name string) (context.Context, trace.Span) {
	if s.srv.cfg.Tracer == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, nil
	}
	return s.srv.cfg.Tracer.Start(ctx, "sql."+name)
}

// clientSpan finds the client's span, as a W3C traceparent: in a comment of the statement, which is where sqlcommenter puts
// traceparent='00-...', else at the end of the application's name, of whose 63 bytes it takes 55. The zero SpanContext when
// there is none.
func clientSpan(text, application string) trace.SpanContext {
	const name = "traceparent"
	if strings.Contains(text, name) { // quicker than LastIndex, and so it is nearly always
		if sc := parseTraceparent(strings.TrimLeft(text[strings.LastIndex(text, name)+len(name):], "=: '")); sc.IsValid() {
			return sc
		}
	}
	return parseTraceparent(application[max(0, len(application)-traceparentSize):])
}

const traceparentSize = len("00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")

func parseTraceparent(v string) trace.SpanContext {
	if len(v) < traceparentSize || v[2] != '-' || v[35] != '-' || v[52] != '-' || v[:2] == "ff" {
		return trace.SpanContext{}
	}
	traceID, err1 := trace.TraceIDFromHex(v[3:35])
	spanID, err2 := trace.SpanIDFromHex(v[36:52])
	flags, err3 := hex.DecodeString(v[53:55])
	if err1 != nil || err2 != nil || err3 != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: traceID, SpanID: spanID,
		TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled, Remote: true})
}

func endSpan(span trace.Span, err error) {
	if span == nil {
		return
	}
	if err != nil {
		// Not the message, which may quote the statement.
		span.SetStatus(codes.Error, WireError(err).Code)
	}
	span.End()
}
