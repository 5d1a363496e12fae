package plan

import "github.com/meridian-db/meridian/sql/types"

// SubqueryRunner executes the subplans of expressions.
type SubqueryRunner interface {
	RunSubquery(c *EvalCtx, s *Subquery) (types.Datum, error)
}

// SubqueryKind is the use of a subquery in an expression.
type SubqueryKind uint8

const (
	SubScalar SubqueryKind = iota
	SubExists
	SubAny
	SubAll
	SubArray
	SubRow // a row of several columns, for UPDATE SET (a, b) = (SELECT ...)
)

// Subquery is a subquery used as a value.
type Subquery struct {
	ID   int // index in the plan's list of subqueries
	Kind SubqueryKind
	Root Node
	// Out are the subquery's columns.
	Out []Expr
	T   *types.T
	// Test op ANY|ALL: Ops[i] compares Test[i] with column i, each over two Holes.
	Test []Expr
	Ops  []*Func
	OpEq bool // the operator is equality: a hashed subplan is possible
	OpNe bool // row comparison by <>: true when any column differs
	Not  bool // NOT IN, NOT EXISTS folded in
	// Free is whether the subquery refers to columns outside itself; without, it runs once.
	Correlated bool
	// FreeSlots of the subquery: the outer columns it depends on.
	Free []Slot
	// Batch answers a correlated subquery that is asked often; nil if there is none.
	Batch     *SubBatch
	Keep      []Slot
	optimized bool
}

func (e *Subquery) Type() *types.T                       { return e.T }
func (e *Subquery) Eval(c *EvalCtx) (types.Datum, error) { return c.Sub.RunSubquery(c, e) }
func (e *Subquery) kids(f func(*Expr))                   { kidSlice(e.Test, f) }
func (e *Subquery) copy() Expr {
	c := *e
	c.Test = append([]Expr(nil), e.Test...)
	return &c
}

// Combine applies the quantified operator to the test values and one row of the subquery.
func (e *Subquery) Combine(c *EvalCtx, test, row []types.Datum) (types.Datum, error) {
	null := false
	for i, op := range e.Ops {
		v, err := op.callWith(c, test[i], row[i])
		if err != nil {
			return types.Null, err
		}
		switch {
		case v.IsNull():
			null = true
		case e.OpNe && v.Bool():
			return types.NewBool(true), nil
		case !e.OpNe && !v.Bool():
			return types.NewBool(false), nil
		}
	}
	if null {
		return types.Null, nil
	}
	return types.NewBool(!e.OpNe || len(e.Ops) == 0), nil
}
