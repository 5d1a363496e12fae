package server

import (
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
)

// Version is the build's version, set by the linker.
var Version = "devel"

// Config configures a Server. Each field is a flag of `meridian start` and an environment variable: Store is --store
// and MERIDIAN_STORE. A zero field takes the default named in its comment.
type Config struct {
	Store    string // Directory of the store. Required.
	SQLAddr  string // host:port for PostgreSQL clients. Default 127.0.0.1:5433.
	RPCAddr  string // host:port for other nodes. Default 127.0.0.1:7433.
	HTTPAddr string // host:port for health, metrics and profiles. Default 127.0.0.1:8080.
	// AdvertiseRPCAddr is what other nodes dial. Default: RPCAddr; required when that names no host.
	AdvertiseRPCAddr string
	Region           string   // Default "default".
	Zone             string   // Default "a".
	TimeSources      []string // ntp://host:port or kernel. Default: the host's clock, on a cluster of one node only.
	Join             []string // host:port of members. Default: a new store founds a cluster.
	HBA              string   // File of authentication rules, as pg_hba.conf. Default: a certificate or a password, over TLS.
	StoreKey         string   // File with the key that the store is encrypted under. Default: it is not encrypted.
	OldStoreKey      string   // File with the key before, to change it.
	AuditLog         string   // File that logins and, by the settings pgaudit.*, statements are recorded in. Default: none.
	Certs            string   // Directory with ca.crt, node.crt, node.key. Required unless Insecure.
	Insecure         bool     // No TLS and no passwords, on loopback only.
	// InsecureListenAnywhere lets Insecure listen beyond loopback, on networks that are closed by other means.
	InsecureListenAnywhere bool
	PostgresPassword       string        // Of the first superuser when the cluster is founded. Default: none can log in by password.
	SimulatedLatency       string        // off, lan, wan or a file. Default off.
	MaxClockUncertainty    time.Duration // The node stops serving above it. Default 50ms.
	ClockPollInterval      time.Duration // Default 1s, for time servers of one's own.
	CacheBytes             int64         // Block cache. Default 256 MiB.
	RangeMaxBytes          int64         // A range that grows beyond it is split. At least 4 KiB. Default 512 MiB.
	ReplaceAfter           time.Duration // How long a node may be down before its replicas are replaced. At least 1s. Default 5m.
	DrainTimeout           time.Duration // How long SIGTERM waits for clients and leases. Default 10s.

	// What follows is for the demo and for tests.

	Regions    []string          // All regions, for the distances of SimulatedLatency=wan. Default: unknown.
	HostClock  bool              // All nodes share this host: its clock may be the source although there are several.
	FS         vfs.FS            // Default: the disk.
	Cache      *mvcc.Cache       // Shared by the nodes of one process.
	Logger     *slog.Logger      // Default: discards.
	Telemetry  *Telemetry        // Default: off.
	Listeners  Listeners         // Opened beforehand, in place of the addresses.
	TuneCore   func(*CoreConfig) // Last word on the core's configuration.
	TimeServer truetime.Source   // One more source, not by address. Default: none.
}

// Listeners are open sockets.
type Listeners struct{ SQL, RPC, HTTP net.Listener }

// FlagError is a configuration error: which flag, what is wrong, what to do.
type FlagError struct {
	Flag    string // without dashes
	Problem string
	Fix     string
}

func (e *FlagError) Error() string {
	return fmt.Sprintf("--%s (MERIDIAN_%s): %s; %s", e.Flag, EnvName(e.Flag), e.Problem, e.Fix)
}

// EnvName returns the environment variable of a flag, without its prefix.
func EnvName(flag string) string {
	return strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func flagErr(flag, problem, fix string) error { return &FlagError{flag, problem, fix} }

// check fills in defaults and checks what can be checked without touching anything.
func (c *Config) check() error {
	set := func(p *string, def string) {
		if *p == "" {
			*p = def
		}
	}
	set(&c.SQLAddr, "127.0.0.1:5433")
	set(&c.RPCAddr, "127.0.0.1:7433")
	set(&c.HTTPAddr, "127.0.0.1:8080")
	set(&c.Region, "default")
	set(&c.Zone, "a")
	if c.MaxClockUncertainty == 0 {
		c.MaxClockUncertainty = 50 * time.Millisecond
	}
	if c.ClockPollInterval == 0 {
		c.ClockPollInterval = time.Second
	}
	if c.ReplaceAfter == 0 {
		c.ReplaceAfter = 5 * time.Minute
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 10 * time.Second
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = 256 << 20
	}
	if c.RangeMaxBytes == 0 {
		c.RangeMaxBytes = 512 << 20
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Store == "" {
		return flagErr("store", "is required", "give the directory of this node's store; it is created when it does not exist")
	}
	for _, a := range []struct{ flag, addr string }{{"sql-addr", c.SQLAddr}, {"rpc-addr", c.RPCAddr}, {"http-addr", c.HTTPAddr}} {
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			return flagErr(a.flag, fmt.Sprintf("%q is no address", a.addr), "give host:port, as in 127.0.0.1:5433")
		}
	}
	for _, j := range c.Join {
		if host, port, err := net.SplitHostPort(j); err != nil || host == "" || port == "" {
			return flagErr("join", fmt.Sprintf("%q is no address", j), "give the --rpc-addr of a node that runs, as host:port; several are separated by commas")
		}
	}
	for _, r := range []struct{ flag, v string }{{"region", c.Region}, {"zone", c.Zone}} {
		if len(r.v) > 63 || strings.ContainsAny(r.v, " \t\n*,") {
			return flagErr(r.flag, fmt.Sprintf("%q is no name", r.v), "use up to 63 characters without blanks, commas and asterisks")
		}
	}
	switch {
	case c.Insecure && c.Certs != "":
		return flagErr("insecure", "excludes --certs", "give one of them")
	case !c.Insecure && c.Certs == "":
		return flagErr("certs", "is required", "give a directory with ca.crt, node.crt and node.key, or --insecure on a closed network")
	case c.InsecureListenAnywhere && !c.Insecure:
		return flagErr("insecure-listen-anywhere", "has no meaning without --insecure", "leave it out")
	}
	if c.Insecure && !c.InsecureListenAnywhere {
		for _, a := range []struct {
			flag, addr string
			l          net.Listener
		}{{"sql-addr", c.SQLAddr, c.Listeners.SQL}, {"rpc-addr", c.RPCAddr, c.Listeners.RPC}, {"http-addr", c.HTTPAddr, c.Listeners.HTTP}} {
			if a.l == nil && !loopback(a.addr) {
				return flagErr(a.flag, fmt.Sprintf("%s is not loopback, and --insecure has no passwords", a.addr), "use --certs, or --insecure-listen-anywhere on a network that is closed by other means")
			}
		}
	}
	if c.AdvertiseRPCAddr == "" {
		host, _, _ := net.SplitHostPort(c.RPCAddr)
		if ip := net.ParseIP(host); c.Listeners.RPC == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
			return flagErr("advertise-rpc-addr", fmt.Sprintf("is required, as --rpc-addr %s names no host", c.RPCAddr), "give the host:port that other nodes dial")
		}
	} else if host, port, err := net.SplitHostPort(c.AdvertiseRPCAddr); err != nil || host == "" || port == "" {
		return flagErr("advertise-rpc-addr", fmt.Sprintf("%q is no address", c.AdvertiseRPCAddr), "give host:port")
	}
	if c.MaxClockUncertainty < 0 || c.MaxClockUncertainty > time.Minute {
		return flagErr("max-clock-uncertainty", fmt.Sprintf("%s is out of range", c.MaxClockUncertainty), "give a duration between 1ms and 1m")
	}
	if c.ClockPollInterval < 10*time.Millisecond || c.ClockPollInterval > time.Hour {
		return flagErr("clock-poll-interval", fmt.Sprintf("%s is out of range", c.ClockPollInterval), "give a duration between 10ms and 1h")
	}
	if c.ReplaceAfter < time.Second {
		return flagErr("replace-after", fmt.Sprintf("%s is out of range", c.ReplaceAfter), "give a duration of at least 1s")
	}
	if c.RangeMaxBytes < 4<<10 {
		return flagErr("range-max-bytes", fmt.Sprintf("%d is too small", c.RangeMaxBytes), "give at least 4096")
	}
	if c.CacheBytes < 1<<20 {
		return flagErr("cache-bytes", fmt.Sprintf("%d is too small", c.CacheBytes), "give at least 1048576")
	}
	return nil
}

// sources makes the time sources. hostOnly is set when the host's clock is the only one.
func (c *Config) sources(member bool) (srcs []truetime.Source, hostOnly bool, err error) {
	seen := map[string]bool{}
	for _, t := range c.TimeSources {
		src, err := truetime.ParseSource(t)
		if err != nil || t == "host" {
			return nil, false, flagErr("time-source", fmt.Sprintf("%q is no time source", t), "give ntp://host:port, once for each server, or kernel")
		}
		if seen[src.Name()] {
			return nil, false, flagErr("time-source", fmt.Sprintf("%s is given twice", t), "give each server once: a majority of different ones must agree")
		}
		seen[src.Name()] = true
		srcs = append(srcs, src)
	}
	if c.TimeServer != nil {
		srcs = append(srcs, c.TimeServer)
	}
	if len(srcs) > 0 {
		return srcs, false, nil
	}
	if len(c.Join) > 0 && !c.HostClock {
		return nil, false, flagErr("time-source", "is required for a node of several", "give ntp://host:port, better three of them, or kernel; `meridian timeserver` is one for closed networks")
	}
	return []truetime.Source{truetime.HostSource()}, !c.HostClock, nil
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
