package sql

import (
	"testing"
	"time"
)

// A backfill rests for as long as the load on this node, or what the chunk took longer than the fastest one, tells.
func TestPacer(t *testing.T) {
	var p pacer
	ms := time.Millisecond
	for i, tc := range []struct {
		d    time.Duration
		busy bool
		want time.Duration
	}{
		{20 * ms, false, 0},        // the first is the fastest
		{10 * ms, false, 0},        // a faster one
		{10 * ms, true, 20 * ms},   // clients of this node: a third of the time
		{30 * ms, false, 40 * ms},  // load elsewhere
		{900 * ms, true, 500 * ms}, // bounded
	} {
		if got := p.rest(tc.d, tc.busy); got != tc.want {
			t.Errorf("step %d: rest %s after %s, want %s", i, got, tc.d, tc.want)
		}
	}
}
