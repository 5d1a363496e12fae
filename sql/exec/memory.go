package exec

import (
	"sync/atomic"

	"github.com/meridian-db/meridian/sql/pgerr"
)

const (
	// freeMem is what an execution may hold without asking the pool, and memStep what it asks for at a time.
	freeMem = 1 << 20
	memStep = 1 << 20
	// tightMem is what an operator holds at least before it writes rows out because the pool runs short.
	tightMem = 1 << 20
)

// MemoryPool is the memory that the executions of a node may hold together, beyond a small part that each has for
// itself. When three quarters are in use operators that can write rows out do so early; when all is, executions that
// need more fail with 53200. It is safe for concurrent use.
type MemoryPool struct {
	limit int64
	used  atomic.Int64
	whole *MemoryPool // that this is a part of; nil: it is the node's
	whose string      // of a part
}

// NewMemoryPool returns a pool of limit bytes.
func NewMemoryPool(limit int64) *MemoryPool { return &MemoryPool{limit: limit} }

// Part returns a pool of limit bytes for some of the executions, which count in p, too. p may be nil.
func (p *MemoryPool) Part(limit int64, whose string) *MemoryPool {
	return &MemoryPool{limit: limit, whole: p, whose: whose}
}

// Used returns the bytes that are in use.
func (p *MemoryPool) Used() int64 { return p.used.Load() }

func (p *MemoryPool) take(n int64) bool {
	if p.used.Add(n) > p.limit {
		p.used.Add(-n)
		return false
	}
	if p.whole != nil && !p.whole.take(n) {
		p.used.Add(-n)
		return false
	}
	return true
}

// reserve takes what the execution holds from the pool.
func (s *state) reserve() error {
	n := (s.mem - s.reserved + memStep - 1) / memStep * memStep
	if !s.pool.take(n) {
		whose := "this node"
		if s.pool.whose != "" {
			whose = s.pool.whose
		}
		return pgerr.New(pgerr.OutOfMemory, "out of memory").
			WithDetail("The statements of %s together need more than their budget of %d MB.", whose, s.pool.limit>>20)
	}
	s.reserved += n
	return nil
}

// giveBack returns what the execution has of the pool. It may be called twice.
func (s *state) giveBack() {
	if s.pool != nil {
		for p := s.pool; p != nil; p = p.whole {
			p.used.Add(freeMem - s.reserved)
		}
		s.pool = nil
	}
}

// tight reports whether the pool runs short and an operator that holds size bytes should make room.
func (s *state) tight(size int64) bool {
	if size <= tightMem {
		return false
	}
	for p := s.pool; p != nil; p = p.whole {
		if p.used.Load() > p.limit/4*3 {
			return true
		}
	}
	return false
}
