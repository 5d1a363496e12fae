package plan

import (
	"reflect"

	"github.com/meridian-db/meridian/sql/ast"
)

// walkTables calls f for every relation name in a statement. Only WITH RECURSIVE needs it, so it may be slow.
func walkTables(st ast.Stmt, f func(*ast.RangeVar)) {
	var rec func(v reflect.Value)
	rec = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if v.IsNil() {
				return
			}
			if r, ok := v.Interface().(*ast.RangeVar); ok {
				f(r)
				return
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
}
