package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/meridian-db/meridian/server/sim"
)

// simOptions are the flags of `meridian sim`.
type simOptions struct {
	seed                     uint64
	hours                    float64
	life                     time.Duration
	every, think             time.Duration
	nodes, clients, parallel int
	sql, dense, shrink       bool
	timeline                 string
}

// runSim is `meridian sim`: lives of simulated clusters, one seed each, and the check of what their clients saw.
func runSim(ctx context.Context, args []string, e env) error {
	var o simOptions
	f := newFlags("sim", "[flags]", e)
	f.Uint64Var(&o.seed, "seed", 0, "seed of the first life, those after it count on; 0: a random one")
	f.Float64Var(&o.hours, "hours", 1, "simulated hours altogether")
	f.DurationVar(&o.life, "life", time.Hour, "simulated time between a cluster's beginning and its check")
	f.DurationVar(&o.every, "every", 5*time.Minute, "mean time between faults")
	f.DurationVar(&o.think, "think", 100*time.Millisecond, "mean pause of a client between two transactions")
	f.IntVar(&o.nodes, "nodes", 3, "nodes of a cluster")
	f.IntVar(&o.clients, "clients", 4, "clients that append to lists, half as many more run SQL")
	f.IntVar(&o.parallel, "parallel", runtime.GOMAXPROCS(0), "lives at a time")
	f.BoolVar(&o.sql, "sql", true, "run statements through the wire beside the lists")
	f.BoolVar(&o.dense, "dense", false, "run load all the time, not around the faults only")
	f.BoolVar(&o.shrink, "shrink", true, "look for a shorter schedule when something goes wrong")
	f.StringVar(&o.timeline, "timeline", "", "file for all transactions of a life that went wrong, and its faults")
	bug := simBug(f)
	if err := f.parse(args); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	if o.hours <= 0 || o.life < time.Second || o.every < 100*time.Millisecond || o.nodes < 3 || o.nodes > 9 || o.clients < 1 || o.clients > 1000 || o.parallel < 1 {
		return &usageError{"sim: --hours is above 0, --life at least 1s, --every 100ms, --nodes from 3 to 9, --clients from 1 to 1000, --parallel at least 1"}
	}
	if err := bug(); err != nil {
		return err
	}
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000_000) + 1
	}
	go func() {
		<-ctx.Done()
		os.Exit(130) // A life is not to be interrupted.
	}()
	sim.Bubbles(func(live func(sim.Life) (sim.Result, error)) int { return o.run(ctx, e.stdout, live) })
	return nil
}

func (o *simOptions) lifeOf(seed uint64) sim.Life {
	l := sim.Life{Seed: seed, Nodes: o.nodes, Clients: o.clients, Length: o.life, Sparse: !o.dense, SQL: o.sql, Think: o.think}
	if o.dense && seed%2 == 0 { // Leaders come and go quicker.
		l.Lease = 600 * time.Millisecond
	}
	l.Flush = seed%3 == 0
	l.Schedule = sim.Plan(seed, o.nodes, o.life, o.every)
	l.Reshape(o.every)
	l.Hurry()
	return l
}

// run lives as many lives as the hours take and returns the process's status.
func (o *simOptions) run(ctx context.Context, out io.Writer, live func(sim.Life) (sim.Result, error)) int {
	lives := max(1, int(o.hours*float64(time.Hour)/float64(o.life)+0.5))
	fmt.Fprintf(out, "%d lives of %s, %d nodes, seeds from %d\n", lives, o.life, o.nodes, o.seed)
	began := time.Now()
	var mu sync.Mutex
	var next, done, faults, commits, reads, statements int
	status := 0
	var wg sync.WaitGroup
	for range o.parallel {
		wg.Go(func() {
			for {
				mu.Lock()
				if next == lives || status != 0 || ctx.Err() != nil {
					mu.Unlock()
					return
				}
				seed := o.seed + uint64(next)
				next++
				mu.Unlock()
				l := o.lifeOf(seed)
				r, err := live(l)
				mu.Lock()
				c, rd, _ := r.Counts()
				done, faults, commits, reads, statements = done+1, faults+len(l.Schedule), commits+c, reads+rd, statements+r.Statements
				bad := err != nil || len(r.Errs) > 0
				first := bad && status == 0
				if bad {
					status = 1
				}
				mu.Unlock()
				if first {
					o.explain(out, l, r, err, live)
				}
			}
		})
	}
	wg.Wait()
	hours, took := float64(done)*o.life.Hours(), time.Since(began)
	fmt.Fprintf(out, "%.2f simulated hours in %s (%.0f times as fast as life): %d faults, %d commits, %d read-only, %d transactions of SQL\n",
		hours, took.Round(time.Second), hours*3600/took.Seconds(), faults, commits, reads, statements)
	if status == 0 {
		fmt.Fprintln(out, "no violation")
	}
	return status
}

// explain prints what went wrong, with the shortest schedule found under which it does.
func (o *simOptions) explain(out io.Writer, l sim.Life, r sim.Result, err error, live func(sim.Life) (sim.Result, error)) {
	fmt.Fprintf(out, "\nseed %d goes wrong:\n", l.Seed)
	if err != nil {
		fmt.Fprintf(out, "  %v\n", err)
		return
	}
	print := func(errs []error) {
		for _, err := range errs {
			fmt.Fprintf(out, "  %v\n", err)
		}
	}
	print(r.Errs)
	if o.shrink {
		before := len(l.Schedule)
		if l, r = sim.Shrink(l, r, 2, 60, live); len(l.Schedule) < before {
			fmt.Fprintf(out, "with %d of %d faults it still does:\n", len(l.Schedule), before)
			print(r.Errs)
		}
	}
	fmt.Fprintf(out, "schedule:\n%s", l.Schedule)
	if o.timeline != "" {
		f, err := os.Create(o.timeline)
		if err == nil {
			sim.Timeline(f, l.Schedule, r.Ops)
			err = f.Close()
		}
		if err != nil {
			fmt.Fprintf(out, "timeline: %v\n", err)
		}
	}
	again := fmt.Sprintf("meridian sim --seed %d --hours %g --life %s --every %s --nodes %d --clients %d --think %s --sql=%v", l.Seed, o.life.Hours(), o.life, o.every, o.nodes, o.clients, o.think, o.sql)
	if o.dense {
		again += " --dense"
	}
	fmt.Fprintf(out, "again: %s\n\n", again)
}
