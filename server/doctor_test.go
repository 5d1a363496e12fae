package server

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/truetime"
)

// findings collects what the doctor says.
type findings []Finding

func (f *findings) say(l Level, area, fix, format string, args ...any) {
	sayTo(func(x Finding) { *f = append(*f, x) })(l, area, fix, format, args...)
}

// want looks for a finding of a level whose text and advice hold what is given. What is not good must come with advice.
func (f findings) want(t *testing.T, l Level, text, fix string) {
	t.Helper()
	found := false
	for _, x := range f {
		if x.Level != Good && x.Fix == "" {
			t.Errorf("no advice for %q", x.Text)
		}
		found = found || x.Level == l && strings.Contains(x.Text, text) && strings.Contains(x.Fix, fix)
	}
	if !found {
		t.Errorf("no finding %s with %q and advice %q in %+v", l, text, fix, f)
	}
}

// sickDisk is a file system whose fsyncs take a while, or that has little or no room.
type sickDisk struct {
	vfs.FS
	fsync time.Duration
	free  uint64
	full  bool
}

func (d *sickDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: d.free, TotalBytes: 100 << 30}, nil
}

func (d *sickDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return &sickFile{f, d}, err
}

type sickFile struct {
	vfs.File
	d *sickDisk
}

func (f *sickFile) Write(b []byte) (int, error) {
	if f.d.full {
		return 0, syscall.ENOSPC
	}
	return f.File.Write(b)
}

func (f *sickFile) SyncData() error {
	time.Sleep(f.d.fsync) // of virtual time
	return f.File.SyncData()
}

// TestDoctorDisk: the doctor tells a slow disk, one with little room and a full one from a good one, and leaves nothing behind.
func TestDoctorDisk(t *testing.T) {
	const much = 50 << 30
	for name, c := range map[string]struct {
		disk      sickDisk
		level     Level
		text, fix string
	}{
		"good":   {sickDisk{fsync: 2 * time.Millisecond, free: much}, Good, "an fsync takes 2ms", ""},
		"slow":   {sickDisk{fsync: 60 * time.Millisecond, free: much}, Doubtful, "an fsync takes 60ms", "use a faster disk"},
		"little": {sickDisk{free: 2 << 30}, Doubtful, "2.0 GiB of 100.0 GiB are free", "add space"},
		"none":   {sickDisk{free: 100 << 20}, Bad, "0.1 GiB of 100.0 GiB are free", "add space"},
		"full":   {sickDisk{free: much, full: true}, Bad, "no space left", "add space"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := c.disk
				disk.FS = vfs.NewMem()
				if err := disk.MkdirAll("/data", 0o755); err != nil {
					t.Fatal(err)
				}
				var got findings
				diagnoseStore(Config{Store: "/data/store", FS: &disk}, got.say)
				got.want(t, c.level, c.text, c.fix)
				if left, err := disk.List("/data"); err != nil || len(left) != 0 {
					t.Errorf("it left %v, %v", left, err)
				}
			})
		})
	}
}

// TestDoctorCerts: certificates that are good, end soon, have ended, and whose authority ends soon.
func TestDoctorCerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		ca, dir := filepath.Join(t.TempDir(), "ca"), filepath.Join(t.TempDir(), "node")
		if err := IssueCA(ca, 200*day); err != nil {
			t.Fatal(err)
		}
		if err := IssueNode(ca, dir, []string{"localhost"}, 120*day); err != nil {
			t.Fatal(err)
		}
		look := func() (got findings) {
			diagnoseCerts(Config{Certs: dir, RPCAddr: "localhost:7433"}, got.say)
			return got
		}
		look().want(t, Good, "good until", "")
		if got := look(); len(got) != 1 {
			t.Errorf("more than one finding about good certificates: %+v", got)
		}
		time.Sleep(115 * day)
		look().want(t, Doubtful, "the node's certificate ends on", "meridian cert node")
		look().want(t, Doubtful, "the CA's certificate", "meridian cert ca")
		time.Sleep(10 * day)
		look().want(t, Bad, "expired", "meridian cert node")
		if err := os.Remove(filepath.Join(dir, nodeKeyFile)); err != nil {
			t.Fatal(err)
		}
		look().want(t, Bad, nodeKeyFile, "`meridian cert` makes")
	})
}

// TestDoctorPorts: a port that somebody listens on is told from a free one.
func TestDoctorPorts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var got findings
	diagnosePorts(Config{SQLAddr: l.Addr().String(), RPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0"}, got.say)
	got.want(t, Bad, "address already in use", "end the process that uses the port")
	got.want(t, Good, "is free", "")
	if got[0].Area != "--sql-addr" || got[1].Level != Good || got[2].Level != Good {
		t.Errorf("ports: %+v", got)
	}
}

// offSource is a time source that is off by so much, or silent.
type offSource struct {
	name  string
	off   time.Duration
	err   error
	polls atomic.Int32
	third chan struct{} // closed by the third poll: what the first two have brought is known then
}

func (s *offSource) Name() string { return s.name }
func (s *offSource) Sample(_ context.Context, local truetime.LocalClock) (truetime.Sample, error) {
	if s.polls.Add(1) == 3 {
		close(s.third)
	}
	return truetime.Sample{Raw: local.Raw(), Offset: int64(s.off), Bound: 2 * time.Millisecond}, s.err
}

// TestDoctorClock: three sources that agree, one that lies, and no majority.
func TestDoctorClock(t *testing.T) {
	silent := errors.New("no answer")
	for name, c := range map[string]struct {
		off     [3]time.Duration
		err     [3]error
		want    []Finding
		healthy bool
	}{
		"agree": {want: []Finding{{Level: Good, Text: "the time is known to"}}, healthy: true},
		"liar":  {off: [3]time.Duration{2: time.Minute}, want: []Finding{{Level: Good, Text: "the time is known to"}}, healthy: true},
		"no majority": {off: [3]time.Duration{0, time.Minute, -time.Minute},
			want: []Finding{{Level: Bad, Fix: "majority of the sources agrees"}, {Level: Doubtful, Text: "b: ", Fix: "mend that server"}}},
		"silent": {err: [3]error{nil, silent, silent},
			want: []Finding{{Level: Bad, Fix: "majority of the sources agrees"}, {Level: Doubtful, Text: "b: no answer", Fix: "can be reached by UDP"}}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cfg := truetime.Config{PollInterval: time.Millisecond, MaxUncertainty: 50 * time.Millisecond}
			var all []*offSource
			for i, n := range []string{"a", "b", "c"} {
				s := &offSource{name: n, off: c.off[i], err: c.err[i], third: make(chan struct{})}
				all, cfg.Sources = append(all, s), append(cfg.Sources, s)
			}
			if !c.healthy { // the doctor would wait for better news
				go func() {
					for _, s := range all {
						select {
						case <-s.third:
						case <-ctx.Done():
						}
					}
					cancel()
				}()
			}
			var got findings
			diagnoseClock(ctx, cfg, got.say)
			for _, f := range got {
				if c.healthy && f.Level == Bad {
					t.Errorf("%+v", f)
				}
			}
			for _, w := range c.want {
				got.want(t, w.Level, w.Text, w.Fix)
			}
		})
	}
}
