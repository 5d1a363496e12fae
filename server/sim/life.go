package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/meridian-db/meridian/server"
)

// Life is one simulated life of a cluster: load, faults, and the check of what the clients saw. A zero field takes the
// default named in its comment.
type Life struct {
	Seed    uint64
	Nodes   int           // Default 3.
	Length  time.Duration // How long load and faults last. Default 30 s.
	Clients int           // Default 8, half as many more for SQL.
	Keys    int           // Lists. Default 6.
	Think   time.Duration // Mean pause of a client between two transactions. Default: none.

	Schedule Schedule      // Default: no faults.
	Sparse   bool          // Load runs around the faults only, the time between is quiet.
	SQL      bool          // Statements run beside the lists: see sqlLoad.
	Lease    time.Duration // How far ahead lease votes reach. Default: the product's.
	Flush    bool          // Transactions stage what they write at once, mostly.

	Tune    func(*server.CoreConfig)
	Disturb func(c *Cluster)                      // Called before the load begins.
	Aside   func(ctx context.Context, c *Cluster) // Runs beside the load.
}

const defaultKeys = 6

// Result is what came of a life.
type Result struct {
	Ops        []Op
	Statements int     // of SQL that were answered
	Errs       []error // Violations; a cluster that does not serve after all faults have ended is one too.
}

// Counts returns how many transactions of the history committed, only read, and may have committed.
func (r Result) Counts() (commits, reads, unknown int) {
	for _, o := range r.Ops {
		switch {
		case o.Unknown:
			unknown++
		case o.ReadOnly:
			reads++
		default:
			commits++
		}
	}
	return commits, reads, unknown
}

// Run lives it. It must be called inside a testing/synctest bubble (see InBubble), whose time it uses up. An error
// means that the life could not begin.
func (l Life) Run() (res Result, err error) {
	l.Nodes, l.Clients, l.Keys = cmp.Or(l.Nodes, 3), cmp.Or(l.Clients, 8), cmp.Or(l.Keys, defaultKeys)
	l.Length = cmp.Or(l.Length, 30*time.Second)
	if l.Flush {
		l.stage()
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.Length+10*time.Minute)
	defer cancel()
	c, err := New(ctx, Config{Seed: l.Seed, Nodes: l.Nodes, Lease: l.Lease, Tune: l.Tune, SQL: l.SQL})
	if err != nil {
		return res, err
	}
	defer c.Close()
	trouble := &trouble{c: c, life: &l}
	for tries := 1; ; tries++ {
		err := errors.New("nobody leads the data range")
		if rep := trouble.leader(listKey(0)); rep != nil {
			err = rep.Split(ctx, []byte{0x03, 0, 0, 2})
		}
		if err == nil {
			break
		}
		if tries == 100 {
			return res, fmt.Errorf("split: %w", err)
		}
		pause(ctx, 100*time.Millisecond) // the replicas are new: leases still move
	}
	var sql *sqlLoad
	if l.SQL {
		if sql, err = newSQLLoad(ctx, c); err != nil {
			return res, err
		}
	}
	if l.Disturb != nil {
		l.Disturb(c)
	}

	run, stop := context.WithTimeout(ctx, l.Length)
	defer stop()
	begin := time.Now()
	rest := func() {
		if l.Sparse {
			pause(run, l.Schedule.quiet(time.Since(begin)))
		}
	}
	h := &recorder{}
	var wg sync.WaitGroup
	for i := range l.Clients {
		wg.Go(func() { l.client(run, c, i, rand.New(rand.NewPCG(l.Seed, 1000+uint64(i))), h, begin, rest) })
	}
	if sql != nil {
		for i := range (l.Clients + 1) / 2 {
			wg.Go(func() { sql.client(run, rand.New(rand.NewPCG(l.Seed, 2000+uint64(i))), l.Think, rest) })
		}
	}
	if l.Aside != nil {
		wg.Go(func() { l.Aside(run, c) })
	}
	wg.Go(func() { trouble.run(run, begin, true) })
	wg.Go(func() { trouble.run(run, begin, false) })
	wg.Wait()

	// Faults have stopped, and progress must resume.
	res.Errs = trouble.errs
	c.calm()
	for _, n := range c.Nodes() {
		if err := n.Restart(); err != nil {
			res.Errs = append(res.Errs, fmt.Errorf("node %d does not start: %w", n.ID, err))
			return res, nil
		}
	}
	final, last, differ := readAll(ctx, c, h.ops)
	res.Ops = append(h.ops, last...)
	res.Errs = append(append(res.Errs, differ...), Check(res.Ops, final)...)
	if err := c.compareReplicas(ctx); err != nil {
		res.Errs = append(res.Errs, err)
	}
	if sql != nil {
		res.Statements = sql.answered
		res.Errs = append(res.Errs, sql.check(ctx)...)
	}
	return res, nil
}
