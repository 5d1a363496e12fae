package txn

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// pause waits before attempt n+1: 1 ms, doubling to 200 ms, each time a random half of it off, so that
// gateways that lost the same leader do not come back in step.
func (db *DB) pause(ctx context.Context, n int) error {
	d := 200 * time.Millisecond
	if n < 8 {
		d = time.Millisecond << (n - 1)
	}
	db.rand.Lock()
	d -= time.Duration(db.rand.Int64N(int64(d)/2 + 1))
	db.rand.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-db.stop.Done():
		return wrap(kv.ErrUnavailable, "shutting down")
	}
}

// sent says what happened to a request on its way.
type sent struct {
	node ranges.NodeID // who answered
	// maybe is set when an attempt went unanswered: the request may have been executed even though the
	// answer, or the error, is from a later attempt.
	maybe bool
	rpcs  int           // attempts that left this node
	took  time.Duration // of a read of a transaction that itemizes
}

// send sends req to the range of rt until it is answered, following leader hints. It sets range id and
// generation. The answer's code is OK or a refusal that is not about routing, in which case err is nil too.
// err is errReroute when the range does not hold the keys any more or cannot be found through rt, ctx's
// error, or kv.ErrUnavailable.
func (db *DB) send(ctx context.Context, rt *route, req *txnpb.BatchRequest) (*txnpb.BatchResponse, sent, error) {
	req.RangeId = int64(rt.desc.ID)
	req.DescGeneration = int64(rt.desc.Generation)
	return db.sendTo(ctx, rt, ranges.NodeID(rt.leader.Load()), req)
}

// sendRead is send for a read: one without locks goes where it is answered soonest.
func (t *Txn) sendRead(ctx context.Context, rt *route, req *txnpb.BatchRequest) (resp *txnpb.BatchResponse, s sent, err error) {
	db := t.db
	if t.itemizes.Load() {
		defer func(began time.Time) { s.took = time.Since(began) }(time.Now())
	}
	if !req.FollowerOk {
		return db.send(ctx, rt, req)
	}
	req.RangeId = int64(rt.desc.ID)
	req.DescGeneration = int64(rt.desc.Generation)
	resp, s, err = db.sendTo(ctx, rt, db.reader(rt, req, t.stale()), req)
	if err == nil {
		rt.noteReader(req, resp)
	}
	return resp, s, err
}

// sendTo is send that begins with node.
func (db *DB) sendTo(ctx context.Context, rt *route, node ranges.NodeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, sent, error) {
	if node == db.cfg.NodeID {
		// The common case, without any of the machinery below.
		resp, err := db.local.Batch(ctx, req)
		db.metrics.LocalCalls.Add(1)
		if err == nil && len(resp.Descriptors) == 0 {
			switch resp.Error {
			case txnpb.ErrorCode_NOT_LEADER, txnpb.ErrorCode_RANGE_MISMATCH, txnpb.ErrorCode_RANGE_NOT_FOUND,
				txnpb.ErrorCode_AMBIGUOUS, txnpb.ErrorCode_UNAVAILABLE, txnpb.ErrorCode_CLOCK:
			default:
				return resp, sent{node: node}, nil
			}
		}
		return db.sendSlow(ctx, rt, req, node, resp, err)
	}
	return db.sendSlow(ctx, rt, req, node, nil, nil)
}

// sendSlow goes on from a first local answer (resp or err set), or from the start.
func (db *DB) sendSlow(ctx context.Context, rt *route, req *txnpb.BatchRequest, node ranges.NodeID, resp *txnpb.BatchResponse, err error) (*txnpb.BatchResponse, sent, error) {
	var (
		s        sent
		try      = db.newRetry()
		next     = 0 // index into rt.order of the next replica to try without a hint
		failed   = 0 // replicas in a row that knew nothing of the range
		hintHops = 0 // hints followed without a pause
	)
	if len(rt.order) == 0 {
		return nil, s, errReroute
	}
	if resp == nil && err == nil {
		if node == 0 {
			node, next = rt.order[0], 1
		}
		resp, err = db.call(ctx, node, req, &s)
	}
	for {
		wait := false
		switch {
		case err != nil:
			s.maybe = true
			if ctx.Err() != nil {
				return nil, s, ctx.Err()
			}
			try.cause = err.Error()
			rt.leader.CompareAndSwap(uint32(node), 0)
			if rt.order[next%len(rt.order)] == node {
				next++ // it was not tried by its place in the order
			}
			node = rt.order[next%len(rt.order)]
			next++
			wait = next%len(rt.order) == 0 || len(rt.order) == 1
		default:
			db.learnAll(resp)
			if resp.Error != txnpb.ErrorCode_RANGE_NOT_FOUND {
				failed = 0
			}
			try.cause = fmt.Sprintf("range %d: %s %s", rt.desc.ID, resp.Error, resp.ErrorMessage)
			switch resp.Error {
			case txnpb.ErrorCode_NOT_LEADER:
				hint := ranges.NodeID(resp.LeaderHint)
				if hint != 0 && hint != node {
					rt.leader.Store(uint32(hint))
					node = hint
					hintHops++
					wait = hintHops > 3
				} else {
					rt.leader.CompareAndSwap(uint32(node), 0)
					node = rt.order[next%len(rt.order)]
					next++
					wait = next%len(rt.order) == 0 || len(rt.order) == 1
				}
			case txnpb.ErrorCode_RANGE_NOT_FOUND:
				// A replica may yet have to come: only if all say so, one after the other, is the range elsewhere.
				if failed++; failed >= len(rt.order) {
					// No replica where the descriptor says: a later one must exist.
					db.routes.evict(rt)
					db.metrics.Reroutes.Add(1)
					return nil, s, errReroute
				}
				rt.leader.CompareAndSwap(uint32(node), 0)
				node = rt.order[next%len(rt.order)]
				next++
				wait = next%len(rt.order) == 0
			case txnpb.ErrorCode_RANGE_MISMATCH:
				if !rt.stale.Load() {
					// What came with the answer does not replace it: the range was absorbed by one that has been split
					// since, and the half that holds these keys is not known to who answered.
					db.routes.evict(rt)
				}
				db.metrics.Reroutes.Add(1)
				return resp, s, errReroute
			case txnpb.ErrorCode_AMBIGUOUS:
				s.maybe = true
				wait = true
			case txnpb.ErrorCode_UNAVAILABLE:
				wait = true
				if req.FollowerOk {
					req.FollowerOk = false
				}
			case txnpb.ErrorCode_CLOCK:
				if node == db.cfg.NodeID && db.clock.Health() != nil {
					return resp, s, nil
				}
				// Another node has fenced itself; its leases pass to others.
				node = rt.order[next%len(rt.order)]
				next++
				wait = true
			default:
				if !req.FollowerOk {
					rt.leader.Store(uint32(node))
				}
				s.node = node
				return resp, s, nil
			}
		}
		if wait {
			hintHops = 0
			if werr := try.wait(ctx); werr != nil {
				return nil, s, werr
			}
			db.doubts(rt, try.started)
			if rt.stale.Load() {
				// Someone else learned better in the meantime.
				return nil, s, errReroute
			}
		}
		resp, err = db.call(ctx, node, req, &s)
	}
}

// call makes one attempt.
func (db *DB) call(ctx context.Context, node ranges.NodeID, req *txnpb.BatchRequest, s *sent) (*txnpb.BatchResponse, error) {
	if node == db.cfg.NodeID {
		db.metrics.LocalCalls.Add(1)
		return db.local.Batch(ctx, req)
	}
	if db.cfg.Sender == nil {
		return nil, fmt.Errorf("no way to reach %s", node)
	}
	db.metrics.RemoteCalls.Add(1)
	s.rpcs++
	return db.cfg.Sender.Send(ctx, node, req)
}

// SendToNode sends a request that names no range to a node.
func (db *DB) SendToNode(ctx context.Context, node ranges.NodeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	var s sent
	return db.call(ctx, node, req, &s)
}

// learnAll caches the descriptors that came with an answer.
func (db *DB) learnAll(resp *txnpb.BatchResponse) {
	for _, b := range resp.Descriptors {
		d, err := ranges.DecodeDescriptor(b)
		if err != nil {
			db.cfg.Logger.Warn("malformed descriptor in an answer", "err", err)
			continue
		}
		db.learn(d)
	}
}

// SendToRange sends req to the range that rangeID names and whose start key is startKey: splits leave id and start key
// to the left half. When that range has been absorbed by another, req goes to the one that holds the key now, which knows
// what the former has decided. It repeats until ctx ends, so the request must be idempotent. It is how participants
// reach each other (RESOLVE, QUERY).
func (db *DB) SendToRange(ctx context.Context, rangeID int64, startKey []byte, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	for n := 1; ; n++ {
		rt, err := db.routeFor(ctx, startKey, false)
		if err == nil {
			to := req
			if int64(rt.desc.ID) != rangeID {
				// What is cached is from before rangeID was split off, or that range has been absorbed. A leader that has
				// a lease and holds the key tells: while a range lives nobody else holds its first key.
				to = proto.Clone(req).(*txnpb.BatchRequest)
				to.Keys = [][]byte{startKey}
			}
			if resp, _, err := db.send(ctx, rt, to); err == nil {
				return resp, nil
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if werr := db.pause(ctx, n); werr != nil {
			return nil, werr
		}
	}
}

func timestamp(ts int64) truetime.Timestamp { return truetime.Timestamp(ts) }
