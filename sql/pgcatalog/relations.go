package pgcatalog

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

//go:embed relations.txt
var relationTable string

// generator emits the rows of one relation.
type generator func(g *gen) error

// generators are the relations that have rows; the rest are empty. Filled by the init of no file: each file
// has a map, and generatorFor looks through them.
var generatorMaps = []map[string]generator{classRows, partitionRows, triggerRows, policyRows, typeRows, roleRows, infoRows, infoObjectRows, statRows, counterRows, meridianRows}

func generatorFor(name string) generator {
	for _, m := range generatorMaps {
		if g := m[name]; g != nil {
			return g
		}
	}
	return nil
}

var relations = sync.OnceValue(loadRelations)

// Relations returns the relations of the built-in schemas, for catalog.Config.Virtual. They must not be changed.
func Relations() []*catalog.Table { return relations() }

func loadRelations() []*catalog.Table {
	var out []*catalog.Table
	for line := range strings.Lines(relationTable) {
		if line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		oid, err := strconv.ParseUint(f[0], 10, 32)
		if err != nil || len(f) != 4 {
			panic("pgcatalog: relations.txt: " + line)
		}
		schema, name, _ := strings.Cut(f[1], ".")
		t := &catalog.Table{
			Header:      catalog.Header{ID: uint32(oid), Name: name, Owner: catalog.BootstrapRoleID, ACL: publicSelect},
			Kind:        catalog.RelKind(f[2][0]),
			Persistence: 'p',
		}
		switch schema {
		case catalog.PgCatalog:
			t.Schema = catalog.PgCatalogID
		case catalog.InfoSchema:
			t.Schema = catalog.InfoSchemaID
		case catalog.Meridian:
			t.Schema = catalog.MeridianSchemaID
		default:
			panic("pgcatalog: relations.txt: " + line)
		}
		for i, col := range strings.Split(f[3], ",") {
			cname, tname, _ := strings.Cut(col, ":")
			tname, notNull := strings.CutSuffix(tname, "!")
			typ := types.ByInternalName(tname)
			if typ == nil {
				panic("pgcatalog: relations.txt: no type " + tname)
			}
			t.Columns = append(t.Columns, &catalog.Column{Num: int16(i + 1), Name: cname, NotNull: notNull,
				Type: catalog.TypeRef{OID: typ.OID, Typmod: -1}, T: typ})
		}
		make := generatorFor(f[1])
		layout := newLayout(t)
		t.Virtual = &catalog.Virtual{Rows: func(ctx context.Context, env *catalog.VirtualEnv, emit func([]types.Datum) error) error {
			if make == nil {
				return nil
			}
			return make(&gen{ctx: ctx, env: env, snap: env.Snapshot, layout: layout, emit: emit})
		}}
		out = append(out, t)
	}
	return out
}

var publicSelect = []catalog.ACL{{Role: catalog.BootstrapRoleID, Privs: "arwdDxt", Grantor: catalog.BootstrapRoleID}, {Privs: "r", Grantor: catalog.BootstrapRoleID}}

// layout maps a relation's column names to places.
type layout struct {
	name  string
	cols  []*catalog.Column
	index map[string]int
}

func newLayout(t *catalog.Table) *layout {
	l := &layout{name: t.Name, cols: t.Columns, index: map[string]int{}}
	for i, c := range t.Columns {
		l.index[c.Name] = i
	}
	return l
}

// gen is one reading of a relation.
type gen struct {
	ctx    context.Context
	env    *catalog.VirtualEnv
	snap   *catalog.Snapshot
	layout *layout
	emit   func([]types.Datum) error
}

// row emits a row given as name, value pairs. Columns left out are NULL, or false, 0 or empty if the relation
// declares them NOT NULL. A name that is no column is a mistake in this package.
func (g *gen) row(pairs ...any) error {
	row := make([]types.Datum, len(g.layout.cols))
	for i, c := range g.layout.cols {
		if c.NotNull {
			row[i] = zero(c.T)
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		at, ok := g.layout.index[pairs[i].(string)]
		if !ok {
			panic(fmt.Sprintf("pgcatalog: %s has no column %v", g.layout.name, pairs[i]))
		}
		row[at] = datum(g.layout.cols[at].T, pairs[i+1])
	}
	return g.emit(row)
}

func zero(t *types.T) types.Datum {
	switch t.Kind {
	case types.KindBool:
		return types.NewBool(false)
	case types.KindInt:
		return types.NewInt(0)
	case types.KindFloat:
		return types.NewFloat(0)
	case types.KindArray:
		return vector(t, nil)
	case types.KindString:
		return types.NewString("")
	}
	return types.Null
}

// datum converts a Go value to a datum of a column's type.
func datum(t *types.T, v any) types.Datum {
	switch v := v.(type) {
	case nil:
		return types.Null
	case types.Datum:
		return v
	case bool:
		if t.Kind == types.KindString { // yes_or_no
			if v {
				return types.NewString("YES")
			}
			return types.NewString("NO")
		}
		return types.NewBool(v)
	case string:
		return types.NewString(v)
	case byte:
		return types.NewString(string(rune(v)))
	case catalog.RelKind:
		return types.NewString(string(rune(v)))
	case int:
		return number(t, int64(v))
	case int16:
		return number(t, int64(v))
	case int32:
		return number(t, int64(v))
	case int64:
		return number(t, v)
	case uint16:
		return number(t, int64(v))
	case uint32:
		return number(t, int64(v))
	case uint64:
		return number(t, int64(v))
	case types.OID:
		return number(t, int64(v))
	case float64:
		return types.NewFloat(v)
	case []int16:
		return ints(t, v)
	case []uint32:
		return ints(t, v)
	case []types.OID:
		return ints(t, v)
	case []int64:
		return ints(t, v)
	case []string:
		if v == nil {
			return types.Null
		}
		var elems []types.Datum
		for _, s := range v {
			elems = append(elems, types.NewString(s))
		}
		return vector(t, elems)
	}
	panic(fmt.Sprintf("pgcatalog: no datum for %T", v))
}

func number(t *types.T, v int64) types.Datum {
	if t.Kind == types.KindFloat {
		return types.NewFloat(float64(v))
	}
	return types.NewInt(v)
}

func ints[I int16 | uint32 | types.OID | int64](t *types.T, vs []I) types.Datum {
	if vs == nil {
		return types.Null
	}
	var elems []types.Datum
	for _, v := range vs {
		elems = append(elems, types.NewInt(int64(v)))
	}
	return vector(t, elems)
}

// vector makes a one-dimensional array; int2vector and oidvector count from 0.
func vector(t *types.T, elems []types.Datum) types.Datum {
	a := &types.Array{Elem: t.Elem, Elems: elems}
	lower := int32(1)
	if t.OID == types.OIDInt2Vector || t.OID == types.OIDOidVector {
		lower = 0
	}
	if len(elems) > 0 || lower == 0 {
		a.Dims = []types.ArrayDim{{Len: int32(len(elems)), Lower: lower}}
	}
	return types.NewArray(a)
}

// aclText prints an ACL in PostgreSQL's form, nil when the object has the default one.
func (g *gen) aclText(acl []catalog.ACL) any {
	if acl == nil {
		return nil
	}
	out := []string{}
	for _, a := range acl {
		s := ""
		if a.Role != 0 {
			s = aclName(g.snap.RoleName(a.Role))
		}
		s += "="
		for _, p := range a.Privs {
			s += string(p)
			if strings.ContainsRune(a.Grantable, p) {
				s += "*"
			}
		}
		out = append(out, s+"/"+aclName(g.snap.RoleName(a.Grantor)))
	}
	return out
}
