package ddl

import (
	"context"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// excludingOperators are the operators that an exclusion constraint may name: those for which it is all the same which
// row comes first.
var excludingOperators = map[string]bool{"=": true, "<>": true, "&&": true, "-|-": true}

// operatorFamilies are the families of types that share one, without _ops.
var operatorFamilies = map[string]string{"int2": "integer", "int4": "integer", "int8": "integer", "float4": "float", "float8": "float",
	"date": "datetime", "timestamp": "datetime", "timestamptz": "datetime", "varchar": "text"}

// exclusion makes the index of an exclusion constraint: an ordered one, whatever its method is called. Rows whose
// leading keys WITH = are equal lie side by side, and there a new row is compared with the others.
func (b *tableBuilder) exclusion(ctx context.Context, k *ast.Constraint) (*catalog.Index, error) {
	x, t := b.x, b.t
	if x.OlderExclusions {
		return nil, errOlderNodes("exclusion constraints")
	}
	if t.IsPartitioned() {
		return nil, pgerr.Unsupported("exclusion constraints are not supported on partitioned tables").WithPosition(int(ast.PgPos(k.Off)))
	}
	method := k.AccessMethod
	switch method {
	case "":
		method = "btree"
	case "btree", "gist":
	case "hash", "spgist":
		return nil, pgerr.Unsupported("exclusion constraints of access method %q are not supported", method)
	case "gin", "brin":
		return nil, pgerr.New(pgerr.FeatureNotSupported, "access method \"%s\" does not support exclusion constraints", method)
	default:
		return nil, pgerr.New(pgerr.UndefinedObject, "access method %q does not exist", method)
	}
	if len(k.Exclusions) > maxKeyColumns {
		return nil, pgerr.New(pgerr.TooManyColumns, "cannot use more than %d columns in an index", maxKeyColumns)
	}
	ix := &catalog.Index{ID: b.nextIndex(), Deferrable: k.Deferrable, InitDeferred: k.InitiallyDeferred, Options: relOptions(k.Options)}
	if method != "btree" {
		ix.Method = method
	}
	var err error
	if ix.Tablespace, err = x.tablespaceFor(k.Tablespace, t.Persistence == 't', false); err != nil {
		return nil, err
	}
	var words []string
	for _, e := range k.Exclusions {
		if n := e.Elem.Name; n != "" && t.Column(n) == nil {
			return nil, pgerr.New(pgerr.UndefinedColumn, "column %q named in key does not exist", n)
		}
		key, word, err := x.indexKey(ctx, t, e.Elem, method)
		if err != nil {
			return nil, err
		}
		op := e.Op[len(e.Op)-1]
		if err := x.checkExcluding(op, method, key.T); err != nil {
			return nil, err
		}
		ix.Keys, ix.Exclude, words = append(ix.Keys, key), append(ix.Exclude, op), append(words, word)
	}
	for _, n := range k.Include {
		c := t.Column(n)
		if c == nil {
			return nil, pgerr.New(pgerr.UndefinedColumn, "column %q named in key does not exist", n)
		}
		ix.Include = append(ix.Include, c.Num)
	}
	if k.Where != nil {
		if err := checkExprShape(k.Where, "index predicate", true); err != nil {
			return nil, err
		}
		if err := x.wantBool(ctx, t, k.Where, "WHERE"); err != nil {
			return nil, err
		}
		ix.Where = parser.DeparseExpr(normalize(k.Where))
	}
	if k.Name == "" {
		ix.Name = chooseName(t.Name, strings.Join(words, "_"), "excl", b.takenConstraint(true))
	} else if ix.Name, err = b.nameIndex(k, "", "excl"); err != nil {
		return nil, err
	}
	if ix.OID, err = x.View.NewID(ctx); err != nil {
		return nil, err
	}
	ix.Constraint, err = x.View.NewID(ctx)
	return ix, err
}

// checkExcluding checks that an index of the method can tell which keys an operator excludes.
func (x *executor) checkExcluding(op, method string, t *types.T) error {
	b := t.BaseType()
	overlaps := b.Kind == types.KindRange || b.Kind == types.KindMultirange
	switch {
	case slices.Contains([]string{"<", ">", "<=", ">=", "<<", ">>", "&<", "&>", "@>", "<@"}, op):
		name := types.TypeName(b)
		if overlaps {
			name = map[bool]string{true: "anyrange", false: "anymultirange"}[b.Kind == types.KindRange]
		}
		return pgerr.New(pgerr.WrongObjectType, "operator %s(%s,%s) is not commutative", op, name, name).
			WithDetail("Only commutative operators can be used in exclusion constraints.")
	case !excludingOperators[op]:
		return pgerr.Unsupported("operator %s in an exclusion constraint is not supported", op)
	case method == "gist" && !overlaps && x.snap().ExtensionByName("btree_gist") == nil:
		return pgerr.New(pgerr.UndefinedObject, "data type %s has no default operator class for access method \"gist\"", types.TypeName(t)).
			WithHint("You must specify an operator class for the index or define a default operator class for the data type.")
	case !overlaps && op != "=" && op != "<>", overlaps && op == "<>":
		return pgerr.New(pgerr.UndefinedFunction, "operator does not exist: %s %s %s", types.TypeName(t), op, types.TypeName(t)).
			WithHint("No operator matches the given name and argument types. You might need to add explicit type casts.")
	case method == "btree" && op != "=":
		family := b.Name
		if f := operatorFamilies[family]; f != "" {
			family = f
		}
		return pgerr.New(pgerr.WrongObjectType, "operator %s(%s,%s) is not a member of operator family \"%s_ops\"", op, types.TypeName(b), types.TypeName(b), family).
			WithDetail("The exclusion operator must be related to the index operator class for the constraint.")
	}
	return nil
}

// likeExclusion is an exclusion constraint as LIKE INCLUDING INDEXES copies it.
func likeExclusion(src *catalog.Table, ix *catalog.Index) (*ast.Constraint, error) {
	st, err := likeIndex(src, ix)
	if err != nil {
		return nil, err
	}
	k := &ast.Constraint{Kind: ast.ConstrExclusion, AccessMethod: st.AccessMethod, Where: st.Where,
		Deferrable: ix.Deferrable, InitiallyDeferred: ix.InitDeferred, Pos: ast.Pos{Off: -1}}
	for i, e := range st.Elems {
		k.Exclusions = append(k.Exclusions, &ast.Exclusion{Elem: e, Op: []string{ix.Exclude[i]}})
	}
	for _, e := range st.Include {
		k.Include = append(k.Include, e.Name)
	}
	return k, nil
}
