package plpgsql

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// Value is a value with its type; the type of a record without a value is nil.
type Value struct {
	D types.Datum
	T *types.T
}

// Column is a column of a query's result.
type Column struct {
	Name string
	Type *types.T
}

// Result is what a statement did.
type Result struct {
	Columns []Column
	Rows    int64
	Select  bool // the statement is a query: its rows are its result
}

// Host runs SQL for a Machine: the session.
type Host interface {
	// Run runs a query with the variables as parameters. emit gets its rows; stop ends it early.
	Run(ctx context.Context, q *Query, vars []Value, emit func(cols []Column, row []types.Datum) error) (Result, error)
	// Eval evaluates an expression.
	Eval(ctx context.Context, q *Query, vars []Value) (Value, error)
	// Dynamic runs a text with arguments $1, $2, ...
	Dynamic(ctx context.Context, text string, args []Value, emit func(cols []Column, row []types.Datum) error) (Result, error)
	// Coerce converts a value as an assignment does.
	Coerce(ctx context.Context, v Value, to *types.T) (types.Datum, error)
	// EndTransaction commits or rolls back, and begins another transaction, with the same modes when chain is set.
	EndTransaction(ctx context.Context, rollback, chain bool) error
	// Atomic runs f and undoes what it did when it fails. catch says that the error may be caught.
	Atomic(ctx context.Context, f func() error) (catch bool, err error)
	// Text prints a value.
	Text(v Value) string
	Cursors
	// Notice sends a message.
	Notice(n *pgerr.Error)
}

// Return says what a function returns.
type Return struct {
	Type    *types.T
	Set     bool
	Void    bool // nothing: void, DO, a procedure
	Trigger bool
	// Fields are the columns of a composite result.
	Fields []types.Field
}

// Machine runs one call.
type Machine struct {
	Host Host
	Fn   *Function
	Ret  Return
	// Rows is the result: of a function that returns no set, one row, or none for a NULL record.
	Rows [][]types.Datum
	vars []Value
	rows int64 // ROW_COUNT
	errs []*pgerr.Error
	mem  int
}

// Field implements plan.Variables.
func (q *Query) Field(e plan.Expr, name string, pos int32, field func(plan.Expr, string, int32) (plan.Expr, error)) (plan.Expr, error) {
	p, ok := e.(*plan.Param)
	if !ok || !q.fn.Vars[p.N].Record {
		return field(e, name, pos)
	}
	v := q.fn.Vars[p.N]
	if e.Type().OID == types.OIDRecord && e.Type().Def == nil {
		return nil, unassigned(v.Name)
	}
	x, err := field(e, name, pos)
	if err != nil {
		return nil, pgerr.New(pgerr.UndefinedColumn, "record %q has no field %q", v.Name, name)
	}
	return x, nil
}

func unassigned(name string) error {
	return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "record %q is not assigned yet", name).
		WithDetail("The tuple structure of a not-yet-assigned record is indeterminate.")
}

// control says how a list of statements ended.
type control struct {
	kind  controlKind
	label string
}

type controlKind uint8

const (
	goOn controlKind = iota
	leave
	again
	returned
)

// maxResultRows bounds what a function collects for its result.
const maxResultBytes = 256 << 20

// Start makes the variables; args are the values of the parameters.
func (m *Machine) Start(ctx context.Context, args []Value) error {
	m.vars = make([]Value, len(m.Fn.Vars))
	for i, v := range m.Fn.Vars {
		m.vars[i].T = v.Type
	}
	for i, p := range m.Fn.Params {
		if i >= len(args) {
			break
		}
		if err := m.store(ctx, p, args[i]); err != nil {
			return err
		}
	}
	m.vars[m.Fn.Found].D = types.NewBool(false)
	return nil
}

// Set gives a variable a value without conversion, Get reads it: for what triggers are told and answer.
func (m *Machine) Set(v int, x Value) { m.vars[v] = x }
func (m *Machine) Get(v int) Value    { return m.vars[v] }

// Run runs the body.
func (m *Machine) Run(ctx context.Context) error {
	c, err := m.block(ctx, m.Fn.Body)
	if err != nil {
		return err
	}
	switch {
	case c.kind == returned:
	case c.kind == leave && c.label != "" && c.label != m.Fn.Body.Label, c.kind == again:
		return pgerr.New(pgerr.SyntaxError, "EXIT cannot be used outside a loop, unless it has a label")
	case m.Ret.Trigger:
		return pgerr.New("2F005", "control reached end of trigger procedure without RETURN")
	case m.Ret.Set || m.Ret.Void:
	case len(m.Fn.Outs) > 0:
		return m.emitOuts()
	default:
		return pgerr.New("2F005", "control reached end of function without RETURN")
	}
	return nil
}

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

func (m *Machine) cond(ctx context.Context, q *Query) (bool, error) {
	v, err := m.Host.Eval(ctx, q, m.vars)
	if err != nil {
		return false, err
	}
	d, err := m.Host.Coerce(ctx, v, types.Bool)
	return err == nil && !d.IsNull() && d.Bool(), err
}

// integer evaluates a bound of an integer loop.
func (m *Machine) integer(ctx context.Context, q *Query, what string) (int64, error) {
	v, err := m.Host.Eval(ctx, q, m.vars)
	if err != nil {
		return 0, err
	}
	d, err := m.Host.Coerce(ctx, v, types.Int4)
	if err != nil {
		return 0, err
	}
	if d.IsNull() {
		return 0, pgerr.New(pgerr.NullValueNotAllowed, "%s of FOR loop cannot be null", what)
	}
	return d.Int(), nil
}

func (m *Machine) found(f bool) { m.vars[m.Fn.Found].D = types.NewBool(f) }

// block runs a block, with its handlers.
func (m *Machine) block(ctx context.Context, b *Block) (control, error) {
	for _, i := range b.Vars {
		v := m.Fn.Vars[i]
		m.vars[i] = Value{T: v.Type}
		x := Value{T: types.Unknown}
		if v.Default != nil {
			var err error
			if x, err = m.Host.Eval(ctx, v.Default, m.vars); err != nil {
				return control{}, err
			}
		} else if v.cursor != nil {
			m.vars[i].D = types.NewString(v.Name)
			continue
		} else if v.Record || v.Type.Class != 'd' {
			continue
		}
		if err := m.store(ctx, i, x); err != nil {
			return control{}, err
		}
	}
	var c control
	if !b.Except {
		var err error
		if c, err = m.run(ctx, b.Body); err != nil {
			return c, err
		}
		return leaveBlock(c, b.Label), nil
	}
	catch, err := m.Host.Atomic(ctx, func() error {
		var err error
		c, err = m.run(ctx, b.Body)
		return err
	})
	if err == nil {
		return leaveBlock(c, b.Label), nil
	}
	var e *pgerr.Error
	if !catch || !errors.As(err, &e) {
		return c, err
	}
	for _, h := range b.Handlers {
		if !h.matches(e.Code) {
			continue
		}
		m.vars[b.SQLState] = Value{types.NewString(e.Code), types.Text}
		m.vars[b.SQLErrm] = Value{types.NewString(e.Message), types.Text}
		m.errs = append(m.errs, e)
		c, err := m.run(ctx, h.body)
		m.errs = m.errs[:len(m.errs)-1]
		if err != nil {
			return c, err
		}
		return leaveBlock(c, b.Label), nil
	}
	return c, err
}

// leaveBlock ends EXIT label at the block of that name.
func leaveBlock(c control, label string) control {
	if c.kind == leave && label != "" && c.label == label {
		return control{}
	}
	return c
}

func (h *handler) matches(code string) bool {
	for _, c := range h.codes {
		if c == code || strings.HasSuffix(c, "000") && strings.HasPrefix(code, c[:2]) {
			return true
		}
	}
	// OTHERS catches neither a cancelled statement nor a failed assertion.
	return h.others && code != pgerr.QueryCanceled && code != "P0004"
}

func (m *Machine) run(ctx context.Context, list []stmt) (control, error) {
	for _, s := range list {
		if err := ctx.Err(); err != nil {
			return control{}, context.Cause(ctx)
		}
		c, err := m.stmt(ctx, s)
		if err != nil || c.kind != goOn {
			return c, err
		}
	}
	return control{}, nil
}

// iterate runs a loop's body once. more is false when the loop ends, with c for what is around it.
func (m *Machine) iterate(ctx context.Context, body []stmt, label string) (c control, more bool, err error) {
	if err := ctx.Err(); err != nil {
		return c, false, context.Cause(ctx)
	}
	c, err = m.run(ctx, body)
	if err != nil {
		return c, false, err
	}
	switch c.kind {
	case goOn:
		return c, true, nil
	case again:
		if c.label == "" || c.label == label {
			return control{}, true, nil
		}
	case leave:
		if c.label == "" || c.label == label {
			return control{}, false, nil
		}
	}
	return c, false, nil
}

func (m *Machine) stmt(ctx context.Context, s stmt) (control, error) {
	none := control{}
	switch s := s.(type) {
	case *Block:
		return m.block(ctx, s)
	case *assign:
		x, err := m.Host.Eval(ctx, s.from, m.vars)
		if err != nil {
			return none, err
		}
		return none, m.assignTo(ctx, s.to, x)
	case *ifStmt:
		for i, c := range s.conds {
			ok, err := m.cond(ctx, c)
			if err != nil {
				return none, err
			}
			if ok {
				return m.run(ctx, s.then[i])
			}
		}
		if len(s.then) > len(s.conds) {
			return m.run(ctx, s.then[len(s.conds)])
		}
		return none, nil
	case *caseStmt:
		for _, w := range s.whens {
			for _, c := range w.conds {
				ok, err := m.cond(ctx, c)
				if err != nil {
					return none, err
				}
				if ok {
					return m.run(ctx, w.body)
				}
			}
		}
		if !s.has {
			return none, pgerr.New(pgerr.CaseNotFound, "case not found").WithHint("CASE statement is missing ELSE part.")
		}
		return m.run(ctx, s.other)
	case *loop:
		for {
			if s.while != nil {
				ok, err := m.cond(ctx, s.while)
				if err != nil || !ok {
					return none, err
				}
			}
			if c, more, err := m.iterate(ctx, s.body, s.label); err != nil || !more {
				return c, err
			}
		}
	case *forInt:
		return m.forInt(ctx, s)
	case *forQuery:
		return m.forQuery(ctx, s)
	case *foreach:
		return m.foreach(ctx, s)
	case *exit:
		if s.when != nil {
			ok, err := m.cond(ctx, s.when)
			if err != nil || !ok {
				return none, err
			}
		}
		if s.next {
			return control{again, s.label}, nil
		}
		return control{leave, s.label}, nil
	case *transactionStmt:
		return none, m.Host.EndTransaction(ctx, s.rollback, s.chain)
	case *openStmt:
		return none, m.open(ctx, s)
	case *fetchStmt:
		return none, m.fetch(ctx, s)
	case *closeStmt:
		name, err := m.cursorName(s.v)
		if err != nil {
			return none, err
		}
		return none, m.Host.CloseCursor(name)
	case *forCursor:
		return m.forCursor(ctx, s)
	case *returnStmt:
		return control{kind: returned}, m.returns(ctx, s.value)
	case *returnNext:
		return none, m.returnNext(ctx, s.value)
	case *returnQuery:
		return none, m.returnQuery(ctx, s)
	case *sqlStmt:
		return none, m.sql(ctx, s)
	case *execute:
		return none, m.execute(ctx, s)
	case *raise:
		return none, m.raise(ctx, s)
	case *diagnostics:
		return none, m.diagnostics(ctx, s)
	case *assert:
		ok, err := m.cond(ctx, s.cond)
		if err != nil || ok {
			return none, err
		}
		msg := "assertion failed"
		if s.message != nil {
			v, err := m.Host.Eval(ctx, s.message, m.vars)
			if err != nil {
				return none, err
			}
			if !v.D.IsNull() {
				msg = m.Host.Text(v)
			}
		}
		return none, &pgerr.Error{Code: "P0004", Message: msg}
	}
	return none, nil
}

func (m *Machine) forInt(ctx context.Context, s *forInt) (control, error) {
	none := control{}
	from, err := m.integer(ctx, s.from, "lower bound")
	if err != nil {
		return none, err
	}
	to, err := m.integer(ctx, s.to, "upper bound")
	if err != nil {
		return none, err
	}
	step := int64(1)
	if s.by != nil {
		if step, err = m.integer(ctx, s.by, "BY value"); err != nil {
			return none, err
		}
		if step <= 0 {
			return none, pgerr.New(pgerr.InvalidParameterValue, "BY value of FOR loop must be greater than zero")
		}
	}
	any := false
	for i := from; !s.reverse && i <= to || s.reverse && i >= to; {
		any = true
		m.vars[s.v].D = types.NewInt(i)
		c, more, err := m.iterate(ctx, s.body, s.label)
		if err != nil {
			return c, err
		}
		if !more {
			m.found(any)
			return c, nil
		}
		if s.reverse {
			i -= step
		} else {
			i += step
		}
	}
	m.found(any)
	return none, nil
}

// collect runs a query to its end: the loop's body may change what the query reads.
func (m *Machine) collect(ctx context.Context, q, dyn *Query, using []*Query) ([]Column, [][]types.Datum, error) {
	var cols []Column
	var rows [][]types.Datum
	size := 0
	emit := func(cs []Column, row []types.Datum) error {
		out := make([]types.Datum, len(row))
		for i, d := range row {
			out[i] = types.Detach(d)
			size += 24
			if d.Kind() == types.KindString || d.Kind() == types.KindBytes {
				size += len(d.Bytes())
			}
		}
		if size > maxResultBytes {
			return pgerr.New(pgerr.OutOfMemory, "out of memory").WithDetail("The query of a loop in function %q has too many rows.", m.Fn.Name)
		}
		cols, rows = cs, append(rows, out)
		return nil
	}
	res, err := m.query(ctx, q, dyn, using, emit)
	if cols == nil {
		cols = res.Columns
	}
	return cols, rows, err
}

// query runs a statement or a text.
func (m *Machine) query(ctx context.Context, q, dyn *Query, using []*Query, emit func([]Column, []types.Datum) error) (Result, error) {
	if dyn == nil {
		return m.Host.Run(ctx, q, m.vars, emit)
	}
	text, args, err := m.dynamic(ctx, dyn, using)
	if err != nil {
		return Result{}, err
	}
	return m.Host.Dynamic(ctx, text, args, emit)
}

func (m *Machine) forQuery(ctx context.Context, s *forQuery) (control, error) {
	cols, rows, err := m.collect(ctx, s.query, s.dyn, s.using)
	if err != nil {
		return control{}, err
	}
	if len(rows) == 0 {
		if err := m.into(ctx, s.into, cols, nil); err != nil {
			return control{}, err
		}
	}
	for _, row := range rows {
		if err := m.into(ctx, s.into, cols, row); err != nil {
			return control{}, err
		}
		c, more, err := m.iterate(ctx, s.body, s.label)
		if err != nil {
			return c, err
		}
		if !more {
			m.found(true)
			return c, nil
		}
	}
	m.found(len(rows) > 0)
	return control{}, nil
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

func (m *Machine) foreach(ctx context.Context, s *foreach) (control, error) {
	v, err := m.Host.Eval(ctx, s.in, m.vars)
	if err != nil {
		return control{}, err
	}
	if v.D.IsNull() {
		return control{}, pgerr.New(pgerr.NullValueNotAllowed, "FOREACH expression must not be null")
	}
	if v.T.BaseType().Elem == nil {
		return control{}, pgerr.New(pgerr.DatatypeMismatch, "FOREACH expression must yield an array, not type %s", types.TypeName(v.T))
	}
	a := v.D.Array()
	if s.slice > len(a.Dims) {
		return control{}, pgerr.New("2202E", "slice dimension (%d) is out of the valid range 0..%d", s.slice, len(a.Dims))
	}
	n := 1
	for _, d := range a.Dims[len(a.Dims)-s.slice:] {
		n *= int(d.Len)
	}
	for i := 0; i+n <= len(a.Elems) && n > 0; i += n {
		x := Value{a.Elems[i], v.T.BaseType().Elem}
		if s.slice > 0 {
			x = Value{types.NewArray(&types.Array{Elem: a.Elem, Dims: a.Dims[len(a.Dims)-s.slice:], Elems: a.Elems[i : i+n]}), v.T}
		}
		if err := m.assignTo(ctx, s.to, x); err != nil {
			return control{}, err
		}
		c, more, err := m.iterate(ctx, s.body, s.label)
		if err != nil {
			return c, err
		}
		if !more {
			m.found(true)
			return c, nil
		}
	}
	m.found(len(a.Elems) > 0)
	return control{}, nil
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
		return err
	}
	return m.emit([]types.Datum{types.Detach(d)})
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
		return err
	}
	return m.emit(row)
}

// shape converts a row to the fields of the result.
func (m *Machine) shape(ctx context.Context, cols []Column, row []types.Datum) ([]types.Datum, error) {
	out := make([]types.Datum, len(row))
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

// errEnough stops a query whose further rows do not matter.
var errEnough = errors.New("plpgsql: enough rows")

// takeInto makes the receiver of INTO: the first row is assigned, a second is an error with STRICT.
func (m *Machine) takeInto(ctx context.Context, into []Target, strict, write bool, n *int64) func([]Column, []types.Datum) error {
	return func(cols []Column, row []types.Datum) error {
		*n++
		if *n > 1 {
			if strict || write {
				return pgerr.New("P0003", "query returned more than one row").
					WithHint("Make sure the query returns a single row, or use LIMIT 1.")
			}
			return errEnough
		}
		return m.into(ctx, into, cols, row)
	}
}

func (m *Machine) sql(ctx context.Context, s *sqlStmt) error {
	n := int64(0)
	var emit func([]Column, []types.Datum) error
	switch {
	case s.into != nil:
		emit = m.takeInto(ctx, s.into, s.strict, writes(s.query), &n)
	case s.perform:
		emit = func([]Column, []types.Datum) error { return nil }
	}
	res, err := m.Host.Run(ctx, s.query, m.vars, emit)
	if errors.Is(err, errEnough) {
		err, res.Rows = nil, 1
	}
	if err != nil {
		return err
	}
	switch {
	case s.into != nil:
		if res.Columns == nil {
			return pgerr.New(pgerr.SyntaxError, "INTO used with a command that cannot return data")
		}
		if n == 0 {
			if s.strict {
				return pgerr.New("P0002", "query returned no rows")
			}
			if err := m.into(ctx, s.into, res.Columns, nil); err != nil {
				return err
			}
		}
	case !s.perform && res.Columns != nil:
		e := pgerr.New(pgerr.SyntaxError, "query has no destination for result data")
		if res.Select {
			e = e.WithHint("If you want to discard the results of a SELECT, use PERFORM instead.")
		}
		return e
	}
	m.rows = res.Rows
	m.found(res.Rows > 0)
	return nil
}

// writes reports whether a statement is INSERT, UPDATE or DELETE, for which INTO is always strict about a second row.
func writes(q *Query) bool {
	switch q.Node.Tag() {
	case "INSERT", "UPDATE", "DELETE", "MERGE":
		return true
	}
	return false
}

func (m *Machine) execute(ctx context.Context, s *execute) error {
	n := int64(0)
	emit := func([]Column, []types.Datum) error { return nil }
	if s.into != nil {
		emit = m.takeInto(ctx, s.into, s.strict, false, &n)
	}
	res, err := m.query(ctx, nil, s.text, s.using, emit)
	if errors.Is(err, errEnough) {
		err, res.Rows = nil, 1
	}
	if err != nil {
		return err
	}
	if s.into != nil {
		if res.Columns == nil {
			return pgerr.New(pgerr.SyntaxError, "INTO used with a command that cannot return data")
		}
		if n == 0 {
			if s.strict {
				return pgerr.New("P0002", "query returned no rows")
			}
			if err := m.into(ctx, s.into, res.Columns, nil); err != nil {
				return err
			}
		}
	}
	m.rows = res.Rows
	return nil
}

func (m *Machine) raise(ctx context.Context, s *raise) error {
	if s.level == "" {
		if len(m.errs) == 0 {
			return pgerr.New("0Z002", "RAISE without parameters cannot be used outside an exception handler")
		}
		return m.errs[len(m.errs)-1]
	}
	e := &pgerr.Error{Code: s.code}
	if s.hasFmt {
		var b strings.Builder
		arg := 0
		for i := 0; i < len(s.format); i++ {
			switch {
			case s.format[i] != '%' || s.code != "":
				b.WriteByte(s.format[i])
			case strings.HasPrefix(s.format[i:], "%%"):
				b.WriteByte('%')
				i++
			default:
				v, err := m.Host.Eval(ctx, s.args[arg], m.vars)
				if err != nil {
					return err
				}
				arg++
				if v.D.IsNull() {
					b.WriteString("<NULL>")
				} else {
					b.WriteString(m.Host.Text(v))
				}
			}
		}
		e.Message = b.String()
	}
	for _, o := range s.options {
		v, err := m.Host.Eval(ctx, o.value, m.vars)
		if err != nil {
			return err
		}
		if v.D.IsNull() {
			return pgerr.New(pgerr.NullValueNotAllowed, "RAISE statement option cannot be null")
		}
		t := m.Host.Text(v)
		switch o.name {
		case "errcode":
			if e.Code != "" {
				return pgerr.New(pgerr.SyntaxError, "RAISE option already specified: ERRCODE")
			}
			if codes, ok := conditions[t]; ok {
				t = codes[0]
			} else if len(t) != 5 {
				return pgerr.New(pgerr.UndefinedObject, "unrecognized exception condition %q", t)
			}
			e.Code = t
		case "message":
			if s.hasFmt && s.code == "" {
				return pgerr.New(pgerr.SyntaxError, "RAISE option already specified: MESSAGE")
			}
			e.Message = t
		case "detail":
			e.Detail = t
		case "hint":
			e.Hint = t
		case "column":
			e.Column = t
		case "constraint":
			e.Constraint = t
		case "datatype":
			e.DataType = t
		case "table":
			e.Table = t
		case "schema":
			e.Schema = t
		}
	}
	if e.Message == "" && !s.hasFmt {
		e.Message = e.Code
	}
	if s.level == "exception" {
		if e.Code == "" {
			e.Code = "P0001"
		}
		if e.Message == "" {
			e.Message = e.Code
		}
		return e
	}
	if e.Code == "" {
		e.Code = pgerr.SuccessfulCompletion
		if s.level == "warning" {
			e.Code = pgerr.Warning
		}
	}
	e.Severity = strings.ToUpper(s.level)
	m.Host.Notice(e)
	return nil
}

func (m *Machine) diagnostics(ctx context.Context, s *diagnostics) error {
	var e *pgerr.Error
	if s.stacked {
		if len(m.errs) == 0 {
			return pgerr.New("0Z002", "GET STACKED DIAGNOSTICS cannot be used outside an exception handler")
		}
		e = m.errs[len(m.errs)-1]
	}
	for _, it := range s.items {
		x := Value{T: types.Text}
		switch it.what {
		case "row_count":
			x = Value{types.NewInt(m.rows), types.Int8}
		case "pg_context":
			x.D = types.NewString("PL/pgSQL function " + m.Fn.Name)
		case "returned_sqlstate":
			x.D = types.NewString(e.Code)
		case "message_text":
			x.D = types.NewString(e.Message)
		case "pg_exception_detail":
			x.D = types.NewString(e.Detail)
		case "pg_exception_hint":
			x.D = types.NewString(e.Hint)
		case "pg_exception_context":
			x.D = types.NewString(e.Where)
		case "column_name":
			x.D = types.NewString(e.Column)
		case "constraint_name":
			x.D = types.NewString(e.Constraint)
		case "pg_datatype_name":
			x.D = types.NewString(e.DataType)
		case "table_name":
			x.D = types.NewString(e.Table)
		case "schema_name":
			x.D = types.NewString(e.Schema)
		}
		if err := m.assignTo(ctx, it.to, x); err != nil {
			return err
		}
	}
	return nil
}
