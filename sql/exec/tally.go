package exec

import "github.com/meridian-db/meridian/sql/plan"

// Tally is told, once at the end of an execution, what it has read and written: it also hears of executions that fail.
type Tally interface {
	// Scanned tells of reads of a whole table.
	Scanned(t *plan.Table, scans, rows int64)
	// Searched tells of reads by an index: spans and keys looked up, entries found, rows fetched by them.
	Searched(t *plan.Table, ix *plan.Index, scans, entries, rows int64)
	Wrote(t *plan.Table, inserted, updated, deleted int64)
}

// readCounts count what a scan has read.
type readCounts struct{ scans, entries, rows int64 }

// tell hands the counts of the execution's scans and writers to its Tally, and sets them to zero.
func (s *state) tell() {
	to := s.env.Tally
	if to == nil {
		return
	}
	for _, o := range s.scans {
		o.tell(to)
	}
	for _, w := range s.written {
		if w.inserted|w.updated|w.deleted != 0 {
			to.Wrote(w.t.Table, w.inserted, w.updated, w.deleted)
			w.inserted, w.updated, w.deleted = 0, 0, 0
		}
	}
}

func (o *scanOp) tell(to Tally) {
	c := o.counts
	if c.scans == 0 {
		return
	}
	o.counts = readCounts{}
	t, ix := o.n.Table, o.c.index.ix
	switch {
	case ix != t.Primary:
		to.Searched(t, ix, c.scans, c.entries, c.rows)
	case len(o.n.Eq) == 0 && o.n.In == nil && !o.n.Bounded && o.n.Bitmap == nil:
		to.Scanned(t, c.scans, c.entries)
	case t.Columns[ix.Keys[0].Col].Hidden:
		// An access by row id, which PostgreSQL does not count either.
	default:
		to.Searched(t, ix, c.scans, c.entries, c.entries) // the primary index has the rows themselves
	}
}

// noteFound counts the pairs of keys that were looked up.
func (c *readCounts) noteFound(values [][]byte) {
	for _, v := range values {
		if v != nil {
			c.entries++
		}
	}
}
