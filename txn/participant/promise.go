package participant

import (
	"sync/atomic"

	"github.com/meridian-db/meridian/truetime"
)

// A prepared transaction's writes are on record, and any later leader locks them again. What else it has locked here,
// above all what it has read, is locked in this leader's memory only. The answer to its PREPARE therefore names the end
// of the lease (valid_until): the transaction commits below that or not at all, and what a later leader lets others
// write lies above it. A leader that takes the lease over early takes over the locks; should that one be lost, nobody is
// elected before the promise ends (package ranges, follow.past).

// promised is until when it is certain that the locks of a prepared transaction which are not on record are held; zero:
// all are on record. It only grows.
type promised struct{ until atomic.Int64 }

func (p *promised) get() truetime.Timestamp { return truetime.Timestamp(p.until.Load()) }

// promise notes that the locks of p's transaction are certain until the end of the lease, and returns that.
func (m *Machine) promise(l *leadership, p *part) (truetime.Timestamp, error) {
	lease := m.rep.Lease()
	if m.lead.Load() != l || lease.Epoch != l.lease.Epoch || m.now() >= lease.Until {
		return 0, m.notLeader()
	}
	for {
		was := p.promised.get()
		if was >= lease.Until {
			return was, nil
		}
		if p.promised.until.CompareAndSwap(int64(was), int64(lease.Until)) {
			return lease.Until, nil
		}
	}
}

// renew prolongs a promise, if that can be, and returns what it is now; zero if there was none.
func (m *Machine) renew(l *leadership, p *part) truetime.Timestamp {
	was := p.promised.get()
	if was == 0 {
		return 0
	}
	if until, err := m.promise(l, p); err == nil {
		return until
	}
	return was
}
