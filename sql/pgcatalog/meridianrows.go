package pgcatalog

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/meridian-db/meridian/sql/stmtstats"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
)

// Node is a row of meridian.nodes.
type Node struct {
	ID                    uint64
	Address, SQLAddress   string
	Region, Zone, Version string
	Live, Draining        bool
	Started               time.Time
	State                 string    // active, decommissioning, decommissioned or lost
	Down                  time.Time // since when it has not been connected with the node asked; zero while it is
	Held                  *NodeHeld // nil while it is not known
	Oldest, Newest        int64     // cluster versions that its build knows
	ClusterVersion        int64
}

// NodeHeld is what a node holds.
type NodeHeld struct {
	Replicas, Leaders, Bytes int64
	Load                     float64 // requests per second
}

// PlacementDecision is a row of meridian.placement_log.
type PlacementDecision struct {
	Time                            time.Time
	Node, Range                     uint64
	Action, Change, Reason, Outcome string
	Took                            time.Duration
}

// Range is a row of meridian.ranges: a range as one of its replicas sees it.
type Range struct {
	ID                  uint64
	Start, End          string // printable
	Table               string // of the first key, "" for system ranges
	Replicas, Learners  []int64
	Behind              []int64 // of Replicas: those that could not take part in a quorum yet; no column
	Wanted              int     // voters that it should have by its policy, 0: the cluster's replication factor; no column
	Leader              uint64
	LeaseUntil          truetime.Timestamp
	Generation          uint64
	SizeBytes, LogBytes int64
	Applied             uint64
	Closed              truetime.Timestamp
	SafeTimeLag         time.Duration
	Quiesced            bool
	Node                uint64 // whose view this is
}

// Replica is a row of meridian.replicas: a replica as its own node sees it.
type Replica struct {
	Range, Node        uint64
	Region, Zone, Role string // leader, follower or learner
	Start, End         string // printable
	Tablespace         string // whose policy the range has, "" for none
	SizeBytes          int64
	Requests           float64 // per second that this replica has served lately
	Applied            uint64
	SafeTime           truetime.Timestamp
	SafeTimeLag        time.Duration // negative where time is closed ahead of now
	Checked            time.Time     // when it was last compared with the other replicas, zero if not since the node has started
	Problem            string        // why it is out of service, or what the leader has found in comparing
}

// Transaction is a row of meridian.transactions.
type Transaction struct {
	Node       uint64
	ID         string
	SessionPID int32
	Age        truetime.Timestamp
	State      string
	Ranges     int
	Statement  string
}

// Lock is a row of meridian.locks.
type Lock struct {
	Node, Range            uint64
	Key, Mode, Transaction string
	Granted                bool
}

// Job is a row of meridian.jobs.
type Job struct {
	ID                       uint64
	Kind, State, Description string
	Started, Finished        time.Time
	Fraction                 float64
	Error                    string
}

// Statement is a row of meridian.statements: what one node's executions of a statement cost.
type Statement struct {
	Node   uint64
	Since  time.Time
	Totals stmtstats.Totals
}

// meridianRows are the views over the cluster.
var meridianRows = map[string]generator{
	"meridian.clock":         meridianClock,
	"meridian.nodes":         meridianNodes,
	"meridian.ranges":        meridianRanges,
	"meridian.placement_log": meridianPlacementLog,
	"meridian.transactions":  meridianTransactions,
	"meridian.locks":         meridianLocks,
	"meridian.jobs":          meridianJobs,
	"meridian.statements":    meridianStatements,
	"meridian.replicas":      meridianReplicas,
}

// meridianClock has a row for each time source of this node.
func meridianClock(g *gen) error {
	p := g.providers()
	if p.Clock == nil {
		return nil
	}
	st := p.Clock()
	var earliest, latest any
	if st.Synced {
		earliest, latest = instant(st.Interval.Earliest), instant(st.Interval.Latest)
	}
	for _, s := range st.Sources {
		var age any
		if s.Age >= 0 {
			age = duration(s.Age)
		}
		if err := g.row("node", p.ClockNode, "earliest", earliest, "latest", latest, "bound", duration(st.Bound),
			"max_bound", duration(st.MaxUncertainty), "synced", st.Synced, "fenced", orNull(st.Fenced), "source", s.Name,
			"verdict", string(s.Verdict), "source_offset", duration(s.Offset), "source_bound", duration(s.Bound), "last_sample_age", age,
			"samples", s.Samples, "failed", s.Failed, "error", orNull(s.Err)); err != nil {
			return err
		}
	}
	return nil
}

func meridianNodes(g *gen) error {
	p := g.providers()
	if p.Nodes == nil {
		return nil
	}
	nodes, err := p.Nodes(g.ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		row := []any{"node_id", n.ID, "address", n.Address, "sql_address", n.SQLAddress, "region", n.Region, "zone", n.Zone,
			"live", n.Live, "draining", n.Draining, "version", orNull(n.Version), "started", moment(n.Started), "state", n.State,
			"down_since", moment(n.Down), "supports_from", n.Oldest, "supports_to", n.Newest, "cluster_version", n.ClusterVersion}
		if h := n.Held; h != nil {
			row = append(row, "replicas", h.Replicas, "leaders", h.Leaders, "bytes", h.Bytes, "requests_per_second", h.Load)
		}
		if err := g.row(row...); err != nil {
			return err
		}
	}
	return nil
}

// meridianPlacementLog has what was decided about replicas and leaders, as far as the nodes that decided remember it.
func meridianPlacementLog(g *gen) error {
	p := g.providers()
	if p.Placement == nil {
		return nil
	}
	list, err := p.Placement(g.ctx)
	if err != nil {
		return err
	}
	for _, d := range list {
		if err := g.row("decided", moment(d.Time), "node", d.Node, "range_id", d.Range, "action", d.Action, "change", d.Change,
			"reason", d.Reason, "outcome", d.Outcome, "took", duration(d.Took)); err != nil {
			return err
		}
	}
	return nil
}

func meridianRanges(g *gen) error {
	p := g.providers()
	if p.Ranges == nil {
		return nil
	}
	ranges, err := p.Ranges(g.ctx)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		var leader any
		if r.Leader != 0 {
			leader = r.Leader
		}
		if err := g.row("range_id", r.ID, "start_key", r.Start, "end_key", r.End, "table_name", orNull(r.Table), "replicas", r.Replicas,
			"learners", r.Learners, "leader", leader, "lease_until", instant(r.LeaseUntil), "generation", r.Generation,
			"size_bytes", r.SizeBytes, "log_bytes", r.LogBytes, "applied_index", r.Applied, "closed", instant(r.Closed),
			"safe_time_lag", duration(r.SafeTimeLag), "quiesced", r.Quiesced, "node", r.Node); err != nil {
			return err
		}
	}
	return nil
}

func meridianReplicas(g *gen) error {
	p := g.providers()
	if p.Replicas == nil {
		return nil
	}
	replicas, err := p.Replicas(g.ctx)
	if err != nil {
		return err
	}
	for _, r := range replicas {
		if err := g.row("range_id", r.Range, "node", r.Node, "region", r.Region, "zone", orNull(r.Zone), "role", r.Role, "start_key", r.Start, "end_key", r.End,
			"tablespace", orNull(r.Tablespace), "size_bytes", r.SizeBytes, "requests_per_second", r.Requests, "applied_index", r.Applied,
			"safe_time", instant(r.SafeTime), "safe_time_lag", duration(r.SafeTimeLag), "checked", moment(r.Checked), "problem", orNull(r.Problem)); err != nil {
			return err
		}
	}
	return nil
}

func meridianTransactions(g *gen) error {
	p := g.providers()
	if p.Transactions == nil {
		return nil
	}
	txns, err := p.Transactions(g.ctx)
	if err != nil {
		return err
	}
	for _, t := range txns {
		var pid any
		if t.SessionPID != 0 {
			pid = t.SessionPID
		}
		if err := g.row("node", t.Node, "transaction_id", t.ID, "session_pid", pid, "age", instant(t.Age), "state", t.State,
			"ranges", t.Ranges, "statement", orNull(t.Statement)); err != nil {
			return err
		}
	}
	return nil
}

func meridianLocks(g *gen) error {
	p := g.providers()
	if p.Locks == nil {
		return nil
	}
	locks, err := p.Locks(g.ctx)
	if err != nil {
		return err
	}
	for _, l := range locks {
		if err := g.row("node", l.Node, "range_id", l.Range, "lock_key", l.Key, "mode", l.Mode, "transaction_id", l.Transaction,
			"granted", l.Granted); err != nil {
			return err
		}
	}
	return nil
}

func meridianJobs(g *gen) error {
	p := g.providers()
	if p.Jobs == nil {
		return nil
	}
	jobs, err := p.Jobs(g.ctx)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := g.row("job_id", j.ID, "kind", j.Kind, "state", j.State, "description", j.Description, "started", moment(j.Started),
			"finished", moment(j.Finished), "fraction", types.NewFloat(j.Fraction), "error", orNull(j.Error)); err != nil {
			return err
		}
	}
	return nil
}

// meridianStatements has pg_stat_statements' columns, as far as they have a meaning here, and the phases of a
// commit. Times are milliseconds.
func meridianStatements(g *gen) error {
	p := g.providers()
	if p.Statements == nil {
		return nil
	}
	list, err := p.Statements(g.ctx)
	if err != nil {
		return err
	}
	ms := func(d time.Duration) types.Datum { return types.NewFloat(float64(d) / float64(time.Millisecond)) }
	for i := range list {
		s, t := &list[i], &list[i].Totals
		if err := g.row("node", s.Node, "dbid", t.Key.Database, "queryid", queryID(t.Key), "query", t.Key.Text, "calls", t.Calls, "failures", t.Failures,
			"rows", t.Rows, "total_exec_time", ms(t.Elapsed), "min_exec_time", ms(t.Min), "max_exec_time", ms(t.Max),
			"mean_exec_time", ms(t.Mean()), "stddev_exec_time", ms(t.StdDev()), "p50_exec_time", ms(t.Quantile(0.5)),
			"p99_exec_time", ms(t.Quantile(0.99)), "lock_wait_time", ms(t.LockWait), "replication_time", ms(t.Replication),
			"commit_wait_time", ms(t.CommitWait), "retries", t.Retries, "remote_requests", t.RPCs, "stats_since", moment(s.Since)); err != nil {
			return err
		}
	}
	return nil
}

// queryID is the same for a statement on every node.
func queryID(k stmtstats.Key) int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d\x00%s", k.Database, k.Text)
	return int64(h.Sum64())
}
