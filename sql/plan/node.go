package plan

import (
	"sync"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// Node is a relational operator. Its rows are not passed by value: it leaves each in the slots it fills,
// where its parent's expressions read them.
type Node interface {
	// inputs calls f with the place of each child.
	inputs(f func(*Node))
	// exprs calls f with the place of each expression that the node itself evaluates.
	exprs(f func(*Expr))
	// produces calls f with each slot that the node itself fills (not its children).
	produces(f func(Slot))
	// Base returns the estimates.
	Base() *NodeBase
}

// NodeBase has what every node has. Keep lists the slots a node that stores rows must store: set by the
// pruning pass.
type NodeBase struct {
	ID      int // number in the plan, for run-time statistics
	Rows    float64
	Startup float64
	Cost    float64
	Width   int
}

func (b *NodeBase) Base() *NodeBase { return b }

// OneRow yields one row without columns.
type OneRow struct{ NodeBase }

// Values yields literal rows.
type Values struct {
	NodeBase
	Rowsets [][]Expr
	Slots   []Slot
}

// ScanCol is a column a scan reads.
type ScanCol struct {
	Ord  int
	Slot Slot
}

// Scan reads a table, through its primary index or through a secondary one.
type Scan struct {
	NodeBase
	Table *Table
	Alias string
	// Cols are the columns needed; before pruning all of them.
	Cols []ScanCol
	// Filter are conjuncts evaluated on each row.
	Filter []Expr
	// Index to read, nil before access paths are chosen: then the primary.
	Index *Index
	// Eq are values for a prefix of the index keys; In, when set, is a list for the key after the prefix;
	// otherwise Lower and Upper bound that key. IndexConds are the conditions these came from.
	Eq           []Expr
	In           []Expr // each yields a value, or an array when InArray
	InArray      bool
	Lower, Upper []RangeBound
	Bounded      bool // by Lower and Upper, which may be empty: then NULLs are left out
	IndexConds   []Expr
	// EqNull marks positions of Eq that came from IS NULL.
	EqNull []bool
	// IndexOnly: all columns needed are in the index entry.
	IndexOnly bool
	Reverse   bool
	// Ordered: some parent relies on index order.
	Ordered bool
	// Point: Eq covers all keys of a unique index, at most one row.
	Point bool
	Lock  LockWant
	Wait  kv.WaitPolicy
	// Limit hints how many rows will be wanted; nil: all. PerRow is how many entries are read for a row that passes Filter,
	// by estimate.
	LimitHint Expr
	PerRow    float64
	// Bitmap, if not nil, says which rows of the primary index are read, in its order.
	Bitmap *Bitmap
	// Recheck are the conditions (Filter and IndexConds) to be tested again when a locking read finds a
	// newer version of the row.
	// Remote conditions, the first of Filter, are evaluated beside the data as far as ranges can; Narrow: rows are cut
	// down there to the columns that are needed.
	Remote int
	Narrow bool
	Target bool // the target of UPDATE or DELETE, or of a LockRows: all columns are needed

	codec, codec2   sync.Once
	codecV, codecV2 any

	allCols  []ScanCol // before pruning
	conds    []Expr    // all conditions, for trying another index
	pathRows float64
	many     bool // pathRows is above Env.RemoteRows
}

// SlotBase is the slot of the column with ordinal 0: a scan's slots follow each other by ordinal.
func (n *Scan) SlotBase() Slot {
	return n.allCols[0].Slot - n.allCols[0].Ord
}

// FilterOrdinals are the ordinals of the columns that the conditions read.
func (n *Scan) FilterOrdinals() []int {
	var used slotSet
	for _, f := range n.Filter {
		exprSlots(f, &used)
	}
	var out []int
	for _, c := range n.Cols {
		if used.has(c.Slot) {
			out = append(out, c.Ord)
		}
	}
	return out
}

// Codec returns what build makes, calling it once: package exec keeps there what it derives from the scan.
func (n *Scan) Codec(build func() any) any {
	n.codec.Do(func() { n.codecV = build() })
	return n.codecV
}

// Many reports whether the scan reads many entries, by estimate: more than come in one small page.
func (n *Scan) Many() bool { return n.many }

// Codec2 is Codec for a second thing.
func (n *Scan) Codec2(build func() any) any {
	n.codec2.Do(func() { n.codecV2 = build() })
	return n.codecV2
}

// LockWant is the lock a scan takes by itself.
type LockWant uint8

const (
	LockDefault   LockWant = iota // shared under serializable, none otherwise
	LockShare                     // FOR SHARE
	LockForUpdate                 // FOR UPDATE, and the target of UPDATE and DELETE
)

// RangeBound is one side of a range over an index key.
type RangeBound struct {
	E    Expr
	More []Expr // values for the keys after it, in the bound of a row comparison
	Open bool   // exclusive
}

// FuncScan calls set-returning or other functions in FROM, side by side (ROWS FROM).
type FuncScan struct {
	NodeBase
	Funcs      []*FuncScanItem
	Ordinality Slot // -1 without
	Alias      string
}

// FuncScanItem is one function of a FuncScan. Call.Rows is nil for a scalar function.
type FuncScanItem struct {
	Call  *builtin.Call
	Args  []Expr
	Expr  Expr // scalar function
	Slots []Slot
	Name  string
	// Unpack: the scalar result is a row whose fields fill Slots.
	Unpack bool
}

// Project computes expressions into slots.
type Project struct {
	NodeBase
	Input Node
	Exprs []Expr
	Slots []Slot
}

// Filter keeps the rows for which all conditions hold.
type Filter struct {
	NodeBase
	Input Node
	Conds []Expr
	// Barrier keeps conditions from above that could tell of rows which these let not through from being tested first.
	Barrier bool
}

// JoinKind is the kind of a join.
type JoinKind uint8

const (
	InnerJoin JoinKind = iota
	LeftJoin
	FullJoin
	SemiJoin
	AntiJoin
	RightJoin // only while binding; the optimiser mirrors it
)

// JoinMethod is how a join is executed.
type JoinMethod uint8

const (
	NestedLoop JoinMethod = iota
	HashJoin
	LookupJoin // the right side is a point Scan whose Eq depend on the left side; done in batches
	MergeJoin
)

// Join joins two inputs.
type Join struct {
	NodeBase
	Kind        JoinKind
	Left, Right Node
	// On are the conditions; after physical planning those not covered by keys.
	On     []Expr
	Method JoinMethod
	// LeftKeys[i] = RightKeys[i], of one type; HashJoin and MergeJoin.
	LeftKeys, RightKeys []Expr
	// Lateral: the right side refers to the left side's slots and is run anew for each left row.
	Lateral bool
	// KeepLeft and KeepRight are the slots to be stored when rows of that side are.
	KeepLeft, KeepRight []Slot
	// NullRight are all slots of the right side, to be set to NULL by an outer join; NullLeft likewise.
	NullRight, NullLeft []Slot
	// Memo: the right side does not depend on the left and is worth keeping in memory (Materialize).
	Memo bool
	// Unique: at most one right row matches a left row.
	Unique bool

	joinConds []Expr  // the conditions before physical planning moved them into keys or scans
	rightRows float64 // of the right side without the left side's help
}

// AggFunc is one aggregate call.
type AggFunc struct {
	Name     string
	Call     *builtin.Call
	Args     []Expr // for ordered-set aggregates the direct ones followed by the sorted ones
	Direct   int
	Distinct bool
	Order    []SortKey
	Filter   Expr
	Slot     Slot
	T        *types.T
	Star     bool
	key      string
	pos      int32 // of the call
}

// AggStrategy is how groups are found.
type AggStrategy uint8

const (
	AggPlain  AggStrategy = iota // one group
	AggHash                      // a hash table
	AggSorted                    // the input comes in group order
)

// Agg groups and aggregates.
type Agg struct {
	NodeBase
	Input Node
	// Group are the grouping expressions; their values land in GroupSlots.
	Group      []Expr
	GroupSlots []Slot
	Aggs       []*AggFunc
	Strategy   AggStrategy
	// Sets are grouping sets over indexes of Group; nil for plain GROUP BY.
	Sets [][]int
	// GroupingSlot receives the index of the set a row belongs to, -1 without Sets.
	GroupingSlot Slot
}

// SortKey is one key of an ordering.
type SortKey struct {
	E          Expr
	Desc       bool
	NullsFirst bool
	// Using is a sort operator other than the type's default order.
	Using *Func
}

// Sort orders rows. With Limit it keeps only the first ones.
type Sort struct {
	NodeBase
	Input Node
	Keys  []SortKey
	Keep  []Slot
	// Limit and Offset are those of the LIMIT above, when it is directly above: top-N.
	Limit, Offset Expr
	// Prefix keys are already in order in the input.
	Prefix int
}

// Limit skips and stops.
type Limit struct {
	NodeBase
	Input         Node
	Count, Offset Expr
	WithTies      bool
	Keys          []SortKey // WithTies
}

// Distinct removes duplicates by Keys. With On the first row of each group is kept, the input being
// sorted by the keys.
type Distinct struct {
	NodeBase
	Input  Node
	Keys   []Expr
	Sorted bool
	Keep   []Slot
}

// SetOpKind is UNION, INTERSECT or EXCEPT.
type SetOpKind uint8

const (
	Union SetOpKind = iota
	Intersect
	Except
)

// SetOp combines two inputs by position into slots of its own.
type SetOp struct {
	NodeBase
	Op                    SetOpKind
	All                   bool
	Left, Right           Node
	LeftExprs, RightExprs []Expr
	Slots                 []Slot
}

// CTE is a common table expression that is materialised: its rows are kept for all its readers.
type CTE struct {
	ID    int
	Name  string
	Query Node
	Out   []Expr
	Refs  int
	// Recursive: Query is the non-recursive term; Step the recursive one, which reads the working table.
	Recursive bool
	UnionAll  bool
	Step      Node
	StepOut   []Expr
	// Writes: a data-modifying CTE, run to its end whether it is read or not.
	Writes bool
	// Materialize: as written, or forced by recursion, volatile functions or writes.
	Materialize bool
	noInline    bool
}

// With makes CTEs available below it.
type With struct {
	NodeBase
	CTEs  []*CTE
	Input Node
}

// CTEScan reads a CTE, or its working table inside the recursive term.
type CTEScan struct {
	NodeBase
	CTE     *CTE
	Slots   []Slot
	Working bool
	Alias   string
}

// ProjectSet expands set-returning functions of a select list.
type ProjectSet struct {
	NodeBase
	Input Node
	Sets  []*SetCall
}

// SetCall is one set-returning call in a ProjectSet. Its columns (one, or a row value made of several) land in Slot.
type SetCall struct {
	Name string
	Call *builtin.Call
	Args []Expr
	Slot Slot
	T    *types.T
}

// Window computes window functions that share one partitioning and ordering. Its input is sorted.
type Window struct {
	NodeBase
	Input     Node
	Partition []Expr
	Order     []SortKey
	Funcs     []*WindowFunc
	Keep      []Slot
}

// WindowFunc is one window function call.
type WindowFunc struct {
	Name   string
	Call   *builtin.Call
	Args   []Expr
	Filter Expr
	Frame  *Frame
	Slot   Slot
	T      *types.T
	IsAgg  bool
}

// LockRows locks the rows of tables that the plan below has produced (SELECT FOR UPDATE).
type LockRows struct {
	NodeBase
	Input   Node
	Targets []*LockTarget
	Keep    []Slot
}

// LockTarget is one table of a LockRows.
type LockTarget struct {
	Scan *Scan
	Mode kv.LockMode
	Wait kv.WaitPolicy
	// PK are the slots of the primary key columns in key order; Cols all columns to refresh.
	PK []Slot
}

func (n *OneRow) inputs(func(*Node))       {}
func (n *OneRow) exprs(func(*Expr))        {}
func (n *OneRow) produces(func(Slot))      {}
func (n *Values) inputs(func(*Node))       {}
func (n *Values) produces(f func(Slot))    { eachSlot(n.Slots, f) }
func (n *Scan) inputs(func(*Node))         {}
func (n *FuncScan) inputs(func(*Node))     {}
func (n *Project) inputs(f func(*Node))    { f(&n.Input) }
func (n *Project) produces(f func(Slot))   { eachSlot(n.Slots, f) }
func (n *Filter) inputs(f func(*Node))     { f(&n.Input) }
func (n *Filter) produces(func(Slot))      {}
func (n *Join) inputs(f func(*Node))       { f(&n.Left); f(&n.Right) }
func (n *Join) produces(func(Slot))        {}
func (n *Agg) inputs(f func(*Node))        { f(&n.Input) }
func (n *Sort) inputs(f func(*Node))       { f(&n.Input) }
func (n *Sort) produces(func(Slot))        {}
func (n *Limit) inputs(f func(*Node))      { f(&n.Input) }
func (n *Limit) produces(func(Slot))       {}
func (n *Distinct) inputs(f func(*Node))   { f(&n.Input) }
func (n *Distinct) produces(func(Slot))    {}
func (n *SetOp) inputs(f func(*Node))      { f(&n.Left); f(&n.Right) }
func (n *SetOp) produces(f func(Slot))     { eachSlot(n.Slots, f) }
func (n *CTEScan) inputs(func(*Node))      {}
func (n *CTEScan) exprs(func(*Expr))       {}
func (n *CTEScan) produces(f func(Slot))   { eachSlot(n.Slots, f) }
func (n *ProjectSet) inputs(f func(*Node)) { f(&n.Input) }
func (n *Window) inputs(f func(*Node))     { f(&n.Input) }
func (n *LockRows) inputs(f func(*Node))   { f(&n.Input) }
func (n *LockRows) exprs(func(*Expr))      {}
func (n *LockRows) produces(func(Slot))    {}

func (n *Values) exprs(f func(*Expr)) {
	for _, r := range n.Rowsets {
		kidSlice(r, f)
	}
}

func (n *Scan) produces(f func(Slot)) {
	for _, c := range n.Cols {
		f(c.Slot)
	}
}

func (n *Scan) exprs(f func(*Expr)) {
	kidSlice(n.Filter, f)
	kidSlice(n.Eq, f)
	kidSlice(n.In, f)
	for i := range n.Lower {
		f(&n.Lower[i].E)
		kidSlice(n.Lower[i].More, f)
	}
	for i := range n.Upper {
		f(&n.Upper[i].E)
		kidSlice(n.Upper[i].More, f)
	}
	if n.LimitHint != nil {
		f(&n.LimitHint)
	}
	if n.Bitmap != nil {
		n.Bitmap.exprs(f)
	}
}

func (n *FuncScan) exprs(f func(*Expr)) {
	for _, it := range n.Funcs {
		kidSlice(it.Args, f)
		if it.Expr != nil {
			f(&it.Expr)
		}
	}
}

func (n *FuncScan) produces(f func(Slot)) {
	for _, it := range n.Funcs {
		eachSlot(it.Slots, f)
	}
	if n.Ordinality >= 0 {
		f(n.Ordinality)
	}
}

func (n *Project) exprs(f func(*Expr)) { kidSlice(n.Exprs, f) }
func (n *Filter) exprs(f func(*Expr))  { kidSlice(n.Conds, f) }

func (n *Join) exprs(f func(*Expr)) {
	kidSlice(n.On, f)
	kidSlice(n.LeftKeys, f)
	kidSlice(n.RightKeys, f)
}

func (n *Agg) exprs(f func(*Expr)) {
	kidSlice(n.Group, f)
	for _, a := range n.Aggs {
		kidSlice(a.Args, f)
		keyExprs(a.Order, f)
		if a.Filter != nil {
			f(&a.Filter)
		}
	}
}

func (n *Agg) produces(f func(Slot)) {
	eachSlot(n.GroupSlots, f)
	for _, a := range n.Aggs {
		f(a.Slot)
	}
	if n.Sets != nil {
		f(n.GroupingSlot)
	}
}

func (n *Sort) exprs(f func(*Expr)) {
	keyExprs(n.Keys, f)
	if n.Limit != nil {
		f(&n.Limit)
	}
	if n.Offset != nil {
		f(&n.Offset)
	}
}

func (n *Limit) exprs(f func(*Expr)) {
	if n.Count != nil {
		f(&n.Count)
	}
	if n.Offset != nil {
		f(&n.Offset)
	}
	keyExprs(n.Keys, f)
}

func (n *Distinct) exprs(f func(*Expr)) { kidSlice(n.Keys, f) }

func (n *SetOp) exprs(f func(*Expr)) {
	kidSlice(n.LeftExprs, f)
	kidSlice(n.RightExprs, f)
}

func (n *With) inputs(f func(*Node)) {
	for _, c := range n.CTEs {
		f(&c.Query)
		if c.Step != nil {
			f(&c.Step)
		}
	}
	f(&n.Input)
}
func (n *With) exprs(f func(*Expr)) {
	for _, c := range n.CTEs {
		kidSlice(c.Out, f)
		kidSlice(c.StepOut, f)
	}
}
func (n *With) produces(func(Slot)) {}

func (n *ProjectSet) exprs(f func(*Expr)) {
	for _, s := range n.Sets {
		kidSlice(s.Args, f)
	}
}
func (n *ProjectSet) produces(f func(Slot)) {
	for _, s := range n.Sets {
		f(s.Slot)
	}
}

func (n *Window) exprs(f func(*Expr)) {
	kidSlice(n.Partition, f)
	keyExprs(n.Order, f)
	for _, w := range n.Funcs {
		kidSlice(w.Args, f)
		if w.Filter != nil {
			f(&w.Filter)
		}
		if w.Frame != nil {
			if w.Frame.StartOffset != nil {
				f(&w.Frame.StartOffset)
			}
			if w.Frame.EndOffset != nil {
				f(&w.Frame.EndOffset)
			}
		}
	}
}
func (n *Window) produces(f func(Slot)) {
	for _, w := range n.Funcs {
		f(w.Slot)
	}
}

func keyExprs(keys []SortKey, f func(*Expr)) {
	for i := range keys {
		f(&keys[i].E)
	}
}

func eachSlot(s []Slot, f func(Slot)) {
	for _, x := range s {
		f(x)
	}
}
