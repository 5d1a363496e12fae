package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// tracer runs a golden script against nodes that share a store. The commands:
//
//	nodes N                    starts N nodes and prints their leases
//	begin NAME node=N          opens a transaction; prints the version it sees
//	use NAME TABLE...          declares the use of tables
//	create|alter|drop NAME TABLE
//	statement NAME             moves to the next statement
//	commit NAME, rollback NAME
//	down N, up N               cuts a node off from calls
//	advance DURATION           passes time
//
// Steps that wait run on; what they end with is printed by the command during which they end.
type tracer struct {
	t     *testing.T
	db    *kvtest.DB
	peers *testPeers
	nodes []*Manager
	start time.Time
	mu    sync.Mutex // of txns, which two begins may fill at once
	txns  map[string]*session
	ids   map[string]uint32
	done  chan string
	busy  int
}

// async runs a step that may wait.
func (r *tracer) async(name string, f func() string) {
	r.busy++
	go func() { r.done <- name + ": " + f() }()
}

// settle prints what has ended since.
func (r *tracer) settle() string {
	synctest.Wait()
	var lines []string
	for r.busy > 0 {
		select {
		case l := <-r.done:
			lines = append(lines, l)
			r.busy--
			synctest.Wait()
			continue
		default:
		}
		break
	}
	slices.Sort(lines)
	return strings.Join(append(lines, ""), "\n")
}

func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrChanged):
		return "changed, plan again"
	case pgerr.Code(err) != "":
		return pgerr.Code(err)
	case errors.Is(err, kv.ErrRetry):
		return "retry"
	}
	return err.Error()
}

func (r *tracer) step(cmd string, args []string) string {
	ctx := r.t.Context()
	switch cmd {
	case "nodes":
		n := 0
		fmt.Sscan(args[0], &n)
		r.peers, r.nodes = newNodes(r.t, r.db, n)
		var b strings.Builder
		for i, m := range r.nodes {
			l := m.current.Load()
			fmt.Fprintf(&b, "node %d: version %d, lease for %v\n", i+1, l.state.version, time.Until(l.until.Time()))
		}
		return b.String()
	case "begin":
		n := 0
		fmt.Sscanf(args[1], "node=%d", &n)
		r.async(args[0], func() string {
			cat, err := r.nodes[n-1].Begin(ctx, PostgresDatabaseID, Options{Pinned: len(args) > 2 && args[2] == "pinned"})
			if err != nil {
				return outcome(err)
			}
			tx, err := r.db.Begin(ctx, kv.TxnOptions{})
			if err != nil {
				return outcome(err)
			}
			cat.Bind(tx)
			r.mu.Lock()
			defer r.mu.Unlock()
			r.txns[args[0]] = &session{r.t, tx, cat}
			return fmt.Sprintf("sees version %d", cat.Snapshot().Version())
		})
	case "use":
		s := r.txns[args[0]]
		var ids []uint32
		for _, n := range args[1:] {
			ids = append(ids, r.ids[n])
		}
		r.async(args[0], func() string { return outcome(s.cat.Use(ctx, ids)) })
	case "statement":
		s := r.txns[args[0]]
		r.async(args[0], func() string {
			if err := s.cat.Statement(ctx); err != nil {
				return outcome(err)
			}
			return fmt.Sprintf("sees version %d", s.cat.Snapshot().Version())
		})
	case "create":
		r.ids[args[1]] = r.txns[args[0]].createTable(args[1])
	case "alter":
		return args[0] + ": " + outcome(r.txns[args[0]].addColumn(args[1])) + "\n"
	case "drop":
		s := r.txns[args[0]]
		return args[0] + ": " + outcome(s.cat.Delete(ctx, s.table(args[1]))) + "\n"
	case "commit":
		s := r.txns[args[0]]
		begun := time.Now()
		r.async(args[0], func() string {
			err := s.commit()
			if err != nil {
				return outcome(err)
			}
			return fmt.Sprintf("committed after %v", time.Since(begun))
		})
	case "rollback":
		r.txns[args[0]].rollback()
	case "down", "up":
		n := uint64(0)
		fmt.Sscan(args[0], &n)
		r.peers.mu.Lock()
		r.peers.down[n] = cmd == "down"
		r.peers.mu.Unlock()
	case "advance":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			r.t.Fatal(err)
		}
		time.Sleep(d)
	default:
		r.t.Fatalf("unknown step %s", cmd)
	}
	return ""
}

// TestTraces runs the golden scripts of the lease and revocation protocol (I10), each on virtual time.
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata/traces", func(t *testing.T, path string) {
		synctest.Test(t, func(t *testing.T) {
			r := &tracer{t: t, db: kvtest.New(), start: time.Now(), txns: map[string]*session{}, ids: map[string]uint32{}, done: make(chan string, 100)}
			datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
				var b strings.Builder
				for line := range strings.SplitSeq(d.Input, "\n") {
					f := strings.Fields(line)
					b.WriteString(r.step(f[0], f[1:]))
					b.WriteString(r.settle())
				}
				return b.String()
			})
			for _, s := range r.txns {
				if s.cat.m != nil && txnState(s.cat.state.Load()) != txnEnded && s.cat.snap != nil {
					s.rollback()
				}
			}
			for _, m := range r.nodes {
				m.Stop(context.Background())
			}
		})
	})
}
