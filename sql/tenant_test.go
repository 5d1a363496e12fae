package sql

import (
	"testing"
	"time"
)

// TestTurn: a second's worth at once, then evenly, and nobody waits longer than maxPace.
func TestTurn(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	var tn tenant
	for i := range 10 {
		if wait, ok := tn.turn(now, 10); wait > 0 || !ok {
			t.Fatalf("statement %d waits %s, %t", i, wait, ok)
		}
	}
	passed := 0
	var last time.Duration
	for range 100 {
		wait, ok := tn.turn(now, 10)
		if ok {
			passed, last = passed+1, wait
		}
	}
	if passed != 10 || last != maxPace {
		t.Errorf("%d more passed, the last after %s; want 10, after %s", passed, last, maxPace)
	}
	// Over time it is the rate, whatever was refused.
	passed = 0
	for i := range 6000 {
		if _, ok := tn.turn(now.Add(time.Duration(i+1)*10*time.Millisecond), 10); ok {
			passed++
		}
	}
	if passed < 595 || passed > 605 {
		t.Errorf("%d statements in a minute at 10 a second", passed)
	}
}
