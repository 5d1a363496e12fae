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

	"github.com/jackc/pgx/v5"
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

// variant is one of the things compared.
type variant struct {
	name   string
	m      *meridian
	share  string // of the traces that are exported, "" for none
	scrape bool
	limit  float64   // 0 for none
	cpu    []float64 // ms a transaction, of each block
	tps    []float64
	ratios []float64 // of cpu, to that of the plain cluster around it
}

func (v *variant) add(r result, plain float64) {
	v.cpu, v.tps, v.ratios = append(v.cpu, r.cpuMS), append(v.tps, r.tps), append(v.ratios, r.cpuMS/plain)
}

// runOverhead runs TPC-B against clusters side by side, a plain one and ones whose nodes trace a tenth of the statements or
// all and export them, in blocks of a few seconds, and compares the CPU time of the servers for each transaction. A tenth of
// what tracing all costs is a steadier figure than what tracing a tenth costs.
// In other blocks of the plain cluster its metrics are fetched. A block is compared with those of the plain cluster before
// and after it, which is fair on a machine whose speed changes; both clusters are led by the node that the clients use, as
// a transaction costs more elsewhere.
func runOverhead(ctx context.Context, o options, clients string, turns int, out io.Writer) error {
	collectors := make(map[*variant]*collector)
	variants := []*variant{{name: "plain"}, {name: "10 % of traces exported", share: "0.1", limit: overheadTracing},
		{name: "all traces exported", share: "1"}, {name: "metrics fetched every 15 s", scrape: true, limit: overheadMetrics}}
	for i, v := range variants {
		if v.scrape {
			v.m = variants[0].m
			continue
		}
		dir := filepath.Join(o.dir, fmt.Sprintf("overhead%d", i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		cfg := proc.Config{Binary: o.binary, Dir: dir, Nodes: o.nodes}
		if v.share != "" {
			c, err := newCollector()
			if err != nil {
				return err
			}
			defer c.close()
			collectors[v] = c
			cfg.Env = []string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + c.addr,
				"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=" + v.share}
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
		conn, err := pgx.Connect(ctx, c.Nodes[0].URL())
		if err != nil {
			return err
		}
		err = leadAtHome(ctx, conn)
		if err := errors.Join(err, conn.Close(ctx), settle(ctx, v.m)); err != nil {
			return err
		}
	}
	o.seconds = int(overheadBlock.Seconds())
	block := func(v *variant) (result, error) {
		stop := make(chan struct{})
		defer close(stop)
		if v.scrape {
			go scrape(ctx, v.m.c, stop)
		}
		return measure(ctx, o, v.m, "tpcb", "prepared", clients)
	}
	plain := variants[0]
	for _, v := range variants { // warms up
		if _, err := block(v); err != nil {
			return err
		}
	}
	before, err := block(plain)
	if err != nil {
		return err
	}
	for range turns {
		for _, v := range variants[1:] {
			r, err := block(v)
			if err != nil {
				return err
			}
			after, err := block(plain)
			if err != nil {
				return err
			}
			v.add(r, (before.cpuMS+after.cpuMS)/2)
			plain.add(after, after.cpuMS)
			before = after
		}
	}
	fmt.Fprintf(out, "%d turns, blocks of %s, %s clients; the clusters' idle costs are in all figures\n\n", turns, overheadBlock, clients)
	fmt.Fprintf(out, "| | CPU ms a transaction, median | against plain before and after, median | quartiles | tps, median | traces received |\n|---|---|---|---|---|---|\n")
	var broken error
	for _, v := range variants {
		ratio, received := middle(v.ratios), ""
		if c := collectors[v]; c != nil {
			received = fmt.Sprintf("%d spans in %d requests", c.spans.Load(), c.requests.Load())
			if c.requests.Load() == 0 {
				broken = errors.Join(broken, errors.New("no trace was exported"))
			}
		}
		sorted := slices.Sorted(slices.Values(v.ratios))
		fmt.Fprintf(out, "| %s | %.3f | %+.1f %% | %+.1f to %+.1f %% | %.0f | %s |\n", v.name, middle(v.cpu), 100*(ratio-1),
			100*(sorted[len(sorted)/4]-1), 100*(sorted[len(sorted)*3/4]-1), middle(v.tps), received)
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
