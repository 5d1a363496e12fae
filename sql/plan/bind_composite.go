package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// array binds ARRAY[...]; want is the type it is cast to, if any, which decides the elements' type.
func (s *scope) array(e *ast.ArrayExpr, want *types.T) (Expr, error) {
	elems := make([]Expr, 0, len(e.Elems))
	pos := make([]int32, 0, len(e.Elems))
	multi := false
	for _, x := range e.Elems {
		var el Expr
		var err error
		if sub, ok := x.(*ast.ArrayExpr); ok {
			el, err = s.array(sub, want)
			multi = true
		} else {
			el, err = s.expr(x)
		}
		if err != nil {
			return nil, err
		}
		if el.Type().IsArray() {
			multi = true
		}
		elems = append(elems, el)
		pos = append(pos, x.Position())
	}
	if want != nil {
		target := want.Elem
		if multi {
			target = want
		}
		for i := range elems {
			var err error
			if isUnknown(elems[i]) {
				elems[i], err = s.b.coerce(elems[i], target, builtin.CastExplicit, pos[i])
			} else {
				elems[i], err = s.b.explicitCast(elems[i], target, pos[i])
			}
			if err != nil {
				return nil, err
			}
		}
		return &ArrayCtor{Elems: elems, T: want, Multi: multi}, nil
	}
	if len(elems) == 0 {
		return nil, errAt(e.Off, pgerr.IndeterminateDatatype, "cannot determine type of empty array").
			WithHint("Explicitly cast to the desired type, for example ARRAY[]::integer[].")
	}
	t, err := s.b.common(elems, "ARRAY", pos)
	if err != nil {
		return nil, err
	}
	if multi {
		return &ArrayCtor{Elems: elems, T: t, Multi: true}, nil
	}
	at_ := types.ArrayOf(t)
	if at_ == nil {
		return nil, errAt(e.Off, pgerr.UndefinedObject, "could not find array type for data type %s", types.TypeName(t))
	}
	return &ArrayCtor{Elems: elems, T: at_}, nil
}

func (s *scope) indirection(e *ast.Indirection) (Expr, error) {
	x, err := s.expr(e.Arg)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(e.Steps); i++ {
		st := e.Steps[i]
		switch st.Kind {
		case ast.FieldStep:
			y, err := s.field(x, st.Name, e.Off)
			if err != nil {
				arg := e.Arg
				if i > 0 {
					arg = &ast.Indirection{Arg: e.Arg, Steps: e.Steps[:i], Pos: e.Pos}
				}
				var err2 error
				if y, err2 = s.attribute(arg, st.Name, e.Off); err2 != nil {
					return nil, err2
				}
				if y == nil {
					if r, ok := e.Arg.(*ast.ColumnRef); ok && i == 0 && len(r.Fields) == 1 && x.Type().OID == types.OIDRecord {
						if rl, _ := s.findRel("", r.Fields[0], r.Off); rl != nil {
							err = errAt(e.Off, pgerr.UndefinedColumn, "column %s.%s does not exist", rl.alias, st.Name)
						}
					}
					return nil, err
				}
			}
			x = y
		case ast.StarStep:
			return nil, errAt(e.Off, pgerr.SyntaxError, "row expansion via \"*\" is not supported here")
		default:
			j := i
			for j < len(e.Steps) && (e.Steps[j].Kind == ast.IndexStep || e.Steps[j].Kind == ast.SliceStep) {
				j++
			}
			if x, err = s.subscript(x, e.Steps[i:j], e.Off); err != nil {
				return nil, err
			}
			i = j - 1
		}
	}
	return x, nil
}

func (s *scope) subscript(x Expr, steps []ast.IndirectionStep, pos int32) (Expr, error) {
	t := x.Type().BaseType()
	sub := &Subscript{Arg: x}
	isJSON := t.OID == types.OIDJSONB
	if t.OID == types.OIDName && len(steps) == 1 && steps[0].Kind == ast.IndexStep {
		return s.nameByte(x, steps[0].Upper, pos)
	}
	if !isJSON && (t.Kind != types.KindArray || t.Elem == nil) {
		return nil, errAt(pos, pgerr.DatatypeMismatch, "cannot subscript type %s because it does not support subscripting", types.TypeName(t))
	}
	for _, st := range steps {
		sub.Slice = sub.Slice || st.Kind == ast.SliceStep
	}
	if isJSON && sub.Slice {
		return nil, errAt(pos, pgerr.DatatypeMismatch, "jsonb subscript does not support slices")
	}
	if len(steps) > 6 {
		return nil, errAt(pos, pgerr.ProgramLimitExceeded, "number of array dimensions (%d) exceeds the maximum allowed (6)", len(steps))
	}
	bound := func(e ast.Expr) (Expr, error) {
		if e == nil {
			return nil, nil
		}
		v, err := s.expr(e)
		if err != nil {
			return nil, err
		}
		if isJSON {
			if isUnknown(v) || v.Type().Category == 'S' {
				return s.b.coerce(v, types.Text, builtin.CastImplicit, e.Position())
			}
		}
		if isJSON && !builtin.CanCoerce(v.Type(), types.Int4, builtin.CastImplicit) || !isUnknown(v) && !builtin.CanCoerce(v.Type(), types.Int4, builtin.CastAssignment) {
			if isJSON {
				return nil, errAt(e.Position(), pgerr.DatatypeMismatch, "subscript type %s is not supported", types.TypeName(v.Type())).
					WithHint("jsonb subscript must be coercible to either integer or text.")
			}
			return nil, errAt(e.Position(), pgerr.DatatypeMismatch, "array subscript must have type integer")
		}
		return s.b.coerce(v, types.Int4, builtin.CastAssignment, e.Position())
	}
	for _, st := range steps {
		lo, err := bound(st.Lower)
		if err != nil {
			return nil, err
		}
		up, err := bound(st.Upper)
		if err != nil {
			return nil, err
		}
		if sub.Slice && st.Kind == ast.IndexStep {
			lo = &Const{D: types.NewInt(1), T: types.Int4}
		}
		sub.Lower = append(sub.Lower, lo)
		sub.Upper = append(sub.Upper, up)
	}
	switch {
	case isJSON:
		sub.isJSON, sub.T = true, t
	case sub.Slice:
		sub.T = t
	default:
		sub.Lower, sub.T = nil, t.Elem
	}
	return sub, nil
}

// nameByte is name[i]: PostgreSQL's catalogs treat a name as a fixed array of "char" that begins at 0.
func (s *scope) nameByte(x Expr, index ast.Expr, pos int32) (Expr, error) {
	i, err := s.expr(index)
	if err != nil {
		return nil, err
	}
	if i, err = s.b.coerce(i, types.Int4, builtin.CastAssignment, index.Position()); err != nil {
		return nil, err
	}
	one := &Const{D: types.NewInt(1), T: types.Int4}
	if i, err = s.b.op("+", i, one, pos); err != nil {
		return nil, err
	}
	if x, err = s.b.coerce(x, types.Text, builtin.CastImplicit, pos); err != nil {
		return nil, err
	}
	if x, err = s.b.call("substr", pos, x, i, one); err != nil {
		return nil, err
	}
	return s.b.explicitCast(x, types.ByOID(types.OIDChar), pos)
}
