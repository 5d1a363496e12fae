package participant

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// TestDiffTail: after the first question the keys written since are known without a scan, until there are too many of
// them or nobody asks any more; the answers do not depend on it.
func TestDiffTail(t *testing.T) {
	one(t, func(ctx context.Context, c *cluster, cl client) {
		m := c.nodes[c.groups[1].leaderNode()].srv.Machine(1)
		diff := func(after, upTo truetime.Timestamp) (string, *txnpb.BatchResponse) {
			t.Helper()
			resp, err := m.srv.Batch(ctx, &txnpb.BatchRequest{Kind: txnpb.Kind_DIFF, RangeId: 1, SpanStarts: [][]byte{[]byte("a")},
				SpanEnds: [][]byte{[]byte("z")}, MinTs: int64(after), MaxTs: int64(upTo), Previous: true, MaxBytes: 1 << 30})
			if err != nil || resp.Error != txnpb.ErrorCode_OK {
				t.Fatalf("%v %v %s", err, resp.Error, resp.ErrorMessage)
			}
			var b strings.Builder
			for i, k := range resp.RowKeys {
				fmt.Fprintf(&b, "%.8s=%s(%d,%s) ", k, resp.RowValues[i], resp.RowKinds[i], resp.RowPrevious[i])
			}
			return strings.TrimSpace(b.String()), resp
		}
		known := func(after, upTo truetime.Timestamp) bool {
			return m.tailWrites(m.rep.Desc().Generation, after, upTo) != nil
		}
		expect := func(what string, got, want any) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		time.Sleep(time.Second) // past what the replicas may have held when they were opened
		ts1 := load(ctx, t, cl, 1, "a=1", "b=1")
		got, _ := diff(0, ts1)
		expect("from the beginning", got, "a=1(1,) b=1(1,)")
		ts2 := load(ctx, t, cl, 2, "b=2", "c=2")
		ts3 := load(ctx, t, cl, 3, "b=3")
		expect("what came before the question is known", known(0, ts3), false)
		expect("what came since is known", known(ts1, ts3), true)
		got, _ = diff(ts1, ts3)
		expect("since", got, "b=2(3,1) b=3(3,2) c=2(1,)")
		got, _ = diff(ts2, ts3)
		expect("the last", got, "b=3(3,2)")
		// Too much for the tail: what it held is looked for again.
		big := strings.Repeat("k", 8<<10)
		var pairs []string
		for i := range 90 {
			pairs = append(pairs, fmt.Sprintf("d%03d%s=v", i, big))
		}
		load(ctx, t, cl, 4, pairs[:45]...)
		ts4 := load(ctx, t, cl, 5, pairs[45:]...)
		ts5 := load(ctx, t, cl, 6, pairs...)
		expect("a full tail knows its beginning", known(ts1, ts5), false)
		if n := m.srv.tailBytes.Load(); n > tailBytes {
			t.Errorf("the tail holds %d bytes", n)
		}
		_, resp := diff(ts3, ts4)
		expect("rows of a full tail", len(resp.RowKeys), 90)
		ts6 := load(ctx, t, cl, 7, "a=6")
		expect("it goes on", known(ts5, ts6), true)
		// Nobody asks any more.
		m.sweepTail()
		m.sweepTail()
		expect("the tail of nobody", m.tail.Load() == nil, true)
		expect("its bytes", m.srv.tailBytes.Load(), int64(0))
		got, _ = diff(ts5, ts6)
		expect("after it", got, "a=6(3,1)")
		if resp, err := m.srv.Batch(ctx, &txnpb.BatchRequest{Kind: txnpb.Kind_DIFF, RangeId: 1, SpanStarts: [][]byte{[]byte("a")}, SpanEnds: [][]byte{[]byte("z")}}); err != nil || resp.Error != txnpb.ErrorCode_INVALID {
			t.Errorf("without a timestamp: %v %v", err, resp)
		}
	})
}
