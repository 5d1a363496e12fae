package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/cmd/internal/proc"
)

// The numbers of participants in Table 4 of the Spanner paper.
var participantCounts = []int{1, 2, 5, 10, 25, 50, 100, 200}

const (
	participantRanges = 450
	participantWarm   = 20
	participantRuns   = 200
	// participantApart is more rows than a range can hold at idleSplitBytes: rows so far apart are in ranges of their own.
	participantApart = 4
)

// runParticipants measures COMMIT of transactions that write one row in each of so many ranges, one client at a time.
// The statement before it has taken the locks; what is timed is two-phase commit.
func runParticipants(ctx context.Context, o options, out io.Writer) error {
	dir := filepath.Join(o.dir, "meridian")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	c, err := proc.Start(ctx, proc.Config{Binary: o.binary, Dir: dir, Nodes: o.nodes, Args: []string{"--range-max-bytes", fmt.Sprint(idleSplitBytes)}})
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := fillRanges(ctx, c, participantRanges); err != nil {
		return err
	}
	// Without the small limit, so that the measured writes split nothing.
	c.SetArgs()
	for _, n := range c.Nodes {
		if err := n.Signal(syscall.SIGTERM); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes {
		<-n.Done()
	}
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes {
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	if err := settle(ctx, &meridian{c}); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, c.Nodes[0].URL())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if err := waitReplicated(ctx, conn, o.nodes); err != nil {
		return err
	}
	fmt.Fprintf(out, "| participants | mean ms | median ms | p99 ms | CPU ms, all nodes |\n|---|---|---|---|---|\n")
	m := &meridian{c}
	for _, n := range participantCounts {
		ids := make([]int32, n)
		var took []time.Duration
		var cpu0 time.Duration
		for i := range participantWarm + participantRuns {
			if i == participantWarm {
				if cpu0, err = m.cpu(); err != nil {
					return err
				}
			}
			for j := range ids {
				ids[j] = int32((j*2 + i%2) * participantApart)
			}
			tx, err := conn.Begin(ctx)
			if err != nil {
				return err
			}
			tag, err := tx.Exec(ctx, `update idle set filler = $2 where id = any($1::int[])`, ids, fmt.Sprint(i))
			if err != nil {
				return err
			}
			if int(tag.RowsAffected()) != n {
				return fmt.Errorf("%d rows updated, not %d", tag.RowsAffected(), n)
			}
			began := time.Now()
			if err := tx.Commit(ctx); err != nil {
				return fmt.Errorf("commit of %d participants: %w", n, err)
			}
			if i >= participantWarm {
				took = append(took, time.Since(began))
			}
		}
		cpu1, err := m.cpu()
		if err != nil {
			return err
		}
		var sum time.Duration
		for _, d := range took {
			sum += d
		}
		fmt.Fprintf(out, "| %d | %.1f | %.1f | %.1f | %.1f |\n", n, ms(sum)/float64(len(took)), ms(median(took)), ms(quantile(took, 0.99)), ms(cpu1-cpu0)/float64(len(took)))
	}
	return nil
}
