// Command meridian-nemesis runs clients against a cluster of real processes, each in a network namespace of its
// own, while it kills, pauses and cuts off nodes, and checks that what the clients saw is strictly serializable.
// It works in rounds: each has new keys, its own faults, and a check of its whole history at the end. The first
// violation ends the run with status 1 and leaves the history in a file. It needs root and ip(8).
//
//	make test-nemesis ARGS='-duration 10m -nodes 5 -faults kill,partition'
//
// A timeline of the run, what committed in each quarter of a second and which fault was under way, goes to a CSV file and
// a plot.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/meridian-db/meridian/cmd/internal/proc"
	"github.com/meridian-db/meridian/txn/history"
)

type options struct {
	binary, dir    string
	time, round    time.Duration
	nodes, clients int
	keys           int
	pause          time.Duration
	rangeBytes     int64
	stall          time.Duration
	timeline       string
	faults         []string
	seed           uint64
}

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "meridian-nemesis:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	var faults string
	fs := flag.NewFlagSet("meridian-nemesis", flag.ContinueOnError)
	fs.StringVar(&o.binary, "meridian", "bin/meridian", "path of the meridian binary")
	fs.StringVar(&o.dir, "dir", "", "folder for stores and logs, kept (default: a temporary one, kept after a violation)")
	fs.DurationVar(&o.time, "duration", 5*time.Minute, "how long to go on")
	fs.DurationVar(&o.time, "time", 5*time.Minute, "the same")
	fs.DurationVar(&o.round, "round", time.Minute, "length of one round")
	fs.IntVar(&o.nodes, "nodes", 3, "number of nodes")
	fs.IntVar(&o.clients, "clients", 8, "number of clients")
	fs.IntVar(&o.keys, "keys", 12, "number of lists in use at a time")
	fs.DurationVar(&o.pause, "pause", 20*time.Millisecond, "mean rest of a client between transactions")
	fs.Int64Var(&o.rangeBytes, "range-max-bytes", 256<<10, "ranges split beyond this size")
	fs.StringVar(&o.timeline, "timeline", "", "write the timeline to this name with .csv and .svg (default: in -dir, if given)")
	fs.DurationVar(&o.stall, "stall", time.Second, "after so long without a commit, write down in -dir what every node waits for (0: never)")
	fs.StringVar(&faults, "faults", strings.Join(faultNames(), ","), "faults to choose from; with diskfull the stores are in memory")
	fs.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "seed of the choice of faults and transactions")
	if err := fs.Parse(args); err != nil {
		return err
	}
	o.faults = strings.Split(faults, ",")
	for _, f := range o.faults {
		if allFaults[f] == nil {
			return fmt.Errorf("-faults: %q is none of %s", f, strings.Join(faultNames(), ", "))
		}
	}
	if o.nodes < 3 || o.nodes > 9 || o.clients < 1 || o.keys < 2 || o.pause <= 0 {
		return errors.New("-nodes is 3 to 9, -clients at least 1, -keys at least 2, -pause above 0")
	}
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		return errors.New("network namespaces need root and ip(8), from Debian's iproute2")
	}
	keep := o.dir != ""
	if keep && o.timeline == "" {
		o.timeline = filepath.Join(o.dir, "timeline")
	}
	if !keep {
		var err error
		if o.dir, err = os.MkdirTemp("", "meridian-nemesis"); err != nil {
			return err
		}
	} else if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	violated, err := o.execute(ctx, out)
	if !keep && !violated {
		os.RemoveAll(o.dir)
	}
	return err
}

// execute runs the rounds. violated says that o.dir holds the evidence.
func (o *options) execute(ctx context.Context, out io.Writer) (violated bool, err error) {
	network, err := proc.NewNetwork(o.nodes)
	if err != nil {
		return false, err
	}
	defer network.Close()
	starting, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	c, err := proc.Start(starting, proc.Config{Binary: o.binary, Dir: o.dir, Nodes: o.nodes, Network: network,
		SmallDisks: slices.Contains(o.faults, "diskfull"),
		Args:       []string{"--range-max-bytes", fmt.Sprint(o.rangeBytes), "--log-level", "warn"}})
	if err != nil {
		return true, err
	}
	defer c.Close()
	if err := prepare(starting, c); err != nil {
		return true, err
	}
	fmt.Fprintf(out, "%d nodes, %d clients, seed %d\n", o.nodes, o.clients, o.seed)
	line := newTimeline(time.Now(), 250*time.Millisecond)
	w := &workload{cluster: c, options: o, line: line}
	n := &nemesis{cluster: c, network: network, faults: o.faults, rng: rand.New(rand.NewPCG(o.seed, 0)), w: w, out: out, line: line}
	if o.timeline != "" {
		defer func() {
			if werr := line.write(o.timeline); werr != nil {
				err = errors.Join(err, werr)
			}
		}()
	}
	if o.stall > 0 {
		watching, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		s := stallWatch{cluster: c, w: w, after: o.stall, dir: o.dir, out: out}
		wg.Go(func() { s.run(watching) })
	}
	var sum totals
	for end := time.Now().Add(o.time); time.Now().Before(end) && ctx.Err() == nil; {
		sum.rounds++
		report, err := o.playRound(ctx, sum.rounds, w, n, &sum, out)
		if err != nil {
			return true, err
		}
		if err := report.Err(); err != nil {
			path := filepath.Join(o.dir, "history.txt")
			if werr := os.WriteFile(path, []byte(w.rec.History().String()), 0o644); werr != nil {
				err = errors.Join(err, werr)
			}
			return true, fmt.Errorf("round %d violates strict serializability, history in %s: %w", sum.rounds, path, err)
		}
	}
	sum.print(out, n)
	return false, nil
}

// totals are what a run has seen.
type totals struct {
	rounds, committed, aborted, unknown, edges int
}

func (t *totals) print(out io.Writer, n *nemesis) {
	fmt.Fprintf(out, "\n%d rounds, %d transactions committed, %d aborted, %d of unknown outcome, %d dependencies: no violation\n",
		t.rounds, t.committed, t.aborted, t.unknown, t.edges)
	fmt.Fprintf(out, "| fault | times | longest time without a commit | and of one list | median of one list |\n|---|---|---|---|---|\n")
	for _, name := range faultNames() {
		s := n.gaps[name]
		if s == nil {
			continue
		}
		worst, list, median := s.summary()
		fmt.Fprintf(out, "| %s | %d | %.1f s | %.1f s | %.1f s |\n", name, s.count(), worst.Seconds(), list.Seconds(), median.Seconds())
	}
}

// playRound runs clients and faults side by side, heals everything, reads all lists once more, and checks.
func (o *options) playRound(ctx context.Context, round int, w *workload, n *nemesis, sum *totals, out io.Writer) (*history.Report, error) {
	w.begin(round)
	clients, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	for i := range o.clients {
		wg.Go(func() { w.client(clients, i) })
	}
	err := n.play(ctx, o.round)
	w.rested()
	stop()
	wg.Wait()
	w.rested()
	if err != nil || ctx.Err() != nil {
		return &history.Report{}, err
	}
	if err := w.finalRead(ctx); err != nil {
		return nil, fmt.Errorf("round %d: all faults are over, and the lists cannot be read: %w", round, err)
	}
	h := w.rec.History()
	var by [3]int
	for _, t := range h {
		by[t.Outcome]++
	}
	report := history.Check(h)
	sum.committed += by[history.Committed]
	sum.aborted += by[history.Aborted]
	sum.unknown += by[history.Unknown]
	sum.edges += report.Edges
	fmt.Fprintf(out, "round %d: %d committed, %d aborted, %d unknown, %d dependencies\n",
		round, by[history.Committed], by[history.Aborted], by[history.Unknown], report.Edges)
	return report, nil
}
