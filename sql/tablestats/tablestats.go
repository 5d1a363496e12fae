// Package tablestats counts what the statements of a node do to tables, indexes and databases: the numbers behind
// PostgreSQL's views pg_stat_*. They are kept in memory and forgotten with the process.
//
// A Registry is safe for concurrent use. A statement adds to it once, at its end; that takes no lock.
package tablestats

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Table is what statements have done to one table on one node since Registry.Since.
type Table struct {
	ID       uint32
	Database uint32
	Reads
	Writes
	SeqScans int64
	SeqRows  int64
	// Live is how many rows committed transactions have added to Storage, less those that they removed, and Modified how
	// many they have written, since the statistics made at At (microseconds since 1970, 0 for none).
	Live, Modified int64
	Storage        uint32
	At             int64
	Indexes        []Index
}

// Reads are reads by an index.
type Reads struct {
	Scans   int64 // how often spans or keys were looked up
	Entries int64 // entries returned
	Rows    int64 // rows fetched by entries
}

// Writes are rows written, those of transactions that failed included.
type Writes struct{ Inserted, Updated, Deleted int64 }

// Add adds the reads of another node.
func (r *Reads) Add(o Reads) {
	r.Scans += o.Scans
	r.Entries += o.Entries
	r.Rows += o.Rows
}

// Add adds the writes of another node.
func (w *Writes) Add(o Writes) {
	w.Inserted += o.Inserted
	w.Updated += o.Updated
	w.Deleted += o.Deleted
}

// Add adds the counts of another node.
func (d *Database) Add(o *Database) {
	d.Commits += o.Commits
	d.Rollbacks += o.Rollbacks
	d.Returned += o.Returned
	d.Fetched += o.Fetched
	d.Sessions += o.Sessions
	d.Writes.Add(o.Writes)
	if o.Reset && (!d.Reset || o.Since.After(d.Since)) {
		d.Reset, d.Since = true, o.Since
	}
}

// Index is what statements have done by one index.
type Index struct {
	ID uint32 // OID
	Reads
}

// Database is what sessions have done in one database on one node.
type Database struct {
	ID                uint32
	Commits           int64
	Rollbacks         int64
	Returned, Fetched int64 // rows that scans read, and those that came by indexes
	Writes
	Sessions int64
	Since    time.Time // since when it counts
	Reset    bool      // Since is that of a Reset
}

// Change is what a transaction has written to a table, to be counted when it commits.
type Change struct {
	Table, Storage uint32
	At             int64 // of the table's statistics when it was written
	Live, Modified int64
}

// Registry holds a node's counters.
type Registry struct {
	now       func() time.Time
	exists    func(table uint32) bool
	tables    sync.Map // uint32: *table
	databases sync.Map // uint32: *database
	size      atomic.Int64
	pruneAt   atomic.Int64 // size at which tables that are gone are looked for
}

// pruneFrom is how many tables are counted before those that are gone are looked for.
const pruneFrom = 1024

// New returns an empty Registry. exists reports whether a table is still there: the counters of others are dropped.
func New(now func() time.Time, exists func(table uint32) bool) *Registry {
	r := &Registry{now: now, exists: exists}
	r.pruneAt.Store(pruneFrom)
	return r
}

type counter = atomic.Int64

type reads struct{ scans, entries, rows counter }

func (r *reads) get() Reads { return Reads{r.scans.Load(), r.entries.Load(), r.rows.Load()} }

type table struct {
	database                   uint32
	seqScans, seqRows          counter
	inserted, updated, deleted counter
	indexes                    sync.Map // uint32: *reads

	mu             sync.Mutex // live rows; taken once by a transaction that has written to the table
	storage        uint32
	at             int64
	live, modified int64
}

type database struct {
	commits, rollbacks, returned, fetched, sessions counter
	inserted, updated, deleted                      counter
	since                                           time.Time
	reset                                           bool
}

func (r *Registry) table(id, db uint32) *table {
	if t, ok := r.tables.Load(id); ok {
		return t.(*table)
	}
	if r.size.Add(1) > r.pruneAt.Load() {
		r.prune()
	}
	t, _ := r.tables.LoadOrStore(id, &table{database: db})
	return t.(*table)
}

// prune drops tables that are gone. The next time is when there are twice as many as are left.
func (r *Registry) prune() {
	var left int64
	r.tables.Range(func(id, _ any) bool {
		if r.exists(id.(uint32)) {
			left++
		} else {
			r.tables.Delete(id)
		}
		return true
	})
	r.size.Store(left)
	r.pruneAt.Store(max(2*left, pruneFrom))
}

func (r *Registry) database(id uint32) *database {
	if d, ok := r.databases.Load(id); ok {
		return d.(*database)
	}
	d, _ := r.databases.LoadOrStore(id, &database{since: r.now()})
	return d.(*database)
}

// Scanned counts reads of a table from its beginning to its end.
func (r *Registry) Scanned(db, id uint32, scans, rows int64) {
	t := r.table(id, db)
	t.seqScans.Add(scans)
	t.seqRows.Add(rows)
	r.database(db).returned.Add(rows)
}

// Searched counts reads by an index.
func (r *Registry) Searched(db, id, index uint32, n Reads) {
	t := r.table(id, db)
	x, ok := t.indexes.Load(index)
	if !ok {
		x, _ = t.indexes.LoadOrStore(index, &reads{})
	}
	c := x.(*reads)
	c.scans.Add(n.Scans)
	c.entries.Add(n.Entries)
	c.rows.Add(n.Rows)
	d := r.database(db)
	d.returned.Add(n.Entries)
	d.fetched.Add(n.Rows)
}

// Wrote counts rows written, whatever becomes of their transaction.
func (r *Registry) Wrote(db, id uint32, n Writes) {
	t, d := r.table(id, db), r.database(db)
	if n.Inserted != 0 {
		t.inserted.Add(n.Inserted)
		d.inserted.Add(n.Inserted)
	}
	if n.Updated != 0 {
		t.updated.Add(n.Updated)
		d.updated.Add(n.Updated)
	}
	if n.Deleted != 0 {
		t.deleted.Add(n.Deleted)
		d.deleted.Add(n.Deleted)
	}
}

// Ended counts a transaction that has come to its end, and what it has written if it committed.
func (r *Registry) Ended(db uint32, committed bool, changes []Change) {
	d := r.database(db)
	if !committed {
		d.rollbacks.Add(1)
		return
	}
	d.commits.Add(1)
	for i := range changes {
		r.table(changes[i].Table, db).change(&changes[i])
	}
}

func (t *table) change(c *Change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.storage != c.Storage || t.at != c.At {
		t.storage, t.at, t.live, t.modified = c.Storage, c.At, 0, 0
	}
	t.live += c.Live
	t.modified += c.Modified
}

// Connected counts a session.
func (r *Registry) Connected(db uint32) { r.database(db).sessions.Add(1) }

// Reset forgets what was counted in a database.
func (r *Registry) Reset(db uint32) {
	r.tables.Range(func(id, t any) bool {
		if t := t.(*table); t.database == db {
			// How many rows there are is no event that was counted: it stays.
			t.mu.Lock()
			fresh := &table{database: db, storage: t.storage, at: t.at, live: t.live, modified: t.modified}
			t.mu.Unlock()
			r.tables.Store(id, fresh)
		}
		return true
	})
	r.databases.Store(db, &database{since: r.now(), reset: true})
}

// Tables returns the counters of all tables, by id.
func (r *Registry) Tables() []Table {
	var out []Table
	r.tables.Range(func(id, v any) bool {
		t := v.(*table)
		row := Table{ID: id.(uint32), Database: t.database, SeqScans: t.seqScans.Load(), SeqRows: t.seqRows.Load(),
			Writes: Writes{t.inserted.Load(), t.updated.Load(), t.deleted.Load()}}
		t.indexes.Range(func(id, v any) bool {
			x := Index{id.(uint32), v.(*reads).get()}
			row.Indexes = append(row.Indexes, x)
			row.Reads.Add(x.Reads)
			return true
		})
		slices.SortFunc(row.Indexes, func(a, b Index) int { return cmp.Compare(a.ID, b.ID) })
		t.mu.Lock()
		row.Storage, row.At, row.Live, row.Modified = t.storage, t.at, t.live, t.modified
		t.mu.Unlock()
		out = append(out, row)
		return true
	})
	slices.SortFunc(out, func(a, b Table) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Databases returns the counters of all databases, by id.
func (r *Registry) Databases() []Database {
	var out []Database
	r.databases.Range(func(id, v any) bool {
		d := v.(*database)
		out = append(out, Database{ID: id.(uint32), Commits: d.commits.Load(), Rollbacks: d.rollbacks.Load(), Returned: d.returned.Load(),
			Fetched: d.fetched.Load(), Writes: Writes{d.inserted.Load(), d.updated.Load(), d.deleted.Load()}, Sessions: d.sessions.Load(), Since: d.since, Reset: d.reset})
		return true
	})
	slices.SortFunc(out, func(a, b Database) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
