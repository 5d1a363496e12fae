package pgcatalog

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/textsearch"
	"github.com/meridian-db/meridian/sql/types"
)

// quoteIdent quotes a name as quote_ident does.
func quoteIdent(name string) string {
	plain := name != ""
	for i, c := range name {
		if !(c >= 'a' && c <= 'z' || c == '_' || i > 0 && (c >= '0' && c <= '9' || c == '$')) {
			plain = false
			break
		}
	}
	if plain && !reserved[name] {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// reserved are the key words of PostgreSQL 15 that quote_ident quotes: all but the unreserved ones.
var reserved = func() map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(`all analyse analyze and any array as asc asymmetric authorization between bigint
		binary bit boolean both case cast char character check coalesce collate collation column concurrently constraint
		create cross current_catalog current_date current_role current_schema current_time current_timestamp current_user
		dec decimal default deferrable desc distinct do else end except exists extract false fetch float for foreign
		freeze from full grant greatest group grouping having ilike in initially inner inout int integer intersect interval
		into is isnull join lateral leading least left like limit localtime localtimestamp national natural nchar none
		normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay placing position
		precision primary real references returning right row select session_user setof similar smallint some substring
		symmetric table tablesample then time timestamp to trailing treat trim true union unique user using values varchar
		variadic verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces
		xmlparse xmlpi xmlroot xmlserialize xmltable`) {
		m[w] = true
	}
	return m
}()

// The catalog stores expressions as the parser deparses them, unambiguous and explicit; PostgreSQL prints casts of
// literals and columns with ::, and objects by name where the catalog has their number.
var (
	regclassConst = regexp.MustCompile(`CAST\('(\d+)' AS (?:pg_catalog\.)?regclass\)`)
	castOfLiteral = regexp.MustCompile(`CAST\(('(?:[^']|\'\')*'|-?[0-9.]+) AS ([a-z_][a-z_0-9 ]*(?:\([0-9, ]+\))?(?:\[\])*)\)`)
	castOfColumn  = regexp.MustCompile(`CAST\(([a-z_][a-z_0-9]*) AS ([a-z_][a-z_0-9 ]*(?:\([0-9, ]+\))?(?:\[\])*)\)`)
)

// exprText prints a stored expression as pg_get_expr does, without parentheses round the whole.
func exprText(env *catalog.VirtualEnv, expr string) string {
	expr = regclassConst.ReplaceAllStringFunc(expr, func(m string) string {
		oid, err := strconv.ParseUint(regclassConst.FindStringSubmatch(m)[1], 10, 32)
		if err != nil {
			return m
		}
		name, ok := RegName(env, types.OIDRegclass, uint32(oid))
		if !ok {
			return m
		}
		return "'" + strings.ReplaceAll(name, "'", "''") + "'::regclass"
	})
	expr = castOfLiteral.ReplaceAllString(expr, "$1::$2")
	expr = castOfColumn.ReplaceAllString(expr, "($1)::$2")
	return withoutParentheses(expr)
}

// withoutParentheses removes one pair of parentheses that encloses all of expr.
func withoutParentheses(expr string) string {
	if len(expr) < 2 || expr[0] != '(' || expr[len(expr)-1] != ')' {
		return expr
	}
	depth, quote := 0, byte(0)
	for i := range len(expr) {
		c := expr[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 && i < len(expr)-1 {
				return expr
			}
		}
	}
	return expr[1 : len(expr)-1]
}

// relationName is a relation's name, with its schema unless it is found without.
func relationName(env *catalog.VirtualEnv, t *catalog.Table) string {
	if visible(env, t) {
		return quoteIdent(t.Name)
	}
	return quoteIdent(env.Snapshot.SchemaName(t.Schema)) + "." + quoteIdent(t.Name)
}

func visible(env *catalog.VirtualEnv, t *catalog.Table) bool {
	r := env.Snapshot.ResolveRelation(env.SearchPath, "", t.Name)
	return r.Table != nil && r.Table.ID == t.ID
}

// indexDef is CREATE INDEX as pg_get_indexdef prints it.
func indexDef(env *catalog.VirtualEnv, t *catalog.Table, ix *catalog.Index, qualified, pretty bool) string {
	var b strings.Builder
	b.WriteString("CREATE ")
	if ix.Unique {
		b.WriteString("UNIQUE ")
	}
	b.WriteString("INDEX " + quoteIdent(ix.Name) + " ON ")
	if qualified {
		b.WriteString(quoteIdent(env.Snapshot.SchemaName(t.Schema)) + ".")
	}
	method := ix.Method
	if method == "" {
		method = "btree"
	}
	b.WriteString(quoteIdent(t.Name) + " USING " + method + " (")
	for i, k := range ix.Keys {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(indexKeyDef(env, t, k, pretty))
		if k.Collation != "" {
			b.WriteString(" COLLATE " + quoteIdent(k.Collation))
		}
		if k.OpClass != "" {
			b.WriteString(" " + k.OpClass)
		}
		switch {
		case k.Desc && !k.NullsFirst:
			b.WriteString(" DESC NULLS LAST")
		case k.Desc:
			b.WriteString(" DESC")
		case k.NullsFirst:
			b.WriteString(" NULLS FIRST")
		}
	}
	b.WriteString(")")
	if len(ix.Include) > 0 {
		b.WriteString(" INCLUDE (" + columnNames(t, ix.Include) + ")")
	}
	if ix.NullsNotDistinct {
		b.WriteString(" NULLS NOT DISTINCT")
	}
	if len(ix.Options) > 0 {
		b.WriteString(" WITH (")
		for i, o := range ix.Options {
			if i > 0 {
				b.WriteString(", ")
			}
			name, v, _ := strings.Cut(o, "=")
			if quoteIdent(v) != v {
				v = "'" + strings.ReplaceAll(v, "'", "''") + "'"
			}
			b.WriteString(name + "=" + v)
		}
		b.WriteString(")")
	}
	if ix.Where != "" {
		b.WriteString(" WHERE " + ruleText(env, ix.Where, tableColumns(t), nil, pretty))
	}
	return b.String()
}

// indexKeyDef is one column of an index; an expression that is no function call stands in parentheses.
func indexKeyDef(env *catalog.VirtualEnv, t *catalog.Table, k catalog.IndexKey, pretty bool) string {
	if c := t.ColumnByNum(k.Column); c != nil {
		return quoteIdent(c.Name)
	}
	p := ruleExpr(env, k.Expr, tableColumns(t), k.T, pretty)
	if p.function {
		return p.text
	}
	return parenthesised(p.text)
}

// keyName is the name of an index's column: that of the table's column, of the function that is called, or "expr".
// Later ones of the same name are numbered.
func keyName(t *catalog.Table, ix *catalog.Index, i int) string {
	base := func(k catalog.IndexKey) string {
		if c := t.ColumnByNum(k.Column); c != nil {
			return c.Name
		}
		e, err := parser.ParseExpr(k.Expr)
		if err != nil {
			return "expr"
		}
		if cast, ok := e.(*ast.TypeCast); ok {
			e = cast.Arg
		}
		if call, ok := e.(*ast.FuncCall); ok && len(call.Name) > 0 {
			return call.Name[len(call.Name)-1]
		}
		return "expr"
	}
	name, before := base(ix.Keys[i]), 0
	for _, k := range ix.Keys[:i] {
		if base(k) == name {
			before++
		}
	}
	if before > 0 {
		return name + itoa(int64(before))
	}
	return name
}

func parenthesised(expr string) string { return "(" + expr + ")" }

func columnNames(t *catalog.Table, nums []int16) string {
	var names []string
	for _, n := range nums {
		if c := t.ColumnByNum(n); c != nil {
			names = append(names, quoteIdent(c.Name))
		}
	}
	return strings.Join(names, ", ")
}

// constraintDef is what pg_get_constraintdef prints, "" if there is no such constraint. Pretty printing leaves
// out the outer parentheses of a check.
func constraintDef(env *catalog.VirtualEnv, oid uint32, pretty bool) string {
	snap := env.Snapshot
	deferral := func(deferrable, initially bool) string {
		switch {
		case initially:
			return " DEFERRABLE INITIALLY DEFERRED"
		case deferrable:
			return " DEFERRABLE"
		}
		return ""
	}
	check := func(c *catalog.Check, column columnTypes) string {
		s := "CHECK (" + ruleText(env, c.Expr, column, nil, pretty) + ")"
		if c.NoInherit {
			s += " NO INHERIT"
		}
		if c.NotValid {
			s += " NOT VALID"
		}
		return s
	}
	for _, t := range snap.Tables() {
		for _, ix := range t.AllIndexes() {
			if ix.Constraint != oid {
				continue
			}
			if ix.Exclude != nil {
				return exclusionDef(env, t, ix, pretty) + deferral(ix.Deferrable, ix.InitDeferred)
			}
			s := "UNIQUE "
			if ix.Primary {
				s = "PRIMARY KEY "
			}
			if ix.NullsNotDistinct {
				s += "NULLS NOT DISTINCT "
			}
			s += "(" + columnNames(t, keyColumns(ix)) + ")"
			if len(ix.Include) > 0 {
				s += " INCLUDE (" + columnNames(t, ix.Include) + ")"
			}
			return s + deferral(ix.Deferrable, ix.InitDeferred)
		}
		for _, c := range t.Checks {
			if c.OID == oid {
				return check(c, tableColumns(t))
			}
		}
		for _, fk := range t.FKs {
			if fk.OID != oid {
				continue
			}
			ref := snap.TableByID(fk.RefTable)
			if ref == nil {
				return ""
			}
			s := "FOREIGN KEY (" + columnNames(t, fk.Columns) + ") REFERENCES " + relationName(env, ref) + "(" + columnNames(ref, fk.RefColumns) + ")"
			if fk.MatchFull {
				s += " MATCH FULL"
			}
			if fk.OnUpdate != catalog.FKNoAction && fk.OnUpdate != 0 {
				s += " ON UPDATE " + fkRule(fk.OnUpdate)
			}
			if fk.OnDelete != catalog.FKNoAction && fk.OnDelete != 0 {
				s += " ON DELETE " + fkRule(fk.OnDelete)
				if len(fk.SetColumns) > 0 {
					s += " (" + columnNames(t, fk.SetColumns) + ")"
				}
			}
			s += deferral(fk.Deferrable, fk.InitDeferred)
			if fk.NotValid {
				s += " NOT VALID"
			}
			return s
		}
	}
	for _, t := range snap.Types() {
		for _, c := range t.Checks {
			if c.OID == oid {
				return check(c, domainValue(snap.TypeByRef(t.Base)))
			}
		}
	}
	return ""
}

// viewDef is a view's query as pg_get_viewdef prints it, with the semicolon.
func viewDef(t *catalog.Table) string {
	if t.Query == "" {
		return ""
	}
	return " " + strings.TrimPrefix(t.Query, " ") + ";"
}

// RegName prints an object as the type regclass or one of its relatives does.
func RegName(env *catalog.VirtualEnv, typ types.OID, oid uint32) (string, bool) {
	snap := env.Snapshot
	switch typ {
	case types.OIDRegclass:
		if t := snap.TableByID(oid); t != nil {
			return relationName(env, t), true
		}
		if t, ix := snap.IndexByOID(oid); ix != nil {
			r := snap.ResolveRelation(env.SearchPath, "", ix.Name)
			if r.Index != nil && r.Index.OID == oid {
				return quoteIdent(ix.Name), true
			}
			return quoteIdent(snap.SchemaName(t.Schema)) + "." + quoteIdent(ix.Name), true
		}
		if t := compositeOf(snap, oid); t != nil {
			if slices.Contains(env.SearchPath, snap.SchemaName(t.Schema)) {
				return quoteIdent(t.Name), true
			}
			return quoteIdent(snap.SchemaName(t.Schema)) + "." + quoteIdent(t.Name), true
		}
	case types.OIDRegtype:
		if t := snap.TypeByOID(types.OID(oid)); t != nil {
			return typeText(env, t), true
		}
	case types.OIDRegnamespace:
		if s := snap.SchemaByID(oid); s != nil {
			return quoteIdent(s.Name), true
		}
	case types.OIDRegrole:
		if r := snap.RoleByID(oid); r != nil {
			return quoteIdent(r.Name), true
		}
	case types.OIDRegproc, types.OIDRegprocedure:
		if name, ok := userProcName(env, oid, typ == types.OIDRegprocedure); ok {
			return name, true
		}
		return procName(types.OID(oid), typ == types.OIDRegprocedure)
	case types.OIDRegoper, types.OIDRegoperator:
		return operatorName(env, oid, typ == types.OIDRegoperator)
	case types.OIDRegcollation:
		return collationName(oid)
	case types.OIDRegconfig:
		if c := textsearch.ByOID(oid); c != nil {
			return c.Name, true
		}
	case types.OIDRegdictionary:
		if d := textsearch.DictionaryByOID(oid); d != nil {
			return d.Name, true
		}
	}
	return "", false
}

// RegLookup finds an object by the name a user wrote. A number is an oid.
func RegLookup(env *catalog.VirtualEnv, typ types.OID, text string) (uint32, error) {
	snap := env.Snapshot
	if typ == types.OIDRegoper || typ == types.OIDRegoperator {
		return lookupOperator(env, text, typ == types.OIDRegoperator)
	}
	schema, name, err := splitName(text)
	if err != nil {
		return 0, err
	}
	switch typ {
	case types.OIDRegclass:
		r := snap.ResolveRelation(env.SearchPath, schema, name)
		switch {
		case r.Index != nil:
			return r.Index.OID, nil
		case r.Table != nil:
			return r.Table.ID, nil
		}
		for _, t := range snap.Types() {
			if s := snap.SchemaName(t.Schema); t.Class == 'c' && t.Name == name && (s == schema || schema == "" && slices.Contains(env.SearchPath, s)) {
				return compositeRelation(t), nil
			}
		}
		return 0, pgerr.New(pgerr.UndefinedTable, "relation \"%s\" does not exist", unquoted(schema, name))
	case types.OIDRegnamespace:
		if s := snap.SchemaByName(name); s != nil && schema == "" {
			return s.ID, nil
		}
		return 0, pgerr.New(pgerr.InvalidSchemaName, "schema \"%s\" does not exist", unquoted(schema, name))
	case types.OIDRegrole:
		if r := snap.RoleByName(name); r != nil && schema == "" {
			return r.ID, nil
		}
		return 0, pgerr.New(pgerr.UndefinedObject, "role \"%s\" does not exist", unquoted(schema, name))
	case types.OIDRegproc, types.OIDRegprocedure:
		return lookupProc(env, schema, name, text, typ == types.OIDRegprocedure)
	case types.OIDRegtype:
		return lookupType(env, text)
	case types.OIDRegcollation:
		return lookupCollation(schema, name)
	case types.OIDRegconfig:
		if c := textsearch.ByName(name); c != nil && (schema == "" || schema == "pg_catalog") {
			return c.OID, nil
		}
		return 0, pgerr.New(pgerr.UndefinedObject, "text search configuration \"%s\" does not exist", unquoted(schema, name))
	case types.OIDRegdictionary:
		if d := textsearch.DictionaryByName(name); d != nil && (schema == "" || schema == "pg_catalog") {
			return d.OID, nil
		}
		return 0, pgerr.New(pgerr.UndefinedObject, "text search dictionary \"%s\" does not exist", unquoted(schema, name))
	}
	return 0, pgerr.New(pgerr.FeatureNotSupported, "names of this kind of object cannot be looked up")
}

func unquoted(schema, name string) string {
	if schema != "" {
		return schema + "." + name
	}
	return name
}

// splitName reads schema.name, folding what is not quoted to lower case.
func splitName(text string) (schema, name string, err error) {
	var parts []string
	rest := strings.TrimSpace(text)
	for {
		var part string
		if strings.HasPrefix(rest, `"`) {
			end := 1
			for {
				i := strings.IndexByte(rest[end:], '"')
				if i < 0 {
					return "", "", pgerr.New(pgerr.InvalidName, "invalid name syntax")
				}
				end += i
				if end+1 < len(rest) && rest[end+1] == '"' {
					end += 2
					continue
				}
				break
			}
			part, rest = strings.ReplaceAll(rest[1:end], `""`, `"`), rest[end+1:]
		} else {
			end := strings.IndexByte(rest, '.')
			if end < 0 {
				end = len(rest)
			}
			part, rest = strings.ToLower(strings.TrimSpace(rest[:end])), rest[end:]
		}
		if part == "" {
			return "", "", pgerr.New(pgerr.InvalidName, "invalid name syntax")
		}
		parts = append(parts, part)
		if rest = strings.TrimSpace(rest); rest == "" {
			break
		}
		if rest[0] != '.' {
			return "", "", pgerr.New(pgerr.InvalidName, "invalid name syntax")
		}
		rest = rest[1:]
	}
	switch len(parts) {
	case 1:
		return "", parts[0], nil
	case 2:
		return parts[0], parts[1], nil
	case 3:
		return parts[1], parts[2], nil
	}
	return "", "", pgerr.New(pgerr.SyntaxError, "improper qualified name (too many dotted names): %s", text)
}
