package ranges

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/truetime"
)

// This is a model of leadership in one range of three nodes, explored state by state (breadth first, so that
// the first violation is a shortest one). The votes are the real ones (type votes, its every method that the
// store calls); around them stands Raft, reduced to what elections need, a network that loses, delays and reorders,
// crashes, orderly restarts, planned transfers, other ranges of the same nodes that raise epochs, and clocks
// that differ by one unit. What it checks is I4: no lease begins before those of earlier terms are over.
//
// The range may be split once. From then on the model is about the keys of the right half: of a node that has applied the
// split it has the replica of the right half, of one that has not that of the undivided range, and messages pass between
// replicas of one range only. Terms of the right half count on from that in which the split was made, whatever those of the
// undivided range do. A leader that is elected there later has the split in its log and applies it before it has a lease, so
// its lease is none on these keys.
//
// The model is bounded (modelTime, modelTerm, one restart, one vote in another range): it shows the absence of short counterexamples. Each
// mechanism it is about can be taken away, and then a violation is found; see TestLeaseModelFindsFaults.

const (
	modelNodes  = 3
	modelTime   = 5 // units of true time
	modelTerm   = 4 // at most: see modelState.terms
	modelWindow = 1
)

// modelFaults are mechanisms taken away.
type modelFaults struct {
	ignoreVotes bool // votes as if nothing had been promised
	keepEpoch   bool // a vote against a leader does not raise the epoch
	noBarrier   bool // a restart forgets what was promised
	anyTransfer bool // whoever is told to campaign passes the filter, with or without the handed-over state
	lateFreeze  bool // the leader goes on serving after it has handed over
	badClock    bool // clocks are wrong by more than their bound (I1)
	forgetPast  bool // who follows the target of a transfer forgets what it promised before
	anyHeir     bool // who held the lease of the undivided range is elected like the target of a transfer after others have led
	heirOnDisk  bool // it is even after a restart
}

// modelMsg is a message under way; the zero one stands for none. There is one of each kind for each pair of nodes.
type modelMsg struct {
	term, epoch uint64
	until       truetime.Timestamp
}

type modelNode struct {
	votes   *votes
	ceiling [modelNodes]truetime.Timestamp // on disk
	ended   truetime.Timestamp             // on disk: end of the leases of earlier lives, told in this one

	term      uint64 // on disk
	voted     bool   // on disk: in term
	campaigns bool
	follow    follow
	lease     uint64 // the term it leads
	acquired  bool
	frozen    bool
	acks      [modelNodes]uint64
	published truetime.Timestamp
	handoff   uint64 // of which term it holds the handed-over state
	transfers bool   // campaigns by order of the leader, or as heir

	right bool   // has applied the split
	heir  bool   // Replica.mu.heir
	wrote uint64 // term of the last entry of the right half's log, zero when it is empty
}

type modelState struct {
	now   int
	nodes [modelNodes]modelNode
	// Under way, from the first to the second.
	grants, acks, orders, notes [modelNodes][modelNodes]modelMsg
	restarts, others            int
	split                       uint64 // the term in which the split was made, zero: none

	// History: by term, when its lease began, until when it was published, when it was frozen, and of which term it
	// took over the state.
	began, until, froze, heir [modelTerm + 1]int

	leader [modelTerm + 1][2]int // who led it, in which life

	splits     bool   // whether the range may be split
	forgetPast bool   // modelFaults.forgetPast
	anyHeir    bool   // modelFaults.anyHeir
	terms      uint64 // the last term; with three a target of a transfer can be lost, and there are many more states

	parent *modelState
	step   string
	args   [4]uint64
}

func nid(i int) NodeID { return NodeID(i + 1) }

// newModel is a range that n1 leads in term 1, followed by n2, with a lease that both support.
func newModel() *modelState {
	s := &modelState{now: 1}
	for i := range s.nodes {
		s.nodes[i].votes = newVotes(nid(i), 1, modelWindow)
		s.nodes[i].term, s.nodes[i].voted = 1, true
	}
	s.elect(0)
	for j := range 2 {
		s.ask(0, j)
		s.hearGrant(0, j, &modelFaults{})
	}
	s.follow(1, 0)
	s.hearAck(0, 1, &modelFaults{})
	if !s.nodes[0].acquired {
		panic("model: no first lease")
	}
	return s
}

// handedOver is a range whose lease n1 has just handed over to n2, which n3 supports and follows; n1 has promised itself,
// and n2 and n3 have promised n1, more than has passed.
func handedOver() *modelState {
	s, f := newModel(), &modelFaults{}
	s.nodes[0].frozen, s.froze[1] = true, s.now
	s.nodes[0].handoff, s.nodes[1].handoff = 1, 1
	s.ask(0, 2) // n3 supports n1, too, and has followed it
	s.hearGrant(0, 2, f)
	s.follow(2, 0)
	s.acks[2][0] = modelMsg{}
	s.campaign(1)
	s.leave(2, 2)
	s.nodes[2].voted = true
	s.elect(1)
	for _, j := range []int{1, 2} {
		s.ask(1, j)
		s.hearGrant(1, j, f)
	}
	s.follow(2, 1)
	s.hearAck(1, 2, f)
	if !s.nodes[1].acquired || s.heir[2] != 1 || s.nodes[2].follow.past == 0 {
		panic("model: no lease handed over")
	}
	return s
}

// othersLead is the right half of a range whose heir, n1, was not elected before the promises it had were over; n2 leads.
func othersLead() *modelState {
	s := newModel()
	s.splits, s.terms = true, 3
	return s.walk("n1 applies the split", "n2 applies the split", "n3 applies the split", "time passes", "time passes", "time passes",
		"n2 campaigns in term 2", "n3 votes for n2 in term 2", "n2 asks n2 for support", "n2 asks n3 for support", "n3 follows n2 in term 2")
}

// walk takes steps by their names.
func (s *modelState) walk(steps ...string) *modelState {
	for _, want := range steps {
		var found *modelState
		s.successors(&modelFaults{}, func(c *modelState) {
			if strings.HasSuffix(c.String(), ": "+want) {
				found = c
			}
		})
		if found == nil {
			panic("model: no step " + want)
		}
		s = found
	}
	return s
}

func (v *votes) cloneForModel() *votes {
	c := newVotes(v.self, v.boot, v.window)
	c.ignore, c.barrier, c.retired = v.ignore, v.barrier, v.retired
	c.barriers, c.got = maps.Clone(v.barriers), maps.Clone(v.got)
	for n, p := range v.given {
		q := *p
		c.given[n] = &q
	}
	return c
}

// next is a copy in which the votes of one node may be changed.
func (s *modelState) next(changes int, step string, args ...uint64) *modelState {
	c := *s
	if changes >= 0 {
		c.nodes[changes].votes = s.nodes[changes].votes.cloneForModel()
	}
	c.parent, c.step, c.args = s, step, [4]uint64{}
	copy(c.args[:], args)
	return &c
}

func (s *modelState) String() string {
	args := make([]any, strings.Count(s.step, "%"))
	for i := range args {
		args[i] = s.args[i]
	}
	return fmt.Sprintf("%d: ", s.parent.now) + fmt.Sprintf(s.step, args...)
}

// appendKey appends what tells states apart.
func (s *modelState) appendKey(b []byte) []byte {
	put := func(xs ...uint64) {
		for _, x := range xs {
			b = binary.AppendUvarint(b, x)
		}
	}
	bit := func(xs ...bool) {
		for _, x := range xs {
			if x {
				b = append(b, 1)
			} else {
				b = append(b, 0)
			}
		}
	}
	put(uint64(s.now), uint64(s.restarts), uint64(s.others), s.split)
	for i := range s.nodes {
		n := &s.nodes[i]
		put(n.votes.boot, uint64(n.votes.barrier))
		bit(n.votes.retired, n.voted, n.campaigns, n.acquired, n.frozen, n.transfers, n.follow.released, n.right, n.heir)
		put(n.wrote)
		for j := range s.nodes {
			p := n.votes.given[nid(j)]
			if p == nil {
				p = &promise{}
			}
			g := n.votes.got[nid(j)]
			put(uint64(n.votes.barriers[nid(j)]), p.epoch, uint64(p.until), uint64(p.oldUntil), p.peerBoot, uint64(p.ceiling), g.epoch, uint64(g.until), uint64(n.ceiling[j]), n.acks[j])
		}
		put(uint64(n.ended), n.term, uint64(n.follow.leader), n.follow.term, n.follow.epoch, uint64(n.follow.until), uint64(n.follow.past), n.lease, uint64(n.published), n.handoff)
	}
	for i := range s.nodes {
		for j := range s.nodes {
			for _, m := range []modelMsg{s.grants[i][j], s.acks[i][j], s.orders[i][j], s.notes[i][j]} {
				put(m.term, m.epoch, uint64(m.until))
			}
		}
	}
	for t := range s.began {
		put(uint64(s.began[t]), uint64(s.until[t]), uint64(s.froze[t]), uint64(s.heir[t]), uint64(s.leader[t][0]), uint64(s.leader[t][1]))
	}
	return b
}

// The clocks of the nodes differ by one unit: a reading contains true time (I1) and is one unit wide at the most. Of the readings
// possible the model takes for each step the one that allows most: what has passed is judged by earliest = now, what has not
// by latest = now, and what is asked for by latest = now + 1. Others allow less, or the same a step later.
func (s *modelState) reading() truetime.Interval {
	return truetime.Interval{Earliest: truetime.Timestamp(s.now), Latest: truetime.Timestamp(s.now)}
}

// leave ends a node's term as leader, or its candidacy, because it moves to another term.
func (s *modelState) leave(i int, term uint64) {
	n := &s.nodes[i]
	if n.lease != 0 {
		n.follow = follow{leader: nid(i), term: n.lease, released: true, until: n.published, past: n.follow.past}
		for j := range s.nodes {
			if j != i {
				s.notes[i][j] = modelMsg{term: n.lease, until: n.published}
			}
		}
		n.lease, n.acquired, n.frozen, n.acks, n.published = 0, false, false, [modelNodes]uint64{}, 0
	}
	n.term, n.voted, n.campaigns, n.transfers = term, false, false, false
}

func (s *modelState) campaign(i int) {
	s.leave(i, s.nodes[i].term+1)
	s.nodes[i].voted, s.nodes[i].campaigns = true, true
}

// elect begins a term. Its lease is taken to begin at once, which is earlier than it can.
func (s *modelState) elect(i int) {
	n := &s.nodes[i]
	e := n.votes.epochFor(nid(i))
	n.campaigns, n.transfers = false, false
	n.lease = n.term
	n.acks[i] = e
	n.follow = s.turn(i, follow{leader: nid(i), term: n.term, epoch: e})
	if s.elsewhere(n.right, n.term) {
		return
	}
	if n.right {
		n.wrote = n.term
	}
	t := int(n.term)
	s.began[t], s.leader[t] = s.now, [2]int{i, int(n.votes.boot)}
	if h := int(n.handoff); h > 0 && h < t && !slices.ContainsFunc(s.began[h+1:t], func(x int) bool { return x > 0 }) {
		s.heir[t] = h
	}
}

// elsewhere reports whether a term is one in which the undivided range is led without the right half.
func (s *modelState) elsewhere(right bool, term uint64) bool {
	return s.split != 0 && !right && term > s.split
}

// turn is votes.followed.
func (s *modelState) turn(i int, next follow) follow {
	next = s.nodes[i].votes.followed(s.nodes[i].follow, next)
	if s.forgetPast {
		next.past = 0
	}
	return next
}

// ask has j answer i's request for support.
func (s *modelState) ask(i, j int) {
	n, p := &s.nodes[i], &s.nodes[j]
	now := truetime.Interval{Earliest: truetime.Timestamp(s.now), Latest: truetime.Timestamp(s.now + 1)}
	want := now.Latest.Add(modelWindow)
	p.votes.ended(nid(i), n.votes.boot, n.ended)
	ceiling := p.votes.needCeiling(nid(i), want, now)
	if ceiling != 0 {
		p.ceiling[i] = ceiling
	}
	g := p.votes.grant(nid(i), n.votes.boot, want, ceiling, now)
	s.grants[j][i] = modelMsg{epoch: g.epoch, until: g.until}
}

// follow has j answer an entry of i's term, under the epoch that it has then.
func (s *modelState) follow(j, i int) {
	p, term := &s.nodes[j], s.nodes[i].lease
	if p.term < term {
		s.leave(j, term)
	}
	p.campaigns = false
	if p.right {
		p.wrote, p.heir = term, p.heir && s.anyHeir
	}
	e := p.votes.epochFor(nid(i))
	p.follow = s.turn(j, follow{leader: nid(i), term: term, epoch: e})
	s.acks[j][i] = modelMsg{term: term, epoch: e}
}

// hearGrant delivers the answer to ask.
func (s *modelState) hearGrant(i, j int, f *modelFaults) {
	m := s.grants[j][i]
	s.grants[j][i] = modelMsg{}
	s.nodes[i].votes.record(nid(j), granted{epoch: m.epoch, until: m.until})
	s.look(i, f)
}

// hearAck delivers what follow has sent.
func (s *modelState) hearAck(i, j int, f *modelFaults) {
	m, n := s.acks[j][i], &s.nodes[i]
	s.acks[j][i] = modelMsg{}
	if m.term == n.lease {
		n.acks[j] = max(n.acks[j], m.epoch)
		s.look(i, f)
	}
}

// look publishes what the node's lease is now.
func (s *modelState) look(i int, f *modelFaults) {
	n := &s.nodes[i]
	if n.lease == 0 || n.frozen && !f.lateFreeze || s.elsewhere(n.right, n.lease) {
		return
	}
	acks := map[NodeID]uint64{}
	for j, e := range n.acks {
		acks[nid(j)] = e
	}
	until := n.votes.leaseUntil([]NodeID{1, 2, 3}, nil, acks)
	if until <= s.reading().Latest {
		return
	}
	n.acquired = true
	n.published = max(n.published, until)
	s.until[n.lease] = max(s.until[n.lease], int(until))
	if n.frozen {
		s.froze[n.lease] = s.now // it serves still
	}
}

// check is I4.
func (s *modelState) check() error {
	for a := 1; a <= modelTerm; a++ {
		for b := a + 1; b <= modelTerm; b++ {
			if s.until[a] == 0 || s.began[b] == 0 || s.leader[a] == s.leader[b] {
				continue // a leader that is elected again keeps to what it has promised
			}
			end := s.until[a]
			if s.inherits(b, a) && s.froze[a] > 0 {
				end = s.froze[a]
			}
			if s.began[b] < end {
				return fmt.Errorf("I4: the lease of term %d ends at %d, that of term %d begins at %d", a, end, b, s.began[b])
			}
		}
	}
	return nil
}

// inherits reports whether term b has taken over from term a, or from one that has. Who comes after b and has not taken
// over from it must wait for the end of both.
func (s *modelState) inherits(b, a int) bool {
	for b > a {
		b = s.heir[b]
	}
	return b == a
}

// successors calls yield for every state one step away.
func (s *modelState) successors(f *modelFaults, yield func(*modelState)) {
	if s.now < modelTime {
		c := s.next(-1, "time passes")
		c.now++
		for i := range c.nodes {
			if c.nodes[i].frozen {
				c.look(i, f)
			}
		}
		yield(c)
	}
	for i := range s.nodes {
		s.leaderSteps(f, i, yield)
		s.voterSteps(f, i, yield)
		s.splitSteps(i, yield)
		s.otherRanges(f, i, yield)
		if s.restarts == 0 {
			s.restart(f, i, false, yield)
			s.restart(f, i, true, yield)
		}
	}
}

// leaderSteps are those of a node that leads.
func (s *modelState) leaderSteps(f *modelFaults, i int, yield func(*modelState)) {
	n := &s.nodes[i]
	if n.lease == 0 || n.lease == s.terms {
		return // of the last term it only matters when it begins
	}
	me := uint64(i + 1)
	for j := range s.nodes {
		peer := uint64(j + 1)
		if s.grants[j][i].epoch == 0 {
			c := s.next(j, "n%d asks n%d for support; the answer is late", me, peer)
			c.ask(i, j)
			if j != i {
				yield(c)
			}
			d := c.next(i, "n%d asks n%d for support", me, peer)
			d.parent = s
			d.hearGrant(i, j, f)
			yield(d)
		} else {
			c := s.next(i, "n%d hears at last that n%d supports it", me, peer)
			c.hearGrant(i, j, f)
			yield(c)
		}
		if m := s.acks[j][i]; m.term == 0 && j != i && s.nodes[j].term <= n.lease && s.nodes[j].right == n.right {
			c := s.next(j, "n%d follows n%d in term %d; the answer is late", peer, me, n.lease)
			c.follow(j, i)
			yield(c)
			d := c.next(-1, "n%d follows n%d in term %d", peer, me, n.lease)
			d.parent = s
			d.hearAck(i, j, f)
			yield(d)
		} else if m.term != 0 {
			c := s.next(-1, "n%d hears at last that n%d follows it", me, peer)
			c.hearAck(i, j, f)
			yield(c)
		}
		if j != i && n.acquired && !n.frozen && s.nodes[j].right == n.right {
			c := s.next(-1, "n%d freezes term %d and hands it to n%d", me, n.lease, peer)
			c.nodes[i].frozen = true
			c.froze[n.lease] = s.now
			c.nodes[i].handoff, c.nodes[j].handoff = n.lease, n.lease
			c.orders[i][j] = modelMsg{term: n.lease}
			yield(c)
		}
	}
	if e := n.votes.epochFor(nid(i)); e != n.follow.epoch && n.follow.leader == nid(i) && !n.follow.released {
		c := s.next(-1, "n%d votes for itself anew", me)
		c.nodes[i].follow.epoch, c.nodes[i].acks[i] = e, e
		c.look(i, f)
		yield(c)
	}
}

// splitSteps are those by which a node gets its replica of the right half. The first is that of the leader.
func (s *modelState) splitSteps(i int, yield func(*modelState)) {
	n, me := &s.nodes[i], uint64(i+1)
	switch {
	case !s.splits || n.right:
		return
	case s.split == 0:
		// A hand-over waits until a split has been applied, and none begins after it.
		if n.lease == 0 || n.frozen || n.lease >= s.terms || slices.ContainsFunc(s.began[n.lease+1:], func(x int) bool { return x > 0 }) {
			return
		}
	}
	c := s.next(-1, "n%d applies the split", me)
	p := &c.nodes[i]
	if c.split == 0 {
		c.split = n.lease
		p.heir, p.handoff = n.acquired, 0
		if n.acquired {
			c.froze[n.lease], p.handoff = c.now, n.lease
		}
	} else {
		p.handoff = 0
	}
	// What it leads it leads without the right half; whom it follows, itself included, holds for that, too.
	p.right, p.lease, p.acquired, p.frozen, p.acks, p.campaigns, p.transfers = true, 0, false, false, [modelNodes]uint64{}, false, false
	p.term, p.voted = c.split, false
	for j := range c.nodes { // those were for the replica of the undivided range
		for _, q := range []*[modelNodes][modelNodes]modelMsg{&c.acks, &c.orders, &c.notes} {
			q[i][j], q[j][i] = modelMsg{}, modelMsg{}
		}
	}
	yield(c)
}

// mayVote is votes.mayVote without what f takes away.
func (s *modelState) mayVote(f *modelFaults, i int, fo follow, candidate NodeID) bool {
	n, now := &s.nodes[i], s.reading()
	if f.badClock {
		now.Earliest += 2
	}
	n.votes.ignore = f.ignoreVotes
	before := n.votes.cloneForModel()
	ok := n.votes.mayVote(fo, candidate, true, now)
	if f.keepEpoch {
		n.votes = before
	}
	n.votes.ignore = false
	return ok
}

// voterSteps are campaigns and votes.
func (s *modelState) voterSteps(f *modelFaults, i int, yield func(*modelState)) {
	n, me := &s.nodes[i], uint64(i+1)
	if n.lease == 0 && n.term < s.terms {
		c := s.next(i, "n%d campaigns in term %d", me, n.term+1)
		if c.mayVote(f, i, n.follow, nid(i)) {
			c.campaign(i)
			yield(c)
		}
		if n.heir && (n.wrote == 0 || f.anyHeir) {
			c := s.next(-1, "n%d campaigns in term %d as heir", me, n.term+1)
			c.campaign(i)
			c.nodes[i].transfers = true
			yield(c)
		}
	}
	for j := range s.nodes {
		o, peer := &s.nodes[j], uint64(j+1)
		if m := s.orders[j][i]; m.term != 0 && n.lease == 0 && m.term == n.term && n.term < s.terms && (n.handoff == m.term || f.anyTransfer) {
			c := s.next(-1, "n%d campaigns in term %d by order of n%d", me, n.term+1, peer)
			c.orders[j][i] = modelMsg{}
			c.campaign(i)
			c.nodes[i].transfers = true
			yield(c)
		}
		if m := s.notes[j][i]; m.term != 0 && n.follow.leader == nid(j) && n.follow.term == m.term && !n.follow.released {
			c := s.next(-1, "n%d hears that n%d has given up term %d, good until %d", me, peer, m.term, uint64(m.until))
			c.notes[j][i] = modelMsg{}
			c.nodes[i].follow.released, c.nodes[i].follow.until = true, m.until
			yield(c)
		}
		if j != i && o.campaigns && n.right == o.right && (o.wrote >= n.wrote || f.anyHeir) && (n.term < o.term || n.term == o.term && !n.voted) {
			c := s.next(i, "n%d votes for n%d in term %d", me, peer, o.term)
			if o.transfers || c.mayVote(f, i, n.follow, nid(j)) {
				if n.term < o.term {
					c.leave(i, o.term)
				}
				c.nodes[i].voted = true
				c.elect(j) // at once: later is no worse
				yield(c)
			}
		}
	}
}

// restart is a crash, or an orderly end; the node's memory is gone.
func (s *modelState) restart(f *modelFaults, i int, orderly bool, yield func(*modelState)) {
	c := s.next(i, "n%d crashes", uint64(i+1))
	c.restarts++
	p := &c.nodes[i]
	bars := map[NodeID]truetime.Timestamp{}
	for j, t := range p.ceiling {
		bars[nid(j)] = t
	}
	ended := truetime.Timestamp(0)
	if orderly {
		c.step = "n%d is restarted"
		bars = p.votes.retire()
		ended = max(1, p.published, p.follow.until)
	}
	v := newVotes(nid(i), p.votes.boot+1, modelWindow)
	if !f.noBarrier {
		for peer, t := range bars {
			v.bar(peer, t)
		}
	}
	*p = modelNode{votes: v, ceiling: p.ceiling, ended: ended, term: p.term, voted: p.voted || p.lease != 0, right: p.right, heir: p.heir && f.heirOnDisk, wrote: p.wrote}
	yield(c)
}

// otherRanges: in another range n(i) followed n(j) too, and helps to elect somebody else there.
func (s *modelState) otherRanges(f *modelFaults, i int, yield func(*modelState)) {
	if s.others > 0 {
		return
	}
	for j := range s.nodes {
		if pr := s.nodes[i].votes.given[nid(j)]; pr != nil && pr.until > 0 {
			c := s.next(i, "n%d votes against n%d in another range", uint64(i+1), uint64(j+1))
			c.others++
			if c.mayVote(f, i, follow{leader: nid(j), term: 1, epoch: pr.epoch}, 99) {
				yield(c)
			}
		}
	}
}

// explore visits up to limit states. It returns a shortest way to a violation.
func explore(first *modelState, f modelFaults, terms uint64, limit int) (states int, trace []string, err error) {
	first.forgetPast, first.anyHeir, first.terms = f.forgetPast, f.anyHeir, terms
	seed := maphash.MakeSeed()
	var buf []byte
	seen := map[uint64]struct{}{}
	queue := []*modelState{first}
	for len(queue) > 0 && err == nil && len(seen) < limit {
		s := queue[0]
		queue = queue[1:]
		s.successors(&f, func(c *modelState) {
			if err != nil {
				return
			}
			if err = c.check(); err != nil {
				for x := c; x.parent != nil; x = x.parent {
					trace = append([]string{x.String()}, trace...)
				}
				return
			}
			buf = c.appendKey(buf[:0])
			k := maphash.Bytes(seed, buf)
			if _, known := seen[k]; !known {
				seen[k] = struct{}{}
				queue = append(queue, c)
			}
		})
	}
	return len(seen), trace, err
}

// modelStates is how many states a test visits; MODEL_STATES overrides it.
func modelStates(n int) int {
	if v, err := strconv.Atoi(os.Getenv("MODEL_STATES")); err == nil {
		return v
	}
	return n
}

func TestLeaseModel(t *testing.T) {
	for terms := uint64(2); terms <= modelTerm; terms++ {
		n, trace, err := explore(newModel(), modelFaults{}, terms, modelStates(150_000))
		if err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(trace, "\n"))
		}
		t.Logf("%d terms: %d states", terms, n)
	}
}

// A range that is split, also just after a hand-over.
func TestLeaseModelOfSplits(t *testing.T) {
	for name, first := range map[string]func() *modelState{"split": newModel, "split after a hand-over": handedOver, "right half led by another": othersLead} {
		t.Run(name, func(t *testing.T) {
			s := first()
			s.splits = true
			n, trace, err := explore(s, modelFaults{}, s.nodes[1].term+2, modelStates(100_000))
			if err != nil {
				t.Fatalf("%v\n%s", err, strings.Join(trace, "\n"))
			}
			t.Logf("%d states", n)
		})
	}
}

// The leader elected after a hand-over leads the right half at once, whatever was promised to the one before.
func TestLeaseModelHeirLeadsAtOnce(t *testing.T) {
	s := handedOver()
	s.splits = true
	began := s.now
	s.terms = 4
	s = s.walk("n2 applies the split", "n3 applies the split", "n2 campaigns in term 3 as heir", "n3 votes for n2 in term 3",
		"n3 follows n2 in term 3")
	if s.until[3] == 0 || s.now != began || s.check() != nil {
		t.Errorf("the lease of the right half lasts until %d at %d", s.until[3], s.now)
	}
	if now := s.reading(); s.nodes[2].votes.mayVote(s.nodes[2].follow, 3, false, now) {
		t.Error("what was promised to n1 is forgotten with the split")
	}
}

// Each of the mechanisms is needed.
func TestLeaseModelFindsFaults(t *testing.T) {
	for name, f := range map[string]modelFaults{
		"votes ignored":            {ignoreVotes: true},
		"epoch not raised":         {keepEpoch: true},
		"promises forgotten":       {noBarrier: true},
		"transfer without state":   {anyTransfer: true},
		"serving after a transfer": {lateFreeze: true},
		"clocks out of bounds":     {badClock: true},
		"past promises forgotten":  {forgetPast: true},
		"heir after others":        {anyHeir: true},
		"heir after a restart":     {heirOnDisk: true},
	} {
		t.Run(name, func(t *testing.T) {
			first, terms := newModel(), uint64(2)
			if f.forgetPast {
				terms = 3
			}
			if f.anyHeir {
				first, terms = othersLead(), 3
			}
			if f.heirOnDisk {
				first.splits = true
			}
			n, trace, err := explore(first, f, terms, modelStates(1_000_000))
			if err == nil {
				t.Fatalf("no violation in %d states", n)
			}
			t.Logf("%d states: %v\n%s", n, err, strings.Join(trace, "\n"))
		})
	}
}
