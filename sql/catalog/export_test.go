package catalog

import (
	"reflect"
	"slices"
	"testing"
)

// fill sets every stored id of a descriptor to a number of its own.
func fill(v reflect.Value, next *uint32) {
	switch v.Kind() {
	case reflect.Uint32:
		*next++
		v.SetUint(uint64(*next))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), next)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), next)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			// A Rewriting holds a table again; restored tables have none.
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" && f.Type != reflect.TypeFor[*Rewriting]() {
				fill(v.Field(i), next)
			}
		}
	}
}

// Every id that a descriptor holds is rewritten, once, wherever it is.
func TestRewrite(t *testing.T) {
	for _, d := range []Descriptor{&Database{}, &Schema{}, &Role{}, &Tablespace{}, &Type{}, &Table{}, &Function{}, &Publication{}} {
		next := uint32(FirstUserID)
		fill(reflect.ValueOf(d).Elem(), &next)
		want := next - FirstUserID
		if tab, ok := d.(*Table); ok {
			tab.Columns[0].Default = "nextval(CAST('16400' AS regclass)) + CAST('7' AS int)"
			want++
		}
		var seen []uint32
		n, err := Rewrite(d, func(id uint32) uint32 { seen = append(seen, id); return id + 100000 })
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(seen)
		if uint32(len(seen)) != want || seen[0] != FirstUserID+1 {
			t.Errorf("%T: %d ids are rewritten, want %d", d, len(seen), want)
		}
		if tab, ok := n.(*Table); ok && tab.Columns[0].Default != "nextval(CAST('116400' AS regclass)) + CAST('7' AS int)" {
			t.Errorf("default %s", tab.Columns[0].Default)
		}
		if n.DescID() != d.DescID()+100000 {
			t.Errorf("%T: id %d", d, n.DescID())
		}
	}
}
