package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// subLink binds a subquery in an expression.
func (s *scope) subLink(e *ast.SubLink) (Expr, error) { return s.subLinkAs(e, false) }

// subLinkAs is subLink; a scalar subquery may be asked for as a row of all its columns.
func (s *scope) subLinkAs(e *ast.SubLink, row bool) (Expr, error) {
	child := s.child()
	for c := s.ctes; c != nil; c = c.parent {
		if !c.def.working {
			continue
		}
		if r := reference(e.Select, c.name); r != nil {
			return nil, errAt(r.Off, pgerr.InvalidRecursion, "recursive reference to query %q must not appear within a subquery", c.name)
		}
	}
	q, err := child.selectStmt(e.Select)
	if err != nil {
		return nil, err
	}
	b := s.b
	sub := &Subquery{ID: len(b.subqs), Root: q.node}
	for i := range q.cols {
		q.cols[i].expr = b.settle(q.cols[i].expr)
	}
	for _, c := range q.cols {
		sub.Out = append(sub.Out, c.expr)
	}
	switch e.Kind {
	case ast.SubExists:
		sub.Kind, sub.T = SubExists, types.Bool
	case ast.SubScalar:
		if row {
			sub.Kind, sub.T = SubRow, rowType(sub.Out, nil)
			break
		}
		if len(sub.Out) != 1 {
			return nil, errAt(e.Off, pgerr.SyntaxError, "subquery must return only one column")
		}
		sub.Kind, sub.T = SubScalar, sub.Out[0].Type()
	case ast.SubArray:
		if len(sub.Out) != 1 {
			return nil, errAt(e.Off, pgerr.SyntaxError, "subquery must return only one column")
		}
		sub.Kind = SubArray
		if sub.T = types.ArrayOf(sub.Out[0].Type()); sub.T == nil {
			if !sub.Out[0].Type().IsArray() {
				return nil, errAt(e.Off, pgerr.UndefinedObject, "could not find array type for data type %s", types.TypeName(sub.Out[0].Type()))
			}
			sub.T = sub.Out[0].Type()
		}
	default:
		if err := s.quantified(sub, e); err != nil {
			return nil, err
		}
	}
	b.subqs = append(b.subqs, sub)
	sub.ID = len(b.subqs) - 1
	return sub, nil
}

// rowSubquery binds (a, b) op (SELECT x, y).
func (s *scope) rowSubquery(e *ast.OpExpr, l *ast.RowExpr, r *ast.SubLink) (Expr, error) {
	le, err := s.rowArgs(l.Args)
	if err != nil {
		return nil, err
	}
	x, err := s.subLinkAs(r, true)
	if err != nil {
		return nil, err
	}
	sub := x.(*Subquery)
	switch {
	case len(le) < len(sub.Out):
		return nil, errAt(e.Off, pgerr.SyntaxError, "subquery has too many columns")
	case len(le) > len(sub.Out):
		return nil, errAt(e.Off, pgerr.SyntaxError, "subquery has too few columns")
	}
	re := make([]Expr, len(sub.Out))
	for i, o := range sub.Out {
		re[i] = &Field{Arg: sub, N: i, T: o.Type()}
	}
	return s.b.rowOp(e.Op, le, re, e.Off)
}

// quantified binds test op ANY|ALL (subquery).
func (s *scope) quantified(sub *Subquery, e *ast.SubLink) error {
	b := s.b
	sub.T, sub.Kind = types.Bool, SubAny
	if e.Kind == ast.SubAll {
		sub.Kind = SubAll
	}
	op := e.Op
	if op == "" {
		op = "="
	}
	if op == "!=" {
		op = "<>"
	}
	var test []Expr
	var err error
	if r, ok := e.Test.(*ast.RowExpr); ok {
		test, err = s.exprs(r.Args)
	} else {
		var x Expr
		if x, err = s.expr(e.Test); err == nil {
			test = []Expr{x}
			// A single row-valued test against several columns.
			if r, ok := x.(*Row); ok && len(sub.Out) > 1 {
				test = r.Elems
			}
		}
	}
	if err != nil {
		return err
	}
	switch {
	case len(test) < len(sub.Out):
		return errAt(e.Off, pgerr.SyntaxError, "subquery has too many columns")
	case len(test) > len(sub.Out):
		return errAt(e.Off, pgerr.SyntaxError, "subquery has too few columns")
	}
	sub.OpEq, sub.OpNe = op == "=", op == "<>" && len(test) > 1
	if len(test) > 1 && op != "=" && op != "<>" {
		return errAt(e.Off, pgerr.FeatureNotSupported, "row comparison with ANY/ALL by %s is not supported", op)
	}
	for i := range test {
		if isUnknown(test[i]) {
			if test[i], err = b.coerce(test[i], bareType(sub.Out[i].Type()), builtin.CastImplicit, e.Off); err != nil {
				return err
			}
		}
		f, err := b.holeOp(op, test[i].Type(), sub.Out[i].Type(), e.Off)
		if err != nil {
			return err
		}
		if f.T.OID != types.OIDBool {
			return errAt(e.Off, pgerr.DatatypeMismatch, "op ANY/ALL must yield boolean")
		}
		sub.OpEq = sub.OpEq && f.Cmp() == builtin.CmpEQ
		sub.Ops = append(sub.Ops, f)
	}
	sub.Test = test
	return nil
}
