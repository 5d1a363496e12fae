package txn

import (
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// FarRank is the least Config.Nearness of a node in another region: what is below it is near.
const FarRank = 3

// probeEvery is how often a gateway asks again whether the replica near it closes time ahead of now.
const probeEvery = truetime.Timestamp(5 * time.Second)

func (db *DB) rank(n ranges.NodeID) int {
	if n == db.cfg.NodeID {
		return -1
	}
	return max(0, db.cfg.Nearness(n))
}

// nearest returns the replica that is nearest now: distances are measured, and change after the route was learned.
func (db *DB) nearest(rt *route) ranges.NodeID {
	best := rt.order[0]
	if best == db.cfg.NodeID || len(rt.order) == 1 {
		return best
	}
	rank := db.rank(best)
	for _, n := range rt.order[1:] {
		if r := db.rank(n); r < rank {
			best, rank = n, r
		}
	}
	return best
}

// reader chooses the replica for a read without locks, which any may answer; zero leaves it to the search for the
// leader.
//
//   - A read in the past goes to the nearest replica.
//   - A strong read goes to the leader unless that is in another region and a replica is nearer. Then the nearest
//     replica has the leader confirm the timestamp, which costs a round trip without data, and answers: the same
//     wait as for the leader's answer, less to transfer, and nothing more to ask for what else the transaction reads.
//   - A read of few rows that is a whole transaction gains nothing by that, and the leader has a better choice of
//     timestamps: it goes there. But where time is closed ahead of now (GLOBAL) the near replica answers at once.
//     Whether it does is known when it has been tried, which from time to time it is.
func (db *DB) reader(rt *route, req *txnpb.BatchRequest, stale bool) ranges.NodeID {
	leader := ranges.NodeID(rt.leader.Load())
	if leader == db.cfg.NodeID || len(rt.order) == 0 {
		return leader
	}
	near := db.nearest(rt)
	switch {
	case stale:
		return near
	case near == leader || leader != 0 && db.rank(leader) < FarRank || db.rank(near) >= FarRank:
		return leader
	case smallRead(req) && near != db.cfg.NodeID && !rt.ahead.Load():
		now := db.clock.Now().Latest
		if last := rt.probed.Load(); now < truetime.Timestamp(last)+probeEvery || !rt.probed.CompareAndSwap(last, int64(now)) {
			return leader
		}
	}
	return near
}

// smallRead reports whether a read is a whole transaction and is going to be answered with little. The replica uses
// the same rule.
func smallRead(req *txnpb.BatchRequest) bool {
	return req.Strong && (len(req.SpanStarts) == 0 || req.MaxRows > 0 && req.MaxRows <= 100)
}

// noteReader remembers whether a replica that does not lead has answered a strong read of its own.
func (rt *route) noteReader(req *txnpb.BatchRequest, resp *txnpb.BatchResponse) {
	if !smallRead(req) || !req.FollowerOk || resp == nil {
		return
	}
	if ahead := resp.Follower && resp.Error == txnpb.ErrorCode_OK; rt.ahead.Load() != ahead {
		rt.ahead.Store(ahead)
	}
}
