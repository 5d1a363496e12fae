package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// NodeID and RangeID are those of package ranges.
type (
	NodeID  uint32
	RangeID uint64
)

func (n NodeID) String() string  { return "n" + strconv.FormatUint(uint64(n), 10) }
func (r RangeID) String() string { return "r" + strconv.FormatUint(uint64(r), 10) }

// Node is what a decision knows of a node.
type Node struct {
	ID              NodeID
	Region, Zone    string
	Live            bool          // it answers
	Down            time.Duration // how long it has not, when it is not Live
	Draining        bool          // leads nothing and gets nothing for a while; it comes back
	Decommissioning bool          // gives everything away, for good
	Lost            bool          // its store is gone: it never comes back
	Incoming        int           // snapshots on their way to it
	Capacity, Free  int64         // bytes of the store's file system; zero Capacity: unknown
}

// Range is what a decision knows of a range.
type Range struct {
	ID         RangeID
	Start, End []byte
	Voters     []NodeID // on the way from one configuration to another: those it will have
	Leader     NodeID
	Bytes      int64              // of one replica
	Load       float64            // requests per second
	From       map[NodeID]float64 // which gateways they come from; not for ranges whose policy names regions for leaders
	Busy       bool               // a change is under way: the range counts, but is not changed
	// Settling: a replica was moved a moment ago to make nodes even, and none is again. LeaderSettling: its leader was, or
	// leads since a moment only, so that nobody knows yet who asks it.
	Settling, LeaderSettling bool
}

// Snapshot is the cluster at one moment, and what is wanted of it.
type Snapshot struct {
	Nodes    []Node
	Ranges   []Range
	Partial  bool // some range is missing: what nodes hold is not known, so nothing is moved to make them even
	Policies *Set
	Replicas int // voters of a range whose policy does not say
	// ReplaceAfter is how long a node is waited for before its replicas are replaced, UrgentAfter how long when its range
	// would stop if it lost one more voter. A node that was draining when it went is always waited for ReplaceAfter.
	ReplaceAfter, UrgentAfter time.Duration
}

// Kind is what a Change does.
type Kind uint8

const (
	AddVoter Kind = iota + 1
	RemoveVoter
	ReplaceVoter
	TransferLeader
	SplitRange
)

func (k Kind) String() string {
	switch k {
	case AddVoter:
		return "add voter"
	case RemoveVoter:
		return "remove voter"
	case ReplaceVoter:
		return "replace voter"
	case TransferLeader:
		return "transfer leader"
	case SplitRange:
		return "split"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Change is the next thing to do to a range. Every change is one that the leader of the range can carry out by itself.
type Change struct {
	Kind     Kind
	Range    RangeID
	From, To NodeID   // the voter that goes and the one that comes, or the leader before and after
	Second   NodeID   // AddVoter: comes too, so that the number of voters stays odd; or 0
	Voters   []NodeID // after the change
	Key      []byte   // SplitRange: where
	Reason   string   // one line, for people
	Balance  bool     // nothing was wrong with the range itself: others profit
}

// String is the change in one line, without the reason.
func (c Change) String() string {
	switch c.Kind {
	case AddVoter:
		if c.Second != 0 {
			return fmt.Sprintf("%s: add voters %s and %s", c.Range, c.To, c.Second)
		}
		return fmt.Sprintf("%s: add voter %s", c.Range, c.To)
	case RemoveVoter:
		return fmt.Sprintf("%s: remove voter %s", c.Range, c.From)
	case ReplaceVoter:
		return fmt.Sprintf("%s: replace voter %s by %s", c.Range, c.From, c.To)
	case TransferLeader:
		return fmt.Sprintf("%s: transfer leader from %s to %s", c.Range, c.From, c.To)
	}
	return fmt.Sprintf("%s: split at %x", c.Range, c.Key)
}

const (
	fullAt    = 0.90 // a disk this full takes no more replicas
	crammedAt = 0.95 // a disk this full has replicas taken away
	// maxIncoming bounds how many snapshots go to one node at a time.
	maxIncoming = 4
)

// Plan returns the next changes, at most one for each range and limit in all: first what ranges need, then what
// makes nodes more even. It is a pure function of the snapshot. Its changes never leave a range with fewer live
// voters than a majority, and applied again and again to a cluster that does not change otherwise they come to an end:
// what a range needs has an order in which nothing goes back, and what balances lowers the sum over all nodes of
// their squared shares each time.
func Plan(s Snapshot, limit int) []Change {
	p := newPlanner(s)
	for need := needSplit; need < needNothing; need++ {
		for _, i := range p.byNeed[need] {
			if len(p.changes) >= limit {
				return p.changes
			}
			if c, ok := p.repair(&p.Ranges[i]); ok {
				p.record(i, c)
			}
		}
	}
	if !p.Partial {
		p.balanceReplicas(limit)
	}
	p.placeLeaders(limit)
	if !p.Partial {
		p.balanceLeaders(limit)
	}
	return p.changes
}

// planner holds a snapshot and what the changes planned so far make of it.
type planner struct {
	Snapshot
	byID    map[NodeID]int // index of Nodes
	wants   map[*Policy]want
	byNeed  [needNothing][]int
	changed []bool // by index of Ranges
	hosted  []usage
	led     []usage
	coming  []int // snapshots on their way, by index of Nodes
	changes []Change
}

// usage is what a node's replicas, or the ranges it leads, need.
type usage struct {
	count, bytes, load float64
}

func (u *usage) add(r *Range, sign float64) {
	u.count += sign
	u.bytes += sign * float64(r.Bytes)
	u.load += sign * r.Load
}

// want is what a policy asks of its ranges on these nodes.
type want struct {
	declared int // voters it asks for
	target   int // voters it can have: odd
	spread   int // the best score that the voters can have
}

func newPlanner(s Snapshot) *planner {
	p := &planner{Snapshot: s, byID: make(map[NodeID]int, len(s.Nodes)), wants: map[*Policy]want{}, changed: make([]bool, len(s.Ranges)),
		hosted: make([]usage, len(s.Nodes)), led: make([]usage, len(s.Nodes)), coming: make([]int, len(s.Nodes))}
	p.Replicas = cmp.Or(s.Replicas, 3)
	for i, n := range s.Nodes {
		p.byID[n.ID], p.coming[i] = i, n.Incoming
	}
	for i := range s.Ranges {
		r := &p.Ranges[i]
		for _, v := range r.Voters {
			if n, ok := p.byID[v]; ok {
				p.hosted[n].add(r, 1)
			}
		}
		if n, ok := p.byID[r.Leader]; ok {
			p.led[n].add(r, 1)
		}
	}
	for i := range s.Ranges {
		p.changed[i] = s.Ranges[i].Busy || s.Ranges[i].Leader == 0
		if p.changed[i] {
			continue
		}
		if need := p.need(&p.Ranges[i]); need < needNothing {
			p.byNeed[need] = append(p.byNeed[need], i)
		}
	}
	return p
}

// record takes a change into the plan.
func (p *planner) record(i int, c Change) {
	r := &p.Ranges[i]
	c.Range = r.ID
	p.changed[i] = true
	switch c.Kind {
	case AddVoter, RemoveVoter, ReplaceVoter:
		c.Voters = slices.DeleteFunc(slices.Clone(r.Voters), func(n NodeID) bool { return n == c.From && c.Kind != AddVoter })
		for _, to := range []NodeID{c.To, c.Second} {
			if c.Kind != RemoveVoter && to != 0 {
				c.Voters = append(c.Voters, to)
				n := p.byID[to]
				p.hosted[n].add(r, 1)
				p.coming[n]++
			}
		}
		if n, ok := p.byID[c.From]; ok && c.Kind != AddVoter {
			p.hosted[n].add(r, -1)
		}
	case TransferLeader:
		if n, ok := p.byID[c.From]; ok {
			p.led[n].add(r, -1)
		}
		p.led[p.byID[c.To]].add(r, 1)
	}
	p.changes = append(p.changes, c)
}

// node returns a node; one that nobody knows any more is as good as lost.
func (p *planner) node(id NodeID) *Node {
	if i, ok := p.byID[id]; ok {
		return &p.Nodes[i]
	}
	return &Node{ID: id, Lost: true}
}

// gone reports whether a node is not waited for any longer.
func (p *planner) gone(n *Node) bool {
	return n.Lost || !n.Live && (n.Decommissioning || n.Down >= p.ReplaceAfter)
}

// allowed reports whether a policy lets a node hold voters.
func allowed(pol *Policy, n *Node) bool {
	return len(pol.Regions) == 0 || slices.Contains(pol.Regions, n.Region)
}

func (n *Node) fullerThan(share float64) bool {
	return n.Capacity > 0 && float64(n.Capacity-n.Free) > share*float64(n.Capacity)
}

// receives reports whether a node takes new replicas of a range with the policy.
func (p *planner) receives(pol *Policy, n *Node) bool {
	return n.Live && !n.Draining && !n.Decommissioning && !n.Lost && !n.fullerThan(fullAt) && allowed(pol, n) && p.coming[p.byID[n.ID]] < maxIncoming
}

// leads reports whether a node may lead.
func (n *Node) leads() bool { return n.Live && !n.Draining && !n.Decommissioning && !n.Lost }

// wanted returns what the policy asks for, as far as there are nodes for it.
func (p *planner) wanted(pol *Policy) want {
	if w, ok := p.wants[pol]; ok {
		return w
	}
	var usable []*Node
	regions := map[string]bool{}
	for i := range p.Nodes {
		if n := &p.Nodes[i]; !p.gone(n) && !n.Decommissioning && allowed(pol, n) {
			usable = append(usable, n)
			regions[n.Region] = true
		}
	}
	w := want{declared: pol.Replicas}
	if w.declared == 0 {
		w.declared = p.Replicas
		if pol.Global {
			// Each region is to read by itself.
			w.declared = max(w.declared, min(len(regions)|1, maxGlobal))
		}
	}
	w.target = max(1, min(w.declared, len(usable)))
	w.target -= 1 - w.target%2
	// The best spread: always the node next that adds least.
	var set []*Node
	for len(set) < w.target && len(usable) > 0 {
		best := slices.MinFunc(usable, func(a, b *Node) int {
			return cmp.Or(cmp.Compare(p.spread(pol, append(set[:len(set):len(set)], a)), p.spread(pol, append(set[:len(set):len(set)], b))), cmp.Compare(a.ID, b.ID))
		})
		set = append(set, best)
		usable = slices.DeleteFunc(usable, func(n *Node) bool { return n == best })
	}
	w.spread = p.spread(pol, set)
	p.wants[pol] = w
	return w
}

// maxGlobal bounds the voters of a GLOBAL range that says nothing of replicas.
const maxGlobal = 7

// spread scores how badly voters share failure domains; less is better: pairs in one region weigh most, then having
// none where the leader should be, then pairs in one zone, then voters elsewhere than where the leader should be.
func (p *planner) spread(pol *Policy, voters []*Node) int {
	regions, zones, home, n := 0, 0, 0, len(voters)
	for i, a := range voters {
		for _, b := range voters[:i] {
			if a.Region == b.Region {
				regions++
				if a.Zone == b.Zone {
					zones++
				}
			}
		}
		if len(pol.Leaders) > 0 && a.Region == pol.Leaders[0] {
			home++
		}
	}
	score := regions * 1_000_000
	if len(pol.Leaders) > 0 {
		if home == 0 {
			score += 500_000
		}
		score += n - home
	}
	return score + zones*1000
}

func (p *planner) voters(ids []NodeID) []*Node {
	out := make([]*Node, len(ids))
	for i, id := range ids {
		out[i] = p.node(id)
	}
	return out
}

// swapped returns the voters without one node and with another; either may be 0.
func swapped(voters []NodeID, without, with NodeID) []NodeID {
	out := make([]NodeID, 0, len(voters)+1)
	for _, v := range voters {
		if v != without {
			out = append(out, v)
		}
	}
	if with != 0 {
		out = append(out, with)
	}
	return out
}

// domains names where nodes are, for an explanation.
func (p *planner) domains(ids []NodeID) string {
	var out []string
	for _, n := range p.voters(ids) {
		if n.Region == "" && n.Zone == "" {
			out = append(out, n.ID.String())
			continue
		}
		out = append(out, strings.TrimSuffix(n.Region+"/"+n.Zone, "/"))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
