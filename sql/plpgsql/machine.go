package plpgsql

import (
	"context"
	"errors"
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
	// Context tells where the innermost call is, and what has called it: a line for each.
	Context() string
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

// Anonymous reports whether one value is returned of a record type that only the value itself tells. A row of the result is
// then that value.
func (r *Return) Anonymous() bool {
	return !r.Set && !r.Void && !r.Trigger && r.Fields == nil && r.Type != nil && r.Type.OID == types.OIDRecord
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
	// at is the statement that runs, and during what the machine does besides, or else "": see Where.
	at     *step
	during string
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
	m.during = "during initialization of execution state"
	m.vars = make([]Value, len(m.Fn.Vars))
	for i, v := range m.Fn.Vars {
		m.vars[i].T = v.Type
	}
	m.during = "while storing call arguments into local variables"
	for i, p := range m.Fn.Params {
		if i >= len(args) {
			break
		}
		if err := m.store(ctx, p, args[i]); err != nil {
			return err
		}
	}
	m.vars[m.Fn.Found].D = types.NewBool(false)
	m.during = "during function entry"
	return nil
}

// Set gives a variable a value without conversion, Get reads it: for what triggers are told and answer.
func (m *Machine) Set(v int, x Value) { m.vars[v] = x }

func (m *Machine) Get(v int) Value { return m.vars[v] }

// Run runs the body.
func (m *Machine) Run(ctx context.Context) error {
	m.during = ""
	m.at = &step{m.Fn.Body, m.Fn.Body.line}
	c, err := m.block(ctx, m.Fn.Body)
	if err != nil {
		return err
	}
	m.at = nil
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
	block := m.at
	for _, i := range b.Vars {
		v := m.Fn.Vars[i]
		m.at, m.during = &step{b, v.line}, "during statement block local variable initialization"
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
	m.at, m.during = block, ""
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
		m.at, m.during = block, ""
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

func (m *Machine) run(ctx context.Context, list []step) (control, error) {
	around := m.at
	for i := range list {
		if err := ctx.Err(); err != nil {
			return control{}, context.Cause(ctx)
		}
		m.at = &list[i]
		c, err := m.stmt(ctx, list[i].stmt)
		if err != nil {
			return c, err // at stays, for Where
		}
		if c.kind != goOn {
			m.at = around
			return c, nil
		}
	}
	m.at = around
	return control{}, nil
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
