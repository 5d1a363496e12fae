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

var policyCommands = map[string]byte{"all": catalog.PolicyAll, "select": catalog.PolicySelect, "insert": catalog.PolicyInsert,
	"update": catalog.PolicyUpdate, "delete": catalog.PolicyDelete}

func (x *executor) createPolicy(ctx context.Context, s *ast.CreatePolicyStmt) error {
	return withoutPosition(x.addPolicy(ctx, s))
}

// withoutPosition is an error as PostgreSQL sends it for a policy, whose text it no longer has.
func withoutPosition(err error) error {
	if e, ok := err.(*pgerr.Error); ok && e.Position != 0 {
		k := *e
		k.Position = 0
		return &k
	}
	return err
}

func (x *executor) addPolicy(ctx context.Context, s *ast.CreatePolicyStmt) error {
	cmd := policyCommands[s.Cmd]
	switch {
	case cmd == 0:
		return pgerr.New(pgerr.SyntaxError, "unrecognized row security option %q", s.Cmd)
	case (cmd == catalog.PolicySelect || cmd == catalog.PolicyDelete) && s.Check != nil:
		return pgerr.New(pgerr.SyntaxError, "WITH CHECK cannot be applied to SELECT or DELETE")
	case cmd == catalog.PolicyInsert && s.Using != nil:
		return pgerr.New(pgerr.SyntaxError, "only WITH CHECK expression allowed for INSERT")
	}
	t, err := x.policyTable(s.Table)
	if err != nil {
		return err
	}
	p := &catalog.Policy{Name: s.Name, Restrictive: s.Restrictive, Cmd: cmd, Path: slices.Clone(x.path()), Rel: t.Name}
	if p.Roles, err = x.policyRoles(s.Roles); err != nil {
		return err
	}
	if err := x.setPolicy(ctx, t, p, s.Using, s.Check); err != nil {
		return err
	}
	if t.Policy(p.Name) != nil {
		return pgerr.New(pgerr.DuplicateObject, "policy %q for table %q already exists", p.Name, t.Name)
	}
	if p.OID, err = x.View.NewID(ctx); err != nil {
		return err
	}
	nt := t.Clone()
	nt.Policies = append(nt.Policies, p)
	slices.SortFunc(nt.Policies, func(a, b *catalog.Policy) int { return strings.Compare(a.Name, b.Name) })
	return x.View.Put(ctx, nt)
}

// policyTable is a table that the user may give policies to.
func (x *executor) policyTable(r *ast.RangeVar) (*catalog.Table, error) {
	t, err := x.any(r)
	if err != nil {
		return nil, err
	}
	if t.Virtual != nil {
		return nil, pgerr.New(pgerr.InsufficientPrivilege, "permission denied: %q is a system catalog", t.Name)
	}
	if err := x.ownTable(t); err != nil {
		return nil, err
	}
	if t.Kind != catalog.RelTable && t.Kind != catalog.RelPartitioned {
		return nil, pgerr.New(pgerr.WrongObjectType, "%q is not a table", t.Name)
	}
	return t, nil
}

// policyRoles resolves TO; none is PUBLIC.
func (x *executor) policyRoles(specs []*ast.RoleSpec) ([]uint32, error) {
	var out []uint32
	for _, spec := range specs {
		if spec.Kind == ast.RolePublic {
			if len(specs) > 1 && x.Notice != nil {
				x.Notice(pgerr.New(pgerr.InvalidParameterValue, "ignoring specified roles other than PUBLIC").WithSeverity(pgerr.SeverityWarning).
					WithHint("All roles are members of the PUBLIC role."))
			}
			return []uint32{0}, nil
		}
		r, err := x.role(spec)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(out, r.ID) {
			out = append(out, r.ID)
		}
	}
	if len(specs) == 0 {
		out = []uint32{0}
	}
	return out, nil
}

// setPolicy checks the expressions given and stores them, with what they depend on.
func (x *executor) setPolicy(ctx context.Context, t *catalog.Table, p *catalog.Policy, using, check ast.Expr) error {
	for _, e := range []ast.Expr{using, check} {
		if e == nil {
			continue
		}
		if err := x.checkPolicyExpr(ctx, t, e); err != nil {
			return err
		}
	}
	if using != nil {
		p.Using = parser.DeparseExpr(using)
	}
	if check != nil {
		p.Check = parser.DeparseExpr(check)
	}
	p.Uses = nil
	for _, text := range []string{p.Using, p.Check} {
		if text == "" {
			continue
		}
		e, err := parser.ParseExpr(text)
		if err != nil {
			return err
		}
		path := x.lookup
		x.lookup = p.Path
		used := x.relationsIn(x.selectOf(nil, e))
		x.lookup = path
		for _, id := range used {
			if id != t.ID && !slices.Contains(p.Uses, id) {
				p.Uses = append(p.Uses, id)
				if err := x.View.Depend(ctx, id); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (x *executor) checkPolicyExpr(ctx context.Context, t *catalog.Table, e ast.Expr) error {
	var err error
	ast.Walk(e, func(e ast.Expr) bool {
		if f, ok := e.(*ast.FuncCall); ok && err == nil {
			err = checkFuncShape(f, "policy expressions")
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	return x.wantBool(ctx, t, e, "POLICY")
}

func (x *executor) alterPolicy(ctx context.Context, s *ast.AlterPolicyStmt) error {
	return withoutPosition(x.changePolicy(ctx, s))
}

func (x *executor) changePolicy(ctx context.Context, s *ast.AlterPolicyStmt) error {
	t, err := x.policyTable(s.Table)
	if err != nil {
		return err
	}
	nt := t.Clone()
	p := nt.Policy(s.Name)
	if p == nil {
		return pgerr.New(pgerr.UndefinedObject, "policy %q for table %q does not exist", s.Name, t.Name)
	}
	switch {
	case (p.Cmd == catalog.PolicySelect || p.Cmd == catalog.PolicyDelete) && s.Check != nil:
		return pgerr.New(pgerr.SyntaxError, "only USING expression allowed for SELECT, DELETE")
	case p.Cmd == catalog.PolicyInsert && s.Using != nil:
		return pgerr.New(pgerr.SyntaxError, "only WITH CHECK expression allowed for INSERT")
	}
	if s.Roles != nil {
		if p.Roles, err = x.policyRoles(s.Roles); err != nil {
			return err
		}
	}
	if s.Using != nil || s.Check != nil {
		// What stays is read by the names and along the path of its time, and must be by those of now.
		using, check := s.Using, s.Check
		for _, side := range []struct {
			e    *ast.Expr
			text string
		}{{&using, p.Using}, {&check, p.Check}} {
			if *side.e == nil && side.text != "" && (p.Rel != t.Name || !slices.Equal(p.Path, x.path())) {
				if *side.e, err = x.rebasePolicy(t, p, side.text); err != nil {
					return err
				}
			}
		}
		p.Rel, p.Path = t.Name, slices.Clone(x.path())
		if err := x.setPolicy(ctx, t, p, using, check); err != nil {
			return err
		}
	}
	return x.View.Put(ctx, nt)
}

// rebasePolicy reads a stored expression and names its relations so that the search path does not matter.
func (x *executor) rebasePolicy(t *catalog.Table, p *catalog.Policy, text string) (ast.Expr, error) {
	e, err := parser.ParseExpr(text)
	if err != nil {
		return nil, err
	}
	for _, c := range t.Columns {
		policyRefs(x, t, p, e, c.Name, func(r *ast.ColumnRef) {
			if len(r.Fields) == 2 {
				r.Fields[0] = t.Name
			}
		})
	}
	ast.WalkTables(x.selectOf(nil, e), func(r *ast.RangeVar) {
		if u := x.snap().ResolveTable(p.Path, r.Schema, r.Name); u != nil && r.Schema == "" {
			if r.Alias == nil {
				r.Alias = &ast.Alias{Name: r.Name}
			}
			r.Schema, r.Name = x.snap().SchemaName(u.Schema), u.Name
		}
	})
	return e, nil
}

func (x *executor) policyNamed(names []string) (*catalog.Table, *catalog.Policy, error) {
	t, err := x.any(rangeVarOfNames(names[:len(names)-1]))
	if err != nil {
		return nil, nil, err
	}
	if err := x.ownTable(t); err != nil {
		return nil, nil, err
	}
	name := names[len(names)-1]
	p := t.Policy(name)
	if p == nil {
		return t, nil, pgerr.New(pgerr.UndefinedObject, "policy %q for table %q does not exist", name, t.Name)
	}
	return t, p, nil
}

func (x *executor) dropPolicies(ctx context.Context, s *ast.DropStmt) error {
	for _, o := range s.Objects {
		name := o.Names[len(o.Names)-1]
		rel := rangeVarOfNames(o.Names[:len(o.Names)-1])
		t, p, err := x.policyNamed(o.Names)
		if err != nil {
			if c := pgerr.Code(err); s.IfExists && (c == pgerr.UndefinedObject || c == pgerr.UndefinedTable || c == pgerr.InvalidSchemaName) {
				if t == nil {
					x.notice("00000", "relation %q does not exist, skipping", rel.Name)
				} else {
					x.notice("00000", "policy %q for relation %q does not exist, skipping", name, rel.Name)
				}
				continue
			}
			return err
		}
		if err := x.removePolicy(ctx, t.ID, p.Name); err != nil {
			return err
		}
	}
	return nil
}

func (x *executor) removePolicy(ctx context.Context, table uint32, name string) error {
	t := x.snap().TableByID(table)
	if t == nil || t.Policy(name) == nil {
		return nil
	}
	nt := t.Clone()
	nt.Policies = slices.DeleteFunc(nt.Policies, func(p *catalog.Policy) bool { return p.Name == name })
	return x.View.Put(ctx, nt)
}

func (x *executor) renamePolicy(ctx context.Context, s *ast.RenameStmt) error {
	t, err := x.policyTable(s.Table)
	if err != nil {
		return x.missing(err, s.IfExists, s.Table.Name)
	}
	nt := t.Clone()
	if nt.Policy(s.New) != nil {
		return pgerr.New(pgerr.DuplicateObject, "policy %q for table %q already exists", s.New, t.Name)
	}
	p := nt.Policy(s.Sub)
	if p == nil {
		return pgerr.New(pgerr.UndefinedObject, "policy %q for table %q does not exist", s.Sub, t.Name)
	}
	p.Name = s.New
	slices.SortFunc(nt.Policies, func(a, b *catalog.Policy) int { return strings.Compare(a.Name, b.Name) })
	return x.View.Put(ctx, nt)
}

// rowSecurity is ALTER TABLE ... ROW LEVEL SECURITY.
func (x *executor) rowSecurity(ctx context.Context, t *catalog.Table, kind ast.AlterCmd) error {
	if t.Kind == catalog.RelMatView {
		return cannotAlter(t, kind)
	}
	nt := t.Clone()
	switch kind {
	case ast.EnableRowSecurity, ast.DisableRowSecurity:
		nt.RowSecurity = kind == ast.EnableRowSecurity
	default:
		nt.ForceRowSecurity = kind == ast.ForceRowSecurity
	}
	return x.View.Put(ctx, nt)
}

// policyUse is a policy of one table that reads another.
type policyUse struct {
	table  *catalog.Table
	policy *catalog.Policy
}

func (x *executor) policiesUsing(id uint32) []policyUse {
	var out []policyUse
	for _, t := range x.snap().Tables() {
		for _, p := range t.Policies {
			if t.ID != id && slices.Contains(p.Uses, id) {
				out = append(out, policyUse{t, p})
			}
		}
	}
	return out
}

func (u policyUse) describe(x *executor) string {
	return "policy " + u.policy.Name + " on table " + x.displayName(u.table)
}

// policyRefs calls f with every reference to a column of the policy's own table in an expression. In a subquery a
// name without qualification is the table's unless a relation of the subquery has such a column.
func policyRefs(x *executor, t *catalog.Table, p *catalog.Policy, e ast.Expr, column string, f func(*ast.ColumnRef)) {
	var visit func(e ast.Expr, hidden bool)
	visit = func(e ast.Expr, hidden bool) {
		ast.Walk(e, func(e ast.Expr) bool {
			switch e := e.(type) {
			case *ast.ColumnRef:
				n := len(e.Fields)
				if !e.Star && (n == 1 && !hidden && e.Fields[0] == column || n == 2 && e.Fields[0] == p.Rel && e.Fields[1] == column) {
					f(e)
				}
			case *ast.SubLink:
				hides := hidden
				ast.WalkTables(e.Select, func(r *ast.RangeVar) {
					if u := x.snap().ResolveTable(p.Path, r.Schema, r.Name); u == nil || u.Column(column) != nil {
						hides = true
					}
				})
				ast.WalkSelect(e.Select, func(sub ast.Expr) bool {
					visit(sub, hides)
					return false
				}, nil)
			}
			return true
		})
	}
	visit(e, false)
}

// policyMentions reports whether a policy reads a column of its table.
func (x *executor) policyMentions(t *catalog.Table, p *catalog.Policy, column string) bool {
	found := false
	for _, text := range []string{p.Using, p.Check} {
		if e, err := parser.ParseExpr(text); text != "" && err == nil {
			policyRefs(x, t, p, e, column, func(*ast.ColumnRef) { found = true })
		}
	}
	return found
}

// renameInPolicies gives a column another name in the policies of its table, which is nt.
func (x *executor) renameInPolicies(nt *catalog.Table, from, to string) error {
	for _, p := range nt.Policies {
		for _, text := range []*string{&p.Using, &p.Check} {
			if *text == "" {
				continue
			}
			e, err := parser.ParseExpr(*text)
			if err != nil {
				return err
			}
			policyRefs(x, nt, p, e, from, func(r *ast.ColumnRef) { r.Fields[len(r.Fields)-1] = to })
			*text = parser.DeparseExpr(e)
		}
	}
	return nil
}

// renameTableInPolicies rewrites the policies of other tables that read a relation which gets another name or schema.
func (x *executor) renameTableInPolicies(ctx context.Context, t *catalog.Table, schema, name string) error {
	for _, u := range x.policiesUsing(t.ID) {
		nt := x.snap().TableByID(u.table.ID).Clone()
		p := nt.Policy(u.policy.Name)
		for _, text := range []*string{&p.Using, &p.Check} {
			if *text == "" {
				continue
			}
			e, err := parser.ParseExpr(*text)
			if err != nil {
				return err
			}
			ast.WalkTables(x.selectOf(nil, e), func(r *ast.RangeVar) {
				if x.snap().ResolveTable(p.Path, r.Schema, r.Name) != t {
					return
				}
				if r.Alias == nil && r.Name != name {
					r.Alias = &ast.Alias{Name: r.Name}
				}
				r.Catalog, r.Schema, r.Name = "", schema, name
			})
			*text = parser.DeparseExpr(e)
		}
		if err := x.View.Put(ctx, nt); err != nil {
			return err
		}
	}
	return nil
}
