package txn

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// route is the cached way to one range. All but the atomics is immutable.
type route struct {
	desc   *ranges.Descriptor
	order  []ranges.NodeID // replicas, nearest first
	leader atomic.Uint32   // node believed to lead, zero when unknown
	stale  atomic.Bool     // evicted: holders look the range up anew
	ahead  atomic.Bool     // the near replica answers strong reads at once: time is closed ahead of now
	probed atomic.Int64    // when that was last tried
	doubt  atomic.Int64    // when it was last looked up again, as nobody there answered as the leader
}

// routeCache holds routes that do not overlap, sorted by start key. Readers take no lock.
type routeCache struct {
	mu   sync.Mutex // writers
	list atomic.Pointer[[]*route]
	// bad holds the generation up to which a range's descriptor has led nowhere: a replica on this node
	// that was removed without noticing must not be believed again and again.
	bad map[ranges.RangeID]uint64
}

func (c *routeCache) snapshot() []*route {
	if p := c.list.Load(); p != nil {
		return *p
	}
	return nil
}

// lookup returns the route of the range that holds key; with before, of the range that holds the keys right
// below key. nil when it is not cached.
func (c *routeCache) lookup(key []byte, before bool) *route {
	list := c.snapshot()
	// The first route that starts above key (or, with before, at it); its predecessor is the candidate.
	i := sort.Search(len(list), func(i int) bool {
		d := bytes.Compare(list[i].desc.Start, key)
		return d > 0 || (before && d == 0)
	})
	if i == 0 {
		return nil
	}
	r := list[i-1]
	if d := bytes.Compare(key, r.desc.End); d < 0 || (before && d == 0) {
		return r
	}
	return nil
}

// insert adds a descriptor, in place of what it overlaps, and returns its route. A descriptor older than
// one that is cached is not taken: the generation decides.
func (c *routeCache) insert(desc *ranges.Descriptor, order []ranges.NodeID) *route {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.snapshot()
	lo := sort.Search(len(list), func(i int) bool { return bytes.Compare(list[i].desc.End, desc.Start) > 0 })
	hi := lo
	var leader uint32
	for ; hi < len(list) && bytes.Compare(list[hi].desc.Start, desc.End) < 0; hi++ {
		old := list[hi]
		if old.desc.ID == desc.ID {
			if old.desc.Generation == desc.Generation {
				return old
			}
			leader = old.leader.Load()
		}
		if old.desc.Generation > desc.Generation {
			return nil
		}
		if leader == 0 {
			// A range split from another is led where that one is.
			leader = old.leader.Load()
		}
	}
	r := &route{desc: desc, order: order}
	if slices.Contains(order, ranges.NodeID(leader)) {
		r.leader.Store(leader)
	}
	for _, old := range list[lo:hi] {
		old.stale.Store(true)
	}
	next := make([]*route, 0, len(list)+1-(hi-lo))
	next = append(append(append(next, list[:lo]...), r), list[hi:]...)
	c.list.Store(&next)
	return r
}

// evict removes a route that has proved useless.
func (c *routeCache) evict(r *route) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.stale.Store(true)
	if c.bad == nil {
		c.bad = map[ranges.RangeID]uint64{}
	}
	c.bad[r.desc.ID] = max(c.bad[r.desc.ID], r.desc.Generation)
	list := c.snapshot()
	if i := slices.Index(list, r); i >= 0 {
		next := slices.Delete(slices.Clone(list), i, i+1)
		c.list.Store(&next)
	}
}

// trusted reports whether a descriptor of this node may be used without asking the meta range.
func (c *routeCache) trusted(d *ranges.Descriptor) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	gen, bad := c.bad[d.ID]
	return !bad || d.Generation > gen
}

// learn caches a descriptor.
func (db *DB) learn(desc *ranges.Descriptor) *route {
	order := make([]ranges.NodeID, 0, len(desc.Replicas))
	for _, r := range desc.Replicas {
		order = append(order, r.Node)
	}
	slices.SortStableFunc(order, func(a, b ranges.NodeID) int { return db.rank(a) - db.rank(b) })
	return db.routes.insert(desc, order)
}

// maxMetaKey ends the meta records, which start with the byte before.
var maxMetaKey = []byte{0x02}

// routeFor returns the route to the range of key (with before, of the keys right below it), from the cache,
// this node's replicas or the meta range.
func (db *DB) routeFor(ctx context.Context, key []byte, before bool) (*route, error) {
	if r := db.routes.lookup(key, before); r != nil {
		return r, nil
	}
	return db.findRoute(ctx, key, before)
}

func (db *DB) findRoute(ctx context.Context, key []byte, before bool) (*route, error) {
	if d := db.cfg.Descriptors.LocalDescriptor(key, before); d != nil && db.routes.trusted(d) {
		db.learn(d)
	}
	try := db.newRetry()
	for {
		if r := db.routes.lookup(key, before); r != nil {
			return r, nil
		}
		first := db.cfg.Descriptors.FirstRange()
		if first != nil {
			db.learn(first)
			if bytes.Compare(key, first.End) < 0 || (before && bytes.Equal(key, first.End)) {
				// The cache may know a newer descriptor of range 1; either way it holds key now, or range 1
				// has split and the meta records below tell.
				if r := db.routes.lookup(key, before); r != nil {
					return r, nil
				}
			}
			if err := db.readMeta(ctx, key, before); err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				try.cause = "meta range: " + err.Error()
			} else {
				try.cause = fmt.Sprintf("no range is known to hold key %x", key)
			}
			if r := db.routes.lookup(key, before); r != nil {
				return r, nil
			}
		}
		if err := try.wait(ctx); err != nil {
			return nil, err
		}
	}
}

// metaPage is how many descriptors one lookup brings in: neighbours are asked for next as a rule.
const metaPage = 16

// readMeta caches the descriptors found in the meta records from key on. Meta is a hint: it may lag behind
// splits and moves, and a record that lags is not taken over a newer cached one.
func (db *DB) readMeta(ctx context.Context, key []byte, before bool) error {
	// A record is stored under the end of its range, exclusive: the range of key has the first end above
	// key, that of the keys below key the first end at or above it.
	start := ranges.MetaKey(key)
	if !before {
		start = append(start, 0)
	}
	rt := db.routes.lookup(start, false)
	if rt == nil {
		return errReroute
	}
	req := &txnpb.BatchRequest{
		Kind: txnpb.Kind_READ, SpanStarts: [][]byte{start}, SpanEnds: [][]byte{maxMetaKey},
		MaxRows: metaPage, Strong: true, Gateway: int32(db.cfg.NodeID),
	}
	resp, _, err := db.send(ctx, rt, req)
	if err != nil {
		return err
	}
	for _, v := range resp.RowValues {
		d, err := ranges.DecodeDescriptor(v)
		if err != nil {
			return err
		}
		db.learn(d)
	}
	return nil
}

const (
	doubtAfter = 500 * time.Millisecond // without a leader for so long, a route is looked up again
	doubtEvery = time.Second            // and again
	doubtTime  = 5 * time.Second        // which takes so long at most
)

// doubts has a route looked up again, beside the requests that go on trying it, one of which has found no leader there since
// since. All of the replicas that it names may be gone, or have been left behind, and then none of them tells. What is
// found takes its place if it is newer, and those who try it see that.
func (db *DB) doubts(rt *route, since truetime.Timestamp) {
	now, last := db.clock.Now().Latest, rt.doubt.Load()
	if now.Sub(since) < doubtAfter || now.Sub(truetime.Timestamp(last)) < doubtEvery || !rt.doubt.CompareAndSwap(last, int64(now)) {
		return
	}
	db.background(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, doubtTime)
		defer cancel()
		if first := db.cfg.Descriptors.FirstRange(); first != nil {
			db.learn(first)
		}
		if bytes.Compare(rt.desc.Start, maxMetaKey) >= 0 {
			_ = db.readMeta(ctx, rt.desc.Start, false) // or the next one does
		}
	})
}

// Lookup returns the descriptor of the range that holds key, as far as this node knows.
func (db *DB) Lookup(ctx context.Context, key []byte) (*ranges.Descriptor, error) {
	r, err := db.routeFor(ctx, key, false)
	if err != nil {
		return nil, err
	}
	return r.desc, nil
}

// Forget drops what is cached about the range that holds key, for tests and administration.
func (db *DB) Forget(key []byte) {
	if r := db.routes.lookup(key, false); r != nil {
		db.routes.evict(r)
	}
}

// retry paces the repetition of a request and ends it: with ctx's error, or kv.ErrUnavailable once RetryFor
// has passed without an answer.
type retry struct {
	db      *DB
	started truetime.Timestamp
	n       int
	cause   string
}

func (db *DB) newRetry() retry { return retry{db: db} }

func (r *retry) wait(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := r.db.clock.Now().Latest
	if r.started == 0 {
		r.started = now
	}
	if now.Sub(r.started) > r.db.cfg.RetryFor {
		return wrap(kv.ErrUnavailable, r.cause)
	}
	r.n++
	return r.db.pause(ctx, r.n)
}
