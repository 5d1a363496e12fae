package participant

import (
	"bytes"
	"context"
	"reflect"
	"testing"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/txn/txnpb"
)

func sampleCommands() []command {
	return []command{
		{kind: cmdCommit, commit: CommitID{1}, ts: 5, writes: writeSet{ops: []byte{0, 1}, keys: [][]byte{[]byte("a"), []byte("b")}, values: [][]byte{[]byte("v"), nil}}},
		{kind: cmdPrepare, txn: TxnID{1}, commit: CommitID{2}, ts: 7, age: -3, gateway: 4, token: 9, coordRange: 3, coordKey: []byte("c"), staged: true, ignore: []mvcc.SeqSpan{{From: 1, To: 2}}},
		{kind: cmdDecide, txn: TxnID{1}, commit: CommitID{2}, ts: 8, parts: []target{{id: 4, key: []byte("m"), readOnly: true}, {id: 5, key: []byte("t")}}},
		{kind: cmdResolve, txn: TxnID{1}, commit: CommitID{2}, outcome: txnpb.Outcome_OUTCOME_COMMITTED, ts: 8},
		{kind: cmdStage, txn: TxnID{1}, seq: 12, writes: writeSet{ops: []byte{3}, keys: [][]byte{[]byte("a")}, values: [][]byte{[]byte("b")}}},
		{kind: cmdForget, ids: []CommitID{{1}, {2}}},
		{kind: cmdGC, ts: 9},
	}
}

func TestCommandRoundTrip(t *testing.T) {
	for _, c := range sampleCommands() {
		b := c.encode(nil)
		if len(b) > c.sizeHint() {
			t.Errorf("kind %d: %d bytes, hint %d", c.kind, len(b), c.sizeHint())
		}
		got, err := decodeCommand(b)
		if err != nil {
			t.Fatalf("kind %d: %v", c.kind, err)
		}
		if !reflect.DeepEqual(got, c) {
			t.Errorf("kind %d:\n got %+v\nwant %+v", c.kind, got, c)
		}
		for i := range b {
			if _, err := decodeCommand(b[:i]); err == nil {
				t.Errorf("kind %d: %d of %d bytes decode", c.kind, i, len(b))
			}
		}
	}
}

func FuzzCommand(f *testing.F) {
	for _, c := range sampleCommands() {
		f.Add(c.encode(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeCommand(b)
		if err != nil {
			return
		}
		again, err := decodeCommand(c.encode(nil))
		if err != nil {
			t.Fatalf("does not decode again: %v", err)
		}
		if !bytes.Equal(c.encode(nil), again.encode(nil)) {
			t.Fatal("encodes differently")
		}
		if l, head, err := decodeLayer(b); err == nil {
			enc := encodeLayer(&l, head.age, head.gateway, head.token)
			if m, again, err := decodeLayer(enc); err != nil || !reflect.DeepEqual(l, m) || !reflect.DeepEqual(head, again) {
				t.Fatalf("%+v becomes %+v: %v", l, m, err)
			}
		}
		_, _, _ = decodeOutcome(b)
	})
}

// FuzzRequest sends whatever decodes as a request to a range (I12): refusals, never a panic.
func FuzzRequest(f *testing.F) {
	add := func(req *txnpb.BatchRequest) {
		req.RangeId, req.TxnId, req.CommitId = 1, make([]byte, 16), make([]byte, 16)
		b, err := req.MarshalVT()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for k := range txnpb.Kind_name {
		add(&txnpb.BatchRequest{
			Kind: txnpb.Kind(k), Keys: [][]byte{[]byte("k")}, SpanStarts: [][]byte{[]byte("a")}, SpanEnds: [][]byte{[]byte("b")},
			WriteKeys: [][]byte{[]byte("k")}, WriteValues: [][]byte{[]byte("v")}, WriteOps: []byte{3}, Strong: true, Outcome: 1, CommitTs: 9,
		})
	}
	c := newCluster(f, clusterConfig{nodes: 1})
	f.Cleanup(c.close)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // whatever would wait ends at once
	f.Fuzz(func(t *testing.T, b []byte) {
		var req txnpb.BatchRequest
		if req.UnmarshalVT(b) != nil {
			return
		}
		_, _ = c.nodes[1].srv.Batch(ctx, &req)
		_ = req.UnmarshalVTUnsafe(b)
	})
}
