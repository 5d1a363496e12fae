package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a range needs, the most urgent first.
const (
	needSplit = iota
	needQuorum
	needVoter
	needReplacement
	needDeparture
	needRemoval
	needSpace
	needSpread
	needNothing
)

// need returns what is wrong with a range. It does not depend on what else is planned.
func (p *planner) need(r *Range) int {
	if p.Policies.Boundary(r.Start, r.End) != nil {
		return needSplit
	}
	if !p.hasQuorum(r) {
		return needNothing // nothing can be changed, and perhaps nothing is wrong but the network
	}
	pol := p.Policies.at(r.Start)
	w := p.wanted(pol)
	need := needNothing
	for _, v := range r.Voters {
		n := p.node(v)
		switch {
		case p.replaceNow(r, n) && p.bare(r):
			return needQuorum
		case len(r.Voters) < w.target:
			need = min(need, needVoter)
		case p.replaceNow(r, n):
			need = min(need, needReplacement)
		case n.Decommissioning, !allowed(pol, n):
			need = min(need, needDeparture)
		case len(r.Voters) > w.target && p.surplus(r, w):
			need = min(need, needRemoval)
		case n.Live && n.fullerThan(crammedAt):
			need = min(need, needSpace)
		}
	}
	if need == needNothing && p.spread(pol, p.voters(r.Voters)) > w.spread {
		return needSpread
	}
	return need
}

// surplus reports whether a range has more voters than it should. It has not because nodes were lost: the voters on
// those come back, or are replaced when there is a node for them. An even number comes from a replacement in steps.
func (p *planner) surplus(r *Range, w want) bool {
	return len(r.Voters) > w.declared || len(r.Voters) > w.target && len(r.Voters)%2 == 0
}

func (p *planner) liveVoters(r *Range) (live int) {
	for _, v := range r.Voters {
		if n := p.node(v); n.Live && !n.Lost {
			live++
		}
	}
	return live
}

func (p *planner) hasQuorum(r *Range) bool { return p.liveVoters(r) > len(r.Voters)/2 }

// bare reports whether a range stops when it loses one more voter.
func (p *planner) bare(r *Range) bool { return p.liveVoters(r)-1 <= len(r.Voters)/2 }

// replaceNow reports whether a voter's node is given up.
func (p *planner) replaceNow(r *Range, n *Node) bool {
	return p.gone(n) || !n.Live && !n.Draining && n.Down >= p.UrgentAfter && p.bare(r)
}

// repair returns the next step towards what a range needs.
func (p *planner) repair(r *Range) (Change, bool) {
	if key := p.Policies.Boundary(r.Start, r.End); key != nil {
		return Change{Kind: SplitRange, Key: key, Reason: p.boundaryReason(key)}, true
	}
	pol := p.Policies.at(r.Start)
	w := p.wanted(pol)
	over := p.surplus(r, w)
	for _, v := range r.Voters {
		if n := p.node(v); p.replaceNow(r, n) {
			why := p.goneReason(r, n)
			if over {
				return Change{Kind: RemoveVoter, From: v, Reason: why}, true
			}
			if len(r.Voters) < w.target {
				continue // another voter is what helps most
			}
			if to, ok := p.best(r, pol, v); ok {
				return Change{Kind: ReplaceVoter, From: v, To: to, Reason: why}, true
			}
		}
	}
	if len(r.Voters) < w.target {
		return p.grow(r, pol, w)
	}
	for _, v := range r.Voters {
		why := p.departs(pol, p.node(v))
		if why == "" {
			continue
		}
		if over {
			if c, ok := p.without(r, pol, v, 0, why); ok {
				return c, true
			}
		}
		if to, ok := p.best(r, pol, v); ok {
			if c, ok := p.without(r, pol, v, to, why); ok {
				return c, true
			}
		}
	}
	if over {
		v := p.worst(r, pol)
		return p.without(r, pol, v, 0, fmt.Sprintf("%d voters, %d are wanted%s", len(r.Voters), w.target, pol.of()))
	}
	score := p.spread(pol, p.voters(r.Voters))
	for _, v := range r.Voters {
		if n := p.node(v); n.Live && n.fullerThan(crammedAt) {
			if to, ok := p.best(r, pol, v); ok && p.spread(pol, p.voters(swapped(r.Voters, v, to))) <= score {
				return p.without(r, pol, v, to, fmt.Sprintf("the disk of %s is %.0f%% full", v, 100*float64(n.Capacity-n.Free)/float64(n.Capacity)))
			}
		}
	}
	if score > w.spread {
		return p.spreadOut(r, pol, score)
	}
	return Change{}, false
}

// departs says why a voter should leave a node that lives, empty if it should not.
func (p *planner) departs(pol *Policy, n *Node) string {
	switch {
	case !n.Live:
		return ""
	case n.Decommissioning:
		return fmt.Sprintf("%s is being decommissioned", n.ID)
	case !allowed(pol, n):
		return fmt.Sprintf("%s is in %s, voters%s belong in %s", n.ID, n.Region, pol.of(), strings.Join(pol.Regions, ", "))
	}
	return ""
}

// grow returns the addition of a voter, or of two, as an even number of voters survives no more losses than one less.
func (p *planner) grow(r *Range, pol *Policy, w want) (Change, bool) {
	to, ok := p.best(r, pol, 0)
	c := Change{Kind: AddVoter, To: to, Reason: fmt.Sprintf("%d of %d voters%s", len(r.Voters), w.target, pol.of())}
	if ok && len(r.Voters)%2 == 1 {
		with := *r
		with.Voters = swapped(r.Voters, 0, to)
		c.Second, ok = p.best(&with, pol, 0)
	}
	return c, ok
}

// spreadOut returns the replacement that improves the spread most.
func (p *planner) spreadOut(r *Range, pol *Policy, score int) (Change, bool) {
	type swap struct {
		from, to NodeID
		score    int
		leader   bool
	}
	best := swap{score: score}
	for _, v := range r.Voters {
		if n := p.node(v); !n.Live {
			continue // it is waited for, or replaced
		}
		to, ok := p.best(r, pol, v)
		if !ok {
			continue
		}
		s := swap{v, to, p.spread(pol, p.voters(swapped(r.Voters, v, to))), v == r.Leader}
		if s.score < best.score || s.score == best.score && best.from != 0 && best.leader && !s.leader {
			best = s
		}
	}
	if best.from == 0 {
		return Change{}, false
	}
	after := swapped(r.Voters, best.from, best.to)
	return p.without(r, pol, best.from, best.to, fmt.Sprintf("voters in %s instead of %s", p.domains(after), p.domains(r.Voters)))
}

// without returns the next step on the way to replacing a voter by another, or to removing it (to is 0). A leader has
// to hand over first; the only voter hands over to its replacement.
func (p *planner) without(r *Range, pol *Policy, v, to NodeID, why string) (Change, bool) {
	c := Change{Kind: ReplaceVoter, From: v, To: to, Reason: why}
	if to == 0 {
		c.Kind = RemoveVoter
	}
	if v != r.Leader {
		return c, true
	}
	if next, ok := p.successor(r, pol, v); ok {
		return Change{Kind: TransferLeader, From: v, To: next, Reason: "before its voter goes: " + why}, true
	}
	if len(r.Voters) == 1 && to != 0 {
		return Change{Kind: AddVoter, To: to, Reason: why}, true
	}
	return Change{}, false
}

// successor returns the voter that should lead instead of one.
func (p *planner) successor(r *Range, pol *Policy, instead NodeID) (NodeID, bool) {
	var best *Node
	for _, v := range r.Voters {
		n := p.node(v)
		if v == instead || !n.leads() {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(boolInt(!allowed(pol, n)), boolInt(!allowed(pol, best))), cmp.Compare(rank(pol, n), rank(pol, best)),
			cmp.Compare(p.led[p.byID[n.ID]].count, p.led[p.byID[best.ID]].count), cmp.Compare(n.ID, best.ID)) < 0 {
			best = n
		}
	}
	if best == nil {
		return 0, false
	}
	return best.ID, true
}

// best returns the node that a voter of the range should be on instead of one, or besides all when instead is 0.
func (p *planner) best(r *Range, pol *Policy, instead NodeID) (NodeID, bool) {
	var best *Node
	var bestScore int
	var bestFill float64
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if !p.receives(pol, n) || slices.Contains(r.Voters, n.ID) {
			continue
		}
		score, fill := p.spread(pol, p.voters(swapped(r.Voters, instead, n.ID))), p.fill(i)
		if best == nil || cmp.Or(cmp.Compare(score, bestScore), cmp.Compare(fill, bestFill),
			cmp.Compare(mix(r.ID, n.ID), mix(r.ID, best.ID))) < 0 {
			best, bestScore, bestFill = n, score, fill
		}
	}
	if best == nil {
		return 0, false
	}
	return best.ID, true
}

// worst returns the voter that is missed least: one that cannot be used, else the one whose loss leaves the best
// spread, else one on the node with most to do; the leader last.
func (p *planner) worst(r *Range, pol *Policy) NodeID {
	return slices.MinFunc(r.Voters, func(a, b NodeID) int {
		na, nb := p.node(a), p.node(b)
		return cmp.Or(
			cmp.Compare(boolInt(na.leads()), boolInt(nb.leads())),
			cmp.Compare(p.spread(pol, p.voters(swapped(r.Voters, a, 0))), p.spread(pol, p.voters(swapped(r.Voters, b, 0)))),
			-cmp.Compare(p.weight(r, a), p.weight(r, b)),
			cmp.Compare(boolInt(a == r.Leader), boolInt(b == r.Leader)),
			cmp.Compare(a, b))
	})
}

// weight says how much the sum of squared shares falls when the range leaves a node: what balance added must not be
// taken away again.
func (p *planner) weight(r *Range, id NodeID) float64 {
	i, ok := p.byID[id]
	if !ok {
		return 0
	}
	s, u := p.hostScale(), p.hosted[i]
	w := 0.0
	if s.count > 0 {
		w += u.count / (s.count * s.count)
	}
	if s.bytes > 0 {
		w += float64(r.Bytes) * u.bytes / (s.bytes * s.bytes)
	}
	if s.load > 0 {
		w += r.Load * u.load / (s.load * s.load)
	}
	return w
}

func (p *planner) goneReason(r *Range, n *Node) string {
	switch {
	case n.Lost:
		return fmt.Sprintf("%s is lost", n.ID)
	case n.Decommissioning:
		return fmt.Sprintf("%s is down and being decommissioned", n.ID)
	}
	why := fmt.Sprintf("%s has been down for %s", n.ID, n.Down.Round(time.Second))
	if n.Down < p.ReplaceAfter {
		why += fmt.Sprintf(", and with %d of %d voters one more must not fail", p.liveVoters(r), len(r.Voters))
	}
	return why
}

func (p *planner) boundaryReason(key []byte) string {
	after := p.Policies.At(key)
	if after.Name == "" {
		return "a placement policy ends there"
	}
	return fmt.Sprintf("policy %s begins there", after.Name)
}

// of names the policy in an explanation.
func (pol *Policy) of() string {
	if pol.Name == "" {
		return ""
	}
	return " of " + pol.Name
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// mix spreads ranges over nodes that are alike.
func mix(a RangeID, n NodeID) uint64 {
	x := (uint64(a)<<16 | uint64(n)) * 0x9e3779b97f4a7c15
	return x ^ x>>29
}

// title names the policy at the beginning of an explanation.
func (pol *Policy) title() string {
	if pol.Name == "" {
		return "the placement policy"
	}
	return "policy " + pol.Name
}
