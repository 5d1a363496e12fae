package participant

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/txn/txnpb"
)

// preparedReader is a transaction that has read a key of range 2 under a lock and, if it writes, is to write another
// there; its decision is range 1's.
func preparedReader(ctx context.Context, t *testing.T, c *cluster, n byte, writes bool) (x *testTxn, prepare *txnpb.BatchRequest) {
	t.Helper()
	cl := client{c, 1}
	x = cl.begin(n)
	if _, err := x.read(ctx, "n", txnpb.LockMode_LOCK_SHARED); err != nil {
		t.Fatal(err)
	}
	if writes {
		x.put("o", "1")
	}
	prepare = x.withWrites(txnpb.Kind_PREPARE, 2)
	prepare.CommitId = c.commitID()
	prepare.CoordinatorRange, prepare.CoordinatorKey = 1, []byte{2}
	return x, prepare
}

// TestHandoffWaitsForPromises: while a transaction relies on locks that are in the leader's memory only, up to the end of
// its lease, that lease is not handed over; and nobody is promised anything while it is about to be.
func TestHandoffWaitsForPromises(t *testing.T) {
	for _, writes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, clusterConfig{nodes: 2, splits: []string{"m"}, delay: time.Millisecond, eps: time.Millisecond})
			defer c.close()
			ctx := context.Background()
			m := c.groups[2].replicas[c.groups[2].leaderNode()].m
			x, prepare := preparedReader(ctx, t, c, 1, writes)
			if resp, err := x.send(ctx, 2, prepare); err != nil || resp.ValidUntil == 0 || resp.ReadOnly == writes {
				t.Fatal(resp, err)
			}
			if _, err := m.BeginHandoff(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("writes %v: BeginHandoff: %v", writes, err)
			}
			resolve := x.req(txnpb.Kind_RESOLVE, 2)
			resolve.CommitId, resolve.Outcome = prepare.CommitId, txnpb.Outcome_OUTCOME_ABORTED
			if _, err := x.send(ctx, 2, resolve); err != nil {
				t.Fatal(err)
			}
			release, err := m.BeginHandoff(ctx)
			if err != nil {
				t.Fatalf("writes %v: BeginHandoff after the end: %v", writes, err)
			}
			x, prepare = preparedReader(ctx, t, c, 2, writes)
			soon, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			if resp, err := x.send(soon, 2, prepare); err == nil {
				t.Errorf("writes %v: prepared while the lease is handed over: %v", writes, resp)
			}
			release()
			if resp, err := x.send(ctx, 2, prepare); err != nil || resp.ValidUntil == 0 {
				t.Errorf("writes %v: after that: %v %v", writes, resp, err)
			}
		})
	}
}

// TestPrepareRepeatedElsewhere: the leader after the one that prepared a transaction does not know what else that one had
// locked, and says so to a PREPARE that comes again.
func TestPrepareRepeatedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 2, splits: []string{"m"}, delay: time.Millisecond, eps: time.Millisecond})
		defer c.close()
		ctx := context.Background()
		x, prepare := preparedReader(ctx, t, c, 1, true)
		first, err := x.send(ctx, 2, prepare)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := x.send(ctx, 2, prepare); err != nil || again.PrepareTs != first.PrepareTs || again.ValidUntil == 0 {
			t.Errorf("again: %v %v", again, err)
		}
		c.groups[2].elect(1, nil)
		if again, err := x.send(ctx, 2, prepare); codeOf(err) != txnpb.ErrorCode_LOCK_LOST {
			t.Errorf("at the next leader: %v %v", again, err)
		}
	})
}
