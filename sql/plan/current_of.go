package plan

import (
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// WHERE CURRENT OF c means: where the row's primary key is that of the row on which the cursor stands. A cursor that may
// be named so carries the keys of its tables' rows behind its own columns (RowKeys), and the condition compares with what
// the session reads there (builtin.Ctx.CurrentOf), so that it is served like any access by key.

// currentOf binds WHERE CURRENT OF to a comparison with the key of the target's row.
func (s *scope) currentOf(e *ast.CurrentOf) (Expr, error) {
	if len(s.items) == 0 || s.items[0].rel.table == nil || s.clause != "WHERE" {
		return nil, errAt(e.Off, pgerr.FeatureNotSupported, "WHERE CURRENT OF is not supported here")
	}
	rl := s.items[0].rel
	t := rl.table
	if t.Kind != BaseTable || t.Primary == nil {
		return nil, errAt(e.Off, pgerr.FeatureNotSupported, "WHERE CURRENT OF on a view or partitioned table is not implemented")
	}
	var name Expr = &Const{D: types.NewString(e.Cursor), T: types.Text}
	// In a function the name may be that of a variable.
	if v := s.b.env.Variables; v != nil {
		if p, used, ok := v.Variable([]string{e.Cursor}); ok && used == 1 && p < len(s.b.env.ParamTypes) && s.b.env.ParamTypes[p].OID == types.OIDRefcursor {
			name = &Param{N: p, T: s.b.env.ParamTypes[p]}
		}
	}
	var all []Expr
	for i, k := range t.Primary.Keys {
		c := t.Columns[k.Col]
		fn := &builtin.Func{Name: "current_of", Kind: 'f', Volatility: 's'}
		call := &builtin.Call{Func: fn, Args: []*types.T{name.Type()}, Ret: c.T, Volatility: 's', Eval: func(ctx *builtin.Ctx, args []types.Datum) (types.Datum, error) {
			if ctx.CurrentOf == nil {
				return types.Null, pgerr.Unsupported("WHERE CURRENT OF is not supported here")
			}
			if args[0].IsNull() {
				return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "cursor variable is null")
			}
			return ctx.CurrentOf(args[0].Str(), t.ID, t.Name, i)
		}}
		eq, err := s.b.op("=", rl.cols[k.Col].expr, &Func{Name: fn.Name, Call: call, Args: []Expr{name}, T: c.T}, e.Off)
		if err != nil {
			return nil, err
		}
		all = append(all, eq)
	}
	return conjoin(all), nil
}

// RowKey says where behind a cursor's own columns the key of a table's row stands.
type RowKey struct {
	Table    uint32
	From, To int // of the columns
}

// RowKeys adds to a query the keys of the rows that it is made of, for WHERE CURRENT OF. It returns nil for a query whose
// rows are not simply rows of tables: one with DISTINCT, grouping, aggregates or set operations. Columns is the number of
// columns that the query has by itself.
func RowKeys(st ast.Stmt, columns int, env Env) (ast.Stmt, []RowKey) {
	sel, ok := st.(*ast.SelectStmt)
	if !ok || sel.Distinct || sel.GroupBy != nil || sel.Having != nil || sel.Values != nil || sel.Left != nil || sel.Into != nil || len(sel.From) == 0 {
		return nil, nil
	}
	out := *sel
	out.Targets = slices.Clone(sel.Targets)
	var keys []RowKey
	b := &binder{env: &env, path: env.SearchPath, tables: map[uint32]struct{}{}}
	var visit func(r ast.TableRef) bool
	visit = func(r ast.TableRef) bool {
		switch r := r.(type) {
		case *ast.JoinRef:
			return r.Alias == nil && r.UsingAlias == "" && visit(r.Left) && visit(r.Right)
		case *ast.RangeVar:
			if sel.With != nil && r.Schema == "" {
				return false // may be one of its queries
			}
			t, err := b.env.Catalog.Table(b.path, r.Schema, r.Name)
			if err != nil || t == nil || r.Alias != nil && len(r.Alias.Columns) > 0 {
				return false
			}
			if t.Kind != BaseTable || t.Primary == nil {
				return true // rows of it cannot be named
			}
			fields := []string{r.Name}
			if r.Alias != nil {
				fields[0] = r.Alias.Name
			}
			from := columns + len(out.Targets) - len(sel.Targets)
			for _, k := range t.Primary.Keys {
				out.Targets = append(out.Targets, &ast.Target{Expr: &ast.ColumnRef{Fields: append(slices.Clone(fields), t.Columns[k.Col].Name), Pos: ast.Pos{Off: -1}}, Pos: ast.Pos{Off: -1}})
			}
			keys = append(keys, RowKey{t.ID, from, from + len(t.Primary.Keys)})
			return true
		}
		return false
	}
	for _, r := range sel.From {
		if !visit(r) {
			return nil, nil
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	return &out, keys
}
