package pgcatalog

import (
	"cmp"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/types"
)

// infoObjectRows are the views of information_schema about routines, triggers and types. Of routines they list those of users.
var infoObjectRows = map[string]generator{
	"information_schema.routines":                 infoRoutines,
	"information_schema.parameters":               infoParameters,
	"information_schema.triggers":                 infoTriggers,
	"information_schema.triggered_update_columns": infoTriggerColumns,
	"information_schema.domains":                  infoDomains,
	"information_schema.domain_constraints":       infoDomainConstraints,
	"information_schema.domain_udt_usage":         infoDomainTypes,
	"information_schema.user_defined_types":       infoUserTypes,
	"information_schema.attributes":               infoAttributes,
	"information_schema.element_types":            infoElementTypes,
	"information_schema.column_udt_usage":         infoColumnTypes,
	"information_schema.column_domain_usage":      infoColumnDomains,
	"information_schema.view_table_usage":         infoViewTables,
	"information_schema.column_privileges":        infoColumnPrivileges,
	"information_schema.role_column_grants":       infoColumnPrivileges,
	"information_schema.routine_privileges":       infoRoutinePrivileges,
	"information_schema.role_routine_grants":      infoRoutinePrivileges,
}

// standardType is the standard's name for a type.
func standardType(t *types.T) string {
	switch {
	case t == nil:
		return ""
	case t.Elem != nil && t.Category == 'A':
		return "ARRAY"
	case types.ByOID(t.OID) != nil:
		return types.TypeName(t)
	}
	return "USER-DEFINED"
}

// typeSchema names the schema of a type.
func (g *gen) typeSchema(t *types.T) string {
	if u := g.snap.UserType(uint32(t.OID)); u != nil {
		return g.snap.SchemaName(u.Schema)
	}
	if t.Schema != "" {
		return t.Schema
	}
	return catalog.PgCatalog
}

// facets are the columns that tell a type's name, length, precision and scale, which many views share. A domain counts as what it is
// over.
func facets(t *types.T, typmod int32) []any {
	var length, octets, precision, radix, scale, fraction any
	switch oidOf(t) {
	case types.OIDVarchar, types.OIDBPChar:
		octets = charOctets
		if typmod >= 4 {
			length, octets = typmod-4, (typmod-4)*4
		}
	case types.OIDBit, types.OIDVarBit:
		if typmod >= 0 {
			length = typmod
		}
	case types.OIDText:
		octets = charOctets
	case types.OIDInt2:
		precision, radix, scale = 16, 2, 0
	case types.OIDInt4:
		precision, radix, scale = 32, 2, 0
	case types.OIDInt8:
		precision, radix, scale = 64, 2, 0
	case types.OIDFloat4:
		precision, radix = 24, 2
	case types.OIDFloat8:
		precision, radix = 53, 2
	case types.OIDNumeric:
		radix = 10
		if typmod >= 4 {
			precision, scale = (typmod-4)>>16, (typmod-4)&0x7ff
		}
	case types.OIDDate:
		fraction = 0
	case types.OIDTime, types.OIDTimeTZ, types.OIDTimestamp, types.OIDTimestampTZ, types.OIDInterval:
		fraction = 6
		if typmod >= 0 && typmod <= 6 {
			fraction = typmod
		}
	}
	return []any{"data_type", standardType(t), "character_maximum_length", length, "character_octet_length", octets,
		"numeric_precision", precision, "numeric_precision_radix", radix, "numeric_scale", scale, "datetime_precision", fraction}
}

// underDomain is the type that a domain is over in the end, and its typmod.
func (g *gen) underDomain(ref catalog.TypeRef) (*types.T, int32) {
	for {
		d := g.snap.UserType(uint32(ref.OID))
		if d == nil || d.Class != 'd' {
			return g.snap.TypeOf(ref), ref.Typmod
		}
		ref = d.Base
	}
}

func specificName(f *catalog.Function) string { return f.Name + "_" + itoa(int64(f.ID)) }

func infoRoutines(g *gen) error {
	for _, f := range g.snap.Functions() {
		schema := g.snap.SchemaName(f.Schema)
		var kind, definition, dtd, udtCatalog, udtSchema, udtName, typ, isNull any
		body, language := "EXTERNAL", f.Lang
		switch {
		case f.Agg != nil:
			definition = "aggregate_dummy"
		case f.Procedure:
			kind = "PROCEDURE"
		default:
			kind = "FUNCTION"
		}
		if f.Agg == nil && g.snap.IsMember(g.env.User, f.Owner) && !f.Atomic {
			definition = f.Body
		}
		if f.Lang == "sql" {
			body = "SQL"
		}
		if !f.Procedure {
			ret := g.snap.TypeOf(f.Ret)
			typ, dtd, isNull = standardType(ret), "0", f.Strict
			udtCatalog, udtSchema, udtName = g.database(), g.typeSchema(ret), ret.Name
		}
		security := "INVOKER"
		if f.Definer {
			security = "DEFINER"
		}
		if err := g.row("specific_catalog", g.database(), "specific_schema", schema, "specific_name", specificName(f), "routine_catalog", g.database(),
			"routine_schema", schema, "routine_name", f.Name, "routine_type", kind, "data_type", typ, "type_udt_catalog", udtCatalog,
			"type_udt_schema", udtSchema, "type_udt_name", udtName, "dtd_identifier", dtd, "routine_body", body, "routine_definition", definition,
			"external_language", strings.ToUpper(language), "parameter_style", "GENERAL", "is_deterministic", f.Volatility == 'i' || f.Agg != nil, "sql_data_access", "MODIFIES",
			"is_null_call", isNull, "schema_level_routine", true, "max_dynamic_result_sets", 0, "security_type", security, "as_locator", false,
			"is_udt_dependent", false); err != nil {
			return err
		}
	}
	return nil
}

func infoParameters(g *gen) error {
	for _, f := range g.snap.Functions() {
		for i, a := range f.Args {
			mode := map[byte]string{'i': "IN", 'o': "OUT", 'b': "INOUT", 'v': "IN", 't': "OUT"}[a.Mode]
			t := g.snap.TypeOf(a.Type)
			var name, def any
			if a.Name != "" {
				name = a.Name
			}
			if a.Default != "" {
				def = argumentDefault(g.env, a)
			}
			if err := g.row("specific_catalog", g.database(), "specific_schema", g.snap.SchemaName(f.Schema), "specific_name", specificName(f),
				"ordinal_position", i+1, "parameter_mode", mode, "is_result", false, "as_locator", false, "parameter_name", name,
				"data_type", standardType(t), "udt_catalog", g.database(), "udt_schema", g.typeSchema(t), "udt_name", t.Name,
				"dtd_identifier", itoa(int64(i+1)), "parameter_default", def); err != nil {
				return err
			}
		}
	}
	return nil
}

// triggerEvents are those that the standard knows.
var triggerEvents = []struct {
	bit  uint8
	name string
}{{catalog.TriggerInsert, "INSERT"}, {catalog.TriggerDelete, "DELETE"}, {catalog.TriggerUpdate, "UPDATE"}}

func infoTriggers(g *gen) error {
	for _, t := range g.snap.Tables() {
		triggers := slices.SortedFunc(slices.Values(t.Triggers), func(a, b *catalog.Trigger) int { return cmp.Compare(a.Name, b.Name) })
		for i, tr := range triggers {
			text := triggerText(g.env, t, tr, false)
			_, action, _ := strings.Cut(text, " EXECUTE ")
			var condition, old, new any
			if tr.When != "" {
				if at := strings.Index(text, " WHEN ("); at >= 0 {
					condition = strings.TrimSuffix(text[at+len(" WHEN ("):strings.Index(text, " EXECUTE ")], ")")
				}
			}
			if tr.OldTable != "" {
				old = tr.OldTable
			}
			if tr.NewTable != "" {
				new = tr.NewTable
			}
			orientation := "STATEMENT"
			if tr.Row {
				orientation = "ROW"
			}
			for _, e := range triggerEvents {
				if tr.Events&e.bit == 0 {
					continue
				}
				order := 1
				for _, o := range triggers[:i] {
					if o.Events&e.bit != 0 && o.Row == tr.Row && o.Timing == tr.Timing {
						order++
					}
				}
				if err := g.row("trigger_catalog", g.database(), "trigger_schema", g.snap.SchemaName(t.Schema), "trigger_name", tr.Name,
					"event_manipulation", e.name, "event_object_catalog", g.database(), "event_object_schema", g.snap.SchemaName(t.Schema),
					"event_object_table", t.Name, "action_order", order, "action_condition", condition, "action_statement", "EXECUTE "+action,
					"action_orientation", orientation, "action_timing", map[byte]string{'B': "BEFORE", 'A': "AFTER", 'I': "INSTEAD OF"}[tr.Timing],
					"action_reference_old_table", old, "action_reference_new_table", new); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func infoTriggerColumns(g *gen) error {
	for _, t := range g.snap.Tables() {
		for _, tr := range t.Triggers {
			for _, n := range tr.Columns {
				if err := g.row("trigger_catalog", g.database(), "trigger_schema", g.snap.SchemaName(t.Schema), "trigger_name", tr.Name,
					"event_object_catalog", g.database(), "event_object_schema", g.snap.SchemaName(t.Schema), "event_object_table", t.Name,
					"event_object_column", t.ColumnByNum(n).Name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// typesOfClass lists the users' types of a class.
func (g *gen) typesOfClass(class byte, f func(t *catalog.Type, schema string) error) error {
	for _, t := range g.snap.Types() {
		if t.Class == class {
			if err := f(t, g.snap.SchemaName(t.Schema)); err != nil {
				return err
			}
		}
	}
	return nil
}

func infoDomains(g *gen) error {
	return g.typesOfClass('d', func(t *catalog.Type, schema string) error {
		base := g.snap.TypeOf(t.Base)
		var def any
		if t.Default != "" {
			def = ruleText(g.env, t.Default, nil, base, false)
		}
		return g.row(append(facets(base, t.Base.Typmod), "domain_catalog", g.database(), "domain_schema", schema, "domain_name", t.Name,
			"domain_default", def, "udt_catalog", g.database(), "udt_schema", g.typeSchema(base), "udt_name", base.Name, "dtd_identifier", "1")...)
	})
}

func infoDomainConstraints(g *gen) error {
	return g.typesOfClass('d', func(t *catalog.Type, schema string) error {
		for _, c := range t.Checks {
			if err := g.row("constraint_catalog", g.database(), "constraint_schema", schema, "constraint_name", c.Name, "domain_catalog", g.database(),
				"domain_schema", schema, "domain_name", t.Name, "is_deferrable", false, "initially_deferred", false); err != nil {
				return err
			}
		}
		return nil
	})
}

func infoDomainTypes(g *gen) error {
	return g.typesOfClass('d', func(t *catalog.Type, schema string) error {
		base := g.snap.TypeOf(t.Base)
		return g.row("udt_catalog", g.database(), "udt_schema", g.typeSchema(base), "udt_name", base.Name, "domain_catalog", g.database(),
			"domain_schema", schema, "domain_name", t.Name)
	})
}

func infoUserTypes(g *gen) error {
	return g.typesOfClass('c', func(t *catalog.Type, schema string) error {
		return g.row("user_defined_type_catalog", g.database(), "user_defined_type_schema", schema, "user_defined_type_name", t.Name,
			"user_defined_type_category", "STRUCTURED", "is_instantiable", true)
	})
}

func infoAttributes(g *gen) error {
	return g.typesOfClass('c', func(t *catalog.Type, schema string) error {
		for i, f := range t.Fields {
			base, typmod := g.underDomain(f.Type)
			if err := g.row(append(facets(base, typmod), "udt_catalog", g.database(), "udt_schema", schema, "udt_name", t.Name,
				"attribute_name", f.Name, "ordinal_position", i+1, "is_nullable", true, "attribute_udt_catalog", g.database(),
				"attribute_udt_schema", g.typeSchema(base), "attribute_udt_name", base.Name, "dtd_identifier", itoa(int64(i+1)),
				"is_derived_reference_attribute", false)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// infoElementTypes lists the elements of the arrays among columns, parameters, attributes, results and domains.
func infoElementTypes(g *gen) error {
	element := func(schema, object, kind, id string, ref catalog.TypeRef) error {
		t, _ := g.underDomain(ref)
		if t == nil || t.Elem == nil || t.Category != 'A' {
			return nil
		}
		e := t.Elem
		return g.row("object_catalog", g.database(), "object_schema", schema, "object_name", object, "object_type", kind,
			"collection_type_identifier", id, "data_type", standardType(e), "udt_catalog", g.database(), "udt_schema", g.typeSchema(e),
			"udt_name", e.Name, "dtd_identifier", "a"+id)
	}
	err := g.infoRelations(func(t *catalog.Table) error {
		for _, c := range t.Columns {
			if c.Dropped || c.Hidden {
				continue
			}
			if err := element(g.snap.SchemaName(t.Schema), t.Name, "TABLE", itoa(int64(c.Num)), c.Type); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, t := range g.snap.Types() {
		schema := g.snap.SchemaName(t.Schema)
		if t.Class == 'd' {
			if err := element(schema, t.Name, "DOMAIN", "1", t.Base); err != nil {
				return err
			}
		}
		for i, f := range t.Fields {
			if err := element(schema, t.Name, "USER-DEFINED TYPE", itoa(int64(i+1)), f.Type); err != nil {
				return err
			}
		}
	}
	for _, f := range g.snap.Functions() {
		schema := g.snap.SchemaName(f.Schema)
		for i, a := range f.Args {
			if err := element(schema, specificName(f), "ROUTINE", itoa(int64(i+1)), a.Type); err != nil {
				return err
			}
		}
		if err := element(schema, specificName(f), "ROUTINE", "0", f.Ret); err != nil {
			return err
		}
	}
	return nil
}

// eachColumn lists the columns of users' tables and views.
func (g *gen) eachColumn(f func(t *catalog.Table, schema string, c *catalog.Column) error) error {
	return g.infoRelations(func(t *catalog.Table) error {
		if t.Virtual != nil {
			return nil
		}
		for _, c := range t.Columns {
			if c.Dropped || c.Hidden {
				continue
			}
			if err := f(t, g.snap.SchemaName(t.Schema), c); err != nil {
				return err
			}
		}
		return nil
	})
}

func infoColumnTypes(g *gen) error {
	return g.eachColumn(func(t *catalog.Table, schema string, c *catalog.Column) error {
		base, _ := g.underDomain(c.Type)
		return g.row("udt_catalog", g.database(), "udt_schema", g.typeSchema(base), "udt_name", base.Name, "table_catalog", g.database(),
			"table_schema", schema, "table_name", t.Name, "column_name", c.Name)
	})
}

func infoColumnDomains(g *gen) error {
	return g.eachColumn(func(t *catalog.Table, schema string, c *catalog.Column) error {
		d := g.snap.UserType(uint32(c.Type.OID))
		if d == nil || d.Class != 'd' {
			return nil
		}
		return g.row("domain_catalog", g.database(), "domain_schema", g.snap.SchemaName(d.Schema), "domain_name", d.Name, "table_catalog", g.database(),
			"table_schema", schema, "table_name", t.Name, "column_name", c.Name)
	})
}

func infoViewTables(g *gen) error {
	for _, v := range g.snap.Tables() {
		if v.Kind != catalog.RelView {
			continue
		}
		for _, id := range v.DependsOn {
			t := g.snap.TableByID(id)
			if t == nil || t.Virtual != nil || !g.snap.IsMember(g.env.User, t.Owner) {
				continue
			}
			if err := g.row("view_catalog", g.database(), "view_schema", g.snap.SchemaName(v.Schema), "view_name", v.Name, "table_catalog", g.database(),
				"table_schema", g.snap.SchemaName(t.Schema), "table_name", t.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// granteeName is how the standard calls who has a privilege.
func (g *gen) granteeName(role uint32) string {
	if role == 0 {
		return "PUBLIC"
	}
	return g.snap.RoleName(role)
}

// infoColumnPrivileges lists what may be done to columns, by privileges on them or on their whole table.
func infoColumnPrivileges(g *gen) error {
	return g.eachColumn(func(t *catalog.Table, schema string, c *catalog.Column) error {
		acl := t.ACL
		if acl == nil {
			acl = []catalog.ACL{{Role: t.Owner, Privs: "arwx", Grantable: "arwx", Grantor: t.Owner}}
		}
		seen := map[string]bool{}
		for _, a := range append(slices.Clone(acl), c.ACL...) {
			for _, p := range a.Privs {
				if !strings.ContainsRune("arwx", p) {
					continue
				}
				grantor, grantee := g.snap.RoleName(a.Grantor), g.granteeName(a.Role)
				key := grantor + "\x00" + grantee + "\x00" + string(p)
				if seen[key] {
					continue
				}
				seen[key] = true
				if err := g.row("grantor", grantor, "grantee", grantee, "table_catalog", g.database(), "table_schema", schema, "table_name", t.Name,
					"column_name", c.Name, "privilege_type", privilegeNames[p], "is_grantable", g.grantable(a, p, t.Owner)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// grantable says whether who has a privilege may grant it: an owner always may.
func (g *gen) grantable(a catalog.ACL, privilege rune, owner uint32) bool {
	return strings.ContainsRune(a.Grantable, privilege) || a.Role != 0 && g.snap.IsMember(a.Role, owner)
}

func infoRoutinePrivileges(g *gen) error {
	for _, f := range g.snap.Functions() {
		acl := f.ACL
		if acl == nil {
			acl = []catalog.ACL{{Privs: "X", Grantor: f.Owner}, {Role: f.Owner, Privs: "X", Grantable: "X", Grantor: f.Owner}}
		}
		schema := g.snap.SchemaName(f.Schema)
		for _, a := range acl {
			if !strings.Contains(a.Privs, "X") {
				continue
			}
			if err := g.row("grantor", g.snap.RoleName(a.Grantor), "grantee", g.granteeName(a.Role), "specific_catalog", g.database(),
				"specific_schema", schema, "specific_name", specificName(f), "routine_catalog", g.database(), "routine_schema", schema,
				"routine_name", f.Name, "privilege_type", "EXECUTE", "is_grantable", g.grantable(a, 'X', f.Owner)); err != nil {
				return err
			}
		}
	}
	return nil
}

// updatableView says whether rows of a view can be changed as rows of a table: its query takes them from one relation that can, and
// neither merges nor makes any. Which of its columns can be changed is another matter; at least one must.
func (g *gen) updatableView(t *catalog.Table) bool { return updatableView(g.snap, t) }

func updatableView(snap *catalog.Snapshot, t *catalog.Table) bool {
	st, err := parser.ParseOne(t.Query)
	if err != nil {
		return false
	}
	from, ok := plainSource(st.Stmt)
	if !ok {
		return false
	}
	var r catalog.Relation
	if from.Schema != "" {
		r = snap.ResolveRelation(nil, from.Schema, from.Name)
	} else {
		r = snap.ResolveRelation(t.Path, "", from.Name)
	}
	switch {
	case r.Table == nil || r.Index != nil || r.Table.Virtual != nil:
		return false
	case r.Table.Kind == catalog.RelView:
		return updatableView(snap, r.Table)
	}
	return r.Table.Kind == catalog.RelTable || r.Table.Kind == catalog.RelPartitioned
}

// plainSource is the one relation that a view's query takes its rows from, if each row of the view is one of it.
func plainSource(st ast.Stmt) (*ast.RangeVar, bool) {
	q, ok := st.(*ast.SelectStmt)
	if !ok || q.Op != ast.SetNone || q.With != nil || q.Distinct || len(q.GroupBy) > 0 || q.Having != nil || q.Limit != nil || q.Offset != nil ||
		len(q.From) != 1 || q.Values != nil {
		return nil, false
	}
	from, ok := q.From[0].(*ast.RangeVar)
	if !ok {
		return nil, false
	}
	one, column := true, false
	for _, tg := range q.Targets {
		if _, ok := tg.Expr.(*ast.ColumnRef); ok {
			column = true
		}
		ast.WalkAll(tg.Expr, func(e ast.Expr) bool {
			if f, ok := e.(*ast.FuncCall); ok {
				one = one && f.Over == nil && !slices.ContainsFunc(builtin.FuncsNamed(f.Name[len(f.Name)-1]), func(fn *builtin.Func) bool { return fn.Kind == 'a' || fn.RetSet })
			}
			return one
		}, nil)
	}
	return from, one && column
}

// Bits of pg_relation_is_updatable: 1 << CmdType in PostgreSQL.
const (
	updatableInsert = 1 << 3
	updatableUpdate = 1 << 2
	updatableDelete = 1 << 4
)

// relationUpdatable is pg_relation_is_updatable: by itself, by unconditional rules, and if asked by INSTEAD OF triggers.
func relationUpdatable(c *call) (types.Datum, error) {
	t := c.snap.TableByID(c.oid(0))
	if t == nil {
		return types.NewInt(0), nil
	}
	events := 0
	switch {
	case t.Virtual != nil:
	case t.Kind == catalog.RelTable, t.Kind == catalog.RelPartitioned, t.Kind == catalog.RelView && updatableView(c.snap, t):
		events = updatableInsert | updatableUpdate | updatableDelete
	}
	for _, r := range t.Rules {
		if r.Instead && r.Where == "" {
			events |= map[string]int{"INSERT": updatableInsert, "UPDATE": updatableUpdate, "DELETE": updatableDelete}[r.Event]
		}
	}
	if c.flag(1) {
		for bit, event := range map[uint8]int{catalog.TriggerInsert: updatableInsert, catalog.TriggerUpdate: updatableUpdate, catalog.TriggerDelete: updatableDelete} {
			if insteadOf(t, bit) {
				events |= event
			}
		}
	}
	return types.NewInt(int64(events)), nil
}

// columnUpdatable is pg_column_is_updatable. A column of a view can be changed if it is one of the relation below.
func columnUpdatable(c *call) (types.Datum, error) {
	t := c.snap.TableByID(c.oid(0))
	if t == nil {
		return boolean(false)
	}
	all, err := relationUpdatable(&call{ctx: c.ctx, env: c.env, snap: c.snap, fn: c.fn, args: []types.Datum{c.args[0], c.args[2]}})
	if err != nil || all.Int()&(updatableUpdate|updatableDelete) != updatableUpdate|updatableDelete || c.args[1].Int() <= 0 {
		return types.NewBool(false), err
	}
	if t.Kind != catalog.RelView {
		return boolean(true)
	}
	st, err := parser.ParseOne(t.Query)
	if err != nil {
		return types.Null, err
	}
	q, ok := st.Stmt.(*ast.SelectStmt)
	if n := int(c.args[1].Int()); ok && n <= len(q.Targets) {
		_, plain := q.Targets[n-1].Expr.(*ast.ColumnRef)
		return boolean(plain)
	}
	return boolean(true)
}
