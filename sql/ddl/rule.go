package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// createRule is CREATE RULE.
func (x *executor) createRule(ctx context.Context, s *ast.CreateRuleStmt) error {
	if x.OlderNodes || x.OlderExclusions {
		return errOlderNodes("rules")
	}
	at := *s.Table
	at.Off = -1 // PostgreSQL does not say where
	t, err := x.any(&at)
	if err != nil {
		return err
	}
	switch {
	case t.Virtual != nil:
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied: %q is a system catalog", t.Name)
	case t.Kind == catalog.RelMatView:
		return pgerr.Unsupported("rules on materialized views are not supported")
	case t.Kind != catalog.RelTable && t.Kind != catalog.RelView && t.Kind != catalog.RelPartitioned:
		return pgerr.New(pgerr.WrongObjectType, "relation %q cannot have rules", t.Name).WithDetail("This operation is not supported for %ss.", kindWord(t))
	}
	if err := x.ownTable(t); err != nil {
		return err
	}
	if s.Event == "SELECT" {
		return selectRule(t, s)
	}
	if s.Name == "_RETURN" && t.Kind == catalog.RelView {
		return pgerr.New(pgerr.DuplicateObject, "rule %q for relation %q already exists", s.Name, t.Name)
	}
	r := &catalog.Rule{Name: s.Name, Event: s.Event, Instead: s.Instead, Path: slices.Clone(x.path())}
	if s.Where != nil {
		if err := checkRuleCondition(s); err != nil {
			return err
		}
		r.Where = parser.DeparseExpr(s.Where)
	}
	returning := 0
	for _, a := range s.Actions {
		var ret *ast.Returning
		switch a := a.(type) {
		case *ast.SelectStmt:
			if (a.Op != ast.SetNone) && s.Where != nil {
				return pgerr.Unsupported("conditional UNION/INTERSECT/EXCEPT statements are not implemented")
			}
		case *ast.InsertStmt:
			ret = a.Returning
		case *ast.UpdateStmt:
			ret = a.Returning
		case *ast.DeleteStmt:
			ret = a.Returning
		case *ast.MergeStmt:
			return pgerr.Unsupported("MERGE is not supported in rules")
		default:
			return pgerr.Unsupported("%s in a rule is not supported", a.Tag())
		}
		if ret != nil {
			returning++
			switch {
			case returning > 1:
				return pgerr.Unsupported("cannot have multiple RETURNING lists in a rule")
			case s.Where != nil:
				return pgerr.Unsupported("RETURNING lists are not supported in conditional rules")
			case !s.Instead:
				return pgerr.Unsupported("RETURNING lists are not supported in non-INSTEAD rules")
			}
		}
		r.Actions = append(r.Actions, parser.Deparse(a))
	}
	nt := t.Clone()
	if have := nt.Rule(r.Name); have != nil {
		if !s.Replace {
			return pgerr.New(pgerr.DuplicateObject, "rule %q for relation %q already exists", r.Name, t.Name)
		}
		r.OID, r.Comment = have.OID, have.Comment
		nt.Rules = slices.DeleteFunc(nt.Rules, func(o *catalog.Rule) bool { return o == have })
	} else if r.OID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	nt.Rules = append(nt.Rules, r)
	slices.SortFunc(nt.Rules, func(a, b *catalog.Rule) int { return strings.Compare(a.Name, b.Name) })
	// A rule by itself: what is wrong with others of the table was said when they were made.
	alone := nt.Clone()
	alone.Rules = []*catalog.Rule{r}
	if err := x.View.Put(ctx, alone); err != nil {
		return err
	}
	if err := x.tryRule(ctx, alone, s.Event); err != nil {
		return err
	}
	return x.View.Put(ctx, nt)
}

// tryRule plans a statement that a rule is for, which finds what is wrong with it.
func (x *executor) tryRule(ctx context.Context, t *catalog.Table, event string) error {
	if x.Describe == nil {
		return nil
	}
	i := slices.IndexFunc(t.Columns, func(c *catalog.Column) bool { return !c.Dropped && !c.Hidden })
	r := x.rangeVarOf(t)
	never := &ast.Const{Kind: ast.ConstBool, Pos: ast.Pos{Off: -1}}
	var st ast.Stmt
	switch {
	case event == "INSERT":
		st = &ast.InsertStmt{Table: r}
	case event == "DELETE":
		st = &ast.DeleteStmt{Table: r, Where: never}
	case i >= 0:
		st = &ast.UpdateStmt{Table: r, Where: never, Set: []*ast.Target{{Name: t.Columns[i].Name, Expr: &ast.DefaultExpr{Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}}}}
	default:
		return nil
	}
	_, err := x.Describe(ctx, st)
	switch pgerr.Code(err) {
	case pgerr.InvalidObjectDefinition, pgerr.ObjectNotInPrerequisiteState, pgerr.FeatureNotSupported:
		return nil // of statements, not of the rule
	}
	if e, ok := err.(*pgerr.Error); ok {
		k := *e
		k.Position = 0
		return &k
	}
	return err
}

// selectRule refuses ON SELECT: what views are for.
func selectRule(t *catalog.Table, s *ast.CreateRuleStmt) error {
	sel := func() bool {
		if len(s.Actions) != 1 {
			return false
		}
		_, ok := s.Actions[0].(*ast.SelectStmt)
		return ok
	}
	switch {
	case len(s.Actions) > 1:
		return pgerr.Unsupported("multiple actions for rules on SELECT are not implemented")
	case !sel() || !s.Instead:
		return pgerr.Unsupported("rules on SELECT must have action INSTEAD SELECT")
	case s.Where != nil:
		return pgerr.Unsupported("event qualifications are not implemented for rules on SELECT")
	case t.Kind == catalog.RelView && s.Name != "_RETURN":
		return pgerr.New(pgerr.InvalidObjectDefinition, "view rule for %q must be named \"%s\"", t.Name, "_RETURN")
	case t.Kind == catalog.RelView && !s.Replace:
		return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "%q is already a view", t.Name)
	}
	return pgerr.Unsupported("rules on SELECT are not supported").WithHint("Use views instead.")
}

// checkRuleCondition refuses OLD and NEW where there is none.
func checkRuleCondition(s *ast.CreateRuleStmt) error {
	var err error
	ast.WalkAll(s.Where, func(e ast.Expr) bool {
		if c, ok := e.(*ast.ColumnRef); ok && len(c.Fields) > 1 {
			switch {
			case c.Fields[0] == "old" && s.Event == "INSERT":
				err = noSuchRow("old", c)
			case c.Fields[0] == "new" && s.Event == "DELETE":
				err = noSuchRow("new", c)
			}
		}
		return err == nil
	}, nil)
	return err
}

func noSuchRow(name string, c *ast.ColumnRef) error {
	return pgerr.New(pgerr.UndefinedTable, "invalid reference to FROM-clause entry for table %q", name).WithPosition(int(ast.PgPos(c.Position()))).
		WithHint("There is an entry for table \"%s\", but it cannot be referenced from this part of the query.", name)
}

// dropRules is DROP RULE.
func (x *executor) dropRules(ctx context.Context, s *ast.DropStmt) error {
	for _, o := range s.Objects {
		name := o.Names[len(o.Names)-1]
		t, err := x.any(rangeVarOfNames(o.Names[:len(o.Names)-1]))
		if err != nil {
			if err := x.missing(err, s.IfExists, o.Names[len(o.Names)-2]); err != nil {
				return err
			}
			continue
		}
		if t.Rule(name) == nil {
			if name == "_RETURN" && t.Kind == catalog.RelView {
				return pgerr.New(pgerr.DependentObjectsStillExist, "cannot drop rule _RETURN on view %s because view %s requires it", t.Name, t.Name).
					WithHint("You can drop view %s instead.", t.Name)
			}
			if s.IfExists {
				x.notice("00000", "rule %q for relation %q does not exist, skipping", name, t.Name)
				continue
			}
			return pgerr.New(pgerr.UndefinedObject, "rule %q for relation %q does not exist", name, t.Name)
		}
		if err := x.ownTable(t); err != nil {
			return err
		}
		nt := t.Clone()
		nt.Rules = slices.DeleteFunc(nt.Rules, func(r *catalog.Rule) bool { return r.Name == name })
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
	}
	return nil
}

// renameRule is ALTER RULE ... RENAME TO.
func (x *executor) renameRule(ctx context.Context, s *ast.RenameStmt) error {
	t, err := x.any(s.Table)
	if err != nil {
		return err
	}
	if err := x.ownTable(t); err != nil {
		return err
	}
	nt := t.Clone()
	r := nt.Rule(s.Sub)
	switch {
	case r == nil && s.Sub == "_RETURN" && t.Kind == catalog.RelView:
		return pgerr.New(pgerr.InvalidObjectDefinition, "renaming an ON SELECT rule is not allowed")
	case r == nil:
		return pgerr.New(pgerr.UndefinedObject, "rule %q for relation %q does not exist", s.Sub, t.Name)
	case t.Rule(s.New) != nil || s.New == "_RETURN" && t.Kind == catalog.RelView:
		return pgerr.New(pgerr.DuplicateObject, "rule %q for relation %q already exists", s.New, t.Name)
	}
	r.Name = s.New
	slices.SortFunc(nt.Rules, func(a, b *catalog.Rule) int { return strings.Compare(a.Name, b.Name) })
	return x.View.Put(ctx, nt)
}

// enableRule is ALTER TABLE ... ENABLE or DISABLE RULE.
func (x *executor) enableRule(ctx context.Context, t *catalog.Table, c *ast.AlterTableCmd) error {
	nt := t.Clone()
	r := nt.Rule(c.Name)
	if r == nil {
		return pgerr.New(pgerr.UndefinedObject, "rule %q for relation %q does not exist", c.Name, t.Name)
	}
	r.Disabled = c.Kind == ast.DisableRule
	return x.View.Put(ctx, nt)
}
