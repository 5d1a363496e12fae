package sql

import (
	"context"
	"fmt"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/plpgsql"
	"github.com/meridian-db/meridian/sql/types"
)

// OpenCursor implements plpgsql.Cursors. A function's cursor is a portal like any other: the client may fetch from it by
// name until its transaction ends.
func (h *routineHost) OpenCursor(ctx context.Context, name string, q *plpgsql.Query, text string, vars []plpgsql.Value, scroll plpgsql.Scroll) (_ string, err error) {
	s := h.s
	for name == "" {
		s.cursorNames++
		if n := fmt.Sprintf("<unnamed portal %d>", s.cursorNames); s.portals[n] == nil {
			name = n
		}
	}
	switch {
	case s.portals[name] != nil:
		return "", pgerr.New(pgerr.DuplicateCursor, "cursor \"%s\" already in use", name)
	case len(s.portals) >= maxPrepared:
		return "", pgerr.New(pgerr.ProgramLimitExceeded, "too many portals")
	}
	// A plan is kept with the query in the function; a cursor's outlives the call, so it has one of its own.
	st := &routineStmt{}
	var names plan.Variables
	if q != nil {
		st.node, text, names = q.Node, q.Text, q
		st.text, st.shift = q.Source, q.Shift
		defer s.enterFrame(queryFrame{q}, &err)()
	} else {
		st.text = text
		defer s.enterFrame(queryFrame{&plpgsql.Query{Source: text}}, &err)()
		sts, err := parser.Parse(text)
		switch {
		case err != nil:
			return "", placedIn(err, text, 0)
		case len(sts) != 1:
			return "", pgerr.New(pgerr.InvalidCursorDefinition, "cannot open multi-query plan as cursor")
		}
		st.node = sts[0].Stmt
	}
	if !isPlanned(st.node) {
		return "", pgerr.New(pgerr.InvalidCursorDefinition, "cannot open %s query as cursor", st.node.Tag())
	}
	pl, err := s.planRoutine(ctx, st, names, paramTypes(vars))
	if err != nil {
		return "", err
	}
	if len(pl.Columns) == 0 && pl.Verb != "SELECT" {
		return "", pgerr.New(pgerr.InvalidCursorDefinition, "cannot open %s query as cursor", st.node.Tag())
	}
	cols := pl.Columns
	keyed, keys := s.planWithKeys(ctx, st.node, len(cols), func(node ast.Stmt) (*plan.Plan, error) {
		return s.planRoutine(ctx, &routineStmt{node: node}, names, paramTypes(vars))
	})
	if keyed != nil {
		pl = keyed
	}
	s.txn.replay.stop()
	p := &portal{name: name, st: &statement{text: text, to: int32(len(text)), node: st.node, plan: pl}, params: cloneDatums(datums(vars)),
		declared: &cursorState{cols: cols, keys: keys, noScroll: scroll == plpgsql.ScrollNo, created: s.now()}}
	if err := s.openCursor(ctx, p); err != nil {
		return "", err
	}
	s.addPortal(p)
	return name, nil
}

// FetchCursor implements plpgsql.Cursors.
func (h *routineHost) FetchCursor(ctx context.Context, name string, f *ast.FetchStmt, emit func([]plpgsql.Column, []types.Datum) error) (plpgsql.Result, error) {
	s := h.s
	p := s.portals[name]
	if p == nil {
		return plpgsql.Result{}, pgerr.New(pgerr.InvalidCursorName, "cursor \"%s\" does not exist", name)
	}
	if p.declared == nil {
		return plpgsql.Result{}, pgerr.Unsupported("a function cannot fetch from a portal of the extended protocol")
	}
	cols := make([]plpgsql.Column, len(p.declared.cols))
	for i, c := range p.declared.cols {
		cols[i] = plpgsql.Column{Name: c.Name, Type: c.Type}
	}
	n, err := s.fetch(ctx, p, f, func(row []types.Datum) error { return emit(cols, row) })
	s.bctx.Context = ctx
	return plpgsql.Result{Columns: cols, Rows: n, Select: true}, err
}

// CloseCursor implements plpgsql.Cursors.
func (h *routineHost) CloseCursor(name string) error {
	if h.s.portals[name] == nil {
		return pgerr.New(pgerr.InvalidCursorName, "cursor \"%s\" does not exist", name)
	}
	h.s.dropPortal(name)
	return nil
}
