package ranges

import (
	"slices"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// Ranges whose policy is global close time ahead of now, so that every replica answers strong reads by itself.
//
// A strong read at true time u has a timestamp of at most u + w, where w is the width of the clock's interval. A
// replica answers it at once if it has closed that timestamp. What the leader closes at true time t takes effect at a
// replica when it has the news and has applied everything proposed before:
//
//	t + replication to a quorum + one way to the replica
//
// and the next closing follows within a period, or two when a write came between. So the leader closes
//
//	now.latest + replication + one way + commit news + 2 periods + w
//
// (lead). Proposals get timestamps above what is closed, that is, in the future, and commit wait holds their answers
// and locks back until those have passed: writers pay for the readers. Nothing depends on the estimate but waiting.
// With a lead too short a reader finds its timestamp not closed, and asks the leader; what was closed is closed
// whatever the clock says (I5), and a reader that meets a version whose timestamp may not have passed yet waits until
// it has (I7).

const (
	// aheadMargin is kept between what is closed and the lease's end: proposals need room.
	aheadMargin = 400 * time.Millisecond
	// MaxLead bounds how far ahead of now a leader assigns timestamps and closes time, and so what writers may have to wait.
	MaxLead = 800 * time.Millisecond
	// aheadSlack is for what is not measured: goroutines that run late, pings that were lucky.
	aheadSlack = 5 * time.Millisecond
)

// lead is how far ahead of now.latest the leader closes time. now gives the width of the interval.
func (r *Replica) lead(now truetime.Interval) time.Duration {
	cfg := &r.store.cfg
	replication, farthest := r.roundTrips()
	width := time.Duration(now.Latest - now.Earliest)
	return min(MaxLead, replication+farthest/2+cfg.CommitDelay+2*cfg.AheadInterval+width+aheadSlack)
}

// roundTrips returns those measured to the last voter that a quorum needs, and to the farthest replica.
func (r *Replica) roundTrips() (quorum, farthest time.Duration) {
	cfg := &r.store.cfg
	var voters []time.Duration
	for _, d := range r.Desc().Replicas {
		rtt := time.Duration(0)
		if d.Node != cfg.NodeID && cfg.RoundTrip != nil {
			rtt = cfg.RoundTrip(d.Node) // zero when it cannot be reached, and so reads nothing
		}
		farthest = max(farthest, rtt)
		if d.Type == Voter {
			voters = append(voters, rtt)
		}
	}
	if len(voters) > 0 {
		slices.Sort(voters) // the leader itself is the first
		quorum = voters[len(voters)/2]
	}
	return quorum, farthest
}

// closeAhead closes time ahead on the leader.
func (r *Replica) closeAhead(now truetime.Interval) (closedUpdate, error) {
	until := r.Lease().Until
	ts := min(now.Latest.Add(r.lead(now)), until.Add(-aheadMargin))
	return r.closeUpTo(0, max(ts, now.Earliest), now)
}

// findAhead notes which of the ranges here close time ahead, for publishAhead, which runs more often. It belongs to
// tickLoop, as publishAhead does.
func (s *Store) findAhead() {
	layout := s.layout.Load() + 1
	if s.aheadLayout == layout {
		return
	}
	s.aheadLayout = layout
	var list []*Replica
	for _, r := range s.replicaList() {
		global := r.Policy().Global
		r.global.Store(global)
		if global {
			list = append(list, r)
		}
	}
	s.ahead.Store(&list)
}

// publishAhead does for global ranges what publishClosed does for the others. It does not leave out ranges with
// entries under way: those carry a timestamp that was ahead when they were proposed. Ranges that are written to now and then
// go along.
func (s *Store) publishAhead() {
	now := s.cfg.Clock.Now()
	frames := closedFrames{s: s}
	for _, r := range *s.ahead.Load() {
		if !r.leading.Load() {
			continue
		}
		if u, err := r.closeAhead(now); err == nil {
			frames.add(r, u)
		}
	}
	s.addFresh(&frames, now)
	frames.send()
}

// closedFrames collects closed timestamps into one frame a node.
type closedFrames struct {
	s      *Store
	frames map[NodeID][]byte
}

// add tells the replicas of a range led here, this store's at once.
func (c *closedFrames) add(r *Replica, u closedUpdate) {
	if c.frames == nil {
		c.frames = make(map[NodeID][]byte)
	}
	if r.applied.Load() >= u.index {
		r.raiseClosed(u.closed)
	}
	for _, rd := range r.Desc().Replicas {
		if rd.Node == c.s.cfg.NodeID {
			continue
		}
		f := c.frames[rd.Node]
		if f == nil {
			f = []byte{frameClosed}
		}
		f = appendClosed(f, u)
		if len(f) > maxFrame {
			c.s.cfg.Transport.SendRaft(rd.Node, f)
			f = nil
		}
		c.frames[rd.Node] = f
	}
}

func (c *closedFrames) send() {
	for n, f := range c.frames {
		if f != nil {
			c.s.cfg.Transport.SendRaft(n, f)
		}
	}
}
