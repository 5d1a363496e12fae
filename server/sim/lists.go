package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/meridian-db/meridian/txn/kv"
)

// The list-append load: transactions read whole lists and append values that are unique in the history. Whoever
// reads a list sees in which order all that was appended to it took place.

// listKey is the key of a list. Lists lie in the data range, spread over two halves of it, so that a split makes two ranges.
func listKey(i int) []byte { return []byte{0x03, 0, 0, byte(1 + i%2), 0, 0, 0, 0, byte(i)} }

// ageValues is after how many values the lists are left alone and new ones begin, so that they stay short.
const ageValues = 400

// agedKey is the key of list i of an age. Those of all ages stand together.
func agedKey(i, age int) []byte { return append(listKey(i), byte(age>>8), byte(age)) }

// allLists holds every list.
var allLists = kv.Span{Start: []byte{0x03, 0, 0, 1}, End: []byte{0x03, 0, 0, 3}}

// recorder collects the history of all clients.
type recorder struct {
	mu   sync.Mutex
	ops  []Op
	next int
}

func (h *recorder) value() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next++
	return h.next
}

func (h *recorder) age() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.next / ageValues
}

func (h *recorder) add(o Op) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// client runs transactions as long as ctx lasts, at home on one node as a rule. Often it has little patience: it leaves in
// the middle of a transaction, and goes to another node for a while.
func (l *Life) client(ctx context.Context, c *Cluster, id int, rng *rand.Rand, h *recorder, begin time.Time, rest func()) {
	home, away, other := id%len(c.Nodes()), 0, 0
	for ctx.Err() == nil {
		if rest(); ctx.Err() != nil {
			return
		}
		at := home
		if d := l.naps(at, time.Since(begin)); d > 0 && away == 0 {
			pause(ctx, d)
			continue
		}
		if away > 0 {
			at, away = other, away-1
		} else if rng.IntN(40) == 0 {
			at = rng.IntN(len(c.Nodes()))
		}
		core := c.Nodes()[at].Core()
		if core == nil {
			away, other = rng.IntN(5), rng.IntN(len(c.Nodes()))
			pause(ctx, 20*time.Millisecond)
			continue
		}
		patience := 1500 * time.Millisecond
		if rng.IntN(3) == 0 {
			patience = time.Duration(1+rng.IntN(400)) * time.Millisecond
		}
		try, cancel := context.WithTimeout(ctx, patience)
		o, err := l.once(try, core.DB, id, rng, h)
		if try.Err() != nil {
			away, other = 1+rng.IntN(5), rng.IntN(len(c.Nodes()))
		}
		cancel()
		if err == nil || o.Unknown {
			h.add(o)
		}
		switch {
		case err != nil:
			pause(ctx, time.Duration(rng.IntN(20))*time.Millisecond)
		case l.Think > 0:
			pause(ctx, time.Duration(rng.Int64N(int64(2*l.Think))))
		}
	}
}

// naps returns how long the clients at home on a node leave it alone from t on. In a fifth of all seconds a node hears of
// nothing that happens to ranges, as only answers would tell it, and is out of date when its clients come back.
func (l *Life) naps(node int, t time.Duration) time.Duration {
	second := t.Truncate(time.Second)
	if rand.New(rand.NewPCG(l.Seed, uint64(second)+uint64(node))).IntN(5) > 0 {
		return 0
	}
	return second + time.Second - t
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// once runs one transaction: reads one to three lists, now or as they were up to four seconds ago, or appends to one
// or two of them; or it uses registers or marks, or both. Now and then it takes long to commit.
func (l *Life) once(ctx context.Context, db kv.DB, id int, rng *rand.Rand, h *recorder) (Op, error) {
	o := Op{Client: id, Begin: time.Now(), ReadOnly: rng.IntN(3) == 0, Reads: map[string][]int{}, Appends: map[string]int{},
		Seen: map[string]int{}, Writes: map[string]int{}}
	opt := kv.TxnOptions{ReadOnly: o.ReadOnly}
	if o.Stale = o.ReadOnly && rng.IntN(3) == 0; o.Stale {
		opt.Staleness = kv.Staleness{Kind: kv.ExactStaleness, Age: rng.Int64N(int64(4 * time.Second))}
	}
	tx, err := db.Begin(ctx, opt)
	if err != nil {
		return o, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	picked, age, what := rng.Perm(l.Keys)[:1+rng.IntN(3)], h.age(), rng.IntN(6)
	if what == 0 || what == 4 {
		picked = nil
	}
	if what <= 1 {
		if err := useRegisters(ctx, tx, &o, rng, h); err != nil {
			return o, err
		}
	}
	if what == 4 || what == 5 {
		if err := useMarks(ctx, tx, &o, rng, h, age, l.Flush); err != nil {
			return o, err
		}
	}
	lock := kv.LockNone
	for i, k := range picked {
		append_ := !o.ReadOnly && (i == 0 || i == 1 && rng.IntN(2) == 0)
		switch {
		case append_:
			lock = kv.LockExclusive
		case !o.ReadOnly && rng.IntN(4) == 0:
			lock = kv.LockExclusive // as SELECT FOR UPDATE does
		case !o.ReadOnly:
			lock = kv.LockShared
		}
		key := agedKey(k, age)
		b, err := tx.Get(ctx, key, lock, kv.WaitBlock)
		if err != nil {
			return o, err
		}
		list, err := decodeList(b)
		if err != nil {
			return o, err
		}
		o.Reads[string(key)] = list
		if append_ {
			v := h.value()
			o.Appends[string(key)] = v
			if err := tx.Put(key, encodeList(append(list, v))); err != nil {
				return o, err
			}
			if l.Flush && rng.IntN(4) > 0 {
				if err := tx.Flush(ctx); err != nil {
					return o, err
				}
			}
		}
		if rng.IntN(4) == 0 {
			pause(ctx, time.Duration(rng.IntN(5))*time.Millisecond)
		}
	}
	if o.ReadOnly {
		o.TS = tx.ReadTimestamp()
	}
	if rng.IntN(60) == 0 {
		pause(ctx, time.Duration(rng.IntN(1000))*time.Millisecond)
	}
	o.Commit = time.Now()
	ts, err := tx.Commit(ctx)
	o.End = time.Now()
	if err != nil {
		// Anything but a clean abort leaves the outcome open.
		o.Unknown = !o.ReadOnly && !errors.Is(err, kv.ErrRetry)
		return o, err
	}
	if !o.ReadOnly {
		o.TS = ts
	}
	return o, nil
}

func encodeList(list []int) []byte {
	var b strings.Builder
	for _, v := range list {
		fmt.Fprintf(&b, "%d ", v)
	}
	return []byte(b.String())
}

func decodeList(b []byte) ([]int, error) {
	var out []int
	for f := range strings.FieldsSeq(string(b)) {
		v, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// readAll reads every list through every node, one after the other; all must agree. Only what a transaction of unknown
// outcome appended may be there for a later node and not for an earlier one: it can commit as late as that.
//
// reads are these transactions, with what they found in registers.
func readAll(ctx context.Context, c *Cluster, ops []Op) (final map[string][]int, reads []Op, errs []error) {
	unknown := map[int]bool{}
	for _, o := range ops {
		if o.Unknown {
			for _, v := range o.Appends {
				unknown[v] = true
			}
		}
	}
	known := func(v int) bool { return !unknown[v] }
	for _, n := range c.Nodes() {
		lists, o, err := readThrough(ctx, n)
		if err != nil {
			return final, reads, append(errs, fmt.Errorf("node %d does not serve after the faults have stopped: %w\n%s", n.ID, err, describe(c)))
		}
		reads = append(reads, o)
		if final == nil {
			final = lists
			continue
		}
		for key := range final {
			if _, ok := lists[key]; !ok {
				lists[key] = nil
			}
		}
		for key, list := range lists {
			before := final[key]
			if k := len(before); len(list) > k && slices.Equal(list[:k], before) && !slices.ContainsFunc(list[k:], known) {
				final[key] = list
			} else if !slices.Equal(list, before) {
				errs = append(errs, fmt.Errorf("node %d reads %v of %x, node 1 %v", n.ID, tail(list), key, tail(final[key])))
			}
		}
	}
	return final, reads, errs
}

// readThrough reads every list, register and mark through one node, at one timestamp, trying until ctx ends.
func readThrough(ctx context.Context, n *Node) (map[string][]int, Op, error) {
	var last error // of the attempt before
	for {
		lists := map[string][]int{}
		o := Op{Client: -int(n.ID), Begin: time.Now(), ReadOnly: true, Seen: map[string]int{}}
		for i := range registers {
			o.Seen[string(registerKey(i))] = 0
		}
		all := Scan{From: string(allLists.Start), To: string(allLists.End), Found: map[string]int{}}
		o.Scans = []Scan{all}
		tx, err := n.Core().DB.Begin(ctx, kv.TxnOptions{ReadOnly: true})
		if err != nil {
			return nil, o, err
		}
		var sc kv.Scanner
		if sc, err = tx.Scan(ctx, allLists, kv.ScanOptions{}); err == nil {
			for sc.Next(ctx) {
				if isMark(sc.Pair().Key) {
					if all.Found[string(sc.Pair().Key)], err = decodeRegister(sc.Pair().Value); err != nil {
						return nil, o, err
					}
					continue
				}
				if isRegister(sc.Pair().Key) {
					if o.Seen[string(sc.Pair().Key)], err = decodeRegister(sc.Pair().Value); err != nil {
						return nil, o, err
					}
					continue
				}
				list, err := decodeList(sc.Pair().Value)
				if err != nil {
					return nil, o, err
				}
				lists[string(sc.Pair().Key)] = list
			}
			err = sc.Err()
			sc.Close()
		}
		o.TS = tx.ReadTimestamp()
		tx.Rollback(ctx)
		if err == nil {
			o.End = time.Now()
			return lists, o, nil
		}
		if ctx.Err() != nil {
			return nil, o, errors.Join(err, last)
		}
		last = err
		pause(ctx, 100*time.Millisecond)
	}
}

// describe prints what every node thinks of its ranges, and who holds locks in those it leads.
func describe(c *Cluster) string {
	var b strings.Builder
	for _, n := range c.Nodes() {
		core := n.Core()
		if core == nil {
			fmt.Fprintf(&b, "node %d is down\n", n.ID)
			continue
		}
		for _, s := range core.Store.Status() {
			fmt.Fprintf(&b, "node %d: %v leader %d (me %v) term %d lease until %s, applied %d committed %d last %d, quiesced %v, safe %s\n",
				n.ID, s.Desc, s.Leader, s.IsLeader, s.Term, s.LeaseUntil, s.Applied, s.Committed, s.LastIndex, s.Quiesced, s.SafeTime)
		}
		for _, x := range core.Participants.Transactions() {
			fmt.Fprintf(&b, "node %d: transaction %x of node %d, age %s, %s, %d locks in %v, waits %v\n",
				n.ID, x.ID, x.Gateway, x.Age, x.State, x.Locks, x.Ranges, x.Waits)
		}
	}
	return b.String()
}
