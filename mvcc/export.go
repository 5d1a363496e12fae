package mvcc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/cockroachkvs"
)

// RangeData says what belongs to one range replica: its range-local keys and the versions of its span.
type RangeData struct {
	RangeID uint64
	Span    Span
}

// parts returns the engine bounds of the two pieces, in engine order.
func (d RangeData) parts() [2]Span {
	local := LocalSpan(d.RangeID)
	return [2]Span{
		{appendVersionKey(nil, local.Start, 0), appendVersionKey(nil, local.End, 0)},
		{appendVersionKey(nil, d.Span.Start, 0), appendVersionKey(nil, d.Span.End, 0)},
	}
}

// A chunk is: format (1), then for each pair the length shared with the previous key, the length of the
// rest, the length of the value (three uvarints), rest and value; at the end CRC-32C (4, little endian) of
// all before. Chunks stand alone: each starts with a whole key.
const (
	chunkFormat  = 1
	chunkTrailer = 4
	// MaxChunkBytes bounds what a chunk may claim when it is decoded: one value of the largest size and
	// its key fit.
	MaxChunkBytes = 96 << 20
)

// ErrBadChunk reports a damaged or hostile snapshot chunk.
var ErrBadChunk = errors.New("mvcc: malformed snapshot chunk")

// Exporter reads all data of a range, in engine order, as chunks of bounded size. It belongs to one
// goroutine; its Reader, a Snapshot as a rule, must outlive it.
type Exporter struct {
	r     Reader
	parts [2]Span
	part  int
	it    *pebble.Iterator
	prev  []byte
	// Bytes and Pairs count what has been exported.
	Bytes, Pairs int64
}

// NewExporter returns an exporter of data as r shows it. The caller closes it.
func NewExporter(r Reader, data RangeData) *Exporter {
	return &Exporter{r: r, parts: data.parts()}
}

// Next returns the next chunk, of about maxBytes (one pair at least), appended to dst[:0]; nil at the end.
func (x *Exporter) Next(dst []byte, maxBytes int) ([]byte, error) {
	dst = append(dst[:0], chunkFormat)
	x.prev = x.prev[:0]
	for len(dst) < maxBytes || len(dst) == 1 {
		ok, err := x.advance()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		k := x.it.Key()
		v, err := x.it.ValueAndErr()
		if err != nil {
			return nil, err
		}
		// A damaged value must not travel: the receiver would serve it as sound once its own sums match.
		if _, _, err := openValue(k, v); err != nil {
			return nil, err
		}
		shared := commonPrefix(x.prev, k)
		dst = binary.AppendUvarint(dst, uint64(shared))
		dst = binary.AppendUvarint(dst, uint64(len(k)-shared))
		dst = binary.AppendUvarint(dst, uint64(len(v)))
		dst = append(dst, k[shared:]...)
		dst = append(dst, v...)
		x.prev = append(x.prev[:0], k...)
		x.Pairs++
	}
	if len(dst) == 1 {
		return nil, nil
	}
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst, castagnoli))
	x.Bytes += int64(len(dst))
	return dst, nil
}

// advance moves to the next pair, through the parts.
func (x *Exporter) advance() (bool, error) {
	for x.part < len(x.parts) {
		var ok bool
		if x.it == nil {
			it, err := x.r.newIter(&pebble.IterOptions{
				LowerBound: x.parts[x.part].Start, UpperBound: x.parts[x.part].End,
			})
			if err != nil {
				return false, err
			}
			x.it = it
			ok = it.First()
		} else {
			ok = x.it.Next()
		}
		if ok {
			return true, nil
		}
		if err := x.closeIter(); err != nil {
			return false, err
		}
		x.part++
	}
	return false, nil
}

func (x *Exporter) closeIter() error {
	if x.it == nil {
		return nil
	}
	err := x.it.Error()
	if cerr := x.it.Close(); err == nil {
		err = cerr
	}
	x.it = nil
	return err
}

// Close releases the exporter.
func (x *Exporter) Close() error { return x.closeIter() }

func commonPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := 0; i < n; i++ {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// decodeChunk calls fn for each pair of a chunk; its slices are valid during the call only.
func decodeChunk(chunk []byte, fn func(engineKey, value []byte) error) error {
	if len(chunk) < 1+chunkTrailer || len(chunk) > MaxChunkBytes || chunk[0] != chunkFormat {
		return ErrBadChunk
	}
	body := chunk[:len(chunk)-chunkTrailer]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(chunk[len(body):]) {
		return fmt.Errorf("%w: checksum mismatch", ErrBadChunk)
	}
	var key []byte
	for p := body[1:]; len(p) > 0; {
		var n [3]uint64
		for i := range n {
			v, w := binary.Uvarint(p)
			if w <= 0 {
				return ErrBadChunk
			}
			n[i], p = v, p[w:]
		}
		shared, rest, val := n[0], n[1], n[2]
		if shared > uint64(len(key)) || rest > uint64(len(p)) || val > uint64(len(p))-rest {
			return ErrBadChunk
		}
		key = append(key[:shared], p[:rest]...)
		value := p[rest : rest+val]
		p = p[rest+val:]
		if !validEngineKey(key) {
			return fmt.Errorf("%w: key %x", ErrBadChunk, key)
		}
		if _, _, err := openValue(key, value); err != nil {
			return fmt.Errorf("%w: %w", ErrBadChunk, err)
		}
		if err := fn(key, value); err != nil {
			return err
		}
	}
	return nil
}

// validEngineKey reports whether the comparer may see k: a user key in some version, or a local key in none.
func validEngineKey(k []byte) bool {
	key, ts, err := decodeVersionKey(k)
	if err != nil || len(key) == 0 {
		return false
	}
	return (key[0] == localByte) == (ts == 0)
}

func compareEngineKeys(a, b []byte) int { return cockroachkvs.Compare(a, b) }

// within reports whether an engine key lies between engine bounds.
func within(k []byte, s Span) bool {
	return compareEngineKeys(s.Start, k) <= 0 && compareEngineKeys(k, s.End) < 0
}

// EqualData reports whether two readers hold the same data of a range, for consistency checks and tests;
// where tells the first key that differs.
func EqualData(a, b Reader, data RangeData) (equal bool, where []byte, err error) {
	xa, xb := &Exporter{r: a, parts: data.parts()}, &Exporter{r: b, parts: data.parts()}
	defer xa.Close()
	defer xb.Close()
	for {
		oka, err := xa.advance()
		if err != nil {
			return false, nil, err
		}
		okb, err := xb.advance()
		if err != nil {
			return false, nil, err
		}
		switch {
		case !oka && !okb:
			return true, nil, nil
		case !okb:
			return false, bytes.Clone(xa.it.Key()), nil
		case !oka:
			return false, bytes.Clone(xb.it.Key()), nil
		}
		va, err := xa.it.ValueAndErr()
		if err != nil {
			return false, nil, err
		}
		vb, err := xb.it.ValueAndErr()
		if err != nil {
			return false, nil, err
		}
		if !bytes.Equal(xa.it.Key(), xb.it.Key()) || !bytes.Equal(va, vb) {
			return false, bytes.Clone(xa.it.Key()), nil
		}
	}
}
