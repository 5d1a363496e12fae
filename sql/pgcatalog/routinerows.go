package pgcatalog

import (
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// plpgsqlLanguage is the oid of the language plpgsql; internal, c and sql have 12, 13 and 14 as in PostgreSQL.
const plpgsqlLanguage = 13680

func languageOf(f *catalog.Function) int {
	switch f.Lang {
	case "internal":
		return 12
	case "c":
		return 13
	case "sql":
		return 14
	}
	return plpgsqlLanguage
}

// pgUserProc are the rows of users' functions in pg_proc.
func pgUserProc(g *gen) error {
	if g.snap == nil {
		return nil
	}
	for _, f := range g.snap.Functions() {
		var in, all []types.OID
		var modes, names []string
		defaults, variadic := 0, types.OID(0)
		named, plain := false, true
		var exprs []string
		for _, a := range f.Args {
			all = append(all, a.Type.OID)
			modes, names = append(modes, string(rune(a.Mode))), append(names, a.Name)
			named = named || a.Name != ""
			plain = plain && a.Mode == 'i'
			if a.Mode == 'v' {
				variadic = builtin.VariadicElem(g.snap.TypeOf(a.Type))
			}
			if a.Mode == 'i' || a.Mode == 'b' || a.Mode == 'v' {
				in = append(in, a.Type.OID)
			}
			if a.Default != "" {
				defaults++
				exprs = append(exprs, a.Default)
			}
		}
		kind := "f"
		if f.Procedure {
			kind = "p"
		}
		if f.Agg != nil {
			kind = "a"
		}
		var nameCol, allCol, modeCol, defCol, config, body any
		if named {
			nameCol = names
		}
		if !plain {
			allCol, modeCol = all, modes
		}
		if exprs != nil {
			defCol = strings.Join(exprs, ", ")
		}
		if f.Settings != nil {
			var list []string
			for _, s := range f.Settings {
				list = append(list, s.Name+"="+s.Value)
			}
			config = list
		}
		src := f.Body
		if f.Atomic {
			src, body = "", f.Body
		}
		if err := g.row("oid", f.ID, "proname", f.Name, "pronamespace", f.Schema, "proowner", f.Owner, "prolang", languageOf(f),
			"procost", f.Cost, "prorows", f.Rows, "provariadic", variadic, "prokind", kind, "prosecdef", f.Definer, "proleakproof", f.Leakproof,
			"proisstrict", f.Strict, "proretset", f.Set, "provolatile", f.Volatility, "proparallel", f.Parallel, "pronargs", len(in),
			"pronargdefaults", defaults, "prorettype", f.Ret.OID, "proargtypes", nonNil(in), "proallargtypes", allCol, "proargmodes", modeCol,
			"proargnames", nameCol, "proargdefaults", defCol, "prosrc", src, "prosqlbody", body, "proconfig", config, "proacl", g.aclText(f.ACL)); err != nil {
			return err
		}
	}
	return nil
}

// userArguments prints the parameters of a users' function; full: with defaults.
func userArguments(env *catalog.VirtualEnv, f *catalog.Function, full bool) string {
	var out []string
	for _, a := range f.Args {
		if a.Mode == 't' {
			continue
		}
		s := map[byte]string{'o': "OUT ", 'b': "INOUT ", 'v': "VARIADIC "}[a.Mode]
		if f.Procedure && a.Mode == 'i' {
			s = "IN "
		}
		if a.Name != "" {
			s += quoteIdent(a.Name) + " "
		}
		s += userType(env, a.Type)
		if full && a.Default != "" {
			s += " DEFAULT " + argumentDefault(env, a)
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// argumentDefault prints a parameter's default.
func argumentDefault(env *catalog.VirtualEnv, a catalog.FunctionArg) string {
	return ruleText(env, a.Default, nil, env.Snapshot.TypeOf(a.Type), false)
}

// userType prints a type, with its schema where the search path does not find it.
func userType(env *catalog.VirtualEnv, r catalog.TypeRef) string {
	return typeText(env, env.Snapshot.TypeOf(r))
}

func userResult(env *catalog.VirtualEnv, f *catalog.Function) string {
	var cols []string
	for _, a := range f.Args {
		if a.Mode == 't' {
			cols = append(cols, quoteIdent(a.Name)+" "+userType(env, a.Type))
		}
	}
	if cols != nil {
		return "TABLE(" + strings.Join(cols, ", ") + ")"
	}
	s := userType(env, f.Ret)
	if f.Set {
		s = "SETOF " + s
	}
	return s
}

// functionDef is pg_get_functiondef.
func functionDef(c *call) (types.Datum, error) {
	f := c.snap.FunctionByID(c.oid(0))
	if f == nil {
		return types.Null, nil
	}
	if f.Agg != nil {
		return types.Null, pgerr.New(pgerr.WrongObjectType, "%q is an aggregate function", f.Name)
	}
	var b strings.Builder
	word := "FUNCTION"
	if f.Procedure {
		word = "PROCEDURE"
	}
	b.WriteString("CREATE OR REPLACE " + word + " " + quoteIdent(c.snap.SchemaName(f.Schema)) + "." + quoteIdent(f.Name) + "(" + userArguments(c.env, f, true) + ")\n")
	if !f.Procedure {
		b.WriteString(" RETURNS " + userResult(c.env, f) + "\n")
	}
	b.WriteString(" LANGUAGE " + quoteIdent(f.Lang) + "\n")
	var opts []string
	switch f.Volatility {
	case 'i':
		opts = append(opts, "IMMUTABLE")
	case 's':
		opts = append(opts, "STABLE")
	}
	switch f.Parallel {
	case 's':
		opts = append(opts, "PARALLEL SAFE")
	case 'r':
		opts = append(opts, "PARALLEL RESTRICTED")
	}
	if f.Strict {
		opts = append(opts, "STRICT")
	}
	if f.Definer {
		opts = append(opts, "SECURITY DEFINER")
	}
	if f.Leakproof {
		opts = append(opts, "LEAKPROOF")
	}
	if f.Cost != 100 && f.Cost != 0 {
		opts = append(opts, "COST "+strconv.FormatFloat(f.Cost, 'g', -1, 64))
	}
	if f.Set && f.Rows != 1000 && f.Rows != 0 {
		opts = append(opts, "ROWS "+strconv.FormatFloat(f.Rows, 'g', -1, 64))
	}
	if opts != nil {
		b.WriteString(" " + strings.Join(opts, " ") + "\n")
	}
	for _, s := range f.Settings {
		b.WriteString(" SET " + quoteIdent(s.Name) + " TO '" + strings.ReplaceAll(s.Value, "'", "''") + "'\n")
	}
	if f.Atomic {
		b.WriteString("BEGIN ATOMIC\n " + strings.ReplaceAll(f.Body, ";\n", ";\n ") + ";\nEND\n")
		return str(b.String())
	}
	tag := "$" + strings.ToLower(word)
	for strings.Contains(f.Body, tag+"$") {
		tag += "x"
	}
	b.WriteString("AS " + tag + "$" + f.Body + tag + "$\n")
	return str(b.String())
}

// userProc finds users' functions by name and, with signature, argument types.
func userProcs(env *catalog.VirtualEnv, schema, name, args string, signature bool) []*catalog.Function {
	var out []*catalog.Function
	for _, s := range catalog.FunctionSchemas(env.SearchPath, schema) {
		for _, f := range env.Snapshot.FunctionsNamed(s, name) {
			if signature && userSignature(env, f) != args {
				continue
			}
			out = append(out, f)
		}
	}
	return out
}

func userSignature(env *catalog.VirtualEnv, f *catalog.Function) string {
	var args []string
	for _, a := range f.Inputs() {
		args = append(args, typeText(env, env.Snapshot.TypeOf(catalog.TypeRef{OID: a.Type.OID, Typmod: -1})))
	}
	return strings.Join(args, ",")
}

// userProcName prints a users' function as regproc and regprocedure do.
func userProcName(env *catalog.VirtualEnv, oid uint32, signature bool) (string, bool) {
	f := env.Snapshot.FunctionByID(oid)
	if f == nil {
		return "", false
	}
	name := quoteIdent(f.Name)
	found := userProcs(env, "", f.Name, userSignature(env, f), true)
	if !slices.Contains(found, f) {
		name = quoteIdent(env.Snapshot.SchemaName(f.Schema)) + "." + name
	}
	if signature {
		name += "(" + userSignature(env, f) + ")"
	}
	return name, true
}

// triggerRows are pg_trigger.
var triggerRows = map[string]generator{"pg_catalog.pg_trigger": pgTrigger}

func pgTrigger(g *gen) error {
	for _, t := range g.snap.Tables() {
		for _, tr := range t.Triggers {
			kind := 0
			if tr.Row {
				kind |= 1
			}
			switch tr.Timing {
			case 'B':
				kind |= 2
			case 'I':
				kind |= 64
			}
			for bit, v := range map[uint8]int{catalog.TriggerInsert: 4, catalog.TriggerDelete: 8, catalog.TriggerUpdate: 16, catalog.TriggerTruncate: 32} {
				if tr.Events&bit != 0 {
					kind |= v
				}
			}
			enabled := "O"
			switch {
			case tr.Disabled:
				enabled = "D"
			case tr.Fires != 0:
				enabled = string(rune(tr.Fires))
			}
			args := ""
			for _, a := range tr.Args {
				args += a + "\x00"
			}
			var when, oldTable, newTable any
			if tr.When != "" {
				when = tr.When
			}
			if tr.OldTable != "" {
				oldTable = tr.OldTable
			}
			if tr.NewTable != "" {
				newTable = tr.NewTable
			}
			cols := tr.Columns
			if cols == nil {
				cols = []int16{}
			}
			if err := g.row("oid", tr.OID, "tgrelid", t.ID, "tgparentid", tr.PartOf, "tgname", tr.Name, "tgfoid", tr.Function, "tgtype", kind,
				"tgenabled", enabled, "tgisinternal", false, "tgconstrrelid", tr.RefTable, "tgconstraint", tr.Constraint, "tgdeferrable", tr.Deferrable,
				"tginitdeferred", tr.Deferred, "tgnargs", len(tr.Args), "tgattr", cols, "tgargs", types.NewBytes([]byte(args)), "tgqual", when,
				"tgoldtable", oldTable, "tgnewtable", newTable); err != nil {
				return err
			}
		}
	}
	return nil
}

// triggerDef is pg_get_triggerdef.
func triggerDef(c *call) (types.Datum, error) {
	for _, t := range c.snap.Tables() {
		for _, tr := range t.Triggers {
			if tr.OID == c.oid(0) {
				return str(triggerText(c.env, t, tr, c.flag(1)))
			}
		}
	}
	return types.Null, nil
}

func triggerText(env *catalog.VirtualEnv, t *catalog.Table, tr *catalog.Trigger, pretty bool) string {
	var b strings.Builder
	b.WriteString("CREATE ")
	if tr.Constraint != 0 {
		b.WriteString("CONSTRAINT ")
	}
	b.WriteString("TRIGGER " + quoteIdent(tr.Name) + " " + map[byte]string{'B': "BEFORE", 'A': "AFTER", 'I': "INSTEAD OF"}[tr.Timing])
	var events []string
	for _, e := range []struct {
		bit  uint8
		name string
	}{{catalog.TriggerInsert, "INSERT"}, {catalog.TriggerDelete, "DELETE"}, {catalog.TriggerUpdate, "UPDATE"}, {catalog.TriggerTruncate, "TRUNCATE"}} {
		if tr.Events&e.bit == 0 {
			continue
		}
		name := e.name
		if e.bit == catalog.TriggerUpdate && len(tr.Columns) > 0 {
			var cols []string
			for _, n := range tr.Columns {
				cols = append(cols, quoteIdent(t.ColumnByNum(n).Name))
			}
			name += " OF " + strings.Join(cols, ", ")
		}
		events = append(events, name)
	}
	rel := relationName(env, t)
	if !pretty {
		rel = quoteIdent(env.Snapshot.SchemaName(t.Schema)) + "." + quoteIdent(t.Name)
	}
	b.WriteString(" " + strings.Join(events, " OR ") + " ON " + rel + " ")
	if tr.Constraint != 0 {
		if ref := env.Snapshot.TableByID(tr.RefTable); ref != nil {
			b.WriteString("FROM " + relationName(env, ref) + " ")
		}
		if !tr.Deferrable {
			b.WriteString("NOT ")
		}
		b.WriteString("DEFERRABLE INITIALLY ")
		if tr.Deferred {
			b.WriteString("DEFERRED ")
		} else {
			b.WriteString("IMMEDIATE ")
		}
	}
	if tr.OldTable != "" || tr.NewTable != "" {
		b.WriteString("REFERENCING ")
		if tr.OldTable != "" {
			b.WriteString("OLD TABLE AS " + quoteIdent(tr.OldTable) + " ")
		}
		if tr.NewTable != "" {
			b.WriteString("NEW TABLE AS " + quoteIdent(tr.NewTable) + " ")
		}
	}
	if tr.Row {
		b.WriteString("FOR EACH ROW ")
	} else {
		b.WriteString("FOR EACH STATEMENT ")
	}
	if tr.When != "" {
		when := exprText(env, tr.When)
		if !pretty {
			when = parenthesised(when)
		}
		b.WriteString("WHEN (" + when + ") ")
	}
	name, ok := userProcName(env, tr.Function, false)
	if !ok {
		name, _ = procName(types.OID(tr.Function), false)
	}
	b.WriteString("EXECUTE FUNCTION " + name + "(")
	for i, a := range tr.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("'" + strings.ReplaceAll(a, "'", "''") + "'")
	}
	b.WriteString(")")
	return b.String()
}
