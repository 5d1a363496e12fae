package ranges

import "context"

// Transport carries messages between stores. server/rpc implements it over the network, tests in memory.
// The receiving side hands what arrives to Store.HandleRaft, HandleCall and HandleBulk.
type Transport interface {
	// SendRaft sends one frame, best effort: it never blocks, and may drop, delay, duplicate or reorder
	// (though order between two nodes saves work). The transport owns frame from then on.
	SendRaft(to NodeID, frame []byte)
	// Call sends a request and waits for its answer or ctx's end.
	Call(ctx context.Context, to NodeID, method Method, payload []byte) ([]byte, error)
	// OpenBulk opens an ordered, flow-controlled stream for a snapshot.
	OpenBulk(ctx context.Context, to NodeID) (BulkStream, error)
}

// BulkStream is one end of a snapshot stream. A chunk is at most MaxBulkChunk bytes.
type BulkStream interface {
	Send(chunk []byte) error // blocks while the receiver is behind; chunk may be reused after it returns
	Recv() ([]byte, error)   // io.EOF after the other end has called CloseSend
	CloseSend() error
	Close() error // ends both directions at once; idempotent
}

// MaxBulkChunk bounds the size of a chunk on a BulkStream.
const MaxBulkChunk = 1 << 20

// Method says what a Call asks for.
type Method uint8

const (
	methodSupport     Method = 1  // node-level lease votes
	methodSafeTime    Method = 2  // a follower asks the leader to close a timestamp
	methodHandoff     Method = 3  // a leader ships its volatile state before it hands over
	methodTransfer    Method = 4  // a node asks the leader to transfer leadership
	methodReplicaGone Method = 5  // a store asks whether a replica of its own was removed
	methodReady       Method = 6  // a leader asks whether a node would take its lease over
	methodReport      Method = 7  // the placer asks a store what it leads
	methodOrder       Method = 8  // the placer has the leader of a range change it
	methodMergeFate   Method = 9  // the leader of a frozen range asks its left neighbour whether it was merged
	methodAlign       Method = 10 // asks the leader of a range for replicas on given nodes
	methodNeighbour   Method = 11 // asks the leader of a range how large and how cold it is
	methodCheck       Method = 12 // asks for the sum of a replica's data at an index
	methodDamaged     Method = 13 // tells a replica that it differs from the others
)
