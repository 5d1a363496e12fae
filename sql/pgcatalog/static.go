package pgcatalog

import (
	_ "embed"
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/types"
)

//go:embed static.tsv
var staticTable string

// staticRows are rows that every database has, in the text format of COPY.
type staticRows struct {
	columns []string
	lines   []string
}

var static = sync.OnceValue(func() map[string]*staticRows {
	out := map[string]*staticRows{}
	var rel *staticRows
	for line := range strings.Lines(staticTable) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#pg_catalog."):
			f := strings.Split(strings.TrimPrefix(line, "#pg_catalog."), "\t")
			rel = &staticRows{columns: f[1:]}
			out[f[0]] = rel
		case line[0] != '#':
			rel.lines = append(rel.lines, line)
		}
	}
	return out
})

// staticRelation generates the rows of static.tsv.
func staticRelation(g *gen) error {
	rel := static()[g.layout.name]
	pairs := make([]any, 2*len(rel.columns))
	for _, line := range rel.lines {
		for i, c := range rel.columns {
			text, rest, _ := strings.Cut(line, "\t")
			line = rest
			pairs[2*i] = c
			d, err := types.ParseText(text, g.layout.cols[g.layout.index[c]].T, nil)
			if err != nil {
				return err
			}
			pairs[2*i+1] = d
		}
		if err := g.row(pairs...); err != nil {
			return err
		}
	}
	return nil
}

// operatorClasses are the operator classes by access method and type, the default ones, or name.
var operatorClasses = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for _, line := range static()["pg_opclass"].lines {
		// oid, method, name, schema, owner, family, type, default
		f := strings.Split(line, "\t")
		out[f[1]+" "+f[2]] = f[0]
		if f[7] == "t" {
			out[f[1]+" "+f[6]] = f[0]
		}
	}
	return out
})

// opclass is the oid of the named operator class of an access method, or of the default one for a type.
func opclass(am int, name string, t *types.T) types.OID {
	if oid, ok := operatorClasses()[itoa(int64(am))+" "+name]; ok {
		return parsedOID(oid)
	}
	t = t.BaseType()
	key := t.OID
	switch {
	case t.IsArray():
		key = types.OIDAnyArray
	case t.Class == 'e':
		key = types.OIDAnyEnum
	case t.Fold:
		key = types.OIDText
	case t.Class == 'r':
		key = types.OIDAnyRange
	case t.Class == 'm':
		key = types.OIDAnyMultirange
	case t.Class == 'c':
		key = types.OIDRecord
	case t.OID == types.OIDVarchar:
		key = types.OIDText
	case t.OID == types.OIDCidr:
		key = types.OIDInet
	}
	return parsedOID(operatorClasses()[itoa(int64(am))+" "+itoa(int64(key))])
}

func parsedOID(text string) types.OID {
	d, err := types.ParseText(text, types.ByOID(types.OIDOid), nil)
	if err != nil {
		return 0
	}
	return types.OID(d.Int())
}

// builtinDescriptions are the comments on built-in types, functions and operators by class and object.
var builtinDescriptions = sync.OnceValue(func() map[string]string {
	out := map[string]string{}
	for _, line := range static()["pg_description"].lines {
		if f := strings.SplitN(line, "\t", 3); len(f) == 3 {
			out[f[1]+" "+f[0]] = f[2]
		}
	}
	return out
})

// builtinDescription is the comment on a built-in object of a catalog, "" if it has none.
func builtinDescription(class string, oid uint32) string {
	for name, id := range map[string]int64{"pg_type": classType, "pg_proc": classProc, "pg_operator": classOperator} {
		if class == "" || class == name {
			if d := builtinDescriptions()[itoa(id)+" "+itoa(int64(oid))]; d != "" {
				return d
			}
		}
	}
	return ""
}
