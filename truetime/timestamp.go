package truetime

import (
	"context"
	"math"
	"strconv"
	"time"
)

// Timestamp is a point in true time: nanoseconds since the Unix epoch, UTC. Commit timestamps, read
// timestamps, lease ends and safe time are all Timestamps. The zero Timestamp is before every event.
type Timestamp int64

// MaxTimestamp is later than every timestamp the system assigns.
const MaxTimestamp Timestamp = math.MaxInt64

// FromTime converts a wall-clock reading, exactly.
func FromTime(t time.Time) Timestamp { return Timestamp(t.UnixNano()) }

// Time converts t to a time.Time in UTC.
func (t Timestamp) Time() time.Time { return time.Unix(0, int64(t)).UTC() }

// Add returns t+d, saturating at MaxTimestamp.
func (t Timestamp) Add(d time.Duration) Timestamp {
	if s := t + Timestamp(d); d < 0 || s >= t {
		return s
	}
	return MaxTimestamp
}

// Sub returns the duration t-u.
func (t Timestamp) Sub(u Timestamp) time.Duration { return time.Duration(t - u) }

// Next returns the smallest timestamp after t.
func (t Timestamp) Next() Timestamp { return t + 1 }

// Prev returns the largest timestamp before t.
func (t Timestamp) Prev() Timestamp { return t - 1 }

// String prints seconds and nanoseconds, as in "1790000000.000000042".
func (t Timestamp) String() string {
	s, ns := int64(t)/1e9, int64(t)%1e9
	if ns < 0 {
		s, ns = s-1, ns+1e9
	}
	frac := strconv.FormatInt(ns, 10)
	return strconv.FormatInt(s, 10) + "." + "000000000"[len(frac):] + frac
}

// Interval is what a TrueTime clock answers: true time lay in [Earliest, Latest] at some moment during
// the call (I1; Corbett et al., OSDI 2012, §3).
type Interval struct {
	Earliest, Latest Timestamp
}

// After reports whether t has definitely passed.
func (i Interval) After(t Timestamp) bool { return i.Earliest > t }

// Before reports whether t has definitely not arrived.
func (i Interval) Before(t Timestamp) bool { return i.Latest < t }

// Bound returns the uncertainty ε, half the width of the interval.
func (i Interval) Bound() time.Duration { return i.Latest.Sub(i.Earliest) / 2 }

// Overlaps reports whether the two intervals share a point.
func (i Interval) Overlaps(o Interval) bool { return i.Earliest <= o.Latest && o.Earliest <= i.Latest }

// Clock is a TrueTime clock. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns an interval that contains true time (I1). On an unsynchronised clock the interval is
	// wide and Health reports why; it is never wrong.
	Now() Interval
	// WaitAfter returns nil once Now().After(ts), or ctx's error. It is commit wait's only primitive.
	WaitAfter(ctx context.Context, ts Timestamp) error
	// Health returns nil while the clock is good enough to serve from, else an error that says why the
	// node must fence itself (no majority of sources, bound over the ceiling, contradicted by peers).
	Health() error
}
