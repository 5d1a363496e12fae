package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sort"
	"syscall"
	"time"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// A fault breaks something and returns how to mend it.
type fault func(n *nemesis) (what string, mend func(ctx context.Context) error, err error)

var allFaults = map[string]fault{
	"kill":      kill,
	"terminate": terminate,
	"pause":     pause,
	"isolate":   isolate,
	"partition": partition,
	"oneway":    oneWay,
	"flap":      flap,
	"loss":      loss,
	"diskfull":  diskFull,
	"clockliar": clockLiar,
	"clockgone": clockGone,
	"none":      none,
}

func faultNames() []string {
	names := make([]string, 0, len(allFaults))
	for n := range allFaults {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// nemesis plays one fault after the other. Each is given time to hurt, is mended, and is followed by calm.
type nemesis struct {
	cluster *proc.Cluster
	network *proc.Network
	faults  []string
	rng     *rand.Rand
	w       *workload
	out     io.Writer
	gaps    map[string]*gaps
	line    *timeline
}

func (n *nemesis) pick() (int, *proc.Node) {
	i := n.rng.IntN(len(n.cluster.Nodes))
	return i, n.cluster.Nodes[i]
}

// play runs faults for the given time.
func (n *nemesis) play(ctx context.Context, d time.Duration) error {
	end := time.Now().Add(d)
	rest(ctx, time.Second)
	for time.Now().Before(end) && ctx.Err() == nil {
		name := n.faults[n.rng.IntN(len(n.faults))]
		n.w.takeCommits()
		began := time.Now()
		what, mend, err := allFaults[name](n)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		rest(ctx, 2*time.Second+time.Duration(n.rng.Int64N(int64(6*time.Second))))
		mended := time.Now()
		if err := mend(ctx); err != nil && ctx.Err() == nil {
			return fmt.Errorf("mend %s: %w", what, err)
		}
		n.line.fault(name, what, began, mended)
		rest(ctx, 3*time.Second)
		all, list := n.measure(name, began)
		fmt.Fprintf(n.out, "  %s %s for %.1f s: no commit for %.2f s from %.1f s on, of one list for %.2f s from %.1f s on\n",
			began.Format("15:04:05"), what, mended.Sub(began).Seconds(), all.length.Seconds(), all.start.Sub(began).Seconds(),
			list.length.Seconds(), list.start.Sub(began).Seconds())
	}
	return nil
}

// gap is a time without a commit.
type gap struct {
	start  time.Time
	length time.Duration
}

func (g *gap) stretch(from, to time.Time) {
	if d := to.Sub(from); d > g.length {
		*g = gap{from, d}
	}
}

// measure returns the longest time without any commit since began, and that of the list that had to wait longest.
// With few clients a list also rests by chance.
func (n *nemesis) measure(name string, began time.Time) (all, list gap) {
	now := time.Now()
	last := map[int]time.Time{}
	lastAny := began
	for s := range n.w.options.keys {
		last[s] = began
	}
	for _, c := range n.w.takeCommits() {
		all.stretch(lastAny, c.at)
		lastAny = c.at
		list.stretch(last[c.slot], c.at)
		last[c.slot] = c.at
	}
	all.stretch(lastAny, now)
	for _, at := range last {
		list.stretch(at, now)
	}
	if n.gaps == nil {
		n.gaps = map[string]*gaps{}
	}
	if n.gaps[name] == nil {
		n.gaps[name] = &gaps{}
	}
	g := n.gaps[name]
	g.all, g.list = append(g.all, all.length), append(g.list, list.length)
	return all, list
}

// gaps are what the faults of one kind did to availability.
type gaps struct{ all, list []time.Duration }

func (g *gaps) count() int { return len(g.all) }

func (g *gaps) summary() (worst, worstList, medianList time.Duration) {
	l := slices.Sorted(slices.Values(g.list))
	return slices.Max(g.all), l[len(l)-1], l[len(l)/2]
}

func (n *nemesis) restart(node *proc.Node) func(context.Context) error {
	return func(ctx context.Context) error {
		if err := node.Start(); err != nil {
			return err
		}
		ready, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		return node.WaitReady(ready)
	}
}

// none shows what the workload does by itself: how long lists wait for locks.
func none(*nemesis) (string, func(context.Context) error, error) {
	return "nothing", func(context.Context) error { return nil }, nil
}

func kill(n *nemesis) (string, func(context.Context) error, error) {
	i, node := n.pick()
	node.Kill()
	return fmt.Sprintf("kill -9 of node %d", i+1), n.restart(node), nil
}

func terminate(n *nemesis) (string, func(context.Context) error, error) {
	i, node := n.pick()
	node.Stop()
	return fmt.Sprintf("SIGTERM of node %d", i+1), n.restart(node), nil
}

// pause stops a process that then goes on as if nothing had happened, with leases that have run out.
func pause(n *nemesis) (string, func(context.Context) error, error) {
	i, node := n.pick()
	return fmt.Sprintf("pause of node %d", i+1), func(context.Context) error {
		return node.Signal(syscall.SIGCONT)
	}, node.Signal(syscall.SIGSTOP)
}

func (n *nemesis) heal(context.Context) error { return n.network.Heal() }

func isolate(n *nemesis) (string, func(context.Context) error, error) {
	i, _ := n.pick()
	return fmt.Sprintf("node %d cut off", i+1), n.heal, n.network.Isolate(i)
}

// partition cuts the link between two nodes, which both still reach the others.
func partition(n *nemesis) (string, func(context.Context) error, error) {
	i, _ := n.pick()
	j := (i + 1 + n.rng.IntN(len(n.cluster.Nodes)-1)) % len(n.cluster.Nodes)
	if err := n.network.Block(i, j); err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("no link between nodes %d and %d", i+1, j+1), n.heal, n.network.Block(j, i)
}

func oneWay(n *nemesis) (string, func(context.Context) error, error) {
	i, _ := n.pick()
	j := (i + 1 + n.rng.IntN(len(n.cluster.Nodes)-1)) % len(n.cluster.Nodes)
	return fmt.Sprintf("nothing from node %d to %d", i+1, j+1), n.heal, n.network.Block(i, j)
}

// flap cuts a node off again and again.
func flap(n *nemesis) (string, func(context.Context) error, error) {
	i, _ := n.pick()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := n.network.Isolate(i); err != nil {
				done <- err
				return
			}
			rest(ctx, 300*time.Millisecond)
			if err := n.network.Heal(); err != nil {
				done <- err
				return
			}
			rest(ctx, 700*time.Millisecond)
		}
		done <- nil
	}()
	return fmt.Sprintf("node %d cut off for 0.3 s of each second", i+1), func(context.Context) error {
		stop()
		return <-done
	}, nil
}

// loss has a node lose packets in both directions, so many that TCP keeps backing off.
func loss(n *nemesis) (string, func(context.Context) error, error) {
	i, _ := n.pick()
	share := []float64{0.02, 0.1, 0.3}[n.rng.IntN(3)]
	return fmt.Sprintf("node %d loses %.0f%% of its packets", i+1, 100*share), n.heal, n.network.Lose(i, share)
}

// diskFull leaves no room for a node's store: the node stops by itself, and is started again when there is.
func diskFull(n *nemesis) (string, func(context.Context) error, error) {
	i, node := n.pick()
	return fmt.Sprintf("no room on the disk of node %d", i+1), func(ctx context.Context) error {
		if err := node.FreeDisk(); err != nil {
			return err
		}
		// A node that was refused a write has said so and ends, perhaps a moment after there is room again.
		select {
		case <-node.Done():
			return n.restart(node)(ctx)
		case <-time.After(3 * time.Second):
			return nil // it has not written anything meanwhile
		case <-ctx.Done():
			return ctx.Err()
		}
	}, node.FillDisk()
}

// clockLiar has one time server state a wrong time: a majority of the others outvotes it.
func clockLiar(n *nemesis) (string, func(context.Context) error, error) {
	i := n.rng.IntN(n.cluster.TimeServers())
	offset := []time.Duration{20 * time.Millisecond, time.Second, -time.Hour}[n.rng.IntN(3)]
	return fmt.Sprintf("time server %d lies by %s", i+1, offset), func(context.Context) error {
		return n.cluster.StartTimeServer(i)
	}, n.cluster.StartTimeServer(i, "--offset", offset.String())
}

// clockGone takes all time servers away: the nodes' bounds grow, and with them commit wait.
func clockGone(n *nemesis) (string, func(context.Context) error, error) {
	for i := range n.cluster.TimeServers() {
		n.cluster.StopTimeServer(i)
	}
	return "no time server", func(context.Context) error {
		for i := range n.cluster.TimeServers() {
			if err := n.cluster.StartTimeServer(i); err != nil {
				return err
			}
		}
		return nil
	}, nil
}
