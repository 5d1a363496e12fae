package plan

import (
	"crypto/sha256"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// CTID is the system column ctid: a number for each row of a table, made of its primary key, so that it stays when the
// row is changed. An integer, the hidden row id among them, and a uuid stand for themselves, in their order (negative
// integers after the others). Any other key is told by 128 bits of its SHA-256: no two rows have the same, and the
// order is arbitrary, but one.
type CTID struct {
	Keys []Expr // by position in the primary key
	Ts   []*types.T
	Pos  int32
}

// Type implements Expr.
func (e *CTID) Type() *types.T { return types.Tid }

// Eval implements Expr.
func (e *CTID) Eval(c *EvalCtx) (types.Datum, error) {
	var key []byte
	for i, k := range e.Keys {
		d, err := k.Eval(c)
		if err != nil || d.IsNull() { // a row that an outer join left out
			return types.Null, err
		}
		if len(e.Keys) == 1 {
			switch e.Ts[i].BaseType().Kind {
			case types.KindInt:
				return types.TIDOfInt(d.Int()), nil
			case types.KindUUID:
				return types.TIDOf(*d.UUID()), nil
			}
		}
		key = rowenc.AppendKey(key, d, e.Ts[i], false, false)
	}
	sum := sha256.Sum256(key)
	return types.TIDOf([16]byte(sum[:16])), nil
}

func (e *CTID) kids(f func(*Expr)) {
	for i := range e.Keys {
		f(&e.Keys[i])
	}
}

func (e *CTID) copy() Expr { return &CTID{Keys: append([]Expr(nil), e.Keys...), Ts: e.Ts, Pos: e.Pos} }

// of reports whether the row with a ctid can be found by a key: its column is the primary key, and an integer.
func (e *CTID) of(key Expr) bool {
	return len(e.Keys) == 1 && e.Ts[0].BaseType().Kind == types.KindInt && key.Type().BaseType().Kind == types.KindInt && sameExpr(e.Keys[0], key)
}

// KeyOfTID is the integer that a ctid stands for, NULL when there is none of its type.
type KeyOfTID struct {
	Arg Expr
	T   *types.T
}

// Type implements Expr.
func (e *KeyOfTID) Type() *types.T { return e.T }

// Eval implements Expr.
func (e *KeyOfTID) Eval(c *EvalCtx) (types.Datum, error) {
	d, err := e.Arg.Eval(c)
	if err != nil || d.IsNull() {
		return types.Null, err
	}
	n, ok := types.IntOfTID(d)
	if bits := 64 - 8*uint(e.T.BaseType().Size); !ok || n<<bits>>bits != n {
		return types.Null, nil
	}
	return types.NewInt(n), nil
}

func (e *KeyOfTID) kids(f func(*Expr)) { f(&e.Arg) }

func (e *KeyOfTID) copy() Expr { c := *e; return &c }

// matchTID is match for conditions on ctid.
func matchTID(cond, key Expr, free func(Expr) bool) (kind byte, vals []Expr) {
	tid := func(e Expr) bool {
		c, ok := e.(*CTID)
		return ok && c.of(key)
	}
	want := func(e Expr) bool { return e.Type().OID == types.OIDTid && free(e) }
	switch x := cond.(type) {
	case *Func:
		if len(x.Args) != 2 || x.Cmp() != builtin.CmpEQ {
			return 0, nil
		}
		for i, a := range x.Args {
			if o := x.Args[1-i]; tid(a) && want(o) {
				return '=', []Expr{&KeyOfTID{Arg: o, T: key.Type()}}
			}
		}
	case *InList:
		if x.Not || !tid(x.Left) || x.Eq.Cmp() != builtin.CmpEQ {
			return 0, nil
		}
		for _, e := range x.List {
			if !want(e) {
				return 0, nil
			}
			vals = append(vals, &KeyOfTID{Arg: e, T: key.Type()})
		}
		return 'i', vals
	}
	return 0, nil
}

// tid is ctid of a table's row, nil for what is no table.
func (r *rel) tid(pos int32) (Expr, error) {
	t := r.table
	switch {
	case r.ctid != nil:
		return r.ctid, nil
	case t.Parts != nil:
		return nil, errAt(pos, pgerr.FeatureNotSupported, "ctid of a row written to a partitioned table is not supported")
	case t.Kind != BaseTable || t.Primary == nil || len(r.cols) < len(t.Columns):
		return nil, nil
	}
	e := &CTID{Pos: pos}
	for _, k := range t.Primary.Keys {
		e.Keys, e.Ts = append(e.Keys, r.cols[k.Col].expr), append(e.Ts, t.Columns[k.Col].T)
	}
	return e, nil
}
