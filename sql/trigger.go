package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/ddl"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/plpgsql"
	"github.com/meridian-db/meridian/sql/types"
)

var triggerWords = map[byte]string{plan.Before: "BEFORE", plan.After: "AFTER", plan.Instead: "INSTEAD OF"}

var eventWords = map[uint8]string{catalog.TriggerInsert: "INSERT", catalog.TriggerUpdate: "UPDATE", catalog.TriggerDelete: "DELETE", catalog.TriggerTruncate: "TRUNCATE"}

// Fire implements exec.TriggerRunner.
func (s *Session) Fire(ctx context.Context, t *plan.Table, tr *plan.Trigger, event uint8, old, new []types.Datum, rows *exec.Transition) (_ []types.Datum, err error) {
	v, ok := s.txn.catalog.(*catalogView)
	if !ok {
		return nil, pgerr.Unsupported("trigger %q cannot fire here", tr.Desc.Name)
	}
	if name := ddl.BuiltinTrigger(tr.Desc.Function); name != "" {
		return s.fireBuiltin(name, t, tr, event, old, new)
	}
	f := v.snap.FunctionByID(tr.Desc.Function)
	if f == nil {
		return nil, pgerr.New(pgerr.UndefinedFunction, "function of trigger %q does not exist", tr.Desc.Name)
	}
	s.bctx.Context = ctx
	leave, err := s.enterRoutine(f)
	if err != nil {
		return nil, err
	}
	defer leave()
	s.routines.triggers++
	defer func() { s.routines.triggers-- }()
	if rows != nil {
		s.routines.trans = newTransitionTables(s, tr.Desc, rows)
	}
	code, err := s.codeOf(f, nil, true)
	if err != nil {
		return nil, err
	}
	var cols []plpgsql.Column
	var fields []types.Field
	var ords []int
	for i, c := range t.Columns {
		if !c.Hidden {
			cols, ords = append(cols, plpgsql.Column{Name: c.Name, Type: c.T}), append(ords, i)
			fields = append(fields, types.Field{Name: c.Name, Type: c.T})
		}
	}
	visible := func(row []types.Datum) []types.Datum {
		out := make([]types.Datum, len(ords))
		for i, o := range ords {
			out[i] = row[o]
		}
		return out
	}
	m := &plpgsql.Machine{Host: &routineHost{s: s, code: code}, Fn: code.pl, Ret: plpgsql.Return{Trigger: true, Type: types.Record}}
	if tr.Desc.Row && tr.Desc.Timing != plan.After {
		m.Ret.Fields = fields
	}
	defer s.enterFrame(m, &err)()
	if err := m.Start(ctx, nil); err != nil {
		return nil, err
	}
	for _, side := range []struct {
		v   int
		row []types.Datum
	}{{code.pl.Old, old}, {code.pl.New, new}} {
		x := plpgsql.Record(cols, nil)
		x.D = types.Null
		if side.row != nil {
			x = plpgsql.Record(cols, visible(side.row))
		}
		m.Set(side.v, x)
	}
	level := "STATEMENT"
	if tr.Desc.Row {
		level = "ROW"
	}
	var args []types.Datum
	for _, a := range tr.Desc.Args {
		args = append(args, types.NewString(a))
	}
	argv := &types.Array{Elem: types.Text, Elems: args}
	if len(args) > 0 {
		argv.Dims = []types.ArrayDim{{Len: int32(len(args)), Lower: 0}}
	}
	for name, d := range map[string]types.Datum{"tg_name": types.NewString(tr.Desc.Name), "tg_when": types.NewString(triggerWords[tr.Desc.Timing]),
		"tg_level": types.NewString(level), "tg_op": types.NewString(eventWords[event]), "tg_relid": types.NewInt(int64(t.ID)),
		"tg_relname": types.NewString(t.Name), "tg_table_name": types.NewString(t.Name), "tg_table_schema": types.NewString(t.Schema),
		"tg_nargs": types.NewInt(int64(len(args))), "tg_argv": types.NewArray(argv)} {
		i := code.pl.TG[name]
		x := m.Get(i)
		x.D = d
		m.Set(i, x)
	}
	if err := m.Run(ctx); err != nil {
		return nil, err
	}
	if len(m.Rows) == 0 || !tr.Desc.Row || tr.Desc.Timing == plan.After {
		return nil, nil
	}
	base := new
	if base == nil {
		base = old
	}
	out := append([]types.Datum(nil), base...)
	for i, o := range ords {
		out[o] = m.Rows[0][i]
	}
	return out, nil
}
