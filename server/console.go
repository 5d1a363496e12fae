package server

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/meridian-db/meridian/server/console"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/stmtstats"
)

// consoleSource describes the cluster for the console.
type consoleSource struct{ s *Server }

var errNotYet = errors.New("the node has not joined its cluster yet")

// Cluster implements console.Source.
func (c consoleSource) Cluster(ctx context.Context) (*console.Cluster, error) {
	s := c.s
	if nodeState(s.state.Load()) != stateServing || s.core == nil {
		return nil, errNotYet
	}
	p := s.providers()
	out := &console.Cluster{ID: s.identity.ClusterID, Node: uint64(s.identity.NodeID), Now: s.clock.Now().Latest.Time().UTC(), Version: Version}
	answers, err := gather(ctx, s, viewConsole, s.consoleRows)
	if err != nil {
		return nil, err
	}
	registered, err := p.Nodes(ctx)
	if err != nil {
		return nil, err
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
	ranges, err := p.Ranges(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range ranges {
		out.Ranges = append(out.Ranges, console.Range{ID: r.ID, Start: r.Start, End: r.End, Replicas: r.Replicas, Learners: r.Learners, Leader: r.Leader,
			Size: r.SizeBytes, Applied: r.Applied, Lag: r.SafeTimeLag.Seconds(), Quiesced: r.Quiesced})
	}
	return out, c.activity(ctx, out)
}

// activity adds what clients do.
func (c consoleSource) activity(ctx context.Context, out *console.Cluster) error {
	p := c.s.providers()
	sessions, err := p.Activity(ctx)
	if err != nil {
		return err
	}
	databases := map[uint32]string{}
	for _, a := range sessions {
		databases[a.DatabaseID] = a.Database
		client := a.ClientAddr
		if a.ClientPort != 0 {
			client += ":" + strconv.Itoa(a.ClientPort)
		}
		out.Sessions = append(out.Sessions, console.Session{PID: a.PID, User: a.Role, Database: a.Database, Application: a.Application,
			Client: client, State: a.State, Since: a.StateChange, Statement: parser.Fingerprint(a.Query)})
	}
	statements, err := p.Statements(ctx)
	if err != nil {
		return err
	}
	totals := make([][]stmtstats.Totals, 1)
	for i := range statements {
		totals[0] = append(totals[0], statements[i].Totals)
	}
	out.Statements = console.SumStatements(totals, func(oid uint32) string { return databases[oid] })
	if p.Transactions != nil {
		txns, err := p.Transactions(ctx)
		if err != nil {
			return err
		}
		for _, t := range txns {
			out.Transactions = append(out.Transactions, console.Transaction{ID: t.ID, Node: t.Node, PID: t.SessionPID, Since: t.Age.Time(),
				State: t.State, Ranges: t.Ranges, Statement: parser.Fingerprint(t.Statement)})
		}
	}
	if p.Placement != nil {
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
	}
	locks, err := p.Locks(ctx)
	if err != nil {
		return err
	}
	const maxLocks = 500
	for _, l := range locks[:min(len(locks), maxLocks)] {
		out.Locks = append(out.Locks, console.Lock{Range: l.Range, Key: l.Key, Mode: l.Mode, Transaction: l.Transaction, Granted: l.Granted})
	}
	jobs, err := c.s.core.SQL.JobRows(ctx)
	for _, j := range jobs {
		out.Jobs = append(out.Jobs, console.Job{ID: j.ID, Kind: j.Kind, State: j.State, Description: j.Description, Started: j.Started,
			Fraction: j.Fraction, Error: j.Error})
	}
	return err
}

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
