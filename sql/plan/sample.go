package plan

import (
	"hash/fnv"
	"math"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// tableSample binds TABLESAMPLE: a condition on each row that is true with the given probability. With REPEATABLE it
// depends on the seed and the row's key alone, so that a row is in the sample or not whatever else the table holds.
// SYSTEM, which is free to choose rows by the block, chooses them as BERNOULLI does.
func (s *scope) tableSample(r *ast.TableSample) (Node, []nsItem, error) {
	method := r.Method[len(r.Method)-1]
	if method != "bernoulli" && method != "system" {
		return nil, nil, errAt(r.Off, pgerr.UndefinedObject, "tablesample method %s does not exist", method)
	}
	node, items, err := s.tableRef(r.Table, nil)
	if err != nil {
		return nil, nil, err
	}
	var t *Table
	if len(items) == 1 {
		t = items[0].rel.table
	}
	if t == nil || t.Kind != BaseTable && t.Kind != Partitioned || len(items[0].rel.cols) < len(t.Columns) {
		off := r.Off
		if v, ok := r.Table.(*ast.RangeVar); ok {
			off = v.Off
		}
		return nil, nil, errAt(off, pgerr.FeatureNotSupported, "TABLESAMPLE clause can only be applied to tables and materialized views")
	}
	if len(r.Args) != 1 {
		return nil, nil, errAt(r.Off, pgerr.InvalidTablesampleArgument, "tablesample method %s requires %d argument, not %d", method, 1, len(r.Args))
	}
	in := s.lateral(nil, false)
	in.clause = "TABLESAMPLE"
	bind := func(e ast.Expr, to *types.T) (Expr, error) {
		x, err := in.expr(e)
		if err != nil {
			return nil, err
		}
		return s.b.coerce(x, to, builtin.CastAssignment, e.Position())
	}
	percent, err := bind(r.Args[0], types.Float4)
	if err != nil {
		return nil, nil, err
	}
	var seed Expr = &Const{T: types.Float8}
	if r.Repeatable != nil {
		if seed, err = bind(r.Repeatable, types.Float8); err != nil {
			return nil, nil, err
		}
	}
	args := []Expr{percent, seed}
	argTypes := []*types.T{types.Float4, types.Float8}
	if t.Primary != nil {
		for _, k := range t.Primary.Keys {
			args, argTypes = append(args, items[0].rel.cols[k.Col].expr), append(argTypes, t.Columns[k.Col].T)
		}
	}
	repeatable := r.Repeatable != nil
	fn := &builtin.Func{Name: method, Kind: 'f', Volatility: 'v', Ret: types.OIDBool}
	call := &builtin.Call{Func: fn, Args: argTypes, Ret: types.Bool, Volatility: 'v', Eval: func(ctx *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		switch {
		case a[0].IsNull():
			return types.Null, pgerr.New(pgerr.InvalidTablesampleArgument, "TABLESAMPLE parameter cannot be null")
		case !(a[0].Float() >= 0 && a[0].Float() <= 100):
			return types.Null, pgerr.New(pgerr.InvalidTablesampleArgument, "sample percentage must be between 0 and 100")
		case repeatable && a[1].IsNull():
			return types.Null, pgerr.New(pgerr.InvalidTablesampleRepeat, "TABLESAMPLE REPEATABLE parameter cannot be null")
		case !repeatable:
			return types.NewBool(ctx.Random() < a[0].Float()/100), nil
		}
		return types.NewBool(sampleHash(a[1].Float(), a[2:], argTypes[2:]) < a[0].Float()/100), nil
	}}
	return &Filter{Input: node, Conds: []Expr{&Func{Name: method, Call: call, Args: args, T: types.Bool}}}, items, nil
}

// sampleHash maps a seed and a key to [0,1), the same on every node and at every time.
func sampleHash(seed float64, key []types.Datum, ts []*types.T) float64 {
	h := fnv.New64a()
	var buf []byte
	bits := math.Float64bits(seed)
	for i := range 8 {
		buf = append(buf, byte(bits>>(8*i)))
	}
	for i, d := range key {
		buf = append(types.AppendText(buf, d, ts[i], nil), 0)
	}
	h.Write(buf)
	// FNV's high bits change little between near keys: mix once more.
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	v ^= v >> 33
	v *= 0xc4ceb9fe1a85ec53
	v ^= v >> 33
	return float64(v>>11) / (1 << 53)
}
