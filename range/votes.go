package ranges

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// votes is the node's half of the lease protocol (I4). It holds memory only; the store does the I/O.
//
//	B asks A:    support me until T           (T = B.now.latest + window, every SupportInterval)
//	A persists   ceiling >= T                 (rarely: the ceiling runs ahead)
//	A answers    epoch e, until T             a promise: "in no range in which I follow you under e will
//	                                          I help to elect another leader before TT.after(T)"
//	A follows B  in (range, term), and says so on its Raft answers with the epoch e it has then
//	B counts     A's T for (range, term) only if A followed it under the epoch of A's latest promise
//
// Lease(range, term).Until is the largest T that a quorum grants, B itself always included.
//
// When A helps to elect C although it followed B in an earlier term of that range, it first sees
// TT.after(T), then raises the epoch: B's later promises are under e+1, under which A has not followed it in
// that term and never will. So a T that B counts was promised before A's vote, had passed in true time
// when A voted, and C, which had A's vote, has a later clock: the leases do not overlap.
//
// Epochs are (boot, counter). A restart forgets whom A followed where, so it starts new epochs, and votes
// nowhere before TT.after(the largest ceiling it had persisted): the barrier. A store that is closed in
// order tells when the last of its leases ends, before it is gone and again in its next life; supporters then need
// not wait for more.
type votes struct {
	self   NodeID
	boot   uint64
	window time.Duration
	ignore bool // test switch: votes whatever was promised

	// gen grows whenever a promise made to this node changes; leases computed before are stale.
	gen atomic.Uint64

	mu      sync.Mutex
	barrier truetime.Timestamp // the largest of barriers
	// barriers are what earlier lives of this node may have promised to each peer, and to itself.
	barriers map[NodeID]truetime.Timestamp
	retired  bool // no more promises: the store closes
	given    map[NodeID]*promise
	got      map[NodeID]granted
}

// promise is what this node has promised a peer.
type promise struct {
	epoch    uint64
	until    truetime.Timestamp // under epoch
	oldUntil truetime.Timestamp // the largest of earlier epochs
	peerBoot uint64             // which life of the peer epoch was given to
	ceiling  truetime.Timestamp // persisted; until <= ceiling
}

// granted is what a peer has promised this node.
type granted struct {
	epoch uint64
	until truetime.Timestamp
}

func newVotes(self NodeID, boot uint64, window time.Duration) *votes {
	return &votes{self: self, boot: boot, window: window, barriers: make(map[NodeID]truetime.Timestamp),
		given: make(map[NodeID]*promise), got: make(map[NodeID]granted)}
}

// follow is whom a replica follows: the leader whose lease its votes must respect. The zero follow
// respects nobody. It belongs to the holder of Replica.mu.
type follow struct {
	leader NodeID
	term   uint64
	epoch  uint64
	// released: the leader has given up the lease of that term, which ends at until at the latest.
	released bool
	until    truetime.Timestamp
	// past is when the last promise ends that leaders before this one had here. The votes of a planned transfer do not
	// wait for it, as its target takes over what was promised under that lease, and then nobody else knows of it: whoever
	// comes after the target, should that be lost, waits for both.
	past truetime.Timestamp
}

// followed returns the follow of one that turns from f to another leader, or to another term.
func (v *votes) followed(f, next follow) follow {
	if next.past = f.past; next.leader != f.leader {
		v.mu.Lock()
		next.past = v.binds(f)
		v.mu.Unlock()
	}
	return next
}

func (v *votes) promiseTo(peer NodeID) *promise {
	p := v.given[peer]
	if p == nil {
		p = &promise{epoch: v.boot<<32 | 1}
		v.given[peer] = p
	}
	return p
}

// bound caps what a peer asks for, so that a wild clock cannot tie this node for long.
func (v *votes) bound(want truetime.Timestamp, now truetime.Interval) truetime.Timestamp {
	return min(want, now.Latest.Add(2*v.window))
}

// bar notes what an earlier life may have promised a peer.
func (v *votes) bar(peer NodeID, ceiling truetime.Timestamp) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.barriers[peer] = max(v.barriers[peer], ceiling)
	v.barrier = max(v.barrier, ceiling)
}

// ownBarrier returns until when leases of earlier lives of this node may last.
func (v *votes) ownBarrier() truetime.Timestamp {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.barriers[v.self]
}

// ended takes a peer's word that all leases of its earlier lives end at ts at the latest.
func (v *votes) ended(peer NodeID, peerBoot uint64, ts truetime.Timestamp) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if ts == 0 {
		return
	}
	if b, ok := v.barriers[peer]; ok && ts < b {
		v.barriers[peer] = ts
		v.barrier = 0
		for _, b := range v.barriers {
			v.barrier = max(v.barrier, b)
		}
	}
	if p := v.given[peer]; p != nil && p.peerBoot != 0 && p.peerBoot < peerBoot {
		p.raise()
		p.oldUntil = min(p.oldUntil, ts)
		p.peerBoot = peerBoot
	}
}

// retire ends promising, and returns what has been promised to whom.
func (v *votes) retire() map[NodeID]truetime.Timestamp {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.retired = true
	out := maps.Clone(v.barriers)
	for n, p := range v.given {
		out[n] = max(out[n], p.until, p.oldUntil)
	}
	return out
}

// needCeiling returns the ceiling that must be persisted before grant may be called with these
// arguments, or 0 when the persisted one is high enough.
func (v *votes) needCeiling(peer NodeID, want truetime.Timestamp, now truetime.Interval) truetime.Timestamp {
	v.mu.Lock()
	defer v.mu.Unlock()
	until := v.bound(want, now)
	if p := v.promiseTo(peer); until > p.ceiling {
		return max(until.Add(v.window/2), v.barrier) // never lower what an earlier life wrote
	}
	return 0
}

// ceilings returns, beside ceiling, which has to be persisted for peer, those of all others that have a promise now: they
// will need one soon, and one write serves all. The caller persists them and then calls raiseCeilings.
func (v *votes) ceilings(peer NodeID, ceiling truetime.Timestamp, now truetime.Interval) map[NodeID]truetime.Timestamp {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := map[NodeID]truetime.Timestamp{peer: ceiling}
	for n, p := range v.given {
		if n != peer && p.until > now.Latest {
			out[n] = max(ceiling, p.ceiling)
		}
	}
	return out
}

// raiseCeilings notes what has been persisted.
func (v *votes) raiseCeilings(cs map[NodeID]truetime.Timestamp) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for n, c := range cs {
		p := v.promiseTo(n)
		p.ceiling = max(p.ceiling, c)
	}
}

// grant promises support to one life (boot) of a peer. ceiling is what has been persisted.
func (v *votes) grant(peer NodeID, peerBoot uint64, want, ceiling truetime.Timestamp, now truetime.Interval) granted {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.promiseTo(peer)
	if v.retired {
		return granted{epoch: p.epoch}
	}
	p.ceiling = max(p.ceiling, ceiling)
	if p.peerBoot != peerBoot {
		if p.peerBoot != 0 {
			// The old life led under the old epoch; support of the new one must not prolong that.
			p.raise()
		}
		p.peerBoot = peerBoot
	}
	if until := min(v.bound(want, now), p.ceiling); until > p.until {
		p.until = until
	}
	return granted{epoch: p.epoch, until: p.until}
}

// raise starts a new epoch, under which nothing has been promised.
func (p *promise) raise() {
	p.oldUntil = max(p.oldUntil, p.until)
	p.epoch++
	p.until = 0
}

// epochFor returns the epoch under which this node now follows a leader on a peer.
func (v *votes) epochFor(leader NodeID) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.promiseTo(leader).epoch
}

// lapsed reports whether a promise to leader has run out: its ranges may have lost their leader.
func (v *votes) lapsed(f follow, now truetime.Interval) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.free(f, now)
}

// free reports whether f binds this node no longer.
func (v *votes) free(f follow, now truetime.Interval) bool {
	return now.After(v.barrier) && now.After(v.binds(f))
}

// binds returns until when f binds this node, not counting the barrier.
func (v *votes) binds(f follow) truetime.Timestamp {
	switch {
	case f.leader == 0:
		return f.past
	case f.released:
		return max(f.past, f.until)
	}
	p := v.promiseTo(f.leader)
	if p.epoch == f.epoch {
		return max(f.past, p.until)
	}
	return max(f.past, p.oldUntil)
}

// mayVote decides whether a replica that follows f may help to elect candidate's node. A real vote (not a
// pre-vote) raises the epoch, so that the leader it turns away from cannot count this node again.
func (v *votes) mayVote(f follow, candidate NodeID, real bool, now truetime.Interval) bool {
	if v.ignore {
		return true
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !now.After(v.barrier) {
		return false
	}
	if f.leader == candidate && candidate != 0 {
		// The leader itself, which keeps to what it promised under its earlier terms by itself. What it had taken over
		// from another it may have lost.
		return now.After(f.past)
	}
	if !v.free(f, now) {
		return false
	}
	if real && f.leader != 0 && !f.released {
		if p := v.promiseTo(f.leader); p.epoch == f.epoch {
			p.raise()
		}
	}
	return true
}

// record takes a promise that a peer (or this node, to itself) has made. It reports whether the peer has
// started a new epoch, so that leaders here must ask their followers on it to follow them anew.
func (v *votes) record(peer NodeID, g granted) (newEpoch, changed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.got[peer]
	switch {
	case g.epoch < old.epoch:
		return false, false
	case g.epoch == old.epoch && g.until <= old.until:
		return false, false
	}
	v.got[peer] = g
	v.gen.Add(1)
	return g.epoch != old.epoch, true
}

// until returns until when a peer supports this node, for a range in which it followed under epoch.
func (v *votes) until(peer NodeID, epoch uint64) truetime.Timestamp {
	if g, ok := v.got[peer]; ok && epoch != 0 && g.epoch == epoch {
		return g.until
	}
	return 0
}

// leaseUntil returns the largest T that a quorum of the voters grants, in each of the two configurations
// of a joint one, and this node too. acks holds the epochs under which nodes followed this leader.
func (v *votes) leaseUntil(incoming, outgoing []NodeID, acks map[NodeID]uint64) truetime.Timestamp {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ignore {
		return v.got[v.self].until
	}
	t := min(v.until(v.self, acks[v.self]), v.quorumUntil(incoming, acks))
	if len(outgoing) > 0 {
		t = min(t, v.quorumUntil(outgoing, acks))
	}
	return t
}

func (v *votes) quorumUntil(voters []NodeID, acks map[NodeID]uint64) truetime.Timestamp {
	if len(voters) == 0 {
		return 0
	}
	var buf [8]truetime.Timestamp
	ts := buf[:0]
	for _, n := range voters {
		ts = append(ts, v.until(n, acks[n]))
	}
	slices.SortFunc(ts, func(a, b truetime.Timestamp) int { return cmp.Compare(b, a) })
	return ts[len(ts)/2] // of n sorted downwards, n/2+1 reach this far
}

// supports reports whether the latest promise of a peer reaches past now.
func (v *votes) supports(peer NodeID, now truetime.Interval) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.got[peer].until > now.Latest
}

// lapsedPeers returns the nodes whose support has run out.
func (v *votes) lapsedPeers(now truetime.Interval) map[NodeID]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out map[NodeID]bool
	for n, p := range v.given {
		if n != v.self && now.After(p.until) {
			if out == nil {
				out = make(map[NodeID]bool)
			}
			out[n] = true
		}
	}
	return out
}

// lifeChanged reports whether a peer has been restarted since it was last promised anything.
func (v *votes) lifeChanged(peer NodeID, boot uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.given[peer]
	return p != nil && p.peerBoot != 0 && p.peerBoot != boot
}

// life returns which life of a peer was last promised anything, zero when none was.
func (v *votes) life(peer NodeID) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	if p := v.given[peer]; p != nil {
		return p.peerBoot
	}
	return 0
}

// supportsUnder reports whether a peer's support, under an epoch, reaches past now.
func (v *votes) supportsUnder(peer NodeID, epoch uint64, now truetime.Interval) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.until(peer, epoch) > now.Latest
}
