package parser

import (
	"reflect"
	"testing"

	"github.com/meridian-db/meridian/sql/ast"
)

// clearPos sets every position in a tree to 0, so that trees can be compared.
func clearPos(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			clearPos(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			clearPos(v.Index(i))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeOf(ast.Pos{}) {
			if v.CanSet() {
				v.Set(reflect.Zero(v.Type()))
			}
			return
		}
		for i := range v.NumField() {
			clearPos(v.Field(i))
		}
	}
}

func deparsable(s ast.Stmt) bool {
	switch s := s.(type) {
	case *ast.SelectStmt, *ast.InsertStmt, *ast.UpdateStmt, *ast.DeleteStmt, *ast.MergeStmt:
		return !hasUnsupported(reflect.ValueOf(s))
	}
	return false
}

func hasUnsupported(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return false
		}
		switch v.Interface().(type) {
		case *ast.Unsupported, *ast.UnsupportedRef:
			return true
		}
		return hasUnsupported(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if hasUnsupported(v.Index(i)) {
				return true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if hasUnsupported(v.Field(i)) {
				return true
			}
		}
	}
	return false
}

// checkRoundTrip deparses a statement and parses it again.
func checkRoundTrip(t *testing.T, s ast.Stmt) {
	t.Helper()
	text := Deparse(s)
	again, err := ParseWithLimits(text, Limits{MaxSizeBytes: 8 << 20, MaxNesting: 2000})
	if err != nil || len(again) != 1 {
		t.Errorf("%s\n%v", text, err)
		return
	}
	a, b := reflect.ValueOf(s), reflect.ValueOf(again[0].Stmt)
	clearPos(a)
	clearPos(b)
	if !reflect.DeepEqual(a.Interface(), b.Interface()) {
		t.Errorf("not equal after the round trip:\n%s\n%s", text, Deparse(again[0].Stmt))
	}
}

func TestDeparseRoundTrip(t *testing.T) {
	for _, q := range accepted(t) {
		sts, err := Parse(q)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sts {
			if deparsable(s.Stmt) {
				checkRoundTrip(t, s.Stmt)
			}
		}
	}
}

func FuzzDeparse(f *testing.F) {
	for _, q := range accepted(f) {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, q string) {
		sts, err := Parse(q)
		if err != nil {
			return
		}
		for _, s := range sts {
			if deparsable(s.Stmt) {
				checkRoundTrip(t, s.Stmt)
			}
		}
	})
}
