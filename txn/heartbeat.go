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
			db.heartbeat(db.stop)
		case <-db.stop.Done():
			return
		}
	}
}

// heartbeat sends one round and waits for its answers.
func (db *DB) heartbeat(ctx context.Context) {
	old := db.clock.Now().Earliest.Add(-db.cfg.HeartbeatEvery)
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
		for _, p := range t.mu.parts {
			// To all replicas, not the leader alone: leases move, and a range may have split, without this
			// gateway having heard of it. It is one message for a node however many ranges are there.
			for _, n := range p.rt.order {
				add(n, t)
			}
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
	ctx, cancel := context.WithTimeout(ctx, 2*db.cfg.HeartbeatEvery)
	defer cancel()
	nodes := make([]ranges.NodeID, 0, len(byNode))
	for n := range byNode {
		nodes = append(nodes, n)
	}
	if len(nodes) == 0 {
		return
	}
	parallel(len(nodes), func(i int) error {
		db.heartbeatNode(ctx, nodes[i], byNode[nodes[i]])
		return nil
	})
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
