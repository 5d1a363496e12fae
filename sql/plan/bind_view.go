package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// Views over one table without grouping and the like can be written: the statement is bound against the
// base table, the view's columns standing for the table's.

// viewTarget is a view as the target of a write; view is nil when the target is a table.
type viewTarget struct {
	b     *binder
	view  *Table
	base  *Table
	alias string
	// filter, over the scan of the target, gets what policies let through; nil when they do not concern the write.
	filter *Filter
}

// baseOf returns the table below an automatically updatable view.
func (b *binder) baseOf(t *Table, verb string) (*Table, error) {
	why := func(what string) error {
		e := pgerr.New(pgerr.ObjectNotInPrerequisiteState, "cannot %s view %q", verb, t.Name).WithDetail("%s", what)
		switch verb {
		case "insert into":
			e = e.WithHint("To enable inserting into the view, provide an INSTEAD OF INSERT trigger or an unconditional ON INSERT DO INSTEAD rule.")
		case "update":
			e = e.WithHint("To enable updating the view, provide an INSTEAD OF UPDATE trigger or an unconditional ON UPDATE DO INSTEAD rule.")
		case "delete from":
			e = e.WithHint("To enable deleting from the view, provide an INSTEAD OF DELETE trigger or an unconditional ON DELETE DO INSTEAD rule.")
		}
		return e
	}
	st := t.View
	switch {
	case st.Op != ast.SetNone:
		return nil, why("Views containing UNION, INTERSECT, or EXCEPT are not automatically updatable.")
	case st.With != nil:
		return nil, why("Views containing WITH are not automatically updatable.")
	case st.Distinct:
		return nil, why("Views containing DISTINCT are not automatically updatable.")
	case len(st.GroupBy) > 0:
		return nil, why("Views containing GROUP BY are not automatically updatable.")
	case st.Having != nil:
		return nil, why("Views containing HAVING are not automatically updatable.")
	case st.Limit != nil || st.Offset != nil:
		return nil, why("Views containing LIMIT or OFFSET are not automatically updatable.")
	case len(st.From) != 1 || st.Values != nil:
		return nil, why("Views that do not select from a single table or view are not automatically updatable.")
	}
	r, ok := st.From[0].(*ast.RangeVar)
	if !ok {
		return nil, why("Views that do not select from a single table or view are not automatically updatable.")
	}
	for _, tg := range st.Targets {
		if what := returnsRows(tg.Expr); what != "" {
			return nil, why("Views that return " + what + " functions are not automatically updatable.")
		}
	}
	path := b.path
	b.path = t.ViewPath
	base, err := b.table(r)
	b.path = path
	if err != nil {
		return nil, err
	}
	switch {
	case base.Kind == View:
		return b.baseOf(base, verb)
	case base.Kind != BaseTable && base.Kind != Partitioned || base.NotUpdatable != "":
		return nil, why("Views that do not select from a single table or view are not automatically updatable.")
	}
	if !r.Only && writesTree(verb) {
		base = base.whole()
	}
	return base, nil
}

// rel makes the rel of the target over the slots of a row of the base table, and the conditions under which
// the row is visible through the view.
func (v *viewTarget) rel(slots []Slot) (*rel, []Expr, error) {
	if v.view == nil {
		return rowRel(v.base, v.alias, slots), nil, nil
	}
	rl, conds, err := v.b.viewRel(v.view, slots)
	if err != nil {
		return nil, nil, err
	}
	rl.alias, rl.aliased = v.alias, v.alias != v.view.Name
	return rl, conds, nil
}

func (b *binder) viewRel(t *Table, slots []Slot) (*rel, []Expr, error) {
	path := b.path
	b.path = t.ViewPath
	defer func() { b.path = path }()
	r := t.View.From[0].(*ast.RangeVar)
	below, err := b.table(r)
	if err != nil {
		return nil, nil, err
	}
	var in *rel
	var conds []Expr
	if below.Kind == View {
		if in, conds, err = b.viewRel(below, slots); err != nil {
			return nil, nil, err
		}
	} else {
		in = rowRel(below, below.Name, slots)
	}
	if err := in.rename(r.Alias, r.Off); err != nil {
		return nil, nil, err
	}
	sc := &scope{b: b, q: &query{}, clause: "SELECT", items: visibleItem(in)}
	ts, err := sc.targets(t.View.Targets)
	if err != nil {
		return nil, nil, err
	}
	if sc.q.hasAgg || len(sc.q.srfs) > 0 || len(sc.q.windows) > 0 {
		return nil, nil, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "cannot change view %q", t.Name).
			WithDetail("Views that return aggregate functions, window functions or set-returning functions are not automatically updatable.")
	}
	rl := &rel{schema: t.Schema, alias: t.Name, table: t}
	for i, tg := range ts {
		if i < len(t.Columns) {
			rl.cols = append(rl.cols, relCol{name: t.Columns[i].Name, expr: b.settle(tg.expr), table: t.ID, attnum: t.Columns[i].AttNum})
		}
	}
	if t.View.Where != nil {
		c, err := sc.in("WHERE", true, true, true).condition(t.View.Where, "WHERE")
		if err != nil {
			return nil, nil, err
		}
		conds = append(conds, conjuncts(c)...)
	}
	return rl, conds, nil
}

// check adds to a target the conditions that views WITH CHECK OPTION set for new rows.
func (v *viewTarget) check(w *WriteTarget) error {
	if v.view == nil {
		return nil
	}
	var err error
	if w.Parts == nil {
		w.ViewChecks, err = v.b.viewChecks(v.view, w.New, false)
		return err
	}
	for _, l := range w.Parts.Leaves {
		if l.Target.ViewChecks, err = v.b.viewChecks(v.view, rootSlots(l.Target.Table, v.base, l.Target.New), false); err != nil {
			return err
		}
	}
	return nil
}

// viewChecks gathers the conditions of a view and of those below it. CASCADED asks for the conditions of all
// views below, LOCAL for those of views that have the option themselves.
func (b *binder) viewChecks(t *Table, slots []Slot, cascaded bool) ([]NamedExpr, error) {
	path := b.path
	b.path = t.ViewPath
	defer func() { b.path = path }()
	cascaded = cascaded || t.CheckOption == "cascaded"
	r := t.View.From[0].(*ast.RangeVar)
	below, err := b.table(r)
	if err != nil {
		return nil, err
	}
	var out []NamedExpr
	var in *rel
	if below.Kind != View {
		in = rowRel(below, below.Name, slots)
	} else {
		if out, err = b.viewChecks(below, slots, cascaded); err != nil {
			return nil, err
		}
		if in, _, err = b.viewRel(below, slots); err != nil {
			return nil, err
		}
	}
	if t.View.Where == nil || !cascaded && t.CheckOption == "" {
		return out, nil
	}
	if err := in.rename(r.Alias, r.Off); err != nil {
		return nil, err
	}
	sc := &scope{b: b, q: &query{}, clause: "SELECT", items: visibleItem(in)}
	c, err := sc.in("WHERE", true, true, true).condition(t.View.Where, "WHERE")
	if err != nil {
		return nil, err
	}
	return append(out, NamedExpr{t.Name, c}), nil
}

// ordinals maps the target's column names to the base table's columns; -1 for columns that cannot be
// assigned to. order has the ordinals in the target's column order.
func (v *viewTarget) ordinals(slots []Slot) (byName map[string]int, order []int, err error) {
	rl, _, err := v.rel(slots)
	if err != nil {
		return nil, nil, err
	}
	byName = map[string]int{}
	for _, c := range rl.cols {
		if c.hidden {
			continue
		}
		o := -1
		if col, ok := c.expr.(*Col); ok {
			for i, s := range slots {
				if s == col.Slot {
					o = i
				}
			}
		}
		byName[c.name] = o
		order = append(order, o)
	}
	return byName, order, nil
}

// column finds the base column that a name of the target means.
func (v *viewTarget) column(byName map[string]int, name, verb string, pos int32) (int, error) {
	o, ok := byName[name]
	n := v.base.Name
	if v.view != nil {
		n = v.view.Name
	}
	if !ok {
		return 0, errAt(pos, pgerr.UndefinedColumn, "column %q of relation %q does not exist", name, n)
	}
	if o < 0 {
		return 0, pgerr.New(pgerr.FeatureNotSupported, "cannot %s column %q of view %q", verb, name, n).
			WithDetail("View columns that are not columns of their base relation are not updatable.")
	}
	return o, nil
}

// returnsRows names the kind of function in a target that makes its rows be others than the table's: "" for none.
func returnsRows(e ast.Expr) string {
	what := ""
	ast.Walk(e, func(e ast.Expr) bool {
		f, ok := e.(*ast.FuncCall)
		if !ok || what != "" {
			return what == ""
		}
		if f.Over != nil {
			what = "window"
			return false
		}
		for _, fn := range builtin.FuncsNamed(f.Name[len(f.Name)-1]) {
			switch {
			case fn.Kind == 'a':
				what = "aggregate"
			case fn.RetSet:
				what = "set-returning"
			}
		}
		return what == ""
	})
	return what
}
