package ddl

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// alterDomain changes a domain. A new constraint is checked against the rows that hold the domain, unless it
// is NOT VALID.
func (x *executor) alterDomain(ctx context.Context, s *ast.AlterDomainStmt) error {
	t, err := x.userType(s.Name)
	if err != nil {
		return err
	}
	if t.Class != 'd' {
		return pgerr.New(pgerr.WrongObjectType, "%q is not a domain", strings.Join(s.Name, "."))
	}
	n := *t
	n.Checks = slices.Clone(t.Checks)
	find := func(name string) int {
		return slices.IndexFunc(n.Checks, func(k *catalog.Check) bool { return k.Name == name })
	}
	base := x.snap().TypeByRef(t.Base)
	switch s.Cmd {
	case ast.DomainSetDefault:
		n.Default = ""
		if s.Expr != nil {
			if n.Default, err = x.defaultText(ctx, s.Expr, base, t.Name); err != nil {
				return err
			}
		}
	case ast.DomainDropNotNull:
		n.NotNull = false
	case ast.DomainSetNotNull:
		if t.NotNull {
			return nil
		}
		n.NotNull = true
		if err := x.eachDomainColumn(t, func(u *catalog.Table, c *catalog.Column) error {
			q := x.selectOf(u, number(1))
			q.Where = isNull(column(c.Name))
			if bad, err := x.anyRow(ctx, q); err != nil || !bad {
				return err
			}
			return pgerr.New(pgerr.NotNullViolation, "column %q of table %q contains null values", c.Name, u.Name).
				WithTable(x.snap().SchemaName(u.Schema), u.Name).WithColumn(c.Name)
		}); err != nil {
			return err
		}
	case ast.DomainAddConstraint:
		switch s.Constraint.Kind {
		case ast.ConstrCheck:
		case ast.ConstrNotNull:
			return pgerr.New(pgerr.FeatureNotSupported, "adding NOT NULL constraints to domains this way is not supported").WithHint("Use ALTER DOMAIN SET NOT NULL.")
		default:
			return pgerr.New(pgerr.SyntaxError, "this kind of constraint is not possible for domains")
		}
		if err := x.addDomainCheck(ctx, &n, base, s.Constraint); err != nil {
			return err
		}
		if k := n.Checks[len(n.Checks)-1]; !k.NotValid {
			if err := x.validateDomain(ctx, t, k); err != nil {
				return err
			}
		}
	case ast.DomainDropConstraint:
		i := find(s.ConstraintName)
		if i < 0 {
			if s.IfExists {
				x.notice("00000", "constraint %q of domain %q does not exist, skipping", s.ConstraintName, t.Name)
				return nil
			}
			return pgerr.New(pgerr.UndefinedObject, "constraint %q of domain %q does not exist", s.ConstraintName, t.Name)
		}
		n.Checks = slices.Delete(n.Checks, i, i+1)
	case ast.DomainValidateConstraint:
		i := find(s.ConstraintName)
		if i < 0 {
			return pgerr.New(pgerr.UndefinedObject, "constraint %q of domain %q does not exist", s.ConstraintName, t.Name)
		}
		if !n.Checks[i].NotValid {
			return nil
		}
		if err := x.validateDomain(ctx, t, n.Checks[i]); err != nil {
			return err
		}
		k := *n.Checks[i]
		k.NotValid = false
		n.Checks[i] = &k
	}
	return x.View.Put(ctx, &n)
}

// domainFamily is a domain and all domains over it.
func (x *executor) domainFamily(t *catalog.Type) []*catalog.Type {
	family := []*catalog.Type{t}
	for i := 0; i < len(family); i++ {
		for _, d := range x.snap().Types() {
			if d.Class == 'd' && uint32(d.Base.OID) == family[i].ID {
				family = append(family, d)
			}
		}
	}
	return family
}

// eachDomainColumn visits the columns that hold a domain. One inside an array or a row cannot be checked.
func (x *executor) eachDomainColumn(t *catalog.Type, visit func(u *catalog.Table, c *catalog.Column) error) error {
	for _, d := range x.domainFamily(t) {
		for _, u := range x.tablesUsing(d) {
			for _, c := range u.Columns {
				switch {
				case !usesType(c, d):
				case uint32(c.Type.OID) == d.Array:
					return pgerr.New(pgerr.FeatureNotSupported, "cannot alter type %q because column \"%s.%s\" uses it", d.Name, u.Name, c.Name)
				default:
					if err := visit(u, c); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

func (x *executor) validateDomain(ctx context.Context, t *catalog.Type, k *catalog.Check) error {
	base := x.snap().TypeByRef(t.Base)
	return x.eachDomainColumn(t, func(u *catalog.Table, c *catalog.Column) error {
		e, err := parser.ParseExpr(k.Expr)
		if err != nil {
			return err
		}
		if err := valueIsColumn(&e, c.Name, base); err != nil {
			return err
		}
		q := x.selectOf(u, number(1))
		q.Where = not(e)
		if bad, err := x.anyRow(ctx, q); err != nil || !bad {
			return err
		}
		return pgerr.New(pgerr.CheckViolation, "column %q of table %q contains values that violate the new constraint", c.Name, u.Name).
			WithTable(x.snap().SchemaName(u.Schema), u.Name).WithColumn(c.Name)
	})
}

// valueIsColumn puts a column, as a value of the base type, in the place of VALUE.
func valueIsColumn(slot *ast.Expr, name string, base *types.T) error {
	if c, ok := (*slot).(*ast.ColumnRef); ok && len(c.Fields) == 1 && c.Fields[0] == "value" {
		n, err := parser.ParseType(typeSQL(base))
		if err != nil {
			return fmt.Errorf("the base type of a domain: %w", err)
		}
		*slot = &ast.TypeCast{Arg: column(name), Type: n, Pos: ast.Pos{Off: -1}}
		return nil
	}
	var err error
	ast.Children(*slot, func(p *ast.Expr) {
		if e := valueIsColumn(p, name, base); e != nil {
			err = e
		}
	}, nil)
	return err
}
