package plan

import (
	"regexp"
	"strconv"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// Rules rewrite a statement into several. Each action reads, as one more item of FROM, the rows that the statement
// itself would find or insert; that item has the names "old" and "new". As in PostgreSQL every action, and the statement,
// finds these rows anew, with what the ones before it have written, and NEW.x is the expression for x, not its value.

// Rule is an enabled rule with its text parsed.
type Rule struct {
	Desc    *catalog.Rule
	Where   ast.Expr
	Actions []ast.Stmt
	// rowsMatter says of each action whether it, or the condition, looks at the rows.
	rowsMatter []bool
}

var mentionsRow = regexp.MustCompile(`\b(old|new)\b`)

func convertRule(d *catalog.Rule, expr func(string) ast.Expr) (*Rule, error) {
	r := &Rule{Desc: d, Where: expr(d.Where)}
	for _, text := range d.Actions {
		list, err := parser.Parse(text)
		if err != nil || len(list) != 1 {
			return nil, pgerr.New(pgerr.InternalError, "stored action %q of rule %q: %w", text, d.Name, err)
		}
		r.Actions = append(r.Actions, list[0].Stmt)
		r.rowsMatter = append(r.rowsMatter, mentionsRow.MatchString(text) || mentionsRow.MatchString(d.Where))
	}
	return r, nil
}

type ruleKey struct {
	table uint32
	event string
}

// Rules runs the statements that rules have made of one, in order.
type Rules struct {
	NodeBase
	Steps []Node
	// Counts is the step whose rows the command tag counts, Returns the one whose rows are the result; -1: none.
	Counts, Returns int
}

func (n *Rules) inputs(f func(*Node)) {
	for i := range n.Steps {
		f(&n.Steps[i])
	}
}
func (n *Rules) exprs(func(*Expr))   {}
func (n *Rules) produces(func(Slot)) {}

// ruleSourceName is followed by the number of one of binder.ruleSources, in the name of a FROM item.
const ruleSourceName = "*rule*"

// ruleSource is such an item, if r is one.
func (b *binder) ruleSource(r *ast.RangeVar) func() (Node, []nsItem, error) {
	if len(r.Name) <= len(ruleSourceName) || r.Name[:len(ruleSourceName)] != ruleSourceName {
		return nil
	}
	i, err := strconv.Atoi(r.Name[len(ruleSourceName):])
	if err != nil || i >= len(b.ruleSources) {
		return nil
	}
	return b.ruleSources[i]
}

// unruled binds INSERT, UPDATE or DELETE without rules. v is the target, nil for that of the statement.
func (s *scope) unruled(st ast.Stmt, v *viewTarget) (*bound, error) {
	r, verb, _ := ruleTarget(st)
	if v == nil {
		var err error
		if v, err = s.writable(r, verb); err != nil {
			return nil, err
		}
	}
	switch st := st.(type) {
	case *ast.InsertStmt:
		return s.insert(st, v)
	case *ast.UpdateStmt:
		return s.update(st, v)
	case *ast.DeleteStmt:
		return s.delete(st, v)
	}
	return nil, pgerr.Unsupported("%s", st.Tag())
}

func ruleTarget(st ast.Stmt) (r *ast.RangeVar, verb, event string) {
	switch st := st.(type) {
	case *ast.InsertStmt:
		return st.Table, "insert into", "INSERT"
	case *ast.UpdateStmt:
		return st.Table, "update", "UPDATE"
	case *ast.DeleteStmt:
		return st.Table, "delete from", "DELETE"
	}
	return nil, "", ""
}

func returningOf(st ast.Stmt) *ast.Returning {
	switch st := st.(type) {
	case *ast.InsertStmt:
		return st.Returning
	case *ast.UpdateStmt:
		return st.Returning
	case *ast.DeleteStmt:
		return st.Returning
	}
	return nil
}

// withReturning is a statement with another RETURNING clause.
func withReturning(st ast.Stmt, r *ast.Returning) ast.Stmt {
	switch st := st.(type) {
	case *ast.InsertStmt:
		c := *st
		c.Returning = r
		return &c
	case *ast.UpdateStmt:
		c := *st
		c.Returning = r
		return &c
	case *ast.DeleteStmt:
		c := *st
		c.Returning = r
		return &c
	}
	return st
}

// withoutWith is a statement without its WITH queries, which its rows have in scope.
func withoutWith(st ast.Stmt) ast.Stmt {
	switch st := st.(type) {
	case *ast.InsertStmt:
		c := *st
		c.With = nil
		return &c
	case *ast.UpdateStmt:
		c := *st
		c.With = nil
		return &c
	case *ast.DeleteStmt:
		c := *st
		c.With = nil
		return &c
	}
	return st
}

// rewrite binds a statement whose target has rules for it; nil when it has none.
func (s *scope) rewrite(st ast.Stmt, with bool) (*bound, error) {
	b := s.b
	r, verb, event := ruleTarget(st)
	if r == nil || b.env.Internal {
		return nil, nil
	}
	t, err := b.env.Catalog.Table(b.path, r.Schema, r.Name)
	if err != nil || t == nil || len(t.Rules) == 0 {
		return nil, nil // what is wrong is found later
	}
	conflict := func() error {
		if in, ok := st.(*ast.InsertStmt); ok && in.OnConflict != nil {
			for _, rule := range t.Rules {
				if rule.Desc.Event != "DELETE" {
					return pgerr.New(pgerr.FeatureNotSupported, "INSERT with ON CONFLICT clause cannot be used with table that has INSERT or UPDATE rules")
				}
			}
		}
		return nil
	}
	var rules []*Rule
	for _, rule := range t.Rules {
		if rule.Desc.Event == event {
			rules = append(rules, rule)
		}
	}
	if rules == nil {
		return nil, conflict()
	}
	key := ruleKey{t.ID, event}
	for _, k := range b.ruling {
		if k == key {
			return nil, pgerr.New(pgerr.InvalidObjectDefinition, "infinite recursion detected in rules for relation %q", t.Name)
		}
	}
	b.ruling = append(b.ruling, key)
	defer func() { b.ruling = b.ruling[:len(b.ruling)-1] }()
	if _, err := b.table(r); err != nil { // for what the plan depends on
		return nil, err
	}
	b.target(t.ID)
	w := &rewriting{s: s, st: withoutWith(st), t: t, event: event, n: &Rules{Counts: -1, Returns: -1}, out: &bound{}, role: b.role, path: b.path, stored: b.stored}
	w.out.node = w.n
	q, err := w.run(rules, verb, with)
	if err == nil {
		err = conflict()
	}
	return q, err
}

// rewriting is one statement that is being rewritten.
type rewriting struct {
	s     *scope
	st    ast.Stmt
	t     *Table
	event string
	n     *Rules
	out   *bound
	// except are the conditions under which the statement itself does nothing.
	except []*Rule
	// What the statement's own names are bound under.
	role   uint32
	path   []string
	stored int
}

func (w *rewriting) run(rules []*Rule, verb string, with bool) (*bound, error) {
	instead, conditional := false, false
	count := 0
	for _, rule := range rules {
		instead = instead || rule.Desc.Instead && rule.Where == nil
		conditional = conditional || rule.Desc.Instead && rule.Where != nil
		count += len(rule.Actions)
		if rule.Desc.Instead && rule.Where != nil {
			w.except = append(w.except, rule)
		}
	}
	if with && (count > 1 || count == 1 && !instead) {
		return nil, pgerr.New(pgerr.FeatureNotSupported, "WITH cannot be used in a query that is rewritten by rules into multiple queries")
	}
	if w.s.inWith {
		what := ""
		switch {
		case conditional:
			what = "conditional DO INSTEAD"
		case !instead:
			what = "DO ALSO"
		case count == 0:
			what = "DO INSTEAD NOTHING"
		case count > 1:
			what = "multi-statement DO INSTEAD"
		}
		if what != "" {
			return nil, pgerr.New(pgerr.FeatureNotSupported, "%s rules are not supported for data-modifying statements in WITH", what)
		}
	}
	if instead {
		// What the statement says must make sense all the same.
		if _, _, err := w.rows(&Rule{})(); err != nil {
			return nil, err
		}
	}
	ret := returningOf(w.st)
	own := func() error {
		if instead {
			return nil
		}
		if w.t.Kind == View && conditional && !w.t.HasTrigger(Instead, true, verbEvents[verb]) {
			return notAutomatic(w.t, verb)
		}
		return w.original()
	}
	if w.event == "INSERT" {
		if err := own(); err != nil {
			return nil, err
		}
	}
	for _, rule := range rules {
		for i := range rule.Actions {
			if err := w.action(rule, i, instead); err != nil {
				return nil, err
			}
		}
	}
	if w.event != "INSERT" {
		if err := own(); err != nil {
			return nil, err
		}
	}
	if ret != nil && w.n.Returns < 0 {
		return nil, pgerr.New(pgerr.FeatureNotSupported, "cannot perform %s RETURNING on relation %q", w.event, w.t.Name).
			WithHint("You need an unconditional ON %s DO INSTEAD rule with a RETURNING clause.", w.event)
	}
	return w.out, nil
}

func notAutomatic(t *Table, verb string) error {
	e := pgerr.New(pgerr.ObjectNotInPrerequisiteState, "cannot %s view %q", verb, t.Name).
		WithDetail("Views with conditional DO INSTEAD rules are not automatically updatable.")
	switch verb {
	case "insert into":
		return e.WithHint("To enable inserting into the view, provide an INSTEAD OF INSERT trigger or an unconditional ON INSERT DO INSTEAD rule.")
	case "update":
		return e.WithHint("To enable updating the view, provide an INSTEAD OF UPDATE trigger or an unconditional ON UPDATE DO INSTEAD rule.")
	}
	return e.WithHint("To enable deleting from the view, provide an INSTEAD OF DELETE trigger or an unconditional ON DELETE DO INSTEAD rule.")
}

// original adds the statement itself, for the rows that no conditional rule has taken over.
func (w *rewriting) original() error {
	sub := &scope{b: w.s.b, ctes: w.s.ctes, q: &query{}}
	q, err := sub.unruled(w.st, nil)
	if err != nil {
		return err
	}
	for _, rule := range w.except {
		old, new := w.rowsOf(q.node, nil)
		c, err := w.condition(rule, old, new)
		if err != nil {
			return err
		}
		not := &Not{Arg: &BoolTest{Arg: c, Want: true}}
		switch n := q.node.(type) {
		case *Insert:
			n.Where = append(n.Where, not)
		case *Update:
			n.Input = &Filter{Input: n.Input, Conds: []Expr{not}}
		case *Delete:
			n.Input = &Filter{Input: n.Input, Conds: []Expr{not}}
		}
	}
	w.n.Counts = len(w.n.Steps)
	if returningOf(w.st) != nil {
		w.n.Returns = len(w.n.Steps)
		w.out.cols = q.cols
	}
	w.n.Steps = append(w.n.Steps, q.node)
	return nil
}

// rowsOf makes the rels "old" and "new" of a bound statement. v is its target if it is not a table of its own.
func (w *rewriting) rowsOf(n Node, v *viewTarget) (old, new *rel) {
	cols := func(name string, expr func(i int) Expr) *rel {
		rl := &rel{alias: name, aliased: true}
		for i, c := range w.t.Columns {
			rl.cols = append(rl.cols, relCol{name: c.Name, hidden: c.Hidden, expr: expr(i)})
		}
		return rl
	}
	slot := func(slots []Slot, i int) Expr {
		c := w.t.Columns[i]
		return &Col{Slot: slots[i], T: c.T, Name: c.Name, Pos: -1}
	}
	set := func(list []OrdExpr, i int) Expr {
		for _, x := range list {
			if x.Ord == i {
				return x.E
			}
		}
		return nil
	}
	switch n := n.(type) {
	case *Insert:
		new = cols("new", func(i int) Expr {
			if x := set(n.Source, i); x != nil {
				return x
			}
			if x := set(n.Defaults, i); x != nil {
				return x
			}
			return slot(n.Target.New, i)
		})
	case *Update:
		old = cols("old", func(i int) Expr { return slot(n.Target.Old, i) })
		new = cols("new", func(i int) Expr {
			if x := set(n.Set, i); x != nil {
				return x
			}
			return slot(n.Target.Old, i)
		})
	case *Delete:
		old = cols("old", func(i int) Expr { return slot(n.Target.Old, i) })
	}
	return old, new
}

func rowItems(rels ...*rel) []nsItem {
	var out []nsItem
	for _, r := range rels {
		if r != nil {
			out = append(out, nsItem{rel: r, relVisible: true})
		}
	}
	return out
}

// as binds what a rule says as the owner of its table, under the rule's own search path.
func (w *rewriting) as(rule *Rule, f func() error) error {
	b := w.s.b
	role, path := b.role, b.path
	defer func() { b.role, b.path = role, path; b.stored-- }()
	b.role, b.path = w.t.Owner, rule.Desc.Path
	b.stored++
	return f()
}

func (w *rewriting) condition(rule *Rule, old, new *rel) (Expr, error) {
	sc := &scope{b: w.s.b, q: &query{}, clause: "WHERE", noAgg: true, noWindow: true, noSRF: true, items: rowItems(old, new)}
	var c Expr
	err := w.as(rule, func() (err error) {
		c, err = sc.condition(rule.Where, "WHERE")
		return err
	})
	return c, err
}

// rows binds the rows of the statement anew, with the condition of a rule.
func (w *rewriting) rows(rule *Rule) func() (Node, []nsItem, error) {
	return func() (Node, []nsItem, error) {
		b := w.s.b
		role, path, stored := b.role, b.path, b.stored
		defer func() { b.role, b.path, b.stored = role, path, stored }()
		b.role, b.path, b.stored = w.role, w.path, w.stored
		sub := &scope{b: b, ctes: w.s.ctes, q: &query{}}
		r, _, _ := ruleTarget(w.st)
		v := &viewTarget{b: b, base: w.t, alias: r.Name}
		if r.Alias != nil {
			v.alias = r.Alias.Name
		}
		if w.event != "INSERT" && !r.Only && w.t.Kind != View {
			v.base = w.t.whole()
		}
		q, err := sub.unruled(withReturning(w.st, nil), v)
		if err != nil {
			return nil, nil, err
		}
		old, new := w.rowsOf(q.node, v)
		var in Node
		q.node.inputs(func(c *Node) { in = *c })
		if rule.Where != nil {
			c, err := w.condition(rule, old, new)
			if err != nil {
				return nil, nil, err
			}
			in = &Filter{Input: in, Conds: conjuncts(c)}
		}
		return in, rowItems(old, new), nil
	}
}

// action adds a rule's action.
func (w *rewriting) action(rule *Rule, i int, instead bool) error {
	b := w.s.b
	st := rule.Actions[i]
	once := false
	switch o := w.st.(type) {
	case *ast.UpdateStmt:
		once = o.Where == nil && o.From == nil
	case *ast.DeleteStmt:
		once = o.Where == nil && o.Using == nil
	}
	returns := returningOf(st) != nil && returningOf(w.st) != nil && rule.Desc.Instead && rule.Where == nil
	if !returns {
		st = withReturning(st, nil)
	}
	if !once || rule.rowsMatter[i] {
		b.ruleSources = append(b.ruleSources, w.rows(rule))
		src := &ast.RangeVar{Name: ruleSourceName + strconv.Itoa(len(b.ruleSources)-1), Pos: ast.Pos{Off: -1}}
		var err error
		if st, err = w.overRows(st, src, rule); err != nil {
			return err
		}
	}
	var q *bound
	err := w.as(rule, func() (err error) {
		sub := &scope{b: b, q: &query{}}
		if sel, ok := st.(*ast.SelectStmt); ok {
			q, err = sub.selectStmt(sel)
		} else {
			q, err = sub.dml(st)
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, _, event := ruleTarget(st); instead && event == w.event {
		w.n.Counts = len(w.n.Steps)
	}
	if returns {
		r, _, _ := ruleTarget(w.st)
		rl := &rel{schema: w.t.Schema, alias: r.Name, aliased: r.Alias != nil, table: w.t}
		if r.Alias != nil {
			rl.alias = r.Alias.Name
		}
		at := 0
		for _, c := range w.t.Columns {
			if c.Hidden || at >= len(q.cols) {
				continue
			}
			rl.cols = append(rl.cols, relCol{name: c.Name, expr: q.cols[at].expr})
			at++
		}
		var flag bool
		res, err := w.s.returning(q.node, returningOf(w.st), visibleItem(rl), &flag)
		if err != nil {
			return err
		}
		w.n.Returns = len(w.n.Steps)
		w.out.cols = res.cols
	}
	w.n.Steps = append(w.n.Steps, q.node)
	return nil
}

// overRows has an action read the rows of the rewritten statement.
func (w *rewriting) overRows(st ast.Stmt, src *ast.RangeVar, rule *Rule) (ast.Stmt, error) {
	from := func(list []ast.TableRef) []ast.TableRef { return append([]ast.TableRef{src}, list...) }
	nowhere := ast.Pos{Off: -1}
	lateral := func(sel *ast.SelectStmt) *ast.SelectStmt {
		return &ast.SelectStmt{Targets: []*ast.Target{{Expr: &ast.ColumnRef{Star: true, Pos: nowhere}, Pos: nowhere}}, Pos: nowhere,
			From: []ast.TableRef{src, &ast.SubqueryRef{Lateral: true, Select: sel, Alias: &ast.Alias{Name: "*rows*"}, Pos: nowhere}}}
	}
	over := func(sel *ast.SelectStmt) *ast.SelectStmt {
		if sel.Op == ast.SetNone && sel.With == nil && sel.Values == nil {
			c := *sel
			c.From = from(sel.From)
			return &c
		}
		return lateral(sel)
	}
	switch st := st.(type) {
	case *ast.SelectStmt:
		return over(st), nil
	case *ast.UpdateStmt:
		c := *st
		c.From = from(st.From)
		return &c, nil
	case *ast.DeleteStmt:
		c := *st
		c.Using = from(st.Using)
		return &c, nil
	case *ast.InsertStmt:
		c := *st
		switch {
		case st.Select == nil:
			return st, nil
		case len(st.Select.Values) == 1:
			sel := &ast.SelectStmt{From: []ast.TableRef{src}, Pos: nowhere}
			cols := st.Columns
			if cols == nil {
				var t *Table
				err := w.as(rule, func() (err error) {
					t, err = w.s.b.env.Catalog.Table(w.s.b.path, st.Table.Schema, st.Table.Name)
					return err
				})
				if err != nil || t == nil {
					return st, err
				}
				for _, col := range t.Columns {
					if !col.Hidden {
						cols = append(cols, &ast.Target{Name: col.Name, Pos: nowhere})
					}
				}
			}
			c.Columns = nil
			for i, e := range st.Select.Values[0] {
				if _, ok := e.(*ast.DefaultExpr); ok && i < len(cols) {
					continue
				}
				if i < len(cols) {
					c.Columns = append(c.Columns, cols[i])
				}
				sel.Targets = append(sel.Targets, &ast.Target{Expr: e, Pos: ast.Pos{Off: e.Position()}})
			}
			c.Select = sel
		default:
			c.Select = over(st.Select)
		}
		return &c, nil
	}
	return st, nil
}
