package txn

import (
	"cmp"
	"maps"
	"slices"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

var _ kv.Itemizer = (*Txn)(nil)

// itemized are a transaction's costs by range and node.
type itemized map[itemKey]*kv.RangeCost

type itemKey struct {
	rangeID int64
	node    ranges.NodeID
}

// Itemize implements kv.Itemizer.
func (t *Txn) Itemize() {
	t.itemizes.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.items = itemized{}
}

// Itemized implements kv.Itemizer.
func (t *Txn) Itemized() ([]kv.RangeCost, truetime.Interval) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []kv.RangeCost
	for c := range maps.Values(t.mu.items) {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b kv.RangeCost) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Range, b.Range)) })
	return out, t.db.clock.Now()
}

// add counts an answer; without one nobody knows who had the request last.
func (m itemized) add(self ranges.NodeID, s sent, req *txnpb.BatchRequest, resp *txnpb.BatchResponse) {
	if resp == nil || s.node == 0 {
		return
	}
	k := itemKey{req.RangeId, s.node}
	c := m[k]
	if c == nil {
		c = &kv.RangeCost{Range: req.RangeId, Node: uint64(s.node), Local: s.node == self}
		m[k] = c
	}
	c.Requests++
	if resp.Follower {
		c.Follower++
	}
	if req.Kind == txnpb.Kind_READ {
		c.Rows += int64(len(req.Keys)) + max(resp.RowsScanned, int64(len(resp.RowKeys)))
	}
	if !c.Local {
		c.Bytes += int64(resp.SizeVT())
	}
	c.LockWait += resp.LockWait
	c.Elapsed += int64(s.took)
}
