package server

import (
	"context"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

const (
	bundleSpans = 64 // well below the 2048 that the SDK's queue holds
	bundleDelay = time.Second
)

// bundler hands ended spans on to the SDK's batch processor many at a time. That one has a goroutine take each span from a
// channel, and to wake it costs more than all else about a span.
type bundler struct {
	sdktrace.SpanProcessor
	mu    sync.Mutex
	spans []sdktrace.ReadOnlySpan
	timer *time.Timer // runs while there are spans
}

func newBundler(next sdktrace.SpanProcessor) *bundler {
	b := &bundler{SpanProcessor: next}
	b.timer = time.AfterFunc(bundleDelay, b.pass)
	return b
}

// OnEnd implements sdktrace.SpanProcessor.
func (b *bundler) OnEnd(s sdktrace.ReadOnlySpan) {
	b.mu.Lock()
	b.spans = append(b.spans, s)
	n := len(b.spans)
	b.mu.Unlock()
	switch n {
	case 1:
		b.timer.Reset(bundleDelay)
	case bundleSpans:
		b.pass()
	}
}

func (b *bundler) pass() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.spans {
		b.SpanProcessor.OnEnd(s) // never waits: spans that do not fit into its queue are dropped
	}
	clear(b.spans)
	b.spans = b.spans[:0]
}

// ForceFlush implements sdktrace.SpanProcessor.
func (b *bundler) ForceFlush(ctx context.Context) error {
	b.pass()
	return b.SpanProcessor.ForceFlush(ctx)
}

// Shutdown implements sdktrace.SpanProcessor.
func (b *bundler) Shutdown(ctx context.Context) error {
	b.timer.Stop()
	b.pass()
	return b.SpanProcessor.Shutdown(ctx)
}
