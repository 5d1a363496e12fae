package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Security says for whom a statement is planned: whose row-level security policies are put into it.
type Security struct {
	// User is the role; 0 for statements of the server's own, which no policy concerns.
	User uint32
	// Off is row_security = off: a statement that policies would concern fails.
	Off bool
}

// RowSecurity is a table's row-level security. It is nil for tables without.
type RowSecurity struct {
	Policies []*Policy // by name
}

// Policy is a row-level security policy; see catalog.Policy.
type Policy struct {
	*catalog.Policy
	Using, Check ast.Expr
}

// PolicyKind says when a PolicyCheck is made, and so how it fails.
type PolicyKind uint8

const (
	CheckNew      PolicyKind = iota // of a row to be written
	CheckConflict                   // of the row that ON CONFLICT found
	CheckMerge                      // of the row that MERGE found
)

// PolicyCheck is a condition of policies for a row that is written. A row for which it does not hold is an error.
type PolicyCheck struct {
	Kind   PolicyKind
	Policy string // the restrictive policy that says so; "" when it is that no permissive one allows the row
	Table  string
	E      Expr
}

// SecurityCatalog is a Catalog that knows roles. Without it no policy applies.
type SecurityCatalog interface {
	// PoliciesApply reports whether a table shows a role only what its policies let through.
	PoliciesApply(t *Table, role uint32) bool
	// HasPrivsOf reports whether a role has the privileges of another.
	HasPrivsOf(role, target uint32) bool
}

// PoliciesApply implements SecurityCatalog.
func (c *SnapshotCatalog) PoliciesApply(t *Table, role uint32) bool {
	d, ok := t.Descriptor.(*catalog.Table)
	return ok && c.Snap.PoliciesApply(d, role)
}

// HasPrivsOf implements SecurityCatalog.
func (c *SnapshotCatalog) HasPrivsOf(role, target uint32) bool {
	return c.Snap.HasPrivsOf(role, target)
}

// subject is the role whose policies apply where the binder is, 0 for none: the owner of the view that is being bound,
// or else the user.
func (b *binder) subject() uint32 {
	if b.role != 0 && b.env.Security.User != 0 {
		return b.role
	}
	return b.env.Security.User
}

// secured reports whether policies of a table concern what is being bound.
func (b *binder) secured(t *Table) (bool, error) {
	if t.RowSecurity == nil || b.env.Security.User == 0 {
		return false, nil
	}
	b.secure = true
	cat, ok := b.env.Catalog.(SecurityCatalog)
	if !ok || !cat.PoliciesApply(t, b.subject()) {
		return false, nil
	}
	if b.env.Security.Off {
		err := pgerr.New(pgerr.InsufficientPrivilege, "query would be affected by row-level security policy for table %q", t.Name)
		if cat.HasPrivsOf(b.subject(), t.Owner) {
			err = err.WithHint("To disable the policy for the table's owner, use ALTER TABLE NO FORCE ROW LEVEL SECURITY.")
		}
		return false, err
	}
	return true, nil
}

// policies are those of a table for a command, and for the subject.
func (b *binder) policies(t *Table, cmd byte) (permissive, restrictive []*Policy) {
	cat := b.env.Catalog.(SecurityCatalog)
	for _, p := range t.RowSecurity.Policies {
		if p.Cmd != cmd && p.Cmd != catalog.PolicyAll {
			continue
		}
		if !slices.ContainsFunc(p.Roles, func(r uint32) bool { return r == 0 || cat.HasPrivsOf(b.subject(), r) }) {
			continue
		}
		if p.Restrictive {
			restrictive = append(restrictive, p)
		} else {
			permissive = append(permissive, p)
		}
	}
	return
}

// policyExpr binds a policy's expression over a row in slots. Its names are those of the time it was made, and what
// it reads of other tables the user must be allowed to read.
func (b *binder) policyExpr(t *Table, p *Policy, e ast.Expr, slots []Slot) (Expr, error) {
	if slices.Contains(b.policing, t.ID) {
		return nil, pgerr.New(pgerr.InvalidObjectDefinition, "infinite recursion detected in policy for relation %q", t.Name)
	}
	rl := rowRel(t, p.Rel, slots)
	for i := range rl.cols {
		rl.cols[i].table, rl.cols[i].attnum = 0, 0 // reading the row itself takes no privilege
	}
	sc := &scope{b: b, q: &query{}, clause: "policy expressions", noAgg: true, noWindow: true, noSRF: true, items: visibleItem(rl)}
	path := b.path
	b.path = p.Path
	b.policing = append(b.policing, t.ID)
	b.stored++
	b.viewDepth++
	x, err := sc.condition(e, "POLICY")
	b.viewDepth--
	b.stored--
	b.policing = b.policing[:len(b.policing)-1]
	b.path = path
	if err != nil {
		if e, ok := err.(*pgerr.Error); ok {
			k := *e
			k.Position = 0
			err = &k
		}
		return nil, err
	}
	return b.settle(x), nil
}

// anyOf is the OR of conditions, false of none.
func anyOf(list []Expr) Expr {
	switch len(list) {
	case 0:
		return &Const{D: types.NewBool(false), T: types.Bool}
	case 1:
		return list[0]
	}
	return &Or{Args: list}
}

// visible are the conditions under which a command finds a row: all restrictive policies hold, and one permissive.
func (b *binder) visible(t *Table, cmd byte, slots []Slot) ([]Expr, error) {
	permissive, restrictive := b.policies(t, cmd)
	var out, some []Expr
	for _, p := range restrictive {
		if p.Using == nil {
			continue
		}
		x, err := b.policyExpr(t, p, p.Using, slots)
		if err != nil {
			return nil, err
		}
		out = append(out, conjuncts(x)...)
	}
	for _, p := range permissive {
		if p.Using == nil {
			continue
		}
		x, err := b.policyExpr(t, p, p.Using, slots)
		if err != nil {
			return nil, err
		}
		some = append(some, x)
	}
	if len(some) == 0 {
		return []Expr{anyOf(nil)}, nil
	}
	return append(out, conjuncts(anyOf(some))...), nil
}

// checks are the conditions that policies set for a row that a command writes; with using those under which it would
// find the row.
func (b *binder) policyChecks(t *Table, cmd byte, kind PolicyKind, using bool, slots []Slot) ([]PolicyCheck, error) {
	permissive, restrictive := b.policies(t, cmd)
	of := func(p *Policy) ast.Expr {
		if !using && p.Check != nil {
			return p.Check
		}
		return p.Using
	}
	var some []Expr
	for _, p := range permissive {
		if of(p) == nil {
			continue
		}
		x, err := b.policyExpr(t, p, of(p), slots)
		if err != nil {
			return nil, err
		}
		some = append(some, x)
	}
	out := []PolicyCheck{{Kind: kind, Table: t.Name, E: anyOf(some)}}
	if len(some) == 0 {
		return out, nil
	}
	for _, p := range restrictive {
		if of(p) == nil {
			continue
		}
		x, err := b.policyExpr(t, p, of(p), slots)
		if err != nil {
			return nil, err
		}
		out = append(out, PolicyCheck{Kind: kind, Policy: p.Name, Table: t.Name, E: x})
	}
	return out, nil
}

// secureScan puts what a SELECT may see of a table between its scan and the statement.
func (b *binder) secureScan(t *Table, n Node, slots []Slot) (Node, error) {
	ok, err := b.secured(t)
	if err != nil || !ok {
		return n, err
	}
	conds, err := b.visible(t, catalog.PolicySelect, slots)
	if err != nil {
		return nil, err
	}
	return &Filter{Input: n, Conds: conds, Barrier: true}, nil
}

// secureLock are the conditions for locking rows of a table that a SELECT reads.
func (b *binder) secureLock(t *Table, slots []Slot) ([]Expr, error) {
	if ok, err := b.secured(t); err != nil || !ok {
		return nil, err
	}
	return b.visible(t, catalog.PolicyUpdate, slots)
}

// as binds as the owner of the views that a write goes through, the lowest, whose privileges and policies count for
// the table.
func (v *viewTarget) as(f func() error) error {
	role := v.b.role
	defer func() { v.b.role = role }()
	path := v.b.path
	defer func() { v.b.path = path }()
	for t := v.view; t != nil && t.Kind == View; {
		if !t.Invoker {
			v.b.role = t.Owner
		}
		v.b.path = t.ViewPath
		below, err := v.b.table(t.View.From[0].(*ast.RangeVar))
		if err != nil {
			return err
		}
		t = below
	}
	return f()
}

// readsTarget reports whether a write needs to read the table it writes to, as far as it has been bound.
func (v *viewTarget) readsTarget() bool {
	id := v.base.ID
	if v.view != nil {
		id = v.view.ID
	}
	return v.b.needs[needKey{id: id, role: v.b.role, priv: 'r'}] != nil
}

// barrier is what secureWrite fills: the filter over the scan of a write's target, before the target's policies are known.
func (v *viewTarget) barrier(n Node) (Node, error) {
	var ok bool
	err := v.as(func() (err error) {
		ok, err = v.b.secured(v.base)
		return err
	})
	if err != nil || !ok {
		return n, err
	}
	v.filter = &Filter{Input: n, Barrier: true}
	return v.filter, nil
}

// secureFind sets the conditions under which an UPDATE or DELETE, or with cmd 0 a MERGE, finds rows.
func (v *viewTarget) secureFind(cmd byte, old []Slot) error {
	if v.filter == nil {
		return nil
	}
	reads := v.readsTarget()
	return v.as(func() error {
		for _, c := range []byte{cmd, catalog.PolicySelect} {
			if c == 0 || c == catalog.PolicySelect && !reads {
				continue
			}
			conds, err := v.b.visible(v.base, c, old)
			if err != nil {
				return err
			}
			v.filter.Conds = append(v.filter.Conds, conds...)
		}
		return nil
	})
}

// secureTarget sets the checks for the rows that an INSERT or UPDATE writes. Partitions check theirs, as rows of the
// partitioned table.
func (v *viewTarget) secureTarget(cmd byte, w *WriteTarget) error {
	var err error
	if w.Policies, err = v.secureNew(cmd, w.New); err != nil || w.Policies == nil || w.Parts == nil {
		return err
	}
	for _, l := range w.Parts.Leaves {
		if l.Target.Policies, err = v.secureNew(cmd, rootSlots(l.Target.Table, v.base, l.Target.New)); err != nil {
			return err
		}
	}
	return nil
}

// secureNew returns the checks for rows that a command writes.
func (v *viewTarget) secureNew(cmd byte, row []Slot) ([]PolicyCheck, error) {
	reads := v.readsTarget()
	var out []PolicyCheck
	err := v.as(func() error {
		ok, err := v.b.secured(v.base)
		if err != nil || !ok {
			return err
		}
		if out, err = v.b.policyChecks(v.base, cmd, CheckNew, false, row); err != nil || !reads {
			return err
		}
		more, err := v.b.policyChecks(v.base, catalog.PolicySelect, CheckNew, true, row)
		out = append(out, more...)
		return err
	})
	return out, err
}

// secureOld returns the checks for the row that ON CONFLICT or MERGE has found and is about to change.
func (v *viewTarget) secureOld(cmd byte, kind PolicyKind, old []Slot) ([]PolicyCheck, error) {
	reads := v.readsTarget()
	var out []PolicyCheck
	err := v.as(func() error {
		ok, err := v.b.secured(v.base)
		if err != nil || !ok {
			return err
		}
		if out, err = v.b.policyChecks(v.base, cmd, kind, true, old); err != nil || !reads || kind == CheckMerge {
			return err
		}
		more, err := v.b.policyChecks(v.base, catalog.PolicySelect, kind, true, old)
		out = append(out, more...)
		return err
	})
	return out, err
}

// leakproof reports whether a condition tells nothing of the values that it is given but by its result: it may run
// before the policies have decided on a row.
func leakproof(e Expr) bool {
	safe := true
	walkExpr(e, func(x Expr) bool {
		switch x := x.(type) {
		case *Col, *Const, *Param, *And, *Or, *Not, *IsNull, *BoolTest:
		case *Cast:
			safe = safe && x.C.NoOp
		case *InList:
			safe = safe && plainComparison(x.Left.Type())
		case *Func:
			_, ok := comparisons[x.Name]
			safe = safe && ok && x.Form == FormOperator && len(x.Args) == 2 && plainComparison(x.Args[0].Type()) && plainComparison(x.Args[1].Type())
		default:
			safe = false
		}
		return safe
	})
	return safe
}

var comparisons = map[string]struct{}{"=": {}, "<>": {}, "<": {}, "<=": {}, ">": {}, ">=": {}}

// plainComparison reports whether values of a type are compared without an error that could show them.
func plainComparison(t *types.T) bool {
	switch t.OID {
	case types.OIDBool, types.OIDInt2, types.OIDInt4, types.OIDInt8, types.OIDText, types.OIDVarchar, types.OIDBPChar, types.OIDName,
		types.OIDUUID, types.OIDDate, types.OIDTimestamp, types.OIDTimestampTZ, types.OIDFloat4, types.OIDFloat8, types.OIDOid, types.OIDBytea:
		return true
	}
	return false
}

// splitLeakproof parts conditions into those that may pass a barrier and those that may not.
func splitLeakproof(conds []Expr) (safe, rest []Expr) {
	for _, c := range conds {
		if leakproof(c) {
			safe = append(safe, c)
		} else {
			rest = append(rest, c)
		}
	}
	return
}

// secureFor notes for whom a plan has been made.
func (b *binder) secureFor(p *Plan) {
	if b.secure {
		p.Secure = &b.env.Security
	}
}

// Serves reports whether a plan may run for these.
func (p *Plan) Serves(s Security) bool { return p.Secure == nil || *p.Secure == s }

// reads notes that a write reads a column of its target.
func (v *viewTarget) reads(ord int) {
	if v.view == nil && !v.base.Columns[ord].Hidden {
		v.b.need(v.base.ID, 'r', v.base.Columns[ord].AttNum)
	}
}

// secureConflict sets the checks of ON CONFLICT DO UPDATE.
func (v *viewTarget) secureConflict(n *Insert) error {
	c := n.Conflict
	if c == nil || !c.Update || n.Target.Policies == nil {
		return nil
	}
	set := func(c *Conflict, old, row []Slot) (err error) {
		if c.FoundPolicies, err = v.secureOld(catalog.PolicyUpdate, CheckConflict, old); err == nil {
			c.Policies, err = v.secureNew(catalog.PolicyUpdate, row)
		}
		return err
	}
	if n.Target.Parts == nil {
		return set(c, c.Old, n.Target.New)
	}
	for _, l := range n.Target.Parts.Leaves {
		t := l.Target.Table
		if err := set(l.Conflict, rootSlots(t, v.base, l.Conflict.Old), rootSlots(t, v.base, l.Target.New)); err != nil {
			return err
		}
	}
	return nil
}

// secureMerge sets the checks of one WHEN clause. A row that MERGE inserts need not be visible.
func (v *viewTarget) secureMerge(m *MergeWhen, old, row []Slot) error {
	if v.filter == nil {
		return nil
	}
	var err error
	switch m.Action {
	case MergeUpdate:
		if m.FoundPolicies, err = v.secureOld(catalog.PolicyUpdate, CheckMerge, old); err == nil {
			m.Policies, err = v.secureNew(catalog.PolicyUpdate, row)
		}
	case MergeDelete:
		m.FoundPolicies, err = v.secureOld(catalog.PolicyDelete, CheckMerge, old)
	case MergeInsert:
		err = v.as(func() error {
			m.Policies, err = v.b.policyChecks(v.base, catalog.PolicyInsert, CheckNew, false, row)
			return err
		})
	}
	return err
}
