package truetime_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/truetime/ntpserver"
)

// startServers returns n responders on one anchored clock, and sources that ask them.
func startServers(t testing.TB, n int) ([]*ntpserver.Server, []truetime.Source) {
	clock := ntpserver.AnchoredClock(truetime.SystemClock())
	var srvs []*ntpserver.Server
	var srcs []truetime.Source
	for range n {
		s, err := ntpserver.Listen(ntpserver.Config{Addr: "127.0.0.1:0", Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		src, err := truetime.ParseSource("ntp://" + s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		srvs, srcs = append(srvs, s), append(srcs, src)
	}
	return srvs, srcs
}

func newClock(t testing.TB, cfg truetime.Config) *truetime.SyncClock {
	c, err := truetime.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func waitSynced(t testing.TB, c *truetime.SyncClock) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.WaitSynced(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestNTP runs the whole path over loopback: three servers, one of them lying by 900 ms.
func TestNTP(t *testing.T) {
	srvs, srcs := startServers(t, 3)
	srvs[2].Set(ntpserver.Reply{Offset: 900 * time.Millisecond})
	c := newClock(t, truetime.Config{Sources: srcs, PollInterval: 20 * time.Millisecond})
	waitSynced(t, c)
	before := truetime.FromTime(time.Now())
	iv := c.Now()
	if after := truetime.FromTime(time.Now()); iv.Latest < before || iv.Earliest > after {
		t.Errorf("%v is not the time of the wall clock that the servers started from, from %s to %s", iv, before, after)
	}
	st := c.Status()
	// How far away a server on a busy machine is cannot be said, but the one that lies would make it half of its lie.
	if st.Bound <= 0 || st.Bound > 400*time.Millisecond || !st.Synced || st.Fenced != "" {
		t.Errorf("status %+v", st)
	}
	if v := st.Sources[2].Verdict; v != truetime.VerdictLiar {
		t.Errorf("the lying source is %q", v)
	}
	ts := iv.Latest
	if err := c.WaitAfter(context.Background(), ts); err != nil {
		t.Fatal(err)
	}
	if !c.Now().After(ts) {
		t.Error("WaitAfter returned before its timestamp had passed")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.WaitAfter(ctx, truetime.MaxTimestamp); err != context.Canceled {
		t.Errorf("cancelled WaitAfter: %v", err)
	}
}

// TestBadServers checks that a server's own doubts keep it out, each with its reason.
func TestBadServers(t *testing.T) {
	for _, tc := range []struct {
		name  string
		reply ntpserver.Reply
		want  string
	}{
		{"unsynchronised stratum", ntpserver.Reply{Stratum: 16}, "stratum"},
		{"leap not in sync", ntpserver.Reply{Leap: 3}, "leap"},
		{"dispersion", ntpserver.Reply{RootDispersion: 20 * time.Second}, "dispersion"},
		{"kiss of death", ntpserver.Reply{Kiss: "RATE"}, "RATE"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srvs, srcs := startServers(t, 1)
			srvs[0].Set(tc.reply)
			_, err := srcs[0].Sample(t.Context(), truetime.SystemClock())
			if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tc.want)) {
				t.Errorf("error %v, want one about %q", err, tc.want)
			}
		})
	}
}

// TestBoundCoversAsymmetry: an answer held back by 2 ms shifts the offset by 1 ms; the bound must cover it.
func TestBoundCoversAsymmetry(t *testing.T) {
	srvs, srcs := startServers(t, 2)
	srvs[1].Set(ntpserver.Reply{Delay: 2 * time.Millisecond})
	local := truetime.SystemClock()
	good, err := srcs[0].Sample(t.Context(), local)
	if err != nil {
		t.Fatal(err)
	}
	slow, err := srcs[1].Sample(t.Context(), local)
	if err != nil {
		t.Fatal(err)
	}
	if slow.Bound < time.Millisecond {
		t.Errorf("bound %s does not hold half of the round trip", slow.Bound)
	}
	if d := slow.Offset - good.Offset; max(d, -d) > int64(slow.Bound+good.Bound) {
		t.Errorf("offsets differ by %s, bounds are %s and %s", time.Duration(d), slow.Bound, good.Bound)
	}
}

func TestParseSource(t *testing.T) {
	for _, ok := range []string{"ntp://a", "ntp://a:123", "ntp://[::1]:1123", "ntp://127.0.0.1:9", "host", "kernel"} {
		if _, err := truetime.ParseSource(ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "ntp://", "ntp://a:", "ntp://a:0", "ntp://a:70000", "ntp://a/b", "a:123", "chrony"} {
		if _, err := truetime.ParseSource(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

// fakeLocal is an oscillator that can be suspended.
type fakeLocal struct {
	truetime.LocalClock
	asleep atomic.Int64
}

func (f *fakeLocal) Boot() int64 { return f.LocalClock.Boot() + f.asleep.Load() }

// heldSource can be kept from answering.
type heldSource struct {
	truetime.Source
	held sync.RWMutex
}

func (s *heldSource) Sample(ctx context.Context, local truetime.LocalClock) (truetime.Sample, error) {
	s.held.RLock()
	defer s.held.RUnlock()
	return s.Source.Sample(ctx, local)
}

// TestPause: the very next Now after a suspend must not answer from before it.
func TestPause(t *testing.T) {
	_, srcs := startServers(t, 1)
	local, src := &fakeLocal{LocalClock: truetime.SystemClock()}, &heldSource{Source: srcs[0]}
	c := newClock(t, truetime.Config{Sources: []truetime.Source{src}, Local: local, PollInterval: time.Hour})
	waitSynced(t, c)
	src.held.Lock() // else the poll that the suspend asks for may be over before we have looked
	local.asleep.Add(int64(10 * time.Second))
	for start := time.Now(); time.Since(start) < time.Millisecond; { // longer than the gap between two checks
	}
	if iv := c.Now(); iv.Latest != truetime.MaxTimestamp {
		t.Errorf("after a suspend Now is %v", iv)
	}
	if err := c.Health(); err == nil || !strings.Contains(err.Error(), "suspended") {
		t.Errorf("health: %v", err)
	}
	src.held.Unlock()
	waitSynced(t, c) // The suspend asks for a poll at once; the interval is an hour.
}

// TestPeersFence: a clock whose peers all contradict it does not give out its interval until they agree.
func TestPeersFence(t *testing.T) {
	c := newClock(t, truetime.Config{Sources: []truetime.Source{truetime.HostSource()}})
	waitSynced(t, c)
	sent, _ := c.Peer()
	far := truetime.Interval{Earliest: sent.Earliest.Add(time.Hour), Latest: sent.Latest.Add(time.Hour)}
	c.ObservePeer(2, far, sent)
	c.ObservePeer(3, far, sent)
	if c.Health() == nil {
		t.Error("not fenced")
	}
	c.ObservePeer(3, sent, sent)
	if err := c.Health(); err != nil {
		t.Error(err)
	}
}

// TestSimClock: on virtual time the interval contains time.Now and WaitAfter ends as soon as it may.
func TestSimClock(t *testing.T) {
	for _, cfg := range []truetime.SimConfig{
		{}, {Bound: 5 * time.Millisecond, Offset: 5 * time.Millisecond}, {Bound: 2 * time.Millisecond, Offset: -time.Second},
		{Bound: time.Millisecond, DriftPPM: 200}, {Bound: time.Millisecond, Offset: -time.Millisecond, DriftPPM: -170},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := truetime.NewSimClock(cfg)
			for range 1000 {
				time.Sleep(17 * time.Millisecond)
				iv, now := c.Now(), truetime.FromTime(time.Now())
				if now < iv.Earliest || now > iv.Latest {
					t.Fatalf("%+v: %v does not contain %v", cfg, iv, now)
				}
			}
			ts := c.Now().Latest
			start := time.Now()
			if err := c.WaitAfter(t.Context(), ts); err != nil {
				t.Fatal(err)
			}
			if !c.Now().After(ts) || time.Since(start) > 11*time.Millisecond {
				t.Errorf("%+v: waited %s", cfg, time.Since(start))
			}
		})
	}
}

func BenchmarkNow(b *testing.B) {
	c := newClock(b, truetime.Config{Sources: []truetime.Source{truetime.HostSource()}})
	waitSynced(b, c)
	for b.Loop() {
		c.Now()
	}
}

// BenchmarkCommitWait reports the overshoot of a wait of about twice the bound.
func BenchmarkCommitWait(b *testing.B) {
	_, srcs := startServers(b, 3)
	c := newClock(b, truetime.Config{Sources: srcs})
	waitSynced(b, c)
	var over, bound time.Duration
	for b.Loop() {
		ts := c.Now().Latest
		if err := c.WaitAfter(context.Background(), ts); err != nil {
			b.Fatal(err)
		}
		iv := c.Now()
		over += iv.Earliest.Sub(ts)
		bound += iv.Bound()
	}
	b.ReportMetric(float64(over.Microseconds())/float64(b.N), "overshoot-µs")
	b.ReportMetric(float64(bound.Microseconds())/float64(b.N), "bound-µs")
}
