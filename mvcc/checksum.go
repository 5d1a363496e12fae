package mvcc

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2"
)

// checksumStep is how much is read between two calls of pace.
const checksumStep = 64 << 10

// Checksum sums up the data of a range: two replicas that have applied the same commands have the same sum. What may be
// collected at the range's threshold does not count, as each store collects it in its own time. Nor do range-local keys for
// which local, called with what follows the range's prefix, says no. pace is told how many bytes have been read since the last
// time; its error ends the sum, as does a damaged value, with a *CorruptError.
func Checksum(r Reader, data RangeData, local func(suffix []byte) bool, pace func(bytes int) error) (sum [sha256.Size]byte, bytes int64, err error) {
	h := sha256.New()
	read := 0
	var lens []byte
	add := func(key, value []byte) error {
		if _, _, err := openValue(key, value); err != nil {
			return err
		}
		lens = binary.AppendUvarint(lens[:0], uint64(len(key)))
		lens = binary.AppendUvarint(lens, uint64(len(value)))
		h.Write(lens)
		h.Write(key)
		h.Write(value)
		read += len(key) + len(value)
		bytes += int64(len(key) + len(value))
		if read < checksumStep {
			return nil
		}
		n := read
		read = 0
		return pace(n)
	}
	threshold, err := GCThreshold(r, data.RangeID)
	if err != nil {
		return sum, 0, err
	}
	bounds := data.parts()[0]
	it, err := r.newIter(&pebble.IterOptions{LowerBound: bounds.Start, UpperBound: bounds.End})
	if err != nil {
		return sum, 0, err
	}
	prefix := len(LocalKey(data.RangeID, nil))
	for ok := it.First(); ok && err == nil; ok = it.Next() {
		var key, value []byte
		if key, _, err = decodeVersionKey(it.Key()); err != nil {
			err = corrupt(it.Key(), err)
		} else if value, err = it.ValueAndErr(); err == nil && local(key[prefix:]) {
			err = add(it.Key(), value)
		}
	}
	if err == nil {
		err = it.Error()
	}
	if cerr := it.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return sum, bytes, err
	}
	if _, _, err := sift(r, data.Span, threshold, sweep{}, func([]byte, int) {}, add); err != nil {
		return sum, bytes, err
	}
	h.Sum(sum[:0])
	return sum, bytes, nil
}
