package server

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"

	"github.com/meridian-db/meridian/server/console"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgcatalog"
	"github.com/meridian-db/meridian/sql/stmtstats"
)

// consoleSource describes the cluster for the console.
type consoleSource struct{ s *Server }

var errNotYet = errors.New("the node has not joined its cluster yet")

// Cluster implements console.Source. Its parts ask the nodes all at once: the page is as fast as the farthest node, and what
// it shows of one moment belongs together.
func (c consoleSource) Cluster(ctx context.Context) (*console.Cluster, error) {
	s := c.s
	if !s.serving() || s.core == nil {
		return nil, errNotYet
	}
	out := &console.Cluster{ID: s.identity.ClusterID, Node: uint64(s.identity.NodeID), Now: s.clock.Now().Latest.Time().UTC(), Version: Version}
	parts := []func(context.Context, *pgcatalog.Providers, *console.Cluster) error{
		c.nodes, c.ranges, c.sessions, c.statements, c.transactions, c.locks, c.decisions, c.jobs,
	}
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i, part := range parts {
		wg.Go(func() { errs[i] = part(ctx, s.providers(), out) })
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

func (c consoleSource) nodes(ctx context.Context, p *pgcatalog.Providers, out *console.Cluster) error {
	answers, err := gather(ctx, c.s, viewConsole, c.s.consoleRows)
	if err != nil {
		return err
	}
	registered, err := p.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, r := range registered {
		n := console.Node{ID: r.ID, Region: r.Region, Zone: r.Zone, SQLAddr: r.SQLAddress, RPCAddr: r.Address, Version: r.Version,
			Started: r.Started, Live: r.Live, Draining: r.Draining}
		if i := slices.IndexFunc(answers, func(a console.Node) bool { return a.ID == r.ID }); i >= 0 {
			a := &answers[i]
			n.Answered, n.Problem, n.Clock, n.Metrics, n.Peers, n.Settings = true, a.Problem, a.Clock, a.Metrics, a.Peers, a.Settings
		}
		out.Nodes = append(out.Nodes, n)
	}
	return nil
}

func (c consoleSource) ranges(ctx context.Context, p *pgcatalog.Providers, out *console.Cluster) error {
	ranges, err := p.Ranges(ctx)
	if err != nil {
		return err
	}
	for _, r := range ranges {
		out.Ranges = append(out.Ranges, console.Range{ID: r.ID, Start: r.Start, End: r.End, Table: r.Table, Replicas: r.Replicas, Learners: r.Learners,
			Wanted: r.Wanted, Leader: r.Leader, Size: r.SizeBytes, Applied: r.Applied, Lag: r.SafeTimeLag.Seconds(), Quiesced: r.Quiesced})
	}
	return nil
}

func (c consoleSource) sessions(ctx context.Context, p *pgcatalog.Providers, out *console.Cluster) error {
	sessions, err := p.Activity(ctx)
	if err != nil {
		return err
	}
	for _, a := range sessions {
		client := a.ClientAddr
		if a.ClientPort != 0 {
			client += ":" + strconv.Itoa(a.ClientPort)
		}
		out.Sessions = append(out.Sessions, console.Session{PID: a.PID, User: a.Role, Database: a.Database, Application: a.Application,
			Client: client, State: a.State, Since: a.StateChange, Statement: parser.Fingerprint(a.Query)})
	}
	return nil
}

func (c consoleSource) statements(ctx context.Context, p *pgcatalog.Providers, out *console.Cluster) error {
	statements, err := p.Statements(ctx)
	if err != nil {
		return err
	}
	totals := make([][]stmtstats.Totals, 1)
	for i := range statements {
		totals[0] = append(totals[0], statements[i].Totals)
	}
	snap := c.s.core.Catalog.Snapshot(0)
	out.Statements = console.SumStatements(totals, func(oid uint32) string {
		if db := snap.DatabaseByID(oid); db != nil {
			return db.Name
		}
		return "" // it has been dropped
	})
	return nil
}

func (c consoleSource) transactions(ctx context.Context, p *pgcatalog.Providers, out *console.Cluster) error {
	txns, err := p.Transactions(ctx)
	if err != nil {
		return err
	}
	for _, t := range txns {
		out.Transactions = append(out.Transactions, console.Transaction{ID: t.ID, Node: t.Node, PID: t.SessionPID, Since: t.Age.Time(),
			State: t.State, Ranges: t.Ranges, Statement: parser.Fingerprint(t.Statement)})
	}
	return nil
}

func (c consoleSource) locks(ctx context.Context, p *pgcatalog.Providers, out *console.Cluster) error {
	locks, err := p.Locks(ctx)
	if err != nil {
		return err
	}
	// Waiters, and those they wait for, first: they are what the page is asked about.
	awaited := map[string]bool{}
	for _, l := range locks {
		if !l.Granted {
			awaited[l.Key] = true
		}
	}
	slices.SortStableFunc(locks, func(a, b pgcatalog.Lock) int {
		switch x, y := awaited[a.Key], awaited[b.Key]; {
		case x == y:
			return 0
		case x:
			return -1
		}
		return 1
	})
	const maxLocks = 500
	snap := c.s.core.Catalog.Snapshot(0)
	for _, l := range locks[:min(len(locks), maxLocks)] {
		out.Locks = append(out.Locks, console.Lock{Range: l.Range, Key: nameKey(snap, l.Key), Mode: l.Mode, Transaction: l.Transaction, Granted: l.Granted})
	}
	return nil
}

func (c consoleSource) decisions(ctx context.Context, p *pgcatalog.Providers, out *console.Cluster) error {
	decisions, err := p.Placement(ctx)
	if err != nil {
		return err
	}
	const maxDecisions = 200
	slices.Reverse(decisions)
	for _, d := range decisions[:min(len(decisions), maxDecisions)] {
		out.Decisions = append(out.Decisions, console.Decision{Time: d.Time.UTC(), Node: d.Node, Range: d.Range, Action: d.Action, Change: d.Change,
			Reason: d.Reason, Outcome: d.Outcome, Took: d.Took.Seconds()})
	}
	return nil
}

func (c consoleSource) jobs(ctx context.Context, _ *pgcatalog.Providers, out *console.Cluster) error {
	jobs, err := c.s.core.SQL.JobRows(ctx)
	for _, j := range jobs {
		out.Jobs = append(out.Jobs, console.Job{ID: j.ID, Kind: j.Kind, State: j.State, Description: j.Description, Started: j.Started,
			Fraction: j.Fraction, Error: j.Error})
	}
	return err
}

// nameKey puts the names of tables into keys that printKey has made.
func nameKey(snap *catalog.Snapshot, key string) string {
	return tableKey.ReplaceAllStringFunc(key, func(k string) string {
		m := tableKey.FindStringSubmatch(k)
		id, err := strconv.ParseUint(m[1], 10, 32)
		if err != nil {
			return k
		}
		t := snap.TableByID(uint32(id))
		if t == nil {
			return k
		}
		for _, ix := range t.AllIndexes() {
			if ix != t.Primary && strconv.Itoa(int(ix.ID)) == m[2] {
				return ix.Name
			}
		}
		return t.Name
	})
}

var tableKey = regexp.MustCompile(`/table/(\d+)/(\d+)`)

// consoleRows is this node's own part.
func (s *Server) consoleRows() []console.Node {
	n := console.Node{ID: uint64(s.identity.NodeID), Metrics: s.sumMetrics(console.MetricNames), Settings: s.settings()}
	if err := s.health(); err != nil {
		n.Problem = err.Error()
	}
	st := s.clock.Status()
	n.Clock = console.Clock{Synced: st.Synced, Fenced: st.Fenced, Bound: st.Bound.Seconds(), MaxBound: st.MaxUncertainty.Seconds(), Offset: st.Offset.Seconds()}
	for _, src := range st.Sources {
		n.Clock.Sources = append(n.Clock.Sources, console.TimeSource{Name: src.Name, Offset: src.Offset.Seconds(), Bound: src.Bound.Seconds(),
			Age: src.Age.Seconds(), Verdict: string(src.Verdict), Error: src.Err})
	}
	for _, peer := range s.rpc.Peers() {
		n.Peers = append(n.Peers, console.Peer{Node: uint64(peer.ID), Connected: peer.Connected, RTT: peer.RTT.Seconds()})
	}
	return []console.Node{n}
}

// sumMetrics returns the sums of metrics over their labels. The name of a histogram with _sum or _count is that part.
func (s *Server) sumMetrics(names []string) map[string]float64 {
	out := map[string]float64{}
	families, err := s.reg.Gather()
	if err != nil {
		s.log.Warn("gather metrics", "err", err) // what could be gathered is there
	}
	for _, f := range families {
		for _, name := range names {
			suffix, ok := strings.CutPrefix(name, f.GetName())
			if !ok {
				continue
			}
			for _, m := range f.GetMetric() {
				if v, ok := metricValue(m, suffix); ok {
					out[name] += v
				}
			}
		}
	}
	return out
}

func metricValue(m *dto.Metric, suffix string) (float64, bool) {
	switch {
	case suffix == "" && m.Counter != nil:
		return m.Counter.GetValue(), true
	case suffix == "" && m.Gauge != nil:
		return m.Gauge.GetValue(), true
	case suffix == "_sum" && m.Histogram != nil:
		return m.Histogram.GetSampleSum(), true
	case suffix == "_count" && m.Histogram != nil:
		return float64(m.Histogram.GetSampleCount()), true
	}
	return 0, false
}
