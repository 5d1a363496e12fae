package types

import (
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

const oidPgSnapshot OID = 5038

// TxnSnapshot is a value of type pg_snapshot: transactions below XMin are visible, those at or above XMax are not, and
// those in XIP, which are in between, are not either.
type TxnSnapshot struct {
	XMin, XMax uint64
	XIP        []uint64
}

// ParseTxnSnapshot reads the text form, as in "10:20:10,14,15".
func ParseTxnSnapshot(text string) (TxnSnapshot, error) {
	var s TxnSnapshot
	bad := func() (TxnSnapshot, error) {
		return s, pgerr.New(pgerr.InvalidTextRepresentation, "invalid input syntax for type pg_snapshot: %q", text)
	}
	number := func(part string) (uint64, bool) {
		n, err := strconv.ParseUint(part, 10, 64)
		return n, err == nil && n > 0
	}
	parts := strings.SplitN(text, ":", 3)
	if len(parts) != 3 {
		return bad()
	}
	var ok1, ok2 bool
	s.XMin, ok1 = number(parts[0])
	s.XMax, ok2 = number(parts[1])
	if !ok1 || !ok2 || s.XMin > s.XMax {
		return bad()
	}
	last := uint64(0)
	for part := range strings.SplitSeq(parts[2], ",") {
		if parts[2] == "" {
			break
		}
		n, ok := number(part)
		if !ok || n < s.XMin || n >= s.XMax || n < last {
			return bad()
		}
		if n != last {
			s.XIP = append(s.XIP, n)
		}
		last = n
	}
	return s, nil
}

// String writes the text form.
func (s TxnSnapshot) String() string {
	var list []string
	for _, n := range s.XIP {
		list = append(list, strconv.FormatUint(n, 10))
	}
	return strconv.FormatUint(s.XMin, 10) + ":" + strconv.FormatUint(s.XMax, 10) + ":" + strings.Join(list, ",")
}

// Visible reports whether what a transaction wrote can be seen.
func (s TxnSnapshot) Visible(xid uint64) bool {
	switch {
	case xid < s.XMin:
		return true
	case xid >= s.XMax:
		return false
	}
	for _, n := range s.XIP {
		if n == xid {
			return false
		}
	}
	return true
}
