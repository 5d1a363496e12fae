package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// groupingFunc binds GROUPING(...); its masks are computed when the grouping sets are known.
func (s *scope) groupingFunc(e *ast.GroupingFunc) (Expr, error) {
	if s.noAgg {
		return nil, errAt(e.Off, pgerr.GroupingError, "grouping operations are not allowed in %s", s.clause)
	}
	args, err := s.exprs(e.Args)
	if err != nil {
		return nil, err
	}
	g := &Grouping{args: args, pos: e.Off, st: &groupingState{}}
	s.q.grouping = append(s.q.grouping, g)
	s.q.hasAgg = true
	return g, nil
}

// Grouping is GROUPING(...): a mask for each grouping set, chosen by the set in Slot.
type Grouping struct {
	args []Expr
	pos  int32
	st   *groupingState
}

type groupingState struct {
	slot  Slot
	masks []int64
}

func (e *Grouping) Type() *types.T { return types.Int4 }
func (e *Grouping) Eval(c *EvalCtx) (types.Datum, error) {
	if len(e.st.masks) == 1 {
		return types.NewInt(e.st.masks[0]), nil
	}
	return types.NewInt(e.st.masks[c.Frame[e.st.slot].Int()]), nil
}
func (e *Grouping) kids(func(*Expr)) {}
func (e *Grouping) copy() Expr       { c := *e; return &c }
