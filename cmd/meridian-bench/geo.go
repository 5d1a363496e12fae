package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/server"
)

// The regions of -geo, and the round trips between them that the demo simulates.
var geoRegions = []string{"us-east", "eu-west", "ap-south"}

const (
	geoNear  = 80 * time.Millisecond  // us-east to eu-west
	geoFar   = 220 * time.Millisecond // us-east to ap-south
	geoRuns  = 40
	geoSmall = 5 * time.Millisecond // what may come on top: disk, clock, processor
)

const geoSchema = `
CREATE TABLESPACE home LOCATION '' WITH (leaders='us-east');
CREATE TABLESPACE everywhere LOCATION '' WITH (leaders='us-east', global=true);
CREATE TABLE a (id int PRIMARY KEY, v int) TABLESPACE home;
CREATE TABLE b (id int PRIMARY KEY, v int) TABLESPACE home;
CREATE TABLE g (id int PRIMARY KEY, v int) TABLESPACE everywhere;
INSERT INTO a SELECT i, 0 FROM generate_series(1, 100) i;
INSERT INTO b SELECT i, 0 FROM generate_series(1, 100) i;
INSERT INTO g SELECT i, 0 FROM generate_series(1, 100) i`

// runGeo starts three regions in one process, far apart, and measures each kind of transaction beside what its
// protocol should take.
func runGeo(ctx context.Context, o options, out io.Writer) error {
	d, err := server.StartDemo(ctx, server.DemoConfig{Regions: geoRegions, Latency: "world", SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: o.dir})
	if err != nil {
		return err
	}
	defer d.Stop()
	conns := make([]*pgx.Conn, len(d.Servers)) // one in each region
	for i, s := range d.Servers {
		if conns[i], err = pgx.Connect(ctx, fmt.Sprintf("postgres://postgres@%s/postgres", s.SQLAddr())); err != nil {
			return err
		}
		defer conns[i].Close(ctx)
	}
	home, far := conns[0], conns[2]
	if _, err := home.Exec(ctx, geoSchema); err != nil {
		return err
	}
	if err := awaitLeaders(ctx, home); err != nil {
		return err
	}
	run := func(c *pgx.Conn, sql ...string) func(i int) error {
		return func(i int) error {
			for _, q := range sql {
				var args []any
				if strings.HasSuffix(q, "$1") {
					args = []any{1 + i%100}
				}
				if _, err := c.Exec(ctx, q, args...); err != nil {
					return err
				}
			}
			return nil
		}
	}
	type kind struct {
		what, formula string
		limit         time.Duration
		before, do    func(i int) error
		after         string
		conn          *pgx.Conn
	}
	kinds := []kind{
		{what: "write of one range, in the leader's region", formula: "quorum round trip + 5 ms", limit: geoNear + geoSmall, conn: home, do: run(home, "UPDATE a SET v = v + 1 WHERE id = $1")},
		{what: "transaction over two ranges, in the leaders' region", formula: "2 quorum round trips + 5 ms", limit: 2*geoNear + geoSmall, conn: home,
			do: run(home, "BEGIN", "UPDATE a SET v = v + 1 WHERE id = $1", "UPDATE b SET v = v + 1 WHERE id = $1", "COMMIT")},
		{what: "strong read in the leader's region", formula: "5 ms", limit: geoSmall, conn: home, do: run(home, "SELECT v FROM a WHERE id = $1")},
		{what: "stale read in another region", formula: "5 ms", limit: geoSmall, conn: far, before: run(far, "SET meridian.exact_staleness = '10s'"), do: run(far, "SELECT v FROM a WHERE id = $1"), after: "RESET meridian.exact_staleness"},
		{what: "GLOBAL read in another region", formula: "5 ms", limit: geoSmall, conn: far, do: run(far, "SELECT v FROM g WHERE id = $1")},
		{what: "strong read-only transaction on a follower", formula: "round trip to the leader + 5 ms", limit: geoFar + geoSmall, conn: far,
			do: run(far, "BEGIN READ ONLY", "SELECT v FROM a WHERE id = $1", "SELECT count(*) FROM a", "COMMIT")},
		{what: "GLOBAL write, in the leader's region", formula: "quorum round trip + farthest one way + 60 ms", limit: geoNear + geoFar/2 + 60*time.Millisecond, conn: home, do: run(home, "UPDATE g SET v = v + 1 WHERE id = $1")},
	}
	time.Sleep(12 * time.Second) // the stale reads' past has the tables
	fmt.Fprintf(out, "round trips: us-east to eu-west 80 ms, eu-west to ap-south 150 ms, us-east to ap-south 220 ms; leaders in us-east\n\n")
	fmt.Fprintf(out, "| transaction | formula | limit ms | median ms | p90 ms |\n|---|---|---|---|---|\n")
	for _, k := range kinds {
		if k.before != nil {
			if err := k.before(0); err != nil {
				return err
			}
		}
		var took []time.Duration
		for i := range geoRuns + 5 {
			began := time.Now()
			if err := k.do(i); err != nil {
				return fmt.Errorf("%s: %w", k.what, err)
			}
			if i >= 5 { // the first ones learn routes and plans
				took = append(took, time.Since(began))
			}
		}
		if k.after != "" {
			if _, err := k.conn.Exec(ctx, k.after); err != nil {
				return err
			}
		}
		slices.Sort(took)
		ms := func(d time.Duration) float64 { return d.Seconds() * 1000 }
		fmt.Fprintf(out, "| %s | %s | %.0f | %.1f | %.1f |\n", k.what, k.formula, ms(k.limit), ms(took[len(took)/2]), ms(took[len(took)*9/10]))
	}
	return nil
}

// awaitLeaders returns when every table has ranges of its own, led in us-east and with a replica in each region.
func awaitLeaders(ctx context.Context, c *pgx.Conn) error {
	const placed = `SELECT count(*) FILTER (WHERE role = 'leader' AND region = 'us-east' AND tablespace = 'home') >= 2
		AND count(*) FILTER (WHERE role = 'leader' AND region = 'us-east' AND tablespace = 'everywhere') >= 1
		AND count(*) FILTER (WHERE role = 'leader' AND region <> 'us-east' AND tablespace IS NOT NULL) = 0
		FROM meridian.replicas`
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		var ok bool
		if err := c.QueryRow(ctx, placed).Scan(&ok); err != nil {
			return err
		}
		if ok {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.New("the tables' ranges are not where their tablespaces want them after 2 minutes")
}
