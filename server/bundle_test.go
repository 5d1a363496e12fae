package server

import (
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestBundler: spans are passed on when there are many, when the oldest has waited for long enough, and when asked.
func TestBundler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rec := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(newBundler(rec)))
		tracer := provider.Tracer("test")
		ended := 0
		end := func(n int) {
			for range n {
				_, span := tracer.Start(t.Context(), "s")
				span.End()
			}
			ended += n
		}
		want := func(when string, n int) {
			t.Helper()
			synctest.Wait()
			if got := len(rec.Ended()); got != n {
				t.Errorf("%s: %d of %d spans were passed on, want %d", when, got, ended, n)
			}
		}
		end(bundleSpans - 1)
		want("before a bundle is full", 0)
		end(1)
		want("with a full bundle", ended)
		for range 3 {
			end(1)
			time.Sleep(bundleDelay / 2)
			end(1)
			want("before the first has waited", ended-2)
			time.Sleep(bundleDelay / 2)
			want("when the first has waited", ended)
		}
		end(5)
		if err := provider.ForceFlush(t.Context()); err != nil {
			t.Error(err)
		}
		want("after ForceFlush", ended)
		end(5)
		if err := provider.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		want("after Shutdown", ended)
	})
}
