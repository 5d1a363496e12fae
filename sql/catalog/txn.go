package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// ErrChanged reports that a table the statement was planned with has changed since. The statement has done
// nothing yet: the caller goes through Statement again and plans anew.
var ErrChanged = errors.New("catalog: changed since the statement was planned")

// Options of a transaction's view.
type Options struct {
	// Pinned keeps one version for the whole transaction: for transactions that read at one timestamp.
	// Using an object that has changed since then fails with 40001.
	Pinned bool
}

// txnState is where a Txn is between its owner and a change that wants it out of the way.
//
//	open --PreCommit--> committing --Finish--> ended
//	open --doom-------> doomed     --Finish--> ended
type txnState int32

const (
	txnOpen txnState = iota
	txnCommitting
	txnDoomed
	txnEnded
)

// Txn is one transaction's view of the catalog: a snapshot and the transaction's own changes. It belongs to
// one goroutine, except for what mu guards.
type Txn struct {
	m          *Manager
	next, prev *Txn // ring of open transactions, under m.mu

	state atomic.Int32 // txnState

	mu   sync.Mutex
	used []uint32 // ids of objects that statements used, on the version of snap

	db   uint32
	opts Options
	snap *Snapshot
	base uint64 // version of the snapshot under the own changes
	past bool   // AsOf has set the view

	// Own changes.
	kv       kv.Txn
	changed  map[uint32]struct{}
	placedBy []uint32 // objects on which the policy records written depend
	edited   uint64   // counts own changes
	frozen   bool     // PreCommit holds this node's freezer
	freeze   *freezer
}

var txnPool = sync.Pool{New: func() any { return new(Txn) }}

// Begin opens a view for a transaction of a session in the database with id db. It does not block unless the
// lease has lapsed or a change is in progress. Finish ends it.
func (m *Manager) Begin(ctx context.Context, db uint32, opts Options) (*Txn, error) {
	t := txnPool.Get().(*Txn)
	t.m, t.db, t.opts = m, db, opts
	t.state.Store(int32(txnOpen))
	t.used = t.used[:0]
	t.snap, t.kv, t.changed, t.edited, t.past = nil, nil, nil, 0, false
	m.mu.Lock()
	t.next, t.prev = &m.active, m.active.prev
	t.prev.next, t.next.prev = t, t
	m.mu.Unlock()
	if err := t.Statement(ctx); err != nil {
		t.Finish(false)
		return nil, err
	}
	return t, nil
}

// Statement is called before each statement is planned. It moves the view to the newest version, unless the
// transaction is pinned or has changes of its own. It fails with 40001 when a change of the catalog elsewhere
// has doomed the transaction.
func (t *Txn) Statement(ctx context.Context) error {
	if t.changed != nil {
		return t.doomed()
	}
	if t.past {
		return nil
	}
	for {
		if err := t.doomed(); err != nil {
			return err
		}
		if f := t.m.frozen.Load(); f != nil && (t.snap == nil || t.m.isDrained(f)) {
			if err := t.m.await(ctx, f); err != nil {
				return err
			}
			continue
		}
		// A change that is still draining may be waiting for this transaction, or for one that waits for its
		// locks: it goes on, on the old version, to its end.
		l := t.m.current.Load()
		if l.until <= t.m.cfg.Clock.Now().Latest {
			if err := t.m.renewNow(ctx); err != nil {
				return err
			}
			continue
		}
		if t.snap == nil || !t.opts.Pinned && l.state.version != t.snap.version {
			if t.snap != nil && !t.unchanged(l.state) {
				// A change went on without this node, when its lease had ended.
				t.state.CompareAndSwap(int32(txnOpen), int32(txnDoomed))
				continue
			}
			t.snap = l.state.inDatabase(t.db)
			t.base = t.snap.version
		}
		return nil
	}
}

// unchanged reports whether the objects used so far are in cur as they are in the view. All of used is of the
// view's version, or has not changed since.
func (t *Txn) unchanged(cur *state) bool {
	return cur.version == t.snap.version || sameObjects(cur, t.snap.state, t.used)
}

func (t *Txn) doomed() error {
	if txnState(t.state.Load()) == txnDoomed {
		return schemaChanged()
	}
	return nil
}

// ErrSchemaChanged is the cause of the error (40001) of a transaction that used an object which has changed since. It
// may be retried from its first statement.
var ErrSchemaChanged = errors.New("catalog: an object that the transaction used has changed")

func schemaChanged() error {
	return pgerr.New(pgerr.TRSerializationFailure, "could not serialize access due to a concurrent change of the schema").
		WithHint("The transaction might succeed if retried.").WithCause(ErrSchemaChanged)
}

// Snapshot is the view, the transaction's own changes included. It changes with Statement and with each
// change of its own.
func (t *Txn) Snapshot() *Snapshot { return t.snap }

// Edits counts the transaction's own changes. Views of one version with the same number of edits by the same
// transaction are equal; a plan may be shared between transactions only at 0.
func (t *Txn) Edits() uint64 { return t.edited }

// Changed reports whether the transaction has changed the catalog.
func (t *Txn) Changed() bool { return t.changed != nil }

// Use declares the objects that the statement about to run was planned with. It does not allocate in the
// usual case. It fails with ErrChanged when one has changed meanwhile: Statement and plan again.
func (t *Txn) Use(ctx context.Context, ids []uint32) error {
	if t.past {
		return nil
	}
	t.mu.Lock()
	before := len(t.used)
next:
	for _, id := range ids {
		for _, u := range t.used {
			if u == id {
				continue next
			}
		}
		t.used = append(t.used, id)
	}
	t.mu.Unlock()
	if t.changed != nil {
		return t.useChanged(ctx, ids)
	}
	err := t.checkUse(ids)
	if err == ErrChanged {
		// The statement does not run, so it uses nothing; a change that has seen the ids waits for them.
		t.mu.Lock()
		t.used = t.used[:before]
		t.mu.Unlock()
		t.m.wakeDrainers()
	}
	return err
}

func (t *Txn) checkUse(ids []uint32) error {
	// A change that had drained the node before the ids were listed has not seen them.
	if f := t.m.frozen.Load(); f != nil && f.touches(ids) && t.m.isDrained(f) {
		return ErrChanged
	}
	if t.opts.Pinned {
		return t.checkPinned(ids)
	}
	if cur := t.m.current.Load().state; cur.version != t.snap.version && !sameObjects(cur, t.snap.state, ids) {
		return ErrChanged
	}
	return t.doomed()
}

// useChanged is Use for a transaction with changes of its own, which cannot move to another version: it waits
// for a change of the same objects elsewhere, and fails if that committed.
func (t *Txn) useChanged(ctx context.Context, ids []uint32) error {
	for f := t.m.frozen.Load(); f != nil && f != t.freeze && f.touches(ids); f = t.m.frozen.Load() {
		if err := t.m.await(ctx, f); err != nil {
			return err
		}
	}
	var others []uint32
	for _, id := range ids {
		if _, mine := t.changed[id]; !mine {
			others = append(others, id)
		}
	}
	return t.checkPinned(others)
}

func (t *Txn) checkPinned(ids []uint32) error {
	cur := t.m.current.Load().state
	if cur.version == t.snap.version || sameObjects(cur, t.snap.state, ids) {
		return t.doomed()
	}
	return schemaChanged()
}

func sameObjects(a, b *state, ids []uint32) bool {
	for _, id := range ids {
		if a.byID[id] != b.byID[id] {
			return false
		}
	}
	return true
}

// Bind gives the view the transaction through which changes are written. It must be called before the first.
func (t *Txn) Bind(tx kv.Txn) { t.kv = tx }

// KV is the transaction given to Bind.
func (t *Txn) KV() kv.Txn { return t.kv }

// NewID allocates an object id.
func (t *Txn) NewID(ctx context.Context) (uint32, error) { return t.m.allocID(ctx) }

// NewIDPair allocates two object ids in a row and returns the first.
func (t *Txn) NewIDPair(ctx context.Context) (uint32, error) { return t.m.allocPair(ctx) }

// edit prepares for a change: the first one locks the catalog's base version in.
func (t *Txn) edit() error {
	if t.kv == nil {
		return errors.New("catalog: change without Bind")
	}
	if t.changed == nil {
		t.changed = make(map[uint32]struct{})
	}
	return t.doomed()
}

// Put adds or replaces a descriptor. d must be new, or a copy: descriptors in snapshots are immutable. Names
// that another transaction has taken since the snapshot fail with 42P07 or its kin, an object that another
// transaction has changed since with 40001.
func (t *Txn) Put(ctx context.Context, d Descriptor) error {
	if err := t.edit(); err != nil {
		return err
	}
	old := t.snap.byID[d.DescID()]
	if err := t.lock(ctx, d.DescID(), old); err != nil {
		return err
	}
	if err := checkRewriting(old, d); err != nil {
		return err
	}
	if err := t.moveNames(ctx, old, d); err != nil {
		return err
	}
	d.setVersion(t.base + 1)
	b, err := encodeDescriptor(d)
	if err != nil {
		return err
	}
	if err := t.kv.Put(descKey(d.DescID()), b); err != nil {
		return err
	}
	st := t.snap.state.clone()
	st.put(d)
	st.resolveTypes(d)
	t.view(st, d.DescID())
	if ty, ok := d.(*Type); ok && old != nil {
		return t.refreshUsers(ctx, ty)
	}
	return nil
}

// view makes st, which has own changes, the transaction's view.
func (t *Txn) view(st *state, changed ...uint32) {
	for _, id := range changed {
		t.changed[id] = struct{}{}
	}
	t.edited++
	t.snap = st.inDatabase(t.db)
}

// refreshUsers gives the tables that use a changed type new descriptors: their columns hold its types.T.
func (t *Txn) refreshUsers(ctx context.Context, ty *Type) error {
	for _, tab := range sortedByID(t.snap.byID, func(tab *Table) bool { return usesType(tab, ty) }) {
		if err := t.Put(ctx, tab.Clone()); err != nil {
			return err
		}
	}
	return nil
}

func usesType(t *Table, ty *Type) bool {
	for _, c := range t.Columns {
		if !c.Dropped && (uint32(c.Type.OID) == ty.ID || uint32(c.Type.OID) == ty.Array) {
			return true
		}
	}
	return t.Rewriting != nil && usesType(t.Rewriting.Table, ty)
}

// lock takes the descriptor's lock and checks that nobody has changed it since the snapshot.
func (t *Txn) lock(ctx context.Context, id uint32, old Descriptor) error {
	if _, mine := t.changed[id]; mine {
		return nil
	}
	b, err := t.kv.Get(ctx, descKey(id), kv.LockExclusive, kv.WaitBlock)
	if err != nil {
		return err
	}
	switch {
	case b == nil && old == nil:
		return nil
	case b != nil && old != nil:
		d, err := decodeDescriptor(b)
		if err != nil {
			return err
		}
		if d.DescVersion() == old.DescVersion() {
			return nil
		}
	}
	return schemaChanged()
}

// Depend locks an object that a change relies upon (the schema of a new table, the table a new foreign key
// points at when nothing of it changes) against being changed or dropped by others before the commit.
func (t *Txn) Depend(ctx context.Context, id uint32) error {
	old, ok := t.snap.byID[id]
	if !ok {
		return nil // built in
	}
	if _, mine := t.changed[id]; mine {
		return nil
	}
	b, err := t.kv.Get(ctx, descKey(id), kv.LockShared, kv.WaitBlock)
	if err != nil {
		return err
	}
	if b != nil {
		d, err := decodeDescriptor(b)
		if err != nil {
			return err
		}
		if d.DescVersion() == old.DescVersion() {
			return nil
		}
	}
	return schemaChanged()
}

// moveNames takes the new descriptor's names and gives up the old one's.
func (t *Txn) moveNames(ctx context.Context, old, d Descriptor) error {
	have := map[nameKey]bool{}
	if old != nil {
		for _, k := range namesOf(old) {
			have[k] = true
		}
	}
	var want map[nameKey]bool
	if d != nil {
		want = map[nameKey]bool{}
		for _, k := range namesOf(d) {
			want[k] = true
			if have[k] {
				continue
			}
			b, err := t.kv.Get(ctx, nameKeyBytes(k), kv.LockExclusive, kv.WaitBlock)
			if err != nil {
				return err
			}
			if len(b) == 4 && binary.BigEndian.Uint32(b) != d.DescID() {
				return duplicateName(k)
			}
			if err := t.kv.Put(nameKeyBytes(k), binary.BigEndian.AppendUint32(nil, d.DescID())); err != nil {
				return err
			}
		}
	}
	for k := range have {
		if !want[k] {
			if err := t.kv.Delete(nameKeyBytes(k)); err != nil {
				return err
			}
		}
	}
	return nil
}

// duplicateName is PostgreSQL's error for a name that is taken.
func duplicateName(k nameKey) error {
	switch k.space {
	case spaceDatabase:
		return pgerr.New(pgerr.DuplicateDatabase, "database %q already exists", k.name)
	case spaceRole:
		return pgerr.New(pgerr.DuplicateObject, "role %q already exists", k.name)
	case spaceTablespace:
		return pgerr.New(pgerr.DuplicateObject, "tablespace %q already exists", k.name)
	case spaceSchema:
		return pgerr.New(pgerr.DuplicateSchema, "schema %q already exists", k.name)
	case spaceEventTrigger:
		return pgerr.New(pgerr.DuplicateObject, "event trigger %q already exists", k.name)
	case spaceOperator:
		name, _, _ := strings.Cut(k.name, "(")
		return pgerr.New("42723", "operator %s already exists", name)
	case spaceType:
		return pgerr.New(pgerr.DuplicateObject, "type %q already exists", k.name)
	}
	if k.space == spaceFunction {
		name, _, _ := strings.Cut(k.name, "(")
		return pgerr.New("42723", "function %q already exists with same argument types", name)
	}
	return pgerr.New(pgerr.DuplicateTable, "relation %q already exists", k.name)
}

// Delete removes a descriptor. The storage of a table is removed after the commit, when no transaction can
// read it any more.
func (t *Txn) Delete(ctx context.Context, d Descriptor) error {
	if tab, ok := d.(*Table); ok && tab.IsTable() {
		if err := t.Discard(tab.StorageID()); err != nil {
			return err
		}
		if tab.Rewriting != nil {
			if err := t.Discard(tab.Rewriting.Table.StorageID()); err != nil {
				return err
			}
		}
	}
	return t.Forget(ctx, d)
}

// Forget removes a descriptor and leaves the storage of a table alone.
func (t *Txn) Forget(ctx context.Context, d Descriptor) error {
	if err := t.edit(); err != nil {
		return err
	}
	if err := t.lock(ctx, d.DescID(), t.snap.byID[d.DescID()]); err != nil {
		return err
	}
	if err := t.moveNames(ctx, d, nil); err != nil {
		return err
	}
	if err := t.kv.Delete(descKey(d.DescID())); err != nil {
		return err
	}
	st := t.snap.state.clone()
	st.remove(d.DescID())
	t.view(st, d.DescID())
	return nil
}

// Discard notes that a storage id is not used any more once the transaction commits.
func (t *Txn) Discard(storage uint32) error {
	return t.kv.Put(garbageKey(storage), []byte{})
}

// DiscardIndex notes that an index's entries are not used any more once the transaction commits.
func (t *Txn) DiscardIndex(storage uint32, index uint16) error {
	return t.kv.Put(binary.BigEndian.AppendUint16(garbageKey(storage), index), []byte{})
}

// Mark is a point that RollbackTo returns to; the caller rolls kv back itself.
type Mark struct {
	snap   *Snapshot
	base   uint64
	edited uint64
}

// Mark returns the current point.
func (t *Txn) Mark() Mark {
	return Mark{snap: t.snap, base: t.base, edited: t.edited}
}

// RollbackTo undoes the changes since mk. The objects stay on the list of changed ones, which only makes the
// commit more careful than it must be.
func (t *Txn) RollbackTo(mk Mark) {
	if t.changed == nil {
		return
	}
	t.snap, t.base = mk.snap, mk.base
	t.edited++ // never repeats: plans made between are not found again
}

// PreCommit must be called before kv commits, for every transaction. It returns the bound for
// kv.Txn.CommitBefore. If the transaction has changed the catalog it stops the others (I10) and writes the
// new version; the caller has prepared everything else.
func (t *Txn) PreCommit(ctx context.Context) (truetime.Timestamp, error) {
	if t.changed != nil {
		if err := t.publish(ctx); err != nil {
			return 0, err
		}
	}
	if !t.state.CompareAndSwap(int32(txnOpen), int32(txnCommitting)) {
		if err := t.doomed(); err != nil {
			return 0, err
		}
		return 0, fmt.Errorf("catalog: PreCommit in state %d", t.state.Load())
	}
	if t.changed != nil {
		// The lock on the version key keeps every other change out, so no lease is needed; and this
		// node's cannot be renewed meanwhile.
		return truetime.MaxTimestamp, nil
	}
	// The bound and the version it is for are one value: a node that was cut off during a change has a new
	// lease with the new version, under which this transaction must not commit.
	l := t.m.current.Load()
	if !t.past && !t.unchanged(l.state) {
		return 0, schemaChanged()
	}
	return l.until, nil
}

// Finish ends the view, after commit or rollback. t must not be used afterwards.
func (t *Txn) Finish(committed bool) {
	m := t.m
	if t.frozen {
		m.changeDone(t, committed)
		t.frozen, t.freeze = false, nil
	}
	t.state.Store(int32(txnEnded))
	m.mu.Lock()
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev = nil, nil
	m.mu.Unlock()
	m.wakeDrainers()
	t.snap, t.kv, t.changed, t.placedBy = nil, nil, nil, nil
	txnPool.Put(t)
}
