package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	coltracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

const (
	overheadTracing = 0.03
	overheadMetrics = 0.01
	// overheadScrape is between two looks at a node's metrics; Prometheus's default is a minute, 15 s is common.
	overheadScrape = 15 * time.Second
	overheadBlock  = 5 * time.Second // of load at a time
)

// runOverhead runs TPC-B against three clusters side by side, one plain, one whose nodes trace a tenth of the
// transactions and export them, and one whose metrics are fetched, in turns of a few seconds, and compares the CPU time of
// the servers for each transaction. Turns make the comparison fair on a machine whose speed changes.
func runOverhead(ctx context.Context, o options, clients string, turns int, out io.Writer) error {
	collector, err := newCollector()
	if err != nil {
		return err
	}
	defer collector.close()
	type variant struct {
		name   string
		m      *meridian
		scrape bool
		cpu    []float64 // ms a transaction, of each turn
		tps    []float64
		limit  float64
	}
	variants := []*variant{{name: "plain"}, {name: "10 % of traces exported", limit: overheadTracing}, {name: "metrics fetched every 15 s", scrape: true, limit: overheadMetrics}}
	for i, v := range variants {
		dir := filepath.Join(o.dir, fmt.Sprintf("overhead%d", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		cfg := proc.Config{Binary: o.binary, Dir: dir, Nodes: o.nodes}
		if i == 1 {
			cfg.Env = []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + collector.addr,
				"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.1"}
		}
		c, err := proc.Start(ctx, cfg)
		if err != nil {
			return err
		}
		defer c.Close()
		v.m = &meridian{c}
		if _, err := pgbench(ctx, v.m, "-i", "-q", "-s", strconv.Itoa(o.scale), "-I", "dtGvp"); err != nil {
			return err
		}
		if err := settle(ctx, v.m); err != nil {
			return err
		}
	}
	o.seconds = int(overheadBlock.Seconds())
	for turn := range turns + 1 {
		for i := range variants {
			v := variants[(i+turn)%len(variants)]
			stop := make(chan struct{})
			if v.scrape {
				go scrape(ctx, v.m.c, stop)
			}
			r, err := measure(ctx, o, v.m, "tpcb", "prepared", clients)
			close(stop)
			if err != nil {
				return err
			}
			if turn > 0 { // the first warms up
				v.cpu, v.tps = append(v.cpu, r.cpuMS), append(v.tps, r.tps)
			}
		}
	}
	fmt.Fprintf(out, "%d turns of %s, %s clients; the clusters' idle costs are in all figures\n\n", turns, overheadBlock, clients)
	fmt.Fprintf(out, "| | CPU ms a transaction, median | against plain in the same turn, median | tps, median | traces received |\n|---|---|---|---|---|\n")
	var broken error
	for i, v := range variants {
		ratios := make([]float64, len(v.cpu))
		for j := range v.cpu {
			ratios[j] = v.cpu[j] / variants[0].cpu[j]
		}
		ratio, received := middle(ratios), ""
		if i == 1 {
			received = fmt.Sprintf("%d spans in %d requests", collector.spans.Load(), collector.requests.Load())
			if collector.requests.Load() == 0 {
				broken = errors.Join(broken, errors.New("no trace was exported"))
			}
		}
		fmt.Fprintf(out, "| %s | %.3f | %+.1f %% | %.0f | %s |\n", v.name, middle(v.cpu), 100*(ratio-1), middle(v.tps), received)
		if v.limit > 0 && ratio-1 > v.limit {
			broken = errors.Join(broken, fmt.Errorf("%s cost %.1f %%, wanted at most %.0f %%", v.name, 100*(ratio-1), 100*v.limit))
		}
	}
	return broken
}

// scrape fetches the metrics of all nodes as often as overheadScrape asks for, scaled to the part of the time that the
// cluster is under load: once a turn, as a turn is shorter.
func scrape(ctx context.Context, c *proc.Cluster, stop chan struct{}) {
	// A third of an interval is one turn: on average one node is fetched in it.
	next := int(time.Now().UnixNano()/int64(overheadBlock)) % len(c.Nodes)
	select {
	case <-time.After(overheadBlock / 2):
		_, _ = c.Nodes[next].HTTP(ctx, "/metrics")
	case <-stop:
	}
}

func middle(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// collector takes traces, as an OpenTelemetry collector does, and forgets them.
type collector struct {
	coltracepb.UnimplementedTraceServiceServer
	addr            string
	srv             *grpc.Server
	requests, spans atomic.Int64
}

func newCollector() (*collector, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &collector{addr: l.Addr().String(), srv: grpc.NewServer()}
	coltracepb.RegisterTraceServiceServer(c.srv, c)
	go c.srv.Serve(l)
	return c, nil
}

// Export implements coltracepb.TraceServiceServer.
func (c *collector) Export(_ context.Context, req *coltracepb.ExportTraceServiceRequest) (*coltracepb.ExportTraceServiceResponse, error) {
	c.requests.Add(1)
	for _, r := range req.ResourceSpans {
		for _, s := range r.ScopeSpans {
			c.spans.Add(int64(len(s.Spans)))
		}
	}
	return &coltracepb.ExportTraceServiceResponse{}, nil
}

func (c *collector) close() { c.srv.Stop() }
