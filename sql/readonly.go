package sql

import (
	"strings"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/txn/kv"
)

// A READ ONLY transaction may write to temporary tables, and draw from temporary sequences. In a session that has any it
// is therefore a read-write transaction below, which reads the snapshot of one timestamp and takes no locks for that: as
// nobody else sees what it writes, it is as serializable as one that only reads.

// keepsTemp reports whether the transaction is READ ONLY and may write to temporary tables nevertheless.
func (s *Session) keepsTemp() bool { return s.txn.readOnly && s.hasTemp && !s.stale() }

// beginOptions are the modes of the kv transaction to be begun.
func (s *Session) beginOptions() kv.TxnOptions {
	t := &s.txn
	opts := kv.TxnOptions{Isolation: t.iso, ReadOnly: t.readOnly || t.lone, Age: t.age}
	if t.temp = s.keepsTemp() && !t.lone; t.temp {
		opts.ReadOnly = false
		if opts.Isolation == kv.Serializable {
			opts.Isolation = kv.Snapshot
		}
	}
	return opts
}

// refusesWrite refuses a plan that writes where it may not.
func (s *Session) refusesWrite(p *plan.Plan) error {
	t := &s.txn
	if !t.readOnly || p.ReadOnly || p.Calls {
		return nil
	}
	if s.keepsTemp() && (t.kv == nil || t.temp) {
		if v, ok := t.catalog.(*catalogView); ok && writesTempOnly(v.env().Snapshot, p) {
			return nil
		}
	}
	return errReadOnly(p.Verb)
}

// writesTempOnly reports whether a plan writes to temporary tables and to no others.
func writesTempOnly(snap *catalog.Snapshot, p *plan.Plan) bool {
	writes := false
	for _, n := range p.Needs {
		if n.ID == 0 || !strings.ContainsRune("awdD", rune(n.Priv)) {
			continue
		}
		if t := snap.TableByID(n.ID); t == nil || t.Persistence != 't' {
			return false
		}
		writes = true
	}
	return writes
}
