package builtin

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// stableHash is the same on every node and in every run, unlike types.Hash: applications store such
// hashes. It hashes the key encoding, which equal values share.
func stableHash(t *types.T, seed uint64, d types.Datum) uint64 {
	h := fnv.New64a()
	var s [8]byte
	binary.BigEndian.PutUint64(s[:], seed)
	h.Write(s[:])
	h.Write(rowenc.AppendKey(nil, d, t, false, false))
	v := h.Sum64()
	v ^= v >> 33
	v *= 0xff51afd7ed558ccd
	return v ^ v>>33
}

// registerSupport adds the functions that PostgreSQL's own machinery calls and that SQL can call too: input
// and output functions of types, hash functions, transition functions of aggregates.
func registerSupport(l library) {
	for _, t := range types.All() {
		info := types.InfoOf(t.OID)
		t := t
		if l[info.Send] == nil && info.Send != "-" && t.Kind != types.KindArray && t.Class == 'b' {
			l.fn(info.Send, func(c *Ctx, a []types.Datum) (types.Datum, error) {
				b, err := types.AppendBinary(nil, a[0], t, c.settings())
				if err != nil {
					return types.Null, err
				}
				return types.NewBytes(b), nil
			})
		}
		if l[info.Out] == nil && t.Kind != types.KindArray && t.Class == 'b' {
			l.fn(info.Out, func(c *Ctx, a []types.Datum) (types.Datum, error) {
				return types.NewString(string(types.AppendText(nil, a[0], t, c.settings()))), nil
			})
		}
		if l[info.In] == nil && t.Kind != types.KindArray && t.Class == 'b' {
			l.fn(info.In, func(c *Ctx, a []types.Datum) (types.Datum, error) {
				u := t
				if len(a) > 2 && !a[2].IsNull() {
					u = t.WithTypmod(int32(a[2].Int()))
				}
				return types.ParseText(a[0].Str(), u, c.settings())
			})
		}
	}
	for _, fn := range catalog().funcs {
		// The values of these hashes are this database's own; that equal values hash equally is PostgreSQL's.
		if len(fn.Args) == 0 || fn.RetSet || fn.Kind != 'f' || !strings.HasPrefix(fn.Name, "hash") && !strings.HasSuffix(fn.Name, "_hash") && !strings.HasSuffix(fn.Name, "_hash_extended") || l[fn.Src] != nil || l[fn.key()] != nil {
			continue
		}
		switch {
		case len(fn.Args) == 1 && fn.Ret == types.OIDInt4:
			l.bound(fn.key(), func(c *Call) (EvalFunc, error) {
				t := c.Args[0]
				return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
					return types.NewInt(int64(int32(stableHash(t, 0, a[0])))), nil
				}, nil
			})
		case len(fn.Args) == 2 && fn.Ret == types.OIDInt8 && fn.Args[1] == types.OIDInt8:
			l.bound(fn.key(), func(c *Call) (EvalFunc, error) {
				t := c.Args[0]
				return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
					return types.NewInt(int64(stableHash(t, uint64(a[1].Int()), a[0]))), nil
				}, nil
			})
		}
	}
	l.fn("booland_statefunc", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(a[0].Bool() && a[1].Bool()), nil
	})
	l.fn("boolor_statefunc", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(a[0].Bool() || a[1].Bool()), nil
	})
	floats := func(d types.Datum, n int, fn string) ([]float64, error) {
		arr := d.Array()
		out := make([]float64, n)
		if len(arr.Dims) != 1 || len(arr.Elems) != n {
			return nil, pgerr.New(pgerr.InternalError, "%s: expected %d-element float8 array", fn, n)
		}
		for i, e := range arr.Elems {
			if e.IsNull() {
				return nil, pgerr.New(pgerr.InternalError, "%s: expected %d-element float8 array", fn, n)
			}
			out[i] = e.Float()
		}
		return out, nil
	}
	array := func(v ...float64) (types.Datum, error) {
		var out []types.Datum
		for _, f := range v {
			out = append(out, types.NewFloat(f))
		}
		return types.NewArrayOf(types.Float8, out), nil
	}
	accum := func(c *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := floats(a[0], 3, "float8_accum")
		if err != nil {
			return types.Null, err
		}
		s := &floatStats{n: v[0], sx: v[1], sxx: v[2]}
		if err := s.Add(c, a[1:]); err != nil {
			return types.Null, err
		}
		return array(s.n, s.sx, s.sxx)
	}
	l.fn("float8_accum", accum)
	l.fn("float4_accum", accum)
	l.fn("float8_combine", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		x, err := floats(a[0], 3, "float8_combine")
		if err != nil {
			return types.Null, err
		}
		y, err := floats(a[1], 3, "float8_combine")
		if err != nil {
			return types.Null, err
		}
		s := &floatStats{n: x[0], sx: x[1], sxx: x[2]}
		if err := s.Merge(c, &floatStats{n: y[0], sx: y[1], sxx: y[2]}); err != nil {
			return types.Null, err
		}
		return array(s.n, s.sx, s.sxx)
	})
	regr := func(v []float64) *regression {
		return &regression{n: v[0], sx: v[1], sxx: v[2], sy: v[3], syy: v[4], sxy: v[5]}
	}
	l.fn("float8_regr_accum", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := floats(a[0], 6, "float8_regr_accum")
		if err != nil {
			return types.Null, err
		}
		r := regr(v)
		if err := r.Add(c, a[1:]); err != nil {
			return types.Null, err
		}
		return array(r.n, r.sx, r.sxx, r.sy, r.syy, r.sxy)
	})
	l.fn("float8_regr_combine", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		x, err := floats(a[0], 6, "float8_regr_combine")
		if err != nil {
			return types.Null, err
		}
		y, err := floats(a[1], 6, "float8_regr_combine")
		if err != nil {
			return types.Null, err
		}
		switch {
		case x[0] == 0:
			return array(y...)
		case y[0] == 0:
			return array(x...)
		}
		p, q := regr(x), regr(y)
		n := p.n + q.n
		dx, dy := p.sx/p.n-q.sx/q.n, p.sy/p.n-q.sy/q.n
		f := p.n * q.n / n
		return array(n, p.sx+q.sx, p.sxx+q.sxx+f*dx*dx, p.sy+q.sy, p.syy+q.syy+f*dy*dy, p.sxy+q.sxy+f*dx*dy)
	})
	l.fn("int4_sum", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		switch {
		case a[1].IsNull():
			return a[0], nil
		case a[0].IsNull():
			return a[1], nil
		}
		s, ok := addInt(a[0].Int(), a[1].Int())
		if !ok || s == math.MinInt64 {
			return types.Null, errOutOfRange(types.Int8)
		}
		return types.NewInt(s), nil
	})
}
