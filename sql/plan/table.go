package plan

import (
	"context"
	"math"
	"sync"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/inverted"
	"github.com/meridian-db/meridian/sql/types"
)

// TableKind says what a name in FROM stands for.
type TableKind uint8

const (
	BaseTable TableKind = iota
	View
	VirtualTable // rows come from a generator: pg_catalog and its relatives
	Sequence
	Partitioned   // its rows are in its partitions
	OtherRelation // indexes, composite types: exist, but cannot be read
)

// Table is a relation as the planner and the executor see it, made once per catalog version. It is
// immutable.
type Table struct {
	ID uint32
	// StorageID is the id under which rows are stored: the id itself until a rewrite or TRUNCATE.
	StorageID    uint32
	Owner        uint32
	Schema, Name string
	Kind         TableKind
	// Columns are the live columns in attnum order; an ordinal below indexes this slice.
	Columns []*TableColumn
	Primary *Index
	// Indexes are the secondary indexes.
	Indexes []*Index
	Checks  []*Check
	// FKs point from this table, Inbound at it.
	FKs, Inbound []*ForeignKey
	// View is the query of a view.
	View *ast.SelectStmt
	// ViewPath is the search path under which the view's names resolve.
	ViewPath []string
	// Rows generates the rows of a virtual table, in column order.
	Rows func(ctx context.Context, env any, emit func([]types.Datum) error) error
	// RowCount is the estimated number of rows; negative when unknown.
	RowCount float64
	// StatsAt is when RowCount was found out, in microseconds since 1970; 0 if it is not known.
	StatsAt int64
	// ReadOnlyReason is set for relations that cannot be written.
	NotUpdatable string
	// Updates, or deletions, would be published and could not be told: the table has no replica identity.
	NoUpdate, NoDelete bool
	CheckOption        string // of a view: "", "local" or "cascaded"
	Unpopulated        bool   // a materialized view WITH NO DATA, which cannot be read
	Descriptor         any
	// Parts is set for a partitioned table, Within for a partition; partition.go has both.
	Parts  *Parts
	Within *Within
	// Tree is set for a table that others inherit from: the table with them, as its partitions.
	Tree *Table
	// Mirror is set while the table's rows are being rewritten.
	Mirror *MirrorTable
	// Triggers are the enabled ones, by name.
	Triggers []*Trigger
	// Rules are the enabled ones, by name.
	Rules []*Rule
	// RowSecurity is nil where no policies apply.
	RowSecurity *RowSecurity
	// Of a view: Invoker, it is read with the privileges of who reads it, not of its owner; Barrier, conditions that
	// could show what it hides do not go before its own.
	Invoker, Barrier bool

	byName map[string]int
	codec  sync.Once
	codecV any
}

// TableColumn is one live column.
type TableColumn struct {
	ID     uint32 // stable, tags the value in stored rows
	AttNum int16
	Name   string
	T      *types.T
	// Array-of-domain checks are part of T.
	NotNull bool
	// RefusesNull: what is written must not be NULL, whatever the rows hold.
	RefusesNull bool
	Default     ast.Expr // nil: NULL
	Identity    byte     // 'a' always, 'd' by default, 0
	Sequence    uint32   // behind an identity or serial column
	Generated   ast.Expr // stored generated column
	Hidden      bool     // not in *, not assignable: the row id of a table without primary key, or System
	// System: xmin, the transaction that wrote the row. It comes last. Rows from before cluster version 8 do not tell:
	// Missing stands for it.
	System bool
	// Missing is the value in rows that were written before the column was added.
	Missing types.Datum
	// Stats is nil for a column that was never analysed.
	Stats *ColumnStats
}

// writerColumn is the ID of xmin in stored rows: past those of all other columns, whose numbers have 16 bits.
const writerColumn = 1 << 15

// FrozenXid is the xmin of rows that do not tell who wrote them, and is not stored.
const FrozenXid = 2

// xminAttNum is xmin's number in PostgreSQL.
const xminAttNum = -2

// addWriter gives the table its column xmin.
func (t *Table) addWriter() {
	t.Columns = append(t.Columns, &TableColumn{ID: writerColumn, AttNum: xminAttNum, Name: "xmin", T: types.Xid, Hidden: true, System: true, Missing: types.NewInt(FrozenXid)})
}

// ColumnStats are a column's statistics with the meaning of pg_stats.
type ColumnStats struct {
	NDistinct   float64 // negative: a share of the rows; 0 unknown
	NullFrac    float64
	AvgWidth    float64
	Correlation float64
	Common      []types.Datum // the most common values and their shares of the rows
	CommonFreqs []float64
	Histogram   []types.Datum // bounds between which equal shares of the other values lie
}

// Index is a primary or secondary index. Its entries are in encode.go of package exec.
type Index struct {
	ID      uint16 // within the table's key space
	OID     uint32
	PartOf  uint32 // OID of the partitioned table's index that this is a part of
	Name    string
	Primary bool
	Unique  bool
	// NullsNotDistinct makes NULLs collide in a unique index.
	NullsNotDistinct bool
	Keys             []IndexKey
	Include          []int    // ordinals
	Where            ast.Expr // partial index
	// Constraint is the name of the constraint the index implements, empty if none.
	Constraint string
	// WriteOnly: being built; maintained by writes, not read.
	WriteOnly bool
	// Deferred says that uniqueness is checked at the end of the statement or, with InitDeferred, of the
	// transaction: a DEFERRABLE constraint. Unique is then false, as entries of one key may exist side by
	// side for a while.
	Deferred, InitDeferred bool
	// Exclude are the operators of an exclusion constraint, by key: no two rows may have keys for which all of them hold.
	// It may be Deferred; otherwise it is checked at the end of the statement.
	Exclude []string
	// Inverted: an entry is a term of a key and the primary key; keys have a Class.
	Inverted bool
}

// IndexKey is one part of an index key.
type IndexKey struct {
	Col        int      // ordinal, -1 for an expression
	Expr       ast.Expr // when Col is -1
	T          *types.T
	Desc       bool
	NullsFirst bool
	Class      inverted.Class
}

// Check is a CHECK constraint.
type Check struct {
	Name string
	Expr ast.Expr
}

// FKAction is what happens to referencing rows.
type FKAction uint8

const (
	FKNoAction FKAction = iota
	FKRestrict
	FKCascade
	FKSetNull
	FKSetDefault
)

// ForeignKey is a foreign key between Child's columns and Parent's.
type ForeignKey struct {
	Name          string
	ChildID       uint32
	ParentID      uint32
	ChildCols     []uint32 // column ids
	ParentCols    []uint32
	RootCols      []uint32 // ParentCols in the table ParentID; they differ in a partition of it
	OnDelete      FKAction
	OnUpdate      FKAction
	SetCols       []uint32 // ON DELETE SET NULL (columns)
	MatchFull     bool
	Deferrable    bool
	InitDeferred  bool
	NotEnforced   bool
	ChildSchema   string
	ChildName     string
	ParentSchema  string
	ParentName    string
	ParentIdxName string
}

// Finish completes a table whose exported fields are set. It must be called once before use.
func (t *Table) Finish() *Table {
	t.byName = make(map[string]int, len(t.Columns))
	for i, c := range t.Columns {
		t.byName[c.Name] = i
	}
	return t
}

// Codec returns what build makes, calling it once for the table: package exec keeps there what it derives
// from the table.
func (t *Table) Codec(build func() any) any {
	t.codec.Do(func() { t.codecV = build() })
	return t.codecV
}

// Column returns the ordinal of a column, -1 if there is none.
func (t *Table) Column(name string) int {
	if i, ok := t.byName[name]; ok {
		return i
	}
	return -1
}

// ColumnByID returns the ordinal of a column by its stable id, -1 if there is none.
func (t *Table) ColumnByID(id uint32) int {
	for i, c := range t.Columns {
		if c.ID == id {
			return i
		}
	}
	return -1
}

// AllIndexes returns the primary index followed by the secondary ones.
func (t *Table) AllIndexes() []*Index {
	out := make([]*Index, 0, 1+len(t.Indexes))
	if t.Primary != nil {
		out = append(out, t.Primary)
	}
	return append(out, t.Indexes...)
}

// rowEstimate is the row count the planner uses: PostgreSQL assumes about ten pages for a table that was
// never analysed; ours stands for "not tiny, not huge".
func (t *Table) rowEstimate() float64 {
	if t.RowCount >= 0 {
		return math.Max(1, t.RowCount)
	}
	return 1000
}
