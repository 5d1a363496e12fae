package ranges

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/meridian-db/meridian/truetime"
)

// RangeStatus is one row of the meridian.ranges system view: a replica as its own store sees it.
type RangeStatus struct {
	Desc       *Descriptor
	Replica    ReplicaID
	Leader     NodeID
	IsLeader   bool
	Term       uint64
	LeaseUntil truetime.Timestamp // zero where not leader
	Applied    uint64
	Committed  uint64
	LastIndex  uint64
	Truncated  uint64 // the log starts after it
	LogBytes   int64
	SizeBytes  int64
	// Requests served by this replica, those of them that write, and bytes read and written, per second over about a minute.
	Requests, Writes, Bytes float64
	Closed                  truetime.Timestamp
	SafeTime                truetime.Timestamp
	Quiesced                bool
	Pending                 int   // proposals whose outcome is not known yet
	Failed                  error // why the replica is out of service, nil while it works
	// Behind, on the leader, are the nodes whose replicas could not take part in a quorum soon: they are not there
	// yet, wait for a snapshot, or lack much of the log. A node that is down is not among them before it lacks something.
	Behind []NodeID
}

// behindEntries is how many entries a replica may lack that is just being brought up to date.
const behindEntries = 64

// behind returns RangeStatus.Behind.
func (r *Replica) behind() (nodes []NodeID) {
	if !r.leading.Load() {
		return nil
	}
	d := r.Desc()
	committed := r.committed.Load()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.rn == nil || r.mu.role != raft.StateLeader {
		return nil
	}
	r.mu.rn.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id == uint64(r.replicaID) || pr.State == tracker.StateReplicate && pr.Match+behindEntries >= committed {
			return
		}
		if rd, ok := d.ByID(ReplicaID(id)); ok {
			nodes = append(nodes, rd.Node)
		}
	})
	return nodes
}

// Status describes all replicas of the store, in key order.
func (s *Store) Status() []RangeStatus {
	list := s.replicaList()
	out := make([]RangeStatus, len(list))
	for i, r := range list {
		out[i] = r.Status()
	}
	return out
}

// Status describes the replica.
func (r *Replica) Status() RangeStatus {
	var failed error
	if err := r.broken.Load(); err != nil {
		failed = *err
	}
	rate := r.load.rates()
	return RangeStatus{
		Requests: rate.requests, Writes: rate.writes, Bytes: rate.bytes,
		Failed: failed,
		Desc:   r.Desc(), Replica: r.replicaID, Leader: r.LeaderHint(), IsLeader: r.leading.Load(),
		Term: r.termNow.Load(), LeaseUntil: r.Lease().Until,
		Applied: r.applied.Load(), Committed: r.committed.Load(), LastIndex: r.pos.bound(),
		Truncated: r.truncated.Load(), LogBytes: r.logBytes.Load(), SizeBytes: r.size.Load(),
		Closed: r.ClosedTimestamp(), SafeTime: r.SafeTime(), Quiesced: r.quiesced.Load(), Pending: r.pend.len(),
		Behind: r.behind(),
	}
}
