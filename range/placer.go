package ranges

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/meridian-db/meridian/range/placement"
	"github.com/meridian-db/meridian/truetime"
)

// The placer decides where replicas and leaders go. Each store has one; the one whose store leads the first range
// works, the others rest. It asks all stores what they lead (report.go), has placement.Plan decide, and sends each
// change to the leader of its range, which carries it out only while the range is as the decision saw it.
//
// One decides for all because even numbers are a matter of all nodes: leaders that each moved what looks too much to
// them would all fill the same new node. Two placers that for a moment both believe to lead the first range do no
// harm: a change names the generation it was made for, and a range makes one change at a time.

// placerRange is the range whose leader's store decides. It holds the meta records, and never goes away: splits keep
// its id for the left half, and nothing lies to its left.
const placerRange RangeID = 1

const (
	reportTimeout = 2 * time.Second
	orderTimeout  = 10 * time.Minute
	maxOrders     = 64                     // under way at a time
	passGap       = 100 * time.Millisecond // between passes that something has asked for
	settleTime    = 2 * time.Minute        // how long a range that was moved for balance is not moved for it again
	originTime    = 20 * time.Second       // how long a leader leads before it is moved to make nodes even: who asks it is not known sooner
	retryAfter    = 10 * time.Second       // how long a range is left alone after a change of it failed
)

// PolicyReader reads the placement policies that are recorded in system keys (placement.KeySpan).
type PolicyReader interface {
	ReadPolicies(ctx context.Context) ([]placement.SpanPolicy, error)
}

// placer belongs to its goroutine, but for mu.
type placer struct {
	s    *Store
	kick chan struct{}
	log  *decisionLog

	active   bool // the last pass was one of the leader of the first range
	nodes    map[NodeID]*placerNode
	leaders  map[RangeID]leadership
	infos    []NodeInfo
	policies *placement.Set
	dirty    bool // the last pass decided something, or could not do everything

	mu struct {
		sync.Mutex
		orders    map[RangeID]placement.Change // under way
		rest      map[restKey]time.Time        // of ranges moved for balance: until when they are not moved again
		retry     map[RangeID]time.Time        // of ranges with a failed change: until when they are left alone
		known     *placement.Set               // what this store was told of policies, by whichever placer; nil: nothing yet
		summaries map[NodeID]NodeLoad          // of the last pass that saw everything; nil: this store does not decide
	}
}

// restKey is a range, and whether it is its leader that rests or its replicas.
type restKey struct {
	id     RangeID
	leader bool
}

// leadership is a leader's time with a range, and when the placer first saw it.
type leadership struct {
	node  NodeID
	term  uint64
	since time.Time
}

// placerNode is what the placer remembers of a node.
type placerNode struct {
	report   *report
	policies uint64 // hash of those that it knows
	downAt   time.Time
	draining bool
}

func newPlacer(s *Store) *placer {
	p := &placer{s: s, kick: make(chan struct{}, 1), log: openDecisionLog(&s.cfg)}
	p.mu.orders, p.mu.rest, p.mu.retry = map[RangeID]placement.Change{}, map[restKey]time.Time{}, map[RangeID]time.Time{}
	return p
}

// look asks for a pass soon.
func (p *placer) look() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *placer) run() {
	tick := time.NewTicker(p.s.cfg.PlacementInterval)
	defer tick.Stop()
	gapTime := passGap
	for {
		select {
		case <-p.s.stop:
			return
		case <-tick.C:
		case <-p.kick:
			if p.active { // what comes in the meantime is one pass
				gap := time.NewTimer(gapTime)
				select {
				case <-gap.C:
				case <-p.s.stop:
					gap.Stop()
					return
				}
			}
		}
		if !p.decides() {
			p.forget()
			continue
		}
		began := time.Now()
		p.pass(p.s.ctx)
		// With very many ranges a pass takes its time; passes take a tenth of it at most.
		gapTime = max(passGap, 10*time.Since(began))
	}
}

// decides reports whether this store leads the first range.
func (p *placer) decides() bool {
	r, ok := p.s.Replica(placerRange)
	if !ok || !r.leading.Load() || p.s.draining.Load() || p.s.failed() {
		return false
	}
	_, err := r.checkedLease()
	return err == nil
}

// forget drops what the placer knew: it will be old when it is wanted again.
func (p *placer) forget() {
	if p.active {
		p.active, p.nodes, p.leaders, p.infos, p.policies = false, nil, nil, nil, nil
		p.mu.Lock()
		p.mu.summaries = nil
		p.mu.Unlock()
	}
}

// pass looks at the cluster and starts what is to be done.
func (p *placer) pass(ctx context.Context) {
	infos := p.s.cfg.Nodes.Nodes()
	if len(infos) == 0 {
		return
	}
	changed := !p.active || p.dirty || !slices.Equal(infos, p.infos)
	if !p.active {
		p.nodes = map[NodeID]*placerNode{}
	}
	p.active, p.infos, p.dirty = true, infos, false
	old := p.policies.Hash()
	p.readPolicies(ctx)
	if p.policies == nil {
		return // what nobody knows cannot be obeyed
	}
	changed = changed || old != p.policies.Hash()
	changed = p.askAll(ctx, infos) || changed
	now := time.Now()
	p.mu.Lock()
	changed = changed || len(p.mu.orders)+len(p.mu.rest)+len(p.mu.retry) > 0
	maps.DeleteFunc(p.mu.rest, func(_ restKey, t time.Time) bool { return !now.Before(t) })
	maps.DeleteFunc(p.mu.retry, func(_ RangeID, t time.Time) bool { return !now.Before(t) })
	room := maxOrders - len(p.mu.orders)
	p.mu.Unlock()
	for _, n := range p.nodes {
		changed = changed || n.report == nil // how long it has been down matters
	}
	if !changed || !p.decides() {
		return
	}
	snap, ids, fresh := p.snapshot(now)
	changes := placement.Plan(snap, max(room, 0))
	p.dirty = len(changes) > 0 || fresh
	for _, c := range changes {
		p.start(c, ids[RangeID(c.Range)])
	}
}

func (p *placer) readPolicies(ctx context.Context) {
	if p.s.cfg.Policies == nil {
		if p.policies == nil {
			p.policies = placement.NewSet(nil)
		}
	} else {
		ctx, cancel := context.WithTimeout(ctx, reportTimeout)
		defer cancel()
		spans, err := p.s.cfg.Policies.ReadPolicies(ctx)
		if err != nil {
			if ctx.Err() == nil {
				p.s.cfg.Logger.Warn("cannot read the placement policies", "err", err)
			}
			return
		}
		if set := placement.NewSet(spans); p.policies == nil || set.Hash() != p.policies.Hash() {
			p.policies = set
		}
	}
	p.setKnown(p.policies)
}

// askAll gets the reports of all nodes, and reports whether there is news in them.
func (p *placer) askAll(ctx context.Context, infos []NodeInfo) (news bool) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	type answer struct {
		n   *placerNode
		rep *report
		err error
	}
	answers := make([]answer, len(infos))
	var wg sync.WaitGroup
	listed := map[NodeID]bool{}
	for i, info := range infos {
		listed[info.ID] = true
		n := p.nodes[info.ID]
		if n == nil {
			n = &placerNode{}
			p.nodes[info.ID] = n
		}
		answers[i].n = n
		if !info.Live {
			answers[i].err = errNodeDown
			continue
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			answers[i].rep, answers[i].err = p.ask(ctx, info.ID, n)
		}()
	}
	wg.Wait()
	for id := range p.nodes {
		if !listed[id] {
			delete(p.nodes, id)
		}
	}
	for _, a := range answers {
		switch {
		case a.err != nil:
			if a.n.downAt.IsZero() {
				a.n.downAt, news = time.Now(), true
			}
			a.n.report, a.n.policies = nil, 0
		case a.n.report == nil || a.n.report.hash != a.rep.hash:
			a.n.report, news = a.rep, true
			fallthrough
		default:
			a.n.downAt, a.n.draining, a.n.policies = time.Time{}, a.rep.draining, a.rep.policies
		}
	}
	return news
}

var errNodeDown = errors.New("range: the node is down")

// ask gets one node's report, and tells it of policies that it does not know.
func (p *placer) ask(ctx context.Context, id NodeID, n *placerNode) (*report, error) {
	if id == p.s.cfg.NodeID {
		rep := p.s.report()
		rep.setLeader(id)
		return rep, nil
	}
	req := reportRequest{policies: p.policies.Hash()}
	if n.report != nil {
		req.have = n.report.hash
	}
	if n.policies != req.policies {
		req.spans = p.policies.Spans()
		req.withSpans = true
	}
	b, err := p.s.cfg.Transport.Call(ctx, id, methodReport, req.encode())
	if err != nil {
		return nil, err
	}
	rep, err := decodeReport(b)
	if err != nil {
		p.s.cfg.Logger.Warn("bad placement report", "peer", uint64(id), "err", err)
		return nil, err
	}
	if rep.same && n.report != nil {
		rep.ranges, rep.same = n.report.ranges, false
	}
	rep.setLeader(id)
	return rep, nil
}

// snapshot makes the input of placement.Plan, and returns the ranges as they were seen. fresh says that leaders lead since a
// moment only: in another moment the outcome may differ.
func (p *placer) snapshot(now time.Time) (s placement.Snapshot, ids map[RangeID]*reportRange, fresh bool) {
	snap := placement.Snapshot{Policies: p.policies, Replicas: p.s.cfg.ReplicationFactor,
		ReplaceAfter: p.s.cfg.ReplaceAfter, UrgentAfter: min(p.s.cfg.UrgentAfter, p.s.cfg.ReplaceAfter)}
	p.mu.Lock()
	defer p.mu.Unlock()
	incoming := map[NodeID]int{}
	for _, c := range p.mu.orders {
		if c.Kind == placement.AddVoter || c.Kind == placement.ReplaceVoter {
			incoming[NodeID(c.To)]++
			incoming[NodeID(c.Second)]++
		}
	}
	// A leader that has just been followed by another is left out for the other.
	seen := map[RangeID]*reportRange{}
	for _, n := range p.nodes {
		if n.report == nil {
			continue
		}
		for i := range n.report.ranges {
			r := &n.report.ranges[i]
			if old := seen[r.desc.ID]; old == nil || cmp.Or(cmp.Compare(old.desc.Generation, r.desc.Generation), cmp.Compare(old.term, r.term)) < 0 {
				seen[r.desc.ID] = r
			}
		}
	}
	var list []*reportRange
	for _, r := range seen {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *reportRange) int { return cmp.Compare(a.desc.ID, b.desc.ID) })
	leaders := make(map[RangeID]leadership, len(list))
	for _, r := range list {
		id := r.desc.ID
		led := leadership{r.leader, r.term, now}
		if old := p.leaders[id]; old.node == led.node && old.term == led.term {
			led = old
		}
		leaders[id] = led
		young := now.Sub(led.since) < originTime
		fresh = fresh || young
		voters, _ := r.desc.voterNodes()
		pr := placement.Range{ID: placement.RangeID(id), Start: r.desc.Start, End: r.desc.End, Leader: placement.NodeID(r.leader), Bytes: r.bytes, Load: r.load,
			Busy: r.busy || now.Before(p.mu.retry[id]), Settling: now.Before(p.mu.rest[restKey{id, false}]), LeaderSettling: young || now.Before(p.mu.rest[restKey{id, true}])}
		if c, ok := p.mu.orders[id]; ok {
			pr.Busy = true
			switch {
			case c.Kind == placement.TransferLeader:
				pr.Leader = c.To
			case c.Voters != nil:
				voters = nil
				pr.Voters = c.Voters
			}
		}
		for _, v := range voters {
			pr.Voters = append(pr.Voters, placement.NodeID(v))
		}
		if len(r.from) > 0 {
			pr.From = make(map[placement.NodeID]float64, len(r.from))
			for _, f := range r.from {
				pr.From[placement.NodeID(f.node)] = f.load
			}
		}
		snap.Ranges = append(snap.Ranges, pr)
	}
	p.leaders = leaders
	for _, info := range p.infos {
		n := p.nodes[info.ID]
		pn := placement.Node{ID: placement.NodeID(info.ID), Region: info.Region, Zone: info.Zone, Live: n.report != nil, Draining: n.draining || info.Draining,
			Decommissioning: info.Decommissioning, Lost: info.Lost, Incoming: incoming[info.ID]}
		if n.report != nil {
			pn.Capacity, pn.Free = n.report.capacity, n.report.free
		} else {
			pn.Down = now.Sub(n.downAt)
		}
		snap.Nodes = append(snap.Nodes, pn)
	}
	p.mu.summaries = nil
	if snap.Partial = !complete(list); !snap.Partial {
		p.mu.summaries = nodeLoads(list)
		for id, n := range incoming {
			l := p.mu.summaries[id]
			l.Replicas += n
			p.mu.summaries[id] = l
		}
	}
	return snap, seen, fresh
}

// complete reports whether the ranges are all there are, from the meta records to the last key.
func complete(list []*reportRange) bool {
	byStart := slices.Clone(list)
	slices.SortFunc(byStart, func(a, b *reportRange) int { return slices.Compare(a.desc.Start, b.desc.Start) })
	if len(byStart) == 0 || byStart[0].desc.ID != placerRange || byStart[len(byStart)-1].desc.End[0] != 0xff {
		return false
	}
	for i, r := range byStart[1:] {
		if !slices.Equal(byStart[i].desc.End, r.desc.Start) {
			return false
		}
	}
	return true
}

// start has a change carried out by the range's leader.
func (p *placer) start(c placement.Change, r *reportRange) {
	id := RangeID(c.Range)
	at := p.s.cfg.Clock.Now().Latest
	p.mu.Lock()
	p.mu.orders[id] = c
	p.mu.Unlock()
	p.log.set(decision(c, at, underWay, 0))
	leader := r.leader
	p.s.cfg.Logger.Info("placement", "change", c.String(), "reason", c.Reason)
	begin := time.Now()
	o := order{id: id, generation: r.desc.Generation, kind: c.Kind, to: NodeID(c.To), key: c.Key}
	for _, v := range c.Voters {
		o.voters = append(o.voters, NodeID(v))
	}
	ok := p.s.spawn(func() {
		ctx, cancel := context.WithTimeout(p.s.ctx, orderTimeout)
		defer cancel()
		var err error
		if leader == p.s.cfg.NodeID {
			err = p.s.carryOut(ctx, o)
		} else {
			_, err = p.s.cfg.Transport.Call(ctx, leader, methodOrder, o.encode())
		}
		p.done(c, at, time.Since(begin), err)
	})
	if !ok {
		p.done(c, at, 0, ErrClosed)
	}
}

func decision(c placement.Change, at truetime.Timestamp, outcome string, took time.Duration) Decision {
	return Decision{Time: at, Range: RangeID(c.Range), Kind: c.Kind.String(), Change: c.String(), Reason: c.Reason, Outcome: outcome, Took: took}
}

func (p *placer) done(c placement.Change, at truetime.Timestamp, took time.Duration, err error) {
	id := RangeID(c.Range)
	outcome := "done"
	p.mu.Lock()
	delete(p.mu.orders, id)
	switch {
	case err != nil:
		outcome = err.Error()
		p.mu.retry[id] = time.Now().Add(retryAfter)
	case c.Balance:
		p.mu.rest[restKey{id, c.Kind == placement.TransferLeader}] = time.Now().Add(settleTime)
	}
	p.mu.Unlock()
	p.log.set(decision(c, at, outcome, took))
	if err != nil && p.s.ctx.Err() == nil {
		p.s.cfg.Logger.Warn("placement", "change", c.String(), "err", err)
	}
	p.look()
}

// order is a change on its way to the leader of a range.
type order struct {
	id         RangeID
	generation uint64 // of the descriptor that the decision was made for
	kind       placement.Kind
	to         NodeID   // of a transfer
	voters     []NodeID // of a change of replicas
	key        []byte   // of a split
}

func (o *order) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(o.id))
	b = binary.AppendUvarint(b, o.generation)
	b = append(b, byte(o.kind))
	b = binary.AppendUvarint(b, uint64(o.to))
	b = binary.AppendUvarint(b, uint64(len(o.voters)))
	for _, v := range o.voters {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return append(b, o.key...)
}

func decodeOrder(b []byte) (o order, err error) {
	rd := reader{b: b}
	o.id, o.generation = RangeID(rd.uvarint()), rd.uvarint()
	o.kind, o.to = placement.Kind(rd.byte()), NodeID(rd.uvarint())
	n := rd.uvarint()
	if rd.bad || n > maxReplicas {
		return o, errFrame
	}
	for range n {
		v := rd.uvarint()
		if v == 0 || v > uint64(MaxNodeID) {
			return o, errFrame
		}
		o.voters = append(o.voters, NodeID(v))
	}
	if rd.bad {
		return o, errFrame
	}
	o.key = rd.b
	return o, nil
}

func (s *Store) handleOrder(ctx context.Context, payload []byte) ([]byte, error) {
	o, err := decodeOrder(payload)
	if err != nil {
		return nil, err
	}
	return nil, s.carryOut(ctx, o)
}

// carryOut makes a change that a placer has decided on, if the range is still what the decision was made for. The
// queue leaves the range alone meanwhile.
func (s *Store) carryOut(ctx context.Context, o order) error {
	r, ok := s.Replica(o.id)
	if !ok {
		return ErrRangeNotFound
	}
	if _, err := r.checkedLease(); err != nil {
		return err
	}
	if !r.queueBusy.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: another change of %s is under way", ErrNotReady, r.id)
	}
	defer s.kickQueue()
	defer r.queueBusy.Store(false)
	if d := r.Desc(); d.Generation != o.generation {
		return fmt.Errorf("%w: %s has changed since the decision", ErrNotReady, r.id)
	}
	switch o.kind {
	case placement.AddVoter, placement.RemoveVoter, placement.ReplaceVoter:
		return r.ChangeReplicas(ctx, o.voters)
	case placement.TransferLeader:
		return r.TransferLease(ctx, o.to)
	case placement.SplitRange:
		return r.Split(ctx, slices.Clone(o.key))
	}
	return fmt.Errorf("range: unknown change %d of %s", o.kind, o.id)
}

// NodeLoad is what a node holds and leads.
type NodeLoad struct {
	Replicas, Leaders int
	Bytes             int64
	Load              float64 // requests per second of the ranges it holds
}

// NodeLoads returns what the nodes hold, as the store that decides on placement saw it last. ok is false on
// other stores, and while some range has no leader that answers.
func (s *Store) NodeLoads() (loads map[NodeID]NodeLoad, ok bool) {
	if !s.placer.decides() {
		return nil, false
	}
	s.placer.mu.Lock()
	defer s.placer.mu.Unlock()
	if s.placer.mu.summaries == nil {
		return nil, false
	}
	return maps.Clone(s.placer.mu.summaries), true
}

// nodeLoads adds up what nodes hold, replicas that are coming or going included.
func nodeLoads(list []*reportRange) map[NodeID]NodeLoad {
	out := map[NodeID]NodeLoad{}
	for _, r := range list {
		for _, x := range r.desc.Replicas {
			l := out[x.Node]
			out[x.Node] = NodeLoad{l.Replicas + 1, l.Leaders, l.Bytes + r.bytes, l.Load + r.load}
		}
		l := out[r.leader]
		l.Leaders++
		out[r.leader] = l
	}
	return out
}
