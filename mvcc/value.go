package mvcc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A stored value is: CRC-32C (4, little endian) of engine key, kind and payload; kind (1); payload. The
// key is part of the sum, so a value that turns up under another key or timestamp is found as well.
const (
	valueHeader   = 5
	kindValue     = 1
	kindTombstone = 2
	// The payload of a provisional version begins with its transaction (16) and the number of the write (uvarint).
	kindProvisional          = 3
	kindProvisionalTombstone = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CorruptError reports a stored value whose checksum or form is wrong. Nothing may be concluded from it:
// the replica has to be repaired from another one.
type CorruptError struct {
	Key   []byte // user or local key, nil when unknown
	TS    Timestamp
	Cause error
}

func (e *CorruptError) Error() string {
	if e.Key == nil {
		return e.Cause.Error()
	}
	return fmt.Sprintf("mvcc: corrupt value of key %x at %s: %v", e.Key, e.TS, e.Cause)
}

func (e *CorruptError) Unwrap() error { return e.Cause }

// Is makes every *CorruptError match ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// ErrCorrupt is what errors.Is finds in every *CorruptError.
var ErrCorrupt = errors.New("mvcc: corrupt value")

var (
	errChecksum   = errors.New("checksum mismatch")
	errShortValue = errors.New("value too short")
	errValueKind  = errors.New("unknown value kind")
)

// fillValue writes header and payload, in two parts, into dst, which has valueHeader plus their length bytes.
func fillValue(dst, engineKey []byte, kind byte, head, payload []byte) {
	dst[4] = kind
	n := valueHeader + copy(dst[valueHeader:], head)
	copy(dst[n:], payload)
	binary.LittleEndian.PutUint32(dst, valueSum(engineKey, dst[4:]))
}

func valueSum(engineKey, kindAndPayload []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, engineKey), castagnoli, kindAndPayload)
}

// openValue verifies a stored value. The payload aliases raw.
func openValue(engineKey, raw []byte) (payload []byte, kind byte, err error) {
	if len(raw) < valueHeader {
		return nil, 0, corrupt(engineKey, errShortValue)
	}
	if binary.LittleEndian.Uint32(raw) != valueSum(engineKey, raw[4:]) {
		return nil, 0, corrupt(engineKey, errChecksum)
	}
	kind = raw[4]
	if kind < kindValue || kind > kindProvisionalTombstone {
		return nil, 0, corrupt(engineKey, errValueKind)
	}
	return raw[valueHeader:], kind, nil
}

// isProvisional reports, unverified, whether a stored value is that of a provisional version.
func isProvisional(raw []byte) bool { return len(raw) >= valueHeader && raw[4] >= kindProvisional }

func corrupt(engineKey []byte, cause error) error {
	key, ts, err := decodeVersionKey(engineKey)
	if err != nil {
		key = engineKey
	}
	return &CorruptError{Key: append([]byte(nil), key...), TS: ts, Cause: cause}
}
