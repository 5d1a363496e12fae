package ranges

import "github.com/meridian-db/meridian/truetime"

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
	Closed     truetime.Timestamp
	SafeTime   truetime.Timestamp
	Quiesced   bool
	Pending    int   // proposals whose outcome is not known yet
	Failed     error // why the replica is out of service, nil while it works
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
	return RangeStatus{
		Failed: failed,
		Desc:   r.Desc(), Replica: r.replicaID, Leader: r.LeaderHint(), IsLeader: r.leading.Load(),
		Term: r.termNow.Load(), LeaseUntil: r.Lease().Until,
		Applied: r.applied.Load(), Committed: r.committed.Load(), LastIndex: r.pos.bound(),
		Truncated: r.truncated.Load(), LogBytes: r.logBytes.Load(), SizeBytes: r.size.Load(),
		Closed: r.ClosedTimestamp(), SafeTime: r.SafeTime(), Quiesced: r.quiesced.Load(), Pending: r.pend.len(),
	}
}
