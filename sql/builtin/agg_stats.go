package builtin

import (
	"math"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

type statKind uint8

const (
	statAvg statKind = iota
	statVarPop
	statVarSamp
	statStddevPop
	statStddevSamp
)

func (k statKind) sample() bool { return k == statVarSamp || k == statStddevSamp }
func (k statKind) root() bool   { return k == statStddevPop || k == statStddevSamp }

// floatStats holds count, sum and sum of squared deviations (Youngs and Cramer).
type floatStats struct {
	n, sx, sxx float64
	f          statKind
}

func (s *floatStats) Add(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	v := a[0].Float()
	s.n++
	old := s.sx
	s.sx += v
	if s.n > 1 {
		tmp := v*s.n - s.sx
		s.sxx += tmp * tmp / (s.n * (s.n - 1))
		if math.IsInf(s.sx, 0) || math.IsInf(s.sxx, 0) {
			if !math.IsInf(old, 0) && !math.IsInf(v, 0) {
				return errFloatOverflow()
			}
			s.sxx = math.NaN()
		}
	} else if math.IsNaN(v) || math.IsInf(v, 0) {
		s.sxx = math.NaN()
	}
	return nil
}

func (s *floatStats) Merge(_ *Ctx, o Accumulator) error {
	t := o.(*floatStats)
	switch {
	case t.n == 0:
	case s.n == 0:
		s.n, s.sx, s.sxx = t.n, t.sx, t.sxx
	default:
		tmp := s.sx/s.n - t.sx/t.n
		s.sxx += t.sxx + s.n*t.n*tmp*tmp/(s.n+t.n)
		s.n, s.sx = s.n+t.n, s.sx+t.sx
	}
	return nil
}

func (s *floatStats) Result(*Ctx) (types.Datum, error) {
	if s.n == 0 || s.f.sample() && s.n < 2 {
		return types.Null, nil
	}
	var r float64
	switch {
	case s.f == statAvg:
		return types.NewFloat(s.sx / s.n), nil
	case s.f.sample():
		r = s.sxx / (s.n - 1)
	default:
		r = s.sxx / s.n
	}
	if s.f.root() {
		r = math.Sqrt(r)
	}
	return types.NewFloat(r), nil
}

// numericStats is the same over exact types.
type numericStats struct {
	sum, sq numSum
	f       statKind
	isInt   bool
}

func (s *numericStats) Add(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	d := a[0]
	num := (*apd.Decimal)(nil)
	if s.isInt {
		num = apd.New(d.Int(), 0)
	} else {
		num = d.Numeric()
	}
	sq, err := types.NumericMul(num, num)
	if err != nil {
		return err
	}
	if err := s.sum.apply(num, 1); err != nil {
		return err
	}
	return s.sq.apply(sq, 1)
}

func (s *numericStats) Merge(ctx *Ctx, o Accumulator) error {
	t := o.(*numericStats)
	if err := s.sum.Merge(ctx, &t.sum); err != nil {
		return err
	}
	return s.sq.Merge(ctx, &t.sq)
}

func (s *numericStats) Result(*Ctx) (types.Datum, error) {
	n := s.sum.n
	if n == 0 || s.f.sample() && n < 2 {
		return types.Null, nil
	}
	if s.sum.nan+s.sum.posInf+s.sum.negInf > 0 {
		return types.NewNumeric(types.NumericNaN), nil
	}
	nn := apd.New(n, 0)
	sx, err := types.NumericMul(s.sum.sum(), s.sum.sum())
	if err != nil {
		return types.Null, err
	}
	sxx, err := types.NumericMul(nn, s.sq.sum())
	if err != nil {
		return types.Null, err
	}
	num, err := types.NumericSub(sxx, sx)
	if err != nil {
		return types.Null, err
	}
	if num.Sign() <= 0 {
		return types.NewNumeric(types.NumericZero), nil
	}
	div := apd.New(n, 0)
	if s.f.sample() {
		div = apd.New(n-1, 0)
	}
	if div, err = types.NumericMul(nn, div); err != nil {
		return types.Null, err
	}
	v, err := types.NumericDiv(num, div)
	if err == nil && s.f.root() {
		v, err = types.NumericSqrtScale(v, types.NumericScale(v))
	}
	return numericResult(v, err)
}

// regression holds the two-argument statistics; Y is the first argument.
type regression struct {
	n, sx, sxx, sy, syy, sxy float64
	result                   func(r *regression) (float64, bool)
}

func (r *regression) Add(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() || a[1].IsNull() {
		return nil
	}
	y, x := a[0].Float(), a[1].Float()
	r.n++
	ox, oy := r.sx, r.sy
	r.sx += x
	r.sy += y
	if r.n > 1 {
		tx, ty := x*r.n-r.sx, y*r.n-r.sy
		scale := 1 / (r.n * (r.n - 1))
		r.sxx += tx * tx * scale
		r.syy += ty * ty * scale
		r.sxy += tx * ty * scale
		if math.IsInf(r.sx, 0) || math.IsInf(r.sxx, 0) || math.IsInf(r.sy, 0) || math.IsInf(r.syy, 0) || math.IsInf(r.sxy, 0) {
			infX, infY := math.IsInf(x, 0) || math.IsInf(ox, 0), math.IsInf(y, 0) || math.IsInf(oy, 0)
			if (math.IsInf(r.sx, 0) || math.IsInf(r.sxx, 0)) && !infX || (math.IsInf(r.sy, 0) || math.IsInf(r.syy, 0)) && !infY ||
				math.IsInf(r.sxy, 0) && !infX && !infY {
				return errFloatOverflow()
			}
			if math.IsInf(r.sxx, 0) {
				r.sxx = math.NaN()
			}
			if math.IsInf(r.syy, 0) {
				r.syy = math.NaN()
			}
			if math.IsInf(r.sxy, 0) {
				r.sxy = math.NaN()
			}
		}
		return nil
	}
	bad := func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }
	if bad(x) {
		r.sxx, r.sxy = math.NaN(), math.NaN()
	}
	if bad(y) {
		r.syy, r.sxy = math.NaN(), math.NaN()
	}
	return nil
}

func (r *regression) Result(*Ctx) (types.Datum, error) {
	v, ok := r.result(r)
	if !ok {
		return types.Null, nil
	}
	return types.NewFloat(v), nil
}

func registerStats(l library) {
	for name, kind := range map[string]statKind{"var_pop": statVarPop, "var_samp": statVarSamp, "variance": statVarSamp,
		"stddev_pop": statStddevPop, "stddev_samp": statStddevSamp, "stddev": statStddevSamp} {
		aggFor(l, name, func(c *Call) func() Accumulator {
			switch c.Args[0].Kind {
			case types.KindFloat:
				return func() Accumulator { return &floatStats{f: kind} }
			case types.KindInt:
				return func() Accumulator { return &numericStats{f: kind, isInt: true} }
			}
			return func() Accumulator { return &numericStats{f: kind} }
		})
	}
	for name, f := range map[string]func(r *regression) (float64, bool){
		"regr_avgx":      func(r *regression) (float64, bool) { return r.sx / r.n, r.n >= 1 },
		"regr_avgy":      func(r *regression) (float64, bool) { return r.sy / r.n, r.n >= 1 },
		"regr_sxx":       func(r *regression) (float64, bool) { return r.sxx, r.n >= 1 },
		"regr_syy":       func(r *regression) (float64, bool) { return r.syy, r.n >= 1 },
		"regr_sxy":       func(r *regression) (float64, bool) { return r.sxy, r.n >= 1 },
		"covar_pop":      func(r *regression) (float64, bool) { return r.sxy / r.n, r.n >= 1 },
		"covar_samp":     func(r *regression) (float64, bool) { return r.sxy / (r.n - 1), r.n >= 2 },
		"regr_slope":     func(r *regression) (float64, bool) { return r.sxy / r.sxx, r.n >= 1 && r.sxx != 0 },
		"regr_intercept": func(r *regression) (float64, bool) { return (r.sy - r.sx*r.sxy/r.sxx) / r.n, r.n >= 1 && r.sxx != 0 },
		"corr": func(r *regression) (float64, bool) {
			return r.sxy / math.Sqrt(r.sxx*r.syy), r.n >= 1 && r.sxx != 0 && r.syy != 0
		},
		"regr_r2": func(r *regression) (float64, bool) {
			if r.n < 1 || r.sxx == 0 {
				return 0, false
			}
			if r.syy == 0 {
				return 1, true
			}
			return r.sxy * r.sxy / (r.sxx * r.syy), true
		},
	} {
		aggFor(l, name, func(*Call) func() Accumulator {
			return func() Accumulator { return &regression{result: f} }
		})
	}
	aggFor(l, "regr_count", func(*Call) func() Accumulator { return func() Accumulator { return &regrCount{} } })
	aggFor(l, "percentile_cont percentile_disc", func(c *Call) func() Accumulator {
		p := percentile{cont: c.Func.Name == "percentile_cont", many: c.Args[0].Kind == types.KindArray, elem: c.Args[len(c.Args)-1]}
		return func() Accumulator { q := p; return &q }
	})
	aggFor(l, "mode", func(c *Call) func() Accumulator {
		t := c.Args[0]
		return func() Accumulator { return &modeAcc{t: t} }
	})
	aggFor(l, "rank dense_rank percent_rank cume_dist", func(c *Call) func() Accumulator {
		return func() Accumulator { return &hypothetical{name: c.Func.Name} }
	})
}

type regrCount struct{ n int64 }

func (r *regrCount) Add(_ *Ctx, a []types.Datum) error {
	if !a[0].IsNull() && !a[1].IsNull() {
		r.n++
	}
	return nil
}
func (r *regrCount) Result(*Ctx) (types.Datum, error) { return types.NewInt(r.n), nil }

// percentile gathers the sorted values; the fraction is the direct argument.
type percentile struct {
	cont, many bool
	elem       *types.T
	frac       types.Datum
	vals       []types.Datum
}

func (p *percentile) Add(_ *Ctx, a []types.Datum) error {
	p.frac = a[0]
	if !a[1].IsNull() {
		p.vals = append(p.vals, a[1])
	}
	return nil
}

func (p *percentile) Result(*Ctx) (types.Datum, error) {
	if p.frac.IsNull() || len(p.vals) == 0 {
		return types.Null, nil
	}
	if !p.many {
		return p.at(p.frac.Float())
	}
	src := p.frac.Array()
	out := &types.Array{Elem: p.elem, Dims: src.Dims, Elems: make([]types.Datum, len(src.Elems))}
	for i, f := range src.Elems {
		if f.IsNull() {
			continue
		}
		var err error
		if out.Elems[i], err = p.at(f.Float()); err != nil {
			return types.Null, err
		}
	}
	return types.NewArray(out), nil
}

func (p *percentile) at(f float64) (types.Datum, error) {
	if !(f >= 0 && f <= 1) {
		return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "percentile value %g is not between 0 and 1", f)
	}
	n := float64(len(p.vals))
	if !p.cont {
		return p.vals[max(int(math.Ceil(f*n))-1, 0)], nil
	}
	lo, hi := math.Floor(f*(n-1)), math.Ceil(f*(n-1))
	a, b := p.vals[int(lo)], p.vals[int(hi)]
	if lo == hi {
		return a, nil
	}
	part := f*(n-1) - lo
	if a.Kind() == types.KindInterval {
		d, err := intervalSub(b.Interval(), a.Interval())
		if err == nil {
			d, err = intervalMul(d, part)
		}
		if err == nil {
			d, err = intervalAdd(a.Interval(), d)
		}
		if err != nil {
			return types.Null, err
		}
		return types.NewInterval(d), nil
	}
	return types.NewFloat(a.Float() + part*(b.Float()-a.Float())), nil
}

// modeAcc is mode(): the most frequent value, the first of them in sort order.
type modeAcc struct {
	t           *types.T
	cur, best   types.Datum
	curN, bestN int64
}

func (m *modeAcc) Add(_ *Ctx, a []types.Datum) error {
	if a[0].IsNull() {
		return nil
	}
	if m.curN > 0 && types.Compare(m.t, m.cur, a[0]) == 0 {
		m.curN++
	} else {
		m.cur, m.curN = a[0], 1
	}
	if m.curN > m.bestN {
		m.best, m.bestN = m.cur, m.curN
	}
	return nil
}
func (m *modeAcc) Result(*Ctx) (types.Datum, error) { return m.best, nil }

// hypothetical is rank and its like within group. Its arguments are the hypothetical row and a row of the
// group, in the sort order of the group.
type hypothetical struct {
	name             string
	keys             []Ordering
	before, peers, n int64
	distinct         int64
	last             []types.Datum
}

func (h *hypothetical) SetOrder(keys []Ordering) { h.keys = keys }

// compare orders two values of key i as the rows are sorted.
func (h *hypothetical) compare(i int, a, b types.Datum) int {
	var k Ordering
	if i < len(h.keys) {
		k = h.keys[i]
	}
	if a.IsNull() != b.IsNull() {
		if a.IsNull() == k.NullsFirst {
			return -1
		}
		return 1
	}
	c := types.Compare(k.Type, a, b)
	if k.Desc {
		return -c
	}
	return c
}

func (h *hypothetical) Add(_ *Ctx, a []types.Datum) error {
	k := len(a) / 2
	c := 0
	for i := 0; i < k && c == 0; i++ {
		c = h.compare(i, a[k+i], a[i])
	}
	h.n++
	if c < 0 {
		h.before++
		same := h.last != nil
		for i := 0; i < k && same; i++ {
			same = h.compare(i, h.last[i], a[k+i]) == 0
		}
		if !same {
			h.distinct++
			h.last = append(h.last[:0], a[k:]...)
		}
	} else if c == 0 {
		h.peers++
	}
	return nil
}

func (h *hypothetical) Result(*Ctx) (types.Datum, error) {
	switch h.name {
	case "rank":
		return types.NewInt(h.before + 1), nil
	case "dense_rank":
		return types.NewInt(h.distinct + 1), nil
	case "percent_rank":
		if h.n == 0 {
			return types.NewFloat(0), nil
		}
		return types.NewFloat(float64(h.before) / float64(h.n)), nil
	}
	return types.NewFloat(float64(h.before+h.peers+1) / float64(h.n+1)), nil
}
