package placement

import (
	"cmp"
	"fmt"
	"slices"
)

// Nodes are even when none has much more of anything than another that could take it: of replicas (or leaders), of
// bytes, of load. Two thresholds keep decisions from going to and fro. A pair of nodes is looked at only when they differ by a
// band, so that what fluctuates inside it causes nothing. And a move must lower the sum of the squared shares of
// all nodes, which no sequence of moves can do forever.

// Bands by which two nodes differ, as shares of the average, before anything is moved for it.
const (
	countBand = 0.05
	bytesBand = 0.08
	loadBand  = 0.10
)

// Averages below which a quantity says nothing yet.
const (
	bytesFloor   = 64 << 20
	loadFloor    = 50 // requests per second
	leadersFloor = 4  // leading a few ranges costs nothing but their load, which counts by itself
)

// scale is what the quantities are measured by: the average of the nodes that count, zero for those that say nothing.
type scale usage

func scaleOf(us []usage, counts func(i int) bool) (s scale) {
	n := 0.0
	for i, u := range us {
		if counts(i) {
			s.count, s.bytes, s.load, n = s.count+u.count, s.bytes+u.bytes, s.load+u.load, n+1
		}
	}
	if n == 0 {
		return scale{}
	}
	s.count, s.bytes, s.load = s.count/n, s.bytes/n, s.load/n
	if s.bytes < bytesFloor {
		s.bytes = 0
	}
	if s.load < loadFloor {
		s.load = 0
	}
	return s
}

// uneven says in which quantity node a has so much more than b that something should move; empty: in none.
func (s scale) uneven(a, b usage) string {
	switch {
	case s.count > 0 && a.count-b.count >= 2 && a.count-b.count > countBand*s.count:
		return "count"
	case s.bytes > 0 && a.bytes-b.bytes > bytesBand*s.bytes:
		return "bytes"
	case s.load > 0 && a.load-b.load > loadBand*s.load:
		return "load"
	}
	return ""
}

// gain returns by how much the sum of squared shares changes when r moves from a to b; negative is better. The
// quantity that the move is for must not end up the other way round.
func (s scale) gain(why string, a, b usage, r *Range) float64 {
	one := func(mean, x, from, to float64) float64 {
		if mean == 0 {
			return 0
		}
		return x * (x + to - from) / (mean * mean)
	}
	count, bytes, load := one(s.count, 1, a.count, b.count), one(s.bytes, float64(r.Bytes), a.bytes, b.bytes), one(s.load, r.Load, a.load, b.load)
	own := map[string]float64{"count": count, "bytes": bytes, "load": load}[why]
	if own >= 0 {
		return 0
	}
	return count + bytes + load
}

func (s scale) share(u usage) float64 {
	f := 0.0
	if s.count > 0 {
		f += u.count / s.count
	}
	if s.bytes > 0 {
		f += u.bytes / s.bytes
	}
	if s.load > 0 {
		f += u.load / s.load
	}
	return f
}

const minGain = 1e-9

// fill is how much a node holds, compared with the others.
func (p *planner) fill(i int) float64 { return p.hostScale().share(p.hosted[i]) }

func (p *planner) hostScale() scale {
	return scaleOf(p.hosted, func(i int) bool {
		n := &p.Nodes[i]
		return n.Live && !n.Decommissioning && !n.Lost
	})
}

// balanceReplicas moves voters from nodes that have more to nodes that have less.
func (p *planner) balanceReplicas(limit int) {
	var order []int // nodes by what they hold, most first
	for i := range p.Nodes {
		order = append(order, i)
	}
	on := make([][]int, len(p.Nodes))  // ranges that may move off a node
	led := make([][]int, len(p.Nodes)) // ranges that may when another node leads them
	for ri := range p.Ranges {
		r := &p.Ranges[ri]
		if p.changed[ri] || r.Settling || !p.hasQuorum(r) {
			continue
		}
		for _, v := range r.Voters {
			switch n, ok := p.byID[v]; {
			case !ok || !p.Nodes[n].Live:
			case v != r.Leader || len(r.Voters) == 1:
				on[n] = append(on[n], ri)
			case !r.LeaderSettling && !p.stays(r):
				led[n] = append(led[n], ri)
			}
		}
	}
	for len(p.changes) < limit {
		s := p.hostScale()
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Or(-cmp.Compare(s.share(p.hosted[a]), s.share(p.hosted[b])), cmp.Compare(p.Nodes[a].ID, p.Nodes[b].ID))
		})
		if !p.moveOne(s, order, on) && !p.moveOne(s, order, led) {
			return
		}
	}
}

// moveOne plans the best move from the node that holds most of which something can be moved, or what must come before it:
// that another node leads the range.
func (p *planner) moveOne(s scale, order []int, on [][]int) bool {
	for _, from := range order {
		best, bestTo, bestGain, bestWhy := -1, 0, -minGain, ""
		for k := len(order) - 1; k >= 0; k-- {
			to := order[k]
			why := s.uneven(p.hosted[from], p.hosted[to])
			if why == "" || p.coming[to] >= maxIncoming {
				continue
			}
			for _, ri := range on[from] {
				r := &p.Ranges[ri]
				g := s.gain(why, p.hosted[from], p.hosted[to], r)
				if p.changed[ri] || g >= bestGain || slices.Contains(r.Voters, p.Nodes[to].ID) {
					continue
				}
				pol := p.Policies.at(r.Start)
				if !p.receives(pol, &p.Nodes[to]) || len(r.Voters) != p.wanted(pol).target ||
					p.spread(pol, p.voters(swapped(r.Voters, p.Nodes[from].ID, p.Nodes[to].ID))) > p.spread(pol, p.voters(r.Voters)) {
					continue
				}
				best, bestTo, bestGain, bestWhy = ri, to, g, why
			}
		}
		if best < 0 {
			continue
		}
		a, b := p.Nodes[from].ID, p.Nodes[bestTo].ID
		c := Change{Kind: ReplaceVoter, From: a, To: b, Balance: true,
			Reason: fmt.Sprintf("%s holds %s, %s %s", a, amount(bestWhy, p.hosted[from], "replicas"), b, amount(bestWhy, p.hosted[bestTo], "replicas"))}
		r := &p.Ranges[best]
		switch {
		case a == r.Leader && len(r.Voters) == 1:
			c.Kind = AddVoter // the only voter; it is taken away when the other can lead
		case a == r.Leader:
			next, ok := p.nextLeader(r, from)
			if !ok {
				p.changed[best] = true // for this plan
				return true
			}
			// The move itself is for the next plan; this one counts with it, and moves no more than that.
			p.hosted[from].add(r, -1)
			p.hosted[bestTo].add(r, 1)
			c.Kind, c.To, c.Reason = TransferLeader, next, "before its replica goes: "+c.Reason
		}
		p.record(best, c)
		return true
	}
	return false
}

// nextLeader is the voter that takes a range over from a node whose replica is to go: of those that the policy likes as
// well, the one that leads least.
func (p *planner) nextLeader(r *Range, from int) (NodeID, bool) {
	best := -1
	for _, v := range r.Voters {
		if to, ok := p.byID[v]; ok && p.mayTake(r, from, to) && (best < 0 || p.led[to].count < p.led[best].count) {
			best = to
		}
	}
	if best < 0 {
		return 0, false
	}
	return p.Nodes[best].ID, true
}

func amount(why string, u usage, what string) string {
	switch why {
	case "bytes":
		return fmt.Sprintf("%.0f MiB", u.bytes/(1<<20))
	case "load":
		return fmt.Sprintf("%.0f requests/s", u.load)
	}
	return fmt.Sprintf("%.0f %s", u.count, what)
}

// rank orders nodes by where a policy wants leaders; less is better.
func rank(pol *Policy, n *Node) int {
	if len(pol.Leaders) == 0 {
		return 0
	}
	if i := slices.Index(pol.Leaders, n.Region); i >= 0 {
		return i
	}
	return len(pol.Leaders)
}

// placeLeaders moves leaders that are not where their policy wants them, or on nodes that should lead nothing.
func (p *planner) placeLeaders(limit int) {
	for ri := range p.Ranges {
		if len(p.changes) >= limit {
			return
		}
		r := &p.Ranges[ri]
		if p.changed[ri] || len(r.Voters) == 1 {
			continue
		}
		pol, now := p.Policies.at(r.Start), p.node(r.Leader)
		to, ok := p.successor(r, pol, r.Leader)
		if !ok {
			continue
		}
		next := p.node(to)
		switch {
		case now.Draining && now.Live:
			p.record(ri, Change{Kind: TransferLeader, From: r.Leader, To: to, Reason: fmt.Sprintf("%s is draining", r.Leader)})
		case now.Decommissioning && now.Live:
			p.record(ri, Change{Kind: TransferLeader, From: r.Leader, To: to, Reason: fmt.Sprintf("%s is being decommissioned", r.Leader)})
		case rank(pol, next) < rank(pol, now) && !(pol.Follow && total(r.From) >= followLoad):
			p.record(ri, Change{Kind: TransferLeader, From: r.Leader, To: to,
				Reason: fmt.Sprintf("%s wants leaders in %s rather than in %s", pol.title(), next.Region, now.Region)})
		case pol.follows(): // Rates are means of a minute, so that it does not go to and fro, whoever moved it a moment ago.
			if to, why := p.follow(r, now); to != 0 {
				p.record(ri, Change{Kind: TransferLeader, From: r.Leader, To: to, Balance: true, Reason: why})
			}
		}
	}
}

// followShare is how much of a range's requests must come from another region before its leader goes there, and
// followLoad how many a second, unfollowLoad if no policy asks for it: little load is not worth that leaders are uneven.
// A leader that is there already stays for followLoad: what has been asked for a little is asked for more next.
const (
	followShare  = 0.6
	followLoad   = 1.0
	unfollowLoad = 20.0
)

// follows reports whether leaders go to where requests come from: by the policy's wish, or because it has none.
func (pol *Policy) follows() bool { return pol.Follow || len(pol.Leaders) == 0 }

// follow returns the voter in the region from which most requests come, and on the node of that region which
// sends most of them itself. It returns none when the leader is there.
func (p *planner) follow(r *Range, now *Node) (NodeID, string) {
	least := followLoad
	if !p.Policies.at(r.Start).Follow {
		least = unfollowLoad
	}
	if home := p.home(r, least); home != nil && home.ID != now.ID && home.leads() {
		if home.Region == now.Region {
			return home.ID, fmt.Sprintf("%.0f%% of the requests come from %s", 100*r.From[home.ID]/total(r.From), home.ID)
		}
		load, all := 0.0, total(r.From)
		for id, l := range r.From {
			if p.node(id).Region == home.Region {
				load += l
			}
		}
		return home.ID, fmt.Sprintf("%.0f%% of the requests come from %s", 100*load/all, home.Region)
	}
	return 0, ""
}

// home returns the node from which a range's requests are best served, nil if none is better than others or they are
// fewer than least, a second, from its region. If no voter's node sends most requests of its region, any in the region will do, the leader's first.
func (p *planner) home(r *Range, least float64) *Node {
	regions, all := map[string]float64{}, total(r.From)
	for id, load := range r.From {
		regions[p.node(id).Region] += load
	}
	var best *Node
	for _, v := range r.Voters {
		n := p.node(v)
		if load := regions[n.Region]; !n.leads() || load < least || load <= followShare*all {
			continue
		}
		if r.From[n.ID] > followShare*all {
			return n
		}
		if best == nil || n.ID == r.Leader {
			best = n
		}
	}
	return best
}

func total(from map[NodeID]float64) (sum float64) {
	for _, load := range from {
		sum += load
	}
	return sum
}

// stays reports whether a range's leader is where requests come from, so that making numbers even is no reason to move it.
// When they come from the leader's region but not from its node, others of the region may have it (within).
func (p *planner) stays(r *Range) bool {
	pol := p.Policies.at(r.Start)
	if !pol.follows() {
		return false
	}
	all := total(r.From)
	if pol.Follow && all < followLoad {
		return true
	}
	return all >= followLoad && r.From[r.Leader] > followShare*all
}

// within reports whether a range that may be led elsewhere, for the sake of even numbers, may be so on a node: its requests
// do not all come from the leader's region, or the node is in it too.
func (p *planner) within(r *Range, to *Node) bool {
	now := p.node(r.Leader)
	if to.Region == now.Region || !p.Policies.at(r.Start).follows() {
		return true
	}
	near, all := 0.0, 0.0
	for id, load := range r.From {
		if all += load; p.node(id).Region == now.Region {
			near += load
		}
	}
	return near < followLoad || near <= followShare*all
}

// balanceLeaders evens out how many ranges nodes lead, and their load, within what policies ask.
func (p *planner) balanceLeaders(limit int) {
	led := make([][]int, len(p.Nodes))
	var order []int
	for i := range p.Nodes {
		if p.Nodes[i].leads() {
			order = append(order, i)
		}
	}
	for ri := range p.Ranges {
		r := &p.Ranges[ri]
		if n, ok := p.byID[r.Leader]; ok && !p.changed[ri] && !r.LeaderSettling && len(r.Voters) > 1 && !p.stays(r) {
			led[n] = append(led[n], ri)
		}
	}
	for len(p.changes) < limit {
		s := scaleOf(p.led, func(i int) bool { return p.Nodes[i].leads() })
		if s.bytes = 0; s.count < leadersFloor {
			s.count = 0
		}
		slices.SortFunc(order, func(a, b int) int {
			return cmp.Or(-cmp.Compare(s.share(p.led[a]), s.share(p.led[b])), cmp.Compare(p.Nodes[a].ID, p.Nodes[b].ID))
		})
		if !slices.ContainsFunc(order, func(from int) bool { return p.handOne(s, from, led[from]) }) &&
			!slices.ContainsFunc(order, func(from int) bool { return p.handOn(s, from, led, limit) }) {
			return
		}
	}
}

// handOne plans the best transfer away from a node.
func (p *planner) handOne(s scale, from int, led []int) bool {
	best, bestTo, bestGain, bestWhy := -1, 0, -minGain, ""
	for _, ri := range led {
		if p.changed[ri] {
			continue
		}
		r := &p.Ranges[ri]
		for _, v := range r.Voters {
			to, ok := p.byID[v]
			if !ok || !p.mayTake(r, from, to) {
				continue
			}
			why := s.uneven(p.led[from], p.led[to])
			if why == "" {
				continue
			}
			if g := s.gain(why, p.led[from], p.led[to], r); g < bestGain {
				best, bestTo, bestGain, bestWhy = ri, to, g, why
			}
		}
	}
	if best < 0 {
		return false
	}
	a, b := p.Nodes[from].ID, p.Nodes[bestTo].ID
	p.record(best, Change{Kind: TransferLeader, From: a, To: b, Balance: true,
		Reason: fmt.Sprintf("%s leads %s, %s %s", a, amount(bestWhy, p.led[from], "ranges"), b, amount(bestWhy, p.led[bestTo], "ranges"))})
	return true
}

// mayTake reports whether the leader of a range may go from one node to another without being worse off by its policy.
func (p *planner) mayTake(r *Range, from, to int) bool {
	n, pol := &p.Nodes[to], p.Policies.at(r.Start)
	return to != from && n.leads() && allowed(pol, n) && rank(pol, n) == rank(pol, &p.Nodes[from]) && p.within(r, n)
}

// handOn plans a chain of transfers from a node to one that leads fewer ranges but has no voter of any that this one
// leads: a hands a range to b, b another one to c. The nodes between lead as many as before.
func (p *planner) handOn(s scale, from int, led [][]int, limit int) bool {
	// Breadth first, to the nearest.
	via := map[int]int{from: from} // node -> the one before it
	queue := []int{from}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if s.uneven(p.led[from], p.led[at]) == "count" {
			return p.handAlong(s, from, at, via, led, limit)
		}
		for _, ri := range led[at] {
			r := &p.Ranges[ri]
			for _, v := range r.Voters {
				to, ok := p.byID[v]
				if _, seen := via[to]; ok && !seen && !p.changed[ri] && p.mayTake(r, at, to) {
					via[to] = at
					queue = append(queue, to)
				}
			}
		}
	}
	return false
}

// handAlong plans the transfers of a chain, the last first: each by itself leaves the counts no less even.
func (p *planner) handAlong(s scale, first, last int, via map[int]int, led [][]int, limit int) bool {
	reason := fmt.Sprintf("%s leads %s, %s %s, through others", p.Nodes[first].ID, amount("count", p.led[first], "ranges"),
		p.Nodes[last].ID, amount("count", p.led[last], "ranges"))
	var ranges []int
	sum := s.gain("count", p.led[first], p.led[last], &Range{})
	for to := last; to != first; to = via[to] {
		from, best, bestLoad := via[to], -1, 0.0
		for _, ri := range led[from] {
			r := &p.Ranges[ri]
			if p.changed[ri] || slices.Contains(ranges, ri) || !slices.Contains(r.Voters, p.Nodes[to].ID) || !p.mayTake(r, from, to) {
				continue
			}
			load := 0.0
			if s.load > 0 {
				load = r.Load * (r.Load + p.led[to].load - p.led[from].load) / (s.load * s.load)
			}
			if best < 0 || load < bestLoad {
				best, bestLoad = ri, load
			}
		}
		if best < 0 {
			return false
		}
		ranges = append(ranges, best)
		sum += bestLoad
	}
	if sum >= -minGain || len(p.changes)+len(ranges) > limit {
		return false
	}
	to := last
	for _, ri := range ranges {
		from := via[to]
		p.record(ri, Change{Kind: TransferLeader, From: p.Nodes[from].ID, To: p.Nodes[to].ID, Balance: true, Reason: reason})
		to = from
	}
	return true
}
