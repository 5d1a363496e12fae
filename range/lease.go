package ranges

import (
	"sync"
	"sync/atomic"

	"github.com/meridian-db/meridian/truetime"
)

// leaseState is a leader's lease on its range: which term it leads, who followed it in that term, and
// what came of it. Until is computed when asked for, so an idle range costs nothing.
type leaseState struct {
	mu       sync.Mutex
	term     uint64 // the term led, zero when not leader
	started  bool   // Machine.LeaseAcquired is on its way
	ready    bool   // Machine.LeaseAcquired has returned
	frozen   bool   // given up for good in this term: a planned transfer
	held     bool   // given up until it is known what becomes of a freeze (merge.go)
	acks     map[NodeID]uint64
	incoming []NodeID
	outgoing []NodeID
	// published is the largest Until ever handed out in this term: what the next leader must wait for.
	published truetime.Timestamp
	// inherited is what the lease that was handed over to this leader reached at most.
	inherited truetime.Timestamp
	// last is the term led before, with the end of what was published in it.
	last struct {
		term  uint64
		until truetime.Timestamp
	}

	view atomic.Pointer[leaseView]
}

type leaseView struct {
	gen   uint64
	lease Lease
}

// Lease returns who may serve the range and, on the leader, until when: a caller may use timestamps below
// Until while clock.Now().Latest < Until.
func (r *Replica) Lease() Lease {
	if r.store.failed() {
		return Lease{Epoch: r.termNow.Load()}
	}
	gen := r.store.votes.gen.Load()
	if v := r.lease.view.Load(); v != nil && v.gen == gen {
		return v.lease
	}
	l := &r.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	v := &leaseView{gen: gen}
	if l.term == 0 {
		v.lease = Lease{Epoch: r.termNow.Load(), Holder: r.LeaderHint()}
	} else {
		v.lease = Lease{Epoch: l.term, Holder: r.store.cfg.NodeID}
		if l.ready && !l.frozen && !l.held && !r.store.leasesOver.Load() && (r.Desc().Frozen == nil || r.store.cfg.TestNoFreeze) {
			v.lease.Until = r.store.votes.leaseUntil(l.incoming, l.outgoing, l.acks)
			l.published = max(l.published, v.lease.Until)
		}
	}
	l.view.Store(v)
	return v.lease
}

// changed makes the next Lease compute anew. The caller holds l.mu.
func (l *leaseState) changed() { l.view.Store(nil) }

// leadTerm starts a term as leader.
func (r *Replica) leadTerm(term uint64) {
	l := &r.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	self := r.store.cfg.NodeID
	l.term, l.started, l.ready, l.frozen, l.held, l.published = term, false, false, false, false, 0
	l.inherited = 0
	r.replication.forget()
	l.acks = map[NodeID]uint64{self: r.store.votes.epochFor(self)}
	l.incoming, l.outgoing = r.Desc().voterNodes()
	l.changed()
}

// leadEnd ends it. It returns the term, whether the machine knows of the lease, and until when it may have
// been used.
func (r *Replica) leadEnd() (term uint64, started bool, until truetime.Timestamp) {
	l := &r.lease
	l.mu.Lock()
	defer l.mu.Unlock()
	term, started, until = l.term, l.started, l.published
	l.last.term, l.last.until = term, until
	l.term, l.started, l.ready, l.acks = 0, false, false, nil
	l.changed()
	return term, started, until
}

// reconfigure takes over the voters of a new descriptor.
func (l *leaseState) reconfigure(d *Descriptor) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.incoming, l.outgoing = d.voterNodes()
	l.changed()
}

// ack notes that a node followed this leader in term under an epoch.
func (l *leaseState) ack(node NodeID, term, epoch uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term != term || l.acks[node] >= epoch {
		return
	}
	l.acks[node] = epoch
	l.changed()
}

// voterNodes returns the nodes that vote, in the new and, if the configuration is joint, the old half.
func (d *Descriptor) voterNodes() (incoming, outgoing []NodeID) {
	joint := d.Joint()
	for _, x := range d.Replicas {
		switch x.Type {
		case Voter:
			incoming = append(incoming, x.Node)
			if joint {
				outgoing = append(outgoing, x.Node)
			}
		case VoterIncoming:
			incoming = append(incoming, x.Node)
		case VoterOutgoing:
			outgoing = append(outgoing, x.Node)
		}
	}
	return incoming, outgoing
}

// lookAtLease has the machine told of a lease once a quorum grants it and every entry of earlier terms has
// been applied. The caller holds r.mu.
func (r *Replica) lookAtLease() {
	l := &r.lease
	if r.mu.termStart == 0 || r.applied.Load() < r.mu.termStart {
		return
	}
	now := r.store.cfg.Clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == 0 || l.started {
		return
	}
	// Raft has been told, too: it refuses a change of replicas by a leader that it does not know to have applied what was
	// before its term.
	if r.mu.rn.BasicStatus().Applied < r.mu.termStart {
		return
	}
	until := r.store.votes.leaseUntil(l.incoming, l.outgoing, l.acks)
	if until <= now.Latest {
		return
	}
	l.started = true
	r.wantLease.Store(false)
	term := l.term
	var state []byte
	// Without the locks of an earlier lease of this replica, nothing is written below that lease's end:
	// their holders were told that they hold until then.
	floor := l.last.until
	if h := r.mu.handoff; h != nil && h.term >= r.mu.prevTerm && h.term < term {
		state, floor = h.state, h.floor
		l.inherited = now.Latest.Add(r.store.cfg.SupportWindow * 5 / 4) // the other's clock may run ahead
		if state == nil {
			state = []byte{}
		}
	}
	r.mu.handoff = nil
	r.queue.push(applyWork{r: r, fn: func() {
		if r.removed.Load() {
			return
		}
		r.machine.LeaseAcquired(Lease{Epoch: term, Holder: r.store.cfg.NodeID, Until: until}, state)
		r.seq.Lock()
		r.seq.floor = max(r.seq.floor, floor, r.ClosedTimestamp())
		r.seq.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.term == term {
			l.ready = true
			r.load.forget()
			l.changed()
			r.store.metrics.leases.Inc()
			r.store.leaseAcquired(r)
		}
	}})
}
