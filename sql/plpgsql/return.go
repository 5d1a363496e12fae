package plpgsql

import (
	"context"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// emitOuts returns the values of the OUT parameters.
func (m *Machine) emitOuts() error {
	row := make([]types.Datum, len(m.Fn.Outs))
	for i, v := range m.Fn.Outs {
		row[i] = m.vars[v].D
	}
	return m.emit(row)
}

func (m *Machine) emit(row []types.Datum) error {
	m.mem += 24*len(row) + 48
	for _, d := range row {
		if d.Kind() == types.KindString || d.Kind() == types.KindBytes {
			m.mem += len(d.Bytes())
		}
	}
	if m.mem > maxResultBytes {
		return pgerr.New(pgerr.OutOfMemory, "out of memory").WithDetail("The result of function %q is too large.", m.Fn.Name)
	}
	m.Rows = append(m.Rows, row)
	return nil
}

// returns is RETURN.
func (m *Machine) returns(ctx context.Context, q *Query) error {
	switch {
	case m.Ret.Set:
		if q != nil {
			return pgerr.New(pgerr.DatatypeMismatch, "RETURN cannot have a parameter in function returning set").
				WithHint("Use RETURN NEXT or RETURN QUERY.")
		}
		return nil
	case m.Ret.Trigger:
		if q == nil {
			return pgerr.New(pgerr.SyntaxError, "missing expression at or near \";\"")
		}
		return m.returnRow(ctx, q)
	case len(m.Fn.Outs) > 0:
		if q != nil {
			return pgerr.New(pgerr.DatatypeMismatch, "RETURN cannot have a parameter in function with OUT parameters")
		}
		return m.emitOuts()
	case m.Ret.Void:
		if q != nil {
			return pgerr.New(pgerr.DatatypeMismatch, "RETURN cannot have a parameter in function returning void")
		}
		return nil
	case q == nil:
		return pgerr.New(pgerr.SyntaxError, "missing expression at or near \";\"")
	}
	return m.returnValue(ctx, q)
}

// returnValue adds the value of q to the result.
func (m *Machine) returnValue(ctx context.Context, q *Query) error {
	if m.Ret.Type.Kind == types.KindTuple {
		return m.returnRow(ctx, q)
	}
	x, err := m.Host.Eval(ctx, q, m.vars)
	if err != nil {
		return err
	}
	d, err := m.Host.Coerce(ctx, x, m.Ret.Type)
	if err != nil {
		m.leaving()
		return err
	}
	return m.emit([]types.Datum{types.Detach(d)})
}

// leaving is where an error is that RETURN's value is not of the result's type: behind the last statement.
func (m *Machine) leaving() {
	switch {
	case m.Ret.Set:
	case m.Ret.Trigger:
		m.at, m.during = nil, "during function exit"
	default:
		m.at, m.during = nil, "while casting return value to function's return type"
	}
}

// returnRow returns a composite value as a row.
func (m *Machine) returnRow(ctx context.Context, q *Query) error {
	x, err := m.Host.Eval(ctx, q, m.vars)
	if err != nil {
		return err
	}
	if x.D.IsNull() {
		if m.Ret.Set {
			return m.emit(make([]types.Datum, len(m.Ret.Fields)))
		}
		return nil
	}
	if x.D.Kind() != types.KindTuple {
		return pgerr.New(pgerr.DatatypeMismatch, "cannot return non-composite value from function returning composite type")
	}
	row, err := m.shape(ctx, fieldsOf(x), x.D.Tuple().Elems)
	if err != nil {
		m.leaving()
		return err
	}
	return m.emit(row)
}

// shape converts a row to the fields of the result.
func (m *Machine) shape(ctx context.Context, cols []Column, row []types.Datum) ([]types.Datum, error) {
	out := make([]types.Datum, len(row))
	if m.Ret.Anonymous() {
		return []types.Datum{recordOf(cols, row).D}, nil
	}
	if m.Ret.Fields == nil {
		for i, d := range row {
			out[i] = types.Detach(d)
		}
		return out, nil
	}
	if len(row) != len(m.Ret.Fields) {
		return nil, pgerr.New(pgerr.DatatypeMismatch, "returned record type does not match expected record type").
			WithDetail("Number of returned columns (%d) does not match expected column count (%d).", len(row), len(m.Ret.Fields))
	}
	for i, f := range m.Ret.Fields {
		if t := cols[i].Type; !m.Ret.Set && !m.Ret.Trigger && t != nil && t.OID != f.Type.OID && t.OID != types.OIDUnknown {
			return nil, pgerr.New(pgerr.DatatypeMismatch, "returned record type does not match expected record type").
				WithDetail("Returned type %s does not match expected type %s in column %d.", types.TypeName(t), types.TypeName(f.Type), i+1)
		}
		d, err := m.Host.Coerce(ctx, Value{row[i], cols[i].Type}, f.Type)
		if err != nil {
			return nil, err
		}
		out[i] = types.Detach(d)
	}
	return out, nil
}

func (m *Machine) returnNext(ctx context.Context, q *Query) error {
	if !m.Ret.Set {
		return pgerr.New(pgerr.SyntaxError, "cannot use RETURN NEXT in a non-SETOF function")
	}
	if len(m.Fn.Outs) > 0 {
		if q != nil {
			return pgerr.New(pgerr.DatatypeMismatch, "RETURN NEXT cannot have a parameter in function with OUT parameters")
		}
		return m.emitOuts()
	}
	if q == nil {
		return pgerr.New(pgerr.SyntaxError, "RETURN NEXT must have a parameter")
	}
	return m.returnValue(ctx, q)
}

func (m *Machine) returnQuery(ctx context.Context, s *returnQuery) error {
	if !m.Ret.Set {
		return pgerr.New(pgerr.SyntaxError, "cannot use RETURN QUERY in a non-SETOF function")
	}
	n := int64(0)
	fields := m.Ret.Fields
	if fields == nil && m.Ret.Type.Kind != types.KindTuple {
		fields = []types.Field{{Type: m.Ret.Type}}
	}
	checked := false
	check := func(cols []Column) error {
		if checked || fields == nil {
			return nil
		}
		checked = true
		const msg = "structure of query does not match function result type"
		for i, c := range cols {
			if i < len(fields) && c.Type.OID != fields[i].Type.OID && c.Type.OID != types.OIDUnknown && c.Type.BaseType().OID != fields[i].Type.OID {
				return pgerr.New(pgerr.DatatypeMismatch, msg).
					WithDetail("Returned type %s does not match expected type %s in column %d.", types.TypeName(c.Type), types.TypeName(fields[i].Type), i+1)
			}
		}
		if len(cols) != len(fields) {
			return pgerr.New(pgerr.DatatypeMismatch, msg).
				WithDetail("Number of returned columns (%d) does not match expected column count (%d).", len(cols), len(fields))
		}
		return nil
	}
	res, err := m.query(ctx, s.query, s.dyn, s.using, func(cols []Column, row []types.Datum) error {
		if err := check(cols); err != nil {
			return err
		}
		n++
		out := make([]types.Datum, len(row))
		for i, d := range row {
			if fields != nil {
				var err error
				if d, err = m.Host.Coerce(ctx, Value{d, cols[i].Type}, fields[i].Type); err != nil {
					return err
				}
			}
			out[i] = types.Detach(d)
		}
		return m.emit(out)
	})
	if err != nil {
		return err
	}
	if err := check(res.Columns); err != nil {
		return err
	}
	m.rows = n
	m.found(n > 0)
	return nil
}
