package server

import (
	"context"
	"errors"
	"fmt"
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
	return &Telemetry{exporter: exp, provider: newProvider(ctx, exp, nil)}, nil
}

func newProvider(ctx context.Context, exp sdktrace.SpanExporter, attrs []attribute.KeyValue) *sdktrace.TracerProvider {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithBatcher(exp)}
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
	return &Telemetry{exporter: t.exporter, provider: newProvider(ctx, sharedExporter{t.exporter}, []attribute.KeyValue{
		attribute.String("service.instance.id", id), attribute.String("cloud.region", region)})}
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

// Close exports what is left, for a few seconds at most.
func (t *Telemetry) Close() error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return errors.Join(t.provider.ForceFlush(ctx), t.provider.Shutdown(ctx))
}
