package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// Op is one transaction of a history: it read whole lists and appended one value, unique in the history, to some of
// them, it read registers and wrote such values to others without reading them, and it scanned marks and put some.
type Op struct {
	Client     int
	Begin, End time.Time // true time, before the first request and after the last answer
	Commit     time.Time // true time at which the commit was requested
	ReadOnly   bool
	Stale      bool               // reads the past, by its own wish
	TS         truetime.Timestamp // commit timestamp, or read timestamp of a read-only transaction
	Unknown    bool               // the answer was lost: it may have committed
	Reads      map[string][]int
	Appends    map[string]int
	Seen       map[string]int // registers read: their values, 0 for one never written
	Writes     map[string]int // registers written, and marks put
	Scans      []Scan         // of marks
}

// String says who did it and when.
func (o Op) String() string {
	kind := "a commit"
	switch {
	case o.Stale:
		kind = "a stale read"
	case o.ReadOnly:
		kind = "a read"
	}
	return fmt.Sprintf("%s of client %d at %s, begun at %s, answered at %s,", kind, o.Client, o.TS, truetime.FromTime(o.Begin), truetime.FromTime(o.End))
}

// usesOf lists the transactions around a time that have read a list or appended to it, a line each.
func usesOf(key string, ops []Op, at time.Time) string {
	var b strings.Builder
	for _, o := range ops {
		read, looked := o.Reads[key]
		v, appended := o.Appends[key]
		if !looked && !appended || o.End.Sub(at).Abs() > 3*time.Second {
			continue
		}
		const clock = "04:05.000000"
		fmt.Fprintf(&b, "\n  client %d, %s to %s, commit asked for at %s, read %v", o.Client, o.Begin.Format(clock), o.End.Format(clock), o.Commit.Format(clock), tail(read))
		switch {
		case !appended:
		case o.Unknown:
			fmt.Fprintf(&b, ", appended %d, outcome unknown", v)
		default:
			fmt.Fprintf(&b, ", appended %d at %s, with %d lists read and %d appended to", v, o.TS, len(o.Reads), len(o.Appends))
		}
	}
	return b.String()
}

// Check holds a history against strict serializability with external consistency. final is every list as read
// after the history had ended. It returns the violations found, at most a dozen.
//
// Timestamps make this linear: the order of commit timestamps must explain every read (serializability), must
// agree with real time between transactions that do not overlap (external consistency), and each must lie between
// the commit request and its answer (I6). Appends whose outcome is unknown may stand anywhere.
func Check(ops []Op, final map[string][]int) []error {
	var errs []error
	fail := func(format string, args ...any) {
		if len(errs) < 12 {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	committed := map[int]truetime.Timestamp{} // value -> timestamp
	appended := map[int]bool{}
	place := map[int]int{} // value -> index in its final list
	for _, list := range final {
		for i, v := range list {
			if _, twice := place[v]; twice {
				fail("value %d stands twice in the final lists: applied twice", v)
			}
			place[v] = i
		}
	}
	for _, o := range ops {
		for _, v := range o.Appends {
			appended[v] = true
		}
		if o.Unknown {
			continue
		}
		for key, v := range o.Appends {
			if _, ok := place[v]; !ok {
				fail("value %d was acknowledged by client %d at %s and is lost from %x, which ends in %v%s", v, o.Client, o.TS, key,
					tail(final[key]), usesOf(key, ops, o.End))
			}
			committed[v] = o.TS
		}
		if o.ReadOnly {
			continue
		}
		if lo := truetime.FromTime(o.Commit); o.TS < lo {
			fail("commit timestamp %s lies before the commit request at %s (I6)", o.TS, lo)
		}
		if hi := truetime.FromTime(o.End); o.TS > hi {
			fail("commit timestamp %s was answered before it had passed, at %s (I6, I7)", o.TS, hi)
		}
	}
	for key, list := range final {
		for _, v := range list {
			if !appended[v] {
				fail("value %d is in %s, and its transaction was reported as aborted", v, key)
			}
		}
		last := truetime.Timestamp(0)
		for _, v := range list {
			if ts, ok := committed[v]; ok {
				if ts < last {
					fail("list %s holds value %d of %s after one of %s", key, v, ts, last)
				}
				last = ts
			}
		}
	}
	for _, o := range ops {
		if o.Unknown {
			continue
		}
		for key, got := range o.Reads {
			want := final[key]
			if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
				fail("client %d at %s read %v of %s, which is no prefix of the final list", o.Client, o.TS, tail(got), key)
				continue
			}
			for i, v := range want {
				ts, ok := committed[v]
				if !ok {
					continue
				}
				visible := ts < o.TS || o.ReadOnly && ts == o.TS
				if own, mine := o.Appends[key]; mine && own == v {
					visible = false
				}
				if i < len(got) && !visible {
					fail("%s saw value %d of %s in %x: too new", o, v, ts, key)
				}
				if i >= len(got) && visible {
					fail("%s did not see value %d of %s in %x, but %v", o, v, ts, key, tail(got))
				}
			}
		}
	}
	errs = append(errs, checkRegisters(registersOf(ops), cap12(errs))...)
	return append(errs, checkRealTime(ops, cap12(errs))...)
}

func cap12(errs []error) int { return max(0, 12-len(errs)) }

func tail(list []int) []int { return list[max(0, len(list)-8):] }

// checkRealTime reports pairs of which the first had been answered before the second began, yet has the later
// timestamp. Sorted by begin, it is enough to compare with the greatest timestamp answered so far.
func checkRealTime(ops []Op, limit int) []error {
	var errs []error
	var done []Op
	for _, o := range ops {
		if !o.Unknown {
			done = append(done, o)
		}
	}
	byEnd := slices.Clone(done)
	slices.SortFunc(byEnd, func(a, b Op) int { return cmp.Or(a.End.Compare(b.End), cmp.Compare(a.TS, b.TS)) })
	slices.SortFunc(done, func(a, b Op) int { return a.Begin.Compare(b.Begin) })
	var latest Op
	i := 0
	for _, o := range done {
		for ; i < len(byEnd) && byEnd[i].End.Before(o.Begin); i++ {
			// A read-only transaction binds later ones only through what it saw, which the reads check.
			if !byEnd[i].ReadOnly && byEnd[i].TS > latest.TS {
				latest = byEnd[i]
			}
		}
		if len(errs) < limit && o.TS < latest.TS && !o.Stale {
			errs = append(errs, fmt.Errorf("client %d began at %s, after client %d was answered at %s, but got timestamp %s < %s",
				o.Client, truetime.FromTime(o.Begin), latest.Client, truetime.FromTime(latest.End), o.TS, latest.TS))
		}
	}
	return errs
}
