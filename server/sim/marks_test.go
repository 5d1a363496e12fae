package sim

import (
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// TestCheckMarks: what the checker lets pass of scans of marks, and what not.
func TestCheckMarks(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(100, int64(ms)*1e6) }
	ts := func(ms int) truetime.Timestamp { return truetime.FromTime(at(ms)) }
	group := markGroup(0, 0)
	key := func(v int) string { return string(markKey(group, v)) }
	put := func(ms, v int) Op { return Op{TS: ts(ms), Commit: at(ms), Writes: map[string]int{key(v): v}} }
	scan := func(ms int, readOnly bool, to string, found ...int) Op {
		s := Scan{From: string(group.Start), To: to, Found: map[string]int{}}
		for _, v := range found {
			s.Found[key(v)] = v
		}
		return Op{TS: ts(ms), ReadOnly: readOnly, Scans: []Scan{s}}
	}
	whole := string(group.End)
	lost := Op{Unknown: true, Commit: at(15), Writes: map[string]int{key(9): 9}}
	for _, test := range []struct {
		name string
		ops  []Op
		bad  int
	}{
		{"all that is there", []Op{put(10, 1), put(20, 2), scan(15, true, whole, 1), scan(30, false, whole, 1, 2)}, 0},
		{"a phantom", []Op{put(10, 1), put(20, 2), scan(30, false, whole, 1)}, 1},
		{"too new", []Op{put(20, 2), scan(10, true, whole, 2)}, 1},
		{"a scan that stopped before it", []Op{put(10, 1), scan(30, false, key(1))}, 0},
		{"a scan that stopped behind it", []Op{put(10, 1), scan(30, false, key(1)+"\x00")}, 1},
		{"rolled back to a savepoint, and found", []Op{put(10, 1), scan(30, true, whole, 1, 7)}, 1},
		{"unknown, and found late", []Op{lost, scan(20, true, whole), scan(30, true, whole, 9)}, 0},
		{"unknown, found and gone", []Op{lost, scan(20, true, whole, 9), scan(30, true, whole)}, 1},
	} {
		if errs := checkRegisters(registersOf(test.ops), 12); len(errs) != test.bad {
			t.Errorf("%s: %d violations, want %d: %v", test.name, len(errs), test.bad, errs)
		}
	}
}
