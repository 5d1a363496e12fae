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

// ScratchFile is written once and then read once. Close removes it.
type ScratchFile interface {
	io.Writer
	// Reader ends the writing and reads from the start.
	Reader() (io.Reader, error)
	Close() error
}

// errUnspillable says that a row has a value without a form for scratch files: arrays, row values, JSON. Executions
// keep those in memory, as long as the budget lasts.
var errUnspillable = errors.New("value cannot be written to a scratch file")

// sortedRun is a file of rows of one width.
type sortedRun struct {
	f     ScratchFile
	w     *bufio.Writer
	r     *bufio.Reader
	width int
	rows  int // left to read
	bytes int64
	buf   []byte
}

func newRun(s Scratch, width int) (*sortedRun, error) {
	f, err := s.Create()
	if err != nil {
		return nil, scratchError(err)
	}
	return &sortedRun{f: f, w: bufio.NewWriterSize(f, 64<<10), width: width}, nil
}

func scratchError(err error) error {
	return pgerr.New(pgerr.DiskFull, "could not write to a temporary file: %v", err)
}

func (r *sortedRun) write(row []types.Datum) error {
	b := r.buf[:0]
	var err error
	for _, d := range row {
		if b, err = appendScratch(b, d); err != nil {
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

// rewind ends the writing.
func (r *sortedRun) rewind() error {
	if err := r.w.Flush(); err != nil {
		return scratchError(err)
	}
	r.w = nil
	f, err := r.f.Reader()
	if err != nil {
		return scratchError(err)
	}
	r.r = bufio.NewReaderSize(f, 64<<10)
	return nil
}

// read returns the next row in memory of its own, nil at the end.
func (r *sortedRun) read() ([]types.Datum, error) {
	if r.rows == 0 {
		return nil, nil
	}
	r.rows--
	row := make([]types.Datum, r.width)
	for i := range row {
		d, err := readScratch(r.r)
		if err != nil {
			return nil, pgerr.New(pgerr.IOError, "could not read a temporary file: %v", err)
		}
		row[i] = d
	}
	return row, nil
}

func (r *sortedRun) close() { _ = r.f.Close() }

// largeNumeric marks numerics that are not held by their datum; they are written as text.
const largeNumeric = 0xff

// appendScratch writes a value: its kind, then what that kind needs. Scratch files never outlive the process.
func appendScratch(b []byte, d types.Datum) ([]byte, error) {
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
	default:
		return b, errUnspillable
	}
	return b, nil
}

func readScratch(r *bufio.Reader) (types.Datum, error) {
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
