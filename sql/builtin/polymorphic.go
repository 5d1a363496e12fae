package builtin

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func isPolymorphic(o types.OID) bool { return isPolyElem(o) || isPolyCompat(o) }

func isPolyElem(o types.OID) bool {
	switch o {
	case types.OIDAnyElement, types.OIDAnyArray, types.OIDAnyNonArray, types.OIDAnyEnum,
		types.OIDAnyRange, types.OIDAnyMultirange:
		return true
	}
	return false
}

func isPolyCompat(o types.OID) bool {
	switch o {
	case types.OIDAnyCompatible, types.OIDAnyCompatibleArray, types.OIDAnyCompatibleNonArray,
		types.OIDAnyCompatibleRange, types.OIDAnyCompatibleMultirange:
		return true
	}
	return false
}

// polyCheck reports whether the actual types can stand for the declared polymorphic ones
// (check_generic_type_consistency).
func polyCheck(actual []*types.T, declared []types.OID) bool {
	var elem, array, rng, multi, compatRange *types.T
	var compat []*types.T
	var compatArray, nonArray, isEnum bool
	// same notes the one type that all parameters of a pseudotype stand for.
	same := func(t **types.T, a *types.T, kind types.Kind) bool {
		if *t != nil {
			return (*t).OID == a.OID
		}
		*t = a
		return a.Kind == kind && a.Sub != nil
	}
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
		case types.OIDAnyRange, types.OIDAnyMultirange, types.OIDAnyCompatibleRange, types.OIDAnyCompatibleMultirange:
			ok := a.OID == types.OIDUnknown
			switch {
			case ok:
			case d == types.OIDAnyRange:
				ok = same(&rng, a, types.KindRange)
			case d == types.OIDAnyMultirange:
				ok = same(&multi, a, types.KindMultirange)
			case d == types.OIDAnyCompatibleRange:
				ok = same(&compatRange, a, types.KindRange)
			default:
				ok = a.Kind == types.KindMultirange && a.Sub != nil && same(&compatRange, a.Sub, types.KindRange)
			}
			if !ok {
				return false
			}
		}
	}
	if multi != nil {
		if rng != nil && rng.OID != multi.Sub.OID {
			return false
		}
		rng = multi.Sub
	}
	if rng != nil {
		if elem != nil && elem.BaseType().OID != rng.Sub.OID {
			return false
		}
		elem = rng.Sub
	}
	if compatRange != nil {
		compat = append(compat, compatRange.Sub)
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
		if !ok || compatArray && types.ArrayOf(c) == nil || compatRange != nil && c.OID != compatRange.Sub.OID {
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
	var elem, array, rng, compatRange *types.T
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
			switch {
			case d == types.OIDAnyArray:
				array = a
			case d == types.OIDAnyRange:
				rng = a
			case d == types.OIDAnyMultirange:
				rng = a.Sub
			case elem == nil:
				elem = actual[i]
			}
		case isPolyCompat(d):
			compatible = true
			if a.OID == types.OIDUnknown {
				continue
			}
			switch d {
			case types.OIDAnyCompatibleArray:
				a = a.Elem
			case types.OIDAnyCompatibleRange:
				compatRange, a = a, a.Sub
			case types.OIDAnyCompatibleMultirange:
				compatRange, a = a.Sub, a.Sub.Sub
			}
			compat = append(compat, a)
		}
	}
	if rng != nil && elem == nil {
		elem = rng.Sub
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
	undetermined := func(pseudo string) error {
		return pgerr.New(pgerr.DatatypeMismatch, "could not determine polymorphic type %s because input has type unknown", pseudo)
	}
	concrete := func(d types.OID) (*types.T, error) {
		switch d {
		case types.OIDAnyRange, types.OIDAnyMultirange:
			if rng == nil {
				return nil, undetermined(types.TypeNameOID(d))
			}
			if d == types.OIDAnyMultirange {
				return rng.Multi, nil
			}
			return rng, nil
		case types.OIDAnyCompatibleRange, types.OIDAnyCompatibleMultirange:
			if compatRange == nil {
				return nil, undetermined(types.TypeNameOID(d))
			}
			if d == types.OIDAnyCompatibleMultirange {
				return compatRange.Multi, nil
			}
			return compatRange, nil
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
