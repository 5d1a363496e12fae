package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Telemetry is a process's tracing. A nil *Telemetry is off: it hands out nil tracers, for which every layer has
// a path that costs nothing.
type Telemetry struct {
	provider *sdktrace.TracerProvider
	exporter sdktrace.SpanExporter
	share    float64 // of what begins here that is traced
}

// NewTelemetry sets tracing up as the standard OTEL_* variables say; nil when they do not ask for it. The exporter
// and the SDK read their own variables (endpoint, headers, TLS, sampler, batch sizes).
func NewTelemetry(ctx context.Context, getenv func(string) string) (*Telemetry, error) {
	if disabled, _ := strconv.ParseBool(getenv("OTEL_SDK_DISABLED")); disabled {
		return nil, nil
	}
	endpoint := getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") + getenv("OTEL_EXPORTER_OTLP_ENDPOINT")
	switch kind := strings.TrimSpace(getenv("OTEL_TRACES_EXPORTER")); kind {
	case "none":
		return nil, nil
	case "":
		if endpoint == "" {
			return nil, nil
		}
	case "otlp":
	default:
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER=%s is not supported; use otlp or none", kind)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := getenv(name); p != "" && p != "grpc" {
			return nil, fmt.Errorf("%s=%s is not supported; use grpc", name, p)
		}
	}
	exp, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("OpenTelemetry exporter (OTEL_EXPORTER_OTLP_*): %w", err)
	}
	t := &Telemetry{exporter: exp, share: shareOf(getenv)}
	t.provider = t.newProvider(ctx, exp, nil)
	return t, nil
}

// shareOf returns what the standard variables say is to be traced of what comes without a trace. One that leaves nothing to
// decide here, or that only the SDK understands, is all.
func shareOf(getenv func(string) string) float64 {
	if strings.TrimSpace(getenv("OTEL_TRACES_SAMPLER")) != "parentbased_traceidratio" {
		return 1
	}
	share, err := strconv.ParseFloat(strings.TrimSpace(getenv("OTEL_TRACES_SAMPLER_ARG")), 64)
	if err != nil || !(share >= 0 && share < 1) {
		return 1
	}
	return share
}

func (t *Telemetry) newProvider(ctx context.Context, exp sdktrace.SpanExporter, attrs []attribute.KeyValue) *sdktrace.TracerProvider {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithSpanProcessor(newBundler(sdktrace.NewBatchSpanProcessor(exp)))}
	if t.share < 1 {
		opts = append(opts, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample()))) // Sample has decided
	}
	attrs = append([]attribute.KeyValue{attribute.String("service.name", "meridian"), attribute.String("service.version", Version)}, attrs...)
	// The environment comes last: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
	if res, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(attrs...), resource.WithFromEnv()); err == nil {
		opts = append(opts, sdktrace.WithResource(res))
	}
	return sdktrace.NewTracerProvider(opts...)
}

// Node returns the tracing of one node of the process: spans say which node made them.
func (t *Telemetry) Node(ctx context.Context, id, region string) *Telemetry {
	if t == nil {
		return nil
	}
	n := &Telemetry{exporter: t.exporter, share: t.share}
	n.provider = n.newProvider(ctx, sharedExporter{t.exporter}, []attribute.KeyValue{
		attribute.String("service.instance.id", id), attribute.String("cloud.region", region)})
	return n
}

// sharedExporter survives the shutdown of one of the providers that use it.
type sharedExporter struct{ sdktrace.SpanExporter }

func (sharedExporter) Shutdown(context.Context) error { return nil }

// Tracer returns a layer's tracer, nil when tracing is off.
func (t *Telemetry) Tracer(layer string) trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("github.com/meridian-db/meridian/" + layer)
}

// Sample draws whether what begins here without a parent is traced. The SDK's sampler decides when a span with its ids and a
// context of its own has been made: with a tenth of the statements traced, those that are not cost as much as those that are.
func (t *Telemetry) Sample() bool { return t.share == 1 || rand.Float64() < t.share }

// Close exports what is left, for a few seconds at most.
func (t *Telemetry) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(t.provider.ForceFlush(ctx), t.provider.Shutdown(ctx))
}
