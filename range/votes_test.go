package ranges

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/meridian-db/meridian/truetime"
)

// The scripts in testdata/votes drive the vote tables of a few nodes by hand. Times are in milliseconds.
//
//	time now=1000 eps=5                      the true time, and the bound all clocks admit
//	node n1                                  a node's first life
//	restart n1 [ended]                       its next; ended: the last one was closed in order
//	ask n2 of=n1 [lost]                      n2 asks n1 for support; lost: the answer does not arrive
//	lead n2 range=r term=6 voters=(..) [outgoing=(..)]
//	follow n1 range=r                        n1's replica answers the leader of r
//	vote n1 range=r for=n3 [pre]             would it help to elect n3?
//	release n1 range=r at=900                the leader's word that its lease ends then
//	lease range=r                            what the leader may use
func TestVotesScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/votes", func(t *testing.T, path string) {
		w := &voteWorld{nodes: map[NodeID]*voteNode{}, ranges: map[string]*voteRange{}, window: 2 * time.Second}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return w.run(t, d) })
	})
}

type voteNode struct {
	id       NodeID
	boot     uint64
	v        *votes
	ceilings map[NodeID]truetime.Timestamp
	follows  map[string]follow
	ended    truetime.Timestamp
	end      truetime.Timestamp // largest lease end it has seen as leader
}

type voteRange struct {
	leader             NodeID
	term               uint64
	incoming, outgoing []NodeID
	acks               map[NodeID]uint64
}

type voteWorld struct {
	now    truetime.Interval
	nodes  map[NodeID]*voteNode
	ranges map[string]*voteRange
	window time.Duration
}

func ms(ts truetime.Timestamp) string { return strconv.FormatInt(int64(ts)/1e6, 10) }

func shortEpoch(e uint64) string { return fmt.Sprintf("%d.%d", e>>32, e&0xffffffff) }

func parseNode(s string) NodeID {
	n, _ := strconv.Atoi(strings.TrimPrefix(s, "n"))
	return NodeID(n)
}

func (w *voteWorld) run(t *testing.T, d *datadriven.TestData) string {
	arg := func(key string) []string {
		for _, a := range d.CmdArgs {
			if a.Key == key {
				return a.Vals
			}
		}
		return nil
	}
	num := func(key string) truetime.Timestamp {
		n, _ := strconv.Atoi(arg(key)[0])
		return truetime.Timestamp(n) * 1e6
	}
	nodes := func(key string) (out []NodeID) {
		for _, s := range arg(key) {
			out = append(out, parseNode(s))
		}
		return out
	}
	var n *voteNode
	if len(d.CmdArgs) > 0 {
		n = w.nodes[parseNode(d.CmdArgs[0].Key)]
	}
	switch d.Cmd {
	case "time":
		now, eps := num("now"), num("eps")
		w.now = truetime.Interval{Earliest: now - eps, Latest: now + eps}
		return ""
	case "node", "restart":
		id := parseNode(d.CmdArgs[0].Key)
		if n == nil {
			n = &voteNode{id: id, ceilings: map[NodeID]truetime.Timestamp{}}
			w.nodes[id] = n
		}
		n.boot++
		n.follows = map[string]follow{}
		ended := truetime.Timestamp(0)
		if d.HasArg("ended") {
			for peer, ts := range n.v.retire() {
				n.ceilings[peer] = ts
			}
			ended = max(n.end, 1)
			n.ceilings[id] = ended
		}
		n.v = newVotes(id, n.boot, w.window)
		for peer, c := range n.ceilings {
			n.v.bar(peer, c)
		}
		n.ended = ended
		n.v.ended(id, n.boot, ended)
		return fmt.Sprintf("votes after %s", ms(n.v.barrier))
	case "ask":
		of := w.nodes[parseNode(arg("of")[0])]
		want := w.now.Latest.Add(w.window)
		of.v.ended(n.id, n.boot, n.ended)
		c := of.v.needCeiling(n.id, want, w.now)
		out := ""
		if c != 0 {
			of.ceilings[n.id] = c
			out = fmt.Sprintf(" (ceiling %s persisted)", ms(c))
		}
		g := of.v.grant(n.id, n.boot, want, c, w.now)
		if !d.HasArg("lost") {
			if fresh, _ := n.v.record(of.id, g); fresh {
				out += " new epoch"
			}
		}
		return fmt.Sprintf("epoch %s until %s%s", shortEpoch(g.epoch), ms(g.until), out)
	case "lead":
		r := &voteRange{leader: n.id, incoming: nodes("voters"), outgoing: nodes("outgoing")}
		term, _ := strconv.Atoi(arg("term")[0])
		r.term = uint64(term)
		r.acks = map[NodeID]uint64{n.id: n.v.epochFor(n.id)}
		n.follows[arg("range")[0]] = follow{leader: n.id, term: r.term, epoch: n.v.epochFor(n.id)}
		w.ranges[arg("range")[0]] = r
		return ""
	case "follow":
		r := w.ranges[arg("range")[0]]
		f := follow{leader: r.leader, term: r.term, epoch: n.v.epochFor(r.leader)}
		n.follows[arg("range")[0]] = f
		r.acks[n.id] = f.epoch
		return fmt.Sprintf("under epoch %s", shortEpoch(f.epoch))
	case "release":
		f := n.follows[arg("range")[0]]
		f.released, f.until = true, num("at")
		n.follows[arg("range")[0]] = f
		return ""
	case "vote":
		if n.v.mayVote(n.follows[arg("range")[0]], parseNode(arg("for")[0]), !d.HasArg("pre"), w.now) {
			return "yes"
		}
		return "no"
	case "lease":
		r := w.ranges[arg("range")[0]]
		l := w.nodes[r.leader]
		until := l.v.leaseUntil(r.incoming, r.outgoing, r.acks)
		l.end = max(l.end, until)
		state := "over"
		if until > w.now.Latest {
			state = "good"
		}
		return fmt.Sprintf("until %s, %s", ms(until), state)
	}
	t.Fatalf("unknown command %q", d.Cmd)
	return ""
}

// A lease is the largest T that a quorum grants: never more than the votes of a majority, in both halves of a
// joint configuration, reach.
func TestLeaseUntilIsQuorum(t *testing.T) {
	v := newVotes(1, 1, time.Second)
	set := func(n NodeID, ts truetime.Timestamp) { v.got[n] = granted{epoch: 1, until: ts} }
	acks := map[NodeID]uint64{}
	for n := NodeID(1); n <= 5; n++ {
		acks[n] = 1
	}
	for n, ts := range map[NodeID]truetime.Timestamp{1: 100, 2: 50, 3: 40, 4: 30, 5: 20} {
		set(n, ts)
	}
	for _, c := range []struct {
		in, out []NodeID
		want    truetime.Timestamp
	}{
		{[]NodeID{1}, nil, 100},
		{[]NodeID{1, 2}, nil, 50},
		{[]NodeID{1, 2, 3}, nil, 50},
		{[]NodeID{1, 2, 3, 4}, nil, 40},
		{[]NodeID{1, 2, 3, 4, 5}, nil, 40},
		{[]NodeID{1, 2, 3}, []NodeID{1, 4, 5}, 30},
		{[]NodeID{2, 3, 4}, nil, 40}, // a leader that is leaving
	} {
		if got := v.leaseUntil(c.in, c.out, acks); got != c.want {
			t.Errorf("%v %v: %d, want %d", c.in, c.out, got, c.want)
		}
		if slices.Contains(c.in, 2) {
			acks[2] = 7 // it followed under another epoch: its vote does not count
			if got := v.leaseUntil(c.in, c.out, acks); got >= c.want && c.want == 50 {
				t.Errorf("%v: %d counts a vote of another epoch", c.in, got)
			}
			acks[2] = 1
		}
	}
}
