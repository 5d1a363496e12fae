package builtin

import (
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// typeAt is the type of an argument as a users' function would be called.
func (c *candidate) typeAt(i int) *types.T {
	p := i
	if c.order != nil {
		p = c.order[i]
	}
	if c.expanded > 0 && p >= len(c.fn.Types)-1 {
		return c.fn.Types[len(c.fn.Types)-1].BaseType().Elem
	}
	return c.fn.Types[p]
}

// canCoerceUser is canCoerce for a function whose parameters may have user-defined types.
func canCoerceUser(actual []*types.T, c *candidate) bool {
	poly := false
	for i, a := range actual {
		t := c.typeAt(i)
		switch {
		case isPolymorphic(c.args[i]):
			poly = true
		case a.OID == t.OID || a.OID == types.OIDUnknown || t.OID == types.OIDAny:
		case t.Kind == types.KindTuple && a.Kind == types.KindTuple && (t.OID == types.OIDRecord || a.OID == types.OIDRecord):
		case pathway(a, t, CastImplicit).method == 0 && !userCoercible(c.casts, a, t.OID):
			return false
		}
	}
	return !poly || polyCheck(actual, c.args)
}

// userColumns are the columns of a function's result that its OUT parameters name; a lone one is none.
func userColumns(call *Call, c *candidate) []types.Field {
	fn := call.Func
	var out []types.Field
	for i := range fn.ArgModes {
		if strings.IndexByte("obt", fn.ArgModes[i]) < 0 {
			continue
		}
		t := fn.AllTypes[i]
		if isPolymorphic(t.OID) {
			if _, r, err := polyResolve(call.Args, c.args, t.OID); err == nil {
				t = r
			}
		}
		out = append(out, types.Field{Name: fn.ArgNames[i], Type: t})
	}
	if len(out) == 1 && fn.Ret != types.OIDRecord {
		return nil
	}
	return out
}

// bindUser completes the call of a users' function.
func bindUser(call *Call, c *candidate) error {
	fn := call.Func
	for i := range call.Args {
		if !isPolymorphic(c.args[i]) {
			call.Args[i] = c.typeAt(i)
		}
	}
	if !isPolymorphic(fn.Ret) {
		call.Ret = fn.RetType
	}
	if n := fn.Native; n != nil {
		call.Eval, call.Rows, call.Columns = n.Eval, n.Rows, userColumns(call, c)
		if call.Eval == nil && call.Rows == nil {
			return pgerr.New(pgerr.UndefinedFunction, "the extension's function %q is not known to this version", fn.Name)
		}
		return adaptArgs(call, c)
	}
	if fn.User == nil {
		eval, err := findImpl(fn).bind(call)
		call.Eval = eval
		if err == nil {
			err = adaptArgs(call, c)
		}
		return err
	}
	call.Order, call.Missing, call.Gathered = c.order, c.ndefault, c.expanded
	if fn.Kind == 'a' {
		return bindUserAggregate(call, c)
	}
	call.Columns = userColumns(call, c)
	if outs := strings.ContainsFunc(string(fn.ArgModes), func(m rune) bool { return strings.ContainsRune("obt", m) }); !outs && call.Ret.Kind == types.KindTuple && call.Ret.Def != nil && fn.RetSet {
		call.Columns = call.Ret.Def.Fields
	}
	if fn.RetSet {
		call.Rows = func(ctx *Ctx, args []types.Datum) (RowIter, error) {
			if call.Strict {
				for _, a := range args {
					if a.IsNull() {
						return &listIter{}, nil
					}
				}
			}
			rows, err := runUser(ctx, call, args)
			return &listIter{rows}, err
		}
		return nil
	}
	call.Eval = func(ctx *Ctx, args []types.Datum) (types.Datum, error) {
		rows, err := runUser(ctx, call, args)
		if err != nil || len(rows) == 0 {
			return types.Null, err
		}
		row := rows[0]
		if call.Ret.Kind == types.KindTuple {
			if row == nil {
				return types.Null, nil
			}
			fields := call.Columns
			if fields == nil && call.Ret.Def != nil {
				fields = call.Ret.Def.Fields
			}
			if fields == nil && len(row) == 1 && row[0].Kind() == types.KindTuple {
				return row[0], nil // a record, which knows its own fields
			}
			t := &types.Tuple{Elems: row}
			for _, f := range fields {
				t.Types, t.Names = append(t.Types, f.Type), append(t.Names, f.Name)
			}
			return types.NewTuple(t), nil
		}
		if len(row) == 0 {
			return types.Null, nil
		}
		return row[0], nil
	}
	return nil
}

func runUser(ctx *Ctx, call *Call, args []types.Datum) ([][]types.Datum, error) {
	if ctx == nil || ctx.Routine == nil {
		return nil, pgerr.Unsupported("function %s cannot be called here", call.Func.Name)
	}
	return ctx.Routine(call, args)
}

// VariadicElem is the type of the values that a VARIADIC parameter gathers.
func VariadicElem(t *types.T) types.OID {
	switch t.OID {
	case types.OIDAny:
		return types.OIDAny
	case types.OIDAnyArray:
		return types.OIDAnyElement
	case types.OIDAnyCompatibleArray:
		return types.OIDAnyCompatible
	}
	if e := t.BaseType().Elem; e != nil {
		return e.OID
	}
	return 0
}
