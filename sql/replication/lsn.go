package replication

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/truetime"
)

// LSN is a position in the stream of transactions: everything committed below that timestamp.
type LSN uint64

// CommitLSN is the LSN of the transaction committed at ts, EndLSN the position right behind it.
func CommitLSN(ts truetime.Timestamp) LSN { return LSN(ts) }
func EndLSN(ts truetime.Timestamp) LSN    { return LSN(ts) + 1 }

// Through returns the newest timestamp that the position holds, zero for the beginning.
func (l LSN) Through() truetime.Timestamp {
	if l == 0 || l > LSN(truetime.MaxTimestamp) {
		return 0
	}
	return truetime.Timestamp(l - 1)
}

// String prints PostgreSQL's form, two halves in hexadecimal.
func (l LSN) String() string { return fmt.Sprintf("%X/%X", uint64(l)>>32, uint32(l)) }

// ParseLSN reads String's form.
func ParseLSN(s string) (LSN, bool) {
	hi, lo, ok := strings.Cut(s, "/")
	if !ok || len(hi) == 0 || len(hi) > 8 || len(lo) == 0 || len(lo) > 8 {
		return 0, false
	}
	h, err := strconv.ParseUint(hi, 16, 32)
	if err != nil {
		return 0, false
	}
	l, err := strconv.ParseUint(lo, 16, 32)
	if err != nil {
		return 0, false
	}
	return LSN(h<<32 | l), true
}
