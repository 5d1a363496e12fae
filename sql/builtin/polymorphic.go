package builtin

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func isPolymorphic(o types.OID) bool { return isPolyElem(o) || isPolyCompat(o) }

func isPolyElem(o types.OID) bool {
	switch o {
	case types.OIDAnyElement, types.OIDAnyArray, types.OIDAnyNonArray, types.OIDAnyEnum, 3831, 4537: // anyrange, anymultirange
		return true
	}
	return false
}

func isPolyCompat(o types.OID) bool {
	switch o {
	case types.OIDAnyCompatible, types.OIDAnyCompatibleArray, types.OIDAnyCompatibleNonArray, 5080, 4538:
		return true
	}
	return false
}

// polyCheck reports whether the actual types can stand for the declared polymorphic ones
// (check_generic_type_consistency).
func polyCheck(actual []*types.T, declared []types.OID) bool {
	var elem, array *types.T
	var compat []*types.T
	var compatArray, nonArray, isEnum bool
	for i, d := range declared {
		a := actual[i].BaseType()
		switch d {
		case types.OIDAnyElement, types.OIDAnyNonArray, types.OIDAnyEnum:
			nonArray = nonArray || d == types.OIDAnyNonArray
			isEnum = isEnum || d == types.OIDAnyEnum
			if a.OID == types.OIDUnknown {
				continue
			}
			if elem != nil && elem.OID != actual[i].OID && elem.BaseType().OID != a.OID {
				return false
			}
			elem = actual[i]
		case types.OIDAnyArray:
			if a.OID == types.OIDUnknown {
				continue
			}
			if array != nil && array.OID != a.OID {
				return false
			}
			array = a
		case types.OIDAnyCompatible, types.OIDAnyCompatibleNonArray:
			if a.OID != types.OIDUnknown {
				if d == types.OIDAnyCompatibleNonArray && a.IsArray() {
					return false
				}
				compat = append(compat, a)
			}
		case types.OIDAnyCompatibleArray:
			if a.OID == types.OIDUnknown {
				continue
			}
			if a.Elem == nil || a.Kind != types.KindArray { // int2vector and oidvector count as arrays here
				return false
			}
			compat, compatArray = append(compat, a.Elem), true
		case 3831, 4537, 5080, 4538: // ranges are not supported
			return false
		}
	}
	if array != nil {
		if array.OID == types.OIDAnyArray {
			return elem == nil
		}
		if array.Elem == nil {
			return false
		}
		if elem != nil && elem.BaseType().OID != array.Elem.OID {
			return false
		}
		if elem == nil {
			elem = array.Elem
		}
	}
	if nonArray && elem != nil && elem.IsArray() {
		return false
	}
	if isEnum && (elem == nil || elem.Class != 'e') {
		return false
	}
	if len(compat) > 0 {
		c, ok := commonType(compat)
		if !ok || compatArray && types.ArrayOf(c) == nil {
			return false
		}
		for _, a := range compat {
			if !canCoerceOne(a, c.OID, CastImplicit) {
				return false
			}
		}
	}
	return true
}

// polyResolve turns declared argument types and a declared result into concrete ones
// (enforce_generic_type_consistency).
func polyResolve(actual []*types.T, declared []types.OID, ret types.OID) ([]*types.T, *types.T, error) {
	var elem, array *types.T
	var compat []*types.T
	poly, compatible := isPolyElem(ret), isPolyCompat(ret)
	for i, d := range declared {
		a := actual[i].BaseType()
		switch {
		case isPolyElem(d):
			poly = true
			if a.OID == types.OIDUnknown {
				continue
			}
			if d == types.OIDAnyArray {
				array = a
			} else if elem == nil {
				elem = actual[i]
			}
		case isPolyCompat(d):
			compatible = true
			if a.OID == types.OIDUnknown {
				continue
			}
			if d == types.OIDAnyCompatibleArray {
				a = a.Elem
			}
			compat = append(compat, a)
		}
	}
	var compatT *types.T
	if compatible {
		if len(compat) == 0 {
			compatT = types.Text
		} else {
			c, ok := commonType(compat)
			if !ok {
				return nil, nil, pgerr.New(pgerr.DatatypeMismatch, "arguments of anycompatible family cannot be cast to a common type")
			}
			compatT = c
		}
	}
	if poly {
		switch {
		case array != nil && array.OID == types.OIDAnyArray:
			// pg_stats and friends: stays anyarray
		case array != nil && elem == nil:
			elem = array.Elem
		case array == nil && elem != nil:
			array = types.ArrayOf(elem)
		}
		if elem == nil && array == nil {
			return nil, nil, pgerr.New(pgerr.DatatypeMismatch, "could not determine polymorphic type because input has type %s", "unknown")
		}
	}
	concrete := func(d types.OID) (*types.T, error) {
		switch d {
		case types.OIDAnyElement, types.OIDAnyNonArray, types.OIDAnyEnum:
			if elem == nil {
				return types.AnyElement, nil
			}
			return bare(elem), nil
		case types.OIDAnyArray:
			if array == nil {
				return nil, pgerr.New(pgerr.UndefinedObject, "could not find array type for data type %s", types.TypeName(elem))
			}
			return bare(array), nil
		case types.OIDAnyCompatible, types.OIDAnyCompatibleNonArray:
			return bare(compatT), nil
		case types.OIDAnyCompatibleArray:
			t := types.ArrayOf(compatT)
			if t == nil {
				return nil, pgerr.New(pgerr.UndefinedObject, "could not find array type for data type %s", types.TypeName(compatT))
			}
			return bare(t), nil
		}
		return typeByOID(d), nil
	}
	args := make([]*types.T, len(declared))
	for i, d := range declared {
		t, err := concrete(d)
		if err != nil {
			return nil, nil, err
		}
		if d == types.OIDAny {
			t = bare(actual[i])
		} else if (d == types.OIDRecord || d == types.OIDRecordArray) && actual[i].OID != types.OIDUnknown {
			t = actual[i]
		}
		args[i] = t
	}
	r, err := concrete(ret)
	return args, r, err
}

func bare(t *types.T) *types.T {
	if t.Typmod < 0 {
		return t
	}
	return t.WithTypmod(-1)
}

// typeByOID returns a built-in type; the tables also name types that have no Go form (ranges), which
// resolve to an opaque one.
func typeByOID(o types.OID) *types.T {
	if t := types.ByOID(o); t != nil {
		return t
	}
	return &types.T{OID: o, Typmod: -1, Name: types.TypeNameOID(o), Kind: types.KindString, Size: -1, Category: 'U', Class: 'b', Delim: ','}
}
