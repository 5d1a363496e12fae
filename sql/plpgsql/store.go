package plpgsql

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// store assigns to a variable.
func (m *Machine) store(ctx context.Context, i int, x Value) error {
	v := m.Fn.Vars[i]
	if v.Record {
		return m.storeRecord(ctx, i, x)
	}
	d, err := m.Host.Coerce(ctx, x, v.Type)
	if err != nil {
		return err
	}
	if d.IsNull() && v.NotNull {
		return pgerr.New(pgerr.NullValueNotAllowed, "null value cannot be assigned to variable %q declared NOT NULL", v.Name)
	}
	m.vars[i] = Value{types.Detach(d), v.Type}
	return nil
}

func (m *Machine) storeRecord(ctx context.Context, i int, x Value) error {
	v := m.Fn.Vars[i]
	if x.D.IsNull() {
		if v.Type != nil || x.T == nil || x.T.Kind != types.KindTuple {
			m.vars[i] = Value{T: v.Type}
			return nil
		}
		m.vars[i] = Value{T: x.T}
		return nil
	}
	if x.D.Kind() != types.KindTuple {
		if v.Type != nil && x.T != nil {
			d, err := m.Host.Coerce(ctx, x, v.Type)
			if err != nil || d.Kind() != types.KindTuple {
				return pgerr.New(pgerr.DatatypeMismatch, "cannot assign non-composite value to a record variable")
			}
			x.D = d
		} else {
			return pgerr.New(pgerr.DatatypeMismatch, "cannot assign non-composite value to a record variable")
		}
	}
	tu := x.D.Tuple()
	fields := fieldsOf(x)
	return m.storeRow(ctx, i, fields, tu.Elems)
}

// fieldsOf are the fields of a composite value.
func fieldsOf(x Value) []Column {
	var out []Column
	if x.T != nil && x.T.BaseType().Def != nil {
		for _, f := range x.T.BaseType().Def.Fields {
			out = append(out, Column{f.Name, f.Type})
		}
		return out
	}
	if x.D.IsNull() {
		return nil
	}
	tu := x.D.Tuple()
	for i := range tu.Elems {
		c := Column{Type: types.Unknown}
		if i < len(tu.Types) {
			c.Type = tu.Types[i]
		}
		if i < len(tu.Names) {
			c.Name = tu.Names[i]
		}
		out = append(out, c)
	}
	return out
}

// storeRow assigns a row to a record. A row variable keeps its type, any other record takes the row's.
func (m *Machine) storeRow(ctx context.Context, i int, cols []Column, row []types.Datum) error {
	v := m.Fn.Vars[i]
	if v.Type == nil {
		m.vars[i] = recordOf(cols, row)
		return nil
	}
	fields := v.Type.BaseType().Def.Fields
	out := make([]types.Datum, len(fields))
	for k, f := range fields {
		if k >= len(row) {
			continue
		}
		d, err := m.Host.Coerce(ctx, Value{row[k], cols[k].Type}, f.Type)
		if err != nil {
			return err
		}
		out[k] = types.Detach(d)
	}
	m.vars[i] = Value{tupleOf(fields, out), v.Type}
	return nil
}

func tupleOf(fields []types.Field, row []types.Datum) types.Datum {
	t := &types.Tuple{Elems: row}
	for _, f := range fields {
		t.Types, t.Names = append(t.Types, f.Type), append(t.Names, f.Name)
	}
	return types.NewTuple(t)
}

func recordOf(cols []Column, row []types.Datum) Value {
	t := *types.Record
	def := &types.Def{}
	for _, c := range cols {
		def.Fields = append(def.Fields, types.Field{Name: c.Name, Type: c.Type})
	}
	t.Def = def
	if row == nil {
		row = make([]types.Datum, len(cols))
	}
	out := make([]types.Datum, len(row))
	for i, d := range row {
		out[i] = types.Detach(d)
	}
	return Value{tupleOf(def.Fields, out), &t}
}

// Record makes the value of a record with these columns.
func Record(cols []Column, row []types.Datum) Value { return recordOf(cols, row) }

// assignTo assigns to a target: a variable or a part of one.
func (m *Machine) assignTo(ctx context.Context, to Target, x Value) error {
	if len(to.Fields) == 0 && len(to.Index) == 0 {
		return m.store(ctx, to.Var, x)
	}
	v := m.Fn.Vars[to.Var]
	cur := m.vars[to.Var]
	if len(to.Fields) == 0 {
		d, err := m.setElement(ctx, cur, to.Index, x)
		if err != nil {
			return err
		}
		m.vars[to.Var] = Value{d, v.Type}
		return nil
	}
	if !v.Record {
		return pgerr.New(pgerr.DatatypeMismatch, "%q is not a record variable", v.Name)
	}
	out, err := m.setField(ctx, v.Name, cur, to.Fields, to.Index, x)
	if err != nil {
		return err
	}
	m.vars[to.Var] = out
	return nil
}

// setField replaces a field of a composite value.
func (m *Machine) setField(ctx context.Context, name string, cur Value, path []string, index []subscript, x Value) (Value, error) {
	cols := fieldsOf(cur)
	if cols == nil {
		return cur, unassigned(name)
	}
	at := slices.IndexFunc(cols, func(c Column) bool { return c.Name == path[0] })
	if at < 0 {
		return cur, pgerr.New(pgerr.UndefinedColumn, "record %q has no field %q", name, path[0])
	}
	row := make([]types.Datum, len(cols))
	if !cur.D.IsNull() {
		copy(row, cur.D.Tuple().Elems)
	}
	old := Value{row[at], cols[at].Type}
	var err error
	switch {
	case len(path) > 1:
		var n Value
		if n, err = m.setField(ctx, path[0], old, path[1:], index, x); err == nil {
			row[at] = n.D
		}
	case len(index) > 0:
		row[at], err = m.setElement(ctx, old, index, x)
	default:
		row[at], err = m.Host.Coerce(ctx, x, cols[at].Type)
		row[at] = types.Detach(row[at])
	}
	if err != nil {
		return cur, err
	}
	var fields []types.Field
	for _, c := range cols {
		fields = append(fields, types.Field{Name: c.Name, Type: c.Type})
	}
	t := cur.T
	if t == nil {
		r := *types.Record
		r.Def = &types.Def{Fields: fields}
		t = &r
	}
	return Value{tupleOf(fields, row), t}, nil
}

// into assigns a row to targets; a nil row is one of NULLs.
func (m *Machine) into(ctx context.Context, to []Target, cols []Column, row []types.Datum) error {
	if len(to) == 1 && m.Fn.Vars[to[0].Var].Record && len(to[0].Fields) == 0 {
		if row == nil {
			row = make([]types.Datum, len(cols))
			if m.Fn.Vars[to[0].Var].Type != nil {
				m.vars[to[0].Var] = Value{T: m.Fn.Vars[to[0].Var].Type}
				return nil
			}
		}
		if len(row) == 1 && row[0].Kind() == types.KindTuple && m.Fn.Vars[to[0].Var].Type != nil && cols[0].Type.Kind == types.KindTuple {
			return m.storeRecord(ctx, to[0].Var, Value{row[0], cols[0].Type})
		}
		return m.storeRow(ctx, to[0].Var, cols, row)
	}
	for i, t := range to {
		x := Value{T: types.Unknown}
		if i < len(row) {
			x = Value{row[i], cols[i].Type}
		}
		if err := m.assignTo(ctx, t, x); err != nil {
			return err
		}
	}
	return nil
}
