package pgcatalog

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/types"
)

// policyRows show row-level security.
var policyRows = map[string]generator{"pg_catalog.pg_policy": pgPolicy, "pg_catalog.pg_policies": pgPolicies}

func pgPolicy(g *gen) error {
	for _, t := range g.snap.Tables() {
		for _, p := range t.Policies {
			roles := p.Roles
			if roles == nil {
				roles = []uint32{}
			}
			if err := g.row("oid", p.OID, "polname", p.Name, "polrelid", t.ID, "polcmd", string(rune(p.Cmd)), "polpermissive", !p.Restrictive,
				"polroles", roles, "polqual", policyText(g.env, t, p, p.Using), "polwithcheck", policyText(g.env, t, p, p.Check)); err != nil {
				return err
			}
		}
	}
	return nil
}

var policyWords = map[byte]string{catalog.PolicyAll: "ALL", catalog.PolicySelect: "SELECT", catalog.PolicyInsert: "INSERT",
	catalog.PolicyUpdate: "UPDATE", catalog.PolicyDelete: "DELETE"}

func pgPolicies(g *gen) error {
	for _, t := range g.snap.Tables() {
		for _, p := range t.Policies {
			roles := []string{}
			for _, r := range p.Roles {
				if r == 0 {
					roles = append(roles, "public")
				} else {
					roles = append(roles, g.snap.RoleName(r))
				}
			}
			slices.Sort(roles)
			mode := "PERMISSIVE"
			if p.Restrictive {
				mode = "RESTRICTIVE"
			}
			if err := g.row("schemaname", g.snap.SchemaName(t.Schema), "tablename", t.Name, "policyname", p.Name, "permissive", mode,
				"roles", roles, "cmd", policyWords[p.Cmd], "qual", policyText(g.env, t, p, p.Using),
				"with_check", policyText(g.env, t, p, p.Check)); err != nil {
				return err
			}
		}
	}
	return nil
}

// policyText prints an expression of a policy, nil if there is none. Relations that it reads are named so that they are
// found from where the reader is.
func policyText(env *catalog.VirtualEnv, t *catalog.Table, p *catalog.Policy, text string) any {
	if text == "" {
		return nil
	}
	e, err := parser.ParseExpr(text)
	if err != nil {
		return text
	}
	subqueries := false
	ast.WalkAll(e, func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.ColumnRef:
			if len(e.Fields) == 2 && e.Fields[0] == p.Rel {
				e.Fields[0] = t.Name
			}
		case *ast.SubLink:
			subqueries = true
			ast.WalkTables(e.Select, func(r *ast.RangeVar) {
				if u := env.Snapshot.ResolveTable(p.Path, r.Schema, r.Name); u != nil && r.Schema == "" && !visible(env, u) {
					r.Schema = env.Snapshot.SchemaName(u.Schema)
				}
			})
		}
		return true
	}, nil)
	if subqueries {
		return parenthesised(withoutParentheses(parser.DeparseExpr(e)))
	}
	return ruleText(env, parser.DeparseExpr(e), tableColumns(t), nil, false)
}

// rowSecurityActive is row_security_active: whether policies of a table apply to the user.
func rowSecurityActive(c *call) (types.Datum, error) {
	id := c.argOID(c.args[0], func(name string) uint32 {
		oid, err := RegLookup(c.env, types.OIDRegclass, name)
		if err != nil {
			return 0
		}
		return oid
	})
	t := c.snap.TableByID(id)
	if t == nil {
		return types.Null, nil
	}
	return boolean(c.snap.PoliciesApply(t, c.env.User))
}

// policyDepends are the rows of pg_depend for a table's policies.
func policyDepends(t *catalog.Table, depend func(kind string, what, on object) error) error {
	for _, p := range t.Policies {
		self := object{class: classPolicy, id: p.OID}
		if err := depend(dependAuto, self, object{class: classClass, id: t.ID}); err != nil {
			return err
		}
		for _, id := range p.Uses {
			if err := depend(dependNormal, self, object{class: classClass, id: id}); err != nil {
				return err
			}
		}
	}
	return nil
}
