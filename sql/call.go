package sql

import (
	"context"
	"strconv"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/plpgsql"
	"github.com/meridian-db/meridian/sql/types"
)

// call runs CALL: vars are the caller's variables, whose values INOUT parameters change. It returns the row of the
// output parameters.
func (s *Session) call(ctx context.Context, n *ast.CallStmt, q *plpgsql.Query, vars []plpgsql.Value, transactional bool) ([]plpgsql.Value, error) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, err
	}
	var pv plan.Variables
	if q != nil {
		pv = q
	}
	env := plan.Env{Catalog: c, SearchPath: s.path(), Builtin: &s.bctx, NumParams: len(vars), ParamTypes: paramTypes(vars), Variables: pv}
	pc, err := plan.PrepareCall(ctx, n.Func, env)
	if err != nil {
		return nil, err
	}
	if err := s.checkNeeds(pc.Needs); err != nil {
		return nil, err
	}
	if err := c.Use(ctx, []uint32{uint32(pc.Call.Func.OID)}); err != nil {
		return nil, err
	}
	ec := plan.EvalCtx{Frame: make([]types.Datum, pc.NumSlots), Params: datums(vars), B: &s.bctx}
	s.bctx.Context = ctx
	args := make([]types.Datum, len(pc.Args))
	for i, a := range pc.Args {
		if args[i], err = a.Eval(&ec); err != nil {
			return nil, err
		}
	}
	s.routines.transactional = transactional
	rows, err := s.callRoutine(pc.Call, args)
	if err != nil || len(pc.Call.Columns) == 0 && len(rows) == 0 {
		return nil, err
	}
	var out []plpgsql.Value
	for i, f := range pc.Outs {
		v := plpgsql.Value{T: f.Type}
		if len(rows) > 0 && i < len(rows[0]) {
			v.D = rows[0][i]
		}
		out = append(out, v)
	}
	// A variable given for an INOUT parameter takes its value.
	for i, o := range pc.OutArgs {
		if p, ok := o.(*plan.Param); ok && i < len(out) && p.N < len(vars) {
			d, err := (&routineHost{s: s}).Coerce(ctx, out[i], vars[p.N].T)
			if err != nil {
				return nil, err
			}
			vars[p.N].D = types.Detach(d)
		}
	}
	return out, nil
}

// callParams decides the types of a CALL's parameters.
func (s *Session) callParams(ctx context.Context, n *ast.CallStmt, declared []*types.T, num int) ([]*types.T, error) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, err
	}
	pc, err := plan.PrepareCall(ctx, n.Func, plan.Env{Catalog: c, SearchPath: s.path(), Builtin: &s.bctx, NumParams: num, ParamTypes: declared})
	if err != nil {
		return nil, err
	}
	return pc.ParamTypes, nil
}

// callColumns are the columns that CALL answers with.
func (s *Session) callColumns(ctx context.Context, n *ast.CallStmt, params []*types.T) ([]Column, error) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, err
	}
	pc, err := plan.PrepareCall(ctx, n.Func, plan.Env{Catalog: c, SearchPath: s.path(), Builtin: &s.bctx, NumParams: len(params), ParamTypes: params})
	if err != nil {
		return nil, err
	}
	var cols []Column
	for i, f := range pc.Outs {
		name := f.Name
		if name == "" {
			name = "column" + strconv.Itoa(i+1)
		}
		cols = append(cols, Column{Name: name, Type: f.Type})
	}
	return cols, nil
}

// runCall is CALL as a statement of its own.
func (s *Session) runCall(ctx context.Context, st *statement, n *ast.CallStmt, params []types.Datum) error {
	client := s.routines.client
	s.routines.client = false
	cols, err := s.callColumns(ctx, n, st.declared)
	if err != nil {
		return err
	}
	vars := make([]plpgsql.Value, len(params))
	for i := range vars {
		vars[i] = plpgsql.Value{T: st.declared[i], D: params[i]}
	}
	out, err := s.call(ctx, n, nil, vars, client)
	if err != nil || len(cols) == 0 {
		return err
	}
	s.out.BeginRows(cols, st.call.formats, s.format, st.call.describe)
	return s.out.Row(datums(out))
}
