package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// choosing is the scope of the arguments of CASE or COALESCE.
func (s *scope) choosing(what string) *scope {
	c := *s
	c.chooses = what
	return &c
}

func (s *scope) caseExpr(e *ast.CaseExpr) (Expr, error) {
	s = s.choosing("CASE")
	c := &Case{}
	var test *Col
	if e.Arg != nil {
		a, err := s.expr(e.Arg)
		if err != nil {
			return nil, err
		}
		c.Arg = s.b.settle(a)
		c.ArgSlot = s.b.newSlot()
		test = &Col{Slot: c.ArgSlot, T: c.Arg.Type(), Name: "case", Pos: -1}
		s.b.caseSlots = append(s.b.caseSlots, c.ArgSlot)
	}
	var pos []int32
	for _, w := range e.Whens {
		var cond Expr
		var err error
		if test != nil {
			v, err := s.expr(w.Cond)
			if err != nil {
				return nil, err
			}
			if cond, err = s.b.op("=", test, v, w.Off); err != nil {
				return nil, err
			}
		} else if cond, err = s.condition(w.Cond, "CASE/WHEN"); err != nil {
			return nil, err
		}
		r, err := s.expr(w.Result)
		if err != nil {
			return nil, err
		}
		c.Conds = append(c.Conds, cond)
		c.Results = append(c.Results, r)
		pos = append(pos, w.Result.Position())
	}
	all := c.Results
	// PostgreSQL considers the ELSE result first.
	if e.Else != nil {
		x, err := s.expr(e.Else)
		if err != nil {
			return nil, err
		}
		all = append([]Expr{x}, all...)
		pos = append([]int32{e.Else.Position()}, pos...)
	} else {
		all = slices.Clone(all)
	}
	t, err := s.b.common(all, "CASE", pos)
	if err != nil {
		return nil, err
	}
	if e.Else != nil {
		c.Else, all = all[0], all[1:]
	}
	c.Results, c.T = all, t
	return c, nil
}

func (s *scope) commonArgs(es []ast.Expr, what string) ([]Expr, *types.T, error) {
	args, err := s.exprs(es)
	if err != nil {
		return nil, nil, err
	}
	pos := make([]int32, len(es))
	for i, e := range es {
		pos[i] = e.Position()
	}
	t, err := s.b.common(args, what, pos)
	return args, t, err
}

func (s *scope) nullIf(e *ast.NullIfExpr) (Expr, error) {
	l, r, eq, err := s.eqPair(e.Left, e.Right, e.Off)
	if err != nil {
		return nil, err
	}
	// The result has the type that the comparison reads: NULLIF(1, 2.0) is numeric.
	if l, err = s.b.coerce(l, eq.Call.Args[0], builtin.CastImplicit, e.Left.Position()); err != nil {
		return nil, err
	}
	return &NullIf{Left: l, Right: r, Eq: eq}, nil
}
