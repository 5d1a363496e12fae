package participant

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/txn/txnpb"
)

func codeOf(err error) txnpb.ErrorCode {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return txnpb.ErrorCode_OK
}

func TestCommitOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 3, delay: time.Millisecond, eps: 5 * time.Millisecond})
		defer c.close()
		ctx := context.Background()
		cl := client{c, 1}
		x := cl.begin(1)
		v, err := x.read(ctx, "a", txnpb.LockMode_LOCK_EXCLUSIVE)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "first read", v, "-")
		x.put("a", "1")
		x.put("b", "2")
		before := c.nodes[1].srv.cfg.Clock.Now()
		ts, err := x.commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		// I6: the timestamp lies between request and answer in true time.
		if now := c.nodes[1].srv.cfg.Clock.Now(); !now.After(ts) || ts < before.Latest {
			t.Fatalf("commit timestamp %s outside of (%s, %s)", ts, before.Latest, now.Earliest)
		}
		v, rts, err := cl.snapshot(ctx, "b", 0)
		if err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "strong read", v, "2")
		if rts < ts {
			t.Fatalf("strong read at %s, below the commit at %s", rts, ts)
		}
		if v, _, err = cl.snapshot(ctx, "b", ts-1); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "read below the commit", v, "-")
	})
}

func TestTwoPhaseCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, clusterConfig{nodes: 3, splits: []string{"m", "t"}, delay: time.Millisecond, eps: 5 * time.Millisecond})
		defer c.close()
		ctx := context.Background()
		cl := client{c, 1}
		x := cl.begin(1)
		if _, err := x.read(ctx, "t1", txnpb.LockMode_LOCK_SHARED); err != nil { // a read-only participant
			t.Fatal(err)
		}
		x.put("a", "1")
		x.put("n", "2")
		ts, err := x.commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"a", "n"} {
			v, _, err := cl.snapshot(ctx, key, 0)
			if err != nil {
				t.Fatal(err)
			}
			if v == "-" {
				t.Fatalf("%s is not visible after the answer", key)
			}
			if v, _, err = cl.snapshot(ctx, key, ts); err != nil || v == "-" {
				t.Fatalf("%s at the commit timestamp: %q %v", key, v, err)
			}
			if v, _, err = cl.snapshot(ctx, key, ts-1); err != nil || v != "-" {
				t.Fatalf("%s below the commit timestamp: %q %v", key, v, err)
			}
		}
		time.Sleep(3 * time.Second)
		for id, g := range c.groups {
			m := g.replicas[g.leader].m
			if l := m.lead.Load(); l.table.Len() != 0 || len(m.state.records)+len(m.state.decisions) != 0 {
				t.Fatalf("%s keeps %d entries, %d records, %d decisions", id, l.table.Len(), len(m.state.records), len(m.state.decisions))
			}
		}
	})
}
