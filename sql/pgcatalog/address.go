package pgcatalog

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// An object's address is the oid of the catalog that lists it, its own oid, and the number of a column or 0. These are the functions
// that turn addresses into words and back: pg_describe_object, pg_identify_object, pg_identify_object_as_address and
// pg_get_object_address.

// addressFunctions are among the functions that look into the catalog.
var addressFunctions = map[string]func(*call) (types.Datum, error){
	"pg_describe_object":            describeObject,
	"pg_identify_object":            identifyObject,
	"pg_identify_object_as_address": identifyAsAddress,
	"pg_get_object_address":         objectAddress,
}

// named is an object in words.
type named struct {
	kind        string   // as in pg_get_object_address: "table column"
	description string   // "column a of table t"
	schema      string   // "" where the kind of object has none
	name        string   // "" where a name alone is not enough
	identity    string   // with schemas everywhere
	names, args []string // of the address
}

const (
	classCollation   = 3456
	classPublication = 6104
)

// relationKind is how object addresses call a relation.
func relationKind(kind catalog.RelKind) string {
	switch kind {
	case catalog.RelView:
		return "view"
	case catalog.RelMatView:
		return "materialized view"
	case catalog.RelSequence:
		return "sequence"
	}
	return "table"
}

// fullName is a name with its schema, quoted where needed.
func fullName(schema, name string) string { return quoteIdent(schema) + "." + quoteIdent(name) }

// fullType prints a type with its schema, but for the types that have names of their own in SQL.
func (c *call) fullType(t *types.T) string {
	if t == nil {
		return "???"
	}
	elem, dims := t, ""
	if t.IsArray() && t.Class != 'd' {
		elem, dims = t.Elem, "[]"
	}
	if u := c.snap.UserType(uint32(elem.OID)); u != nil {
		return fullName(c.snap.SchemaName(u.Schema), u.Name) + dims
	}
	if elem.Schema != "" {
		return fullName(elem.Schema, elem.Name) + dims
	}
	text := types.TypeName(elem)
	if text == elem.Name && !sqlNames[text] {
		return catalog.PgCatalog + "." + text + dims
	}
	return text + dims
}

// sqlNames are types whose name in SQL is the one in the catalog.
var sqlNames = map[string]bool{"numeric": true, "interval": true, "bit": true, "boolean": true}

// nameObject puts an object into words. kind is set for every known catalog; the rest only if the object exists.
func (c *call) nameObject(class, id uint32, column int) (*named, bool, error) {
	snap := c.snap
	switch class {
	case classClass:
		return c.nameRelation(id, column)
	case classType:
		t := snap.TypeByOID(types.OID(id))
		if t == nil {
			return &named{kind: "type"}, false, nil
		}
		full := c.fullType(t)
		schema, name := catalog.PgCatalog, t.Name
		if u := snap.UserType(id); u != nil {
			schema, name = snap.SchemaName(u.Schema), u.Name
		} else if t.Schema != "" {
			schema = t.Schema
		}
		return &named{kind: "type", description: "type " + typeNameText(c.env, t, types.TypeName), schema: schema, name: name, identity: full, names: []string{full}}, true, nil
	case classProc:
		return c.nameFunction(id)
	case classNamespace:
		s := snap.SchemaByID(id)
		if s == nil {
			return &named{kind: "schema"}, false, nil
		}
		return plainName("schema", s.Name), true, nil
	case classRole:
		r := snap.RoleByID(id)
		if r == nil {
			return &named{kind: "role"}, false, nil
		}
		return plainName("role", r.Name), true, nil
	case classDatabase:
		d := snap.DatabaseByID(id)
		if d == nil {
			return &named{kind: "database"}, false, nil
		}
		return plainName("database", d.Name), true, nil
	case classTablespace:
		t := snap.TablespaceByID(id)
		if t == nil {
			return &named{kind: "tablespace"}, false, nil
		}
		return plainName("tablespace", t.Name), true, nil
	case classExtension:
		for _, e := range snap.Extensions() {
			if e.OID == id {
				return plainName("extension", e.Name), true, nil
			}
		}
		if id == plpgsqlExtension {
			return plainName("extension", "plpgsql"), true, nil
		}
		return &named{kind: "extension"}, false, nil
	case classLanguage:
		for name, oid := range map[string]uint32{"internal": 12, "c": 13, "sql": 14, "plpgsql": plpgsqlLanguage} {
			if oid == id {
				return plainName("language", name), true, nil
			}
		}
		return &named{kind: "language"}, false, nil
	case classAm:
		for name, oid := range map[string]uint32{"heap": heapAm, "btree": btreeAm, "hash": hashAm, "gist": gistAm, "gin": ginAm, "brin": brinAm} {
			if oid == id {
				return plainName("access method", name), true, nil
			}
		}
		return &named{kind: "access method"}, false, nil
	case classPublication:
		for _, p := range snap.Publications() {
			if p.ID == id {
				return plainName("publication", p.Name), true, nil
			}
		}
		return &named{kind: "publication"}, false, nil
	case classCollation:
		for _, k := range collations {
			if uint32(k.oid) == id {
				n := plainName("collation", k.name)
				n.schema, n.identity, n.names = catalog.PgCatalog, fullName(catalog.PgCatalog, k.name), []string{catalog.PgCatalog, k.name}
				return n, true, nil
			}
		}
		return &named{kind: "collation"}, false, nil
	case classOperator:
		o := operatorByOID(c.env, id)
		if o == nil {
			return &named{kind: "operator"}, false, nil
		}
		operand := func(t types.OID) string {
			if t == 0 {
				return "NONE"
			}
			return c.fullType(snap.TypeByOID(t))
		}
		text, _ := operatorName(c.env, id, true)
		args := []string{operand(o.left), operand(o.right)}
		return &named{kind: "operator", description: "operator " + text, schema: o.schema, identity: quoteIdent(o.schema) + "." + o.name + "(" + strings.Join(args, ",") + ")",
			names: []string{o.schema, o.name}, args: []string{strings.Replace(args[0], "NONE", "-", 1), args[1]}}, true, nil
	}
	return c.namePart(class, id)
}

// plainName is an object that is known by one name.
func plainName(kind, name string) *named {
	return &named{kind: kind, description: kind + " " + name, name: name, identity: quoteIdent(name), names: []string{name}}
}

func (c *call) nameRelation(id uint32, column int) (*named, bool, error) {
	snap := c.snap
	kind, schema, name := "", "", ""
	var columnName func(n int) string
	if t := snap.TableByID(id); t != nil {
		kind, schema, name = relationKind(t.Kind), snap.SchemaName(t.Schema), t.Name
		columnName = func(n int) string {
			if col := t.ColumnByNum(int16(n)); col != nil && !col.Dropped && !col.Hidden {
				return col.Name
			}
			return ""
		}
	} else if t, ix := snap.IndexByOID(id); ix != nil {
		kind, schema, name = "index", snap.SchemaName(t.Schema), ix.Name
	} else if u := compositeOf(snap, id); u != nil {
		kind, schema, name = "composite type", snap.SchemaName(u.Schema), u.Name
		columnName = func(n int) string {
			if n >= 1 && n <= len(u.Fields) {
				return u.Fields[n-1].Name
			}
			return ""
		}
	} else {
		return &named{kind: "relation"}, false, nil
	}
	shown, _ := RegName(c.env, types.OIDRegclass, id)
	n := &named{kind: kind, description: kind + " " + shown, schema: schema, name: name, identity: fullName(schema, name), names: []string{schema, name}}
	if column == 0 {
		return n, true, nil
	}
	col := ""
	if columnName != nil {
		col = columnName(column)
	}
	if col == "" {
		return &named{kind: kind + " column"}, false, nil
	}
	n.kind, n.description = kind+" column", "column "+col+" of "+n.description
	n.identity, n.names = n.identity+"."+quoteIdent(col), append(n.names, col)
	return n, true, nil
}

func (c *call) nameFunction(id uint32) (*named, bool, error) {
	n := &named{kind: "function"}
	var args []string
	if f := c.snap.FunctionByID(id); f != nil {
		switch {
		case f.Agg != nil:
			n.kind = "aggregate"
		case f.Procedure:
			n.kind = "procedure"
		}
		for _, a := range f.Inputs() {
			args = append(args, c.fullType(c.snap.TypeOf(catalog.TypeRef{OID: a.Type.OID, Typmod: -1})))
		}
		n.schema, n.names = c.snap.SchemaName(f.Schema), []string{c.snap.SchemaName(f.Schema), f.Name}
	} else if f := builtin.FuncByOID(types.OID(id)); f != nil {
		if f.Kind == 'a' {
			n.kind = "aggregate"
		}
		for _, a := range f.Args {
			args = append(args, c.fullType(c.snap.TypeByOID(a)))
		}
		n.schema = catalog.PgCatalog
		if f.Schema != "" {
			n.schema = f.Schema
		}
		n.names = []string{n.schema, f.Name}
	} else {
		return &named{kind: "routine"}, false, nil
	}
	shown, _ := RegName(c.env, types.OIDRegprocedure, id)
	n.description, n.args = n.kind+" "+shown, args
	n.identity = fullName(n.schema, n.names[1]) + "(" + strings.Join(args, ",") + ")"
	return n, true, nil
}

// namePart names what belongs to a relation or type: constraints, triggers, rules, policies, defaults.
func (c *call) namePart(class, id uint32) (*named, bool, error) {
	snap := c.snap
	kinds := map[uint32]string{classConstraint: "table constraint", classTrigger: "trigger", classRewrite: "rule", classPolicy: "policy", classAttrdef: "default value"}
	kind := kinds[class]
	if kind == "" {
		return nil, false, pgerr.New(pgerr.InvalidParameterValue, "unrecognized object class: %d", class)
	}
	on := func(t *catalog.Table, name, word string) *named {
		schema := snap.SchemaName(t.Schema)
		return &named{kind: kind, description: word + " " + name + " on " + relationKind(t.Kind) + " " + relationName(c.env, t),
			identity: quoteIdent(name) + " on " + fullName(schema, t.Name), names: []string{schema, t.Name, name}}
	}
	for _, t := range snap.Tables() {
		switch class {
		case classConstraint:
			name := ""
			for _, k := range t.Checks {
				if k.OID == id {
					name = k.Name
				}
			}
			for _, fk := range t.FKs {
				if fk.OID == id {
					name = fk.Name
				}
			}
			for _, ix := range t.AllIndexes() {
				if ix.Constraint == id {
					name = ix.Name
				}
			}
			if name != "" {
				n := on(t, name, "constraint")
				n.schema = snap.SchemaName(t.Schema)
				return n, true, nil
			}
		case classTrigger:
			for _, tr := range t.Triggers {
				if tr.OID == id {
					return on(t, tr.Name, "trigger"), true, nil
				}
			}
		case classRewrite:
			for _, r := range t.Rules {
				if r.OID == id {
					return on(t, r.Name, "rule"), true, nil
				}
			}
		case classPolicy:
			for _, p := range t.Policies {
				if p.OID == id {
					return on(t, p.Name, "policy"), true, nil
				}
			}
		case classAttrdef:
			for _, col := range t.Columns {
				if !col.Dropped && !col.Hidden && hasDefault(col) && attrdefOID(t, col) == id {
					schema := snap.SchemaName(t.Schema)
					return &named{kind: kind, description: "default value for column " + col.Name + " of " + relationKind(t.Kind) + " " + relationName(c.env, t),
						identity: "for " + fullName(schema, t.Name) + "." + quoteIdent(col.Name), names: []string{schema, t.Name, col.Name}}, true, nil
				}
			}
		}
	}
	if class == classConstraint {
		for _, t := range snap.Types() {
			for _, k := range t.Checks {
				if k.OID == id {
					full := fullName(snap.SchemaName(t.Schema), t.Name)
					return &named{kind: "domain constraint", description: "constraint " + k.Name, schema: snap.SchemaName(t.Schema),
						identity: quoteIdent(k.Name) + " on " + full, names: []string{full}, args: []string{k.Name}}, true, nil
				}
			}
		}
	}
	return &named{kind: kind}, false, nil
}

func (c *call) addressed() (*named, bool, error) {
	return c.nameObject(c.oid(0), c.oid(1), int(c.args[2].Int()))
}

func describeObject(c *call) (types.Datum, error) {
	if c.oid(0) == 0 && c.oid(1) == 0 {
		return types.Null, nil
	}
	n, ok, err := c.addressed()
	if err != nil || !ok {
		return types.Null, err
	}
	return types.NewString(n.description), nil
}

func identifyObject(c *call) (types.Datum, error) {
	n, ok, err := c.addressed()
	if err != nil {
		return types.Null, err
	}
	row := []types.Datum{types.NewString(n.kind), types.Null, types.Null, types.Null}
	if ok {
		if n.schema != "" {
			row[1] = types.NewString(quoteIdent(n.schema))
		}
		if n.name != "" {
			row[2] = types.NewString(quoteIdent(n.name))
		}
		row[3] = types.NewString(n.identity)
	}
	return types.NewTuple(&types.Tuple{Elems: row}), nil
}

func identifyAsAddress(c *call) (types.Datum, error) {
	n, ok, err := c.addressed()
	if err != nil {
		return types.Null, err
	}
	row := []types.Datum{types.NewString(n.kind), types.Null, types.Null}
	if ok {
		row[1], row[2] = textArray(n.names), textArray(n.args)
	}
	return types.NewTuple(&types.Tuple{Elems: row}), nil
}

// objectAddress finds what the kind, names and arguments of an address mean.
func objectAddress(c *call) (types.Datum, error) {
	list := func(i int) ([]string, error) {
		var out []string
		for _, d := range c.args[i].Array().Elems {
			if d.IsNull() {
				return nil, pgerr.New(pgerr.InvalidParameterValue, "name or argument lists may not contain nulls")
			}
			out = append(out, d.Str())
		}
		return out, nil
	}
	kind := c.text(0)
	names, err := list(1)
	if err != nil {
		return types.Null, err
	}
	args, err := list(2)
	if err != nil {
		return types.Null, err
	}
	class, id, column, err := c.findAddress(kind, names, args)
	if err != nil {
		return types.Null, err
	}
	return types.NewTuple(&types.Tuple{Elems: []types.Datum{types.NewInt(int64(class)), types.NewInt(int64(id)), types.NewInt(int64(column))}}), nil
}

// quotedNames joins the parts of a name, quoted where a lookup would fold them.
func quotedNames(names []string) string {
	var out []string
	for _, n := range names {
		out = append(out, quoteIdent(n))
	}
	return strings.Join(out, ".")
}

func (c *call) findAddress(kind string, names, args []string) (class, id uint32, column int, err error) {
	if len(names) == 0 {
		return 0, 0, 0, pgerr.New(pgerr.InvalidParameterValue, "name list length must be at least %d", 1)
	}
	one := func() error {
		if len(names) != 1 {
			return pgerr.New(pgerr.InvalidParameterValue, "name list length must be exactly %d", 1)
		}
		return nil
	}
	reg := func(class uint32, typ types.OID, text string) (uint32, uint32, int, error) {
		id, err := RegLookup(c.env, typ, text)
		return class, id, 0, err
	}
	relation := func(names []string, kinds ...string) (uint32, error) {
		id, err := RegLookup(c.env, types.OIDRegclass, quotedNames(names))
		if err != nil {
			return 0, err
		}
		n, _, err := c.nameRelation(id, 0)
		if err == nil && len(kinds) > 0 && !slices.Contains(kinds, n.kind) {
			article := "a "
			if strings.ContainsAny(kinds[0][:1], "aeiou") {
				article = "an "
			}
			err = pgerr.New(pgerr.WrongObjectType, "%q is not %s%s", names[len(names)-1], article, kinds[0])
		}
		return id, err
	}
	switch kind {
	case "table", "view", "materialized view", "sequence", "index", "foreign table":
		id, err := relation(names, kind)
		return classClass, id, 0, err
	case "table column", "view column", "materialized view column", "composite type column", "foreign table column":
		if len(names) < 2 {
			return 0, 0, 0, pgerr.New(pgerr.SyntaxError, "column name must be qualified")
		}
		last := names[len(names)-1]
		id, err := relation(names[:len(names)-1], strings.TrimSuffix(kind, " column"))
		if err != nil {
			return 0, 0, 0, err
		}
		if t := c.snap.TableByID(id); t != nil {
			if col := t.Column(last); col != nil && !col.Hidden {
				return classClass, id, int(col.Num), nil
			}
		}
		if u := compositeOf(c.snap, id); u != nil {
			for i, f := range u.Fields {
				if f.Name == last {
					return classClass, id, i + 1, nil
				}
			}
		}
		return 0, 0, 0, pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", last, names[len(names)-2])
	case "type", "domain":
		if err := one(); err != nil {
			return 0, 0, 0, err
		}
		return reg(classType, types.OIDRegtype, names[0])
	case "function", "aggregate", "procedure", "routine":
		class, id, column, err := reg(classProc, types.OIDRegprocedure, quotedNames(names)+"("+strings.Join(args, ",")+")")
		if pgerr.Code(err) == pgerr.UndefinedFunction {
			if kind == "routine" {
				kind = "function"
			}
			err = pgerr.New(pgerr.UndefinedFunction, "%s %s(%s) does not exist", kind, strings.Join(names, "."), strings.Join(args, ", "))
		}
		return class, id, column, err
	case "operator":
		if len(args) != 2 {
			return 0, 0, 0, pgerr.New(pgerr.InvalidParameterValue, "argument list length must be exactly %d", 2)
		}
		name := names[len(names)-1]
		if len(names) > 1 {
			name = quotedNames(names[:len(names)-1]) + "." + name
		}
		return reg(classOperator, types.OIDRegoperator, name+"("+strings.Join(args, ",")+")")
	case "schema", "role", "database", "tablespace", "extension", "language", "publication", "access method", "event trigger":
		if err := one(); err != nil {
			return 0, 0, 0, err
		}
		return c.findPlain(kind, names[0])
	case "collation":
		return reg(classCollation, types.OIDRegcollation, quotedNames(names))
	case "table constraint", "trigger", "rule", "policy", "default value":
		if len(names) < 2 {
			return 0, 0, 0, pgerr.New(pgerr.SyntaxError, "must specify relation and object name")
		}
		return c.findPart(kind, names)
	case "domain constraint":
		if len(args) != 1 {
			return 0, 0, 0, pgerr.New(pgerr.InvalidParameterValue, "argument list length must be exactly %d", 1)
		}
		_, id, _, err := reg(classType, types.OIDRegtype, names[0])
		if err != nil {
			return 0, 0, 0, err
		}
		if u := c.snap.UserType(id); u != nil {
			for _, k := range u.Checks {
				if k.Name == args[0] {
					return classConstraint, k.OID, 0, nil
				}
			}
		}
		return 0, 0, 0, pgerr.New(pgerr.UndefinedObject, "constraint %q for domain %s does not exist", args[0], names[0])
	}
	return 0, 0, 0, pgerr.New(pgerr.InvalidParameterValue, "unrecognized object type %q", kind)
}

func (c *call) findPlain(kind, name string) (uint32, uint32, int, error) {
	code := pgerr.UndefinedObject
	switch kind {
	case "schema":
		if s := c.snap.SchemaByName(name); s != nil {
			return classNamespace, s.ID, 0, nil
		}
		code = pgerr.InvalidSchemaName
	case "role":
		if r := c.snap.RoleByName(name); r != nil {
			return classRole, r.ID, 0, nil
		}
	case "database":
		if d := c.snap.DatabaseByName(name); d != nil {
			return classDatabase, d.ID, 0, nil
		}
		code = pgerr.UndefinedDatabase
	case "tablespace":
		if t := c.snap.TablespaceByName(name); t != nil {
			return classTablespace, t.ID, 0, nil
		}
	case "extension":
		for _, e := range c.snap.Extensions() {
			if e.Name == name {
				return classExtension, e.OID, 0, nil
			}
		}
		if name == "plpgsql" {
			return classExtension, plpgsqlExtension, 0, nil
		}
	case "language":
		if oid := map[string]uint32{"internal": 12, "c": 13, "sql": 14, "plpgsql": plpgsqlLanguage}[name]; oid != 0 {
			return classLanguage, oid, 0, nil
		}
	case "access method":
		if oid := map[string]uint32{"heap": heapAm, "btree": btreeAm, "hash": hashAm, "gist": gistAm, "gin": ginAm, "brin": brinAm}[name]; oid != 0 {
			return classAm, oid, 0, nil
		}
	case "publication":
		for _, p := range c.snap.Publications() {
			if p.Name == name {
				return classPublication, p.ID, 0, nil
			}
		}
	}
	return 0, 0, 0, pgerr.New(code, "%s %q does not exist", kind, name)
}

func (c *call) findPart(kind string, names []string) (uint32, uint32, int, error) {
	relation, name := names[:len(names)-1], names[len(names)-1]
	id, err := RegLookup(c.env, types.OIDRegclass, quotedNames(relation))
	if err != nil {
		return 0, 0, 0, err
	}
	t := c.snap.TableByID(id)
	if t == nil {
		return 0, 0, 0, pgerr.New(pgerr.WrongObjectType, "%q is not a table", relation[len(relation)-1])
	}
	switch kind {
	case "table constraint":
		for _, k := range t.Checks {
			if k.Name == name {
				return classConstraint, k.OID, 0, nil
			}
		}
		for _, fk := range t.FKs {
			if fk.Name == name {
				return classConstraint, fk.OID, 0, nil
			}
		}
		for _, ix := range t.AllIndexes() {
			if ix.Constraint != 0 && ix.Name == name {
				return classConstraint, ix.Constraint, 0, nil
			}
		}
		return 0, 0, 0, pgerr.New(pgerr.UndefinedObject, "constraint %q for table %q does not exist", name, t.Name)
	case "trigger":
		for _, tr := range t.Triggers {
			if tr.Name == name {
				return classTrigger, tr.OID, 0, nil
			}
		}
	case "rule":
		for _, r := range t.Rules {
			if r.Name == name {
				return classRewrite, r.OID, 0, nil
			}
		}
		return 0, 0, 0, pgerr.New(pgerr.UndefinedObject, "rule %q for relation %q does not exist", name, t.Name)
	case "policy":
		for _, p := range t.Policies {
			if p.Name == name {
				return classPolicy, p.OID, 0, nil
			}
		}
	case "default value":
		col := t.Column(name)
		if col == nil {
			return 0, 0, 0, pgerr.New(pgerr.UndefinedColumn, "column %q of relation %q does not exist", name, t.Name)
		}
		if hasDefault(col) {
			return classAttrdef, attrdefOID(t, col), 0, nil
		}
		return 0, 0, 0, pgerr.New(pgerr.UndefinedObject, "default value for column %q of relation %q does not exist", name, t.Name)
	}
	return 0, 0, 0, pgerr.New(pgerr.UndefinedObject, "%s %q for table %q does not exist", kind, name, t.Name)
}
