package pgcatalog

import (
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// ruleEvents are the values of pg_rewrite.ev_type.
var ruleEvents = map[string]string{"UPDATE": "2", "INSERT": "3", "DELETE": "4"}

func pgRules(g *gen) error {
	for _, t := range g.snap.Tables() {
		for _, r := range t.Rules {
			if err := g.row("schemaname", g.snap.SchemaName(t.Schema), "tablename", t.Name, "rulename", r.Name, "definition", createRuleText(g.snap, t, r)); err != nil {
				return err
			}
		}
	}
	return nil
}

// createRuleText is a rule's CREATE RULE.
func createRuleText(s *catalog.Snapshot, t *catalog.Table, r *catalog.Rule) string {
	out := "CREATE RULE " + types.QuoteIdent(r.Name) + " AS\n    ON " + r.Event + " TO " + types.QuoteIdent(s.SchemaName(t.Schema)) + "." + types.QuoteIdent(t.Name)
	if r.Where != "" {
		out += "\n   WHERE " + r.Where
	}
	out += " DO "
	if r.Instead {
		out += "INSTEAD "
	}
	switch len(r.Actions) {
	case 0:
		return out + "NOTHING;"
	case 1:
		return out + " " + r.Actions[0] + ";"
	}
	return out + "( " + strings.Join(r.Actions, ";\n ") + ";\n);"
}

// ruleDef is pg_get_ruledef.
func ruleDef(c *call) (types.Datum, error) {
	oid := c.oid(0)
	for _, t := range c.snap.Tables() {
		for _, r := range t.Rules {
			if r.OID == oid {
				return str(createRuleText(c.snap, t, r))
			}
		}
		if (t.Kind == catalog.RelView || t.Kind == catalog.RelMatView) && t.ID|1<<31 == oid {
			return str("CREATE RULE \"_RETURN\" AS\n    ON SELECT TO " + types.QuoteIdent(c.snap.SchemaName(t.Schema)) + "." + types.QuoteIdent(t.Name) + " DO INSTEAD " + viewDef(t))
		}
	}
	return types.Null, nil
}
