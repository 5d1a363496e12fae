package mvcc

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/meridian-db/meridian/truetime"
)

// Timestamp is the version of a value.
type Timestamp = truetime.Timestamp

// Span is the user keys k with Start <= k < End.
type Span struct{ Start, End []byte }

// Contains reports whether key lies in the span.
func (s Span) Contains(key []byte) bool {
	return bytes.Compare(s.Start, key) <= 0 && bytes.Compare(key, s.End) < 0
}

// Empty reports whether the span holds no key at all.
func (s Span) Empty() bool { return bytes.Compare(s.Start, s.End) >= 0 }

// First bytes of the key space, see the package comment.
const (
	localByte      = 0x00
	localRangeByte = 'r'
	minUserByte    = 0x01
)

// A version key is: user key, 0x00, timestamp (8, big endian), length of timestamp and itself.
const versionSuffix = 9

// ErrInvalidKey reports a key no client may address: empty, or in the store's own key space.
var ErrInvalidKey = errors.New("mvcc: key is empty or reserved")

// ValidateKey returns nil when key may be used as a user key. Requests from other nodes are checked by it;
// the methods of this package panic on an invalid key, which by then is a broken invariant.
func ValidateKey(key []byte) error {
	if len(key) == 0 || key[0] < minUserByte {
		return fmt.Errorf("%w: %x", ErrInvalidKey, key)
	}
	return nil
}

// appendVersionKey appends the engine's key of a version; ts zero is the position before all versions of
// key, and the encoding of an unversioned key.
func appendVersionKey(dst, key []byte, ts Timestamp) []byte {
	dst = append(dst, key...)
	dst = append(dst, 0)
	if ts == 0 {
		return dst
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(ts))
	return append(dst, versionSuffix)
}

// decodeVersionKey splits an engine key. ts is zero for an unversioned key. The result aliases k.
func decodeVersionKey(k []byte) (key []byte, ts Timestamp, err error) {
	if len(k) == 0 {
		return nil, 0, errBadEngineKey
	}
	n := int(k[len(k)-1])
	switch {
	case n == 0:
		return k[:len(k)-1], 0, nil
	case n == versionSuffix && len(k) >= versionSuffix+1 && k[len(k)-versionSuffix-1] == 0:
		wall := binary.BigEndian.Uint64(k[len(k)-versionSuffix:])
		if wall == 0 || wall > uint64(truetime.MaxTimestamp) {
			return nil, 0, errBadEngineKey
		}
		return k[:len(k)-versionSuffix-1], Timestamp(wall), nil
	}
	return nil, 0, errBadEngineKey
}

var errBadEngineKey = errors.New("malformed engine key")

// LocalKey returns the range-local key of a range and suffix, for PutLocal and its kin.
func LocalKey(rangeID uint64, suffix []byte) []byte {
	return AppendLocalKey(make([]byte, 0, 10+len(suffix)), rangeID, suffix)
}

// AppendLocalKey appends LocalKey(rangeID, suffix) to dst.
func AppendLocalKey(dst []byte, rangeID uint64, suffix []byte) []byte {
	dst = append(dst, localByte, localRangeByte)
	dst = binary.BigEndian.AppendUint64(dst, rangeID)
	return append(dst, suffix...)
}

// LocalSpan returns the bounds of all range-local keys of a range.
func LocalSpan(rangeID uint64) Span {
	end := LocalKey(rangeID+1, nil)
	if rangeID+1 == 0 {
		end = []byte{localByte, localRangeByte + 1}
	}
	return Span{Start: LocalKey(rangeID, nil), End: end}
}

// PrefixEnd returns the smallest key above all keys with the given prefix, nil when there is none.
func PrefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}

func mustUserKey(key []byte) {
	if len(key) == 0 || key[0] < minUserByte {
		panic(fmt.Sprintf("mvcc: write of reserved key %x", key))
	}
}

func mustLocalKey(key []byte) {
	if len(key) == 0 || key[0] != localByte {
		panic(fmt.Sprintf("mvcc: %x is not a local key", key))
	}
}
