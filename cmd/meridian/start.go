package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/truetime/ntpserver"
)

// nodeFlags are the flags that describe a node.
func nodeFlags(f *flags) *server.Config {
	cfg := &server.Config{}
	f.StringVar(&cfg.Store, "store", "", "directory of the store; created when it does not exist")
	f.StringVar(&cfg.SQLAddr, "sql-addr", "127.0.0.1:5433", "host:port for PostgreSQL clients")
	f.StringVar(&cfg.RPCAddr, "rpc-addr", "127.0.0.1:7433", "host:port for other nodes")
	f.StringVar(&cfg.AdvertiseRPCAddr, "advertise-rpc-addr", "", "host:port that other nodes dial, if not --rpc-addr")
	f.StringVar(&cfg.HTTPAddr, "http-addr", "127.0.0.1:8080", "host:port for the console, health, metrics and profiles")
	f.StringVar(&cfg.Region, "region", "default", "region this node is in")
	f.StringVar(&cfg.Zone, "zone", "a", "zone of the region this node is in")
	f.Var((*list)(&cfg.TimeSources), "time-source", "ntp://host:port or kernel; repeat it, better for three servers")
	f.Var((*list)(&cfg.Join), "join", "host:port of members to join through, separated by commas; without it a new store founds a cluster")
	f.StringVar(&cfg.Certs, "certs", "", "directory with ca.crt, node.crt and node.key")
	f.StringVar(&cfg.HBA, "hba", "", "file of rules who may log in from where and how, as PostgreSQL's pg_hba.conf")
	f.StringVar(&cfg.StoreKey, "store-key", "", "file with the key that the store is encrypted under; `meridian cert store-key` makes one")
	f.StringVar(&cfg.OldStoreKey, "old-store-key", "", "file with the store key before, to change it to --store-key")
	f.StringVar(&cfg.AuditLog, "audit-log", "", "file to record logins in and, by the settings pgaudit.*, statements")
	f.BoolVar(&cfg.Insecure, "insecure", false, "no TLS and no passwords, on loopback only")
	f.BoolVar(&cfg.InsecureListenAnywhere, "insecure-listen-anywhere", false, "with --insecure: listen beyond loopback too")
	f.StringVar(&cfg.PostgresPassword, "postgres-password", "", "password of the user postgres when this node founds a cluster")
	f.StringVar(&cfg.SimulatedLatency, "simulated-latency", "off", "latency added between regions: off, lan, wan, world or a file")
	f.DurationVar(&cfg.MaxClockUncertainty, "max-clock-uncertainty", 50*time.Millisecond, "stop serving while the clock is less certain")
	f.DurationVar(&cfg.ClockPollInterval, "clock-poll-interval", time.Second, "how often to ask each time source; 64s or more for public servers")
	f.Int64Var(&cfg.CacheBytes, "cache-bytes", 256<<20, "block cache")
	f.Int64Var(&cfg.RangeMaxBytes, "range-max-bytes", 512<<20, "split a range that grows beyond this")
	f.DurationVar(&cfg.ReplaceAfter, "replace-after", 5*time.Minute, "replace the replicas of a node that has been down for so long")
	f.DurationVar(&cfg.DrainTimeout, "drain-timeout", 10*time.Second, "how long SIGTERM waits for clients and leases")
	return cfg
}

func runStart(ctx context.Context, args []string, e env) error {
	f := newFlags("start", "--store DIR --time-source ntp://HOST:PORT [flags]", e)
	node := nodeFlags(f)
	level := f.String("log-level", "info", "debug, info, warn or error")
	if err := f.parse(args); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	cfg := *node
	var err error
	if cfg.Logger, err = logger(e, *level); err != nil {
		return err
	}
	if cfg.Telemetry, err = server.NewTelemetry(ctx, e.getenv); err != nil {
		return err
	}
	defer cfg.Telemetry.Close()
	server.TuneMemory(e.getenv)
	s, err := server.New(cfg)
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	go func() { started <- s.Start(ctx) }()
	select {
	case err = <-started:
	case <-s.Failed():
		err = s.Failure()
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil // Told to end before it was up.
		}
		return err
	}
	fmt.Fprintf(e.stdout, "node %d of cluster %s is ready: postgres://postgres@%s/postgres\n", s.NodeID(), s.ClusterID(), s.SQLAddr())
	select {
	case <-ctx.Done():
		return s.Stop()
	case <-s.Failed():
		return s.Failure()
	}
}

func (e env) getenv(name string) string {
	v, _ := e.lookup(name)
	return v
}

func runDemo(ctx context.Context, args []string, e env) error {
	f := newFlags("demo", "[flags]", e)
	cfg := server.DemoConfig{}
	var regions list
	f.Var(&regions, "regions", "regions, separated by commas (default us-east,eu-west,ap-south)")
	f.IntVar(&cfg.NodesPerRegion, "nodes-per-region", 1, "nodes in each region")
	f.StringVar(&cfg.Latency, "latency", "", "latency between regions: off, lan, wan, world or a file of lines \"REGION REGION 80ms\" (default world if --regions names parts of the world, as in us-east,eu-west,ap-south; else off)")
	f.StringVar(&cfg.SQLAddr, "sql-addr", "127.0.0.1:5433", "host:port for PostgreSQL clients of node 0; node k's port is k higher")
	f.StringVar(&cfg.HTTPAddr, "http-addr", "127.0.0.1:8080", "host:port for the console and metrics of node 0; node k's port is k higher")
	f.StringVar(&cfg.Data, "data", "", "directory of the stores, kept for the next time (default: a temporary one)")
	level := f.String("log-level", "warn", "debug, info, warn or error")
	if err := f.parse(args); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	cfg.Regions = regions
	if cfg.Latency == "" && len(regions) > 0 {
		if _, err := server.ParseLatency("world", regions); err == nil {
			cfg.Latency = "world"
		}
	}
	var err error
	if cfg.Logger, err = logger(e, *level); err != nil {
		return err
	}
	if cfg.Data == "" {
		if cfg.Data, err = os.MkdirTemp("", "meridian-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(cfg.Data)
	}
	if cfg.Telemetry, err = server.NewTelemetry(ctx, e.getenv); err != nil {
		return err
	}
	defer cfg.Telemetry.Close()
	server.TuneMemory(e.getenv)
	begin := time.Now()
	d, err := server.StartDemo(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	d.PrintReady(e.stdout, time.Since(begin))
	select {
	case <-ctx.Done():
	case err := <-d.Failed():
		return err
	}
	fmt.Fprintln(e.stdout, "\nending")
	return d.Stop()
}

func runTimeserver(ctx context.Context, args []string, e env) error {
	f := newFlags("timeserver", "--listen HOST:PORT [flags]", e)
	listen := f.String("listen", "", "UDP host:port to answer NTP on")
	dispersion := f.Duration("root-dispersion", 0, "error of this host's clock to state, as far as known")
	stratum := f.Int("stratum", 1, "stratum to state")
	offset := f.Duration("offset", 0, "state a time that is wrong by this much: for drills, to see a cluster deal with it")
	if err := f.parse(args); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	switch {
	case *listen == "":
		return &server.FlagError{Flag: "listen", Problem: "is required", Fix: "give the UDP address to answer on, as in 0.0.0.0:123"}
	case *dispersion < 0:
		return &server.FlagError{Flag: "root-dispersion", Problem: "is negative", Fix: "give a duration such as 1ms"}
	case *stratum < 1 || *stratum > 15:
		return &server.FlagError{Flag: "stratum", Problem: fmt.Sprintf("%d is out of range", *stratum), Fix: "give 1 to 15"}
	}
	s, err := ntpserver.Listen(ntpserver.Config{Addr: *listen, Reply: ntpserver.Reply{Offset: *offset, RootDispersion: *dispersion, Stratum: uint8(*stratum)}})
	if err != nil {
		return &server.FlagError{Flag: "listen", Problem: err.Error(), Fix: "give a free UDP address of this host"}
	}
	fmt.Fprintf(e.stdout, "answering NTP on %s\n", s.Addr())
	<-ctx.Done()
	return s.Close()
}
