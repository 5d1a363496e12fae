package catalog

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// testClock is the bubble's clock, exact.
type testClock struct{}

func (testClock) Now() truetime.Interval {
	n := truetime.FromTime(time.Now())
	return truetime.Interval{Earliest: n, Latest: n}
}

func (c testClock) WaitAfter(ctx context.Context, ts truetime.Timestamp) error {
	for !c.Now().After(ts) {
		select {
		case <-time.After(ts.Sub(c.Now().Latest) + 1):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// testPeers connects managers; a node that is down does not answer.
type testPeers struct {
	mu    sync.Mutex
	nodes map[uint64]*Manager
	down  map[uint64]bool
}

func (p *testPeers) Call(ctx context.Context, node uint64, payload []byte) ([]byte, error) {
	p.mu.Lock()
	m, down := p.nodes[node], p.down[node]
	p.mu.Unlock()
	if m == nil || down {
		return nil, errors.New("unreachable")
	}
	return m.HandleCall(ctx, 0, payload)
}

func newNodes(t *testing.T, db kv.DB, n int) (*testPeers, []*Manager) {
	t.Helper()
	p := &testPeers{nodes: map[uint64]*Manager{}, down: map[uint64]bool{}}
	var out []*Manager
	for i := range n {
		m, err := NewManager(Config{DB: db, Clock: testClock{}, Node: uint64(i + 1), Peers: p})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.nodes[uint64(i+1)] = m
		out = append(out, m)
	}
	return p, out
}

func stopAll(ms []*Manager) {
	for _, m := range ms {
		m.Stop(context.Background())
	}
}

// session is one transaction on a node.
type session struct {
	t   *testing.T
	kv  kv.Txn
	cat *Txn
}

func begin(t *testing.T, db kv.DB, m *Manager) *session {
	t.Helper()
	cat, err := m.Begin(t.Context(), PostgresDatabaseID, Options{})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin(t.Context(), kv.TxnOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cat.Bind(tx)
	return &session{t, tx, cat}
}

func (s *session) createTable(name string) uint32 {
	s.t.Helper()
	id, err := s.cat.NewID(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.cat.Put(s.t.Context(), &Table{Header: Header{ID: id, Name: name, Owner: BootstrapRoleID}, DB: PostgresDatabaseID, Schema: PublicSchemaID,
		Kind: RelTable, Columns: []*Column{{Num: 1, Name: "a", Type: TypeRef{types.OIDInt4, -1}}}})
	if err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *session) table(name string) *Table {
	return s.cat.Snapshot().ResolveTable([]string{"public"}, "", name)
}

func (s *session) addColumn(name string) error {
	t := s.table(name).Clone()
	t.Columns = append(t.Columns, &Column{Num: int16(len(t.Columns) + 1), Name: "b", Type: TypeRef{types.OIDText, -1}})
	return s.cat.Put(s.t.Context(), t)
}

func (s *session) commit() error {
	bound, err := s.cat.PreCommit(s.t.Context())
	if err == nil {
		s.kv.CommitBefore(bound)
		_, err = s.kv.Commit(s.t.Context())
	}
	if err != nil {
		s.kv.Rollback(s.t.Context())
	}
	s.cat.Finish(err == nil)
	return err
}

func (s *session) rollback() {
	s.kv.Rollback(s.t.Context())
	s.cat.Finish(false)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestChangeIsSeenByAllNodesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kvtest.New()
		_, ms := newNodes(t, db, 3)
		defer stopAll(ms)
		s := begin(t, db, ms[0])
		s.createTable("t")
		if s.table("t") == nil {
			t.Fatal("own change not seen")
		}
		if o := begin(t, db, ms[1]); o.table("t") != nil {
			t.Fatal("uncommitted change seen elsewhere")
		} else {
			o.rollback()
		}
		must(t, s.commit())
		for i, m := range ms {
			o := begin(t, db, m)
			if o.table("t") == nil {
				t.Fatalf("node %d does not see the committed change", i+1)
			}
			o.rollback()
		}
	})
}

func TestRollbackLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kvtest.New()
		_, ms := newNodes(t, db, 2)
		defer stopAll(ms)
		s := begin(t, db, ms[0])
		s.createTable("t")
		s.rollback()
		for _, m := range ms {
			o := begin(t, db, m)
			if o.table("t") != nil {
				t.Fatal("change of a rolled back transaction seen")
			}
			o.createTable("t")
			must(t, o.commit())
			d := begin(t, db, m)
			must(t, d.cat.Delete(t.Context(), d.table("t")))
			must(t, d.commit())
		}
	})
}

func TestNameIsTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kvtest.New()
		_, ms := newNodes(t, db, 2)
		defer stopAll(ms)
		a, b := begin(t, db, ms[0]), begin(t, db, ms[1])
		a.createTable("t")
		errc := make(chan error)
		go func() {
			id, _ := b.cat.NewID(t.Context())
			errc <- b.cat.Put(t.Context(), &Table{Header: Header{ID: id, Name: "t"}, DB: PostgresDatabaseID, Schema: PublicSchemaID, Kind: RelTable})
		}()
		synctest.Wait()
		must(t, a.commit())
		if err := <-errc; pgerr.Code(err) != pgerr.DuplicateTable && !errors.Is(err, kv.ErrRetry) {
			t.Fatalf("second creation: %v", err)
		}
		b.rollback()
	})
}

// A transaction that used the old version of a table either commits before the change or not at all (I10).
func TestUserOfChangedTableIsDoomed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kvtest.New()
		_, ms := newNodes(t, db, 2)
		defer stopAll(ms)
		s := begin(t, db, ms[0])
		id := s.createTable("t")
		other := s.createTable("other")
		must(t, s.commit())

		user := begin(t, db, ms[1])
		must(t, user.cat.Use(t.Context(), []uint32{id}))
		bystander := begin(t, db, ms[1])
		must(t, bystander.cat.Use(t.Context(), []uint32{other}))

		ddl := begin(t, db, ms[0])
		must(t, ddl.addColumn("t"))
		start := time.Now()
		must(t, ddl.commit())
		if d := time.Since(start); d < 3*time.Second {
			t.Errorf("the change did not wait for the user: %v", d)
		}
		must(t, bystander.commit())
		if err := user.commit(); pgerr.Code(err) != pgerr.TRSerializationFailure {
			t.Fatalf("user of the old version: %v", err)
		}
	})
}

// With the users gone a change does not wait.
func TestChangeIsFastWithoutUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kvtest.New()
		_, ms := newNodes(t, db, 3)
		defer stopAll(ms)
		s := begin(t, db, ms[0])
		id := s.createTable("t")
		must(t, s.commit())
		user := begin(t, db, ms[1])
		must(t, user.cat.Use(t.Context(), []uint32{id}))
		ddl := begin(t, db, ms[0])
		must(t, ddl.addColumn("t"))
		errc := make(chan error)
		start := time.Now()
		go func() { errc <- ddl.commit() }()
		synctest.Wait()
		select {
		case <-errc:
			t.Fatal("the change did not wait for the user")
		default:
		}
		must(t, user.commit())
		must(t, <-errc)
		if d := time.Since(start); d > time.Millisecond {
			t.Errorf("took %v", d)
		}
		o := begin(t, db, ms[1])
		if o.table("t").Column("b") == nil {
			t.Fatal("new version not seen")
		}
		o.rollback()
	})
}

// A node that does not answer is waited for as long as its lease lasts, and cannot commit afterwards.
func TestDeadNodesLeaseIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kvtest.New()
		p, ms := newNodes(t, db, 2)
		defer stopAll(ms)
		s := begin(t, db, ms[0])
		id := s.createTable("t")
		must(t, s.commit())
		user := begin(t, db, ms[1])
		must(t, user.cat.Use(t.Context(), []uint32{id}))
		until := ms[1].current.Load().until
		p.mu.Lock()
		p.down[2] = true
		p.mu.Unlock()
		ddl := begin(t, db, ms[0])
		must(t, ddl.addColumn("t"))
		must(t, ddl.commit())
		if now := (testClock{}).Now(); !now.After(until) {
			t.Fatalf("committed at %v, before the dead node's lease ended at %v", now, until)
		}
		bound, err := user.cat.PreCommit(t.Context())
		if err == nil && bound > until {
			t.Fatalf("the cut-off node may commit until %v", bound)
		}
		user.rollback()
	})
}

func TestSavepoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kvtest.New()
		_, ms := newNodes(t, db, 1)
		defer stopAll(ms)
		s := begin(t, db, ms[0])
		mark, sp := s.cat.Mark(), s.kv.Savepoint()
		s.createTable("t")
		must(t, s.kv.RollbackTo(t.Context(), sp))
		s.cat.RollbackTo(mark)
		if s.table("t") != nil {
			t.Fatal("rolled back change seen")
		}
		s.createTable("u")
		must(t, s.commit())
		o := begin(t, db, ms[0])
		if o.table("t") != nil || o.table("u") == nil {
			t.Fatal("wrong tables after the commit")
		}
		o.rollback()
	})
}

func TestDescriptorRoundTrip(t *testing.T) {
	for _, d := range bootstrapDescriptors() {
		b, err := encodeDescriptor(d)
		must(t, err)
		got, err := decodeDescriptor(b)
		must(t, err)
		b2, err := encodeDescriptor(got)
		must(t, err)
		if string(b) != string(b2) {
			t.Errorf("%s\n%s", b, b2)
		}
	}
}

func FuzzDecodeDescriptor(f *testing.F) {
	for _, d := range bootstrapDescriptors() {
		b, _ := encodeDescriptor(d)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if d, err := decodeDescriptor(b); err == nil {
			namesOf(d)
		}
		_, _, _ = decodeRevoke(b)
	})
}

// spanCounter is a database whose transactions count the spans they delete.
type spanCounter struct {
	*kvtest.DB
	spans atomic.Int32
}

func (db *spanCounter) Begin(ctx context.Context, opts kv.TxnOptions) (kv.Txn, error) {
	tx, err := db.DB.Begin(ctx, opts)
	return countedTxn{tx, db}, err
}

type countedTxn struct {
	kv.Txn
	db *spanCounter
}

func (tx countedTxn) DeleteSpan(ctx context.Context, span kv.Span) error {
	tx.db.spans.Add(1)
	return tx.Txn.DeleteSpan(ctx, span)
}

// TestGarbageOfDroppedTableIsCollected: a small table key by key, a large one as a span, and nothing else.
func TestGarbageOfDroppedTableIsCollected(t *testing.T) {
	for _, tc := range []struct{ rows, spans int }{{1000, 0}, {1001, 1}} {
		synctest.Test(t, func(t *testing.T) {
			db := &spanCounter{DB: kvtest.New()}
			_, ms := newNodes(t, db, 1)
			defer stopAll(ms)
			s := begin(t, db, ms[0])
			id, keep := s.createTable("t"), s.createTable("keep")
			for _, storage := range []uint32{id, keep} {
				for i := range tc.rows {
					must(t, s.kv.Put(append(TableSpan(storage).Start, 0, 1, byte(i>>8), byte(i)), []byte("row")))
				}
			}
			must(t, s.commit())
			d := begin(t, db, ms[0])
			must(t, d.cat.Delete(t.Context(), d.table("t")))
			must(t, d.commit())
			time.Sleep(time.Minute) // of the bubble's time
			synctest.Wait()
			count := func(storage uint32) (n int) {
				tx, err := db.Begin(t.Context(), kv.TxnOptions{ReadOnly: true})
				must(t, err)
				defer tx.Rollback(t.Context())
				sc, err := tx.Scan(t.Context(), TableSpan(storage), kv.ScanOptions{})
				must(t, err)
				defer sc.Close()
				for sc.Next(t.Context()) {
					n++
				}
				return n
			}
			if n := count(id); n != 0 {
				t.Errorf("%d rows of the dropped table are left", n)
			}
			if n := count(keep); n != tc.rows {
				t.Errorf("%d rows of the other table are left", n)
			}
			if left, err := ms[0].garbage(t.Context()); err != nil || len(left) != 0 {
				t.Errorf("garbage left: %d, %v", len(left), err)
			}
			if n := int(db.spans.Load()); n != tc.spans {
				t.Errorf("%d rows: %d spans deleted, want %d", tc.rows, n, tc.spans)
			}
			// Whoever comes late, another node for instance, deletes nothing.
			must(t, ms[0].collect(t.Context(), garbageKey(id)))
			if n := int(db.spans.Load()); n != tc.spans {
				t.Errorf("%d spans deleted after the end", n-tc.spans)
			}
		})
	}
}

// A transaction costs no allocation in the catalog once its view is pooled.
func TestBeginDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("pools forget under the race detector")
	}
	db := kvtest.New()
	m, err := NewManager(Config{DB: db, Clock: testClock{}, Node: 1, Lease: time.Hour})
	must(t, err)
	must(t, m.Start(t.Context()))
	defer m.Stop(context.Background())
	ids := []uint32{1, 2, 3}
	run := func() {
		v, err := m.Begin(t.Context(), PostgresDatabaseID, Options{})
		if err == nil {
			err = v.Use(t.Context(), ids)
		}
		if err == nil {
			_, err = v.PreCommit(t.Context())
		}
		must(t, err)
		v.Finish(true)
	}
	run()
	if n := testing.AllocsPerRun(100, run); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTransaction(b *testing.B) {
	m, err := NewManager(Config{DB: kvtest.New(), Clock: testClock{}, Node: 1, Lease: time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	if err := m.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer m.Stop(context.Background())
	ids := []uint32{1, 2, 3}
	for b.Loop() {
		v, _ := m.Begin(b.Context(), PostgresDatabaseID, Options{})
		v.Use(b.Context(), ids)
		v.PreCommit(b.Context())
		v.Finish(true)
	}
}

// A read in the past sees the catalog of its timestamp, on a node that has long had a newer one.
func TestAsOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := kvtest.New()
		_, ms := newNodes(t, db, 1)
		defer stopAll(ms)
		s := begin(t, db, ms[0])
		s.createTable("t")
		must(t, s.commit())
		old, err := db.Begin(t.Context(), kv.TxnOptions{ReadOnly: true})
		must(t, err)
		defer old.Rollback(t.Context())
		s = begin(t, db, ms[0])
		must(t, s.addColumn("t"))
		s.createTable("u")
		must(t, s.commit())
		for range 2 {
			v, err := ms[0].Begin(t.Context(), PostgresDatabaseID, Options{Pinned: true})
			must(t, err)
			must(t, v.AsOf(t.Context(), old))
			tab := v.Snapshot().ResolveTable([]string{"public"}, "", "t")
			if tab == nil || tab.Column("b") != nil || v.Snapshot().ResolveTable([]string{"public"}, "", "u") != nil {
				t.Fatal("not the catalog of that time")
			}
			must(t, v.Use(t.Context(), []uint32{tab.ID}))
			v.Finish(true)
		}
	})
}
