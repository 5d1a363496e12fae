package plan

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// DomainCatalog is a Catalog that knows the constraints of domains.
type DomainCatalog interface {
	DomainChecks(t *types.T) ([]*Check, error)
}

// DomainCheck passes a value of a domain's base type on if the domain's constraints hold.
type DomainCheck struct {
	Arg     Expr
	T       *types.T
	NotNull bool
	Slot    Slot // where the checks find VALUE
	Checks  []NamedExpr
	For     *types.T // the domain that messages name: one over T, or T
}

func (e *DomainCheck) Type() *types.T { return e.T }
func (e *DomainCheck) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil {
		return types.Null, err
	}
	if d.IsNull() && e.NotNull {
		return types.Null, pgerr.New(pgerr.NotNullViolation, "domain %s does not allow null values", types.TypeName(e.For)).WithDataType(e.For.Name).WithSchema(e.For.Schema)
	}
	c.Frame[e.Slot] = d
	for _, k := range e.Checks {
		v, err := k.E.Eval(c)
		if err != nil {
			return types.Null, err
		}
		if !v.IsNull() && !v.Bool() {
			return types.Null, pgerr.New(pgerr.CheckViolation, "value for domain %s violates check constraint %q", types.TypeName(e.For), k.Name).
				WithDataType(e.For.Name).WithSchema(e.For.Schema).WithConstraint(k.Name)
		}
	}
	return d, nil
}
func (e *DomainCheck) kids(f func(*Expr)) { f(&e.Arg) }
func (e *DomainCheck) copy() Expr         { c := *e; return &c }

// domainChecks wraps a value that becomes a domain's in the domain's constraints, those of the domains
// below it first.
func (b *binder) domainChecks(e Expr, to *types.T) (Expr, error) { return b.domainChecksFor(e, to, to) }

func (b *binder) domainChecksFor(e Expr, to, named *types.T) (Expr, error) {
	if to.Def.Base != nil && to.Def.Base.Class == 'd' {
		var err error
		if e, err = b.domainChecksFor(e, to.Def.Base, named); err != nil {
			return nil, err
		}
	}
	x := &DomainCheck{Arg: e, T: to, For: named, NotNull: to.Def.NotNull, Slot: b.newSlot()}
	if dc, ok := b.env.Catalog.(DomainCatalog); ok {
		checks, err := dc.DomainChecks(to)
		if err != nil {
			return nil, err
		}
		for _, k := range checks {
			r := &rel{alias: "value", cols: []relCol{{name: "value", expr: &Col{Slot: x.Slot, T: to.BaseType(), Name: "value", Pos: -1}}}}
			sc := &scope{b: b, q: &query{}, clause: "check constraints", noAgg: true, noWindow: true, noSRF: true, items: visibleItem(r)}
			c, err := sc.condition(k.Expr, "CHECK")
			if err != nil {
				return nil, err
			}
			x.Checks = append(x.Checks, NamedExpr{k.Name, c})
		}
	}
	if !x.NotNull && len(x.Checks) == 0 {
		return &Cast{Arg: e, C: noopCast, T: to, Form: FormImplicit}, nil
	}
	return x, nil
}

// ElemChecks passes an array on if each of its elements satisfies Check, a DomainCheck over Slot.
type ElemChecks struct {
	Arg   Expr
	Check Expr
	Slot  Slot
}

func (e *ElemChecks) Type() *types.T { return e.Arg.Type() }
func (e *ElemChecks) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil || d.IsNull() {
		return d, err
	}
	for _, x := range d.Array().Elems {
		c.Frame[e.Slot] = x
		if _, err := e.Check.Eval(c); err != nil {
			return types.Null, err
		}
	}
	return d, nil
}
func (e *ElemChecks) kids(f func(*Expr)) { f(&e.Arg) }
func (e *ElemChecks) copy() Expr         { c := *e; return &c }

// domainElems wraps an array that has just become one of a domain in the checks of its elements.
func (b *binder) domainElems(e Expr, to *types.T) (Expr, error) {
	x := &ElemChecks{Arg: e, Slot: b.newSlot()}
	check, err := b.domainChecks(&Col{Slot: x.Slot, T: to.Elem.BaseType(), Pos: -1}, to.Elem)
	if err != nil {
		return nil, err
	}
	if _, ok := check.(*Cast); ok {
		return e, nil
	}
	x.Check = check
	return x, nil
}
