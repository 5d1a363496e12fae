package ast

// ConstKind is the kind of a literal.
type ConstKind uint8

const (
	ConstNull      ConstKind = iota
	ConstInt                 // fits int4: Int
	ConstBigInt              // fits int8 but not int4: Int
	ConstNumeric             // any other number: Str as written
	ConstString              // a quoted string of type unknown: Str
	ConstBitString           // B'01' or X'1F': Str with a leading b or x
	ConstBool                // Bool
)

// Const is a literal. An integer's sign is a prefix operator, except that the grammar folds the sign into
// numbers, as PostgreSQL's does.
type Const struct {
	Kind ConstKind
	Bool bool
	Int  int64
	Str  string
	Pos
}

// Param is $n. Parameters that parser.Parameterize made from literals carry the literal's kind.
type Param struct {
	Number int
	// Literal is ConstNull for a parameter the client wrote, otherwise the kind of the literal it
	// stands for: the type is then int4, int8 or numeric, and for ConstString as undecided as an
	// unknown literal's.
	Literal ConstKind
	Pos
}

// ColumnRef is a possibly qualified column name, or name.* / * when Star.
type ColumnRef struct {
	Fields []string // without the star
	Star   bool
	Pos
}

// OpExpr applies an operator. Left is nil for a prefix operator.
type OpExpr struct {
	Schema      string // OPERATOR(schema.op), usually empty
	Op          string
	Left, Right Expr
	Pos
}

// AnyAllExpr is left op ANY|ALL (array). The form with a subquery is a SubLink.
type AnyAllExpr struct {
	Schema      string
	Op          string
	All         bool
	Left, Right Expr
	Pos
}

// DistinctExpr is left IS [NOT] DISTINCT FROM right.
type DistinctExpr struct {
	Not         bool
	Left, Right Expr
	Pos
}

// NullIfExpr is NULLIF(left, right).
type NullIfExpr struct {
	Left, Right Expr
	Pos
}

// InExpr is left [NOT] IN (list). The form with a subquery is a SubLink of type SubAny.
type InExpr struct {
	Not  bool
	Left Expr
	List []Expr
	Pos
}

// LikeKind says which pattern language a LikeExpr uses.
type LikeKind uint8

const (
	Like LikeKind = iota
	ILike
	SimilarTo
)

// LikeExpr is left [NOT] LIKE|ILIKE|SIMILAR TO pattern [ESCAPE escape].
type LikeExpr struct {
	Kind    LikeKind
	Not     bool
	Left    Expr
	Pattern Expr
	Escape  Expr // nil if not written
	Pos
}

// BetweenExpr is arg [NOT] BETWEEN [SYMMETRIC] low AND high.
type BetweenExpr struct {
	Not, Symmetric bool
	Arg, Low, High Expr
	Pos
}

// BoolOp is AND, OR or NOT.
type BoolOp uint8

const (
	And BoolOp = iota
	Or
	Not
)

// BoolExpr is a conjunction, a disjunction (two or more arguments, flattened) or a negation (one).
type BoolExpr struct {
	Op   BoolOp
	Args []Expr
	Pos
}

// FuncCall calls a function, aggregate or window function.
type FuncCall struct {
	Name        []string
	Args        []Expr // may end in or contain NamedArg
	Star        bool   // count(*)
	Distinct    bool
	Variadic    bool // VARIADIC before the last argument
	WithinGroup bool // OrderBy came from WITHIN GROUP
	OrderBy     []*SortBy
	Filter      Expr
	Over        *WindowDef
	// SQLSyntax is set when the call was written in SQL's special syntax (EXTRACT(.. FROM ..),
	// SUBSTRING(.. FROM ..), x AT TIME ZONE y): Name is then the pg_catalog function behind it.
	SQLSyntax bool
	Pos
}

// NamedArg is name => value in a function call.
type NamedArg struct {
	Name string
	Arg  Expr
	Pos
}

// SQLValueOp names one of SQL's parameterless functions.
type SQLValueOp uint8

const (
	CurrentDate SQLValueOp = iota
	CurrentTime
	CurrentTimestamp
	LocalTime
	LocalTimestamp
	CurrentRole
	CurrentUser
	User
	SessionUser
	CurrentCatalog
	CurrentSchema
)

// SQLValueFunc is CURRENT_DATE and its kin. Precision is -1 if not written.
type SQLValueFunc struct {
	Op        SQLValueOp
	Precision int32
	Pos
}

// CoalesceExpr is COALESCE(args).
type CoalesceExpr struct {
	Args []Expr
	Pos
}

// MinMaxExpr is GREATEST(args) or LEAST(args).
type MinMaxExpr struct {
	Least bool
	Args  []Expr
	Pos
}

// CaseExpr is CASE [arg] WHEN ... END.
type CaseExpr struct {
	Arg   Expr // nil for the searched form
	Whens []*CaseWhen
	Else  Expr // nil if not written
	Pos
}

// CaseWhen is one arm of a CaseExpr.
type CaseWhen struct {
	Cond, Result Expr
	Pos
}

// SubLinkKind is the use of a subquery in an expression.
type SubLinkKind uint8

const (
	SubExists SubLinkKind = iota // EXISTS (select)
	SubAny                       // test op ANY (select); IN is op "=" with Op empty
	SubAll                       // test op ALL (select)
	SubScalar                    // (select)
	SubArray                     // ARRAY(select)
)

// SubLink is a subquery in an expression.
type SubLink struct {
	Kind   SubLinkKind
	Test   Expr   // SubAny, SubAll: the left side, maybe a RowExpr
	Schema string // of Op
	Op     string // SubAny, SubAll; empty in SubAny for test IN (select)
	Select *SelectStmt
	Pos
}

// RowExpr is ROW(args), or (a, b) when not Explicit.
type RowExpr struct {
	Explicit bool
	Args     []Expr
	Pos
}

// ArrayExpr is ARRAY[elems].
type ArrayExpr struct {
	Elems []Expr
	Pos
}

// Indirection is arg followed by field selections and subscripts.
type Indirection struct {
	Arg   Expr
	Steps []IndirectionStep
	Pos
}

// IndirectionKind is the kind of one step.
type IndirectionKind uint8

const (
	FieldStep IndirectionKind = iota // .name
	StarStep                         // .*
	IndexStep                        // [upper]
	SliceStep                        // [lower:upper], each may be nil
)

// IndirectionStep is one .name, .* or [..].
type IndirectionStep struct {
	Kind         IndirectionKind
	Name         string
	Lower, Upper Expr
}

// TypeCast is CAST(arg AS type), arg::type or type 'literal'.
type TypeCast struct {
	Arg  Expr
	Type *TypeName
	Pos
}

// CollateExpr is arg COLLATE name.
type CollateExpr struct {
	Arg  Expr
	Name []string
	Pos
}

// NullTest is arg IS [NOT] NULL.
type NullTest struct {
	Arg Expr
	Not bool
	Pos
}

// BoolTestKind is the test of a BooleanTest.
type BoolTestKind uint8

const (
	IsTrue BoolTestKind = iota
	IsNotTrue
	IsFalse
	IsNotFalse
	IsUnknown
	IsNotUnknown
)

// BooleanTest is arg IS [NOT] TRUE|FALSE|UNKNOWN.
type BooleanTest struct {
	Kind BoolTestKind
	Arg  Expr
	Pos
}

// GroupingFunc is GROUPING(args).
type GroupingFunc struct {
	Args []Expr
	Pos
}

// DefaultExpr is the word DEFAULT in VALUES or SET.
type DefaultExpr struct{ Pos }

// MultiAssign is column number Column (from 1) of the row that Source yields, in
// UPDATE ... SET (a, b) = source. The columns of one assignment share Source.
type MultiAssign struct {
	Column, NumColumns int
	Source             Expr // a SubLink of kind SubScalar, a RowExpr, or anything of row type
	Pos
}

// CurrentOf is WHERE CURRENT OF cursor.
type CurrentOf struct {
	Cursor string
	Param  int // $n instead of a name, 0 if none
	Pos
}

// MergeActionFunc is merge_action() in MERGE ... RETURNING.
type MergeActionFunc struct{ Pos }

// Unsupported is a construct without an implementation: XML functions, SQL/JSON functions and the like.
// What is its name for the error message.
type Unsupported struct {
	What string
	Pos
}

// SortDir is the direction of a sort key.
type SortDir uint8

const (
	SortDefault SortDir = iota
	SortAsc
	SortDesc
	SortUsing
)

// NullsOrder says where NULLs sort.
type NullsOrder uint8

const (
	NullsDefault NullsOrder = iota // last for ascending, first for descending
	NullsFirst
	NullsLast
)

// SortBy is one key of ORDER BY.
type SortBy struct {
	Expr  Expr
	Dir   SortDir
	Nulls NullsOrder
	Using []string // SortUsing: the operator
	Pos
}

func (*Const) expr()           {}
func (*Param) expr()           {}
func (*ColumnRef) expr()       {}
func (*OpExpr) expr()          {}
func (*AnyAllExpr) expr()      {}
func (*DistinctExpr) expr()    {}
func (*NullIfExpr) expr()      {}
func (*InExpr) expr()          {}
func (*LikeExpr) expr()        {}
func (*BetweenExpr) expr()     {}
func (*BoolExpr) expr()        {}
func (*FuncCall) expr()        {}
func (*NamedArg) expr()        {}
func (*SQLValueFunc) expr()    {}
func (*CoalesceExpr) expr()    {}
func (*MinMaxExpr) expr()      {}
func (*CaseExpr) expr()        {}
func (*SubLink) expr()         {}
func (*RowExpr) expr()         {}
func (*ArrayExpr) expr()       {}
func (*Indirection) expr()     {}
func (*TypeCast) expr()        {}
func (*CollateExpr) expr()     {}
func (*NullTest) expr()        {}
func (*BooleanTest) expr()     {}
func (*GroupingFunc) expr()    {}
func (*DefaultExpr) expr()     {}
func (*MultiAssign) expr()     {}
func (*CurrentOf) expr()       {}
func (*MergeActionFunc) expr() {}
func (*Unsupported) expr()     {}
