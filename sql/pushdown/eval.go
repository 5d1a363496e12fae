package pushdown

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// maxCached is how many decoded programs are kept.
const maxCached = 256

// Programs runs programs: a store's kv.Programs.
type Programs struct {
	mu    sync.Mutex
	ready map[string]*compiled // by body: the values of parameters do not matter
	clock uint64
}

// NewPrograms returns a Programs with an empty cache.
func NewPrograms() *Programs { return &Programs{ready: map[string]*compiled{}} }

// compiled is a decoded program.
type compiled struct {
	*Program
	slots  int
	dec    *rowenc.Decoder
	lazy   bool // columns that the filter does not read are decoded when it holds
	states [][]*types.T
	used   uint64 // Programs.clock at its last use
}

// Start implements kv.Programs.
func (ps *Programs) Start(ctx context.Context, program []byte) (ev kv.Evaluator, err error) {
	values, n, body, err := split(program)
	if err != nil {
		return nil, err
	}
	ps.mu.Lock()
	c := ps.ready[string(body)]
	ps.clock++
	if c != nil {
		c.used = ps.clock
	}
	ps.mu.Unlock()
	if c == nil {
		if c, err = compile(body); err != nil {
			return nil, err
		}
		ps.keep(body, c)
	}
	if n != len(c.params) {
		return nil, errProgram
	}
	e := &evaluator{c: c, row: make([]types.Datum, c.slots)}
	e.ctx = plan.EvalCtx{Frame: e.row, B: &builtin.Ctx{Context: ctx, Settings: types.DefaultSettings}}
	if n > 0 {
		e.ctx.Params = make([]types.Datum, n)
		for i, t := range c.params {
			d, err := values.Datum(t)
			if err != nil {
				return nil, err
			}
			e.ctx.Params[i] = types.Detach(d)
		}
	}
	if c.Grouped {
		e.groups = map[string]*group{}
		e.args = make([][]types.Datum, len(c.Aggs))
		for i, a := range c.Aggs {
			e.args[i] = make([]types.Datum, len(a.Args))
		}
	}
	return e, nil
}

// keep caches a program; the one that has not been used for longest goes.
func (ps *Programs) keep(body []byte, c *compiled) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if len(ps.ready) >= maxCached {
		oldest := ""
		for k, o := range ps.ready {
			if oldest == "" || o.used < ps.ready[oldest].used {
				oldest = k
			}
		}
		delete(ps.ready, oldest)
	}
	c.used = ps.clock
	ps.ready[string(body)] = c
}

func compile(body []byte) (c *compiled, err error) {
	defer func() {
		// What is decoded came over the network.
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errProgram, r)
		}
	}()
	p, slots, err := decode(body)
	if err != nil {
		return nil, err
	}
	c = &compiled{Program: p, slots: slots}
	if len(p.Columns) > 0 {
		cols := make([]rowenc.Column, p.Slots)
		for _, col := range p.Columns {
			cols[col.Slot] = rowenc.Column{ID: col.ID, Type: col.T, Default: col.Missing}
		}
		c.dec = rowenc.NewDecoder(cols)
		if len(p.Filter) > 0 {
			early := map[int]bool{}
			for _, f := range p.Filter {
				plan.Columns(f, func(s plan.Slot) { early[s] = true })
			}
			c.lazy = c.dec.SetEarly(func(pos int) bool { return early[pos] })
		}
	}
	plan.Hasten(p.Filter)
	plan.Hasten(p.Group)
	for _, a := range p.Aggs {
		plan.Hasten(a.Args)
		if a.Filter != nil {
			f := []plan.Expr{a.Filter}
			plan.Hasten(f)
			a.Filter = f[0]
		}
		c.states = append(c.states, a.Call.NewAcc().(builtin.Partial).StateTypes())
	}
	return c, nil
}

// evaluator runs a program over one page.
type evaluator struct {
	c    *compiled
	ctx  plan.EvalCtx
	row  []types.Datum
	late rowenc.Late
	out  []byte

	lastKey, lastValue []byte // of a sample: the last pair, if it has not been answered

	groups map[string]*group
	order  []*group
	key    []byte
	args   [][]types.Datum
	held   int64
}

type group struct {
	key  string // the group's values, encoded
	accs []builtin.Accumulator
}

// Pair implements kv.Evaluator.
func (e *evaluator) Pair(key, value []byte) (k, v []byte, keep bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pushdown: %v", r)
		}
	}()
	c := e.c
	if c.Sample != 0 {
		if SampleHash(key) < c.Sample {
			e.lastKey = e.lastKey[:0]
			return key, value, true, nil
		}
		e.lastKey, e.lastValue = append(e.lastKey[:0], key...), append(e.lastValue[:0], value...)
		return nil, nil, false, nil
	}
	if err := e.readKey(key); err != nil {
		return nil, nil, false, err
	}
	if c.dec != nil {
		if c.lazy {
			err = c.dec.DecodeEarly(value, e.row, &e.late)
		} else {
			err = c.dec.Decode(value, e.row)
		}
		if err != nil {
			return nil, nil, false, err
		}
	}
	for _, f := range c.Filter {
		if ok, err := plan.EvalBool(&e.ctx, f); !ok || err != nil {
			return nil, nil, false, err
		}
	}
	switch {
	case c.Grouped:
		if c.lazy {
			if err := c.dec.DecodeLate(e.row, &e.late); err != nil {
				return nil, nil, false, err
			}
		}
		return nil, nil, false, e.add()
	case c.All:
		return key, value, true, nil
	}
	var ok bool
	if e.out, ok = rowenc.AppendWanted(e.out[:0], value, c.Keep); !ok {
		return nil, nil, false, rowenc.ErrCorrupt
	}
	return key, e.out, true, nil
}

func (e *evaluator) readKey(key []byte) error {
	if len(e.c.Keys) == 0 {
		return nil
	}
	if len(key) < e.c.Prefix {
		return rowenc.ErrCorrupt
	}
	key = key[e.c.Prefix:]
	for i := range e.c.Keys {
		k := &e.c.Keys[i]
		var err error
		if k.Slot < 0 {
			key, err = rowenc.SkipKey(key, k.T, k.Desc)
		} else {
			e.row[k.Slot], key, err = rowenc.DecodeKey(key, k.T, k.Desc)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// add feeds the row to its group.
func (e *evaluator) add() error {
	e.key = e.key[:0]
	for _, g := range e.c.Group {
		d, err := g.Eval(&e.ctx)
		if err != nil {
			return err
		}
		e.key = plan.AppendDatum(e.key, d, g.Type())
	}
	g := e.groups[string(e.key)]
	if g == nil {
		g = &group{key: string(e.key), accs: make([]builtin.Accumulator, len(e.c.Aggs))}
		for i, a := range e.c.Aggs {
			g.accs[i] = a.Call.NewAcc()
		}
		e.groups[g.key] = g
		e.order = append(e.order, g)
		e.held += int64(len(g.key)) + 128 + 96*int64(len(g.accs))
	}
	for i, a := range e.c.Aggs {
		if a.Filter != nil {
			if ok, err := plan.EvalBool(&e.ctx, a.Filter); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		args := e.args[i]
		for k, x := range a.Args {
			d, err := x.Eval(&e.ctx)
			if err != nil {
				return err
			}
			args[k] = d
		}
		if k, ok := g.accs[i].(builtin.Keeper); ok {
			if err := k.AddKept(e.ctx.B, args); err != nil {
				return err
			}
			continue
		}
		if err := g.accs[i].Add(e.ctx.B, args); err != nil {
			return err
		}
	}
	return nil
}

// Held implements kv.Evaluator.
func (e *evaluator) Held() int64 { return e.held }

// Finish implements kv.Evaluator. A group is a pair of its values and its states.
func (e *evaluator) Finish(emit func(key, value []byte)) error {
	if len(e.lastKey) > 0 {
		emit(slices.Clone(e.lastKey), slices.Clone(e.lastValue))
	}
	for _, g := range e.order {
		e.out = e.out[:0]
		for i, acc := range g.accs {
			for k, d := range acc.(builtin.Partial).State() {
				e.out = plan.AppendDatum(e.out, d, e.c.states[i][k])
			}
		}
		emit([]byte(g.key), e.out)
	}
	return nil
}

// Groups reads the groups that a program of these expressions and aggregates has made.
type Groups struct {
	Group []*types.T
	Aggs  []*plan.AggFunc
	types [][]*types.T
}

// Key reads a group's values into key.
func (g *Groups) Key(pair []byte, key []types.Datum) error {
	r := plan.Receiver{Buf: pair}
	for i, t := range g.Group {
		d, err := r.Datum(t.BaseType())
		if err != nil {
			return err
		}
		key[i] = d
	}
	if len(r.Buf) != 0 {
		return rowenc.ErrCorrupt
	}
	return nil
}

// States reads a group's aggregates into fresh accumulators.
func (g *Groups) States(value []byte) ([]builtin.Accumulator, error) {
	r := plan.Receiver{Buf: value}
	out := make([]builtin.Accumulator, len(g.Aggs))
	if g.types == nil {
		g.types = make([][]*types.T, len(g.Aggs))
	}
	for i, a := range g.Aggs {
		acc, ok := a.Call.NewAcc().(builtin.Partial)
		if !ok {
			return nil, builtin.ErrBadState
		}
		if g.types[i] == nil {
			g.types[i] = acc.StateTypes()
		}
		st := make([]types.Datum, len(g.types[i]))
		for k, t := range g.types[i] {
			d, err := r.Datum(t.BaseType())
			if err != nil {
				return nil, err
			}
			st[k] = types.Detach(d)
		}
		if err := acc.SetState(st); err != nil {
			return nil, err
		}
		out[i] = acc
	}
	if len(r.Buf) != 0 {
		return nil, rowenc.ErrCorrupt
	}
	return out, nil
}
