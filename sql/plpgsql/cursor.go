package plpgsql

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Cursors opens and moves the session's cursors; a variable of type refcursor holds the name of one.
type Cursors interface {
	// OpenCursor opens a cursor over a query, with the variables as they are now, or over a text with arguments. An empty
	// name makes one up. It returns the name.
	OpenCursor(ctx context.Context, name string, q *Query, text string, vars []Value, scroll Scroll) (string, error)
	// FetchCursor moves a cursor; emit gets the rows unless it is a MOVE. The result has the columns and the number of rows.
	FetchCursor(ctx context.Context, name string, f *ast.FetchStmt, emit func(cols []Column, row []types.Datum) error) (Result, error)
	CloseCursor(name string) error
	// PinCursor lets a cursor outlive the end of the transaction: a loop goes through it.
	PinCursor(name string)
}

// open is OPEN.
func (m *Machine) open(ctx context.Context, s *openStmt) error {
	v := m.Fn.Vars[s.v]
	name := ""
	if d := m.vars[s.v].D; !d.IsNull() {
		name = d.Str()
	}
	q, vars, text, scroll := s.query, m.vars, "", s.scroll
	switch {
	case v.cursor != nil:
		q, scroll = v.cursor.query, v.cursor.scroll
		for i, a := range s.args {
			x, err := m.Host.Eval(ctx, a, m.vars)
			if err != nil {
				return err
			}
			if err := m.store(ctx, v.cursor.args[i], x); err != nil {
				return err
			}
		}
	case s.dyn != nil:
		var err error
		if text, vars, err = m.dynamic(ctx, s.dyn, s.using); err != nil {
			return err
		}
	}
	name, err := m.Host.OpenCursor(ctx, name, q, text, vars, scroll)
	if err != nil {
		return err
	}
	m.vars[s.v].D = types.NewString(name)
	return nil
}

// dynamic evaluates the text of EXECUTE and its arguments.
func (m *Machine) dynamic(ctx context.Context, dyn *Query, using []*Query) (string, []Value, error) {
	v, err := m.Host.Eval(ctx, dyn, m.vars)
	if err != nil {
		return "", nil, err
	}
	if v.D.IsNull() {
		return "", nil, pgerr.New(pgerr.NullValueNotAllowed, "query string argument of EXECUTE is null")
	}
	var args []Value
	for _, u := range using {
		a, err := m.Host.Eval(ctx, u, m.vars)
		if err != nil {
			return "", nil, err
		}
		args = append(args, a)
	}
	return m.Host.Text(v), args, nil
}

// cursorName is the cursor that a variable stands for.
func (m *Machine) cursorName(v int) (string, error) {
	d := m.vars[v].D
	if d.IsNull() {
		return "", pgerr.New(pgerr.NullValueNotAllowed, "cursor variable %q is null", m.Fn.Vars[v].Name)
	}
	return d.Str(), nil
}

// fetch is FETCH and MOVE.
func (m *Machine) fetch(ctx context.Context, s *fetchStmt) error {
	name, err := m.cursorName(s.v)
	if err != nil {
		return err
	}
	f := &ast.FetchStmt{Cursor: name, Dir: s.dir, Count: 1, Move: s.move}
	if s.all {
		f.Count = ast.FetchAll
	}
	if s.count != nil {
		x, err := m.Host.Eval(ctx, s.count, m.vars)
		if err != nil {
			return err
		}
		d, err := m.Host.Coerce(ctx, x, types.Int8)
		if err != nil {
			return err
		}
		if d.IsNull() {
			return pgerr.New(pgerr.NullValueNotAllowed, "relative or absolute cursor position is null")
		}
		f.Count = d.Int()
	}
	got := false
	res, err := m.Host.FetchCursor(ctx, name, f, func(cols []Column, row []types.Datum) error {
		got = true
		return m.into(ctx, s.into, cols, row)
	})
	if err != nil {
		return err
	}
	if !s.move && !got {
		if err := m.into(ctx, s.into, res.Columns, nil); err != nil {
			return err
		}
	}
	m.rows = res.Rows
	m.found(res.Rows > 0)
	return nil
}

// forCursor is a loop over a cursor, which it opens and closes.
func (m *Machine) forCursor(ctx context.Context, s *forCursor) (control, error) {
	none := control{}
	unnamed := m.vars[s.open.v].D.IsNull()
	if err := m.open(ctx, s.open); err != nil {
		return none, err
	}
	name, err := m.cursorName(s.open.v)
	if err != nil {
		return none, err
	}
	m.Host.PinCursor(name)
	into := []Target{{Var: s.v}}
	any := false
	var out control
	for {
		got := false
		_, err := m.Host.FetchCursor(ctx, name, &ast.FetchStmt{Cursor: name, Dir: ast.FetchForward, Count: 1}, func(cols []Column, row []types.Datum) error {
			got = true
			return m.into(ctx, into, cols, row)
		})
		if err != nil {
			return none, err
		}
		if !got {
			break
		}
		any = true
		c, more, err := m.iterate(ctx, s.body, s.label)
		if err != nil {
			return c, err
		}
		if !more {
			out = c
			break
		}
	}
	if unnamed {
		m.vars[s.open.v].D = types.Null
	}
	m.found(any)
	return out, m.Host.CloseCursor(name)
}
