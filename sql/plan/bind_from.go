package plan

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// from binds the FROM list into s.items and returns the join of its items.
func (s *scope) from(list []ast.TableRef) (Node, error) {
	if len(list) == 0 {
		return &OneRow{}, nil
	}
	var node Node
	for _, r := range list {
		n, items, err := s.tableRef(r, s.items)
		if err != nil {
			return nil, err
		}
		if err := s.addItems(items); err != nil {
			return nil, err
		}
		if node == nil {
			node = n
		} else {
			node = s.b.join(InnerJoin, node, n, nil)
		}
	}
	return node, nil
}

// addItems makes FROM items visible, refusing a second one of the same name.
func (s *scope) addItems(items []nsItem) error {
	if err := checkNames(s.items, items); err != nil {
		return err
	}
	s.items = append(slices.Clip(s.items), items...)
	return nil
}

func checkNames(a, b []nsItem) error {
	for _, y := range b {
		if !y.relVisible || y.rel.alias == "" {
			continue
		}
		for _, x := range a {
			if x.relVisible && x.rel.alias == y.rel.alias && (x.rel.aliased || y.rel.aliased || x.rel.schema == y.rel.schema || x.rel.table == nil || y.rel.table == nil) {
				return pgerr.New(pgerr.DuplicateAlias, "table name %q specified more than once", y.rel.alias)
			}
		}
	}
	return nil
}

// join joins two bound inputs; the right side is lateral when it reads what the left produces.
func (b *binder) join(kind JoinKind, l, r Node, on []Expr) *Join {
	j := &Join{Kind: kind, Left: l, Right: r, On: on}
	lm := made(l)
	free := freeSlots(r, nil)
	j.Lateral = free.intersects(&lm)
	return j
}

// lateral is the scope of a FROM item that sees the items to its left.
func (s *scope) lateral(left []nsItem, on bool) *scope {
	p := &scope{b: s.b, parent: s.parent, ctes: s.ctes, q: s.q, items: left, clause: "FROM", noAgg: true, noWindow: true}
	if on {
		p.target = s.target
	} else {
		p.items = nil
	}
	return p
}

func (s *scope) tableRef(r ast.TableRef, left []nsItem) (Node, []nsItem, error) {
	switch r := r.(type) {
	case *ast.RangeVar:
		return s.rangeVar(r)
	case *ast.JoinRef:
		return s.joinRef(r, left)
	case *ast.SubqueryRef:
		return s.subqueryRef(r, left)
	case *ast.FunctionRef:
		return s.functionRef(r, left)
	case *ast.TableSample:
		return s.tableSample(r)
	case *ast.UnsupportedRef:
		return nil, nil, errAt(r.Off, pgerr.FeatureNotSupported, "%s is not supported", r.What)
	}
	return nil, nil, pgerr.Unsupported("FROM item %T", r)
}

// rename applies an alias with column names to a rel.
func (r *rel) rename(a *ast.Alias, pos int32) error {
	if a == nil {
		return nil
	}
	r.alias, r.aliased = a.Name, true
	visible := 0
	for _, c := range r.cols {
		if !c.hidden {
			visible++
		}
	}
	if len(a.Columns) > visible {
		return errAt(pos, pgerr.InvalidColumnReference, "table %q has %d columns available but %d columns specified", a.Name, visible, len(a.Columns))
	}
	i := 0
	for k := range r.cols {
		if r.cols[k].hidden {
			continue
		}
		if i < len(a.Columns) {
			r.cols[k].name = a.Columns[i]
		}
		i++
		if c, ok := r.cols[k].expr.(*Col); ok {
			n := *c
			n.Rel = a.Name
			n.Name = r.cols[k].name
			r.cols[k].expr = &n
		}
	}
	return nil
}

func visibleItem(r *rel) []nsItem { return []nsItem{{rel: r, relVisible: true, colVisible: true}} }

// rangeVar binds a name in FROM: a CTE, a table, a view.
func (s *scope) rangeVar(r *ast.RangeVar) (Node, []nsItem, error) {
	b := s.b
	if rows := b.ruleSource(r); rows != nil {
		return rows()
	}
	if r.Schema == "" {
		for c := s.ctes; c != nil; c = c.parent {
			if c.name == r.Name {
				return s.cteRef(c.def, r)
			}
		}
		if t := b.env.Relations[r.Name]; t != nil && b.stored == 0 {
			sc, rl := b.scan(t)
			if err := rl.rename(r.Alias, r.Off); err != nil {
				return nil, nil, err
			}
			sc.Alias = rl.alias
			return sc, visibleItem(rl), nil
		}
	}
	t, err := b.table(r)
	if err != nil {
		return nil, nil, err
	}
	if t.Kind != VirtualTable {
		b.need(t.ID, 'r')
	}
	switch t.Kind {
	case View:
		return s.view(t, r)
	case OtherRelation:
		return nil, nil, errAt(r.Off, pgerr.WrongObjectType, "cannot open relation %q", r.Name)
	}
	if !r.Only {
		t = t.whole()
	}
	if t.Kind == Partitioned && !r.Only {
		n, rl := b.appendOf(t)
		if err := rl.rename(r.Alias, r.Off); err != nil {
			return nil, nil, err
		}
		n.Alias = rl.alias
		node, err := b.secureScan(t, n, n.Slots)
		return node, visibleItem(rl), err
	}
	if t.Unpopulated && !b.env.Internal {
		return nil, nil, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "materialized view %q has not been populated", t.Name).
			WithHint("Use the REFRESH MATERIALIZED VIEW command.")
	}
	sc, rl := b.scan(t)
	if err := rl.rename(r.Alias, r.Off); err != nil {
		return nil, nil, err
	}
	sc.Alias = rl.alias
	if t.Kind == Partitioned {
		// ONLY a partitioned table has no rows.
		return &Filter{Input: &Project{Input: &OneRow{}, Exprs: nullsOf(t), Slots: slotsOf(sc)}, Conds: []Expr{&Const{D: types.NewBool(false), T: types.Bool}}}, visibleItem(rl), nil
	}
	node, err := b.secureScan(t, sc, slotsOf(sc))
	return node, visibleItem(rl), err
}

func nullsOf(t *Table) []Expr {
	var out []Expr
	for _, c := range t.Columns {
		out = append(out, &Const{T: c.T})
	}
	return out
}

func slotsOf(sc *Scan) []Slot {
	var out []Slot
	for _, c := range sc.Cols {
		out = append(out, c.Slot)
	}
	return out
}

// table resolves a relation or reports that there is none.
func (b *binder) table(r *ast.RangeVar) (*Table, error) {
	if r.Catalog != "" {
		// The catalog knows the database's name where types are named; there need be no such type.
		names := []string{r.Catalog, r.Schema, r.Name}
		if _, err := b.env.Catalog.Type(b.path, &ast.TypeName{Names: names}); pgerr.Code(err) == pgerr.FeatureNotSupported {
			return nil, errAt(r.Off, pgerr.FeatureNotSupported, "cross-database references are not implemented: %q", strings.Join(names, "."))
		}
	}
	t, err := b.env.Catalog.Table(b.path, r.Schema, r.Name)
	if err != nil {
		return nil, at(err, r.Off)
	}
	if t == nil {
		name := r.Name
		if r.Schema != "" {
			name = r.Schema + "." + name
		}
		return nil, errAt(r.Off, pgerr.UndefinedTable, "relation %q does not exist", name)
	}
	b.tables[t.ID] = struct{}{}
	if r.Schema != "" && t.Kind != VirtualTable && b.stored <= b.viewDepth {
		b.needKey(needKey{schema: t.Schema, role: b.role, priv: 'U'}, nil)
	}
	return t, nil
}

// scan makes a scan of all columns of a table, with slots of its own.
func (b *binder) scan(t *Table) (*Scan, *rel) {
	sc := &Scan{Table: t, Alias: t.Name}
	rl := &rel{schema: t.Schema, alias: t.Name, table: t, scan: sc}
	for i, c := range t.Columns {
		sl := b.newSlot()
		sc.Cols = append(sc.Cols, ScanCol{Ord: i, Slot: sl})
		rl.cols = append(rl.cols, relCol{name: c.Name, table: t.ID, attnum: c.AttNum, hidden: c.Hidden,
			expr: &Col{Slot: sl, T: c.T, Name: c.Name, Rel: t.Name, Pos: -1}})
	}
	return sc, rl
}

// view binds a view's query in its place.
func (s *scope) view(t *Table, r *ast.RangeVar) (Node, []nsItem, error) {
	b := s.b
	if b.viewDepth > 50 {
		return nil, nil, errAt(r.Off, pgerr.InvalidObjectDefinition, "infinite recursion detected in rules for relation %q", r.Name)
	}
	path := b.path
	b.path = t.ViewPath
	b.viewDepth++
	b.stored++
	role := b.role
	if !t.Invoker {
		b.role = t.Owner
	}
	c := &scope{b: b, q: &query{}}
	q, err := c.selectStmt(t.View)
	b.path = path
	b.viewDepth--
	b.stored--
	b.role = role
	if err != nil {
		if e, ok := err.(*pgerr.Error); ok {
			k := *e
			k.Position = 0
			err = &k
		}
		return nil, nil, err
	}
	rl := &rel{schema: t.Schema, alias: t.Name, table: t}
	node := s.relOf(rl, q)
	if t.Barrier {
		node = &Filter{Input: node, Barrier: true}
	}
	for i := range rl.cols {
		if i < len(t.Columns) {
			rl.cols[i].name = t.Columns[i].Name
			rl.cols[i].table, rl.cols[i].attnum = t.ID, t.Columns[i].AttNum
		}
	}
	if err := rl.rename(r.Alias, r.Off); err != nil {
		return nil, nil, err
	}
	return node, visibleItem(rl), nil
}

// relOf turns a bound query into the columns of a rel: columns keep their slots, expressions get new ones.
func (s *scope) relOf(rl *rel, q *bound) Node {
	own := made(q.node)
	p := &Project{Input: q.node}
	for i := range q.cols {
		c := &q.cols[i]
		c.expr = s.b.settle(c.expr)
		e := c.expr
		if col, ok := e.(*Col); !ok || !own.has(col.Slot) {
			sl := s.b.newSlot()
			p.Exprs = append(p.Exprs, e)
			p.Slots = append(p.Slots, sl)
			e = &Col{Slot: sl, T: e.Type(), Name: c.name, Rel: rl.alias, Pos: -1}
		}
		rl.cols = append(rl.cols, relCol{name: c.name, expr: e, table: c.table, attnum: c.attnum})
	}
	if len(p.Exprs) == 0 {
		return q.node
	}
	return p
}

func (s *scope) subqueryRef(r *ast.SubqueryRef, left []nsItem) (Node, []nsItem, error) {
	if r.Alias == nil {
		what, example := "subquery", "SELECT"
		if r.Select.Values != nil {
			what, example = "VALUES", "VALUES"
		}
		return nil, nil, errAt(r.Off, pgerr.SyntaxError, "%s in FROM must have an alias", what).WithHint("For example, FROM (%s ...) [AS] foo.", example)
	}
	c := s.lateral(left, r.Lateral).child()
	hidden := s.b.hiddenRels
	if !r.Lateral {
		for _, it := range left {
			s.b.hiddenRels = append(s.b.hiddenRels, it.rel.alias)
		}
	}
	q, err := c.selectStmt(r.Select)
	s.b.hiddenRels = hidden
	if err != nil {
		return nil, nil, err
	}
	rl := &rel{}
	if r.Alias != nil {
		rl.alias = r.Alias.Name
	}
	node := s.relOf(rl, q)
	if err := rl.rename(r.Alias, r.Off); err != nil {
		return nil, nil, err
	}
	return node, []nsItem{{rel: rl, relVisible: r.Alias != nil, colVisible: true}}, nil
}

// separateUnnest turns unnest(a, b) into ROWS FROM (unnest(a), unnest(b)), which is all that it means.
func separateUnnest(r *ast.FunctionRef) []ast.FunctionItem {
	var out []ast.FunctionItem
	for _, f := range r.Funcs {
		call, ok := f.Func.(*ast.FuncCall)
		if !ok || len(call.Args) < 2 || call.Name[len(call.Name)-1] != "unnest" || len(call.Name) == 2 && call.Name[0] != "pg_catalog" ||
			call.Variadic || call.Distinct || call.OrderBy != nil || call.Filter != nil || call.Over != nil || len(f.ColDefs) > 0 ||
			len(r.ColDefs) > 0 || slices.ContainsFunc(call.Args, func(a ast.Expr) bool { _, named := a.(*ast.NamedArg); return named }) {
			out = append(out, f)
			continue
		}
		for _, a := range call.Args {
			out = append(out, ast.FunctionItem{Func: &ast.FuncCall{Name: call.Name, Args: []ast.Expr{a}, Pos: call.Pos}})
		}
	}
	return out
}

// functionRef binds functions in FROM.
func (s *scope) functionRef(r *ast.FunctionRef, left []nsItem) (Node, []nsItem, error) {
	b := s.b
	c := s.lateral(left, true)
	c.q = &query{parent: s.q}
	c.noSRF = false
	n := &FuncScan{Ordinality: -1}
	rl := &rel{}
	if r.Alias != nil {
		rl.alias = r.Alias.Name
		rl.aliased = true
	}
	addCol := func(name string, t *types.T) Slot {
		sl := b.newSlot()
		rl.cols = append(rl.cols, relCol{name: name, expr: &Col{Slot: sl, T: t, Name: name, Rel: rl.alias, Pos: -1}})
		return sl
	}
	funcs := separateUnnest(r)
	for _, f := range funcs {
		item := &FuncScanItem{}
		defs := f.ColDefs
		if len(funcs) == 1 && len(r.ColDefs) > 0 {
			defs = r.ColDefs
		}
		if call, ok := f.Func.(*ast.FuncCall); ok {
			item.Name = call.Name[len(call.Name)-1]
		} else {
			item.Name = figureName(f.Func)
		}
		if rl.alias == "" {
			rl.alias = item.Name
		}
		before := len(c.q.srfs)
		x, err := c.expr(f.Func)
		if err != nil {
			return nil, nil, err
		}
		var cols []types.Field
		var t *types.T
		col, isCol := x.(*Col)
		if isCol && len(c.q.srfs) > before && c.q.srfs[len(c.q.srfs)-1].Slot == col.Slot {
			srf := c.q.srfs[len(c.q.srfs)-1]
			c.q.srfs = c.q.srfs[:len(c.q.srfs)-1]
			item.Call, item.Args = srf.Call, srf.Args
			cols = srf.Call.Columns
			t = srf.Call.Ret
		} else {
			item.Expr = b.settle(x)
			t = item.Expr.Type()
			if t.Kind == types.KindTuple && t.Def != nil {
				cols = t.Def.Fields
				item.Unpack = true
			}
		}
		if len(c.q.srfs) > before {
			return nil, nil, errAt(f.Func.Position(), pgerr.FeatureNotSupported, "set-returning functions must appear at top level of FROM")
		}
		switch {
		case len(defs) > 0:
			if t.OID != types.OIDRecord {
				return nil, nil, errAt(f.Func.Position(), pgerr.SyntaxError, "a column definition list is only allowed for functions returning \"record\"")
			}
			item.Unpack = item.Call == nil
			for _, d := range defs {
				dt, err := b.typeName(d.Type)
				if err != nil {
					return nil, nil, err
				}
				item.Slots = append(item.Slots, addCol(d.Name, dt))
			}
			call := item.Call
			if fn, ok := item.Expr.(*Func); ok && call == nil {
				call = fn.Call
			}
			if call != nil {
				// Record-returning functions learn their row type from the definition list. The call was
				// resolved for this item alone.
				call.Columns = nil
				for i, d := range defs {
					cx := rl.cols[len(rl.cols)-len(defs)+i].expr
					call.Columns = append(call.Columns, types.Field{Name: d.Name, Type: cx.Type()})
				}
			}
		case len(cols) > 1 || len(cols) == 1 && item.Unpack:
			for _, f := range cols {
				item.Slots = append(item.Slots, addCol(f.Name, f.Type))
			}
		default:
			if t.OID == types.OIDRecord && len(cols) == 0 && t.Def == nil {
				return nil, nil, errAt(f.Func.Position(), pgerr.SyntaxError, "a column definition list is required for functions returning \"record\"")
			}
			name := item.Name
			if len(cols) == 1 {
				name = cols[0].Name
				t = cols[0].Type
			} else if out := resultName(item.Call); out != "" {
				name = out
			} else if r.Alias != nil && len(funcs) == 1 {
				name = r.Alias.Name
			}
			item.Slots = append(item.Slots, addCol(name, t))
		}
		n.Funcs = append(n.Funcs, item)
	}
	if r.Ordinality {
		n.Ordinality = addCol("ordinality", types.Int8)
	}
	if err := rl.rename(r.Alias, r.Off); err != nil {
		return nil, nil, err
	}
	n.Alias = rl.alias
	return n, visibleItem(rl), nil
}

// resultName is the name of a function's only OUT parameter.
func resultName(c *builtin.Call) string {
	if c == nil || c.Func == nil {
		return ""
	}
	name := ""
	for i := range c.Func.ArgModes {
		if strings.IndexByte("obt", c.Func.ArgModes[i]) >= 0 {
			if name != "" || i >= len(c.Func.ArgNames) {
				return ""
			}
			name = c.Func.ArgNames[i]
		}
	}
	return name
}

// joinRef binds a join.
func (s *scope) joinRef(r *ast.JoinRef, left []nsItem) (Node, []nsItem, error) {
	b := s.b
	l, litems, err := s.tableRef(r.Left, left)
	if err != nil {
		return nil, nil, err
	}
	rn, ritems, err := s.tableRef(r.Right, append(slices.Clone(left), litems...))
	if err != nil {
		return nil, nil, err
	}
	if err := checkNames(litems, ritems); err != nil {
		return nil, nil, err
	}
	kind := [...]JoinKind{InnerJoin, LeftJoin, RightJoin, FullJoin}[r.Kind]
	using := r.Using
	if r.Natural {
		using = nil
		for _, lc := range visibleCols(litems) {
			for _, rc := range visibleCols(ritems) {
				if lc.name == rc.name && !slices.Contains(using, lc.name) {
					using = append(using, lc.name)
				}
			}
		}
	}
	var on []Expr
	items := append(slices.Clone(litems), ritems...)
	if using != nil {
		merged, conds, err := s.using(using, kind, litems, ritems)
		if err != nil {
			return nil, nil, err
		}
		on = conds
		for i := range items {
			items[i].colVisible = false
		}
		items = append(items, nsItem{rel: merged, colVisible: true})
		if r.UsingAlias != "" {
			u := &rel{alias: r.UsingAlias, aliased: true, cols: merged.cols[:len(using)]}
			if err := checkNames(items, []nsItem{{rel: u, relVisible: true}}); err != nil {
				return nil, nil, err
			}
			items = append(items, nsItem{rel: u, relVisible: true})
		}
	} else if r.On != nil {
		c := s.lateral(append(slices.Clone(left), items...), true)
		c.items = items
		// Items to the left of the join are not visible in its condition, unless it is itself lateral.
		c.clause, c.noSRF = "JOIN/ON", true
		hidden := b.hiddenRels
		for _, it := range left {
			b.hiddenRels = append(b.hiddenRels, it.rel.alias)
		}
		x, err := c.condition(r.On, "JOIN/ON")
		b.hiddenRels = hidden
		if err != nil {
			return nil, nil, err
		}
		on = conjuncts(x)
	}
	if (kind != InnerJoin && readsWorking(rn) && kind != RightJoin) || (kind == RightJoin || kind == FullJoin) && readsWorking(l) {
		return nil, nil, pgerr.New(pgerr.InvalidRecursion, "recursive reference to query %q must not appear within an outer join", workingName(l, rn))
	}
	if kind == RightJoin || kind == FullJoin {
		lm, free := made(l), freeSlots(rn, nil)
		if free.intersects(&lm) {
			c := readerOf(rn, &lm)
			return nil, nil, errAt(c.Pos, pgerr.InvalidColumnReference, "invalid reference to FROM-clause entry for table %q", c.Rel).
				WithDetail("The combining JOIN type must be INNER or LEFT for a LATERAL reference.")
		}
	}
	if kind == LeftJoin || kind == FullJoin {
		setNullable(ritems)
	}
	if kind == RightJoin || kind == FullJoin {
		setNullable(litems)
	}
	var j Node
	if kind == RightJoin {
		j = b.join(LeftJoin, rn, l, on)
	} else {
		j = b.join(kind, l, rn, on)
	}
	if r.Alias != nil {
		rl := &rel{alias: r.Alias.Name, aliased: true, cols: visibleCols(items)}
		a := *r.Alias
		if len(a.Columns) > len(rl.cols) {
			return nil, nil, pgerr.New(pgerr.InvalidColumnReference, "join expression %q has %d columns available but %d columns specified", a.Name, len(rl.cols), len(a.Columns))
		}
		for i, n := range a.Columns {
			rl.cols[i].name = n
		}
		for _, it := range items {
			b.hiddenRels = append(b.hiddenRels, it.rel.alias)
		}
		return j, visibleItem(rl), nil
	}
	return j, items, nil
}

// readerOf finds a column reference below n to one of these slots; there is one.
func readerOf(n Node, slots *slotSet) *Col {
	var found *Col
	var expr func(e *Expr)
	var node func(n Node)
	expr = func(e *Expr) {
		switch x := (*e).(type) {
		case *Col:
			if found == nil && slots.has(x.Slot) {
				found = x
			}
		case *Subquery:
			node(x.Root)
			for i := range x.Out {
				expr(&x.Out[i])
			}
		}
		(*e).kids(expr)
	}
	node = func(n Node) {
		n.exprs(expr)
		n.inputs(func(c *Node) { node(*c) })
	}
	node(n)
	if found == nil {
		return &Col{Pos: -1}
	}
	return found
}

func visibleCols(items []nsItem) []relCol {
	var out []relCol
	for _, it := range items {
		if it.colVisible {
			for _, c := range it.rel.cols {
				if !c.hidden {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// using builds the merged columns and the conditions of JOIN ... USING.
func (s *scope) using(names []string, kind JoinKind, litems, ritems []nsItem) (*rel, []Expr, error) {
	b := s.b
	lcols, rcols := visibleCols(litems), visibleCols(ritems)
	find := func(cols []relCol, name, side string) (*relCol, error) {
		var f *relCol
		for i := range cols {
			if cols[i].name == name {
				if f != nil {
					return nil, pgerr.New(pgerr.AmbiguousColumn, "common column name %q appears more than once in %s table", name, side)
				}
				f = &cols[i]
			}
		}
		if f == nil {
			return nil, pgerr.New(pgerr.UndefinedColumn, "column %q specified in USING clause does not exist in %s table", name, side)
		}
		return f, nil
	}
	out := &rel{}
	var conds []Expr
	for i, n := range names {
		if slices.Contains(names[:i], n) {
			return nil, nil, pgerr.New(pgerr.DuplicateColumn, "column name %q appears more than once in USING clause", n)
		}
		lc, err := find(lcols, n, "left")
		if err != nil {
			return nil, nil, err
		}
		rc, err := find(rcols, n, "right")
		if err != nil {
			return nil, nil, err
		}
		eq, err := b.op("=", lc.expr, rc.expr, -1)
		if err != nil {
			return nil, nil, err
		}
		conds = append(conds, eq)
		pair := []Expr{lc.expr, rc.expr}
		t, err := b.common(pair, "JOIN/USING", nil)
		if err != nil {
			return nil, nil, err
		}
		m := relCol{name: n, expr: pair[0], table: lc.table, attnum: lc.attnum}
		switch kind {
		case RightJoin:
			m = relCol{name: n, expr: pair[1], table: rc.table, attnum: rc.attnum}
		case FullJoin:
			m = relCol{name: n, expr: &Coalesce{Args: pair, T: t}}
		}
		out.cols = append(out.cols, m)
	}
	for _, cols := range [][]relCol{lcols, rcols} {
		for _, c := range cols {
			if !slices.Contains(names, c.name) {
				out.cols = append(out.cols, c)
			}
		}
	}
	return out, conds, nil
}

func setNullable(items []nsItem) {
	for _, it := range items {
		it.rel.nullable = true
	}
}

// readsWorking reports whether a subtree reads the working table of a recursive query.
func readsWorking(n Node) bool {
	if c, ok := n.(*CTEScan); ok && c.Working {
		return true
	}
	found := false
	n.inputs(func(c *Node) { found = found || readsWorking(*c) })
	return found
}

func workingName(ns ...Node) string {
	name := ""
	var rec func(Node)
	rec = func(n Node) {
		if c, ok := n.(*CTEScan); ok && c.Working {
			name = c.CTE.Name
		}
		n.inputs(func(c *Node) { rec(*c) })
	}
	for _, n := range ns {
		rec(n)
	}
	return name
}
