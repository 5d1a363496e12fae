package pgcatalog

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// call is a catalog function at work.
type call struct {
	ctx  *builtin.Ctx
	env  *catalog.VirtualEnv
	snap *catalog.Snapshot
	args []types.Datum
	fn   *builtin.Func
}

// oid, text and flag read argument i.
func (c *call) oid(i int) uint32  { return uint32(c.args[i].Int()) }
func (c *call) text(i int) string { return c.args[i].Str() }
func (c *call) flag(i int) bool   { return i < len(c.args) && c.args[i].Bool() }

func str(s string) (types.Datum, error) {
	if s == "" {
		return types.Null, nil
	}
	return types.NewString(s), nil
}

func boolean(b bool) (types.Datum, error) { return types.NewBool(b), nil }

// Function returns the implementation of a function that looks into the catalog, for builtin.Ctx.Hook; nil if
// fn is not one. env is asked at each call.
func Function(fn *builtin.Func, env func() *catalog.VirtualEnv) builtin.EvalFunc {
	f := functions[fn.Name]
	if f == nil {
		f = sizeFunctions[fn.Name]
	}
	if f == nil {
		f = addressFunctions[fn.Name]
	}
	if f == nil {
		switch {
		case strings.HasPrefix(fn.Name, "has_") && strings.HasSuffix(fn.Name, "_privilege"), fn.Name == "pg_has_role":
			f = hasPrivilege
		case strings.HasSuffix(fn.Name, "_is_visible"):
			f = func(c *call) (types.Datum, error) { return boolean(true) }
		case strings.HasPrefix(fn.Name, "pg_stat_get_"):
			f = tableStat
		case strings.HasPrefix(fn.Name, "pg_") && strings.HasSuffix(fn.Name, "_size") && fn.Ret == types.OIDInt8:
			f = func(c *call) (types.Datum, error) { return types.NewInt(0), nil }
		default:
			return nil
		}
	}
	return func(ctx *builtin.Ctx, args []types.Datum) (types.Datum, error) {
		e := env()
		return f(&call{ctx: ctx, env: e, snap: e.Snapshot, args: args, fn: fn})
	}
}

var functions = map[string]func(c *call) (types.Datum, error){
	"pg_stat_reset":            statReset,
	"pg_stat_force_next_flush": nothing, // counts are there at once
	"pg_stat_clear_snapshot":   nothing,
	"acldefault":               aclDefault,
	"pg_get_function_sqlbody":  null,
	"pg_get_userbyid":          func(c *call) (types.Datum, error) { return str(c.snap.RoleName(c.oid(0))) },
	"pg_table_is_visible": func(c *call) (types.Datum, error) {
		if t := c.snap.TableByID(c.oid(0)); t != nil {
			return boolean(visible(c.env, t))
		}
		if _, ix := c.snap.IndexByOID(c.oid(0)); ix != nil {
			r := c.snap.ResolveRelation(c.env.SearchPath, "", ix.Name)
			return boolean(r.Index != nil && r.Index.OID == ix.OID)
		}
		if t := compositeOf(c.snap, c.oid(0)); t != nil {
			return boolean(slices.Contains(c.env.SearchPath, c.snap.SchemaName(t.Schema)))
		}
		return types.Null, nil
	},
	"pg_function_is_visible": functionVisible,
	"pg_operator_is_visible": operatorVisible,
	"pg_type_is_visible": func(c *call) (types.Datum, error) {
		t := c.snap.TypeByOID(types.OID(c.oid(0)))
		if t == nil {
			return types.Null, nil
		}
		if types.ByOID(t.OID) != nil {
			return boolean(true)
		}
		return boolean(typeVisible(c.env, t))
	},
	"pg_get_expr": func(c *call) (types.Datum, error) {
		if s := c.text(0); s == "DEFAULT" || strings.HasPrefix(s, "FOR VALUES ") {
			return str(s) // relpartbound
		}
		// The catalogs hold expressions as this function prints them; only pretty printing is left to do.
		if len(c.args) > 2 && c.flag(2) {
			if t := c.snap.TableByID(c.oid(1)); t != nil {
				return str(ruleText(c.env, c.text(0), tableColumns(t), nil, true))
			}
		}
		return str(c.text(0))
	},
	"pg_get_constraintdef": func(c *call) (types.Datum, error) {
		return str(constraintDef(c.env, c.oid(0), c.flag(1)))
	},
	"pg_get_indexdef": func(c *call) (types.Datum, error) {
		t, ix := c.snap.IndexByOID(c.oid(0))
		if ix == nil {
			return types.Null, nil
		}
		if len(c.args) == 3 && c.args[1].Int() != 0 {
			n := int(c.args[1].Int())
			if n < 1 || n > len(ix.Keys)+len(ix.Include) {
				return types.NewString(""), nil
			}
			if n > len(ix.Keys) {
				return str(columnNames(t, ix.Include[n-1-len(ix.Keys):n-len(ix.Keys)]))
			}
			return str(indexKeyDef(c.env, t, ix.Keys[n-1], len(c.args) > 2 && c.flag(2)))
		}
		return str(indexDef(c.env, t, ix, !c.flag(2) || !visible(c.env, t), c.flag(2)))
	},
	"pg_get_viewdef": func(c *call) (types.Datum, error) {
		oid := uint32(0)
		if c.args[0].Kind() == types.KindString {
			id, err := RegLookup(c.env, types.OIDRegclass, c.text(0))
			if err != nil {
				return types.Null, err
			}
			oid = id
		} else {
			oid = c.oid(0)
		}
		t := c.snap.TableByID(oid)
		if t == nil {
			return types.Null, nil
		}
		return str(viewDef(t))
	},
	"pg_relation_is_updatable":           relationUpdatable,
	"pg_column_is_updatable":             columnUpdatable,
	"pg_get_ruledef":                     ruleDef,
	"row_security_active":                rowSecurityActive,
	"row_security_active_name":           rowSecurityActive,
	"pg_get_triggerdef":                  triggerDef,
	"pg_get_functiondef":                 functionDef,
	"pg_get_partkeydef":                  partKeyDef,
	"pg_partition_root":                  partitionRoot,
	"pg_partition_tree":                  partitionTreeRows,
	"pg_partition_ancestors":             partitionAncestorRows,
	"pg_get_partition_constraintdef":     null,
	"pg_get_statisticsobjdef":            null,
	"pg_get_statisticsobjdef_columns":    null,
	"pg_get_function_result":             functionResult,
	"pg_get_function_arguments":          functionArguments,
	"pg_get_function_identity_arguments": functionArguments,
	"pg_get_serial_sequence":             serialSequence,
	"format_type": func(c *call) (types.Datum, error) {
		if c.args[0].IsNull() {
			return types.Null, nil
		}
		t := c.snap.TypeByOID(types.OID(c.oid(0)))
		if t == nil {
			if c.oid(0) == 0 {
				return types.NewString("-"), nil
			}
			return types.NewString("???"), nil
		}
		if c.args[1].IsNull() {
			return str(typeNameText(c.env, t, types.TypeName))
		}
		return str(typeText(c.env, t.WithTypmod(int32(c.args[1].Int()))))
	},
	"obj_description":   objDescription,
	"shobj_description": shobjDescription,
	"col_description":   colDescription,
	"pg_encoding_to_char": func(c *call) (types.Datum, error) {
		if c.args[0].Int() == utf8Encoding {
			return types.NewString("UTF8"), nil
		}
		return types.NewString(""), nil
	},
	"pg_char_to_encoding": func(c *call) (types.Datum, error) {
		switch strings.ToLower(strings.ReplaceAll(c.text(0), "-", "")) {
		case "utf8", "unicode":
			return types.NewInt(utf8Encoding), nil
		}
		return types.NewInt(-1), nil
	},
	"to_regclass":                toReg(types.OIDRegclass),
	"to_regtype":                 toReg(types.OIDRegtype),
	"to_regnamespace":            toReg(types.OIDRegnamespace),
	"to_regrole":                 toReg(types.OIDRegrole),
	"to_regproc":                 toReg(types.OIDRegproc),
	"to_regprocedure":            toReg(types.OIDRegprocedure),
	"to_regoper":                 toReg(types.OIDRegoper),
	"to_regoperator":             toReg(types.OIDRegoperator),
	"to_regcollation":            toReg(types.OIDRegcollation),
	"pg_relation_is_publishable": func(c *call) (types.Datum, error) { return boolean(false) },
	"pg_relation_filenode": func(c *call) (types.Datum, error) {
		if t := c.snap.TableByID(c.oid(0)); t != nil {
			return types.NewInt(int64(t.StorageID())), nil
		}
		return types.Null, nil
	},
	"pg_tablespace_location": func(c *call) (types.Datum, error) { return types.NewString(""), nil },
	"pg_index_column_has_property": func(c *call) (types.Datum, error) {
		_, ix := c.snap.IndexByOID(c.oid(0))
		n := int(c.args[1].Int())
		if ix == nil || n < 1 || n > len(ix.Keys) {
			return types.Null, nil
		}
		k := ix.Keys[n-1]
		switch strings.ToLower(c.text(2)) {
		case "asc":
			return boolean(!k.Desc)
		case "desc":
			return boolean(k.Desc)
		case "nulls_first":
			return boolean(k.NullsFirst)
		case "nulls_last":
			return boolean(!k.NullsFirst)
		case "orderable", "returnable", "search_array", "search_nulls":
			return boolean(true)
		case "distance_orderable":
			return boolean(false)
		}
		return types.Null, nil
	},
	"pg_indexam_has_property": func(c *call) (types.Datum, error) {
		switch strings.ToLower(c.text(1)) {
		case "can_order", "can_unique", "can_multi_col", "can_include":
			return boolean(true)
		case "can_exclude":
			return boolean(false)
		}
		return types.Null, nil
	},
	"pg_sequence_parameters": null,
}

func null(*call) (types.Datum, error) { return types.Null, nil }

func toReg(typ types.OID) func(c *call) (types.Datum, error) {
	return func(c *call) (types.Datum, error) {
		oid, err := RegLookup(c.env, typ, c.text(0))
		if err != nil {
			return types.Null, nil
		}
		return types.NewInt(int64(oid)), nil
	}
}

// hasPrivilege answers the has_*_privilege functions: a superuser may everything; others what grants say.
// Only the forms for tables and roles look closer, the rest follow ownership of the bootstrap role.
func hasPrivilege(c *call) (types.Datum, error) {
	role := c.snap.RoleByID(c.env.User)
	args := c.args
	// Forms with a leading user name or oid have one argument more than without.
	withUser := 3
	if c.fn.Name == "has_column_privilege" {
		withUser = 4
	}
	if len(args) == withUser {
		if args[0].Kind() == types.KindString {
			if args[0].Str() == "public" {
				role = nil
			} else if role = c.snap.RoleByName(args[0].Str()); role == nil {
				return types.Null, pgerr.New(pgerr.UndefinedObject, "role \"%s\" does not exist", args[0].Str())
			}
		} else {
			role = c.snap.RoleByID(uint32(args[0].Int()))
		}
		args = args[1:]
	}
	switch c.fn.Name {
	case "pg_has_role":
		target := c.snap.RoleByID(c.argOID(args[0], func(name string) uint32 {
			if r := c.snap.RoleByName(name); r != nil {
				return r.ID
			}
			return 0
		}))
		if role == nil || target == nil {
			return boolean(false)
		}
		return boolean(role.Super || c.snap.IsMember(role.ID, target.ID))
	case "has_table_privilege", "has_any_column_privilege", "has_column_privilege", "has_sequence_privilege":
		oid := uint32(0)
		if args[0].Kind() == types.KindString {
			id, err := RegLookup(c.env, types.OIDRegclass, args[0].Str())
			if err != nil {
				return types.Null, err
			}
			oid = id
		} else {
			oid = uint32(args[0].Int())
		}
		t := c.snap.TableByID(oid)
		if t == nil {
			return types.Null, nil
		}
		known := "SELECT INSERT UPDATE DELETE TRUNCATE REFERENCES TRIGGER"
		switch c.fn.Name {
		case "has_any_column_privilege", "has_column_privilege":
			known = "SELECT INSERT UPDATE REFERENCES"
		case "has_sequence_privilege":
			known = "USAGE SELECT UPDATE"
			if t.Sequence == nil {
				return types.Null, pgerr.New(pgerr.WrongObjectType, "%q is not a sequence", t.Name)
			}
		}
		if err := knownPrivileges(args[len(args)-1].Str(), known); err != nil {
			return types.Null, err
		}
		if role != nil && role.Super {
			return boolean(true)
		}
		for p := range strings.SplitSeq(args[len(args)-1].Str(), ",") {
			if holds(c.snap, role, t, strings.TrimSpace(p)) || c.holdsColumn(role, t, args, strings.TrimSpace(p)) {
				return boolean(true)
			}
		}
		return boolean(false)
	}
	priv := strings.ToUpper(args[len(args)-1].Str())
	if known := privilegesOf[c.fn.Name]; known != "" {
		if err := knownPrivileges(args[len(args)-1].Str(), known); err != nil {
			return types.Null, err
		}
	}
	id := uint32(0)
	if role != nil {
		id = role.ID
	}
	switch c.fn.Name {
	case "has_schema_privilege":
		sc := c.snap.SchemaByID(c.argOID(args[0], func(name string) uint32 {
			if s := c.snap.SchemaByName(name); s != nil {
				return s.ID
			}
			return 0
		}))
		if sc == nil {
			return types.Null, nil
		}
		for p := range strings.SplitSeq(priv, ",") {
			letter := byte('U')
			if strings.HasPrefix(strings.TrimSpace(p), "CREATE") {
				letter = 'C'
			}
			if c.snap.MaySchema(id, sc, letter) {
				return boolean(true)
			}
		}
		return boolean(false)
	case "has_tablespace_privilege":
		t := c.snap.TablespaceByID(c.argOID(args[0], func(name string) uint32 {
			if t := c.snap.TablespaceByName(name); t != nil {
				return t.ID
			}
			return 0
		}))
		if t == nil {
			return types.Null, nil
		}
		// The privilege on pg_default never matters: it is every database's unless another one is.
		return boolean(t.ID == catalog.DefaultTablespaceID || c.snap.HasPrivsOf(id, t.Owner) || c.snap.Grants(t.ACL, id, 'C'))
	case "has_function_privilege":
		oid := uint32(0)
		if args[0].Kind() == types.KindString {
			found, err := RegLookup(c.env, types.OIDRegprocedure, args[0].Str())
			if err != nil {
				return types.Null, err
			}
			oid = found
		} else {
			oid = uint32(args[0].Int())
		}
		if f := c.snap.FunctionByID(oid); f != nil {
			return boolean(c.snap.MayExecute(id, f))
		}
		return boolean(true)
	}
	if role == nil {
		return boolean(false)
	}
	// Databases, types and languages: everyone may use them.
	return boolean(role.Super || !strings.Contains(priv, "CREATE"))
}

// privilegesOf are the privileges that the functions about other objects than relations know.
var privilegesOf = map[string]string{"has_schema_privilege": "CREATE USAGE", "has_database_privilege": "CREATE CONNECT TEMPORARY TEMP", "has_function_privilege": "EXECUTE",
	"has_language_privilege": "USAGE", "has_type_privilege": "USAGE", "has_tablespace_privilege": "CREATE"}

// knownPrivileges refuses a list of privileges with one that the kind of object does not have.
func knownPrivileges(list, known string) error {
	for p := range strings.SplitSeq(list, ",") {
		p = strings.TrimSpace(p)
		name, _ := strings.CutSuffix(strings.ToUpper(p), " WITH GRANT OPTION")
		if !slices.Contains(strings.Fields(known), name) {
			return pgerr.New(pgerr.InvalidParameterValue, "unrecognized privilege type: \"%s\"", p)
		}
	}
	return nil
}

func (c *call) argOID(d types.Datum, byName func(string) uint32) uint32 {
	if d.Kind() == types.KindString {
		return byName(d.Str())
	}
	return uint32(d.Int())
}

func holds(snap *catalog.Snapshot, role *catalog.Role, t *catalog.Table, privilege string) bool {
	name, grant := strings.CutSuffix(strings.ToUpper(privilege), " WITH GRANT OPTION")
	if role != nil && snap.IsMember(role.ID, t.Owner) {
		return true
	}
	if letter := privilegeLetter(name); role != nil && !grant && snap.MayAnyData(role.ID, letter) {
		return true
	}
	for _, a := range t.ACL {
		if a.Role != 0 && (role == nil || !snap.IsMember(role.ID, a.Role)) {
			continue
		}
		for _, p := range a.Privs {
			if privilegeNames[p] == name && (!grant || strings.ContainsRune(a.Grantable, p)) {
				return true
			}
		}
	}
	return false
}

// holdsColumn answers for the column, or any column, that has_column_privilege and has_any_column_privilege ask about.
func (c *call) holdsColumn(role *catalog.Role, t *catalog.Table, args []types.Datum, privilege string) bool {
	var cols []int16
	switch {
	case c.fn.Name == "has_any_column_privilege":
	case c.fn.Name != "has_column_privilege":
		return false
	case args[1].Kind() == types.KindString:
		col := t.Column(args[1].Str())
		if col == nil {
			return false
		}
		cols = []int16{col.Num}
	default:
		cols = []int16{int16(args[1].Int())}
	}
	id := uint32(0)
	if role != nil {
		id = role.ID
	}
	letter := privilegeLetter(strings.ToUpper(privilege))
	return letter != 0 && c.snap.MayTable(id, t, letter, cols)
}

// privilegeLetter is PostgreSQL's letter for a privilege, 0 for what is none.
func privilegeLetter(name string) byte {
	for l, n := range privilegeNames {
		if n == name {
			return byte(l)
		}
	}
	return 0
}

func functionResult(c *call) (types.Datum, error) {
	if u := c.snap.FunctionByID(c.oid(0)); u != nil {
		if u.Procedure {
			return types.Null, nil
		}
		return str(userResult(c.env, u))
	}
	f := builtin.FuncByOID(types.OID(c.oid(0)))
	if f == nil {
		return types.Null, nil
	}
	s := typeName(f.Ret)
	if f.RetSet {
		s = "SETOF " + s
	}
	return str(s)
}

func typeName(oid types.OID) string {
	if t := types.ByOID(oid); t != nil {
		return types.TypeName(t)
	}
	return itoa(int64(oid))
}

func functionArguments(c *call) (types.Datum, error) {
	if u := c.snap.FunctionByID(c.oid(0)); u != nil {
		return types.NewString(userArguments(c.env, u, c.fn.Name == "pg_get_function_arguments")), nil
	}
	f := builtin.FuncByOID(types.OID(c.oid(0)))
	if f == nil {
		return types.Null, nil
	}
	var parts []string
	for i, a := range f.Args {
		s := ""
		if i == len(f.Args)-1 && f.Variadic != 0 {
			s = "VARIADIC "
		}
		if i < len(f.ArgNames) && f.ArgNames[i] != "" {
			s += f.ArgNames[i] + " "
		}
		parts = append(parts, s+typeName(a))
	}
	return types.NewString(strings.Join(parts, ", ")), nil
}

func procName(oid types.OID, signature bool) (string, bool) {
	f := builtin.FuncByOID(oid)
	if f == nil {
		if oid == 0 {
			return "-", true
		}
		return "", false
	}
	if !signature {
		return f.Name, true
	}
	var args []string
	for _, a := range f.Args {
		args = append(args, typeName(a))
	}
	return f.Name + "(" + strings.Join(args, ",") + ")", true
}

func lookupProc(env *catalog.VirtualEnv, schema, name, text string, signature bool) (uint32, error) {
	args := ""
	if signature {
		var ok bool
		before, after, found := strings.Cut(text, "(")
		if args, ok = strings.CutSuffix(strings.TrimSpace(after), ")"); !found || !ok {
			return 0, pgerr.New(pgerr.InvalidTextRepresentation, "expected a left parenthesis")
		}
		var err error
		if schema, name, err = splitName(before); err != nil {
			return 0, err
		}
	}
	var found []*builtin.Func
	if schema == "" || schema == catalog.PgCatalog {
		for _, f := range builtin.FuncsNamed(name) {
			if !signature {
				found = append(found, f)
				continue
			}
			sig, _ := procName(f.OID, true)
			if sig == f.Name+"("+normaliseArgs(args)+")" {
				found = append(found, f)
			}
		}
	}
	users := userProcs(env, schema, name, normaliseArgs(args), signature)
	switch {
	case len(found) == 0 && (len(users) == 1 || signature && len(users) > 0):
		return users[0].ID, nil
	case len(users) > 0:
		return 0, pgerr.New(pgerr.AmbiguousFunction, "more than one function named \"%s\"", text)
	}
	switch len(found) {
	case 0:
		return 0, pgerr.New(pgerr.UndefinedFunction, "function \"%s\" does not exist", text)
	case 1:
		return uint32(found[0].OID), nil
	}
	return 0, pgerr.New(pgerr.AmbiguousFunction, "more than one function named \"%s\"", text)
}

func normaliseArgs(args string) string {
	var out []string
	for a := range strings.SplitSeq(args, ",") {
		a = strings.TrimSpace(a)
		if n, err := parser.ParseType(a); err == nil {
			if t, err := (&catalog.Snapshot{}).ResolveType(nil, n); err == nil {
				a = types.TypeName(t)
			}
		}
		out = append(out, a)
	}
	return strings.Join(out, ",")
}

func lookupType(env *catalog.VirtualEnv, text string) (uint32, error) {
	n, err := parser.ParseType(text)
	if err != nil {
		return 0, err
	}
	t, err := env.Snapshot.ResolveType(env.SearchPath, n)
	if err != nil {
		return 0, withoutPosition(err)
	}
	return uint32(t.OID), nil
}

// withoutPosition drops the place in a text that is not the statement's.
func withoutPosition(err error) error {
	if e, ok := err.(*pgerr.Error); ok && e.Position != 0 {
		c := *e
		c.Position = 0
		return &c
	}
	return err
}

func serialSequence(c *call) (types.Datum, error) {
	oid, err := RegLookup(c.env, types.OIDRegclass, c.text(0))
	if err != nil {
		return types.Null, err
	}
	t := c.snap.TableByID(oid)
	if t == nil {
		return types.Null, nil
	}
	col := t.Column(c.text(1))
	if col == nil {
		return types.Null, pgerr.New(pgerr.UndefinedColumn, "column \"%s\" of relation \"%s\" does not exist", c.text(1), t.Name)
	}
	for _, s := range c.snap.Tables() {
		if s.Sequence != nil && s.Sequence.OwnerTable == t.ID && s.Sequence.OwnerColumn == col.Num {
			return str(quoteIdent(c.snap.SchemaName(s.Schema)) + "." + quoteIdent(s.Name))
		}
	}
	return types.Null, nil
}

func objDescription(c *call) (types.Datum, error) {
	oid := c.oid(0)
	class := ""
	if len(c.args) > 1 {
		class = c.text(1)
	}
	if class == "" || class == "pg_class" {
		if t := c.snap.TableByID(oid); t != nil {
			return str(t.Comment)
		}
		if _, ix := c.snap.IndexByOID(oid); ix != nil {
			return str(ix.Comment)
		}
	}
	if class == "" || class == "pg_namespace" {
		if s := c.snap.SchemaByID(oid); s != nil {
			return str(s.Comment)
		}
	}
	if class == "" || class == "pg_type" {
		if t := c.snap.UserType(oid); t != nil {
			return str(t.Comment)
		}
	}
	if d := builtinDescription(class, oid); d != "" {
		return str(d)
	}
	if class == "" || class == "pg_proc" {
		if f := c.snap.FunctionByID(oid); f != nil {
			return str(f.Comment)
		}
	}
	if o := c.snap.OperatorByID(oid); o != nil && (class == "" || class == "pg_operator") {
		return str(o.Comment)
	}
	if k, ok := c.snap.ByID(oid).(*catalog.Cast); ok && (class == "" || class == "pg_cast") {
		return str(k.Comment)
	}
	if e, ok := c.snap.ByID(oid).(*catalog.EventTrigger); ok && (class == "" || class == "pg_event_trigger") {
		return str(e.Comment)
	}
	if class == "" || class == "pg_extension" {
		if e := c.snap.ExtensionByID(oid); e != nil {
			return str(e.Comment)
		}
	}
	if class == "" || class == "pg_trigger" || class == "pg_policy" {
		for _, t := range c.snap.Tables() {
			for _, tr := range t.Triggers {
				if tr.OID == oid && class != "pg_policy" {
					return str(tr.Comment)
				}
			}
			for _, p := range t.Policies {
				if p.OID == oid && class != "pg_trigger" {
					return str(p.Comment)
				}
			}
		}
	}
	if class == "" || class == "pg_constraint" {
		for _, t := range c.snap.Tables() {
			for _, ix := range t.AllIndexes() {
				if ix.Constraint == oid && oid != 0 {
					return str(ix.ConstraintComment)
				}
			}
			for _, ck := range t.Checks {
				if ck.OID == oid {
					return str(ck.Comment)
				}
			}
			for _, fk := range t.FKs {
				if fk.OID == oid {
					return str(fk.Comment)
				}
			}
		}
	}
	return types.Null, nil
}

func shobjDescription(c *call) (types.Datum, error) {
	switch d := c.snap.ByID(c.oid(0)).(type) {
	case *catalog.Database:
		if c.text(1) == "pg_database" {
			return str(d.Comment)
		}
	case *catalog.Role:
		if c.text(1) == "pg_authid" {
			return str(d.Comment)
		}
	case *catalog.Tablespace:
		if c.text(1) == "pg_tablespace" {
			return str(d.Comment)
		}
	}
	return types.Null, nil
}

func colDescription(c *call) (types.Datum, error) {
	t := c.snap.TableByID(c.oid(0))
	if t == nil {
		return types.Null, nil
	}
	if col := t.ColumnByNum(int16(c.args[1].Int())); col != nil {
		return str(col.Comment)
	}
	return types.Null, nil
}
