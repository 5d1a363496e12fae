package txn

import (
	"context"
	"sync"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// waitGraph is what a gateway knows of the lock waits of its transactions, by the reports (WAITS) of the ranges
// where they have waited for a while. A deadlock is a circle of such waits, through any number of gateways: every
// report follows it from its own transaction on. As each member of a circle reports, again and again, the youngest
// of them finds it, and is the one that is aborted: one for each deadlock, and the member that has least to lose.
//
// The search reads one gateway after the other, so a circle may be one that never was whole. Then a
// transaction is aborted in vain, which is allowed to happen; a wait that has ended is forgotten soon.
type waitGraph struct {
	mu  sync.Mutex
	all map[[16]byte]*waiter
}

// waiter is one transaction that waits, in as many ranges as it has requests under way.
type waiter struct {
	age   int64
	until time.Time // when the latest report is forgotten
	in    map[int64]waitReport
}

type waitReport struct {
	until time.Time
	txns  []waitEdge
}

// waitEdge is a transaction that is waited for.
type waitEdge struct {
	id      [16]byte
	gateway ranges.NodeID
}

// waitLife is how long a report counts: a little longer than the interval of its repetition.
const waitLife = 100 * time.Millisecond

// maxWaitHops bounds the search of one report. Longer circles are left to patience (wound-wait).
const maxWaitHops = 64

// report notes that a transaction waits in a range.
func (g *waitGraph) report(id [16]byte, age, rangeID int64, txns []waitEdge) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = map[[16]byte]*waiter{}
	}
	w := g.all[id]
	if w == nil {
		if len(g.all) >= 64 {
			g.expire(now)
		}
		w = &waiter{age: age, in: map[int64]waitReport{}}
		g.all[id] = w
	}
	w.until = now.Add(waitLife)
	w.in[rangeID] = waitReport{w.until, txns}
}

func (g *waitGraph) expire(now time.Time) {
	for id, w := range g.all {
		if now.After(w.until) {
			delete(g.all, id)
		}
	}
}

// of returns what a transaction waits for.
func (g *waitGraph) of(id [16]byte) (age int64, edges []waitEdge) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	w := g.all[id]
	if w == nil {
		return 0, nil
	}
	for rangeID, r := range w.in {
		if now.After(r.until) {
			delete(w.in, rangeID)
			continue
		}
		edges = append(edges, r.txns...)
	}
	return w.age, edges
}

// Waits implements participant.Router: it answers WAITS.
func (db *DB) Waits(ctx context.Context, req *txnpb.BatchRequest) *txnpb.BatchResponse {
	resp := &txnpb.BatchResponse{}
	if len(req.TxnId) != 16 || len(req.TxnIds) != len(req.TxnGateways) || len(req.RangeIds) > 1 {
		resp.Error, resp.ErrorMessage = txnpb.ErrorCode_INVALID, "malformed WAITS"
		return resp
	}
	id := [16]byte(req.TxnId)
	if len(req.RangeIds) == 0 {
		age, edges := db.waits.of(id)
		resp.TxnAge = age
		for _, e := range edges {
			resp.WaitTxnIds = append(resp.WaitTxnIds, e.id[:])
			resp.WaitGateways = append(resp.WaitGateways, int32(e.gateway))
		}
		return resp
	}
	edges, ok := waitEdges(req.TxnIds, req.TxnGateways)
	if !ok {
		resp.Error, resp.ErrorMessage = txnpb.ErrorCode_INVALID, "malformed WAITS"
		return resp
	}
	db.waits.report(id, req.Age, req.RangeIds[0], edges)
	s := circleSearch{db: db, ctx: ctx, of: id, age: req.Age}
	if s.run() {
		resp.LostTxnIds = [][]byte{req.TxnId}
		db.metrics.Deadlocks.Add(1)
	}
	return resp
}

func waitEdges(ids [][]byte, gateways []int32) ([]waitEdge, bool) {
	out := make([]waitEdge, len(ids))
	for i, b := range ids {
		if len(b) != 16 || gateways[i] < 0 || ranges.NodeID(gateways[i]) > ranges.MaxNodeID {
			return nil, false
		}
		out[i] = waitEdge{[16]byte(b), ranges.NodeID(gateways[i])}
	}
	return out, true
}

// circleSearch looks for a circle of waits in which one transaction is the youngest.
type circleSearch struct {
	db      *DB
	ctx     context.Context
	of      [16]byte
	age     int64
	visited map[[16]byte]bool
}

func (s *circleSearch) run() bool {
	s.visited = map[[16]byte]bool{s.of: true}
	_, edges := s.db.waits.of(s.of)
	return s.follow(edges)
}

// follow reports whether a chain of waits leads from edges back to s.of through older transactions only. A circle
// with a younger member is that one's to find.
func (s *circleSearch) follow(edges []waitEdge) bool {
	for _, e := range edges {
		if e.id == s.of {
			return true
		}
		if s.visited[e.id] || len(s.visited) >= maxWaitHops {
			continue
		}
		s.visited[e.id] = true
		age, next := s.ask(e)
		if len(next) == 0 || younger(age, e.id, s.age, s.of) {
			continue
		}
		if s.follow(next) {
			return true
		}
	}
	return false
}

// younger orders as the lock tables do: by age, then by id.
func younger(age int64, id [16]byte, than int64, thanID [16]byte) bool {
	if age != than {
		return age > than
	}
	return string(id[:]) > string(thanID[:])
}

// ask asks the gateway of e what e waits for. A gateway that cannot be reached has no say: its transactions are
// going to expire.
func (s *circleSearch) ask(e waitEdge) (age int64, edges []waitEdge) {
	if e.gateway == s.db.cfg.NodeID {
		return s.db.waits.of(e.id)
	}
	resp, err := s.db.SendToNode(s.ctx, e.gateway, &txnpb.BatchRequest{Kind: txnpb.Kind_WAITS, TxnId: e.id[:]})
	if err != nil || resp.Error != txnpb.ErrorCode_OK || len(resp.WaitTxnIds) != len(resp.WaitGateways) {
		return 0, nil
	}
	edges, _ = waitEdges(resp.WaitTxnIds, resp.WaitGateways)
	return resp.TxnAge, edges
}
