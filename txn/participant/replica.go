package participant

import (
	"context"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// TxnID names a transaction attempt, CommitID a commit attempt.
type (
	TxnID    = locktable.TxnID
	CommitID [16]byte
)

// Replica is what a Machine needs of *ranges.Replica.
type Replica interface {
	ID() ranges.RangeID
	Desc() *ranges.Descriptor
	Engine() *mvcc.Engine
	Lease() ranges.Lease
	LeaderHint() ranges.NodeID
	SafeTime() truetime.Timestamp
	BumpFloor(ts truetime.Timestamp) error
	WaitSafe(ctx context.Context, ts truetime.Timestamp) error
	Propose(ctx context.Context, p ranges.Proposal) (Pending, error)
	CountRequest(gateway ranges.NodeID)
}

// Pending is a proposal on its way (*ranges.Pending).
type Pending interface {
	TS() truetime.Timestamp
	Wait(ctx context.Context) (any, error)
}

// storeReplica adapts *ranges.Replica, whose Propose returns a concrete type.
type storeReplica struct{ *ranges.Replica }

func (r storeReplica) Propose(ctx context.Context, p ranges.Proposal) (Pending, error) {
	pending, err := r.Replica.Propose(ctx, p)
	if err != nil {
		return nil, err
	}
	return pending, nil
}

// Router carries requests between ranges (RESOLVE from coordinators to participants, QUERY from participants to
// coordinators), and from ranges to gateways (WAITS). The gateway of the own node implements it.
type Router interface {
	// SendToRange sends req to the leader of rangeID, which is the range that holds startKey. It follows
	// leader hints and repeats what a lost connection left open until ctx ends.
	SendToRange(ctx context.Context, rangeID int64, startKey []byte, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error)
	// SendToNode sends req, which names no range, to a node, once.
	SendToNode(ctx context.Context, node ranges.NodeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error)
	// Waits answers WAITS as the gateway of the transaction it is about.
	Waits(ctx context.Context, req *txnpb.BatchRequest) *txnpb.BatchResponse
}
