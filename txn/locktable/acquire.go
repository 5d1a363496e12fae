package locktable

import (
	"bytes"
	"slices"
	"sort"

	"github.com/RaduBerinde/btreemap"

	"github.com/meridian-db/meridian/truetime"
)

func (t *Table) acquirePoint(x *Txn, key []byte, mode Mode, policy Policy) (*Request, error) {
	if len(x.spans) > 0 && x.spanCovers(key, nil, mode) {
		return nil, nil
	}
	_, p, ok := t.points.Get(key)
	if ok && p.covers(x, mode) {
		return nil, nil
	}
	if len(t.spans) == 0 && len(t.spanWaiters) == 0 && (!ok || p.free(x)) {
		// The common case: nobody else is interested in the key.
		t.grantPoint(x, p, key, mode)
		return nil, nil
	}
	r := Request{txn: x, start: key, mode: mode}
	if !t.clear(&r, false) {
		if policy == Try {
			return nil, ErrWouldBlock
		}
		return t.enqueue(&r), nil
	}
	t.grantPoint(x, p, key, mode)
	return nil, nil
}

func (t *Table) acquireSpan(x *Txn, start, end []byte, mode Mode, policy Policy) (*Request, error) {
	if bytes.Compare(start, end) >= 0 || x.spanCovers(start, end, mode) {
		return nil, nil
	}
	r := Request{txn: x, start: start, end: end, mode: mode}
	if !t.clear(&r, false) {
		if policy == Try {
			return nil, ErrWouldBlock
		}
		return t.enqueue(&r), nil
	}
	t.grantSpan(x, bytes.Clone(start), bytes.Clone(end), mode)
	return nil, nil
}

// Escalate tries to cover the span from start to end by one exclusive lock, extending the last one of x when
// nobody else is interested in the gap between. A transaction with very many locks trades concurrency
// within that span for memory. It takes nothing from others, and reports whether the span is covered.
func (t *Table) Escalate(x *Txn, start, end []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.usable(x) != nil || bytes.Compare(start, end) >= 0 {
		return false
	}
	if x.spanCovers(start, end, Exclusive) {
		return true
	}
	if n := len(x.spans); n > 0 {
		if last := x.spans[n-1]; last.mode == Exclusive && bytes.Compare(last.start, start) <= 0 {
			r := Request{txn: x, start: last.end, end: end, mode: Exclusive}
			if bytes.Compare(r.start, r.end) < 0 && t.clear(&r, false) {
				last.end = bytes.Clone(end)
				return true
			}
		}
	}
	if len(x.spans) >= maxEscalated {
		return false
	}
	r := Request{txn: x, start: start, end: end, mode: Exclusive}
	if !t.clear(&r, false) {
		return false
	}
	t.grantSpan(x, bytes.Clone(start), bytes.Clone(end), Exclusive)
	return true
}

// maxEscalated bounds the spans of one transaction that Escalate adds: each one makes every later request
// a little slower.
const maxEscalated = 64

// Points returns how many point locks x holds.
func (t *Table) Points(x *Txn) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(x.points)
}

// HoldsOnly reports whether x holds no more than points locks, each on a key.
func (t *Table) HoldsOnly(x *Txn, points int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(x.points) <= points && len(x.spans) == 0
}

// covers reports whether x holds p in mode or stronger.
func (p *point) covers(x *Txn, mode Mode) bool {
	return p.excl == x || mode == Shared && slices.Contains(p.shared, x)
}

// free reports whether nobody but x holds or awaits p.
func (p *point) free(x *Txn) bool {
	return (p.excl == nil || p.excl == x) && len(p.waiters) == 0 &&
		(len(p.shared) == 0 || len(p.shared) == 1 && p.shared[0] == x)
}

func (x *Txn) spanCovers(start, end []byte, mode Mode) bool {
	for i := len(x.spans) - 1; i >= 0; i-- { // the newest first: large transactions go on where they were
		if s := x.spans[i]; s.mode >= mode && s.contains(start, end) {
			return true
		}
	}
	return false
}

func (s *span) contains(start, end []byte) bool {
	if bytes.Compare(s.start, start) > 0 {
		return false
	}
	if end == nil {
		return bytes.Compare(start, s.end) < 0
	}
	return bytes.Compare(end, s.end) <= 0
}

func (t *Table) grantPoint(x *Txn, p *point, key []byte, mode Mode) {
	if p == nil {
		p = t.newPoint(key)
	}
	if mode == Exclusive {
		p.excl = x
		if slices.Contains(p.shared, x) { // an upgrade; x.points is searched for nothing else: it can be long
			for i := range x.points {
				if x.points[i].p == p {
					x.points[i].mode = Exclusive
					return
				}
			}
		}
	} else {
		p.shared = append(p.shared, x)
	}
	x.points = append(x.points, held{p, mode})
}

func (t *Table) grantSpan(x *Txn, start, end []byte, mode Mode) {
	s := &span{start: start, end: end, mode: mode, txn: x}
	i := sort.Search(len(t.spans), func(i int) bool { return bytes.Compare(t.spans[i].start, start) >= 0 })
	t.spans = slices.Insert(t.spans, i, s)
	x.spans = append(x.spans, s)
}

// newPoint adds a point for key, which it copies.
func (t *Table) newPoint(key []byte) *point {
	var p *point
	if n := len(t.free); n > 0 {
		p, t.free = t.free[n-1], t.free[:n-1]
	} else {
		p = new(point)
	}
	p.key = append(p.key[:0], key...)
	t.points.ReplaceOrInsert(p.key, p)
	return p
}

// reap drops p when nobody is interested in it.
func (t *Table) reap(p *point) {
	if p.excl != nil || len(p.shared) > 0 || len(p.waiters) > 0 || p.key == nil {
		return
	}
	if _, q, ok := t.points.Get(p.key); !ok || q != p {
		return // reaped before
	}
	t.points.Delete(p.key)
	if len(t.free) < 256 && cap(p.key) <= 512 {
		t.free = append(t.free, p)
	}
}

// clear reports whether nothing stands in the way of r, after wounding, when allowed, the younger active
// holders that do. What else stands in the way: older holders, those that cannot be wounded, and older
// conflicting requests that wait already.
func (t *Table) clear(r *Request, mayWound bool) bool {
	blockers := t.blockers(r, t.scratch[:0])
	ok := true
	for _, b := range blockers {
		if mayWound && b.State() == Active && r.txn.older(b) {
			continue
		}
		ok = false
	}
	if ok && t.overtakes(r) {
		ok = false
	}
	// Younger holders are wounded even if others block as well: a waiter must wait for older ones only.
	if mayWound {
		for _, b := range blockers {
			if b.State() == Active && r.txn.older(b) {
				t.wound(b, r.txn)
			}
		}
	}
	clear(blockers)
	t.scratch = blockers[:0]
	return ok
}

// blockers appends the transactions that hold a lock in conflict with r. It may repeat one.
func (t *Table) blockers(r *Request, out []*Txn) []*Txn {
	add := func(y *Txn) {
		if y != nil && y != r.txn && !slices.Contains(out, y) {
			out = append(out, y)
		}
	}
	point := func(p *point) {
		add(p.excl)
		if r.mode == Exclusive {
			for _, y := range p.shared {
				add(y)
			}
		}
	}
	if r.end == nil {
		if _, p, ok := t.points.Get(r.start); ok {
			point(p)
		}
	} else {
		for _, p := range t.points.Ascend(btreemap.GE(r.start), btreemap.LT(r.end)) {
			point(p)
		}
	}
	for _, s := range t.spans {
		if r.end != nil && bytes.Compare(s.start, r.end) >= 0 || r.end == nil && bytes.Compare(s.start, r.start) > 0 {
			break
		}
		if (s.mode == Exclusive || r.mode == Exclusive) && bytes.Compare(r.start, s.end) < 0 {
			add(s.txn)
		}
	}
	return out
}

// overtakes reports whether granting r would pass an older conflicting request that waits already.
func (t *Table) overtakes(r *Request) bool {
	passes := func(q *Request) bool {
		return q.txn != r.txn && q != r && (q.mode == Exclusive || r.mode == Exclusive) && q.before(r)
	}
	if r.end == nil {
		if _, p, ok := t.points.Get(r.start); ok && slices.ContainsFunc(p.waiters, passes) {
			return true
		}
	} else {
		for _, p := range t.points.Ascend(btreemap.GE(r.start), btreemap.LT(r.end)) {
			if slices.ContainsFunc(p.waiters, passes) {
				return true
			}
		}
	}
	return slices.ContainsFunc(t.spanWaiters, func(q *Request) bool { return q.overlaps(r) && passes(q) })
}

// before orders requests: by age, then by arrival.
func (r *Request) before(q *Request) bool {
	if r.txn != q.txn {
		return r.txn.older(q.txn)
	}
	return r.seq < q.seq
}

func (r *Request) overlaps(q *Request) bool {
	return startsBefore(r.start, q) && startsBefore(q.start, r)
}

// startsBefore reports whether key lies before the end of q.
func startsBefore(key []byte, q *Request) bool {
	if q.end == nil {
		return bytes.Compare(key, q.start) <= 0
	}
	return bytes.Compare(key, q.end) < 0
}

func (t *Table) enqueue(tmpl *Request) *Request {
	t.stats.Waits++
	t.seq++
	r := &Request{
		txn: tmpl.txn, mode: tmpl.mode, seq: t.seq, done: make(chan struct{}),
		start: bytes.Clone(tmpl.start), end: bytes.Clone(tmpl.end),
	}
	if r.end == nil {
		_, p, ok := t.points.Get(r.start)
		if !ok {
			p = t.newPoint(r.start)
		}
		p.waiters = insertRequest(p.waiters, r)
	} else {
		t.spanWaiters = insertRequest(t.spanWaiters, r)
	}
	r.txn.queue = append(r.txn.queue, r)
	t.breakCycle(r)
	return r
}

// maxCycle bounds the search for a deadlock. What it misses Press resolves.
const maxCycle = 64

// breakCycle looks for transactions that wait for each other in this table, r.txn among them, and aborts the
// youngest of them. Two readers of a key that both want to write it are the common case.
func (t *Table) breakCycle(r *Request) {
	visited := []*Txn{r.txn}
	var path []*Txn
	var search func(x *Txn) bool
	search = func(x *Txn) bool {
		path = append(path, x)
		for _, q := range x.queue {
			for _, y := range t.blockers(q, nil) {
				if y == r.txn {
					return true
				}
				if len(y.queue) == 0 || slices.Contains(visited, y) || len(visited) >= maxCycle {
					continue
				}
				if visited = append(visited, y); search(y) {
					return true
				}
			}
		}
		path = path[:len(path)-1]
		return false
	}
	if !search(r.txn) {
		return
	}
	victim := path[0]
	for _, y := range path[1:] {
		if victim.older(y) {
			victim = y
		}
	}
	if victim.State() == Active { // as everybody who waits
		t.stats.Deadlocks++
		by := path[0]
		if by == victim {
			by = path[len(path)-1]
		}
		t.wound(victim, by)
	}
}

// Press is called for a request that has waited for a while: the younger transactions in its way are wounded,
// now and whenever it is looked at again.
func (t *Table) Press(r *Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	if r.finished || t.closed {
		return
	}
	r.pressed = true
	t.freeSpan(r.start, r.end)
}

func insertRequest(q []*Request, r *Request) []*Request {
	i := sort.Search(len(q), func(i int) bool { return r.before(q[i]) })
	return slices.Insert(q, i, r)
}

// unlink takes r out of the queue of its point or of the span waiters.
func (t *Table) unlink(r *Request) {
	remove := func(q []*Request) []*Request {
		if i := slices.Index(q, r); i >= 0 {
			return slices.Delete(q, i, i+1)
		}
		return q
	}
	if r.end == nil {
		if _, p, ok := t.points.Get(r.start); ok {
			p.waiters = remove(p.waiters)
			t.reap(p)
		}
		return
	}
	t.spanWaiters = remove(t.spanWaiters)
}

// dequeue takes r out of every queue.
func (t *Table) dequeue(r *Request) {
	t.unlink(r)
	if i := slices.Index(r.txn.queue, r); i >= 0 {
		r.txn.queue = slices.Delete(r.txn.queue, i, i+1)
	}
}

func (t *Table) finish(r *Request, err error) {
	r.err, r.finished = err, true
	close(r.done)
}

// freePoint notes that p may have become free.
func (t *Table) freePoint(p *point) {
	if len(p.waiters) == 0 && len(t.spanWaiters) == 0 {
		t.reap(p)
		return
	}
	t.pending = append(t.pending, freed{start: bytes.Clone(p.key)})
	t.reap(p)
}

// freeSpan notes that a span, or with end nil a point, may have become free.
func (t *Table) freeSpan(start, end []byte) {
	t.pending = append(t.pending, freed{start, end})
}

// settle grants what can be granted after the releases noted in pending, until nothing changes.
func (t *Table) settle() {
	for i := 0; i < len(t.pending); i++ {
		if f := t.pending[i]; f.end == nil {
			t.wakePoint(f.start)
		} else {
			t.wakeSpan(f.start, f.end)
		}
	}
	clear(t.pending)
	t.pending = t.pending[:0]
}

// wakePoint looks at the requests that wait for key, or for a span around it, again.
func (t *Table) wakePoint(key []byte) {
	var candidates []*Request
	if _, p, ok := t.points.Get(key); ok {
		candidates = append(candidates, p.waiters...)
	}
	for _, r := range t.spanWaiters {
		if bytes.Compare(r.start, key) <= 0 && bytes.Compare(key, r.end) < 0 {
			candidates = append(candidates, r)
		}
	}
	t.wake(candidates)
}

// wakeSpan looks at every request that waits within start and end again.
func (t *Table) wakeSpan(start, end []byte) {
	var candidates []*Request
	for _, p := range t.points.Ascend(btreemap.GE(start), btreemap.LT(end)) {
		candidates = append(candidates, p.waiters...)
	}
	for _, r := range t.spanWaiters {
		if bytes.Compare(r.start, end) < 0 && bytes.Compare(start, r.end) < 0 {
			candidates = append(candidates, r)
		}
	}
	t.wake(candidates)
}

// wake grants those of the candidates that nothing blocks any more, oldest first.
func (t *Table) wake(candidates []*Request) {
	if len(candidates) == 0 || t.closed {
		return
	}
	slices.SortFunc(candidates, func(a, b *Request) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for _, r := range candidates {
		if r.finished || !t.clear(r, r.pressed) || r.finished {
			continue
		}
		t.dequeue(r)
		if r.end != nil {
			if !r.txn.spanCovers(r.start, r.end, r.mode) {
				t.grantSpan(r.txn, r.start, r.end, r.mode)
			}
		} else if _, p, ok := t.points.Get(r.start); !ok || !p.covers(r.txn, r.mode) {
			t.grantPoint(r.txn, p, r.start, r.mode)
		}
		t.finish(r, nil)
	}
}

// Blockers returns the transactions that hold locks in conflict with a waiting request and that it may
// not wound although it is older: committing and prepared ones. The participant has the coordinator
// of those settle them.
func (t *Table) Blockers(r *Request) []*Txn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.finished {
		return nil
	}
	out := t.blockers(r, nil)
	return slices.DeleteFunc(out, func(y *Txn) bool { return y.State() == Active || y.older(r.txn) })
}

// WaitsFor returns the transactions that r waits for: those that hold a lock in its way, and older ones that
// wait for such a lock before it.
func (t *Table) WaitsFor(r *Request) []*Txn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.finished {
		return nil
	}
	out := t.blockers(r, nil)
	ahead := func(q *Request) {
		if q.txn != r.txn && (q.mode == Exclusive || r.mode == Exclusive) && q.before(r) && !slices.Contains(out, q.txn) {
			out = append(out, q.txn)
		}
	}
	if r.end == nil {
		if _, p, ok := t.points.Get(r.start); ok {
			for _, q := range p.waiters {
				ahead(q)
			}
		}
	} else {
		for _, p := range t.points.Ascend(btreemap.GE(r.start), btreemap.LT(r.end)) {
			for _, q := range p.waiters {
				ahead(q)
			}
		}
	}
	for _, q := range t.spanWaiters {
		if q.overlaps(r) {
			ahead(q)
		}
	}
	return out
}

// Break aborts the transaction of r, as the victim of a deadlock in which r waits. A request that no longer
// waits, and a transaction that can no longer be aborted, are left alone.
func (t *Table) Break(r *Request) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	if !r.finished && !t.closed && r.txn.State() == Active {
		t.wound(r.txn, r.txn)
	}
}

// Unresolved returns the committing and prepared transactions, ordered by id.
func (t *Table) Unresolved() []*Txn {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*Txn
	for _, x := range t.txns {
		if s := x.State(); s == Committing || s == Prepared {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b *Txn) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// Prepared returns the number of prepared transactions.
func (t *Table) Prepared() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.txns {
		if x.State() == Prepared {
			n++
		}
	}
	return n
}

// Timestamp returns the lower bound of the commit timestamp of a committing or prepared transaction.
func (t *Table) Timestamp(x *Txn) truetime.Timestamp {
	t.mu.Lock()
	defer t.mu.Unlock()
	return x.ts
}

// Unsettled reports whether any transaction is committing or prepared. When it is not, no snapshot read
// has anything to wait for.
func (t *Table) Unsettled() bool { return t.unsettled.Load() != 0 }

// Conflict returns a committing or prepared transaction, other than self, that holds an exclusive lock on
// the point start (end nil) or in the span and may commit at or below ts, with a channel that is closed
// when its state changes; nil when there is none. A snapshot reader at ts that has first promised that no
// later commit gets a timestamp <= ts waits on it and looks again.
func (t *Table) Conflict(start, end []byte, ts truetime.Timestamp, self *Txn) (*Txn, <-chan struct{}) {
	if t.unsettled.Load() == 0 {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r := Request{txn: self, start: start, end: end, mode: Shared}
	for _, y := range t.blockers(&r, nil) {
		if s := y.State(); (s == Committing || s == Prepared) && y.ts <= ts {
			if y.change == nil {
				y.change = make(chan struct{})
			}
			return y, y.change
		}
	}
	return nil, nil
}

// Changed returns a channel that is closed at the next change of x's state, nil when x has ended.
func (t *Table) Changed(x *Txn) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := x.State(); s == Done || s == Aborted {
		return nil
	}
	if x.change == nil {
		x.change = make(chan struct{})
	}
	return x.change
}
