package exec

import (
	"context"
	"fmt"
	"strings"

	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// An exclusion constraint is checked when the statement, or the transaction, has written. The span of the index in which
// rows agree in the leading keys WITH = is locked, so that of two transactions that write there one sees what the other
// has written; all of the span without such keys.

// exclusionCheck is an entry that no other of its index may conflict with.
type exclusionCheck struct {
	t    *plan.Table
	ix   *plan.Index
	span kv.Span
	key  string        // of the entry
	vals []types.Datum // of its keys
	made bool          // the constraint is being made, of rows that were there
}

// queueExclusion notes an entry that was written. One with a NULL conflicts with none.
func (w *writer) queueExclusion(i int, x *indexCodec, key []byte, row []types.Datum) error {
	exprs := w.keyValues(i+1, false)
	vals := make([]types.Datum, len(x.ix.Keys))
	for j, k := range x.ix.Keys {
		d := types.Null
		if k.Col >= 0 {
			d = row[k.Col]
		} else if j < len(exprs) {
			d = exprs[j]
		}
		if d.IsNull() {
			return nil
		}
		vals[j] = cloneDatum(d)
	}
	q := w.s.queue()
	q.exclusions = append(q.exclusions, exclusionCheck{t: w.t.Table, ix: x.ix, span: x.exclusionSpan(vals), key: string(key), vals: vals})
	return w.s.grow(int64(len(key))*2 + 200)
}

// equalKeys is how many of an exclusion constraint's first keys are compared by equality.
func equalKeys(ix *plan.Index) int {
	n := 0
	for n < len(ix.Exclude) && ix.Exclude[n] == "=" {
		n++
	}
	return n
}

func (x *indexCodec) exclusionSpan(vals []types.Datum) kv.Span {
	p := append([]byte(nil), x.prefix...)
	for j := range equalKeys(x.ix) {
		p = appendKey(p, vals[j], &x.ix.Keys[j])
	}
	return kv.Span{Start: p, End: prefixEnd(p)}
}

// settleExclusions makes the checks, in the order of writing. later leaves out what waits for the transaction's end.
func (q *fkQueue) settleExclusions(ctx context.Context, later *Deferred) error {
	list := q.exclusions
	q.exclusions = nil
	order := make(map[string]int, len(list))
	for i := range list {
		order[list[i].key] = i // the last to write an entry answers for it
	}
	for i := range list {
		u := &list[i]
		switch {
		case order[u.key] != i:
		case u.ix.Deferred && later.deferred(u.ix.Name, u.ix.InitDeferred):
			later.exclusions = append(later.exclusions, *u)
		default:
			found, err := q.excluded(ctx, u, func(key []byte) bool { j, ok := order[string(key)]; return ok && j > i && !u.made })
			if err != nil {
				return err
			}
			if found != nil {
				return u.violation(q.s, found)
			}
		}
	}
	return nil
}

// settleMade makes the checks for a constraint that is being made, of rows that were there.
func (q *fkQueue) settleMade(ctx context.Context) error {
	for i := range q.exclusions {
		q.exclusions[i].made = true
	}
	return q.settleExclusions(ctx, nil)
}

// excluded looks for an entry that conflicts with u and returns its keys, nil for none. Entries that skip names are left
// out. Nothing conflicts with an entry that has gone since.
func (q *fkQueue) excluded(ctx context.Context, u *exclusionCheck, skip func(key []byte) bool) ([]types.Datum, error) {
	sc, err := q.s.env.Txn.Scan(ctx, u.span, kv.ScanOptions{Lock: kv.LockExclusive, Gaps: true})
	if err != nil {
		return nil, err
	}
	defer sc.Close()
	var found []types.Datum
	there := u.key == ""
	first := equalKeys(u.ix)
	for sc.Next(ctx) {
		key := sc.Pair().Key
		if string(key) == u.key {
			there = true
			continue
		}
		if found != nil || skip != nil && skip(key) {
			continue
		}
		other := append([]types.Datum(nil), u.vals[:first]...)
		rest, all := key[len(u.span.Start):], true
		for i := first; i < len(u.vals) && all; i++ {
			k := &u.ix.Keys[i]
			var d types.Datum
			if d, rest, err = rowenc.DecodeKey(rest, k.T, k.Desc); err != nil {
				return nil, err
			}
			if d = cloneDatum(d); d.IsNull() {
				all = false
				break
			}
			if all, err = q.holds(ctx, u.ix.Exclude[i], k.T, u.vals[i], d); err != nil {
				return nil, err
			}
			other = append(other, d)
		}
		if all {
			found = other
		}
	}
	if !there {
		found = nil
	}
	return found, sc.Err()
}

// holds evaluates a binary operator.
func (q *fkQueue) holds(ctx context.Context, op string, t *types.T, a, b types.Datum) (bool, error) {
	name := fmt.Sprintf("%s %d", op, t.OID)
	p := q.plans[name]
	if p == nil {
		list, err := parser.Parse("SELECT $1 " + op + " $2")
		if err != nil {
			return false, err
		}
		base := t.BaseType()
		if p, err = plan.Prepare(ctx, list[0].Stmt, plan.Env{Catalog: q.s.env.Catalog, SearchPath: []string{"pg_catalog"},
			ParamTypes: []*types.T{base, base}, NumParams: 2, Builtin: q.s.env.Builtin}); err != nil {
			return false, err
		}
		q.plans[name] = p
	}
	d, err := p.Output[0].Eval(&plan.EvalCtx{Frame: make([]types.Datum, p.NumSlots), Params: []types.Datum{a, b}, B: q.s.env.Builtin})
	return err == nil && !d.IsNull() && d.Bool(), err
}

func (u *exclusionCheck) violation(s *state, found []types.Datum) error {
	var names, own, other []string
	for i, k := range u.ix.Keys {
		if k.Col >= 0 {
			names = append(names, u.t.Columns[k.Col].Name)
		} else {
			names = append(names, parser.DeparseExpr(k.Expr))
		}
		own, other = append(own, datumText(s, u.vals[i], k.T)), append(other, datumText(s, found[i], k.T))
	}
	cols := strings.Join(names, ", ")
	msg, existing := "conflicting key value violates exclusion constraint %q", "existing "
	if u.made {
		msg, existing = "could not create exclusion constraint %q", ""
	}
	return pgerr.New(pgerr.ExclusionViolation, msg, u.ix.Name).
		WithDetail("Key (%s)=(%s) conflicts with %skey (%s)=(%s).", cols, strings.Join(own, ", "), existing, cols, strings.Join(other, ", ")).
		WithTable(u.t.Schema, u.t.Name).WithConstraint(u.ix.Name)
}

// excludedBy reports whether a row that is about to be inserted conflicts with one that is there, by an exclusion
// constraint: ON CONFLICT DO NOTHING leaves it out then.
func (w *writer) excludedBy(ctx context.Context, ents []entry, row []types.Datum) (bool, error) {
	for i, x := range w.codec.indexes {
		if x.ix.Exclude == nil || x.ix.Deferred || !ents[i].present {
			continue
		}
		q := w.s.queue()
		before := len(q.exclusions)
		if err := w.queueExclusion(i, x, nil, row); err != nil {
			return false, err
		}
		if len(q.exclusions) == before {
			continue
		}
		u := q.exclusions[before]
		q.exclusions = q.exclusions[:before]
		if found, err := q.excluded(ctx, &u, nil); found != nil || err != nil {
			return found != nil, err
		}
	}
	return false, nil
}
