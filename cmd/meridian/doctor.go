package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/meridian-db/meridian/server"
)

// runDoctor takes the flags of start and says what start would meet.
func runDoctor(ctx context.Context, args []string, e env) error {
	f := newFlags("doctor", "--store DIR [flags of start]", e)
	cfg := nodeFlags(f)
	url := f.String("url", "", "URL of a superuser or monitor of a running cluster to look at, too; without --store only that")
	f.String("log-level", "info", "as start's; has no effect here")
	if err := f.parse(args); err != nil {
		if errors.Is(err, errHelp) {
			f.help()
			return nil
		}
		return err
	}
	bad := 0
	report := func(d server.Finding) {
		if d.Level == server.Bad {
			bad++
		}
		fmt.Fprintf(e.stdout, "%-5s %-14s %s", d.Level, d.Area, d.Text)
		if d.Fix != "" {
			fmt.Fprintf(e.stdout, "; %s", d.Fix)
		}
		fmt.Fprintln(e.stdout)
	}
	if *url == "" || cfg.Store != "" {
		server.Diagnose(ctx, *cfg, report)
	}
	if *url != "" {
		diagnoseCluster(ctx, *url, report)
	}
	switch bad {
	case 0:
		return nil
	case 1:
		return errors.New("1 problem")
	}
	return fmt.Errorf("%d problems", bad)
}

// clusterCheck is a question about a running cluster. Each row of its query is a finding.
type clusterCheck struct {
	area  string
	level server.Level
	query string // of one text
	good  string // what an empty answer means
	fix   string
}

var clusterChecks = []clusterCheck{
	{"nodes", server.Bad, `SELECT format('node %s (%s) is down since %s', node_id, region, down_since) FROM meridian.nodes WHERE NOT live AND state <> 'decommissioned' ORDER BY node_id`,
		"all nodes are up", "start it with its store, or replace it; its ranges go on while a majority of their voters lives"},
	{"versions", server.Doubtful, `SELECT 'the members run several builds: ' || string_agg(version || ' (' || nodes || ')', '; ' ORDER BY version) FROM (SELECT version, string_agg('n' || node_id, ', ' ORDER BY node_id) AS nodes
		FROM meridian.nodes WHERE state <> 'decommissioned' GROUP BY version) b HAVING count(*) > 1`,
		"all nodes run one build", "finish the upgrade, one node after the other"},
	{"versions", server.Doubtful, `SELECT format('node %s holds the cluster at version %s, other builds know %s', node_id, cluster_version, (SELECT max(supports_to) FROM meridian.nodes)) FROM meridian.nodes
		WHERE state <> 'decommissioned' AND supports_to < (SELECT max(supports_to) FROM meridian.nodes) ORDER BY node_id`,
		"the cluster is at the newest version that its builds know", "upgrade it; decommission it if it does not come back"},
	{"clock", server.Doubtful, `SELECT format('time source %s: %s %s', source, verdict, error) FROM meridian.clock WHERE verdict <> 'good' ORDER BY source`,
		"the time sources of this node agree", "mend that server, or give another; see \"Time\" in docs/OPERATIONS.md"},
	{"ranges", server.Bad, `SELECT format('range %s has no leader', range_id) FROM meridian.ranges WHERE leader IS NULL ORDER BY range_id LIMIT 20`,
		"every range has a leader", "bring back a majority of its voters; see MeridianRangeLeaderless in docs/OPERATIONS.md"},
	{"ranges", server.Doubtful, `SELECT format('range %s has voters on dead nodes: %s', range_id, array_to_string(ARRAY(SELECT unnest(replicas) INTERSECT SELECT node_id FROM meridian.nodes WHERE NOT live), ', ')) FROM meridian.ranges
		WHERE replicas && ARRAY(SELECT node_id FROM meridian.nodes WHERE NOT live) ORDER BY range_id LIMIT 20`,
		"every voter's node is up", "they are replaced by themselves after --replace-after, where there is a node for it"},
	{"jobs", server.Doubtful, `SELECT format('job %s (%s) has failed: %s', job_id, kind, error) FROM meridian.jobs WHERE state = 'failed' ORDER BY job_id LIMIT 20`,
		"no job has failed", "read its error and begin it again"},
}

// diagnoseCluster asks a running cluster, which it does not change.
func diagnoseCluster(ctx context.Context, url string, report func(server.Finding)) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		report(server.Finding{Level: server.Bad, Area: "--url", Text: plainConnectError(err).Error(), Fix: "check that the node runs and is ready (/readyz)"})
		return
	}
	defer conn.Close(ctx)
	for _, c := range clusterChecks {
		rows, err := conn.Query(ctx, c.query)
		var found []string
		if err == nil {
			found, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		switch {
		case err != nil:
			report(server.Finding{Level: server.Bad, Area: c.area, Text: err.Error(), Fix: "see the node's log"})
		case len(found) == 0:
			report(server.Finding{Level: server.Good, Area: c.area, Text: c.good})
		}
		for _, text := range found {
			report(server.Finding{Level: c.level, Area: c.area, Text: text, Fix: c.fix})
		}
	}
}
