package sim

import (
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// TestCheckRegisters: what the checker of registers lets pass, and what not.
func TestCheckRegisters(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(100, int64(ms)*1e6) }
	ts := func(ms int) truetime.Timestamp { return truetime.FromTime(at(ms)) }
	write := func(ms, v int) Op { return Op{TS: ts(ms), Commit: at(ms), Writes: map[string]int{"a": v}} }
	unknown := func(ms, v int) Op { return Op{Unknown: true, Commit: at(ms), Writes: map[string]int{"a": v}} }
	read := func(ms, v int) Op { return Op{ReadOnly: true, TS: ts(ms), Seen: map[string]int{"a": v}} }
	update := func(ms, seen int) Op { return Op{TS: ts(ms), Seen: map[string]int{"a": seen}} }
	for _, test := range []struct {
		name string
		ops  []Op
		bad  int
	}{
		{"never written", []Op{read(1, 0)}, 0},
		{"the last write", []Op{write(10, 1), write(20, 2), read(15, 1), read(30, 2)}, 0},
		{"a snapshot has what is written at its timestamp", []Op{write(10, 1), read(10, 1)}, 0},
		{"a writer reads what was there before", []Op{write(10, 1), write(20, 2), update(20, 1)}, 0},
		{"a lost write", []Op{write(10, 1), write(20, 2), read(30, 1)}, 1},
		{"too new", []Op{write(10, 1), write(20, 2), read(15, 2)}, 1},
		{"from nowhere", []Op{read(10, 7)}, 1},
		{"gone again", []Op{write(10, 1), read(20, 0)}, 1},
		{"two at once", []Op{write(10, 1), write(10, 2)}, 1},
		{"unknown and never seen", []Op{write(10, 1), unknown(15, 2), read(20, 1)}, 0},
		{"unknown and seen late", []Op{write(10, 1), unknown(15, 2), read(20, 1), read(30, 2), read(40, 2)}, 0},
		{"unknown, seen, overwritten", []Op{unknown(15, 2), read(20, 2), write(30, 3), read(40, 3)}, 0},
		{"unknown, seen and gone", []Op{write(10, 1), unknown(15, 2), read(20, 2), read(30, 1)}, 1},
		{"unknown, and back after another write", []Op{unknown(5, 2), read(6, 2), write(10, 1), read(20, 2)}, 1},
		{"unknown, seen before it was asked for", []Op{unknown(15, 2), read(10, 2)}, 1},
	} {
		if errs := checkRegisters(test.ops, 12); len(errs) != test.bad {
			t.Errorf("%s: %d violations, want %d: %v", test.name, len(errs), test.bad, errs)
		}
	}
}
