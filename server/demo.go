package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/ntpserver"
)

// DemoConfig configures a Demo. A zero field takes the default named in its comment.
type DemoConfig struct {
	Regions        []string     // Default us-east, eu-west, ap-south.
	NodesPerRegion int          // Default 1.
	Latency        string       // off, lan, wan, world or a file: between regions. Default off.
	SQLAddr        string       // Of node 0; node k's port is k higher. Port 0: the kernel chooses. Default 127.0.0.1:5433.
	HTTPAddr       string       // Likewise. Default 127.0.0.1:8080.
	Data           string       // Holds one store for each node. Required.
	Logger         *slog.Logger // Default: discards.
	Telemetry      *Telemetry   // Default: off.
}

// Demo is a cluster of real nodes in one process: real sockets, stores and time servers; only the distances between
// the regions are simulated.
type Demo struct {
	Servers []*Server
	times   []*ntpserver.Server
	cache   *mvcc.Cache
}

// demoTimeServers is how many time servers a demo runs: a majority of them outvotes one that lies.
const demoTimeServers = 3

// StartDemo starts the time servers and the nodes, and returns when all nodes serve.
func StartDemo(ctx context.Context, cfg DemoConfig) (d *Demo, err error) {
	if len(cfg.Regions) == 0 {
		cfg.Regions = []string{"us-east", "eu-west", "ap-south"}
	}
	if cfg.NodesPerRegion == 0 {
		cfg.NodesPerRegion = 1
	}
	if cfg.SQLAddr == "" {
		cfg.SQLAddr = "127.0.0.1:5433"
	}
	if cfg.HTTPAddr == "" {
		cfg.HTTPAddr = "127.0.0.1:8080"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	n := len(cfg.Regions) * cfg.NodesPerRegion
	switch {
	case cfg.Data == "":
		return nil, flagErr("data", "is required", "give a directory")
	case cfg.NodesPerRegion < 0 || n > 64:
		return nil, flagErr("nodes-per-region", fmt.Sprintf("makes %d nodes", n), "stay between 1 and 64 nodes")
	}
	for i, r := range cfg.Regions {
		for _, o := range cfg.Regions[:i] {
			if r == o {
				return nil, flagErr("regions", fmt.Sprintf("%s is given twice", r), "give each region once")
			}
		}
	}
	if _, err := ParseLatency(cfg.Latency, cfg.Regions); err != nil {
		return nil, flagErr("latency", err.Error(), "give off, lan, wan, world or the name of a file")
	}
	d = &Demo{cache: mvcc.NewCache(256 << 20)}
	defer func() {
		if err != nil {
			d.Stop()
			d = nil
		}
	}()
	// The servers share an unslewed clock, as far as one process may claim to know the time.
	clock := ntpserver.AnchoredClock(truetime.SystemClock())
	var sources []string
	for range demoTimeServers {
		ts, err := ntpserver.Listen(ntpserver.Config{Addr: "127.0.0.1:0", Clock: clock})
		if err != nil {
			return d, err
		}
		d.times = append(d.times, ts)
		sources = append(sources, "ntp://"+ts.Addr())
	}
	lis := make([]Listeners, n)
	defer func() {
		for i := len(d.servers()); err != nil && i < n; i++ {
			for _, l := range []net.Listener{lis[i].SQL, lis[i].RPC, lis[i].HTTP} {
				if l != nil {
					l.Close()
				}
			}
		}
	}()
	for i := range lis {
		if lis[i].RPC, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return d, err
		}
		if lis[i].SQL, err = listenPlus("sql-addr", cfg.SQLAddr, i); err != nil {
			return d, err
		}
		if lis[i].HTTP, err = listenPlus("http-addr", cfg.HTTPAddr, i); err != nil {
			return d, err
		}
	}
	for i := range n {
		sc := Config{Store: filepath.Join(cfg.Data, "n"+strconv.Itoa(i+1)), Region: cfg.Regions[i%len(cfg.Regions)],
			Zone: string(rune('a' + i/len(cfg.Regions)%26)), TimeSources: sources, Insecure: true, SimulatedLatency: cfg.Latency,
			Regions: cfg.Regions, Listeners: lis[i], Logger: cfg.Logger, Telemetry: cfg.Telemetry, Cache: d.cache}
		for j := range n {
			if j != i && i > 0 {
				sc.Join = append(sc.Join, lis[j].RPC.Addr().String())
			}
		}
		s, err := New(sc)
		if err != nil {
			return d, err
		}
		d.Servers = append(d.Servers, s)
	}
	return d, d.start(ctx)
}

// servers survives a nil Demo.
func (d *Demo) servers() []*Server {
	if d == nil {
		return nil
	}
	return d.Servers
}

// start brings the nodes up: members of an old cluster all at once, as it takes a quorum; new nodes one after the
// other, so that node k's id is k+1.
func (d *Demo) start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(d.Servers))
	for i, s := range d.Servers {
		run := func() {
			if errs[i] = s.Start(ctx); errs[i] != nil {
				errs[i] = fmt.Errorf("node %d: %w", i+1, errs[i])
				cancel()
			}
		}
		if s.identity.Member() && !s.identity.Founding {
			wg.Add(1)
			go func() { defer wg.Done(); run() }()
			continue
		}
		run()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return d.awaitReplication(ctx)
}

// awaitReplication returns when every node knows all nodes and finds every range replicated, or after
// replicatedWithin: a node that came up early was ready before there was anywhere to replicate to.
func (d *Demo) awaitReplication(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, replicatedWithin)
	defer cancel()
	for _, s := range d.Servers {
		for s.registry.live() < len(d.Servers) || !s.replicated(ctx) {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				s.log.Warn("ranges have fewer replicas than they should")
				return nil
			}
		}
	}
	return nil
}

// Failed returns a channel that receives the reason when a node cannot go on.
func (d *Demo) Failed() <-chan error {
	failed := make(chan error, len(d.Servers))
	for _, s := range d.Servers {
		go func() {
			select {
			case <-s.Failed():
			case <-s.bgCtx.Done(): // which follows a failure, too
			}
			var left errDecommissioned
			if err := s.Failure(); err != nil && !errors.As(err, &left) {
				failed <- err
			}
		}()
	}
	return failed
}

// PrintReady writes a line for each node that tells how to reach it.
func (d *Demo) PrintReady(w io.Writer, took time.Duration) {
	fmt.Fprintf(w, "\nMeridian is ready: %d nodes, %.1f s.\n\n", len(d.Servers), took.Seconds())
	for _, s := range d.Servers {
		host, port, _ := net.SplitHostPort(s.SQLAddr())
		fmt.Fprintf(w, "  psql -h %s -p %s -U postgres postgres    # node %d, %s; console http://%s/\n", host, port, s.NodeID(), s.cfg.Region, s.HTTPAddr())
	}
	fmt.Fprintf(w, "\nctrl-C ends it.\n")
}

// Stop ends all nodes, then the time servers.
func (d *Demo) Stop() error {
	var wg sync.WaitGroup
	errs := make([]error, len(d.Servers))
	// Clients leave first, while their commits still find a quorum.
	for _, s := range d.Servers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			s.noDrain.Store(true)
			s.closeClients(ctx)
			if s.core != nil {
				s.core.StopSQL(ctx)
			}
		}()
	}
	wg.Wait()
	// Then all nodes together: the last one could hand its leases to nobody.
	for i, s := range d.Servers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			errs[i] = s.halt()
		}()
	}
	wg.Wait()
	for _, ts := range d.times {
		errs = append(errs, ts.Close())
	}
	if d.cache != nil {
		d.cache.Unref()
		d.cache = nil
	}
	return errors.Join(errs...)
}

// listenPlus listens on addr with its port plus k.
func listenPlus(flag, addr string, k int) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	p, perr := strconv.Atoi(port)
	if err != nil || perr != nil || p < 0 || p+k > 65535 {
		return nil, flagErr(flag, fmt.Sprintf("%q is no address", addr), "give host:port, as in 127.0.0.1:5433")
	}
	if !loopback(addr) {
		return nil, flagErr(flag, fmt.Sprintf("%s is not loopback, and the demo has no passwords", addr), "give an address of this host's loopback; for more use `meridian start`")
	}
	if p > 0 {
		p += k
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(p)))
	if err != nil {
		return nil, flagErr(flag, err.Error(), "end the process that uses the port, or give another one")
	}
	return l, nil
}
