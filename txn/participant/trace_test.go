package participant

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// TestTraces runs the golden scripts of testdata/trace on virtual time. Keys up to "m" are in range 1, up to
// "t" in range 2, the others in range 3; range k is led by node k at first. A gateway runs on node 9.
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata/trace", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t)
			defer s.c.close()
			datadriven.RunTest(t, path, s.run)
		})
	})
}

type script struct {
	c       *cluster
	start   time.Time
	txns    map[string]*testTxn
	commits map[string][]byte
	decide  map[string]*txnpb.BatchRequest

	mu     sync.Mutex
	events []string
	waits  map[string]chan string
}

func newScript(t *testing.T) *script {
	s := &script{
		start: time.Now(), txns: map[string]*testTxn{}, commits: map[string][]byte{},
		decide: map[string]*txnpb.BatchRequest{}, waits: map[string]chan string{},
	}
	s.c = newCluster(t, clusterConfig{nodes: 3, splits: []string{"m", "t"}, delay: time.Millisecond, eps: 2 * time.Millisecond})
	s.c.trace = func(from ranges.NodeID, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) {
		if from == 9 {
			return
		}
		line := fmt.Sprintf("n%d -> r%d %s t%d", from, req.RangeId, req.Kind, req.CommitId[15])
		if req.Kind == txnpb.Kind_RESOLVE {
			line += " " + strings.TrimPrefix(req.Outcome.String(), "OUTCOME_")
		}
		if resp.Error != 0 {
			line += ": " + resp.Error.String()
		} else if req.Kind == txnpb.Kind_QUERY {
			line += ": " + strings.TrimPrefix(resp.Outcome.String(), "OUTCOME_")
		}
		s.mu.Lock()
		s.events = append(s.events, line)
		s.mu.Unlock()
	}
	return s
}

func (s *script) txn(name string) *testTxn {
	x := s.txns[name]
	if x == nil {
		var n byte
		_, _ = fmt.Sscanf(name, "t%d", &n)
		x = client{s.c, 9}.begin(n)
		s.txns[name] = x
		commit := make([]byte, 16)
		copy(commit, s.c.commitID()[:8])
		commit[15] = n
		s.commits[name] = commit
	}
	return x
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	ctx := context.Background()
	var name, key, value string
	var id, node, other int
	for _, a := range d.CmdArgs {
		switch {
		case len(a.Vals) == 0:
			name = a.Key
		case a.Key == "key":
			key = a.Vals[0]
		case a.Key == "value":
			value = a.Vals[0]
		case a.Key == "range":
			_, _ = fmt.Sscan(a.Vals[0], &id)
		case a.Key == "from", a.Key == "old":
			_, _ = fmt.Sscan(a.Vals[0], &other)
		case a.Key == "node":
			_, _ = fmt.Sscan(a.Vals[0], &node)
		}
	}
	var out string
	switch d.Cmd {
	case "read": // takes a lock: shared, or exclusive with value=x; "async" variants report at their end
		mode := txnpb.LockMode_LOCK_SHARED
		if value == "x" {
			mode = txnpb.LockMode_LOCK_EXCLUSIVE
		}
		out = s.async("read "+name, func() string { return show(s.txn(name).read(ctx, key, mode)) })
	case "put":
		s.txn(name).put(key, value)
		return ""
	case "split":
		if err := s.c.split(ctx, ranges.RangeID(id), ranges.RangeID(len(s.c.groups)+1), key); err != nil {
			out = err.Error()
		}
	case "learn": // the gateway learns that a range was split off from another in which it has locks
		x := s.txn(name)
		x.epochs[ranges.RangeID(id)] = x.epochs[ranges.RangeID(other)]
	case "restart": // every replica of the range rebuilds its state from the engine
		for _, r := range s.c.groups[ranges.RangeID(id)].replicas {
			r.m.Reset()
		}
	case "stage":
		out = show("staged", s.txn(name).stage(ctx))
	case "prepare":
		x := s.txn(name)
		out = s.async("prepare "+name, func() string { return s.prepare(ctx, x, name, ranges.RangeID(id)) })
	case "decide":
		x := s.txn(name)
		out = s.async("decide "+name, func() string { return s.sendDecide(ctx, x, name) })
	case "commit":
		x := s.txn(name)
		out = s.async("commit "+name, func() string {
			if other != 0 {
				// With a descriptor from before the last split, by which everything lies in one range.
				req := x.withWrites(txnpb.Kind_COMMIT_ONE, ranges.RangeID(other))
				req.CommitId, req.DescGeneration = s.commits[name], int64(s.c.groups[ranges.RangeID(other)].desc.Generation-1)
				_, err := x.send(ctx, ranges.RangeID(other), req)
				return show("committed", err)
			}
			ts, err := x.commitAs(ctx, s.commits[name])
			return show(s.ms(ts), err)
		})
	case "rollback":
		s.txn(name).rollback(ctx, s.commits[name])
	case "query":
		req := &txnpb.BatchRequest{Kind: txnpb.Kind_QUERY, CommitId: s.commits[name]}
		resp, err := s.c.send(ctx, 9, ranges.RangeID(id), req)
		if err != nil {
			return err.Error() + "\n"
		}
		out = strings.TrimPrefix(resp.Outcome.String(), "OUTCOME_")
	case "get":
		v, _, err := client{s.c, 9}.snapshot(ctx, key, 0)
		out = show(v, err)
	case "down", "up":
		s.c.mu.Lock()
		s.c.down[ranges.NodeID(node)] = d.Cmd == "down"
		s.c.mu.Unlock()
	case "elect":
		s.c.groups[ranges.RangeID(id)].elect(ranges.NodeID(node), nil)
	case "transfer":
		g := s.c.groups[ranges.RangeID(id)]
		state := g.replicas[g.leaderNode()].m.LeaseHandoff()
		g.elect(ranges.NodeID(node), state)
	case "heartbeat":
		for _, n := range []ranges.NodeID{1, 2, 3} {
			req := &txnpb.BatchRequest{Kind: txnpb.Kind_HEARTBEAT}
			id := s.txn(name).id
			req.TxnIds = [][]byte{id[:]}
			if resp, _ := s.c.nodes[n].srv.Batch(ctx, req); len(resp.LostTxnIds) > 0 {
				out = "lost"
			}
		}
	case "sleep":
		d, err := time.ParseDuration(name)
		if err != nil {
			return err.Error()
		}
		time.Sleep(d)
	case "state":
		synctest.Wait()
		return s.state()
	default:
		t.Fatalf("unknown command %s", d.Cmd)
	}
	synctest.Wait()
	return s.flush(out)
}

// async runs f and waits for its end for up to a second; then it goes on, and the answer comes with a later
// command.
func (s *script) async(what string, f func() string) string {
	done := make(chan string, 1)
	go func() {
		res := f()
		select {
		case done <- res:
		default:
		}
	}()
	select {
	case res := <-done:
		return res
	case <-time.After(100 * time.Millisecond):
	}
	go func() {
		res := <-done
		s.mu.Lock()
		s.events = append(s.events, what+": "+res)
		s.mu.Unlock()
	}()
	return "waits"
}

func show(v any, err error) string {
	if err != nil {
		if e, ok := err.(*Error); ok {
			return e.Code.String()
		}
		return "error: " + err.Error()
	}
	return fmt.Sprint(v)
}

func (s *script) ms(ts truetime.Timestamp) string {
	if ts == 0 {
		return "committed"
	}
	return fmt.Sprintf("committed at %dms", ts.Sub(truetime.FromTime(s.start)).Milliseconds())
}

func (s *script) flush(out string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.Sort(s.events)
	lines := s.events
	s.events = nil
	if out != "" {
		lines = append([]string{out}, lines...)
	}
	if len(lines) == 0 {
		return "ok\n"
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *script) prepare(ctx context.Context, x *testTxn, name string, id ranges.RangeID) string {
	dec := s.decide[name]
	if dec == nil {
		dec = &txnpb.BatchRequest{}
		s.decide[name] = dec
	}
	coord := s.coordinator(x)
	req := x.withWrites(txnpb.Kind_PREPARE, id)
	req.CommitId = s.commits[name]
	req.CoordinatorRange, req.CoordinatorKey = int64(coord), s.c.groups[coord].desc.Start
	resp, err := x.send(ctx, id, req)
	if err != nil {
		return show(nil, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	dec.MinTs = max(dec.MinTs, resp.PrepareTs)
	dec.ParticipantRanges = append(dec.ParticipantRanges, int64(id))
	dec.ParticipantKeys = append(dec.ParticipantKeys, s.c.groups[id].desc.Start)
	if resp.ReadOnly {
		dec.ParticipantReadOnly = append(dec.ParticipantReadOnly, 1)
		return "read-only"
	}
	dec.ParticipantReadOnly = append(dec.ParticipantReadOnly, 0)
	return fmt.Sprintf("prepared at %dms", truetime.Timestamp(resp.PrepareTs).Sub(truetime.FromTime(s.start)).Milliseconds())
}

// coordinator is the first range with writes, or with anything of a transaction that has staged all of its own.
func (s *script) coordinator(x *testTxn) ranges.RangeID {
	if len(x.writes) == 0 {
		return x.touched()[0]
	}
	return slices.Sorted(maps.Keys(x.writes))[0]
}

func (s *script) sendDecide(ctx context.Context, x *testTxn, name string) string {
	coord := s.coordinator(x)
	req := x.withWrites(txnpb.Kind_DECIDE, coord)
	req.CommitId = s.commits[name]
	if dec := s.decide[name]; dec != nil {
		req.MinTs = dec.MinTs
		req.ParticipantRanges, req.ParticipantKeys, req.ParticipantReadOnly = dec.ParticipantRanges, dec.ParticipantKeys, dec.ParticipantReadOnly
	}
	resp, err := x.send(ctx, coord, req)
	if err != nil {
		return show(nil, err)
	}
	return s.ms(truetime.Timestamp(resp.CommitTs))
}

// state shows what the leaders of the ranges hold.
func (s *script) state() string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(s.c.groups)) {
		g := s.c.groups[id]
		leader := g.leaderNode()
		if leader == 0 {
			continue
		}
		m := g.replicas[leader].m
		l := m.lead.Load()
		if l == nil {
			continue
		}
		fmt.Fprintf(&b, "r%d on n%d:", id, leader)
		n := b.Len()
		m.mu.RLock()
		for _, x := range slices.SortedFunc(maps.Keys(m.state.records), cmpTxn) {
			fmt.Fprintf(&b, " t%d prepared", x[0])
		}
		for x := range m.state.decisions {
			fmt.Fprintf(&b, " t%d decided", x[15])
		}
		for _, x := range slices.SortedFunc(maps.Keys(m.state.staged), cmpTxn) {
			fmt.Fprintf(&b, " t%d staged", x[0])
		}
		for _, x := range slices.SortedFunc(maps.Keys(m.state.layers), cmpTxn) {
			fmt.Fprintf(&b, " t%d to be moved", x[0])
		}
		m.mu.RUnlock()
		for _, k := range l.table.Locks(0) {
			verb := "holds"
			if k.Waiting {
				verb = "awaits"
			}
			mode := "s"
			if k.Mode == locktable.Exclusive {
				mode = "x"
			}
			fmt.Fprintf(&b, " [t%d %s %s(%s)]", k.Txn[0], verb, k.Start, mode)
		}
		if b.Len() == n {
			b.WriteString(" nothing")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func cmpTxn(a, b TxnID) int { return slices.Compare(a[:], b[:]) }
