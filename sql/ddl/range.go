package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// rangeCollations are the collations that the text under a range may have. All are the same order.
var rangeCollations = map[string]types.OID{"default": 100, "C": 950, "POSIX": 951, "ucs_basic": 962}

// createRange is CREATE TYPE AS RANGE: it makes the range type and its multirange type.
func (x *executor) createRange(ctx context.Context, s *ast.CreateRangeStmt) error {
	var sub *types.T
	var collation types.OID
	var multi []string
	var diff *ast.DefElem
	seen := map[string]bool{}
	for _, o := range s.Options {
		if seen[o.Name] {
			return pgerr.New(pgerr.SyntaxError, "conflicting or redundant options").WithPosition(int(ast.PgPos(o.Off)))
		}
		seen[o.Name] = true
		if o.Arg == nil && (o.Name == "subtype" || o.Name == "collation" || o.Name == "multirange_type_name" || o.Name == "subtype_diff") {
			return pgerr.New(pgerr.SyntaxError, "%s requires a parameter", o.Name)
		}
		switch o.Name {
		case "subtype":
			t, err := x.snap().ResolveType(x.path(), optionType(o))
			if err != nil {
				return err
			}
			sub = t
		case "multirange_type_name":
			multi = optionNames(o)
		case "subtype_diff":
			diff = o
		case "canonical":
			return pgerr.Unsupported("range types with a canonical function are not supported")
		case "subtype_opclass":
			// Each type has one order.
		case "collation":
			n := optionNames(o)
			if collation = rangeCollations[n[len(n)-1]]; collation == 0 {
				return pgerr.Unsupported("collation %q is not supported", strings.Join(n, "."))
			}
		default:
			return pgerr.New(pgerr.SyntaxError, "type attribute %q not recognized", o.Name)
		}
	}
	switch {
	case sub == nil:
		return pgerr.New(pgerr.SyntaxError, "type attribute \"subtype\" is required")
	case sub.Class == 'p':
		return pgerr.New(pgerr.DatatypeMismatch, "range subtype cannot be %s", types.TypeName(sub))
	}
	if rowenc.KeyEncodable(sub) != nil {
		return pgerr.New(pgerr.UndefinedObject, "data type %s has no default operator class for access method \"btree\"", types.TypeName(sub)).
			WithHint("You must specify an operator class for the range type or define a default operator class for the subtype.")
	}
	t, err := x.newType(ctx, s.Name, 'r')
	if err != nil {
		return err
	}
	t.Base, t.Collation = catalog.TypeRef{OID: sub.OID, Typmod: -1}, collation
	if diff != nil {
		if t.SubtypeDiff, err = x.subtypeDiff(optionNames(diff), sub); err != nil {
			return err
		}
	}
	if multi == nil {
		// As PostgreSQL names it: "range" becomes "multirange", or that is appended.
		name := t.Name + "_multirange"
		if i := strings.Index(t.Name, "range"); i >= 0 {
			name = t.Name[:i] + "multi" + t.Name[i:]
		}
		if len(s.Name) > 1 {
			multi = []string{s.Name[0], name}
		} else {
			multi = []string{name}
		}
		if x.typeTaken(t.Schema, name) {
			return pgerr.New(pgerr.DuplicateObject, "type %q already exists", name).
				WithDetail("Failed while creating a multirange type for type %q.", t.Name).
				WithHint("You can manually specify a multirange type name using the \"multirange_type_name\" attribute.")
		}
	}
	m, err := x.newType(ctx, multi, 'm')
	if err != nil {
		return err
	}
	if m.Schema == t.Schema && m.Name == t.Name {
		return pgerr.New(pgerr.DuplicateObject, "type %q already exists", m.Name)
	}
	t.Multirange, m.Base = m.ID, catalog.TypeRef{OID: types.OID(t.ID), Typmod: -1}
	if err := x.View.Put(ctx, t); err != nil {
		return err
	}
	if err := x.View.Put(ctx, m); err != nil {
		return err
	}
	again := *t // it finds its multirange type now
	return x.View.Put(ctx, &again)
}

// subtypeDiff finds the function of subtype_diff. Nothing here estimates by it, but it is part of the definition.
func (x *executor) subtypeDiff(names []string, sub *types.T) (types.OID, error) {
	name, path := names[len(names)-1], x.path()
	if len(names) > 1 {
		path = names[:1]
	}
	for _, p := range path {
		for _, f := range x.snap().FunctionsNamed(p, name) {
			if in := f.Inputs(); f.Ret.OID == types.OIDFloat8 && len(in) == 2 && in[0].Type.OID == sub.OID && in[1].Type.OID == sub.OID {
				return types.OID(f.ID), nil
			}
		}
	}
	for _, f := range builtin.FuncsNamed(name) {
		if f.Ret == types.OIDFloat8 && slices.Equal(f.Args, []types.OID{sub.OID, sub.OID}) && (len(names) == 1 || names[0] == catalog.PgCatalog) {
			return f.OID, nil
		}
	}
	n := types.TypeName(sub)
	return 0, pgerr.New(pgerr.UndefinedFunction, "function %s(%s, %s) does not exist", strings.Join(names, "."), n, n)
}

func optionType(o *ast.DefElem) *ast.TypeName {
	if o.Arg != nil && o.Arg.Type != nil {
		t := *o.Arg.Type
		t.Pos = ast.Pos{Off: -1}
		return &t
	}
	return &ast.TypeName{Names: optionNames(o), Pos: ast.Pos{Off: -1}}
}

func optionNames(o *ast.DefElem) []string {
	switch {
	case o.Arg == nil:
		return nil
	case o.Arg.Type != nil:
		return o.Arg.Type.Names
	case len(o.Arg.Names) > 0:
		return o.Arg.Names
	}
	return []string{o.Arg.Str}
}
