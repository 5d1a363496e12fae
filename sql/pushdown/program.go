package pushdown

import (
	"encoding/binary"
	"errors"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// version is the first byte of a program. It changes with everything that an older store would misunderstand.
const version = 3

// Limits of a program.
const (
	maxProgram = 1 << 20 // bytes
	maxSlots   = 4096
)

var errProgram = errors.New("pushdown: malformed program, or one of another version")

// Key is a part of the pairs' keys, after the prefix.
type Key struct {
	Slot int // -1: passed over
	T    *types.T
	Desc bool
}

// Column is a column in the pairs' values.
type Column struct {
	ID   uint32
	Slot int
	T    *types.T
	// Missing is the value where a pair does not have the column.
	Missing types.Datum
}

// Program is what is run over the pairs of a scan. A Program is immutable once it is encoded.
type Program struct {
	Prefix  int      // bytes of the keys before the first part
	Keys    []Key    // up to the last part that is wanted
	Columns []Column // ascending by id
	Slots   int      // those of the row; expressions may need more
	Filter  []plan.Expr
	// Keep are the ids of the columns of the value to be answered, ascending; All answers all of them. Without Aggs.
	Keep []uint32
	All  bool
	// Group and Aggs make the program answer groups in place of rows: Grouped, even if both are empty.
	Grouped bool
	Group   []plan.Expr
	Aggs    []*plan.AggFunc
	// Sample, if not 0, answers only pairs whose SampleHash is below, without Filter and Aggs, and besides the last pair of
	// each page, which says how far it went.
	Sample uint64
	// params are the types of the parameters of a program that was decoded.
	params []*types.T
}

// Numbering numbers the slots of a program's expressions: Slot those of the row, false for one of an outer row.
type Numbering struct {
	Slot    func(s plan.Slot) (int, bool)
	Columns int // slots below are the row's
	extra   map[plan.Slot]int
}

func (n *Numbering) scratch(s plan.Slot) int {
	if n.extra == nil {
		n.extra = map[plan.Slot]int{}
	}
	i, ok := n.extra[s]
	if !ok {
		i = n.Columns + len(n.extra)
		n.extra[s] = i
	}
	return i
}

// SampleHash is what a key counts for in samples: the keys with the least hashes of any set are a uniform sample of it.
func SampleHash(key []byte) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	// Its high bits hardly know of the last bytes: mixed as MurmurHash3 ends.
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Form is an encoded Program whose parameters have no values yet. It is immutable.
type Form struct {
	body   []byte
	params []plan.Expr
}

// Bind encodes the program with the values that its parameters have in c. It reports false when one of them failed to
// be evaluated: at the gateway that is an error only if a row asks for it.
func (f *Form) Bind(buf []byte, c *plan.EvalCtx) ([]byte, bool) {
	start := len(buf)
	buf = binary.AppendUvarint(append(buf, version), uint64(len(f.params)))
	for _, e := range f.params {
		d, err := e.Eval(c)
		if err != nil {
			return buf, false
		}
		buf = plan.AppendDatum(buf, d, e.Type())
	}
	buf = append(buf, f.body...)
	return buf, len(buf)-start <= maxProgram
}

// split divides a bound program into the values of its parameters and the rest.
func split(b []byte) (values plan.Receiver, n int, body []byte, err error) {
	if len(b) == 0 || b[0] != version || len(b) > maxProgram {
		return values, 0, nil, errProgram
	}
	r := plan.Receiver{Buf: b[1:]}
	if n, err = r.Count(); err != nil {
		return values, 0, nil, errProgram
	}
	values = r
	for range n {
		size, err := r.Count()
		if err != nil {
			return values, 0, nil, errProgram
		}
		r.Buf = r.Buf[size:]
	}
	return values, n, r.Buf, nil
}

// Encode makes a program's form. It reports false when it cannot be sent: something in it means different things on
// different nodes.
func (p *Program) Encode(num *Numbering) (*Form, bool) {
	num.Columns = p.Slots
	s := &plan.Shipper{Slot: num.Slot, Scratch: num.scratch}
	var buf []byte
	buf = binary.AppendUvarint(buf, uint64(p.Prefix))
	buf = binary.AppendUvarint(buf, uint64(p.Slots))
	buf = binary.AppendUvarint(buf, p.Sample)
	buf = binary.AppendUvarint(buf, uint64(len(p.Keys)))
	for _, k := range p.Keys {
		desc := byte(0)
		if k.Desc {
			desc = 1
		}
		buf = plan.AppendType(append(binary.AppendUvarint(buf, uint64(k.Slot+1)), desc), k.T)
	}
	buf = binary.AppendUvarint(buf, uint64(len(p.Columns)))
	for _, col := range p.Columns {
		if !col.Missing.IsNull() {
			buf = append(buf, 0) // no column's id: a node that does not know it refuses the program
		}
		buf = binary.AppendUvarint(binary.AppendUvarint(buf, uint64(col.ID)), uint64(col.Slot))
		buf = plan.AppendType(buf, col.T)
		if !col.Missing.IsNull() {
			b := rowenc.AppendColumn(nil, 0, 1, col.Missing, col.T)
			buf = append(binary.AppendUvarint(buf, uint64(len(b))), b...)
		}
	}
	ok := true
	list := func(es []plan.Expr) {
		buf = binary.AppendUvarint(buf, uint64(len(es)))
		for _, e := range es {
			if ok {
				buf, ok = s.Append(buf, e)
			}
		}
	}
	list(p.Filter)
	switch {
	case p.Grouped:
		buf = append(buf, 2)
		list(p.Group)
		buf = binary.AppendUvarint(buf, uint64(len(p.Aggs)))
		for _, a := range p.Aggs {
			buf = binary.AppendUvarint(buf, uint64(a.Call.Func.OID))
			buf = append(buf, byte(len(a.Call.Args)))
			for _, t := range a.Call.Args {
				buf = plan.AppendType(buf, t)
			}
			list(a.Args)
			if a.Filter == nil {
				list(nil)
			} else {
				list([]plan.Expr{a.Filter})
			}
		}
	case p.All:
		buf = append(buf, 0)
	default:
		buf = binary.AppendUvarint(append(buf, 1), uint64(len(p.Keep)))
		for _, id := range p.Keep {
			buf = binary.AppendUvarint(buf, uint64(id))
		}
	}
	return &Form{buf, s.Params}, ok && len(buf) <= maxProgram
}

// decode reads the body of a program, checks it, and counts its slots.
func decode(body []byte) (*Program, int, error) {
	r := &plan.Receiver{Buf: body, Slots: map[plan.Slot]*types.T{}, MaxSlots: maxSlots}
	p := &Program{}
	var err error
	number := func(most uint64) int {
		v, e := r.Uvarint()
		if err == nil && (e != nil || v > most) {
			err = errProgram
		}
		if err != nil {
			return 0
		}
		return int(v)
	}
	typ := func() *types.T {
		t, e := r.Type()
		if err == nil && e != nil {
			err = errProgram
		}
		return t
	}
	p.Prefix = number(1 << 10)
	p.Slots = number(maxSlots / 2)
	r.Columns = p.Slots
	if p.Sample, err = r.Uvarint(); err != nil {
		return nil, 0, errProgram
	}
	take := func(slot int, t *types.T) {
		if err == nil && (slot >= p.Slots || r.Slots[slot] != nil) {
			err = errProgram
		}
		r.Slots[slot] = t
	}
	for n := number(uint64(len(r.Buf))); n > 0 && err == nil; n-- {
		k := Key{Slot: number(maxSlots) - 1}
		desc, e := r.Byte()
		if e != nil {
			return nil, 0, errProgram
		}
		k.Desc = desc == 1
		if k.T = typ(); k.Slot >= 0 {
			take(k.Slot, k.T)
		}
		p.Keys = append(p.Keys, k)
	}
	for n := number(uint64(len(r.Buf))); n > 0 && err == nil; n-- {
		c := Column{ID: uint32(number(1<<32 - 1))}
		missing := c.ID == 0
		if missing {
			c.ID = uint32(number(1<<32 - 1))
		}
		c.Slot = number(maxSlots)
		c.T = typ()
		take(c.Slot, c.T)
		if missing && err == nil {
			c.Missing, err = r.Datum(c.T)
			c.Missing = types.Detach(c.Missing) // the program outlives what it was read from
		}
		if c.ID == 0 || len(p.Columns) > 0 && c.ID <= p.Columns[len(p.Columns)-1].ID {
			return nil, 0, errProgram
		}
		p.Columns = append(p.Columns, c)
	}
	if err != nil {
		return nil, 0, err
	}
	if p.Filter, err = r.List(types.Bool); err != nil {
		return nil, 0, err
	}
	mode, err := r.Byte()
	if err != nil {
		return nil, 0, err
	}
	switch mode {
	case 0:
		p.All = true
	case 1:
		for n := number(uint64(len(r.Buf))); n > 0 && err == nil; n-- {
			id := uint32(number(1<<32 - 1))
			if len(p.Keep) > 0 && id <= p.Keep[len(p.Keep)-1] {
				return nil, 0, errProgram
			}
			p.Keep = append(p.Keep, id)
		}
	case 2:
		p.Grouped = true
		err = p.decodeGroups(r)
	default:
		err = errProgram
	}
	if err != nil || len(r.Buf) != 0 {
		return nil, 0, errProgram
	}
	p.params = r.Params
	slots := p.Slots
	for s := range r.Slots {
		slots = max(slots, s+1)
	}
	return p, slots, nil
}

func (p *Program) decodeGroups(r *plan.Receiver) error {
	var err error
	if p.Group, err = r.List(nil); err != nil {
		return err
	}
	n, err := r.Count()
	if err != nil {
		return err
	}
	for range n {
		oid, err := r.Uvarint()
		if err != nil || oid > 1<<32-1 {
			return errProgram
		}
		nargs, err := r.Byte()
		if err != nil {
			return err
		}
		ts := make([]*types.T, nargs)
		for i := range ts {
			if ts[i], err = r.Type(); err != nil {
				return err
			}
		}
		f := builtin.FuncByOID(types.OID(oid))
		if f == nil {
			return errProgram
		}
		call, err := builtin.ResolveFunction(f.Name, ts)
		if err != nil || call.Func != f || !plan.MergeableAgg(call) {
			return errProgram
		}
		a := &plan.AggFunc{Name: f.Name, Call: call, T: call.Ret}
		if a.Args, err = r.List(nil); err != nil || len(a.Args) != len(call.Args) {
			return errProgram
		}
		for i, e := range a.Args {
			if e.Type().BaseType().Kind != call.Args[i].BaseType().Kind {
				return errProgram
			}
		}
		filter, err := r.List(types.Bool)
		if err != nil || len(filter) > 1 {
			return errProgram
		}
		if len(filter) == 1 {
			a.Filter = filter[0]
		}
		p.Aggs = append(p.Aggs, a)
	}
	return nil
}
