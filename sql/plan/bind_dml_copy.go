package plan

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// prepareInsert plans COPY FROM.
func prepareInsert(ctx context.Context, table *ast.RangeVar, columns []string, where ast.Expr, env Env) (*Plan, error) {
	b := newBinder(ctx, &env)
	b.writes = true
	s := &scope{b: b, q: &query{}}
	v, err := s.writable(table, "copy to")
	if err != nil {
		return nil, err
	}
	if v.view != nil {
		return nil, pgerr.New(pgerr.WrongObjectType, "cannot copy to view %q", v.view.Name).
			WithHint("To enable copying to a view, provide an INSTEAD OF INSERT trigger.")
	}
	t := v.base
	if ok, err := b.secured(t); err != nil {
		return nil, err
	} else if ok {
		return nil, pgerr.New(pgerr.FeatureNotSupported, "COPY FROM not supported with row-level security").WithHint("Use INSERT statements instead.")
	}
	var list []*ast.Target
	for _, c := range columns {
		list = append(list, &ast.Target{Name: c, Pos: ast.Pos{Off: -1}})
	}
	newRow := b.newSlots(len(t.Columns))
	ords, err := v.insertColumns(list, newRow)
	if err != nil {
		return nil, err
	}
	if columns == nil {
		ords = slices.DeleteFunc(ords, func(o int) bool { return t.Columns[o].Generated != nil })
	}
	v.needs('a', ords)
	n := &Insert{}
	if n.Target, err = b.writeTarget(t, nil, newRow); err != nil {
		return nil, err
	}
	p := &Plan{Verb: "COPY"}
	vals := &Values{}
	given := map[int]bool{}
	for _, o := range ords {
		if t.Columns[o].Generated != nil {
			return nil, pgerr.New(pgerr.InvalidColumnReference, "column %q is a generated column", t.Columns[o].Name).
				WithDetail("Generated columns cannot be used in COPY.")
		}
		given[o] = true
		vals.Slots = append(vals.Slots, newRow[o])
		p.ParamTypes = append(p.ParamTypes, t.Columns[o].T)
		p.Columns = append(p.Columns, Column{Name: t.Columns[o].Name, Type: t.Columns[o].T, TableOID: t.ID, AttNum: t.Columns[o].AttNum})
	}
	n.Input = vals
	for i, c := range t.Columns {
		if given[i] || c.Generated != nil {
			continue
		}
		x, err := b.defaultExpr(t, i)
		if err != nil {
			return nil, err
		}
		if c.Hidden && !c.System {
			x = &RowID{}
		}
		n.Defaults = append(n.Defaults, OrdExpr{i, x})
	}
	if where != nil {
		ws := s.in("COPY FROM WHERE conditions", true, true, true)
		ws.items = visibleItem(rowRel(t, v.alias, newRow))
		c, err := ws.condition(where, "WHERE")
		if err != nil {
			return nil, err
		}
		if hasSubquery(c) {
			return nil, errAt(where.Position(), pgerr.FeatureNotSupported, "cannot use subquery in COPY FROM WHERE condition")
		}
		n.Where = conjuncts(c)
	}
	o := &optimizer{b: b}
	root, _, err := o.optimize(n, nil)
	if err != nil {
		return nil, err
	}
	p.Root, p.NumSlots, p.Subqueries = root, b.slots, o.subqs
	p.Needs = b.listNeeds()
	b.secureFor(p)
	for id := range b.tables {
		p.Tables = append(p.Tables, id)
	}
	slices.Sort(p.Tables)
	return p, nil
}
