package ast

// SetOp is the set operation at the top of a SelectStmt.
type SetOp uint8

const (
	SetNone SetOp = iota
	SetUnion
	SetIntersect
	SetExcept
)

// SelectStmt is a SELECT, a VALUES list or a set operation. In a set operation Left and Right are set and
// With, OrderBy, limits and Locking apply to the whole; in VALUES only Values and those are.
type SelectStmt struct {
	With *WithClause

	Distinct      bool
	DistinctOn    []Expr // with Distinct
	Targets       []*Target
	Into          *IntoClause // SELECT INTO
	From          []TableRef
	Where         Expr
	GroupBy       []GroupItem
	GroupDistinct bool // GROUP BY DISTINCT
	Having        Expr
	Windows       []*WindowDef

	Values [][]Expr // VALUES lists

	Op          SetOp
	All         bool
	Left, Right *SelectStmt

	OrderBy  []*SortBy
	Offset   Expr
	Limit    Expr // nil: none; LIMIT ALL and LIMIT NULL are a NULL Const
	WithTies bool
	Locking  []*LockingClause
	Pos
}

// Target is one item of a select list, of RETURNING, or of the SET list of an UPDATE.
type Target struct {
	// Name is the AS label of a select list (empty: none written), or the column assigned to.
	Name string
	// Steps are subscripts and fields after the column assigned to.
	Steps []IndirectionStep
	Expr  Expr
	Pos
}

// GroupItem is an item of GROUP BY: an Expr or a grouping set.
type GroupItem struct {
	Kind GroupingKind
	Expr Expr        // GroupExpr
	Sets []GroupItem // GroupRollup, GroupCube, GroupSets
	Pos
}

// GroupingKind is the kind of a GroupItem.
type GroupingKind uint8

const (
	GroupExpr GroupingKind = iota
	GroupEmpty
	GroupRollup
	GroupCube
	GroupSets
)

// WithClause is the WITH list in front of a statement.
type WithClause struct {
	Recursive bool
	CTEs      []*CTE
	Pos
}

// Materialize is what was said about materialising a CTE.
type Materialize uint8

const (
	MaterializeDefault Materialize = iota
	MaterializeAlways
	MaterializeNever
)

// CTE is one common table expression.
type CTE struct {
	Name        string
	Columns     []string
	Materialize Materialize
	Query       Stmt // SelectStmt, InsertStmt, UpdateStmt, DeleteStmt, MergeStmt
	Search      *CTESearch
	Cycle       *CTECycle
	Pos
}

// CTESearch is SEARCH BREADTH|DEPTH FIRST BY columns SET column.
type CTESearch struct {
	Columns      []string
	BreadthFirst bool
	SeqColumn    string
	Pos
}

// CTECycle is CYCLE columns SET mark [TO value DEFAULT value] USING path.
type CTECycle struct {
	Columns              []string
	MarkColumn           string
	MarkValue, MarkOther Expr
	PathColumn           string
	Pos
}

// IntoClause is the target of SELECT INTO, CREATE TABLE AS and CREATE MATERIALIZED VIEW.
type IntoClause struct {
	Table        *RangeVar
	Columns      []string
	AccessMethod string
	Options      []*DefElem
	OnCommit     OnCommit
	Tablespace   string
	NoData       bool
}

// LockStrength is the strength of a row lock.
type LockStrength uint8

const (
	ForKeyShare LockStrength = iota + 1
	ForShare
	ForNoKeyUpdate
	ForUpdate
)

// LockWait says what happens when a row is locked.
type LockWait uint8

const (
	LockBlock LockWait = iota
	LockSkip
	LockNoWait
)

// LockingClause is FOR UPDATE and its kin.
type LockingClause struct {
	Strength LockStrength
	Tables   []*RangeVar // OF list; empty: all
	Wait     LockWait
}

// WindowDef is a window definition in WINDOW or OVER.
type WindowDef struct {
	Name        string // WINDOW name AS, or OVER name
	Ref         string // the window it refines: OVER (ref ...)
	PartitionBy []Expr
	OrderBy     []*SortBy
	Frame       *Frame // nil: the default frame
	Pos
}

// FrameMode is ROWS, RANGE or GROUPS.
type FrameMode uint8

const (
	FrameRange FrameMode = iota
	FrameRows
	FrameGroups
)

// BoundKind is an end of a frame.
type BoundKind uint8

const (
	UnboundedPreceding BoundKind = iota
	OffsetPreceding
	CurrentRow
	OffsetFollowing
	UnboundedFollowing
)

// FrameExclusion is the EXCLUDE clause.
type FrameExclusion uint8

const (
	ExcludeNoOthers FrameExclusion = iota
	ExcludeCurrentRow
	ExcludeGroup
	ExcludeTies
)

// Frame is the frame clause of a window.
type Frame struct {
	Mode                   FrameMode
	Start, End             BoundKind
	StartOffset, EndOffset Expr
	Exclude                FrameExclusion
}

// JoinKind is the kind of a join.
type JoinKind uint8

const (
	JoinInner JoinKind = iota // also CROSS JOIN: no condition
	JoinLeft
	JoinRight
	JoinFull
)

// JoinRef is a join of two FROM items.
type JoinRef struct {
	Kind        JoinKind
	Natural     bool
	Left, Right TableRef
	Using       []string
	UsingAlias  string // USING (..) AS alias
	On          Expr
	Alias       *Alias // (a JOIN b) AS alias
}

// SubqueryRef is a subquery in FROM.
type SubqueryRef struct {
	Lateral bool
	Select  *SelectStmt
	Alias   *Alias
	Pos
}

// FunctionRef is a function, or ROWS FROM several, in FROM.
type FunctionRef struct {
	Lateral    bool
	Ordinality bool
	RowsFrom   bool
	Funcs      []FunctionItem
	Alias      *Alias
	ColDefs    []*ColumnDef // AS alias(name type, ...)
	Pos
}

// FunctionItem is one function of a FunctionRef.
type FunctionItem struct {
	Func    Expr // FuncCall, SQLValueFunc, CoalesceExpr, ...
	ColDefs []*ColumnDef
}

// TableSample is table TABLESAMPLE method(args) [REPEATABLE (seed)].
type TableSample struct {
	Table      TableRef
	Method     []string
	Args       []Expr
	Repeatable Expr
	Pos
}

// UnsupportedRef is a FROM item without an implementation (XMLTABLE, JSON_TABLE).
type UnsupportedRef struct {
	What string
	Pos
}

func (*RangeVar) tableRef()       {}
func (*JoinRef) tableRef()        {}
func (*SubqueryRef) tableRef()    {}
func (*FunctionRef) tableRef()    {}
func (*TableSample) tableRef()    {}
func (*UnsupportedRef) tableRef() {}
