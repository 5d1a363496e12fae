package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

func run(ctx context.Context, p *plan.Plan, env *Env, sink func(row []types.Datum) error) (Result, error) {
	return Result{}, pgerr.Unsupported("execution")
}

// Cursor is an open execution.
type Cursor struct{}

// Next returns the next row, nil at the end. The row is valid until the next call.
func (c *Cursor) Next(ctx context.Context) ([]types.Datum, error) { return nil, nil }

// Result returns what was done so far; Rows counts the rows returned or, for a write, changed.
func (c *Cursor) Result() Result { return Result{} }

// Close ends the execution. It may be called twice.
func (c *Cursor) Close() {}

func open(ctx context.Context, p *plan.Plan, env *Env) (*Cursor, error) {
	return nil, pgerr.Unsupported("execution")
}

// Inserter inserts rows that come from outside, in batches.
type Inserter struct{}

// Add inserts one row of values in the types of the plan's ParamTypes. The row may be reused after Add.
func (w *Inserter) Add(ctx context.Context, row []types.Datum) error { return nil }

// Close writes what is left, checks foreign keys and returns the number of rows.
func (w *Inserter) Close(ctx context.Context) (Result, error) { return Result{}, nil }

func newInserter(ctx context.Context, p *plan.Plan, env *Env) (*Inserter, error) {
	return nil, pgerr.Unsupported("COPY")
}
