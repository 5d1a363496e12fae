package placement

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// The scripts in testdata describe a cluster, one node, policy or range a line, and print what is decided:
//
//	cluster [replicas=5]
//	n1 region=a zone=x [down=6m] [draining] [decommissioning] [lost] [full=92]
//	policy eu span=k..p [regions=a,b] [leaders=b] [replicas=5] [global] [follow]
//	r1 [span=a..k] on=1,2,3 [leader=1] [size=64M] [load=100] [from=2:80,1:20] [busy] [settling]; r1-r9 are nine of them
//	----
//	set                  changes lines of the cluster
//	plan [limit=n]       the next changes and why, without making them
//	run [limit=n] [quiet]  makes them until nothing is left to do
//	show                 what each node has
func TestPlanScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s *Snapshot
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			limit := 100
			d.MaybeScanArgs(t, "limit", &limit)
			switch d.Cmd {
			case "cluster":
				s = &Snapshot{ReplaceAfter: 5 * time.Minute, UrgentAfter: 10 * time.Second}
				d.MaybeScanArgs(t, "replicas", &s.Replicas)
				parseCluster(t, s, d.Input)
			case "set":
				parseCluster(t, s, d.Input)
			case "plan":
				return explain(Plan(clone(*s), limit))
			case "run":
				var all []Change
				for round := 0; ; round++ {
					cs := Plan(clone(*s), limit)
					if len(cs) == 0 {
						break
					}
					if round == 1000 {
						t.Fatalf("%s: no end", d.Pos)
					}
					all = append(all, cs...)
					for _, c := range cs {
						apply(s, c)
					}
				}
				if d.HasArg("quiet") {
					return fmt.Sprintf("%d changes", len(all))
				}
				return explain(all)
			case "show":
				return show(s)
			default:
				t.Fatalf("%s: unknown command %q", d.Pos, d.Cmd)
			}
			return ""
		})
	})
}

func explain(cs []Change) string {
	if len(cs) == 0 {
		return "nothing to do"
	}
	var b strings.Builder
	for _, c := range cs {
		if c.Kind == SplitRange {
			fmt.Fprintf(&b, "%s: split at %s: %s\n", c.Range, c.Key, c.Reason)
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", c, c.Reason)
	}
	return b.String()
}

func show(s *Snapshot) string {
	var b strings.Builder
	for _, n := range s.Nodes {
		replicas, leaders, size, load := 0, 0, int64(0), 0.0
		for _, r := range s.Ranges {
			if slices.Contains(r.Voters, n.ID) {
				replicas, size, load = replicas+1, size+r.Bytes>>20, load+r.Load
			}
			if r.Leader == n.ID {
				leaders++
			}
		}
		fmt.Fprintf(&b, "%s: %d replicas, %d leaders, %d MiB, %.0f requests/s\n", n.ID, replicas, leaders, size, load)
	}
	return b.String()
}

func clone(s Snapshot) Snapshot {
	s.Nodes, s.Ranges = slices.Clone(s.Nodes), slices.Clone(s.Ranges)
	for i := range s.Ranges {
		s.Ranges[i].Voters = slices.Clone(s.Ranges[i].Voters)
	}
	return s
}

func parseCluster(t *testing.T, s *Snapshot, input string) {
	spans := slices.Clone(s.Policies.Spans())
	for line := range strings.Lines(input) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		arg := map[string]string{}
		for _, a := range f[1:] {
			k, v, _ := strings.Cut(a, "=")
			arg[k] = v
		}
		has := func(k string) bool { _, ok := arg[k]; return ok }
		switch {
		case f[0] == "policy":
			from, to, _ := strings.Cut(arg["span"], "..")
			sp := SpanPolicy{Start: []byte(from), End: []byte(to), Policy: Policy{Name: f[1], Replicas: number(t, arg["replicas"]), Global: has("global"), Follow: has("follow")}}
			if has("regions") {
				sp.Policy.Regions = strings.Split(arg["regions"], ",")
			}
			if has("leaders") {
				sp.Policy.Leaders = strings.Split(arg["leaders"], ",")
			}
			spans = slices.DeleteFunc(spans, func(o SpanPolicy) bool { return string(o.Start) == from })
			spans = append(spans, sp)
		case f[0][0] == 'n':
			n := Node{ID: NodeID(number(t, f[0][1:])), Region: arg["region"], Zone: arg["zone"], Live: !has("down"), Draining: has("draining"),
				Decommissioning: has("decommissioning"), Lost: has("lost")}
			if !n.Live {
				n.Down, _ = time.ParseDuration(arg["down"])
			}
			if has("full") {
				n.Capacity, n.Free = 100, int64(100-number(t, arg["full"]))
			}
			s.Nodes = slices.DeleteFunc(s.Nodes, func(o Node) bool { return o.ID == n.ID })
			s.Nodes = append(s.Nodes, n)
			slices.SortFunc(s.Nodes, func(a, b Node) int { return int(a.ID) - int(b.ID) })
		case f[0][0] == 'r':
			first, last, many := strings.Cut(f[0], "-")
			if !many {
				last = first
			}
			for id := number(t, first[1:]); id <= number(t, last[1:]); id++ {
				r := Range{ID: RangeID(id), Start: []byte("a"), End: []byte("b"), Busy: has("busy"), Settling: has("settling"), LeaderSettling: has("settling"), From: map[NodeID]float64{}}
				if from, to, ok := strings.Cut(arg["span"], ".."); ok {
					r.Start, r.End = []byte(from), []byte(to)
				}
				for v := range strings.SplitSeq(arg["on"], ",") {
					r.Voters = append(r.Voters, NodeID(number(t, v)))
				}
				r.Leader = r.Voters[0]
				if has("leader") {
					r.Leader = NodeID(number(t, arg["leader"]))
				}
				r.Bytes = int64(number(t, strings.TrimSuffix(arg["size"], "M"))) << 20
				r.Load = float64(number(t, arg["load"]))
				if has("from") {
					for part := range strings.SplitSeq(arg["from"], ",") {
						n, l, _ := strings.Cut(part, ":")
						r.From[NodeID(number(t, n))] = float64(number(t, l))
					}
				}
				s.Ranges = slices.DeleteFunc(s.Ranges, func(o Range) bool { return o.ID == r.ID })
				s.Ranges = append(s.Ranges, r)
			}
		default:
			t.Fatalf("cannot read %q", line)
		}
	}
	s.Policies = NewSet(spans)
}

func number(t *testing.T, s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// apply makes a change, as the range's leader would, and checks that a leader could.
func apply(s *Snapshot, c Change) {
	i := slices.IndexFunc(s.Ranges, func(r Range) bool { return r.ID == c.Range })
	r := &s.Ranges[i]
	switch c.Kind {
	case SplitRange:
		right := *r
		right.Voters = slices.Clone(r.Voters)
		right.ID = r.ID*100 + RangeID(len(s.Ranges))
		right.Start, r.End = c.Key, c.Key
		s.Ranges = append(s.Ranges, right)
	case TransferLeader:
		if !slices.Contains(r.Voters, c.To) || r.Leader != c.From {
			panic(fmt.Sprintf("%s cannot be handed over: %+v", c, *r))
		}
		r.Leader = c.To
	default:
		if !slices.Contains(c.Voters, r.Leader) {
			panic(fmt.Sprintf("%s takes the leader's voter: %+v", c, *r))
		}
		r.Voters = c.Voters
	}
}

// TestPlanConverges runs decisions on random clusters until there are none: ranges keep a quorum of live voters at
// each step, the end comes, and then policies hold and nodes that can have the same have the same.
func TestPlanConverges(t *testing.T) {
	for seed := range uint64(40) {
		s := randomCluster(rand.New(rand.NewPCG(seed, 1)))
		for round := 0; ; round++ {
			cs := Plan(clone(s), 64)
			if len(cs) == 0 {
				break
			}
			if round == 400 {
				t.Fatalf("seed %d: no end; still %v", seed, explain(cs))
			}
			seen := map[RangeID]bool{}
			for _, c := range cs {
				if seen[c.Range] {
					t.Fatalf("seed %d: two changes of %s at a time", seed, c.Range)
				}
				if c.Reason == "" || strings.Contains(c.Reason, "\n") {
					t.Fatalf("seed %d: %s has the reason %q", seed, c, c.Reason)
				}
				seen[c.Range] = true
				apply(&s, c)
			}
			p := newPlanner(s)
			for i := range s.Ranges {
				if r := &s.Ranges[i]; !p.hasQuorum(r) {
					t.Fatalf("seed %d: %s has lost its quorum: %+v", seed, r.ID, *r)
				}
			}
		}
		checkSettled(t, seed, s)
	}
}

func checkSettled(t *testing.T, seed uint64, s Snapshot) {
	t.Helper()
	p := newPlanner(s)
	for i := range s.Ranges {
		r := &s.Ranges[i]
		pol := p.Policies.at(r.Start)
		if w := p.wanted(pol); w.target < w.declared && len(r.Voters) > w.target {
			continue // too few nodes where the policy wants voters: those elsewhere are kept
		} else if len(r.Voters) != w.target || p.spread(pol, p.voters(r.Voters)) != w.spread {
			t.Errorf("seed %d: %s of %+v has %v, want %d voters spread %d (has %d)", seed, r.ID, *pol, p.domains(r.Voters), w.target, w.spread, p.spread(pol, p.voters(r.Voters)))
		}
		for _, v := range append([]NodeID{r.Leader}, r.Voters...) {
			if n := p.node(v); p.gone(n) || n.Decommissioning || !allowed(pol, n) {
				t.Errorf("seed %d: %s has %+v", seed, r.ID, *n)
			}
		}
	}
	// Nodes of one zone can always stand in for each other.
	led, hosted := map[string][]usage{}, map[string][]usage{}
	for i, n := range s.Nodes {
		if n.leads() && !n.fullerThan(fullAt) {
			k := n.Region + "/" + n.Zone
			led[k], hosted[k] = append(led[k], p.led[i]), append(hosted[k], p.hosted[i])
		}
	}
	for where, us := range hosted {
		checkEven(t, fmt.Sprintf("seed %d: replicas in %s", seed, where), us, func(u usage) float64 { return u.count }, 2)
		checkEven(t, fmt.Sprintf("seed %d: bytes in %s", seed, where), us, func(u usage) float64 { return u.bytes }, 64<<20)
		checkEven(t, fmt.Sprintf("seed %d: load in %s", seed, where), us, func(u usage) float64 { return u.load }, loadFloor)
	}
	for where, us := range led {
		if s.Replicas == 1 {
			break // who holds a range leads it
		}
		checkEven(t, fmt.Sprintf("seed %d: leaders in %s", seed, where), us, func(u usage) float64 { return u.count }, 2)
	}
}

// checkEven checks that nodes are within a tenth of their average, or within the slack that the grain leaves.
func checkEven(t *testing.T, what string, us []usage, f func(usage) float64, slack float64) {
	t.Helper()
	mean := 0.0
	for _, u := range us {
		mean += f(u) / float64(len(us))
	}
	for _, u := range us {
		if d := f(u) - mean; max(d, -d) > max(0.1*mean, slack) {
			t.Errorf("%s: %.0f is not within a tenth of %.0f", what, f(u), mean)
		}
	}
}

func randomCluster(rnd *rand.Rand) Snapshot {
	s := Snapshot{Replicas: 1 + 2*rnd.IntN(3), ReplaceAfter: 5 * time.Minute, UrgentAfter: 10 * time.Second}
	regions := 1 + rnd.IntN(4)
	for i := range 3 + rnd.IntN(12) {
		n := Node{ID: NodeID(i + 1), Region: string(rune('a' + i%regions)), Zone: string(rune('x' + rnd.IntN(2))), Live: true}
		s.Nodes = append(s.Nodes, n)
	}
	// Ranges begin wherever they are; then nodes go, but never so many that a range stops.
	for i := range 50 + rnd.IntN(300) {
		r := Range{ID: RangeID(i + 1), Start: []byte{byte(10 + i/250), byte(i % 250)}, End: []byte{byte(10 + i/250), byte(i%250 + 1)}, Bytes: int64(1+rnd.IntN(64)) << 20, Load: float64(rnd.IntN(20))}
		if i%250 == 249 {
			r.End = []byte{byte(11 + i/250)}
		}
		perm := rnd.Perm(min(len(s.Nodes), 3+rnd.IntN(len(s.Nodes))))
		for _, k := range perm[:min(len(perm), 3)] {
			r.Voters = append(r.Voters, s.Nodes[k].ID)
		}
		r.Leader = r.Voters[0]
		s.Ranges = append(s.Ranges, r)
	}
	if len(s.Nodes) > 5 {
		n := &s.Nodes[rnd.IntN(len(s.Nodes))]
		switch rnd.IntN(4) {
		case 0:
			n.Live, n.Down = false, 6*time.Minute
		case 1:
			n.Decommissioning = true
		case 2:
			n.Live, n.Lost = false, true
		}
		for i := range s.Ranges {
			if r := &s.Ranges[i]; r.Leader == n.ID && !n.Live {
				r.Leader = r.Voters[1]
			}
		}
	}
	var spans []SpanPolicy
	if rnd.IntN(2) == 0 {
		spans = append(spans, SpanPolicy{Start: []byte{10, 7}, End: []byte{10, 99, 3}, Policy: Policy{Name: "one", Regions: []string{"a"}, Leaders: []string{"a"}}},
			SpanPolicy{Start: []byte{10, 20, 1}, End: []byte{10, 60}, Policy: Policy{Name: "home", Leaders: []string{string(rune('a' + regions - 1)), "a"}, Replicas: 3}})
	}
	s.Policies = NewSet(spans)
	for i := range s.Ranges {
		s.Ranges[i].Start, s.Ranges[i].End = []byte(hexKey(s.Ranges[i].Start)), []byte(hexKey(s.Ranges[i].End))
	}
	for i := range spans {
		spans[i].Start, spans[i].End = []byte(hexKey(spans[i].Start)), []byte(hexKey(spans[i].End))
	}
	s.Policies = NewSet(spans)
	return s
}

func hexKey(b []byte) string { return hex.EncodeToString(b) }
