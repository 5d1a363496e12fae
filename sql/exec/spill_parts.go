package exec

import (
	"github.com/meridian-db/meridian/sql/types"
)

// Operators that keep rows in a hash table go on beyond their memory in this way: what no longer fits is divided by
// hash among scratch files, and the files are worked on one after the other once the input has been read. What does
// not fit then either goes to a further file.

// fanOut is the number of files that rows are divided among.
const fanOut = 16

// minResident is how many rows a hash table holds at least before rows are written out: each pass over a file must
// get somewhere, however small the budget.
const minResident = 16

// crowded reports whether an operator that holds size bytes in rows rows should write out what comes next.
func (s *state) crowded(size int64, rows int) bool {
	return s.env.Scratch != nil && rows >= minResident && (s.mem > s.max/2 && size > s.max/16 || s.tight(size))
}

// spillParts are the files that rows are divided among.
type spillParts struct {
	s     *state
	width int
	runs  [fanOut]*scratchRun
}

// add writes a row to the file of its hash.
func (p *spillParts) add(h uint64, row []types.Datum) error {
	// The table uses the whole hash; its high bits are as good as any.
	i := h >> 60 % fanOut
	if p.runs[i] == nil {
		r, err := newRun(p.s.env.Scratch, p.width)
		if err != nil {
			return err
		}
		p.runs[i] = r
	}
	return p.s.spilled(p.runs[i].write(row))
}

// spilled turns a value that has no form for files into the error it amounts to.
func (s *state) spilled(err error) error {
	if err == errUnspillable {
		return s.outOfMemory()
	}
	return err
}

// take returns the files that have rows, which are the caller's then.
func (p *spillParts) take() []*scratchRun {
	var out []*scratchRun
	for i, r := range p.runs {
		if r != nil {
			out = append(out, r)
			p.runs[i] = nil
		}
	}
	return out
}

// close removes the files.
func (p *spillParts) close() {
	if p != nil {
		closeRuns(p.take())
	}
}

func closeRuns(runs []*scratchRun) {
	for _, r := range runs {
		if r != nil {
			r.close()
		}
	}
}

// diskUse is what files hold, for EXPLAIN ANALYZE.
func (p *spillParts) diskUse() (bytes int64) {
	for _, r := range p.runs {
		if r != nil {
			bytes += r.bytes
		}
	}
	return bytes
}
