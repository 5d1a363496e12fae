package ast

// Overriding is the OVERRIDING clause of INSERT.
type Overriding uint8

const (
	OverridingNone Overriding = iota
	OverridingUser
	OverridingSystem
)

// InsertStmt is INSERT. Select is nil for DEFAULT VALUES; a VALUES list is a SelectStmt with Values, in
// which DefaultExpr may stand.
type InsertStmt struct {
	With       *WithClause
	Table      *RangeVar // Table.Alias: INSERT INTO t AS alias
	Columns    []*Target // Name and Steps only; nil: all columns
	Overriding Overriding
	Select     *SelectStmt
	OnConflict *OnConflict
	Returning  *Returning
}

// OnConflict is ON CONFLICT.
type OnConflict struct {
	// Target: Constraint, or Elems with Where (index inference), or neither.
	Constraint string
	Elems      []*IndexElem
	IndexWhere Expr
	DoUpdate   bool // otherwise DO NOTHING
	Set        []*Target
	Where      Expr
	Pos
}

// Returning is a RETURNING clause. OldAlias and NewAlias come from RETURNING WITH (OLD AS o, NEW AS n).
type Returning struct {
	OldAlias, NewAlias string
	Targets            []*Target
}

// UpdateStmt is UPDATE.
type UpdateStmt struct {
	With      *WithClause
	Table     *RangeVar
	Set       []*Target // Expr may be DefaultExpr or MultiAssign
	From      []TableRef
	Where     Expr
	Returning *Returning
}

// DeleteStmt is DELETE.
type DeleteStmt struct {
	With      *WithClause
	Table     *RangeVar
	Using     []TableRef
	Where     Expr
	Returning *Returning
}

// MergeStmt is MERGE.
type MergeStmt struct {
	With      *WithClause
	Table     *RangeVar
	Source    TableRef
	On        Expr
	Whens     []*MergeWhen
	Returning *Returning
}

// MergeMatch says for which rows a WHEN clause is.
type MergeMatch uint8

const (
	WhenMatched MergeMatch = iota
	WhenNotMatchedBySource
	WhenNotMatched // by target
)

// MergeCmd is what a WHEN clause does.
type MergeCmd uint8

const (
	MergeDoNothing MergeCmd = iota
	MergeInsert
	MergeUpdate
	MergeDelete
)

// MergeWhen is one WHEN clause of MERGE.
type MergeWhen struct {
	Match      MergeMatch
	Cond       Expr
	Cmd        MergeCmd
	Overriding Overriding
	Targets    []*Target // SET list of MergeUpdate; columns of MergeInsert
	Values     []Expr    // MergeInsert; nil: DEFAULT VALUES
}

// CopyStmt is COPY. FROM and TO are told apart by From; File empty and Program false is STDIN or STDOUT.
type CopyStmt struct {
	Table   *RangeVar // or Query
	Query   Stmt      // COPY (query) TO
	Columns []string
	From    bool
	Program bool
	File    string
	Options []*DefElem
	Where   Expr
}

func (*SelectStmt) stmt() {}
func (*InsertStmt) stmt() {}
func (*UpdateStmt) stmt() {}
func (*DeleteStmt) stmt() {}
func (*MergeStmt) stmt()  {}
func (*CopyStmt) stmt()   {}

func (*SelectStmt) Tag() string { return "SELECT" }
func (*InsertStmt) Tag() string { return "INSERT" }
func (*UpdateStmt) Tag() string { return "UPDATE" }
func (*DeleteStmt) Tag() string { return "DELETE" }
func (*MergeStmt) Tag() string  { return "MERGE" }
func (*CopyStmt) Tag() string   { return "COPY" }
