package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// values binds a VALUES list.
func (s *scope) values(st *ast.SelectStmt) (*bound, error) {
	rows, ts, err := s.valuesRows(st.Values, nil)
	if err != nil {
		return nil, err
	}
	v := &Values{Rowsets: rows}
	out := &bound{node: v}
	var targets []target
	for i, t := range ts {
		sl := s.b.newSlot()
		v.Slots = append(v.Slots, sl)
		name := "column" + itoa(i+1)
		c := outCol{name: name, expr: &Col{Slot: sl, T: t, Name: name, Rel: "*VALUES*", Pos: -1}}
		out.cols = append(out.cols, c)
		targets = append(targets, target{outCol: c, label: name})
	}
	return out, s.orderLimit(st, out, targets, false)
}

// valuesRows binds the rows of a VALUES list to common types. With hints, untyped entries stay as they are.
func (s *scope) valuesRows(lists [][]ast.Expr, hint func(col int) *types.T) ([][]Expr, []*types.T, error) {
	vs := s.in("VALUES", true, true, true)
	width := len(lists[0])
	rows := make([][]Expr, len(lists))
	for i, l := range lists {
		if len(l) != width {
			p := int32(-1)
			if len(l) > 0 {
				p = l[0].Position()
			}
			return nil, nil, errAt(p, pgerr.SyntaxError, "VALUES lists must all be the same length")
		}
		r, err := vs.exprs(l)
		if err != nil {
			return nil, nil, err
		}
		rows[i] = r
	}
	ts := make([]*types.T, width)
	col := make([]Expr, len(lists))
	pos := make([]int32, len(lists))
	for c := range width {
		for i := range lists {
			col[i], pos[i] = rows[i][c], lists[i][c].Position()
		}
		t, err := s.b.common(col, "VALUES", pos)
		if err != nil {
			return nil, nil, err
		}
		ts[c] = t
		for i := range lists {
			rows[i][c] = col[i]
		}
	}
	return rows, ts, nil
}

// setOp binds UNION, INTERSECT or EXCEPT.
func (s *scope) setOp(st *ast.SelectStmt) (*bound, error) {
	b := s.b
	branch := func(x *ast.SelectStmt) (*bound, error) {
		c := &scope{b: b, parent: s.parent, ctes: s.ctes, q: &query{parent: s.q}, keepUnknown: true}
		return c.selectStmt(x)
	}
	if into := st.Right.Into; into != nil {
		return nil, errAt(into.Table.Position(), pgerr.SyntaxError, "INTO is only allowed on first SELECT of UNION/INTERSECT/EXCEPT")
	}
	l, err := branch(st.Left)
	if err != nil {
		return nil, err
	}
	r, err := branch(st.Right)
	if err != nil {
		return nil, err
	}
	name := [...]string{"", "UNION", "INTERSECT", "EXCEPT"}[st.Op]
	if len(l.cols) != len(r.cols) {
		return nil, errAt(st.Right.Off, pgerr.SyntaxError, "each %s query must have the same number of columns", name)
	}
	n := &SetOp{All: st.All, Left: l.node, Right: r.node, Op: [...]SetOpKind{0, Union, Intersect, Except}[st.Op]}
	out := &bound{node: n}
	var targets []target
	for i := range l.cols {
		pair := []Expr{l.cols[i].expr, r.cols[i].expr}
		pos := []int32{targetPos(st.Left, i), targetPos(st.Right, i)}
		t, err := b.common(pair, name, pos)
		if err != nil {
			return nil, err
		}
		if !st.All {
			if err := b.sortable(t, pos[0], "equality"); err != nil {
				return nil, err
			}
		}
		sl := b.newSlot()
		n.LeftExprs = append(n.LeftExprs, pair[0])
		n.RightExprs = append(n.RightExprs, pair[1])
		n.Slots = append(n.Slots, sl)
		c := outCol{name: l.cols[i].name, expr: &Col{Slot: sl, T: t, Name: l.cols[i].name, Pos: -1}}
		out.cols = append(out.cols, c)
		targets = append(targets, target{outCol: c, label: c.name})
	}
	return out, s.orderLimit(st, out, targets, true)
}

func targetPos(st *ast.SelectStmt, i int) int32 {
	for st.Op != ast.SetNone {
		st = st.Left
	}
	if len(st.Values) > 0 && i < len(st.Values[0]) {
		return st.Values[0][i].Position()
	}
	if i < len(st.Targets) {
		return st.Targets[i].Expr.Position()
	}
	return -1
}
