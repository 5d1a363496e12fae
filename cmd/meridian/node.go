package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
)

const nodeUsage = "status|decommission|recommission|drain [ID] [--url URL]"

// runNode is `meridian node`: it speaks SQL with any node, as any client can.
func runNode(ctx context.Context, args []string, e env) error {
	f := newFlags("node", nodeUsage, e)
	url := f.String("url", "postgres://postgres@127.0.0.1:5433/postgres", "postgres:// URL of any node, for a superuser")
	wait := f.Bool("wait", true, "decommission: wait until nothing is left on the node; it goes on in any case")
	if len(args) > 0 && (args[0] == "--help" || args[0] == "-h") {
		f.help()
		return nil
	}
	if len(args) == 0 {
		return &usageError{"node: " + nodeUsage}
	}
	what, id, args := args[0], int64(0), args[1:]
	switch what {
	case "status":
	case "decommission", "recommission", "drain":
		var err error
		if len(args) == 0 {
			return &usageError{"node " + what + ": give the node's id, as `meridian node status` shows it"}
		}
		if id, err = strconv.ParseInt(args[0], 10, 32); err != nil || id <= 0 {
			return &usageError{fmt.Sprintf("node %s: %q is no node id; `meridian node status` shows them", what, args[0])}
		}
		args = args[1:]
	default:
		return &usageError{fmt.Sprintf("node: unknown command %q: %s", what, nodeUsage)}
	}
	if err := f.parse(args); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	conn, err := pgx.Connect(ctx, *url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if what == "status" {
		return nodeStatus(ctx, conn, e.stdout)
	}
	var answer string
	if err := conn.QueryRow(ctx, "select meridian."+what+"_node($1)", id).Scan(&answer); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, answer)
	if what == "decommission" && *wait {
		return awaitDecommission(ctx, conn, id, e.stdout)
	}
	return nil
}

func nodeStatus(ctx context.Context, conn *pgx.Conn, out io.Writer) error {
	rows, err := conn.Query(ctx, `select node_id, region, zone, address, version, case when live then 'up' else 'down' end,
		case when draining and state = 'active' then 'draining' else state end, replicas, leaders, bytes, down_since from meridian.nodes order by node_id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "node\tregion\tzone\taddress\tversion\tis\tstate\treplicas\tleaders\tMiB\tdown since")
	count := func(n *int64) string {
		if n == nil {
			return "?"
		}
		return strconv.FormatInt(*n, 10)
	}
	for rows.Next() {
		var id int64
		var region, zone, address, is, state string
		var version *string
		var replicas, leaders, bytes *int64
		var down *time.Time
		if err := rows.Scan(&id, &region, &zone, &address, &version, &is, &state, &replicas, &leaders, &bytes, &down); err != nil {
			return err
		}
		if version == nil {
			version = new(string)
		}
		if bytes != nil {
			*bytes >>= 20
		}
		since := ""
		if down != nil {
			since = down.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", id, region, zone, address, *version, is, state, count(replicas), count(leaders), count(bytes), since)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return w.Flush()
}

// awaitDecommission prints how many replicas are left, whenever that has changed, until the node is decommissioned.
func awaitDecommission(ctx context.Context, conn *pgx.Conn, id int64, out io.Writer) error {
	last := int64(-1)
	for {
		var state string
		var replicas *int64
		if err := conn.QueryRow(ctx, `select state, replicas from meridian.nodes where node_id = $1`, id).Scan(&state, &replicas); err != nil {
			return err
		}
		switch {
		case state == "decommissioned":
			fmt.Fprintf(out, "node %d is decommissioned: its process has ended or will, and its store is of no more use\n", id)
			return nil
		case state != "decommissioning":
			return fmt.Errorf("node %d is %s again", id, state)
		case replicas != nil && *replicas != last:
			last = *replicas
			fmt.Fprintf(out, "%d replicas left\n", last)
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("node %d is still being decommissioned, which goes on without this command", id)
		}
	}
}
