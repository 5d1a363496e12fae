// Package stmtstats counts what the statements of a node cost, by fingerprint: the text with its literals taken
// out. It holds a bounded number of fingerprints in memory and forgets them with the process.
//
// A Registry is safe for concurrent use. Recording takes no lock but that of the statement's own counters.
package stmtstats

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Key says which counters a statement's execution adds to.
type Key struct {
	Database uint32 // oid
	Text     string // normalised
}

// Cost is what one execution cost. The phases are parts of Elapsed.
type Cost struct {
	Elapsed     time.Duration
	LockWait    time.Duration
	Replication time.Duration
	CommitWait  time.Duration
	Rows        int64
	Retries     int64 // runs that a conflict made necessary, beyond the first
	RPCs        int64 // requests to other nodes
	Failed      bool
	End         time.Time
}

// Buckets of the latency histogram: bucket i counts times below 2^i times 16 µs, the last one all others.
const (
	Buckets   = 24
	firstEdge = 16 * time.Microsecond
)

// BucketEdge is the upper edge of a bucket; the last one has none.
func BucketEdge(i int) time.Duration { return firstEdge << i }

func bucketOf(d time.Duration) int {
	return min(bits.Len64(uint64(max(d, 0)/firstEdge)), Buckets-1)
}

// Totals are the sums over the executions of one statement on one node.
type Totals struct {
	Key         Key
	Calls       int64
	Failures    int64
	Rows        int64
	Retries     int64
	RPCs        int64
	Elapsed     time.Duration
	Min, Max    time.Duration
	SumSquares  float64 // of milliseconds
	LockWait    time.Duration
	Replication time.Duration
	CommitWait  time.Duration
	Histogram   [Buckets]int64
}

// Add adds the sums of the same statement on another node.
func (t *Totals) Add(o *Totals) {
	if t.Calls == 0 || o.Calls > 0 && o.Min < t.Min {
		t.Min = o.Min
	}
	t.Max = max(t.Max, o.Max)
	t.Calls += o.Calls
	t.Failures += o.Failures
	t.Rows += o.Rows
	t.Retries += o.Retries
	t.RPCs += o.RPCs
	t.Elapsed += o.Elapsed
	t.SumSquares += o.SumSquares
	t.LockWait += o.LockWait
	t.Replication += o.Replication
	t.CommitWait += o.CommitWait
	for i, n := range o.Histogram {
		t.Histogram[i] += n
	}
}

// Mean is the mean time of an execution.
func (t *Totals) Mean() time.Duration {
	if t.Calls == 0 {
		return 0
	}
	return t.Elapsed / time.Duration(t.Calls)
}

// StdDev is the standard deviation of the time of an execution.
func (t *Totals) StdDev() time.Duration {
	if t.Calls == 0 {
		return 0
	}
	n := float64(t.Calls)
	mean := float64(t.Elapsed) / float64(time.Millisecond) / n
	return time.Duration(math.Sqrt(max(t.SumSquares/n-mean*mean, 0)) * float64(time.Millisecond))
}

// Quantile estimates the time below which the share q of executions stayed, to within a factor of two: it
// is the upper edge of the bucket, or the longest time seen.
func (t *Totals) Quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(t.Calls)))
	for i, n := range t.Histogram {
		if rank -= n; rank <= 0 && n > 0 {
			if i == Buckets-1 {
				return t.Max
			}
			return min(BucketEdge(i), t.Max)
		}
	}
	return t.Max
}

// Statement is one fingerprint's counters.
type Statement struct {
	mu   sync.Mutex
	sums Totals
	used atomic.Int64 // when it was last looked up or recorded, Unix nanoseconds
}

// Record adds one execution.
func (s *Statement) Record(c *Cost) {
	ms := float64(c.Elapsed) / float64(time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used.Store(c.End.UnixNano())
	t := &s.sums
	if t.Calls == 0 || c.Elapsed < t.Min {
		t.Min = c.Elapsed
	}
	t.Max = max(t.Max, c.Elapsed)
	t.Calls++
	if c.Failed {
		t.Failures++
	}
	t.Rows += c.Rows
	t.Retries += c.Retries
	t.RPCs += c.RPCs
	t.Elapsed += c.Elapsed
	t.SumSquares += ms * ms
	t.LockWait += c.LockWait
	t.Replication += c.Replication
	t.CommitWait += c.CommitWait
	t.Histogram[bucketOf(c.Elapsed)]++
}

// Registry holds the statements of a node.
type Registry struct {
	max   int
	mu    sync.RWMutex
	all   map[Key]*Statement
	since time.Time
}

// New returns a registry of at most so many statements. When it is full the tenth that was used longest ago
// is forgotten. now is the beginning of its counts.
func New(max int, now time.Time) *Registry {
	return &Registry{max: max, all: map[Key]*Statement{}, since: now}
}

// Get returns the counters of a statement, which it is going to use now. The caller may keep them, in a cached plan
// say; once forgotten they go on counting unseen.
func (r *Registry) Get(k Key, now time.Time) *Statement {
	r.mu.RLock()
	s := r.all[k]
	r.mu.RUnlock()
	if s == nil {
		s = r.add(k)
	}
	s.used.Store(now.UnixNano())
	return s
}

func (r *Registry) add(k Key) *Statement {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.all[k]; s != nil {
		return s
	}
	if len(r.all) >= r.max {
		r.forget(max(1, r.max/10))
	}
	s := &Statement{sums: Totals{Key: k}}
	r.all[k] = s
	return s
}

func (r *Registry) forget(n int) {
	type use struct {
		k Key
		t int64
	}
	uses := make([]use, 0, len(r.all))
	for k, s := range r.all {
		uses = append(uses, use{k, s.used.Load()})
	}
	slices.SortFunc(uses, func(a, b use) int { return cmp.Compare(a.t, b.t) })
	for _, u := range uses[:min(n, len(uses))] {
		delete(r.all, u.k)
	}
}

// Reset forgets everything.
func (r *Registry) Reset(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.all)
	r.since = now
}

// Snapshot returns the sums of every statement, those that took most time first, and since when they count.
func (r *Registry) Snapshot() ([]Totals, time.Time) {
	r.mu.RLock()
	all := make([]*Statement, 0, len(r.all))
	for _, s := range r.all {
		all = append(all, s)
	}
	since := r.since
	r.mu.RUnlock()
	out := make([]Totals, 0, len(all))
	for _, s := range all {
		s.mu.Lock()
		t := s.sums
		s.mu.Unlock()
		if t.Calls > 0 {
			out = append(out, t)
		}
	}
	byTime(out)
	return out, since
}

// Merge sums the statistics of several nodes by statement, those that took most time first.
func Merge(nodes [][]Totals) []Totals {
	at := map[Key]int{}
	var out []Totals
	for _, list := range nodes {
		for i := range list {
			j, ok := at[list[i].Key]
			if !ok {
				at[list[i].Key] = len(out)
				out = append(out, list[i])
				continue
			}
			out[j].Add(&list[i])
		}
	}
	byTime(out)
	return out
}

func byTime(list []Totals) {
	slices.SortFunc(list, func(a, b Totals) int {
		return cmp.Or(cmp.Compare(b.Elapsed, a.Elapsed), cmp.Compare(a.Key.Text, b.Key.Text))
	})
}
