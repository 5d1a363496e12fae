package plan

import (
	"reflect"

	"github.com/meridian-db/meridian/sql/ast"
)

// refersTo reports whether a statement reads a relation of that unqualified name, other than one that a
// WITH clause inside it defines. Only WITH RECURSIVE needs it, so it may be slow.
func refersTo(st ast.Stmt, name string) bool { return reference(st, name) != nil }

// reference is where refersTo found the name.
func reference(st ast.Stmt, name string) (found *ast.RangeVar) {
	var rec func(v reflect.Value)
	rec = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if v.IsNil() || found != nil {
				return
			}
			switch x := v.Interface().(type) {
			case *ast.RangeVar:
				if found == nil && x.Schema == "" && x.Name == name {
					found = x
				}
				return
			case *ast.SelectStmt:
				if x.With != nil && definesCTE(x.With, name) {
					// The name means the inner query, except in a non-recursive WITH before its definition.
					if !x.With.Recursive {
						for _, c := range x.With.CTEs {
							rec(reflect.ValueOf(c.Query))
							if c.Name == name {
								break
							}
						}
					}
					return
				}
			}
			rec(v.Elem())
		case reflect.Struct:
			for i := range v.NumField() {
				rec(v.Field(i))
			}
		case reflect.Slice:
			for i := range v.Len() {
				rec(v.Index(i))
			}
		}
	}
	rec(reflect.ValueOf(st))
	return found
}

func definesCTE(w *ast.WithClause, name string) bool {
	for _, c := range w.CTEs {
		if c.Name == name {
			return true
		}
	}
	return false
}
