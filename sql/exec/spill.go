package exec

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Scratch gives files for what an execution cannot hold in memory.
type Scratch interface {
	Create() (ScratchFile, error)
}

// ScratchFile is written once and then read. Close removes it.
type ScratchFile interface {
	io.Writer
	// Reader ends the writing and reads from the start. Called again it starts anew; the reader before is no longer
	// used then.
	Reader() (io.Reader, error)
	Close() error
}

// errUnspillable says that a row has a value without a form for scratch files.
var errUnspillable = errors.New("value cannot be written to a scratch file")

// scratchRun is a file of rows of one width.
type scratchRun struct {
	f     ScratchFile
	w     *bufio.Writer
	r     *bufio.Reader
	width int
	rows  int
	left  int // to read
	bytes int64
	buf   []byte
	// Types of arrays and row values are named by their place in list: a file never outlives its execution.
	types map[*types.T]uint64
	list  []*types.T
}

func newRun(s Scratch, width int) (*scratchRun, error) {
	f, err := s.Create()
	if err != nil {
		return nil, scratchError(err)
	}
	return &scratchRun{f: f, w: bufio.NewWriterSize(f, 32<<10), width: width}, nil
}

func scratchError(err error) error {
	return pgerr.New(pgerr.DiskFull, "could not write to a temporary file: %v", err)
}

func (r *scratchRun) write(row []types.Datum) error {
	b := r.buf[:0]
	var err error
	for _, d := range row {
		if b, err = r.append(b, d); err != nil {
			return err
		}
	}
	r.buf = b
	r.rows++
	r.bytes += int64(len(b))
	if _, err := r.w.Write(b); err != nil {
		return scratchError(err)
	}
	return nil
}

// rewind ends the writing, and goes back to the first row.
func (r *scratchRun) rewind() error {
	if r.w != nil {
		if err := r.w.Flush(); err != nil {
			return scratchError(err)
		}
		r.w = nil
	}
	f, err := r.f.Reader()
	if err != nil {
		return scratchError(err)
	}
	r.r, r.left = bufio.NewReaderSize(f, 32<<10), r.rows
	return nil
}

// read returns the next row in memory of its own, nil at the end.
func (r *scratchRun) read() ([]types.Datum, error) {
	if r.left == 0 {
		return nil, nil
	}
	r.left--
	row := make([]types.Datum, r.width)
	for i := range row {
		d, err := r.datum()
		if err != nil {
			return nil, pgerr.New(pgerr.IOError, "could not read a temporary file: %v", err)
		}
		row[i] = d
	}
	return row, nil
}

func (r *scratchRun) close() { _ = r.f.Close() }

// largeNumeric marks numerics that are not held by their datum; they are written as text.
const largeNumeric = 0xff

// append writes a value: its kind, then what that kind needs.
func (r *scratchRun) append(b []byte, d types.Datum) ([]byte, error) {
	k := d.Kind()
	b = append(b, byte(k))
	str := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	switch k {
	case types.KindNull:
	case types.KindBool, types.KindInt, types.KindDate, types.KindTime, types.KindTimestamp, types.KindTimestampTZ:
		b = binary.AppendVarint(b, d.Int())
	case types.KindFloat:
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(d.Float()))
	case types.KindNumeric:
		if c, scale, ok := d.SmallNumeric(); ok {
			b = binary.AppendVarint(binary.AppendUvarint(b, uint64(scale)), c)
			break
		}
		b[len(b)-1] = largeNumeric
		str(types.NumericString(d.Numeric()))
	case types.KindString:
		str(d.Str())
	case types.KindBytes:
		str(string(d.Bytes()))
	case types.KindUUID:
		b = append(b, d.UUID()[:]...)
	case types.KindInterval:
		iv := d.Interval()
		b = binary.AppendVarint(binary.AppendVarint(binary.AppendVarint(b, int64(iv.Months)), int64(iv.Days)), iv.Micros)
	case types.KindTimeTZ:
		z := d.TimeTZ()
		b = binary.AppendVarint(binary.AppendVarint(b, z.Micros), int64(z.OffsetSecs))
	case types.KindJSON:
		return r.appendJSON(b, d.JSON()), nil
	case types.KindArray:
		a := d.Array()
		b = binary.AppendUvarint(r.appendType(b, a.Elem), uint64(len(a.Dims)))
		for _, dim := range a.Dims {
			b = binary.AppendVarint(binary.AppendVarint(b, int64(dim.Len)), int64(dim.Lower))
		}
		return r.appendList(b, a.Elems)
	case types.KindTuple:
		t := d.Tuple()
		b = binary.AppendUvarint(b, uint64(len(t.Types)))
		for _, x := range t.Types {
			b = r.appendType(b, x)
		}
		b = binary.AppendUvarint(b, uint64(len(t.Names)))
		for _, n := range t.Names {
			str(n)
		}
		return r.appendList(b, t.Elems)
	default:
		return b, errUnspillable
	}
	return b, nil
}

func (r *scratchRun) appendList(b []byte, ds []types.Datum) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(len(ds)))
	var err error
	for _, d := range ds {
		if b, err = r.append(b, d); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (r *scratchRun) appendType(b []byte, t *types.T) []byte {
	n, ok := r.types[t]
	if !ok {
		if r.types == nil {
			r.types = map[*types.T]uint64{}
		}
		n = uint64(len(r.list))
		r.types[t], r.list = n, append(r.list, t)
	}
	return binary.AppendUvarint(b, n)
}

func (r *scratchRun) appendJSON(b []byte, j *types.JSON) []byte {
	str := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	b = append(b, byte(j.Kind))
	switch j.Kind {
	case types.JSONBool:
		if j.Bool {
			return append(b, 1)
		}
		return append(b, 0)
	case types.JSONNumber:
		str(types.NumericString(j.Num))
	case types.JSONString:
		str(j.Str)
	case types.JSONArray, types.JSONObject:
		b = binary.AppendUvarint(b, uint64(len(j.Vals)))
		for i, v := range j.Vals {
			if j.Kind == types.JSONObject {
				str(j.Keys[i])
			}
			b = r.appendJSON(b, v)
		}
	}
	return b
}

func (r *scratchRun) number() (int, error) {
	n, err := binary.ReadUvarint(r.r)
	return int(n), err
}

func (r *scratchRun) text() (string, error) {
	n, err := r.number()
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r.r, b)
	return string(b), err
}

func (r *scratchRun) typ() (*types.T, error) {
	n, err := r.number()
	if err != nil || n >= len(r.list) {
		return nil, errors.Join(err, io.ErrUnexpectedEOF)
	}
	return r.list[n], nil
}

func (r *scratchRun) datums() ([]types.Datum, error) {
	n, err := r.number()
	if err != nil {
		return nil, err
	}
	out := make([]types.Datum, n)
	for i := range out {
		if out[i], err = r.datum(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *scratchRun) array() (types.Datum, error) {
	a := &types.Array{}
	var err error
	if a.Elem, err = r.typ(); err != nil {
		return types.Null, err
	}
	n, err := r.number()
	for ; err == nil && n > 0; n-- {
		var size, lower int64
		if size, err = binary.ReadVarint(r.r); err == nil {
			lower, err = binary.ReadVarint(r.r)
		}
		a.Dims = append(a.Dims, types.ArrayDim{Len: int32(size), Lower: int32(lower)})
	}
	if err == nil {
		a.Elems, err = r.datums()
	}
	return types.NewArray(a), err
}

func (r *scratchRun) tuple() (types.Datum, error) {
	t := &types.Tuple{}
	n, err := r.number()
	for ; err == nil && n > 0; n-- {
		var x *types.T
		x, err = r.typ()
		t.Types = append(t.Types, x)
	}
	if err == nil {
		n, err = r.number()
	}
	for ; err == nil && n > 0; n-- {
		var s string
		s, err = r.text()
		t.Names = append(t.Names, s)
	}
	if err == nil {
		t.Elems, err = r.datums()
	}
	return types.NewTuple(t), err
}

func (r *scratchRun) json() (*types.JSON, error) {
	k, err := r.r.ReadByte()
	if err != nil {
		return nil, err
	}
	j := &types.JSON{Kind: types.JSONKind(k)}
	switch j.Kind {
	case types.JSONBool:
		v, err := r.r.ReadByte()
		j.Bool = v == 1
		return j, err
	case types.JSONNumber:
		s, err := r.text()
		if err != nil {
			return nil, err
		}
		j.Num, err = types.ParseNumeric(s)
		return j, err
	case types.JSONString:
		j.Str, err = r.text()
		return j, err
	case types.JSONArray, types.JSONObject:
		n, err := r.number()
		if err != nil {
			return nil, err
		}
		j.Vals = make([]*types.JSON, n)
		if j.Kind == types.JSONObject {
			j.Keys = make([]string, n)
		}
		for i := range j.Vals {
			if j.Kind == types.JSONObject {
				if j.Keys[i], err = r.text(); err != nil {
					return nil, err
				}
			}
			if j.Vals[i], err = r.json(); err != nil {
				return nil, err
			}
		}
	}
	return j, nil
}

// datum reads a value that append has written.
func (run *scratchRun) datum() (types.Datum, error) {
	r := run.r
	k, err := r.ReadByte()
	if err != nil {
		return types.Null, err
	}
	str := func() ([]byte, error) {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return nil, err
		}
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		return b, err
	}
	if k == largeNumeric {
		b, err := str()
		if err != nil {
			return types.Null, err
		}
		n, err := types.ParseNumeric(string(b))
		if err != nil {
			return types.Null, err
		}
		return types.NewNumeric(n), nil
	}
	switch types.Kind(k) {
	case types.KindNull:
		return types.Null, nil
	case types.KindFloat:
		var b [8]byte
		_, err := io.ReadFull(r, b[:])
		return types.NewFloat(math.Float64frombits(binary.LittleEndian.Uint64(b[:]))), err
	case types.KindNumeric:
		scale, err := binary.ReadUvarint(r)
		if err != nil {
			return types.Null, err
		}
		c, err := binary.ReadVarint(r)
		return types.SmallNumeric(c, int(scale)), err
	case types.KindString:
		b, err := str()
		return types.NewStringFromBytes(b), err
	case types.KindBytes:
		b, err := str()
		return types.NewBytes(b), err
	case types.KindUUID:
		u := new([16]byte)
		_, err := io.ReadFull(r, u[:])
		return types.NewUUID(u), err
	case types.KindInterval:
		m, err := binary.ReadVarint(r)
		if err != nil {
			return types.Null, err
		}
		days, err := binary.ReadVarint(r)
		if err != nil {
			return types.Null, err
		}
		us, err := binary.ReadVarint(r)
		return types.NewInterval(&types.Interval{Months: int32(m), Days: int32(days), Micros: us}), err
	case types.KindTimeTZ:
		us, err := binary.ReadVarint(r)
		if err != nil {
			return types.Null, err
		}
		off, err := binary.ReadVarint(r)
		return types.NewTimeTZ(&types.TimeTZ{Micros: us, OffsetSecs: int32(off)}), err
	case types.KindJSON:
		j, err := run.json()
		return types.NewJSON(j), err
	case types.KindArray:
		return run.array()
	case types.KindTuple:
		return run.tuple()
	}
	v, err := binary.ReadVarint(r)
	if err != nil {
		return types.Null, err
	}
	switch types.Kind(k) {
	case types.KindBool:
		return types.NewBool(v != 0), nil
	case types.KindInt:
		return types.NewInt(v), nil
	case types.KindDate:
		return types.NewDate(v), nil
	case types.KindTime:
		return types.NewTime(v), nil
	case types.KindTimestamp:
		return types.NewTimestamp(v), nil
	case types.KindTimestampTZ:
		return types.NewTimestampTZ(v), nil
	}
	return types.Null, errUnspillable
}
