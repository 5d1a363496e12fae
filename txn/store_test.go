package txn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/mvcc"
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/participant"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// storeCluster is whole nodes below SQL: real stores with Raft, participants, gateways, joined in memory.
type storeCluster struct {
	t     testing.TB
	nodes []*storeNode
	live  int // nodes that replicas may be placed on
	mu    sync.RWMutex
}

type storeNode struct {
	c      *storeCluster
	id     ranges.NodeID
	clock  truetime.Clock
	engine *mvcc.Engine
	server *participant.Server
	db     *DB
	store  *ranges.Store
	inbox  map[ranges.NodeID]chan []byte
	wg     sync.WaitGroup
}

func (n *storeNode) SendRaft(to ranges.NodeID, frame []byte) {
	select {
	case n.c.nodes[to-1].inbox[n.id] <- frame:
	default: // Full: the store sends again.
	}
}

func (n *storeNode) Call(ctx context.Context, to ranges.NodeID, m ranges.Method, payload []byte) ([]byte, error) {
	return n.c.nodes[to-1].store.HandleCall(ctx, n.id, m, bytes.Clone(payload))
}

type pipeStream struct {
	in, out chan []byte
	shut    chan struct{}
	once    *sync.Once
	sent    sync.Once
}

func (s *pipeStream) Send(b []byte) error {
	select {
	case <-s.shut:
		return io.ErrClosedPipe
	case s.out <- bytes.Clone(b):
		return nil
	}
}

func (s *pipeStream) Recv() ([]byte, error) {
	select {
	case b, ok := <-s.in:
		if !ok {
			return nil, io.EOF
		}
		return b, nil
	case <-s.shut:
		return nil, io.ErrClosedPipe
	}
}

func (s *pipeStream) CloseSend() error { s.sent.Do(func() { close(s.out) }); return nil }
func (s *pipeStream) Close() error     { s.once.Do(func() { close(s.shut) }); return nil }

func (n *storeNode) OpenBulk(ctx context.Context, to ranges.NodeID) (ranges.BulkStream, error) {
	a, b, shut, once := make(chan []byte, 4), make(chan []byte, 4), make(chan struct{}), &sync.Once{}
	far := n.c.nodes[to-1]
	far.wg.Add(1)
	go func() {
		defer far.wg.Done()
		end := &pipeStream{in: b, out: a, shut: shut, once: once}
		stop := context.AfterFunc(ctx, func() { end.Close() })
		defer stop()
		if far.store.HandleBulk(ctx, n.id, end) != nil {
			end.Close()
		}
		end.CloseSend()
	}()
	return &pipeStream{in: a, out: b, shut: shut, once: once}, nil
}

// Send implements Sender.
func (n *storeNode) Send(ctx context.Context, to ranges.NodeID, req *txnpb.BatchRequest) (*txnpb.BatchResponse, error) {
	b, err := req.MarshalVT()
	if err != nil {
		return nil, err
	}
	in := new(txnpb.BatchRequest)
	if err := in.UnmarshalVT(b); err != nil {
		return nil, err
	}
	resp, err := n.c.nodes[to-1].server.Batch(ctx, in)
	if err != nil {
		return nil, err
	}
	if b, err = resp.MarshalVT(); err != nil {
		return nil, err
	}
	out := new(txnpb.BatchResponse)
	return out, out.UnmarshalVT(b)
}

// Nodes implements ranges.NodeLister.
func (c *storeCluster) Nodes() []ranges.NodeInfo {
	c.mu.RLock()
	defer c.mu.RUnlock()
	infos := make([]ranges.NodeInfo, 0, len(c.nodes))
	for _, n := range c.nodes[:c.live] {
		infos = append(infos, ranges.NodeInfo{ID: n.id, Region: fmt.Sprint("r", n.id), Zone: "z", Live: true})
	}
	return infos
}

// storeTune changes a cluster before it starts.
type storeTune struct {
	clock       func(i int) truetime.Clock
	participant func(*participant.Config)
}

func newStoreCluster(t testing.TB, nodes int, fs func(i int) (vfs.FS, string), tune storeTune) *storeCluster {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	c := &storeCluster{t: t, live: nodes}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i <= nodes; i++ {
		n := &storeNode{c: c, id: ranges.NodeID(i), inbox: map[ranges.NodeID]chan []byte{}}
		n.clock = truetime.NewSimClock(truetime.SimConfig{Bound: 100 * time.Microsecond, Offset: time.Duration(i*20) * time.Microsecond})
		if tune.clock != nil {
			n.clock = tune.clock(i)
		}
		c.nodes = append(c.nodes, n)
		disk, dir := fs(i)
		var err error
		n.engine, err = mvcc.Open(mvcc.Config{FS: disk, Dir: disk.PathJoin(dir, "state"), Logger: logger})
		must(err)
		pc := participant.Config{NodeID: n.id, Clock: n.clock, Logger: logger}
		if tune.participant != nil {
			tune.participant(&pc)
		}
		n.server, err = participant.NewServer(pc)
		must(err)
		n.db, err = New(Config{NodeID: n.id, Clock: n.clock, Local: n.server, Sender: n, Descriptors: n, Logger: logger})
		must(err)
		n.server.SetRouter(n.db)
		n.store, err = ranges.Open(ranges.Config{
			NodeID: n.id, Engine: n.engine, FS: disk, Dir: dir, Clock: n.clock, Transport: n,
			NewMachine: n.server.NewMachine, Meta: n.db, Nodes: c, Logger: logger, ReplicationFactor: nodes,
		})
		must(err)
		if i == 1 {
			one := []ranges.ReplicaDesc{{Node: 1, Replica: 1}}
			must(n.store.Bootstrap([]*ranges.Descriptor{
				{ID: 1, Start: []byte{1}, End: []byte{3}, Generation: 1, NextReplica: 2, Replicas: one},
				{ID: 2, Start: []byte{3}, End: []byte{0xff}, Generation: 1, NextReplica: 2, Replicas: one},
			}))
		}
	}
	for _, n := range c.nodes {
		for _, peer := range c.nodes {
			in := make(chan []byte, 4096)
			n.inbox[peer.id] = in
			n.wg.Add(1)
			go func() {
				defer n.wg.Done()
				for f := range in {
					n.store.HandleRaft(peer.id, f)
				}
			}()
		}
	}
	for _, n := range c.nodes {
		must(n.store.Start())
		n.db.Start()
	}
	return c
}

// LocalDescriptor implements Descriptors.
func (n *storeNode) LocalDescriptor(key []byte, before bool) *ranges.Descriptor {
	return StoreDescriptors{Store: n.store}.LocalDescriptor(key, before)
}

// FirstRange implements Descriptors: a node that holds nothing yet is told by the first.
func (n *storeNode) FirstRange() *ranges.Descriptor {
	if d := (StoreDescriptors{Store: n.store}).FirstRange(); d != nil {
		return d
	}
	return StoreDescriptors{Store: n.c.nodes[0].store}.FirstRange()
}

func (c *storeCluster) close() {
	for _, n := range c.nodes {
		n.db.Close()
	}
	for _, n := range c.nodes {
		if err := n.store.Close(); err != nil {
			c.t.Error(err)
		}
		n.server.Close()
	}
	for _, n := range c.nodes {
		for _, in := range n.inbox {
			close(in)
		}
		n.wg.Wait()
		if err := n.engine.Close(); err != nil {
			c.t.Error(err)
		}
	}
}

// replicated waits until every range has all its replicas as voters.
func (c *storeCluster) replicated(ctx context.Context) {
	for {
		done := true
		for _, r := range c.nodes[0].store.Replicas() {
			d := r.Desc()
			voters := 0
			for _, rep := range d.Replicas {
				if rep.Type == ranges.Voter {
					voters++
				}
			}
			done = done && voters == len(c.nodes) && len(d.Replicas) == voters
		}
		if done {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			c.t.Fatal("ranges were not replicated in time")
		}
	}
}

// update reads, changes and writes keys in one transaction, as often as it takes.
func (n *storeNode) update(ctx context.Context, keys []string, fn func(values []int)) (truetime.Timestamp, error) {
	opts := kv.TxnOptions{}
	for {
		ts, err := func() (truetime.Timestamp, error) {
			tx, err := n.db.Begin(ctx, opts)
			if err != nil {
				return 0, err
			}
			defer tx.Rollback(ctx)
			opts.Age = tx.Age()
			values := make([]int, len(keys))
			for i, k := range keys {
				v, err := tx.Get(ctx, []byte(k), kv.LockExclusive, kv.WaitBlock)
				if err != nil {
					return 0, err
				}
				values[i], _ = strconv.Atoi(string(v))
			}
			fn(values)
			for i, k := range keys {
				if err := tx.Put([]byte(k), []byte(strconv.Itoa(values[i]))); err != nil {
					return 0, err
				}
			}
			return tx.Commit(ctx)
		}()
		if !errors.Is(err, kv.ErrRetry) {
			return ts, err
		}
	}
}

// TestStores runs transfers over three real nodes while ranges split and leases move, and checks the total and
// that reads on every node agree.
func TestStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		c := newStoreCluster(t, 3, func(int) (vfs.FS, string) { return vfs.NewMem(), "data" }, storeTune{})
		defer c.close()
		c.replicated(ctx)
		const accounts = 40
		name := func(i int) string { return fmt.Sprintf("acct%02d", i) }
		for i := 0; i < accounts; i++ {
			if _, err := c.nodes[0].update(ctx, []string{name(i)}, func(v []int) { v[0] = 100 }); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		for w := 0; w < 6; w++ {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(uint64(w), 1))
				for i := 0; i < 60; i++ {
					a, b := r.IntN(accounts), r.IntN(accounts)
					if a == b {
						continue
					}
					_, err := c.nodes[w%3].update(ctx, []string{name(a), name(b)}, func(v []int) { v[0] -= 5; v[1] += 5 })
					if err != nil {
						t.Error(err)
						return
					}
				}
			}()
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(9, 9))
			for i := 0; i < 6; i++ {
				time.Sleep(50 * time.Millisecond)
				key := []byte(name(r.IntN(accounts)))
				for _, n := range c.nodes {
					rep, ok := n.store.ReplicaForKey(key)
					if !ok || rep.Lease().Until == 0 {
						continue
					}
					if i%2 == 0 {
						_ = rep.Split(ctx, key) // May be refused when busy.
					} else {
						_ = rep.TransferLease(ctx, ranges.NodeID(1+r.IntN(3)))
					}
				}
			}
		}()
		wg.Wait()
		var last string
		for _, n := range c.nodes {
			tx, err := n.db.Begin(ctx, kv.TxnOptions{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			s, err := tx.Scan(ctx, kv.Span{Start: []byte("acct"), End: []byte("acd")}, kv.ScanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			got := drainKV(t, s)
			s.Close()
			total := 0
			for _, p := range strings.Fields(got) {
				v, _ := strconv.Atoi(p[strings.Index(p, "=")+1:])
				total += v
			}
			if total != accounts*100 || (last != "" && got != last) {
				t.Errorf("node %s: total %d: %s", n.id, total, got)
			}
			last = got
		}
		if len(c.nodes[0].store.Replicas()) < 3 {
			t.Error("no split happened")
		}
	})
}

func benchStores(b *testing.B, nodes int) *storeCluster {
	c := newStoreCluster(b, nodes, func(int) (vfs.FS, string) { return vfs.Default, b.TempDir() }, storeTune{})
	b.Cleanup(c.close)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c.replicated(ctx)
	tx, err := c.nodes[0].db.Begin(ctx, kv.TxnOptions{})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < 10000; i++ {
		if err := tx.Put(storeKey(i), make([]byte, 100)); err != nil {
			b.Fatal(err)
		}
		if err := tx.Flush(ctx); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := tx.Commit(ctx); err != nil {
		b.Fatal(err)
	}
	return c
}

func storeKey(i int) []byte {
	return binary.BigEndian.AppendUint64([]byte{3, 0, 0, 0, 100, 0, 1}, uint64(i))
}

func BenchmarkStoreRead(b *testing.B) {
	c := benchStores(b, 1)
	ctx := context.Background()
	for _, x := range []struct {
		name string
		opts kv.TxnOptions
		lock kv.LockMode
	}{
		{"snapshot", kv.TxnOptions{ReadOnly: true}, kv.LockNone},
		{"oneshot", kv.TxnOptions{ReadOnly: true, OneShot: true}, kv.LockNone},
		{"locking", kv.TxnOptions{}, kv.LockShared},
	} {
		b.Run(x.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; i < b.N; i++ {
				tx, err := c.nodes[0].db.Begin(ctx, x.opts)
				if err != nil {
					b.Fatal(err)
				}
				if v, err := tx.Get(ctx, storeKey(rand.IntN(10000)), x.lock, kv.WaitBlock); err != nil || len(v) != 100 {
					b.Fatal(len(v), err)
				}
				if _, err := tx.Commit(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStoreUpdate is TPC-B's shape without SQL: three keys read for update and written, one inserted.
func BenchmarkStoreUpdate(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		c := benchStores(b, nodes)
		ctx := context.Background()
		for _, clients := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("nodes=%d/clients=%d", nodes, clients), func(b *testing.B) {
				b.ReportAllocs()
				var wg sync.WaitGroup
				for w := 0; w < clients; w++ {
					wg.Add(1)
					go func() {
						defer wg.Done()
						for i := w; i < b.N; i += clients {
							opts := kv.TxnOptions{}
							for {
								err := func() error {
									tx, err := c.nodes[0].db.Begin(ctx, opts)
									if err != nil {
										return err
									}
									defer tx.Rollback(ctx)
									opts.Age = tx.Age()
									for j := 0; j < 3; j++ {
										k := storeKey(rand.IntN(10000))
										v, err := tx.Get(ctx, k, kv.LockExclusive, kv.WaitBlock)
										if err != nil {
											return err
										}
										if err := tx.Put(k, v); err != nil {
											return err
										}
									}
									if err := tx.Put(storeKey(1<<40+i), make([]byte, 50)); err != nil {
										return err
									}
									_, err = tx.Commit(ctx)
									return err
								}()
								if err == nil {
									break
								}
								if !errors.Is(err, kv.ErrRetry) {
									b.Error(err)
									return
								}
							}
						}
					}()
				}
				wg.Wait()
			})
		}
	}
}
