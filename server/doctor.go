package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/mvcc/encfs"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/truetime"
)

// Finding is one thing that Diagnose has looked at.
type Finding struct {
	Level Level
	Area  string // the flag it is about, or what else
	Text  string
	Fix   string // when there is something to do
}

// Level says how bad a Finding is.
type Level int

// The levels. A node that is started despite a Bad one does not come up, or is not safe.
const (
	Good Level = iota
	Doubtful
	Bad
)

func (l Level) String() string { return [...]string{"ok", "warn", "FAIL"}[l] }

const (
	slowFsync    = 20 * time.Millisecond
	littleDisk   = 10 << 30
	noDisk       = 1 << 30
	certSoon     = 14 * 24 * time.Hour
	caSoon       = 90 * 24 * time.Hour // every node's certificate must be replaced before
	fewFiles     = 10000
	doctorClock  = 5 * time.Second
	doctorDial   = 3 * time.Second
	fsyncSamples = 30
)

// Diagnose looks at everything that a node with this configuration will depend on, and changes nothing: the store's
// directory is not even created.
func Diagnose(ctx context.Context, cfg Config, report func(Finding)) {
	say := sayTo(report)
	if err := cfg.check(); err != nil {
		var fe *FlagError
		if errors.As(err, &fe) {
			say(Bad, "--"+fe.Flag, fe.Fix, "%s", fe.Problem)
		} else {
			say(Bad, "flags", "", "%v", err)
		}
		return
	}
	member := diagnoseStore(cfg, say)
	if member {
		diagnoseVersions(cfg, say)
	}
	diagnosePorts(cfg, say)
	clientTLS := diagnoseCerts(cfg, say)
	diagnoseTime(ctx, cfg, member, say)
	diagnoseMembers(ctx, cfg, clientTLS, say)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		if files.Max < fewFiles {
			say(Doubtful, "open files", fmt.Sprintf("raise the limit (ulimit -n, LimitNOFILE=) to %d", 4*fewFiles), "this user may open %d files", files.Max)
		} else {
			say(Good, "open files", "", "this user may open %d files", files.Max)
		}
	}
}

type sayFunc func(l Level, area, fix, format string, args ...any)

func sayTo(report func(Finding)) sayFunc {
	return func(l Level, area, fix, format string, args ...any) {
		report(Finding{Level: l, Area: area, Text: fmt.Sprintf(format, args...), Fix: fix})
	}
}

// diagnoseStore reports whether the store is a member's.
func diagnoseStore(cfg Config, say sayFunc) (member bool) {
	const area = "--store"
	dir := cfg.Store
	for {
		if st, err := cfg.FS.Stat(dir); err == nil {
			if !st.IsDir() {
				say(Bad, area, "give a directory", "%s is no directory", dir)
				return false
			}
			break
		}
		parent := cfg.FS.PathDir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	if dir != cfg.Store {
		say(Good, area, "", "%s does not exist yet and will be made in %s", cfg.Store, dir)
	} else {
		id, ok, err := LoadIdentity(cfg.FS, cfg.Store)
		switch {
		case err != nil:
			say(Bad, area, "see above, or give another directory", "%v", err)
		case !ok:
			say(Good, area, "", "%s is empty: a new node", cfg.Store)
		case id.Member():
			member = true
			say(Good, area, "", "%s belongs to node %d of cluster %s", cfg.Store, id.NodeID, id.ClusterID)
		default:
			say(Good, area, "", "%s belongs to a node that has not joined yet", cfg.Store)
		}
	}
	diagnoseStoreKey(cfg, say)
	if u, err := cfg.FS.GetDiskUsage(dir); err == nil {
		l, fix := Good, ""
		if u.AvailBytes < littleDisk {
			l, fix = Doubtful, "add space: a full disk stops the node"
		}
		if u.AvailBytes < noDisk {
			l = Bad
		}
		say(l, area, fix, "%.1f GiB of %.1f GiB are free", float64(u.AvailBytes)/(1<<30), float64(u.TotalBytes)/(1<<30))
	}
	took, err := fsyncLatency(cfg.FS, dir)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		say(Bad, area, "add space, or remove what is not the node's: a full disk stops it", "%v", err)
	case err != nil:
		say(Bad, area, "give a directory that this user can write", "%v", err)
	case took > slowFsync:
		say(Doubtful, area, "use a faster disk, or one of its own: each commit waits for an fsync", "an fsync takes %s", took.Round(time.Microsecond))
	default:
		say(Good, area, "", "an fsync takes %s", took.Round(time.Microsecond))
	}
	return member
}

// diagnoseStoreKey looks whether the store can be opened with the keys given, without changing its seal.
func diagnoseStoreKey(cfg Config, say sayFunc) {
	const area = "--store-key"
	if !encfs.Encrypted(cfg.FS, cfg.Store) {
		if cfg.StoreKey == "" {
			say(Good, area, "", "the store is not encrypted")
		} else if _, err := readStoreKey("store-key", cfg.StoreKey); err != nil {
			say(Bad, area, "`meridian cert store-key` makes one", "%v", err)
		} else {
			say(Good, area, "", "the store will be encrypted")
		}
		return
	}
	probe := cfg
	if probe.OldStoreKey != "" {
		// With both, either may be the one in force: which one says an attempt with each alone.
		probe.OldStoreKey = ""
		if _, err := openStoreFS(&probe, func(string, ...any) {}); err == nil {
			say(Good, area, "", "the store is encrypted under this key already; --old-store-key can go")
			return
		}
		probe.StoreKey = cfg.OldStoreKey
	}
	if _, err := openStoreFS(&probe, func(string, ...any) {}); err != nil {
		var fe *FlagError
		if errors.As(err, &fe) {
			say(Bad, area, fe.Fix, "%s", fe.Problem)
		} else {
			say(Bad, area, "", "%v", err)
		}
		return
	}
	say(Good, area, "", "it opens the store")
}

// fsyncLatency returns the median time of an append with fsync, in a file that is removed again.
func fsyncLatency(fs vfs.FS, dir string) (median time.Duration, err error) {
	path := fs.PathJoin(dir, fmt.Sprintf(".meridian-doctor-%d", os.Getpid()))
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), fs.Remove(path)) }()
	var took []time.Duration
	for range fsyncSamples {
		start := time.Now()
		if _, err := f.Write(make([]byte, 512)); err != nil {
			return 0, err
		}
		if err := f.SyncData(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func diagnosePorts(cfg Config, say sayFunc) {
	for _, p := range []struct{ flag, addr string }{{"--sql-addr", cfg.SQLAddr}, {"--rpc-addr", cfg.RPCAddr}, {"--http-addr", cfg.HTTPAddr}} {
		l, err := net.Listen("tcp", p.addr)
		if err != nil {
			say(Bad, p.flag, "end the process that uses the port, or give another one", "%v", err)
			continue
		}
		l.Close()
		say(Good, p.flag, "", "%s is free", p.addr)
	}
}

func diagnoseCerts(cfg Config, say sayFunc) (client *tls.Config) {
	const area, make, renew = "--certs", "`meridian cert` makes these files", "replace it by `meridian cert node`; a running node takes it up by itself"
	if cfg.Insecure {
		say(Doubtful, "--insecure", "use --certs for anything but trying out", "no TLS and no passwords")
		return nil
	}
	certs, err := LoadCerts(cfg.Certs)
	if err != nil {
		fix := make
		if invalid := (x509.CertificateInvalidError{}); errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			fix = renew
		}
		say(Bad, area, fix, "%v", err)
		return nil
	}
	pair, err := certs.SQL.GetCertificate(nil)
	if err != nil {
		say(Bad, area, make, "%v", err)
		return nil
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		say(Bad, area, make, "%v", err)
		return nil
	}
	if left := time.Until(leaf.NotAfter); left < certSoon {
		say(Doubtful, area, renew, "the node's certificate ends on %s", leaf.NotAfter.Format(time.DateOnly))
	} else {
		say(Good, area, "", "the node's certificate is good until %s, for %v %v", leaf.NotAfter.Format(time.DateOnly), leaf.DNSNames, leaf.IPAddresses)
	}
	if ends := caEnds(cfg.Certs); !ends.IsZero() && time.Until(ends) < caSoon {
		say(Doubtful, area, "make another by `meridian cert ca`, put both into every node's ca.crt, then replace the nodes' certificates", "the CA's certificate, and all that it has signed, ends on %s", ends.Format(time.DateOnly))
	}
	addr := cfg.AdvertiseRPCAddr
	if addr == "" {
		addr = cfg.RPCAddr
	}
	if host, _, err := net.SplitHostPort(addr); err == nil {
		if err := leaf.VerifyHostname(host); err != nil {
			say(Bad, area, "make one with --host "+host, "other nodes will not accept it: %v", err)
		}
	}
	return certs.RPCClient
}

// caEnds is when the last of the authorities in ca.crt ends: until then there is one to sign with. It is zero if they cannot
// be read.
func caEnds(dir string) (last time.Time) {
	rest, err := os.ReadFile(filepath.Join(dir, caCertFile))
	if err != nil {
		return last
	}
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return last
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && c.NotAfter.After(last) {
			last = c.NotAfter
		}
	}
}

func diagnoseTime(ctx context.Context, cfg Config, member bool, say sayFunc) {
	const area = "--time-source"
	srcs, hostOnly, err := cfg.sources(member)
	if err != nil {
		var fe *FlagError
		if errors.As(err, &fe) {
			say(Bad, area, fe.Fix, "%s", fe.Problem)
		}
		return
	}
	if hostOnly {
		say(Doubtful, area, "give three NTP servers before a second node joins", "the host's clock is the only source: good for a cluster of one node")
		return
	}
	if len(srcs) < 3 && cfg.TimeSources[0] != "kernel" {
		say(Doubtful, area, "give three, so that two outvote one that lies", "%d time sources", len(srcs))
	}
	diagnoseClock(ctx, truetime.Config{Sources: srcs, PollInterval: min(cfg.ClockPollInterval, time.Second), MaxUncertainty: cfg.MaxClockUncertainty}, say)
}

// diagnoseClock tries what a clock makes of its sources.
func diagnoseClock(ctx context.Context, cfg truetime.Config, say sayFunc) {
	const area = "--time-source"
	clock, err := truetime.New(cfg)
	if err != nil {
		say(Bad, area, "check the time sources", "%v", err)
		return
	}
	defer clock.Close()
	ctx, cancel := context.WithTimeout(ctx, doctorClock)
	defer cancel()
	err = clock.WaitSynced(ctx)
	st := clock.Status()
	for _, s := range st.Sources {
		switch {
		case s.Verdict == truetime.VerdictGood:
			say(Good, area, "", "%s: %s off the host's clock, bound %s", s.Name, s.Offset.Round(time.Microsecond), s.Bound.Round(time.Microsecond))
		case s.Err != "":
			say(Doubtful, area, "check that it runs and can be reached by UDP", "%s: %s", s.Name, s.Err)
		default:
			say(Doubtful, area, "mend that server, or give another", "%s: %s", s.Name, s.Verdict)
		}
	}
	if err != nil {
		say(Bad, area, "the node would wait until a majority of the sources agrees", "%v", err)
		return
	}
	l, fix := Good, ""
	if st.Bound > 10*time.Millisecond {
		l, fix = Doubtful, "use time servers that are closer"
	}
	say(l, area, fix, "the time is known to %s; a commit takes at least twice that", st.Bound.Round(time.Microsecond))
}

func diagnoseMembers(ctx context.Context, cfg Config, client *tls.Config, say sayFunc) {
	for _, addr := range cfg.Join {
		ctx, cancel := context.WithTimeout(ctx, doctorDial)
		start := time.Now()
		err := rpc.Greet(ctx, addr, client)
		took := time.Since(start)
		cancel()
		if err != nil {
			say(Bad, "--join", "check that the node runs, that the network lets us through, and that both have certificates of one CA", "%v", err)
			continue
		}
		say(Good, "--join", "", "%s answers a greeting within %s", addr, took.Round(time.Microsecond))
	}
}
