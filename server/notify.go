package server

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/server/rpc"
	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/truetime"
)

// notifier brings NOTIFY to the sessions of every node, in the order of commit timestamps. Each node keeps a log of what
// was committed through it; the others fetch it:
//
//	gateway:  Begin ─ commit at s ─ Publish(s): into the log ──poke(s)──▶ every node
//	node:     ◀── fetch(since cursor, up to s) from every node; an answer waits for commits under way that may end
//	          at or below s, and holds everything the log has gained
//	node:     deliver all up to s, in order
//
// A commit that begins after a fetch was answered gets a timestamp above s: s had passed when it was published (I6, I7).
// So what is delivered up to s is complete, as far as nodes can be reached; what a node that was cut off committed
// meanwhile is fetched when it is back, late and therefore out of order. A cursor makes a repeated fetch harmless.
type notifier struct {
	cfg  notifierConfig
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
	wake chan struct{} // capacity 1: there is something for run

	mu      sync.Mutex
	epoch   uint64 // names the log of this life of the node
	log     []notifyEntry
	bytes   int
	next    uint64                                // sequence number of the next entry
	pending map[*pendingNotify]truetime.Timestamp // commits under way: each ends above this
	eased   chan struct{}                         // closed and replaced when pending loses one
	heard   []notifyEntry                         // fetched, not delivered
	target  truetime.Timestamp                    // deliver up to here
	done    truetime.Timestamp                    // delivered up to here
	waiting map[chan struct{}]truetime.Timestamp  // of Publish and Settled
	peers   map[ranges.NodeID]*notifyPeer         // what was fetched from whom
	start   truetime.Timestamp                    // of this node: what is older was for nobody here
}

type notifierConfig struct {
	Self    ranges.NodeID
	Clock   truetime.Clock
	Network Network
	Nodes   ranges.NodeLister        // nil: there are no other nodes
	Deliver func([]sql.Notification) // to the sessions of this node
	Log     *slog.Logger
}

const (
	notifyKeepBytes = 16 << 20         // of the log; what nobody has fetched by then is lost
	notifyKeepFor   = 10 * time.Minute // likewise
	notifyFetch     = 4 << 20          // bytes of one answer
	notifyPatience  = 2 * time.Second  // for commits under way, and for one answer
	pendingPatience = 10 * time.Second // a commit under way that takes longer holds nobody up
	notifyRetry     = 250 * time.Millisecond
)

// notifyEntry is a transaction's notifications.
type notifyEntry struct {
	Seq  uint64             `json:"seq"`
	TS   truetime.Timestamp `json:"ts"`
	List []sql.Notification `json:"list"`

	node ranges.NodeID
	at   time.Time
	size int
}

// notifyPeer is how far another node's log has been fetched.
type notifyPeer struct {
	epoch, next uint64
	upTo        truetime.Timestamp // complete up to here, or will be with the answer that is on its way
	poke        truetime.Timestamp // to be told to it; zero: nothing
	poking      bool
}

// notifyRequest is a fetch, or with Poke the news that there is something to fetch.
type notifyRequest struct {
	Poke  bool               `json:"poke,omitempty"`
	Epoch uint64             `json:"epoch,omitempty"`
	Next  uint64             `json:"next,omitempty"`
	UpTo  truetime.Timestamp `json:"up_to"`
}

type notifyAnswer struct {
	Epoch   uint64        `json:"epoch"`
	Next    uint64        `json:"next"` // of the following fetch
	Entries []notifyEntry `json:"entries,omitempty"`
	More    bool          `json:"more,omitempty"` // ask again
}

func newNotifier(cfg notifierConfig) *notifier {
	n := &notifier{cfg: cfg, wake: make(chan struct{}, 1), epoch: rand.Uint64() | 1, eased: make(chan struct{}),
		pending: map[*pendingNotify]truetime.Timestamp{}, waiting: map[chan struct{}]truetime.Timestamp{},
		peers: map[ranges.NodeID]*notifyPeer{}, start: cfg.Clock.Now().Earliest}
	n.ctx, n.stop = context.WithCancel(context.Background())
	n.wg.Add(1)
	go n.run()
	return n
}

func (n *notifier) close() {
	n.mu.Lock() // no more pokes are begun
	n.stop()
	n.mu.Unlock()
	n.wg.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.waiting {
		close(c)
	}
	clear(n.waiting)
}

func (n *notifier) poked() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// peerUp fetches what a node has committed while it could not be reached, and has it fetch here: it may have been
// connected to this one all the time, and have missed only what this one could not tell it.
func (n *notifier) peerUp() {
	now := n.cfg.Clock.Now().Earliest
	n.mu.Lock()
	for _, p := range n.peers {
		p.upTo = 0
	}
	for _, id := range n.connected() {
		n.pokePeerLocked(id, now)
	}
	n.mu.Unlock()
	n.learn(now)
}

// learn has everything up to ts delivered.
func (n *notifier) learn(ts truetime.Timestamp) {
	n.mu.Lock()
	n.target = max(n.target, ts)
	n.mu.Unlock()
	n.poked()
}

// pendingNotify is a commit under way.
type pendingNotify struct {
	n     *notifier
	floor truetime.Timestamp
	timer *time.Timer
}

// Begin implements sql.Notifier.
func (n *notifier) Begin() sql.PendingNotify {
	p := &pendingNotify{n: n, floor: n.cfg.Clock.Now().Earliest}
	n.mu.Lock()
	n.pending[p] = p.floor
	n.mu.Unlock()
	p.timer = time.AfterFunc(pendingPatience, p.end)
	return p
}

func (p *pendingNotify) end() {
	n := p.n
	n.mu.Lock()
	defer n.mu.Unlock()
	n.endLocked(p)
}

func (n *notifier) endLocked(p *pendingNotify) {
	if _, ok := n.pending[p]; ok {
		delete(n.pending, p)
		close(n.eased)
		n.eased = make(chan struct{})
	}
}

// Abort implements sql.PendingNotify.
func (p *pendingNotify) Abort() {
	p.timer.Stop()
	p.end()
}

// Publish implements sql.PendingNotify.
func (p *pendingNotify) Publish(ts truetime.Timestamp, list []sql.Notification) <-chan struct{} {
	n := p.n
	p.timer.Stop()
	if ts <= p.floor {
		ts = n.timestamp()
	}
	delivered := make(chan struct{})
	e := notifyEntry{TS: ts, List: list, node: n.cfg.Self, at: time.Now()}
	for i := range list {
		e.size += len(list[i].Channel) + len(list[i].Payload) + 64
	}
	n.mu.Lock()
	if n.ctx.Err() != nil {
		n.mu.Unlock()
		close(delivered)
		return delivered
	}
	e.Seq = n.next
	n.next++
	n.log = append(n.log, e)
	n.bytes += e.size
	n.trimLocked(e.at)
	n.heard = append(n.heard, e)
	n.target = max(n.target, ts)
	n.waiting[delivered] = ts
	n.endLocked(p)
	for _, id := range n.connected() {
		n.pokePeerLocked(id, ts)
	}
	n.mu.Unlock()
	n.poked()
	return delivered
}

// Settled implements sql.Notifier.
func (n *notifier) Settled() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	var last truetime.Timestamp
	for _, ts := range n.waiting {
		last = max(last, ts)
	}
	if last == 0 {
		return nil
	}
	delivered := make(chan struct{})
	n.waiting[delivered] = last
	return delivered
}

// timestamp is for a transaction that wrote nothing. The rule of a commit orders it: it has passed before anybody hears.
func (n *notifier) timestamp() truetime.Timestamp {
	if n.cfg.Clock.Health() != nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.done // Without the time there is no order, but what needs no data goes on.
	}
	ts := n.cfg.Clock.Now().Latest
	ctx, cancel := context.WithTimeout(n.ctx, notifyPatience)
	defer cancel()
	_ = n.cfg.Clock.WaitAfter(ctx, ts) // The clock was lost meanwhile: as above.
	return ts
}

func (n *notifier) trimLocked(now time.Time) {
	drop := 0
	for drop < len(n.log) && (n.bytes > notifyKeepBytes || now.Sub(n.log[drop].at) > notifyKeepFor) {
		n.bytes -= n.log[drop].size
		drop++
	}
	clear(n.log[:drop]) // append moves the rest to the front one day
	n.log = n.log[drop:]
}

func (n *notifier) connected() (ids []ranges.NodeID) {
	if n.cfg.Nodes == nil {
		return nil
	}
	for _, node := range n.cfg.Nodes.Nodes() {
		if node.ID != n.cfg.Self && n.cfg.Network.Connected(node.ID) {
			ids = append(ids, node.ID)
		}
	}
	return ids
}

func (n *notifier) peerLocked(id ranges.NodeID) *notifyPeer {
	p := n.peers[id]
	if p == nil {
		p = &notifyPeer{}
		n.peers[id] = p
	}
	return p
}

// pokePeerLocked tells a node that there is something up to ts. News that come while one is on its way share the next.
func (n *notifier) pokePeerLocked(id ranges.NodeID, ts truetime.Timestamp) {
	p := n.peerLocked(id)
	p.poke = max(p.poke, ts)
	if p.poking || n.ctx.Err() != nil {
		return
	}
	p.poking = true
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		for {
			n.mu.Lock()
			ts := p.poke
			p.poke = 0
			if ts == 0 || n.ctx.Err() != nil {
				p.poking = false
				n.mu.Unlock()
				return
			}
			n.mu.Unlock()
			if _, err := n.call(id, notifyRequest{Poke: true, UpTo: ts}); err != nil {
				// When the connection is back, peerUp tells it; else try again.
				if n.cfg.Network.Connected(id) {
					n.mu.Lock()
					p.poke = max(p.poke, ts)
					n.mu.Unlock()
				}
				select {
				case <-time.After(notifyRetry):
				case <-n.ctx.Done():
				}
			}
		}
	}()
}

func (n *notifier) call(id ranges.NodeID, req notifyRequest) (ans notifyAnswer, err error) {
	b, err := json.Marshal(req)
	if err != nil {
		return ans, err
	}
	ctx, cancel := context.WithTimeout(n.ctx, notifyPatience+time.Second)
	defer cancel()
	out, err := n.cfg.Network.Call(ctx, id, rpc.ServiceNotify, b)
	if err != nil {
		return ans, err
	}
	return ans, json.Unmarshal(out, &ans)
}

// handle answers another node's notifier.
func (n *notifier) handle(ctx context.Context, from ranges.NodeID, payload []byte) ([]byte, error) {
	var req notifyRequest
	if err := json.Unmarshal(payload, &req); err != nil {
		return nil, err
	}
	if req.Poke {
		// Later than now there can be nothing: a peer cannot have this node wait for the future.
		ts := min(req.UpTo, n.cfg.Clock.Now().Latest)
		n.mu.Lock()
		if p := n.peerLocked(from); p.upTo >= ts {
			// A commit that took too long, delivered late. It is fetched even if an answer is on its way: that may have
			// been given before the commit ended.
			p.upTo = ts - 1
		}
		n.mu.Unlock()
		n.learn(ts)
		return json.Marshal(notifyAnswer{Epoch: n.epoch})
	}
	n.settle(ctx, req.UpTo)
	n.mu.Lock()
	defer n.mu.Unlock()
	ans := notifyAnswer{Epoch: n.epoch, Next: n.next}
	size := 0
	first := 0
	if req.Epoch == n.epoch && len(n.log) > 0 && req.Next > n.log[0].Seq {
		first = int(min(req.Next-n.log[0].Seq, uint64(len(n.log)))) // sequence numbers have no gaps
	}
	for _, e := range n.log[first:] {
		if size += e.size; size > notifyFetch && len(ans.Entries) > 0 {
			ans.Next, ans.More = e.Seq, true
			break
		}
		ans.Entries = append(ans.Entries, e)
	}
	return json.Marshal(ans)
}

// settle waits until no commit is under way that may end at or below ts, or too long.
func (n *notifier) settle(ctx context.Context, ts truetime.Timestamp) {
	timer := time.NewTimer(notifyPatience)
	defer timer.Stop()
	for {
		n.mu.Lock()
		eased, waiting := n.eased, false
		for _, floor := range n.pending {
			waiting = waiting || floor < ts
		}
		n.mu.Unlock()
		if !waiting {
			return
		}
		select {
		case <-eased:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-n.ctx.Done():
			return
		}
	}
}

// run fetches and delivers.
func (n *notifier) run() {
	defer n.wg.Done()
	for {
		select {
		case <-n.wake:
		case <-n.ctx.Done():
			return
		}
		n.mu.Lock()
		target := n.target
		n.mu.Unlock()
		var wg sync.WaitGroup
		for _, id := range n.connected() {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if err := n.fetch(id, target); err != nil && n.ctx.Err() == nil {
					n.cfg.Log.Warn("cannot fetch notifications", "peer", id, "err", err)
					if n.cfg.Network.Connected(id) {
						time.AfterFunc(notifyRetry, n.poked)
					}
				}
			}()
		}
		n.settle(n.ctx, target)
		wg.Wait()
		n.deliver(target)
	}
}

// fetch takes over what a node's log has gained, complete up to ts.
func (n *notifier) fetch(id ranges.NodeID, ts truetime.Timestamp) error {
	for {
		n.mu.Lock()
		p := n.peerLocked(id)
		req := notifyRequest{Epoch: p.epoch, Next: p.next, UpTo: ts}
		before := p.upTo
		p.upTo = max(p.upTo, ts) // Before the call, so that a poke during it takes this back.
		n.mu.Unlock()
		if before >= ts {
			return nil
		}
		ans, err := n.call(id, req)
		n.mu.Lock()
		if err != nil || ans.More {
			p.upTo = min(p.upTo, before)
		}
		if err != nil {
			n.mu.Unlock()
			return err
		}
		p.epoch, p.next = ans.Epoch, ans.Next
		for _, e := range ans.Entries {
			if e.node = id; e.TS > n.start {
				n.heard = append(n.heard, e)
				// An entry above the target was poked too, or will be; it must not wait for that.
				n.target = max(n.target, e.TS)
			}
		}
		again := n.target > ts
		n.mu.Unlock()
		if again {
			n.poked()
		}
		if !ans.More {
			return nil
		}
	}
}

// deliver gives the sessions of this node what was heard up to ts.
func (n *notifier) deliver(ts truetime.Timestamp) {
	n.mu.Lock()
	slices.SortFunc(n.heard, func(a, b notifyEntry) int {
		return cmp.Or(cmp.Compare(a.TS, b.TS), cmp.Compare(a.node, b.node), cmp.Compare(a.Seq, b.Seq))
	})
	k := 0
	var list []sql.Notification
	for ; k < len(n.heard) && n.heard[k].TS <= ts; k++ {
		list = append(list, n.heard[k].List...)
	}
	n.heard = slices.Delete(n.heard, 0, k)
	var told []chan struct{} // What is published from here on is not in list.
	for c, at := range n.waiting {
		if at <= ts {
			told = append(told, c)
			delete(n.waiting, c)
		}
	}
	n.mu.Unlock()
	if len(list) > 0 {
		n.cfg.Deliver(list)
	}
	n.mu.Lock()
	n.done = max(n.done, ts)
	n.mu.Unlock()
	for _, c := range told {
		close(c)
	}
}
