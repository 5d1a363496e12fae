package exec

import (
	"context"
	"fmt"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// fkQueue has what foreign keys demand at the end of a statement. Referential actions are statements of
// their own that share the queue, so that what they demand is done too.
type fkQueue struct {
	s *state
	// checks: rows of a child whose parent must exist; by constraint, then by key, once for each.
	checks map[*plan.ForeignKey]map[string]*fkCheck
	order  []*fkCheck
	acts   []fkAction
	// plans are prepared once per statement text.
	plans map[string]*plan.Plan
	depth int
	// uniques are keys of deferrable unique indexes to be looked at.
	uniques    []uniqueCheck
	exclusions []exclusionCheck
	// events are AFTER triggers to be fired.
	events []triggerEvent
}

// uniqueCheck is a key of which a deferrable unique index must hold one entry at most.
type uniqueCheck struct {
	t      *plan.Table
	ix     *plan.Index
	prefix string
	detail string
}

// Deferred are the checks of deferrable constraints that a transaction has put off to its end. A session
// keeps one for each transaction and hands it to every execution; it is not safe for concurrent use. The
// zero value follows the constraints' own INITIALLY DEFERRED.
type Deferred struct {
	checks     []*fkCheck
	acts       []fkAction
	uniques    []uniqueCheck
	exclusions []exclusionCheck
	events     []triggerEvent
	all        int8 // SET CONSTRAINTS ALL: 1 deferred, -1 immediate
	named      map[string]bool
}

// DeferredMark is a point that RollbackTo returns to.
type DeferredMark struct{ checks, acts, uniques, exclusions, events int }

// Mark and RollbackTo go with savepoints: checks of changes that are undone are forgotten.
func (d *Deferred) Mark() DeferredMark {
	return DeferredMark{len(d.checks), len(d.acts), len(d.uniques), len(d.exclusions), len(d.events)}
}

// RollbackTo forgets what was put off after the mark.
func (d *Deferred) RollbackTo(m DeferredMark) {
	d.checks, d.acts, d.uniques, d.events = d.checks[:m.checks], d.acts[:m.acts], d.uniques[:m.uniques], d.events[:m.events]
	d.exclusions = d.exclusions[:m.exclusions]
}

// Set is SET CONSTRAINTS: nil names mean ALL. After setting them immediate the caller calls Run.
func (d *Deferred) Set(names []string, deferred bool) {
	if names == nil {
		d.all, d.named = -1, nil
		if deferred {
			d.all = 1
		}
		return
	}
	if d.named == nil {
		d.named = map[string]bool{}
	}
	for _, n := range names {
		d.named[n] = deferred
	}
}

// Empty reports whether nothing was put off.
func (d *Deferred) Empty() bool {
	return len(d.checks) == 0 && len(d.acts) == 0 && len(d.uniques) == 0 && len(d.exclusions) == 0 && len(d.events) == 0
}

// deferred reports whether a deferrable constraint waits for the end of the transaction.
func (d *Deferred) deferred(name string, initially bool) bool {
	if d == nil {
		return false
	}
	if v, ok := d.named[name]; ok {
		return v
	}
	switch d.all {
	case 1:
		return true
	case -1:
		return false
	}
	return initially
}

// Run checks everything that was put off, before the transaction commits or when SET CONSTRAINTS makes
// constraints immediate. Its errors are those of the constraints.
func (d *Deferred) Run(ctx context.Context, env *Env) error {
	if d.Empty() {
		return nil
	}
	e := *env
	e.Deferred = nil // from here on everything is immediate
	s := newState(&plan.Plan{}, &e)
	q := s.queue()
	q.order, q.acts, q.uniques, q.events = d.checks, d.acts, d.uniques, d.events
	q.exclusions = d.exclusions
	d.checks, d.acts, d.uniques, d.exclusions, d.events = nil, nil, nil, nil, nil
	return q.run(ctx)
}

type fkCheck struct {
	fk    *plan.ForeignKey
	child *plan.Table
	key   []types.Datum
}

// fkAction is a parent row that went away or changed its key.
type fkAction struct {
	fk       *plan.ForeignKey
	parent   *plan.Table
	old, new []types.Datum // of the referenced columns; new is nil for a delete
}

const maxFKDepth = 200

func (s *state) queue() *fkQueue {
	if s.fks == nil {
		s.fks = &fkQueue{s: s, checks: map[*plan.ForeignKey]map[string]*fkCheck{}, plans: map[string]*plan.Plan{}}
	}
	return s.fks
}

// pick returns the values of columns by id.
func pick(t *plan.Table, ids []uint32, row []types.Datum) []types.Datum {
	out := make([]types.Datum, len(ids))
	for i, id := range ids {
		if o := t.ColumnByID(id); o >= 0 {
			out[i] = row[o]
		}
	}
	return out
}

func sameValues(t *plan.Table, ids []uint32, a, b []types.Datum) bool {
	for i, id := range ids {
		o := t.ColumnByID(id)
		if a[i].IsNull() != b[i].IsNull() {
			return false
		}
		if !a[i].IsNull() && types.Compare(t.Columns[o].T, a[i], b[i]) != 0 {
			return false
		}
	}
	return true
}

// queueChild notes that a new or changed row must have its parents. old is nil for a new row.
func (s *state) queueChild(t *plan.Table, old, row []types.Datum) error {
	for _, fk := range t.FKs {
		key := pick(t, fk.ChildCols, row)
		nulls := 0
		for _, d := range key {
			if d.IsNull() {
				nulls++
			}
		}
		if old != nil && sameValues(t, fk.ChildCols, pick(t, fk.ChildCols, old), key) {
			continue
		}
		if nulls > 0 {
			if fk.MatchFull && nulls < len(key) {
				return pgerr.New(pgerr.ForeignKeyViolation, "insert or update on table %q violates foreign key constraint %q", t.Name, fk.Name).
					WithDetail("MATCH FULL does not allow mixing of null and nonnull key values.").
					WithTable(t.Schema, t.Name).WithConstraint(fk.Name)
			}
			continue
		}
		q := s.queue()
		m := q.checks[fk]
		if m == nil {
			m = map[string]*fkCheck{}
			q.checks[fk] = m
		}
		var k strings.Builder
		for i, d := range key {
			o := t.ColumnByID(fk.ChildCols[i])
			k.Write(types.AppendText(nil, d, t.Columns[o].T, nil))
			k.WriteByte(0)
		}
		if m[k.String()] != nil {
			continue
		}
		for i := range key {
			key[i] = cloneDatum(key[i])
		}
		c := &fkCheck{fk: fk, child: t, key: key}
		m[k.String()] = c
		q.order = append(q.order, c)
		if err := s.grow(int64(k.Len()) + 160); err != nil {
			return err
		}
	}
	return nil
}

// queueParent notes that a row that others may refer to was deleted (row is nil) or changed.
func (s *state) queueParent(t *plan.Table, old, row []types.Datum) error {
	for _, fk := range t.Inbound {
		o := pick(t, fk.ParentCols, old)
		var n []types.Datum
		if row != nil {
			n = pick(t, fk.ParentCols, row)
			if sameValues(t, fk.ParentCols, o, n) {
				continue
			}
		}
		null := false
		for i := range o {
			null = null || o[i].IsNull()
			o[i] = cloneDatum(o[i])
		}
		for i := range n {
			n[i] = cloneDatum(n[i])
		}
		if null {
			continue
		}
		q := s.queue()
		q.acts = append(q.acts, fkAction{fk: fk, parent: t, old: o, new: n})
		if err := s.grow(200); err != nil {
			return err
		}
	}
	return nil
}

// run does what is queued: actions first, since they may make checks moot or add some.
func (q *fkQueue) run(ctx context.Context) error {
	if q.depth > 0 {
		return nil // the outermost statement's run goes on
	}
	q.depth++
	defer func() { q.depth-- }()
	for {
		if err := q.settle(ctx); err != nil || len(q.events) == 0 {
			return err
		}
		if err := q.fireAll(ctx); err != nil {
			return err
		}
	}
}

// settle does the actions and checks of constraints.
func (q *fkQueue) settle(ctx context.Context) error {
	var late []fkAction
	later := q.s.env.Deferred
	for len(q.acts) > 0 || len(q.order) > 0 || len(late) > 0 {
		switch {
		case len(q.acts) > 0:
			a := q.acts[0]
			q.acts = q.acts[1:]
			action := a.fk.OnDelete
			if a.new != nil {
				action = a.fk.OnUpdate
			}
			if action == plan.FKNoAction {
				if a.fk.Deferrable && later.deferred(a.fk.Name, a.fk.InitDeferred) {
					later.acts = append(later.acts, a)
				} else {
					late = append(late, a) // judged by the state at the end
				}
				continue
			}
			if err := q.act(ctx, a, action); err != nil {
				return err
			}
		case len(q.order) > 0:
			c := q.order[0]
			q.order = q.order[1:]
			if c.fk.Deferrable && later.deferred(c.fk.Name, c.fk.InitDeferred) {
				later.checks = append(later.checks, c)
				continue
			}
			if err := q.check(ctx, c); err != nil {
				return err
			}
		default:
			a := late[0]
			late = late[1:]
			if err := q.act(ctx, a, plan.FKNoAction); err != nil {
				return err
			}
		}
	}
	q.checks = map[*plan.ForeignKey]map[string]*fkCheck{}
	for _, u := range q.uniques {
		if later.deferred(u.ix.Name, u.ix.InitDeferred) {
			later.uniques = append(later.uniques, u)
			continue
		}
		if err := q.unique(ctx, u); err != nil {
			return err
		}
	}
	q.uniques = nil
	return q.settleExclusions(ctx, later)
}

// unique makes sure that a key of a deferrable unique index is there once.
func (q *fkQueue) unique(ctx context.Context, u uniqueCheck) error {
	p := []byte(u.prefix)
	sc, err := q.s.env.Txn.Scan(ctx, kv.Span{Start: p, End: prefixEnd(p)}, kv.ScanOptions{Lock: kv.LockExclusive, Gaps: true, Limit: 2})
	if err != nil {
		return err
	}
	defer sc.Close()
	n := 0
	for n < 2 && sc.Next(ctx) {
		n++
	}
	if err := sc.Err(); err != nil || n < 2 {
		return err
	}
	return pgerr.New(pgerr.UniqueViolation, "duplicate key value violates unique constraint %q", u.ix.Name).
		WithDetail("%s", u.detail).WithTable(u.t.Schema, u.t.Name).WithConstraint(u.ix.Name)
}

// where builds "c1 = $n AND ..." over columns by id.
func where(t *plan.Table, ids []uint32, from int) ast.Expr {
	var args []ast.Expr
	for i, id := range ids {
		c := t.Columns[t.ColumnByID(id)]
		args = append(args, &ast.OpExpr{Op: "=", Left: &ast.ColumnRef{Fields: []string{c.Name}, Pos: ast.Pos{Off: -1}},
			Right: &ast.Param{Number: from + i, Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}})
	}
	if len(args) == 1 {
		return args[0]
	}
	return &ast.BoolExpr{Op: ast.And, Args: args, Pos: ast.Pos{Off: -1}}
}

func colTypes(t *plan.Table, ids []uint32) []*types.T {
	out := make([]*types.T, len(ids))
	for i, id := range ids {
		c := t.Columns[t.ColumnByID(id)].T
		out[i] = c
		if c.Typmod >= 0 {
			out[i] = c.WithTypmod(-1)
		}
	}
	return out
}

// prepare plans one of the queue's statements, once.
func (q *fkQueue) prepare(ctx context.Context, key string, st ast.Stmt, params []*types.T) (*plan.Plan, error) {
	if p := q.plans[key]; p != nil {
		return p, nil
	}
	if q.s.env.Catalog == nil {
		return nil, pgerr.New(pgerr.InternalError, "foreign keys need a catalog")
	}
	p, err := plan.Prepare(ctx, st, plan.Env{Catalog: q.s.env.Catalog, SearchPath: []string{"pg_catalog"}, ParamTypes: params, NumParams: len(params), Builtin: q.s.env.Builtin})
	if err != nil {
		return nil, err
	}
	q.plans[key] = p
	return p, nil
}

// exec runs a statement within the execution, sharing the queue; it returns the number of rows.
func (q *fkQueue) exec(ctx context.Context, p *plan.Plan, params []types.Datum) (int64, error) {
	env := *q.s.env
	env.Params = params
	s := newState(p, &env)
	s.fks, s.depth, s.trans = q, q.s.depth+1, q.s.trans
	if s.depth > maxFKDepth {
		return 0, pgerr.New(pgerr.StatementTooComplex, "stack depth limit exceeded")
	}
	root, err := s.build(p.Root)
	if err != nil {
		return 0, err
	}
	defer root.close()
	if err := root.open(ctx); err != nil {
		return 0, err
	}
	n := int64(0)
	for {
		ok, err := root.next(ctx)
		if err != nil {
			return 0, err
		}
		if !ok {
			if m, is := rootModify(root); is {
				n = m.count()
			}
			q.endNested(s)
			return n, nil
		}
		n++
	}
}

func one() []*ast.Target {
	return []*ast.Target{{Expr: &ast.Const{Kind: ast.ConstInt, Int: 1, Pos: ast.Pos{Off: -1}}}}
}

// exists asks for a row with these values, locking it against deletion.
func (q *fkQueue) exists(ctx context.Context, key string, t *plan.Table, ids []uint32, vals []types.Datum, paramTypes []*types.T) (bool, error) {
	sel := &ast.SelectStmt{Targets: one(), From: []ast.TableRef{&ast.RangeVar{Schema: t.Schema, Name: t.Name, Only: t.Tree != nil, Pos: ast.Pos{Off: -1}}},
		Where: where(t, ids, 1), Locking: []*ast.LockingClause{{Strength: ast.ForKeyShare}}, Pos: ast.Pos{Off: -1}}
	sel.Limit = &ast.Const{Kind: ast.ConstInt, Int: 1, Pos: ast.Pos{Off: -1}}
	p, err := q.prepare(ctx, key, sel, paramTypes)
	if err != nil {
		return false, err
	}
	n, err := q.exec(ctx, p, vals)
	return n > 0, err
}

// check makes sure that a child's parent exists.
func (q *fkQueue) check(ctx context.Context, c *fkCheck) error {
	parent, err := q.s.env.Catalog.TableByID(c.fk.ParentID)
	if err != nil || parent == nil {
		return err
	}
	ok, err := q.exists(ctx, fmt.Sprintf("check %d %s", c.fk.ChildID, c.fk.Name), parent, c.fk.ParentCols, c.key, colTypes(c.child, c.fk.ChildCols))
	if err != nil || ok {
		return err
	}
	// The row may be gone again by now.
	still, err := q.exists(ctx, fmt.Sprintf("still %d %s", c.fk.ChildID, c.fk.Name), c.child, c.fk.ChildCols, c.key, colTypes(c.child, c.fk.ChildCols))
	if err != nil || !still {
		return err
	}
	return pgerr.New(pgerr.ForeignKeyViolation, "insert or update on table %q violates foreign key constraint %q", c.child.Name, c.fk.Name).
		WithDetail("Key (%s)=(%s) is not present in table \"%s\".", names(c.child, c.fk.ChildCols), q.texts(c.child, c.fk.ChildCols, c.key), parent.Name).
		WithTable(c.child.Schema, c.child.Name).WithConstraint(c.fk.Name)
}

func names(t *plan.Table, ids []uint32) string {
	var out []string
	for _, id := range ids {
		out = append(out, t.Columns[t.ColumnByID(id)].Name)
	}
	return strings.Join(out, ", ")
}

func (q *fkQueue) texts(t *plan.Table, ids []uint32, vals []types.Datum) string {
	var out []string
	for i, id := range ids {
		out = append(out, datumText(q.s, vals[i], t.Columns[t.ColumnByID(id)].T))
	}
	return strings.Join(out, ", ")
}

// act does what a foreign key says about rows that refer to a row that is no more.
func (q *fkQueue) act(ctx context.Context, a fkAction, action plan.FKAction) error {
	child, err := q.s.env.Catalog.TableByID(a.fk.ChildID)
	if err != nil || child == nil {
		return err
	}
	pt := colTypes(a.parent, a.fk.ParentCols)
	key := fmt.Sprintf("act %d %s %d %v", a.fk.ChildID, a.fk.Name, action, a.new != nil)
	rv := &ast.RangeVar{Schema: child.Schema, Name: child.Name, Pos: ast.Pos{Off: -1}}
	switch action {
	case plan.FKNoAction, plan.FKRestrict:
		if action == plan.FKNoAction {
			// Another row may have taken the old key's place.
			root, cols := a.parent, a.fk.ParentCols
			if root.ID != a.fk.ParentID {
				// The key is a partitioned table's: any partition may have it.
				if root, err = q.s.env.Catalog.TableByID(a.fk.ParentID); err != nil || root == nil {
					return err
				}
				cols = a.fk.RootCols
			}
			again, err := q.exists(ctx, fmt.Sprintf("again %d %s", a.fk.ChildID, a.fk.Name), root, cols, a.old, pt)
			if err != nil || again {
				return err
			}
		}
		used, err := q.exists(ctx, key, child, a.fk.ChildCols, a.old, pt)
		if err != nil || !used {
			return err
		}
		return pgerr.New(pgerr.ForeignKeyViolation, "update or delete on table %q violates foreign key constraint %q on table %q",
			a.parent.Name, a.fk.Name, child.Name).
			WithDetail("Key (%s)=(%s) is still referenced from table \"%s\".", names(a.parent, a.fk.ParentCols), q.texts(a.parent, a.fk.ParentCols, a.old), child.Name).
			WithTable(child.Schema, child.Name).WithConstraint(a.fk.Name)
	case plan.FKCascade:
		if a.new == nil {
			p, err := q.prepare(ctx, key, &ast.DeleteStmt{Table: rv, Where: where(child, a.fk.ChildCols, 1)}, pt)
			if err != nil {
				return err
			}
			_, err = q.exec(ctx, p, a.old)
			return err
		}
		up := &ast.UpdateStmt{Table: rv, Where: where(child, a.fk.ChildCols, 1)}
		for i, id := range a.fk.ChildCols {
			up.Set = append(up.Set, &ast.Target{Name: child.Columns[child.ColumnByID(id)].Name,
				Expr: &ast.Param{Number: len(pt) + 1 + i, Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}})
		}
		p, err := q.prepare(ctx, key, up, append(append([]*types.T(nil), pt...), pt...))
		if err != nil {
			return err
		}
		_, err = q.exec(ctx, p, append(append([]types.Datum(nil), a.old...), a.new...))
		return err
	}
	// SET NULL and SET DEFAULT.
	up := &ast.UpdateStmt{Table: rv, Where: where(child, a.fk.ChildCols, 1)}
	set := a.fk.ChildCols
	if a.new == nil && len(a.fk.SetCols) > 0 {
		set = a.fk.SetCols
	}
	for _, id := range set {
		var e ast.Expr = &ast.Const{Kind: ast.ConstNull, Pos: ast.Pos{Off: -1}}
		if action == plan.FKSetDefault {
			e = &ast.DefaultExpr{Pos: ast.Pos{Off: -1}}
		}
		up.Set = append(up.Set, &ast.Target{Name: child.Columns[child.ColumnByID(id)].Name, Expr: e, Pos: ast.Pos{Off: -1}})
	}
	p, err := q.prepare(ctx, key, up, pt)
	if err != nil {
		return err
	}
	_, err = q.exec(ctx, p, a.old)
	return err
}
