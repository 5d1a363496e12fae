package pgcatalog

import (
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// exclusionDef is an exclusion constraint as pg_get_constraintdef prints it.
func exclusionDef(env *catalog.VirtualEnv, t *catalog.Table, ix *catalog.Index, pretty bool) string {
	method := ix.Method
	if method == "" {
		method = "btree"
	}
	var b strings.Builder
	b.WriteString("EXCLUDE USING " + method + " (")
	for i, k := range ix.Keys {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(indexKeyDef(env, t, k, pretty))
		if k.OpClass != "" {
			b.WriteString(" " + k.OpClass)
		}
		if k.Desc {
			b.WriteString(" DESC")
		}
		if k.NullsFirst != k.Desc {
			b.WriteString(map[bool]string{true: " NULLS FIRST", false: " NULLS LAST"}[k.NullsFirst])
		}
		b.WriteString(" WITH " + ix.Exclude[i])
	}
	b.WriteString(")")
	if len(ix.Include) > 0 {
		b.WriteString(" INCLUDE (" + columnNames(t, ix.Include) + ")")
	}
	if ix.Where != "" {
		b.WriteString(" WHERE (" + ruleText(env, ix.Where, tableColumns(t), nil, pretty) + ")")
	}
	return b.String()
}

// exclusionOperators are the oids of pg_constraint.conexclop, nil for another constraint.
func (g *gen) exclusionOperators(t *catalog.Table, ix *catalog.Index) any {
	if ix.Exclude == nil {
		return nil
	}
	oids := []uint32{}
	for i, k := range ix.Keys {
		operand := "anyrange"
		if typ := keyType(t, k); typ != nil {
			switch b := typ.BaseType(); b.Kind {
			case types.KindRange:
			case types.KindMultirange:
				operand = "anymultirange"
			default:
				operand = types.TypeName(b)
			}
		}
		oid, err := RegLookup(g.env, types.OIDRegoperator, "pg_catalog."+ix.Exclude[i]+"("+operand+","+operand+")")
		if err != nil {
			oid = 0 // of a type that compares by another type's operator
		}
		oids = append(oids, oid)
	}
	return oids
}
