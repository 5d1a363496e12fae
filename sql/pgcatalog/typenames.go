package pgcatalog

import (
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// typeText prints a type as format_type does: with its schema unless the search path finds it without.
func typeText(env *catalog.VirtualEnv, t *types.T) string {
	return typeNameText(env, t, types.FormatType)
}

func typeNameText(env *catalog.VirtualEnv, t *types.T, format func(*types.T) string) string {
	elem, dims := t, ""
	for elem.IsArray() && elem.Class != 'd' {
		elem, dims = elem.Elem, "[]"
	}
	text := format(elem) + dims
	if elem.Schema != "" && !typeVisible(env, elem) {
		return quoteIdent(elem.Schema) + "." + text
	}
	return text
}

// typeVisible reports whether a user's type is the first of its name on the search path.
func typeVisible(env *catalog.VirtualEnv, t *types.T) bool {
	for _, s := range env.SearchPath {
		switch {
		case s == t.Schema:
			return true
		case s == catalog.PgCatalog && types.ByInternalName(t.Name) != nil:
			return false
		}
		for _, other := range env.Snapshot.Types() {
			if other.Name == t.Name && env.Snapshot.SchemaName(other.Schema) == s {
				return false
			}
		}
	}
	return false
}
