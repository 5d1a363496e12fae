package participant

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// TestSeenCommits: whatever has been added is never called fresh again, over any number of generations; and what is
// new enough is.
func TestSeenCommits(t *testing.T) {
	now := truetime.FromTime(time.Unix(1000, 0))
	s := seenCommits{since: now}
	id := func(i int, at truetime.Timestamp) (c CommitID) {
		binary.BigEndian.PutUint64(c[:], uint64(at))
		binary.BigEndian.PutUint64(c[8:], uint64(i))
		return c
	}
	clock := func() truetime.Timestamp { return now }
	if s.add(id(0, now), clock) {
		t.Fatal("an attempt as old as the lease is fresh")
	}
	now = now.Add(time.Minute)
	type added struct {
		i  int
		at truetime.Timestamp
	}
	var all []added
	fresh := 0
	for i := 1; i < 5*seenGeneration; i++ {
		now = now.Add(time.Millisecond)
		if s.add(id(i, now), clock) {
			fresh++
		}
		all = append(all, added{i, now})
		if i%997 == 0 {
			for _, a := range []added{all[0], all[len(all)/2], all[len(all)-1]} {
				if s.add(id(a.i, a.at), clock) {
					t.Fatalf("attempt %d is fresh again after %d", a.i, i)
				}
			}
		}
	}
	if fresh < 4*seenGeneration {
		t.Errorf("only %d of %d are fresh", fresh, 5*seenGeneration)
	}
}
