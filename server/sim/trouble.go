package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	ranges "github.com/meridian-db/meridian/range"
)

// trouble carries out a schedule. Events of each of the two groups happen one after the other.
type trouble struct {
	c    *Cluster
	life *Life

	mu   sync.Mutex
	errs []error
}

// run carries out the events that keep nodes from serving, or the others.
func (t *trouble) run(ctx context.Context, begin time.Time, onNode bool) {
	for _, e := range t.life.Schedule {
		if e.onNode() != onNode {
			continue
		}
		pause(ctx, time.Until(begin.Add(e.At)))
		if ctx.Err() != nil {
			return
		}
		if err := t.do(ctx, e); err != nil {
			t.mu.Lock()
			t.errs = append(t.errs, fmt.Errorf("%s: %w", e, err))
			t.mu.Unlock()
			return
		}
	}
}

// do makes one event happen and ends it. Its error is a node that does not start again.
func (t *trouble) do(ctx context.Context, e Event) error {
	c := t.c
	n := c.Nodes()[e.Node%len(c.Nodes())]
	rng := rand.New(rand.NewPCG(e.Seed, 9))
	if e.Lead {
		if rep := t.leader(listKey(rng.IntN(t.life.Keys))); rep != nil {
			if i := slices.IndexFunc(c.Nodes(), func(o *Node) bool { return o.ID == rep.NodeID() }); i >= 0 {
				n = c.Nodes()[i]
			}
		}
	}
	if e.onNode() && rng.IntN(2) == 0 {
		// Who comes back has much to do.
		n.busyFor(e.For + time.Duration(rng.IntN(3000))*time.Millisecond)
	}
	switch e.Kind {
	case KindCrash:
		n.Crash()
		pause(ctx, e.For)
		return n.Restart()
	case KindBlackout:
		for _, o := range c.Nodes() {
			o.Crash()
		}
		pause(ctx, e.For)
		for _, o := range c.Nodes() {
			if err := o.Restart(); err != nil {
				return err
			}
		}
	case KindRestart:
		n.Stop(ctx)
		pause(ctx, e.For)
		return n.Restart()
	case KindFullDisk:
		n.disk.full.Store(true)
		pause(ctx, e.For)
		n.disk.full.Store(false)
		return n.Restart() // if anything had to be written
	case KindIsolate:
		c.Net.Isolate(n.ID)
		pause(ctx, e.For)
		c.Net.Heal()
	case KindDeaf, KindMute:
		for _, o := range c.Nodes() {
			switch {
			case o == n:
			case e.Kind == KindDeaf:
				c.Net.Cut(o.ID, n.ID)
			default:
				c.Net.Cut(n.ID, o.ID)
			}
		}
		pause(ctx, e.For)
		c.Net.Heal()
	case KindFlap:
		for end := time.Now().Add(e.For); time.Now().Before(end) && ctx.Err() == nil; {
			c.Net.Isolate(n.ID)
			pause(ctx, time.Duration(20+rng.IntN(400))*time.Millisecond)
			c.Net.Heal()
			pause(ctx, time.Duration(20+rng.IntN(400))*time.Millisecond)
		}
	case KindSick:
		n.Clock.SetHealth(errors.New("sim: no time source"))
		pause(ctx, e.For)
		n.Clock.SetHealth(nil)
	case KindStall:
		until := time.Now().Add(e.For)
		n.disk.stalled.Store(until.UnixNano())
		c.Net.Stall(n.ID, until)
		pause(ctx, e.For)
	case KindReplace:
		return c.Replace(ctx, n)
	case KindJump:
		bound := time.Duration(2+rng.IntN(24)) * time.Millisecond
		for _, o := range c.Nodes() {
			o.Clock.SetBound(bound)
		}
		for end := time.Now().Add(e.For); time.Now().Before(end) && ctx.Err() == nil; {
			d := time.Duration(rng.Int64N(int64(2*bound))) - bound
			if rng.IntN(2) == 0 {
				d *= 1000 // to an end
			}
			c.Nodes()[rng.IntN(len(c.Nodes()))].Clock.Jump(d)
			pause(ctx, time.Duration(10+rng.IntN(300))*time.Millisecond)
		}
		for _, o := range c.Nodes() {
			o.Clock.SetBound(c.cfg.ClockBound)
		}
	case KindSlowDisk:
		n.disk.slow.Store(int64(20+rng.IntN(180)) * int64(time.Millisecond))
		pause(ctx, e.For)
		n.disk.slow.Store(0)
	case KindBusy:
		n.busyFor(e.For)
		pause(ctx, e.For)
	case KindLossy:
		c.Net.SetFaults(Faults{Latency: time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.05, Dup: 0.05})
		pause(ctx, e.For)
		c.Net.SetFaults(Faults{Latency: time.Millisecond})
	case KindLate:
		c.Net.Delay(n.ID, 4*time.Second)
		pause(ctx, e.For)
		c.Net.Delay(n.ID, 0)
	case KindWide:
		for _, o := range c.Nodes() {
			o.Clock.SetBound(25 * time.Millisecond)
		}
		pause(ctx, e.For)
		// Back inside the narrow bound the clocks jump, as clocks do whose sources are good again.
		for _, o := range c.Nodes() {
			o.Clock.SetBound(c.cfg.ClockBound)
		}
	case KindSplit:
		if rep := t.leader(listKey(rng.IntN(t.life.Keys))); rep != nil {
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_ = rep.Split(try, listKey(rng.IntN(t.life.Keys)))
		}
	case KindMove:
		if rep := t.leader(listKey(rng.IntN(t.life.Keys))); rep != nil {
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_ = rep.TransferLease(try, n.ID)
		}
	}
	return nil
}

// leader returns the replica that leads a key's range, nil if none does.
func (t *trouble) leader(key []byte) *ranges.Replica {
	for _, n := range t.c.Nodes() {
		if core := n.Core(); core != nil {
			if rep, ok := core.Store.ReplicaForKey(key); ok && rep.Lease().Until > n.Clock.Now().Latest {
				return rep
			}
		}
	}
	return nil
}

// calm ends every fault but those of nodes that are down.
func (c *Cluster) calm() {
	c.Net.Heal()
	c.Net.SetFaults(Faults{Latency: time.Millisecond})
	for _, n := range c.Nodes() {
		n.disk.full.Store(false)
		n.disk.slow.Store(0)
		n.disk.stalled.Store(0)
		n.busy.Store(0)
		c.Net.Stall(n.ID, time.Time{})
		c.Net.Delay(n.ID, 0)
		n.Clock.SetHealth(nil)
	}
}
