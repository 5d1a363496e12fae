package ranges

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// A commit is answered when its entry has been replicated and its timestamp has passed. Where replicas are far apart the
// first takes longer: with the timestamp that was the latest possible moment of the proposal, commit wait would be over long
// before, and until the entry has been replicated every follower's safe time is stuck below it. So timed proposals get
// timestamps that have passed when replication ends, and not before (soonest). It costs those who commit nothing, and
// followers, who learn of the entry one way of the network later, lag behind by that way alone.
//
// Nothing but waiting depends on how long that is, which is only estimated: from below, as too late a timestamp is waited
// for and too early a one only makes followers older.

// replicationRuns is the number of proposals of which one is expected to have met no delay. An estimate lives for one to
// two times as many.
const replicationRuns = 16

// replicationTime estimates, on a leader, how long proposals take to be applied there.
type replicationTime struct {
	least atomic.Int64 // of the lately observed; zero when not known
	trip  atomic.Int64 // the round trip to a quorum, as measured by pings

	mu        sync.Mutex
	n         int // in this run
	run, last time.Duration
}

func (t *replicationTime) observe(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == 0 || d < t.run {
		t.run = d
	}
	if t.n++; t.n == replicationRuns {
		t.n, t.last = 0, t.run
	}
	t.least.Store(int64(min(t.last, t.run)))
}

// forget begins anew, as a new leader does: what it has observed once may have been with other replicas.
func (t *replicationTime) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.n, t.last = 0, 0
	t.least.Store(0)
}

// soonest returns the least timestamp that a timed proposal gets at now, as far as time has its say.
func (r *Replica) soonest(now truetime.Interval) truetime.Timestamp {
	t := &r.replication
	// Replication that took longer than the network met something that may be over: a disk, a processor.
	takes := time.Duration(min(t.least.Load(), t.trip.Load()))
	ahead := min(takes-time.Duration(now.Latest-now.Earliest), MaxLead)
	// The lease is left room, as closeAhead does.
	return max(now.Latest, min(now.Latest.Add(ahead), r.Lease().Until.Add(-aheadMargin)))
}

// measureTrip has soonest know how far away a quorum is.
func (r *Replica) measureTrip() {
	quorum, _ := r.roundTrips()
	r.replication.trip.Store(int64(quorum))
}
