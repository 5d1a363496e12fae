package pgcatalog

import (
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// binary prints a binary operator over operands brought to the types it takes.
func (r *rulePrinter) binary(op string, a, b printed) (printed, error) {
	call, err := r.operator("", op, a.typeOf(), b.typeOf())
	if err != nil {
		return printed{}, err
	}
	if a, err = r.typed(a, call.Args[0]); err != nil {
		return printed{}, err
	}
	if b, err = r.typed(b, call.Args[1]); err != nil {
		return printed{}, err
	}
	if op == "!=" {
		op = "<>"
	}
	return printed{text: r.paren(r.operand(a, op, true) + " " + op + " " + r.operand(b, op, false)), t: call.Ret, shape: shapeOp, op: op}, nil
}

// boolean joins conditions; AND binds tighter than OR.
func (r *rulePrinter) boolean(and bool, ps []printed) printed {
	word, s := " OR ", shapeOr
	if and {
		word, s = " AND ", shapeAnd
	}
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = p.text
		if r.pretty && p.shape == shapeOr && (and || s == shapeOr) {
			parts[i] = "(" + p.text + ")"
		}
	}
	return printed{text: r.paren(strings.Join(parts, word)), t: types.Bool, shape: s}
}

func (r *rulePrinter) opExpr(e *ast.OpExpr) (printed, error) {
	if e.Left == nil {
		// A sign before a number is part of it.
		if c, ok := e.Right.(*ast.Const); ok && e.Op == "-" && (c.Kind == ast.ConstInt || c.Kind == ast.ConstBigInt) {
			t := types.Int4
			if c.Kind == ast.ConstBigInt {
				t = types.Int8
			}
			return r.constant(strconv.FormatInt(-c.Int, 10), t), nil
		}
		p, err := r.expr(e.Right)
		if err != nil {
			return printed{}, err
		}
		call, err := r.operator(e.Schema, e.Op, nil, p.typeOf())
		if err != nil {
			return printed{}, err
		}
		if p, err = r.typed(p, call.Args[0]); err != nil {
			return printed{}, err
		}
		return printed{text: r.paren(e.Op + " " + r.wrap(p)), t: call.Ret, shape: shapeOp}, nil
	}
	if l, ok := e.Left.(*ast.RowExpr); ok {
		return r.rowCompare(e, l)
	}
	a, err := r.expr(e.Left)
	if err != nil {
		return printed{}, err
	}
	b, err := r.expr(e.Right)
	if err != nil {
		return printed{}, err
	}
	return r.binary(e.Op, a, b)
}

// rowCompare prints (a, b) op (c, d): equality is that of the parts, an order keeps the rows.
func (r *rulePrinter) rowCompare(e *ast.OpExpr, l *ast.RowExpr) (printed, error) {
	right, ok := e.Right.(*ast.RowExpr)
	if !ok || len(right.Args) != len(l.Args) {
		return printed{}, errNotPrinted
	}
	var pairs, as, bs []printed
	for i := range l.Args {
		ps, err := r.all([]ast.Expr{l.Args[i], right.Args[i]})
		if err != nil {
			return printed{}, err
		}
		p, err := r.binary(e.Op, ps[0], ps[1])
		if err != nil {
			return printed{}, err
		}
		pairs = append(pairs, p)
		call, err := r.operator(e.Schema, e.Op, ps[0].typeOf(), ps[1].typeOf())
		if err != nil {
			return printed{}, err
		}
		for k := range ps {
			if ps[k], err = r.typed(ps[k], call.Args[k]); err != nil {
				return printed{}, err
			}
		}
		as, bs = append(as, ps[0]), append(bs, ps[1])
	}
	switch e.Op {
	case "=":
		return r.boolean(true, pairs), nil
	case "<>", "!=":
		return r.boolean(false, pairs), nil
	}
	return printed{text: "(ROW(" + texts(as) + ") " + e.Op + " ROW(" + texts(bs) + "))", t: types.Bool}, nil
}

func (r *rulePrinter) anyAll(e *ast.AnyAllExpr) (printed, error) {
	ps, err := r.all([]ast.Expr{e.Left, e.Right})
	if err != nil {
		return printed{}, err
	}
	return r.scalarArray(e.Op, e.All, ps[0], ps[1])
}

func (r *rulePrinter) scalarArray(op string, all bool, left, array printed) (printed, error) {
	call, t, err := builtin.ResolveScalarArrayIn(r.request("", op, left.typeOf(), array.typeOf()))
	if err != nil {
		return printed{}, err
	}
	if left, err = r.typed(left, call.Args[0]); err != nil {
		return printed{}, err
	}
	if array, err = r.typed(array, t); err != nil {
		return printed{}, err
	}
	word := " ANY ("
	if all {
		word = " ALL ("
	}
	if op == "!=" {
		op = "<>"
	}
	return printed{text: r.paren(r.wrap(left) + " " + op + word + array.text + ")"), t: types.Bool, shape: shapeTest}, nil
}

func (r *rulePrinter) in(e *ast.InExpr) (printed, error) {
	left, err := r.expr(e.Left)
	if err != nil {
		return printed{}, err
	}
	list, err := r.all(e.List)
	if err != nil {
		return printed{}, err
	}
	op := "="
	if e.Not {
		op = "<>"
	}
	if len(list) == 1 {
		return r.binary(op, left, list[0])
	}
	ts := []*types.T{left.typeOf()}
	for _, p := range list {
		ts = append(ts, p.typeOf())
	}
	t, err := builtin.CommonType(ts, "IN")
	if err != nil {
		return printed{}, err
	}
	array := types.ArrayOf(t)
	if array == nil {
		return printed{}, errNotPrinted
	}
	for i := range list {
		if list[i], err = r.typed(list[i], bareOf(t)); err != nil {
			return printed{}, err
		}
	}
	return r.scalarArray(op, e.Not, left, printed{text: "ARRAY[" + texts(list) + "]", t: array})
}

func (r *rulePrinter) between(e *ast.BetweenExpr) (printed, error) {
	ps, err := r.all([]ast.Expr{e.Arg, e.Low, e.High})
	if err != nil {
		return printed{}, err
	}
	within := func(low, high printed) (printed, error) {
		lowOp, highOp := ">=", "<="
		if e.Not {
			lowOp, highOp = "<", ">"
		}
		a, err := r.binary(lowOp, ps[0], low)
		if err != nil {
			return printed{}, err
		}
		b, err := r.binary(highOp, ps[0], high)
		if err != nil {
			return printed{}, err
		}
		return r.boolean(!e.Not, []printed{a, b}), nil
	}
	p, err := within(ps[1], ps[2])
	if err != nil || !e.Symmetric {
		return p, err
	}
	q, err := within(ps[2], ps[1])
	if err != nil {
		return printed{}, err
	}
	return r.boolean(e.Not, []printed{p, q}), nil
}

func (r *rulePrinter) like(e *ast.LikeExpr) (printed, error) {
	ps, err := r.all([]ast.Expr{e.Left, e.Pattern})
	if err != nil {
		return printed{}, err
	}
	op := map[ast.LikeKind]string{ast.Like: "~~", ast.ILike: "~~*", ast.SimilarTo: "~"}[e.Kind]
	if e.Not {
		op = "!" + op
	}
	pattern := ps[1]
	fn := ""
	switch {
	case e.Kind == ast.SimilarTo:
		fn = "similar_to_escape"
	case e.Escape != nil:
		fn = "like_escape"
	}
	if fn != "" {
		args := []printed{pattern}
		if e.Escape != nil {
			esc, err := r.expr(e.Escape)
			if err != nil {
				return printed{}, err
			}
			args = append(args, esc)
		}
		if pattern, err = r.function(fn, args); err != nil {
			return printed{}, err
		}
	}
	return r.binary(op, ps[0], pattern)
}
