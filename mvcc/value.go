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

// fillValue writes header and payload into dst, which has valueHeader+len(payload) bytes.
func fillValue(dst, engineKey []byte, kind byte, payload []byte) {
	dst[4] = kind
	copy(dst[valueHeader:], payload)
	binary.LittleEndian.PutUint32(dst, valueSum(engineKey, dst[4:]))
}

func valueSum(engineKey, kindAndPayload []byte) uint32 {
	return crc32.Update(crc32.Update(0, castagnoli, engineKey), castagnoli, kindAndPayload)
}

// openValue verifies a stored value. The payload aliases raw.
func openValue(engineKey, raw []byte) (payload []byte, tombstone bool, err error) {
	if len(raw) < valueHeader {
		return nil, false, corrupt(engineKey, errShortValue)
	}
	if binary.LittleEndian.Uint32(raw) != valueSum(engineKey, raw[4:]) {
		return nil, false, corrupt(engineKey, errChecksum)
	}
	switch raw[4] {
	case kindValue:
		return raw[valueHeader:], false, nil
	case kindTombstone:
		return nil, true, nil
	}
	return nil, false, corrupt(engineKey, errValueKind)
}

func corrupt(engineKey []byte, cause error) error {
	key, ts, err := decodeVersionKey(engineKey)
	if err != nil {
		key = engineKey
	}
	return &CorruptError{Key: append([]byte(nil), key...), TS: ts, Cause: cause}
}
