package pgcatalog

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// infoRows are the views of information_schema (ISO/IEC 9075-11) as PostgreSQL defines them.
var infoRows = map[string]generator{
	"information_schema.information_schema_catalog_name": func(g *gen) error { return g.row("catalog_name", g.database()) },
	"information_schema.schemata":                        infoSchemata,
	"information_schema.tables":                          infoTables,
	"information_schema.views":                           infoViews,
	"information_schema.columns":                         infoColumns,
	"information_schema.table_constraints":               infoTableConstraints,
	"information_schema.key_column_usage":                infoKeyColumnUsage,
	"information_schema.constraint_column_usage":         infoConstraintColumnUsage,
	"information_schema.constraint_table_usage":          infoConstraintTableUsage,
	"information_schema.referential_constraints":         infoReferentialConstraints,
	"information_schema.check_constraints":               infoCheckConstraints,
	"information_schema.sequences":                       infoSequences,
	"information_schema.table_privileges":                func(g *gen) error { return infoTablePrivileges(g) },
	"information_schema.role_table_grants":               func(g *gen) error { return infoTablePrivileges(g) },
	"information_schema.enabled_roles":                   infoEnabledRoles,
	"information_schema.applicable_roles":                func(g *gen) error { return nil },
	"information_schema.character_sets":                  infoCharacterSets,
}

func (g *gen) database() string {
	if db := g.snap.Database(); db != nil {
		return db.Name
	}
	return ""
}

func infoSchemata(g *gen) error {
	for _, s := range append(append([]*catalog.Schema{}, catalog.BuiltinSchemas()...), g.snap.Schemas()...) {
		if err := g.row("catalog_name", g.database(), "schema_name", s.Name, "schema_owner", g.snap.RoleName(s.Owner)); err != nil {
			return err
		}
	}
	return nil
}

// infoRelations lists what the standard calls tables: no sequences, no materialized views.
func (g *gen) infoRelations(f func(t *catalog.Table) error) error {
	return g.allTables(func(t *catalog.Table) error {
		switch t.Kind {
		case catalog.RelTable, catalog.RelPartitioned, catalog.RelView:
			return f(t)
		}
		return nil
	})
}

func infoTables(g *gen) error {
	return g.infoRelations(func(t *catalog.Table) error {
		kind, insertable := "BASE TABLE", t.Virtual == nil
		switch {
		case t.Kind == catalog.RelView:
			kind, insertable = "VIEW", g.updatableView(t)
		case t.Persistence == 't':
			kind = "LOCAL TEMPORARY"
		}
		var typedIn, typedSchema, typedName any
		if u := g.snap.UserType(t.OfType); u != nil {
			typedIn, typedSchema, typedName = g.database(), g.snap.SchemaName(u.Schema), u.Name
		}
		return g.row("table_catalog", g.database(), "table_schema", g.snap.SchemaName(t.Schema), "table_name", t.Name,
			"table_type", kind, "is_insertable_into", insertable, "user_defined_type_catalog", typedIn, "user_defined_type_schema", typedSchema,
			"user_defined_type_name", typedName, "is_typed", t.OfType != 0)
	})
}

func infoViews(g *gen) error {
	return g.allTables(func(t *catalog.Table) error {
		if t.Kind != catalog.RelView {
			return nil
		}
		check := "NONE"
		for _, o := range t.Options {
			if c, ok := strings.CutPrefix(o, "check_option="); ok {
				check = strings.ToUpper(c)
			}
		}
		return g.row("table_catalog", g.database(), "table_schema", g.snap.SchemaName(t.Schema), "table_name", t.Name,
			"view_definition", viewDef(t), "check_option", check, "is_updatable", g.updatableView(t), "is_insertable_into", g.updatableView(t),
			"is_trigger_updatable", insteadOf(t, catalog.TriggerUpdate), "is_trigger_deletable", insteadOf(t, catalog.TriggerDelete),
			"is_trigger_insertable_into", insteadOf(t, catalog.TriggerInsert))
	})
}

// insteadOf says whether a view has a trigger that takes the place of an event.
func insteadOf(t *catalog.Table, event uint8) bool {
	return slices.ContainsFunc(t.Triggers, func(tr *catalog.Trigger) bool { return tr.Timing == 'I' && tr.Events&event != 0 })
}

// charOctets is the largest length of a string in bytes that PostgreSQL states for types without a limit.
const charOctets = 1073741824

func infoColumns(g *gen) error {
	return g.infoRelations(func(t *catalog.Table) error {
		position := 0
		for _, c := range t.Columns {
			if c.Dropped || c.Hidden {
				continue
			}
			position++
			var domainName, domainSchema, domainCatalog any
			if d := g.snap.UserType(uint32(c.Type.OID)); d != nil && d.Class == 'd' {
				domainCatalog, domainSchema, domainName = g.database(), g.snap.SchemaName(d.Schema), d.Name
			}
			base, typmod := g.underDomain(c.Type)
			udtName, udtSchema := "", catalog.PgCatalog
			if base != nil {
				udtName, udtSchema = base.Name, g.typeSchema(base)
			}
			var def, generation any
			if c.Default != "" {
				def = columnDefault(g.env, t, c)
			}
			generated := "NEVER"
			if c.Generated != "" {
				generated, generation = "ALWAYS", columnDefault(g.env, t, c)
			}
			var idGeneration, idStart, idIncrement, idMax, idMin any
			cycle := false
			if c.Identity != 0 {
				idGeneration = "BY DEFAULT"
				if c.Identity == 'a' {
					idGeneration = "ALWAYS"
				}
				if st := g.snap.TableByID(c.Sequence); st != nil && st.Sequence != nil {
					s := st.Sequence
					idStart, idIncrement, idMax, idMin = itoa(s.Start), itoa(s.Increment), itoa(s.Max), itoa(s.Min)
					cycle = s.Cycle
				}
			}
			row := []any{"table_catalog", g.database(), "table_schema", g.snap.SchemaName(t.Schema), "table_name", t.Name,
				"column_name", c.Name, "ordinal_position", position, "column_default", def, "is_nullable", !c.NotNull,
				"domain_catalog", domainCatalog, "domain_schema", domainSchema, "domain_name", domainName,
				"udt_catalog", g.database(), "udt_schema", udtSchema, "udt_name", udtName, "dtd_identifier", itoa(int64(position)),
				"is_self_referencing", false, "is_identity", c.Identity != 0, "identity_generation", idGeneration, "identity_start", idStart,
				"identity_increment", idIncrement, "identity_maximum", idMax, "identity_minimum", idMin, "identity_cycle", cycle,
				"is_generated", generated, "generation_expression", generation, "is_updatable", t.Kind == catalog.RelTable && t.Virtual == nil}
			if err := g.row(append(row, facets(base, typmod)...)...); err != nil {
				return err
			}
		}
		return nil
	})
}

func oidOf(t *types.T) types.OID {
	if t == nil {
		return 0
	}
	return t.OID
}

// constraints lists the named constraints of a table.
type constraint struct {
	name, kind       string // as in table_constraints
	columns          []int16
	deferrable, init bool
	fk               *catalog.ForeignKey
	check            string
	distinct         any // of a unique constraint: whether NULLs are told apart; else nil
}

func constraintsOf(t *catalog.Table) []constraint {
	var out []constraint
	for _, ix := range t.AllIndexes() {
		if ix.Constraint != 0 && ix.Exclude == nil {
			kind, distinct := "UNIQUE", any(!ix.NullsNotDistinct)
			if ix.Primary {
				kind, distinct = "PRIMARY KEY", nil
			}
			out = append(out, constraint{name: ix.Name, kind: kind, columns: keyColumns(ix), deferrable: ix.Deferrable, init: ix.InitDeferred, distinct: distinct})
		}
	}
	for _, fk := range t.FKs {
		out = append(out, constraint{name: fk.Name, kind: "FOREIGN KEY", columns: fk.Columns, deferrable: fk.Deferrable, init: fk.InitDeferred, fk: fk})
	}
	for _, c := range t.Checks {
		out = append(out, constraint{name: c.Name, kind: "CHECK", columns: c.Columns, check: c.Expr})
	}
	return out
}

func (g *gen) eachConstraint(f func(t *catalog.Table, schema string, c constraint) error) error {
	for _, t := range g.snap.Tables() {
		for _, c := range constraintsOf(t) {
			if err := f(t, g.snap.SchemaName(t.Schema), c); err != nil {
				return err
			}
		}
	}
	return nil
}

func infoTableConstraints(g *gen) error {
	err := g.eachConstraint(func(t *catalog.Table, schema string, c constraint) error {
		return g.row("constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", c.name, "table_catalog", g.database(),
			"table_schema", schema, "table_name", t.Name, "constraint_type", c.kind, "is_deferrable", c.deferrable, "initially_deferred", c.init,
			"enforced", true, "nulls_distinct", c.distinct)
	})
	if err != nil {
		return err
	}
	return g.notNulls(func(t *catalog.Table, schema, name string, col *catalog.Column) error {
		return g.row("constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", name, "table_catalog", g.database(),
			"table_schema", schema, "table_name", t.Name, "constraint_type", "CHECK", "is_deferrable", false, "initially_deferred", false,
			"enforced", true)
	})
}

// notNulls lists the NOT NULL columns, which the standard counts among the check constraints.
func (g *gen) notNulls(f func(t *catalog.Table, schema, name string, c *catalog.Column) error) error {
	for _, t := range g.snap.Tables() {
		if !t.IsTable() || t.Kind == catalog.RelMatView {
			continue
		}
		for _, c := range t.Columns {
			if c.NotNull && !c.Dropped && !c.Hidden {
				name := itoa(int64(t.Schema)) + "_" + itoa(int64(t.ID)) + "_" + itoa(int64(c.Num)) + "_not_null"
				if err := f(t, g.snap.SchemaName(t.Schema), name, c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func infoKeyColumnUsage(g *gen) error {
	return g.eachConstraint(func(t *catalog.Table, schema string, c constraint) error {
		if c.kind == "CHECK" {
			return nil
		}
		for i, num := range c.columns {
			col := t.ColumnByNum(num)
			if col == nil {
				continue
			}
			var in any
			if c.fk != nil {
				in = g.uniquePosition(c.fk, i)
			}
			if err := g.row("constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", c.name, "table_catalog", g.database(),
				"table_schema", schema, "table_name", t.Name, "column_name", col.Name, "ordinal_position", i+1,
				"position_in_unique_constraint", in); err != nil {
				return err
			}
		}
		return nil
	})
}

// uniquePosition is the place of a foreign key's i-th column within the unique constraint it refers to.
func (g *gen) uniquePosition(fk *catalog.ForeignKey, i int) any {
	_, ix := g.snap.IndexByOID(fk.RefIndex)
	if ix == nil {
		return nil
	}
	for at, k := range ix.Keys {
		if k.Column == fk.RefColumns[i] {
			return at + 1
		}
	}
	return nil
}

func infoConstraintColumnUsage(g *gen) error {
	return g.eachConstraint(func(t *catalog.Table, schema string, c constraint) error {
		of, nums := t, c.columns
		if c.fk != nil {
			if of = g.snap.TableByID(c.fk.RefTable); of == nil {
				return nil
			}
			nums = c.fk.RefColumns
		}
		for _, num := range nums {
			col := of.ColumnByNum(num)
			if col == nil {
				continue
			}
			if err := g.row("table_catalog", g.database(), "table_schema", g.snap.SchemaName(of.Schema), "table_name", of.Name,
				"column_name", col.Name, "constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", c.name); err != nil {
				return err
			}
		}
		return nil
	})
}

func infoConstraintTableUsage(g *gen) error {
	return g.eachConstraint(func(t *catalog.Table, schema string, c constraint) error {
		of := t
		if c.fk != nil {
			if of = g.snap.TableByID(c.fk.RefTable); of == nil {
				return nil
			}
		}
		return g.row("table_catalog", g.database(), "table_schema", g.snap.SchemaName(of.Schema), "table_name", of.Name,
			"constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", c.name)
	})
}

func fkRule(action byte) string {
	switch action {
	case catalog.FKCascade:
		return "CASCADE"
	case catalog.FKSetNull:
		return "SET NULL"
	case catalog.FKSetDefault:
		return "SET DEFAULT"
	case catalog.FKRestrict:
		return "RESTRICT"
	}
	return "NO ACTION"
}

func infoReferentialConstraints(g *gen) error {
	return g.eachConstraint(func(t *catalog.Table, schema string, c constraint) error {
		if c.fk == nil {
			return nil
		}
		match := "NONE"
		if c.fk.MatchFull {
			match = "FULL"
		}
		var uniqueCatalog, uniqueSchema, uniqueName any
		if rt, ix := g.snap.IndexByOID(c.fk.RefIndex); ix != nil {
			uniqueCatalog, uniqueSchema, uniqueName = g.database(), g.snap.SchemaName(rt.Schema), ix.Name
		}
		return g.row("constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", c.name,
			"unique_constraint_catalog", uniqueCatalog, "unique_constraint_schema", uniqueSchema, "unique_constraint_name", uniqueName,
			"match_option", match, "update_rule", fkRule(c.fk.OnUpdate), "delete_rule", fkRule(c.fk.OnDelete))
	})
}

func infoCheckConstraints(g *gen) error {
	err := g.eachConstraint(func(t *catalog.Table, schema string, c constraint) error {
		if c.kind != "CHECK" {
			return nil
		}
		return g.row("constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", c.name, "check_clause", "("+ruleText(g.env, c.check, tableColumns(t), nil, false)+")")
	})
	if err != nil {
		return err
	}
	err = g.typesOfClass('d', func(t *catalog.Type, schema string) error {
		for _, c := range t.Checks {
			text := ruleText(g.env, c.Expr, domainValue(g.snap.TypeByRef(t.Base)), nil, false)
			if err := g.row("constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", c.Name, "check_clause", "("+text+")"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return g.notNulls(func(t *catalog.Table, schema, name string, col *catalog.Column) error {
		return g.row("constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", name,
			"check_clause", col.Name+" IS NOT NULL")
	})
}

func infoSequences(g *gen) error {
	for _, t := range g.snap.Tables() {
		s := t.Sequence
		if s == nil || s.Identity {
			continue
		}
		typ, precision := "bigint", 64
		switch s.Type {
		case types.OIDInt4:
			typ, precision = "integer", 32
		case types.OIDInt2:
			typ, precision = "smallint", 16
		}
		if err := g.row("sequence_catalog", g.database(), "sequence_schema", g.snap.SchemaName(t.Schema), "sequence_name", t.Name,
			"data_type", typ, "numeric_precision", precision, "numeric_precision_radix", 2, "numeric_scale", 0, "start_value", itoa(s.Start),
			"minimum_value", itoa(s.Min), "maximum_value", itoa(s.Max), "increment", itoa(s.Increment), "cycle_option", s.Cycle); err != nil {
			return err
		}
	}
	return nil
}

var privilegeNames = map[rune]string{'a': "INSERT", 'r': "SELECT", 'w': "UPDATE", 'd': "DELETE", 'D': "TRUNCATE", 'x': "REFERENCES", 't': "TRIGGER"}

func infoTablePrivileges(g *gen) error {
	return g.infoRelations(func(t *catalog.Table) error {
		acl := t.ACL
		if acl == nil {
			acl = []catalog.ACL{{Role: t.Owner, Privs: "arwdDxt", Grantable: "arwdDxt", Grantor: t.Owner}}
		}
		for _, a := range acl {
			grantee := g.granteeName(a.Role)
			for _, p := range a.Privs {
				if err := g.row("grantor", g.snap.RoleName(a.Grantor), "grantee", grantee, "table_catalog", g.database(),
					"table_schema", g.snap.SchemaName(t.Schema), "table_name", t.Name, "privilege_type", privilegeNames[p],
					"is_grantable", g.grantable(a, p, t.Owner), "with_hierarchy", p == 'r'); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func infoEnabledRoles(g *gen) error {
	for _, r := range g.snap.Roles() {
		if g.snap.IsMember(g.env.User, r.ID) {
			if err := g.row("role_name", r.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func infoCharacterSets(g *gen) error {
	return g.row("character_set_name", "UTF8", "character_repertoire", "UCS", "form_of_use", "UTF8",
		"default_collate_catalog", g.database(), "default_collate_schema", catalog.PgCatalog, "default_collate_name", "C")
}
