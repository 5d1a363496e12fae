package participant

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/locktable"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// A prepared transaction's writes are on record, and any later leader locks them again. What else it has locked here,
// above all what it has read, is locked in this leader's memory only. The answer to its PREPARE therefore names the end
// of the lease (valid_until): the transaction commits below that or not at all, and what a later leader lets others
// write lies above it. That is a promise. It binds the node only together with the votes that the lease rests on, so a
// lease is not handed over while one is outstanding: the successor's may end sooner, and the leader after that one would
// know neither the locks nor until when they were promised.

// promise notes that the locks of transaction id are certain until the end of the lease, and returns that.
func (m *Machine) promise(l *leadership, id TxnID, p *part) (truetime.Timestamp, error) {
	lease := m.rep.Lease()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case m.lead.Load() != l || lease.Epoch != l.lease.Epoch || m.now() >= lease.Until:
		return 0, m.notLeader()
	case l.blocked != gateOpen:
		return 0, &Error{Code: txnpb.ErrorCode_UNAVAILABLE, Msg: "the range is about to be handed over, split or merged"}
	}
	p.promised = max(p.promised, lease.Until)
	if l.promises == nil {
		l.promises = make(map[TxnID]*part)
	}
	l.promises[id] = p
	return p.promised, nil
}

// renew prolongs a promise, if that can be, and returns what it is now; zero if there was none.
func (m *Machine) renew(l *leadership, id TxnID, p *part) truetime.Timestamp {
	l.mu.Lock()
	promised := p.promised
	l.mu.Unlock()
	if promised == 0 {
		return 0
	}
	if until, err := m.promise(l, id, p); err == nil {
		return until
	}
	return promised
}

// breakPromise is called when the transaction has ended here, or was not prepared after all.
func (l *leadership) breakPromise(id TxnID) {
	l.mu.Lock()
	delete(l.promises, id)
	l.wakeLocked()
	l.mu.Unlock()
}

// promisedLocked reports whether a promise is outstanding. A clock that is not trusted does not tell that one has lapsed.
func (l *leadership) promisedLocked(clock truetime.Clock) bool {
	if len(l.promises) == 0 {
		return false
	}
	healthy := clock.Health() == nil
	for id, p := range l.promises {
		if !healthy || !clock.Now().After(p.promised) {
			return true
		}
		delete(l.promises, id)
	}
	return false
}

// reopen undoes a prepare that is certainly not in the log.
func (l *leadership) reopen(x *locktable.Txn) {
	l.table.Reopen(x)
	l.breakPromise(x.ID)
}

// handoffWait bounds how long BeginHandoff waits for promises to end, and holds up other transactions. They end with the
// decisions, after a round trip or two between regions; only those of a gateway that has gone last as long as the lease.
const handoffWait = time.Second

// BeginHandoff keeps the machine from promising anything and waits until nothing is promised any more. release, which
// is for a transfer that is given up before LeaseHandoff, is nil with an error.
func (m *Machine) BeginHandoff(ctx context.Context) (release func(), err error) {
	l, release, err := m.blockPrepares()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handoffWait)
	defer cancel()
	if err := l.waitIdle(ctx, func() bool { return !l.promisedLocked(m.srv.cfg.Clock) }); err != nil {
		release()
		return nil, err
	}
	return release, nil
}
