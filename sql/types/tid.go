package types

import (
	"encoding/binary"
	"math/big"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// A value of type tid is a number of 128 bits, of which the text form shows the low 16 as the offset and the others as the
// block. PostgreSQL's have 48 bits, which do not suffice to tell rows by their keys. It is held as a string of 17 bytes in
// the order of the numbers: zero, which no text begins with, and the number. Older builds stored the text form.

// TIDOf returns a tid.
func TIDOf(n [16]byte) Datum { return NewString("\x00" + string(n[:])) }

// TIDOfInt returns the tid of an integer, which is small for small integers that are not negative.
func TIDOfInt(v int64) Datum {
	var n [16]byte
	binary.BigEndian.PutUint64(n[8:], uint64(v))
	if v < 0 {
		n[0] = 1 << 7
	}
	return TIDOf(n)
}

// IntOfTID returns the integer of a tid, if it is one's.
func IntOfTID(d Datum) (int64, bool) {
	n := tidBytes(d.Str())
	v := int64(binary.BigEndian.Uint64(n[8:]))
	return v, TIDOfInt(v).Str() == "\x00"+string(n[:])
}

// tidBytes returns the number of a tid.
func tidBytes(s string) (n [16]byte) {
	if len(s) == 17 && s[0] == 0 {
		copy(n[:], s[1:])
	} else if b, ok := parseTIDNumber(s); ok {
		n = b
	}
	return n
}

func parseTIDNumber(text string) (n [16]byte, ok bool) {
	inner, ok1 := strings.CutPrefix(trimSpace(text), "(")
	inner, ok2 := strings.CutSuffix(inner, ")")
	block, offset, ok3 := strings.Cut(inner, ",")
	o, err := strconv.ParseUint(offset, 10, 16)
	if !ok1 || !ok2 || !ok3 || err != nil || len(block) > 40 {
		return n, false
	}
	if b, err := strconv.ParseInt(block, 10, 64); err == nil && b < 0 && int64(int32(b)) == b {
		block = strconv.FormatUint(uint64(uint32(b)), 10) // as in C
	}
	b, good := new(big.Int).SetString(block, 10)
	if !good || b.Sign() < 0 || b.BitLen() > 112 || block[0] == '+' {
		return n, false
	}
	b.FillBytes(n[:14])
	binary.BigEndian.PutUint16(n[14:], uint16(o))
	return n, true
}

// parseTID reads (block,offset).
func parseTID(text string, t *T) (Datum, error) {
	n, ok := parseTIDNumber(text)
	if !ok {
		return Null, badInput(t, text)
	}
	return TIDOf(n), nil
}

// tidText is the text form of a tid.
func tidText(s string) string {
	if len(s) != 17 || s[0] != 0 {
		return s
	}
	block := new(big.Int).SetBytes([]byte(s[1:15]))
	return "(" + block.String() + "," + strconv.Itoa(int(binary.BigEndian.Uint16([]byte(s[15:])))) + ")"
}

func parseTIDBinary(data []byte) Datum {
	var n [16]byte
	copy(n[10:], data)
	return TIDOf(n)
}

// appendTIDBinary appends the six bytes of PostgreSQL's form.
func appendTIDBinary(buf []byte, s string) ([]byte, error) {
	n := tidBytes(s)
	if [10]byte(n[:10]) != [10]byte{} {
		return buf, pgerr.Unsupported("%s has no binary form, which would be too short for its block: ask for text", tidText("\x00"+string(n[:])))
	}
	return append(buf, n[10:]...), nil
}
