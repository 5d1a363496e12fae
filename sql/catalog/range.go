package catalog

import (
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// RangeConstructors are the functions that come with user-defined range and multirange types and have their names: those
// of the type of that name in a schema. Their ids are the type's.
func (s *Snapshot) RangeConstructors(schema, name string) []*builtin.Func {
	if schema == PgCatalog {
		return nil
	}
	t := s.typeNamed(schema, name)
	if t == nil {
		return nil
	}
	constructor := func(src string, args ...*types.T) *builtin.Func {
		f := &builtin.Func{OID: t.OID, Name: name, Kind: 'f', Ret: t.OID, RetType: t, Volatility: 'i', Src: src, Types: args}
		for _, a := range args {
			f.Args = append(f.Args, a.OID)
		}
		return f
	}
	switch t.Class {
	case 'r':
		return []*builtin.Func{constructor("range_constructor2", t.Sub, t.Sub), constructor("range_constructor3", t.Sub, t.Sub, types.Text)}
	case 'm':
		one, list := constructor("multirange_constructor1", t.Sub), constructor("multirange_constructor2", types.ArrayOf(t.Sub))
		one.Strict, list.Strict = true, true
		list.Variadic = t.Sub.OID
		return []*builtin.Func{constructor("multirange_constructor0"), one, list}
	}
	return nil
}
