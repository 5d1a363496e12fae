package plan

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// Env is what a statement is prepared against.
type Env struct {
	// Catalog resolves names. Required. FromSnapshot makes one of a catalog snapshot.
	Catalog Catalog
	// SearchPath are the schemas searched for unqualified names, pg_catalog included where it stands.
	SearchPath []string
	// ParamTypes are the types declared for $1, $2, ...; nil or types.Unknown means to be inferred.
	ParamTypes []*types.T
	// NumParams is the number of parameters of the statement when known (ast.Statement.NumParams).
	NumParams int
	// Builtin folds constant expressions; nil keeps them for run time. Only its settings are used.
	Builtin *builtin.Ctx
	// WorkMem is the memory in bytes the optimiser reckons with for hashing; 0 takes 64 MiB.
	WorkMem int64
	// ParamValues, if set, gives values for parameters of the types that were found, for estimates only: nil when
	// they are not known.
	ParamValues func(ts []*types.T) []types.Datum
	// Internal allows writes to materialized views: CREATE and REFRESH fill them by INSERT.
	Internal bool
	// Anonymous: rows do not tell yet who wrote them, so nothing may depend on xmin.
	Anonymous bool
	// Variables are names that stand for parameters, in the statements of functions. nil: none.
	Variables Variables
	// RemoteRows is how many entries a scan reads, by estimate, above which it runs its conditions and aggregates
	// beside the data; 0 takes 1000, negative never does.
	RemoteRows float64
	// Relations are relations that statements see beside those of the catalog, and first: transition tables.
	Relations map[string]*Table
	// Security says whose policies apply; the zero value none.
	Security Security
	// MaxDepth bounds the nesting of expressions and queries; 0 takes 6000.
	MaxDepth int
}

// Catalog resolves the names in a statement. Tables are immutable and stay valid with the catalog's
// version; asking twice for one table returns the same pointer.
type Catalog interface {
	// Table finds a relation. schema may be empty: then the path is searched. A nil table means there is
	// none.
	Table(path []string, schema, name string) (*Table, error)
	// TableByID finds a relation by its id, nil if there is none.
	TableByID(id uint32) (*Table, error)
	// Type resolves a type name; it knows user-defined types. Errors are *pgerr.Error (42704).
	Type(path []string, name *ast.TypeName) (*types.T, error)
}

// Column describes one column of a statement's result.
type Column struct {
	Name     string
	Type     *types.T
	TableOID uint32 // the table the column comes from, 0 for an expression
	AttNum   int16  // of the column in that table
}

// Plan is a prepared statement. It is immutable and may be executed by many goroutines at once.
type Plan struct {
	// Columns of the result; empty for a statement that returns no rows.
	Columns []Column
	// ParamTypes are the types of $1, $2, ..., all decided.
	ParamTypes []*types.T
	// Verb is the command tag without the count: SELECT, INSERT 0, UPDATE, DELETE, MERGE, EXPLAIN.
	Verb string
	// ReadOnly says that the statement neither writes nor locks rows nor calls functions that write
	// (nextval): it may run in a read-only transaction.
	ReadOnly bool
	// Calls says that ReadOnly is false only because of functions that themselves refuse to write in a read-only transaction.
	Calls bool
	// Volatile says that it calls a volatile function.
	Volatile bool
	// Mutable says that some function or cast in it is not immutable. Literals count as the values that they are.
	Mutable bool
	// Tables are the ids of the relations the plan depends on.
	Tables []uint32
	// Needs are the privileges that it takes.
	Needs []Need
	// Secure is set when the plan depends on who runs it: it has been made for this one, and serves no other.
	Secure *Security
	// PointKey says that the statement touches at most one row, by its full primary key.
	PointKey bool

	// The rest is for package exec.

	Root     Node
	NumSlots int
	// Output are the result columns, over the slots that Root fills.
	Output []Expr
	// Subqueries of all expressions, by Subquery.ID.
	Subqueries []*Subquery
	NumCTEs    int
	Explain    *ExplainOptions // set for EXPLAIN: Root is the explained statement's
	Fast       *FastPath       // set when the statement takes the short path
	NumNodes   int
}

// ExplainOptions are the options of EXPLAIN.
type ExplainOptions struct {
	Analyze, Verbose, Costs, Timing, Buffers, Summary bool
	JSON                                              bool
	// Inner is the explained statement's plan, and Planning the time it took to make.
	Inner    *Plan
	Planning time.Duration
}

// Prepare binds and optimises a statement: SELECT, VALUES, INSERT, UPDATE, DELETE, MERGE or EXPLAIN of one
// of them. Errors are *pgerr.Error with SQLSTATE and, as Position, one plus the byte offset in the text.
func Prepare(ctx context.Context, stmt ast.Stmt, env Env) (*Plan, error) {
	return prepare(ctx, stmt, env)
}

// PrepareInsert plans the insertion of rows that come from outside (COPY FROM): columns names the columns
// given, nil for all. exec.NewInserter runs it; Plan.ParamTypes are the types of the values of a row.
func PrepareInsert(ctx context.Context, table *ast.RangeVar, columns []string, env Env) (*Plan, error) {
	return prepareInsert(ctx, table, columns, nil, env)
}

// PrepareCopyFrom is PrepareInsert with COPY FROM's WHERE condition: Inserter.Add leaves out rows for which
// it does not hold.
func PrepareCopyFrom(ctx context.Context, table *ast.RangeVar, columns []string, where ast.Expr, env Env) (*Plan, error) {
	return prepareInsert(ctx, table, columns, where, env)
}
