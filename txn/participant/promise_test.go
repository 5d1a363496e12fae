package participant

import (
	"context"
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

// TestPromisesLastBeyondClose: a node that closes gives its leases up early, except where somebody relies on the end of
// one: locks that the next leader finds on record do not count, those of what a prepared transaction has read do.
func TestPromisesLastBeyondClose(t *testing.T) {
	for _, reads := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, clusterConfig{nodes: 2, splits: []string{"m"}, delay: time.Millisecond, eps: time.Millisecond})
			defer c.close()
			ctx := context.Background()
			x, prepare := client{c, 1}.begin(1), (*txnpb.BatchRequest)(nil)
			if reads {
				x, prepare = preparedReader(ctx, t, c, 1, true)
			} else {
				x.put("o", "1")
				prepare = x.withWrites(txnpb.Kind_PREPARE, 2)
				prepare.CommitId = c.commitID()
				prepare.CoordinatorRange, prepare.CoordinatorKey = 1, []byte{2}
			}
			if _, err := x.send(ctx, 2, prepare); err != nil {
				t.Fatal(err)
			}
			m := c.groups[2].replicas[c.groups[2].leaderNode()].m
			m.LeaseHandoff()
			if m.LeaseSettled() == reads {
				t.Errorf("reads %v: settled %v", reads, !reads)
			}
		})
	}
}
