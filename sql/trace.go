package sql

import (
	"context"

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

// rootSpan starts the trace of a message.
func (s *Session) rootSpan(operation, text string) statementSpan {
	if s.srv.cfg.Tracer == nil {
		return statementSpan{}
	}
	_, span := s.srv.cfg.Tracer.Start(s.stmtCtx.base, "sql."+operation, trace.WithSpanKind(trace.SpanKindServer))
	if !span.IsRecording() {
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
