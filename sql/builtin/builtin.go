package builtin

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/meridian-db/meridian/sql/types"
)

// EvalFunc computes a value. args have the types of Call.Args and must not be kept or changed. When
// Call.Strict is set the caller answers NULL itself for a NULL argument and never calls.
type EvalFunc func(ctx *Ctx, args []types.Datum) (types.Datum, error)

// Ctx is what evaluation may see beyond its arguments. One goroutine uses a Ctx at a time.
type Ctx struct {
	Context  context.Context
	Settings *types.Settings // nil means types.DefaultSettings
	// TxnTime and StmtTime are now() and statement_timestamp() in microseconds since 2000-01-01 UTC.
	TxnTime, StmtTime int64
	// Clock is clock_timestamp(); nil freezes it at StmtTime.
	Clock func() time.Time
	// Rand serves random(); setseed replaces it. nil makes one on first use.
	Rand *rand.Rand
	// Session answers who and where; nil gives fixed values fit for tests.
	Session Session
	// Hook supplies functions that need the catalog, sequences or the server: it is asked for a function
	// by its pg_proc name and argument types whenever this package has no implementation of its own, and
	// for the few named in docs that it overrides. nil or a nil result makes the call fail with 0A000.
	Hook func(fn *Func) EvalFunc
	// Routine runs a users' function (Func.User) and returns its rows: one for a function that returns no set,
	// none for a NULL record.
	Routine func(call *Call, args []types.Datum) ([][]types.Datum, error)
	// CurrentOf gives a column of the primary key of the row of a table on which a cursor stands; nil: there are none.
	CurrentOf func(cursor string, table uint32, tableName string, key int) (types.Datum, error)
	// Query runs a statement that changes nothing, with the rights of the user; nil: it cannot be done.
	Query func(text string, emit func(ts []*types.T, row []types.Datum) error) error
	// Notice receives NOTICE and WARNING messages; may be nil.
	Notice func(severity, code, message string)

	args []types.Datum // stack of arguments lent to casts
}

// Session is what the system information functions ask.
type Session interface {
	CurrentUser() string
	SessionUser() string
	Database() string
	CurrentSchemas(implicit bool) []string // of search_path, existing ones only
	BackendPID() int32
	ServerVersion() string // as version() prints it
	Setting(name string) (string, bool)
	SetSetting(name, value string, local bool) (string, error)
	TxnID(assign bool) (uint64, bool)
	ListeningChannels() []string
}

// Func is one pg_proc row.
type Func struct {
	OID        types.OID
	Name       string
	Schema     string // "meridian"; empty: pg_catalog, or information_schema for those that begin with _pg_
	Kind       byte   // 'f' function, 'a' aggregate, 'w' window function
	Args       []types.OID
	Ret        types.OID
	RetSet     bool
	Variadic   types.OID // element type of a trailing VARIADIC parameter, 0 if none
	Volatility byte      // 'i', 's', 'v'
	Strict     bool
	Src        string   // prosrc: the name under which it is implemented
	ArgNames   []string // names of all parameters, OUT ones included, nil if unnamed
	AllArgs    []types.OID
	ArgModes   string   // one of i, o, b, v, t for each of AllArgs; "" if all are i
	Defaults   []string // of the last parameters, as SQL literals
	Agg        *AggInfo // for aggregates
	// User is set for functions that users made: Ctx.Routine runs them. Types are those of Args, and RetType that
	// of Ret, which may be user-defined too; AllTypes those of AllArgs.
	// A constructor of a user-defined range type has the types but no User, and so has a function of an extension, which
	// has Native.
	Native   *Native
	User     any
	Types    []*types.T
	RetType  *types.T
	AllTypes []*types.T
	// Accumulate makes what a call of a users' aggregate needs. state is its transition type for the call, args are the types
	// of the arguments that Accumulator.Add gets.
	Accumulate func(state *types.T, args []*types.T) (func() Accumulator, error)
	// StateType is the declared transition type of a users' aggregate.
	StateType types.OID
}

// Native is the Go side of an extension's function: Rows of one that returns a set, Eval of others. Strict functions are
// not called with a NULL.
type Native struct {
	Eval EvalFunc
	Rows func(ctx *Ctx, args []types.Datum) (RowIter, error)
}

// AggInfo is the part of a pg_aggregate row that callers need.
type AggInfo struct {
	Kind      byte // 'n' normal, 'o' ordered-set, 'h' hypothetical-set
	NumDirect int
	SortOp    types.OID
}

// CmpOp says that an operator is an ordinary comparison in the default order of its type, so that an index
// can serve it and types.Compare decides it.
type CmpOp uint8

const (
	CmpNone CmpOp = iota
	CmpEQ
	CmpNE
	CmpLT
	CmpLE
	CmpGT
	CmpGE
)

// Call is a function or operator chosen for concrete argument types.
type Call struct {
	Func *Func
	// Args are the types the supplied arguments must be coerced to (implicitly), in the order supplied. An
	// argument whose type is already binary coercible needs nothing.
	Args []*types.T
	Ret  *types.T
	// Eval is nil for aggregates, window functions and set-returning functions.
	Eval       EvalFunc
	Strict     bool
	Volatility byte
	RetSet     bool
	// NewAcc makes the state of one group of an aggregate.
	NewAcc func() Accumulator
	// Window is set for window functions; an aggregate used as one goes through NewAcc.
	Window func(ctx *Ctx, w Window) (types.Datum, error)
	// Rows is set for set-returning functions.
	Rows func(ctx *Ctx, args []types.Datum) (RowIter, error)
	// Columns are the result columns of a function with OUT parameters or a record result; nil for a
	// scalar result.
	Columns []types.Field
	// Op is set for operators.
	Op  *Operator
	Cmp CmpOp
	// Order, Missing and Gathered are set for users' functions: with named arguments the parameter of each
	// argument supplied; the trailing parameters that take their defaults; whether the last arguments make up the
	// VARIADIC array. The binder completes the arguments.
	Order    []int
	Missing  int
	Gathered int
	// VariadicCall says that the call wrote VARIADIC before its last argument.
	VariadicCall bool
}

// Operator is one pg_operator row.
type Operator struct {
	OID                 types.OID
	Name                string
	Left, Right, Ret    types.OID // Left 0 for a prefix operator
	Commutator, Negator types.OID
	Proc                types.OID
	Merges, Hashes      bool
	Cmp                 CmpOp
}

// Accumulator is the state of an aggregate over one group. Add gets the aggregate's arguments, strictness
// is its own affair. For ordered-set aggregates Add gets the direct arguments followed by the sorted ones,
// called in sort order. Result may be called many times, between Adds too (window frames).
type Accumulator interface {
	Add(ctx *Ctx, args []types.Datum) error
	Result(ctx *Ctx) (types.Datum, error)
}

// Ordering is one key of the order in which an ordered-set aggregate gets its rows.
type Ordering struct {
	Type             *types.T
	Desc, NullsFirst bool
}

// Orderer is an Accumulator that must know that order. SetOrder comes before the first Add.
type Orderer interface {
	Accumulator
	SetOrder(keys []Ordering)
}

// Merger is an Accumulator whose states can be combined: other has the same dynamic type and is not used
// afterwards.
type Merger interface {
	Accumulator
	Merge(ctx *Ctx, other Accumulator) error
}

// Inverter is an Accumulator that can take back a value added earlier, for moving window frames.
type Inverter interface {
	Accumulator
	Remove(ctx *Ctx, args []types.Datum) error
}

// RowIter produces the rows of a set-returning function. The row is valid until the next call.
type RowIter interface {
	Next() (row []types.Datum, ok bool, err error)
}

// Window is a window function's view of its partition. Rows are numbered from 0 in partition order.
type Window interface {
	Len() int
	Row() int
	// Arg evaluates argument i at a row of the partition.
	Arg(row, i int) (types.Datum, error)
	// Peers returns the range [start,end) of the rows that are peers of row.
	Peers(row int) (start, end int)
	// Frame returns the range [start,end) of the current row's frame, and Excluded whether an EXCLUDE
	// clause removes one of its rows.
	Frame() (start, end int)
	Excluded(row int) bool
	// State is a slot that lives as long as the partition.
	State() *any
}

// CastContext is where a cast stands, PostgreSQL's CoercionContext.
type CastContext uint8

const (
	CastImplicit CastContext = iota
	CastAssignment
	CastExplicit
)

// Cast converts one type to another, modifier of the target included. NoOp says that the datum is already
// right. NULL stays NULL: Eval is not called for it.
type Cast struct {
	From, To   *types.T
	NoOp       bool
	Volatility byte
	eval       EvalFunc
}

// Eval converts d, which must not be NULL.
func (c *Cast) Eval(ctx *Ctx, d types.Datum) (types.Datum, error) {
	if c.NoOp {
		return d, nil
	}
	if ctx == nil {
		return c.eval(ctx, []types.Datum{d})
	}
	// Evaluators take slices, which escape: the context lends one per level of nesting.
	n := len(ctx.args)
	ctx.args = append(ctx.args, d)
	r, err := c.eval(ctx, ctx.args[n:n+1:n+1])
	ctx.args = ctx.args[:n]
	return r, err
}

// IsAggregate reports whether a built-in aggregate has that name.
func IsAggregate(name string) bool {
	for _, f := range FuncsNamed(name) {
		if f.Kind == 'a' {
			return true
		}
	}
	return false
}

// WithColumns rebinds a function that returns record after the caller has set c.Columns from a column
// definition list. Any other call comes back as it is.
func WithColumns(c *Call) (*Call, error) {
	im := findImpl(c.Func)
	if im == nil || im.rowsOf == nil || c.Func.Ret != types.OIDRecord || len(c.Columns) == 0 {
		if c.Func.Ret == types.OIDRecord && !c.RetSet && im != nil && im.bind != nil && len(c.Columns) > 0 {
			n := *c
			var err error
			n.Eval, err = im.bind(&n)
			return &n, err
		}
		return c, nil
	}
	n := *c
	var err error
	n.Rows, err = im.rowsOf(&n)
	return &n, err
}

// FuncRequest is a function call to be resolved.
type FuncRequest struct {
	Name     string
	Shown    string     // the name in errors, if it was written with a schema
	Args     []*types.T // types.Unknown for untyped literals and parameters
	ArgNames []string   // "" for positional ones; nil when all are
	Variadic bool       // the call said VARIADIC before its last argument
	Casts    CastSource // of users; nil: there are none
	Whole    bool       // every parameter has its argument: none is gathered or left to its default
	// Users are the functions of that name that users made and the search path finds; OnlyUsers leaves out the
	// built-in ones, for a name with a schema.
	Users     []*Func
	OnlyUsers bool
	// Ahead is how many of Users stand before pg_catalog on the search path: they hide built-in functions with the same
	// parameters, and are hidden by them otherwise.
	Ahead int
}
