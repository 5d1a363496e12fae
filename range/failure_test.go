package ranges

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"go.etcd.io/raft/v3"

	"github.com/meridian-db/meridian/truetime"
)

// badDisk refuses every change to files whose path holds part, from the n-th one on.
type badDisk struct {
	part  string
	left  atomic.Int64
	armed atomic.Bool
	hits  atomic.Int64
}

func (d *badDisk) wrap(fs *vfs.MemFS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !d.armed.Load() || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || !strings.Contains(op.Path, d.part) || d.left.Add(-1) >= 0 {
			return nil
		}
		d.hits.Add(1)
		if op.Kind == errorfs.OpCreate {
			// The engine tries a flush again at once, for ever: let the bubble's time go on.
			time.Sleep(10 * time.Millisecond)
		}
		return errorfs.ErrInjected
	}))
}

// countLines is a log handler that counts.
type countLines struct {
	mu    sync.Mutex
	lines []string
}

func (h *countLines) Enabled(context.Context, slog.Level) bool { return true }
func (h *countLines) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *countLines) WithGroup(string) slog.Handler            { return h }
func (h *countLines) Handle(_ context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	h.lines = append(h.lines, line)
	return nil
}

// A leader whose disk starts to refuse writes, at any moment, in the log or in the state, falls silent: it says so
// once, others take over, and whatever was acknowledged is there, on it too when it comes back with a good disk.
func TestFailStop(t *testing.T) {
	for _, part := range []string{"raftlog", "state"} {
		for n := range int64(12) {
			t.Run(fmt.Sprintf("%s/%d", part, n), func(t *testing.T) { failStop(t, part, n) })
		}
	}
}

func failStop(t *testing.T, part string, n int64) {
	lines := &countLines{}
	runSim(t, uint64(40+n), 3, nil, func(c *sim) {
		c.logger = slog.New(lines)
		disks := map[NodeID]*badDisk{}
		for id, x := range c.nodes {
			d := &badDisk{part: part}
			d.left.Store(n)
			disks[id], x.wrap = d, d.wrap
		}
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "0")
		time.Sleep(time.Second)
		x := c.nodes[r.NodeID()]
		disks[x.id].armed.Store(true)
		acked := 0
		for i := 1; ; i++ {
			if i == 1000 {
				t.Fatal("the disk never failed")
			}
			if part == "state" {
				if _, err := x.eng.FlushAsync(); err != nil {
					t.Fatal(err)
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
			p, err := r.Propose(ctx, Proposal{Timed: true, Encode: func(ts truetime.Timestamp) []byte { return encodePut(ts, "a", fmt.Sprint(i)) }})
			if err == nil {
				_, err = p.Wait(ctx)
			}
			cancel()
			if err != nil {
				if ctx.Err() == context.DeadlineExceeded {
					t.Error("a proposer was left waiting")
				}
				break
			}
			acked = i
			time.Sleep(time.Millisecond)
		}
		if r.Lease().Until != 0 {
			t.Error("it still has a lease")
		}
		time.Sleep(time.Millisecond) // what was on its way out has left
		said := 0
		c.net.mu.Lock()
		c.net.taps = append(c.net.taps, func(from, to NodeID, frame []byte) {
			if from == x.id {
				said++
			}
		})
		c.net.mu.Unlock()
		r2 := c.leader("a", 5*time.Second, x.id)
		c.until(5*time.Second, "what was acknowledged is there", func() bool {
			got := 0
			_, err := fmt.Sscan(c.get(c.nodes[r2.NodeID()], "a", truetime.MaxTimestamp), &got)
			return err == nil && got >= acked
		})
		c.mustPut(r2, "a", "last")
		time.Sleep(5 * time.Second)
		c.net.mu.Lock()
		if said > 0 {
			t.Errorf("%d frames after the failure", said)
		}
		delete(c.net.stores, x.id)
		c.net.mu.Unlock()
		if disks[x.id].hits.Load() == 0 {
			t.Error("nothing was refused")
		}

		// The process ends; the next one has a good disk and what was synced.
		clone := x.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(uint64(n), 9))})
		_ = x.store.Close()
		disks[x.id].armed.Store(false) // so that the engine stops trying
		_ = x.eng.Close()
		if len(x.failures) != 1 {
			t.Errorf("Failed was told %d times: %v", len(x.failures), x.failures)
		}
		lines.mu.Lock()
		stops := 0
		for _, l := range lines.lines {
			if strings.Contains(l, "the node stops") {
				stops++
			}
		}
		if stops != 1 || len(lines.lines) > 5 {
			t.Errorf("the log has %d lines, %d of them that the node stops:\n%s", len(lines.lines), stops, strings.Join(lines.lines[:min(10, len(lines.lines))], "\n"))
		}
		lines.mu.Unlock()
		x.fs, x.wrap, x.store, x.eng = clone, nil, nil, nil
		c.restart(x)
		c.until(10*time.Second, "it has caught up", func() bool { return c.get(x, "a", truetime.MaxTimestamp) == "last" })
	})
}

// A store whose files are taken away notices, although what is open can be written on.
func TestFilesTakenAway(t *testing.T) {
	runSim(t, 41, 3, nil, func(c *sim) {
		c.startAll(desc(1, "\x02", "\xff", 1, 2, 3))
		r := c.leader("a", 5*time.Second)
		c.mustPut(r, "a", "1")
		x := c.nodes[r.NodeID()]
		if err := x.fs.RemoveAll("ranges"); err != nil {
			t.Fatal(err)
		}
		r2 := c.leader("a", 5*time.Second, x.id)
		c.mustPut(r2, "a", "2")
		c.net.mu.Lock()
		delete(c.net.stores, x.id)
		c.net.mu.Unlock()
		_ = x.store.Close()
		_ = x.eng.Close()
		x.store = nil
		if len(x.failures) != 1 {
			t.Errorf("Failed was told %v", x.failures)
		}
	})
}

// TestPanicWhileStepping: whoever brings work steps the replica, and may recover panics of its own. When Raft panics the
// store stops all the same, and nobody waits for the step.
func TestPanicWhileStepping(t *testing.T) {
	failed := make(chan error, 1)
	s := &Store{
		cfg:   Config{Logger: slog.New(slog.DiscardHandler), Failed: func(err error) { failed <- err }},
		sched: newScheduler(), appends: newAppendQueue(),
	}
	s.byKey.Store(new([]*Replica))
	s.outboxes.New = func() any { return newOutbox(s) }
	r := &Replica{id: 7, store: s}
	r.mu.rn = new(raft.RawNode) // panics at the first touch
	func() {
		defer func() { _ = recover() }() // as a session does
		s.run(r)
	}()
	if !s.failed() {
		t.Fatal("the store goes on")
	}
	if err := <-failed; !strings.Contains(err.Error(), "r7 panicked") {
		t.Error(err)
	}
	s.sched.close() // returns once nobody steps a replica
}
