package txn

import (
	"context"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// heartbeatIDs bounds the transactions of one heartbeat.
const heartbeatIDs = 8192

// heartbeatLoop keeps this gateway's transactions alive: one request for each node that holds ranges they have
// locks in, however many there are.
func (db *DB) heartbeatLoop() {
	tick := time.NewTicker(db.cfg.HeartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			db.heartbeat()
		case <-db.stop.Done():
			return
		}
	}
}

// heartbeat sends one round. It waits for no answer: a node that does not give one must not delay what keeps locks on
// others. Most transactions are over before half a round has passed, and are spared.
func (db *DB) heartbeat() {
	old := db.clock.Now().Earliest.Add(-db.cfg.HeartbeatEvery / 2)
	byNode := map[ranges.NodeID]map[[16]byte]*Txn{}
	add := func(node ranges.NodeID, t *Txn) {
		if byNode[node] == nil {
			byNode[node] = map[[16]byte]*Txn{}
		}
		byNode[node][t.id] = t
	}
	db.active.Lock()
	for t := range db.active.txns {
		if t.began > old {
			continue
		}
		t.mu.Lock()
		for _, rt := range t.mu.asked {
			// To all replicas, not the leader alone: leases move, and a range may have split, without this
			// gateway having heard of it. It is one message for a node however many ranges are there.
			for _, n := range rt.order {
				add(n, t)
			}
		}
		for _, p := range t.mu.parts {
			if p.covered() {
				continue
			}
			for _, rt := range db.routes.snapshot() {
				if p.reaches(rt.desc.Start, rt.desc.End) {
					for _, n := range rt.order {
						add(n, t)
					}
				}
			}
		}
		t.mu.Unlock()
	}
	db.active.Unlock()
	for node, txns := range byNode {
		db.background(func(ctx context.Context) {
			ctx, cancel := context.WithTimeout(ctx, 2*db.cfg.HeartbeatEvery)
			defer cancel()
			db.heartbeatNode(ctx, node, txns)
		})
	}
}

func (db *DB) heartbeatNode(ctx context.Context, node ranges.NodeID, txns map[[16]byte]*Txn) {
	ids := make([][]byte, 0, len(txns))
	for _, t := range txns {
		ids = append(ids, t.id[:])
	}
	for len(ids) > 0 {
		n := min(len(ids), heartbeatIDs)
		req := &txnpb.BatchRequest{Kind: txnpb.Kind_HEARTBEAT, Gateway: int32(db.cfg.NodeID), TxnIds: ids[:n]}
		ids = ids[n:]
		var s sent
		resp, err := db.call(ctx, node, req, &s)
		if err != nil {
			return // The next round is soon, and locks live for several.
		}
		for _, id := range resp.LostTxnIds {
			if len(id) != 16 {
				continue
			}
			if t := txns[[16]byte(id)]; t != nil {
				t.lost.Store(true)
			}
		}
	}
}
