package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// Env is what one execution runs in. The caller keeps it unchanged until the execution ends.
type Env struct {
	// Txn is the transaction. Required, except for plans that touch no table.
	Txn kv.Txn
	// Isolation and ReadOnly are those the transaction was begun with: they decide which locks reads ask for.
	Isolation kv.Isolation
	ReadOnly  bool
	// Params are the values of $1, $2, ... in the types of Plan.ParamTypes.
	Params []types.Datum
	// Builtin is the context of function calls. Required.
	Builtin *builtin.Ctx
	// Catalog resolves tables at run time, for foreign keys and system views. Required for writes to tables
	// with foreign keys.
	Catalog plan.Catalog
	// RowID makes unique ids for rows of tables without a primary key. nil takes a generator made of the
	// clock and a random part.
	RowID func() int64
	// Anonymous: rows do not keep who wrote them, as the cluster may have nodes that would lose it.
	Anonymous bool
	// MemLimit bounds the memory in bytes of one execution; past it the statement fails with 53200.
	// 0 takes 256 MiB.
	MemLimit int64
	// Scratch takes what a sort cannot hold within half of the budget; nil keeps everything in memory.
	Scratch Scratch
	// Pool is the memory that this execution shares with others of the node; nil: no bound but MemLimit.
	Pool *MemoryPool
	// Deferred collects the checks of deferrable constraints; nil makes all of them immediate.
	Deferred *Deferred
	// Sequences answers SELECT ... FROM sequence; a SequenceReader or nil.
	Sequences any
	// Triggers runs triggers; nil where tables have none.
	Triggers TriggerRunner
	// Writes tells a statement what functions that it calls have written; nil where no statement runs within another.
	Writes *Writes
	// Tally is told what was read and written; nil: nobody.
	Tally Tally
	// Virtual is handed to the row generators of system views.
	Virtual any
}

// Result is what a statement did.
type Result struct {
	Tag  string // the complete command tag, "INSERT 0 3"
	Verb string // "INSERT 0"
	Rows int64
}

// Run executes a plan to its end. sink gets each result row; the row and what its datums point to are
// valid until sink returns. sink may be nil when the plan has no columns.
func Run(ctx context.Context, p *plan.Plan, env *Env, sink func(row []types.Datum) error) (Result, error) {
	return run(ctx, p, env, sink)
}

// Open starts an execution that is pulled row by row, for portals and cursors. A statement that writes
// does all its writes in the first Next.
func Open(ctx context.Context, p *plan.Plan, env *Env) (*Cursor, error) { return open(ctx, p, env) }

// NewInserter starts the execution of a plan made by plan.PrepareInsert.
func NewInserter(ctx context.Context, p *plan.Plan, env *Env) (*Inserter, error) {
	return newInserter(ctx, p, env)
}
