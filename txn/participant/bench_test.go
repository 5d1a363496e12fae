package participant

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

func benchCluster(b *testing.B) (*cluster, *Server) {
	c := newCluster(b, clusterConfig{nodes: 1})
	b.Cleanup(c.close)
	srv := c.nodes[1].srv
	for i := range 1000 {
		x := client{c, 1}.begin(1)
		x.id = TxnID{0xfe, byte(i), byte(i >> 8)}
		x.put(fmt.Sprintf("key%04d", i), "a value of some forty bytes, as rows may be")
		if _, err := x.commit(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	return c, srv
}

// BenchmarkLockedRead is a locked point read and the end of its transaction, on the node itself.
func BenchmarkLockedRead(b *testing.B) {
	_, srv := benchCluster(b)
	ctx := context.Background()
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Appendf(nil, "key%04d", i)
	}
	var commit [16]byte
	for i := range b.N {
		id := TxnID{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
		req := &txnpb.BatchRequest{
			Kind: txnpb.Kind_READ, RangeId: 1, TxnId: id[:], Age: int64(i), Gateway: 1,
			Keys: keys[i%1000 : i%1000+1], Lock: txnpb.LockMode_LOCK_EXCLUSIVE,
		}
		resp, err := srv.Batch(ctx, req)
		if err != nil || resp.Error != 0 {
			b.Fatal(resp, err)
		}
		binary.BigEndian.PutUint64(commit[:], uint64(truetime.MaxTimestamp))
		binary.BigEndian.PutUint64(commit[8:], uint64(i))
		end := &txnpb.BatchRequest{
			Kind: txnpb.Kind_COMMIT_ONE, RangeId: 1, TxnId: id[:], CommitId: commit[:], LockEpoch: resp.LockEpoch,
		}
		if resp, err = srv.Batch(ctx, end); err != nil || resp.Error != 0 {
			b.Fatal(resp, err)
		}
	}
}

// BenchmarkStrongRead is a lock-free strong point read on the leader.
func BenchmarkStrongRead(b *testing.B) {
	_, srv := benchCluster(b)
	ctx := context.Background()
	req := &txnpb.BatchRequest{Kind: txnpb.Kind_READ, RangeId: 1, Strong: true, Keys: [][]byte{[]byte("key0500")}}
	for range b.N {
		if resp, err := srv.Batch(ctx, req); err != nil || resp.Error != 0 {
			b.Fatal(resp, err)
		}
	}
}

// BenchmarkCommitOne is a commit of one put over a log that is a slice: what the machine itself costs.
func BenchmarkCommitOne(b *testing.B) {
	_, srv := benchCluster(b)
	ctx := context.Background()
	value := make([]byte, 100)
	for i := range b.N {
		id := TxnID{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
		var commit [16]byte
		binary.BigEndian.PutUint64(commit[:], uint64(truetime.MaxTimestamp))
		binary.BigEndian.PutUint64(commit[8:], uint64(i))
		req := &txnpb.BatchRequest{
			Kind: txnpb.Kind_COMMIT_ONE, RangeId: 1, TxnId: id[:], Age: int64(i), CommitId: commit[:],
			WriteKeys: [][]byte{[]byte("key0500")}, WriteValues: [][]byte{value},
		}
		if resp, err := srv.Batch(ctx, req); err != nil || resp.Error != 0 {
			b.Fatal(resp, err)
		}
	}
}
