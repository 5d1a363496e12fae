package history

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"
)

// edge kinds, weakest evidence last.
const (
	edgeWW = iota
	edgeWR
	edgeRW
	edgeRT
)

var edgeNames = [...]string{"ww", "wr", "rw", "rt"}

// edge goes to a node; key says which list showed it.
type edge struct {
	to   int
	kind uint8
	key  string
}

// graph holds a node for each transaction, then nodes that stand for moments in real time.
type graph struct {
	txns  []*Txn
	edges [][]edge
	n     int // dependencies, without real time
}

func (g *graph) add(from, to int, kind uint8, key string) {
	if from == to {
		return
	}
	g.edges[from] = append(g.edges[from], edge{to, kind, key})
	if kind != edgeRT {
		g.n++
	}
}

// key is what is known about one list.
type listKey struct {
	writer  map[int64]*Txn // of each value
	order   []int64        // the longest list read, the order of appends
	longest *Txn           // who read it
	read    int            // how much of it others have read too
}

// Check checks a list-append history for strict serializability.
func Check(h History) *Report {
	r := &Report{}
	keys := index(h, r)
	live := observed(h, keys, r)
	r.Txns = len(live)
	g := dependencies(live, keys)
	r.Edges = g.n
	cycles(g, r)
	if !r.Has("G") {
		checkOrder(g, r)
	}
	return r
}

// index finds the writer of each value and the order of each list.
func index(h History, r *Report) map[string]*listKey {
	keys := map[string]*listKey{}
	at := func(k string) *listKey {
		if keys[k] == nil {
			keys[k] = &listKey{writer: map[int64]*Txn{}}
		}
		return keys[k]
	}
	for _, t := range h {
		for _, o := range t.Ops {
			if !o.Append {
				continue
			}
			k := at(o.Key)
			if w := k.writer[o.Value]; w != nil {
				panic(fmt.Sprintf("history: value %d of %s is not unique: T%d and T%d", o.Value, o.Key, w.ID, t.ID))
			}
			k.writer[o.Value] = t
		}
	}
	for _, t := range h {
		if t.Outcome == Aborted {
			continue // What it read while it was doomed binds nobody.
		}
		own := map[string]int{} // appends of t to the key so far
		for _, o := range t.Ops {
			if o.Append {
				own[o.Key]++
				continue
			}
			k := at(o.Key)
			// The list with t's own appends on top is the order only once t has committed.
			list := o.List
			if t.Outcome != Committed {
				list = list[:max(0, len(list)-own[o.Key])]
			}
			if len(list) > len(k.order) {
				k.order, k.longest = list, t
			}
		}
	}
	return keys
}

// observed checks each read by itself and returns the transactions that took effect.
func observed(h History, keys map[string]*listKey, r *Report) []*Txn {
	seen := map[*Txn]bool{}
	for _, t := range h {
		if t.Outcome == Aborted {
			continue
		}
		own := map[string][]int64{}
		last := map[string][]int64{} // what t last knew of a key
		for _, o := range t.Ops {
			if o.Append {
				own[o.Key] = append(own[o.Key], o.Value)
				if l, ok := last[o.Key]; ok {
					last[o.Key] = append(slices.Clone(l), o.Value)
				}
				continue
			}
			k := keys[o.Key]
			if l, ok := last[o.Key]; ok && !slices.Equal(l, o.List) {
				r.add("internal", "%s had seen or made %s %v", t, o.Key, l)
			} else if n := len(own[o.Key]); n > len(o.List) || !slices.Equal(own[o.Key], o.List[len(o.List)-n:]) {
				r.add("internal", "%s does not see its own appends %v to %s", t, own[o.Key], o.Key)
			}
			last[o.Key] = o.List
			list := o.List
			if t.Outcome != Committed {
				// Own appends at the end are in nobody's order if t has not committed.
				list = list[:max(0, len(list)-len(own[o.Key]))]
			}
			if len(list) <= len(k.order) && slices.Equal(list, k.order[:len(list)]) {
				// As nearly every read does, it agrees with the longest. What holds for each element of that is
				// checked once, below.
				k.read = max(k.read, len(list))
				if n := len(list); n > 0 {
					if w := k.writer[list[n-1]]; w != nil && w != t && finalAppend(w, o.Key) != list[n-1] {
						r.add("intermediate read", "%d of %s is not the last append of %s, read by %s", list[n-1], o.Key, w, t)
					}
				}
				continue
			}
			elements(k, o, t, seen, r, true)
			common := min(len(list), len(k.order))
			if !slices.Equal(list[:common], k.order[:common]) {
				at := 0
				for list[at] == k.order[at] {
					at++
				}
				r.add("incompatible order", "%s holds %d at place %d, read by %s, but %d, read by %s",
					o.Key, list[at], at, t, k.order[at], k.longest)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(keys)) {
		if k := keys[name]; k.read > 0 {
			elements(k, Op{Key: name, List: k.order[:k.read]}, k.longest, seen, r, false)
		}
	}
	var live []*Txn
	for _, t := range h {
		if t.Outcome == Committed || (t.Outcome == Unknown && seen[t]) {
			live = append(live, t)
		}
	}
	return live
}

// elements checks each value of a list that t read, and notes whose appends it shows. last: the list is one
// read, whose end must be a transaction's last append.
func elements(k *listKey, o Op, t *Txn, seen map[*Txn]bool, r *Report, last bool) {
	dup := map[int64]bool{}
	for i, v := range o.List {
		if dup[v] {
			r.add("duplicate", "%d twice in %s, read by %s", v, o.Key, t)
		}
		dup[v] = true
		w := k.writer[v]
		switch {
		case w == nil:
			r.add("phantom value", "%d of %s was never appended, read by %s", v, o.Key, t)
			continue
		case w.Outcome == Aborted:
			r.add("aborted read", "%d of %s is from %s, read by %s", v, o.Key, w, t)
			continue
		}
		if w != t {
			seen[w] = true
		}
		if last && i == len(o.List)-1 && w != t && finalAppend(w, o.Key) != v {
			r.add("intermediate read", "%d of %s is not the last append of %s, read by %s", v, o.Key, w, t)
		}
	}
}

func finalAppend(t *Txn, key string) int64 {
	var v int64
	for _, o := range t.Ops {
		if o.Append && o.Key == key {
			v = o.Value
		}
	}
	return v
}

// dependencies builds the graph over the transactions that took effect.
func dependencies(live []*Txn, keys map[string]*listKey) *graph {
	g := &graph{txns: live, edges: make([][]edge, len(live), 2*len(live))}
	node := make(map[*Txn]int, len(live))
	for i, t := range live {
		node[t] = i
	}
	writer := func(k *listKey, v int64) (int, bool) {
		n, ok := node[k.writer[v]]
		return n, ok
	}
	names := make([]string, 0, len(keys))
	for name := range keys {
		names = append(names, name)
	}
	slices.Sort(names)
	tails := map[string][]int{} // appends nobody has read: they come after the whole order
	for _, name := range names {
		k := keys[name]
		for i := 1; i < len(k.order); i++ {
			a, ok1 := writer(k, k.order[i-1])
			b, ok2 := writer(k, k.order[i])
			if ok1 && ok2 {
				g.add(a, b, edgeWW, name)
			}
		}
		inOrder := map[int64]bool{}
		for _, v := range k.order {
			inOrder[v] = true
		}
		values := make([]int64, 0, len(k.writer))
		for v := range k.writer {
			values = append(values, v)
		}
		slices.Sort(values)
		for _, v := range values {
			if n, ok := writer(k, v); ok && !inOrder[v] {
				tails[name] = append(tails[name], n)
				if len(k.order) > 0 {
					if a, ok := writer(k, k.order[len(k.order)-1]); ok {
						g.add(a, n, edgeWW, name)
					}
				}
			}
		}
	}
	for n, t := range live {
		own := map[string]bool{}
		for _, o := range t.Ops {
			if o.Append {
				own[o.Key] = true
				continue
			}
			k := keys[o.Key]
			if own[o.Key] {
				continue // Its ww edges say the same.
			}
			if i := len(o.List); i > 0 {
				if w, ok := writer(k, o.List[i-1]); ok {
					g.add(w, n, edgeWR, o.Key)
				}
			}
			if i := len(o.List); i < len(k.order) {
				if w, ok := writer(k, k.order[i]); ok {
					g.add(n, w, edgeRW, o.Key)
				}
			} else {
				for _, w := range tails[o.Key] {
					g.add(n, w, edgeRW, o.Key)
				}
			}
		}
	}
	g.realTime()
	return g
}

// realTime adds "answered before begun" as a chain of moments: n edges say what n² would.
func (g *graph) realTime() {
	type moment struct {
		at    time.Time
		begin bool
		txn   int
	}
	var ms []moment
	for i, t := range g.txns {
		if !t.Stale {
			ms = append(ms, moment{t.Start, true, i})
		}
		// Without an answer nothing came after it; and whatever stands for "begun" must exist.
		if !t.End.IsZero() && t.Outcome == Committed {
			ms = append(ms, moment{t.End, false, i})
		}
	}
	// At one instant the beginnings come first: transactions that touch in time are concurrent.
	sort.SliceStable(ms, func(i, j int) bool {
		if !ms[i].at.Equal(ms[j].at) {
			return ms[i].at.Before(ms[j].at)
		}
		return ms[i].begin && !ms[j].begin
	})
	chain := -1
	for _, m := range ms {
		if m.begin {
			if chain >= 0 {
				g.add(chain, m.txn, edgeRT, "")
			}
			continue
		}
		g.edges = append(g.edges, nil)
		next := len(g.edges) - 1
		if chain >= 0 {
			g.add(chain, next, edgeRT, "")
		}
		g.add(m.txn, next, edgeRT, "")
		chain = next
	}
}

// cycles reports, for each strongly connected component, a shortest cycle of each class, the worst first.
func cycles(g *graph, r *Report) {
	classes := []struct {
		name  string
		kinds [4]bool // which edges may be used
		maxRW int     // -1: any number
	}{
		{"G0", [4]bool{edgeWW: true}, 0},
		{"G1c", [4]bool{edgeWW: true, edgeWR: true}, 0},
		{"G0-realtime", [4]bool{edgeWW: true, edgeRT: true}, 0},
		{"G1c-realtime", [4]bool{edgeWW: true, edgeWR: true, edgeRT: true}, 0},
		{"G-single", [4]bool{edgeWW: true, edgeWR: true, edgeRW: true}, 1},
		{"G-single-realtime", [4]bool{edgeWW: true, edgeWR: true, edgeRW: true, edgeRT: true}, 1},
		{"G2-item", [4]bool{edgeWW: true, edgeWR: true, edgeRW: true}, -1},
		{"G2-item-realtime", [4]bool{edgeWW: true, edgeWR: true, edgeRW: true, edgeRT: true}, -1},
	}
	for _, comp := range components(g) {
		in := map[int]bool{}
		for _, n := range comp {
			in[n] = true
		}
		for _, c := range classes {
			if path := shortestCycle(g, comp, in, c.kinds, c.maxRW); path != nil {
				r.add(c.name, "%s", describe(g, path))
				break // Weaker classes of the same component tell nothing new.
			}
		}
	}
}

// components returns the strongly connected components of more than one node (Tarjan, without recursion).
func components(g *graph) [][]int {
	n := len(g.edges)
	index, low := make([]int, n), make([]int, n)
	onStack := make([]bool, n)
	var stack []int
	var out [][]int
	next := 1
	type frame struct{ node, edge int }
	for root := 0; root < n; root++ {
		if index[root] != 0 {
			continue
		}
		frames := []frame{{root, 0}}
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			v := f.node
			if f.edge == 0 {
				index[v], low[v] = next, next
				next++
				stack = append(stack, v)
				onStack[v] = true
			}
			if f.edge < len(g.edges[v]) {
				w := g.edges[v][f.edge].to
				f.edge++
				if index[w] == 0 {
					frames = append(frames, frame{w, 0})
				} else if onStack[w] {
					low[v] = min(low[v], index[w])
				}
				continue
			}
			if low[v] == index[v] {
				var comp []int
				for {
					w := stack[len(stack)-1]
					stack = stack[:len(stack)-1]
					onStack[w] = false
					comp = append(comp, w)
					if w == v {
						break
					}
				}
				if len(comp) > 1 {
					slices.Sort(comp)
					out = append(out, comp)
				}
			}
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				p := frames[len(frames)-1].node
				low[p] = min(low[p], low[v])
			}
		}
	}
	return out
}

// step is an edge taken from a node.
type step struct {
	from int
	e    edge
}

// maxStarts bounds how many nodes of a component a cycle is sought from.
const maxStarts = 200

// shortestCycle finds a shortest cycle within a component by edges of the given kinds, with at most maxRW
// anti-dependencies (at least one when maxRW is 1: fewer is another class).
func shortestCycle(g *graph, comp []int, in map[int]bool, kinds [4]bool, maxRW int) []step {
	var best []step
	starts := 0
	for _, start := range comp {
		if start >= len(g.txns) {
			continue
		}
		if starts++; starts > maxStarts {
			break
		}
		// States are (node, whether the one rw edge is spent).
		type state struct{ node, rw int }
		prev := map[state]step{}
		from := map[state]state{}
		queue := []state{{start, 0}}
		var found *state
		for len(queue) > 0 && found == nil {
			s := queue[0]
			queue = queue[1:]
			for _, e := range g.edges[s.node] {
				if !kinds[e.kind] || !in[e.to] {
					continue
				}
				ns := state{e.to, s.rw}
				if e.kind == edgeRW && maxRW == 1 {
					if s.rw == 1 {
						continue
					}
					ns.rw = 1
				}
				if _, ok := prev[ns]; ok {
					continue
				}
				prev[ns], from[ns] = step{s.node, e}, s
				if e.to == start {
					found = &ns
					break
				}
				queue = append(queue, ns)
			}
		}
		if found == nil {
			continue
		}
		var path []step
		for s := *found; ; s = from[s] {
			path = append(path, prev[s])
			if prev[s].from == start {
				break
			}
		}
		slices.Reverse(path)
		if best == nil || len(path) < len(best) {
			best = path
		}
	}
	return best
}

// describe prints a cycle, with moments in time folded into one step.
func describe(g *graph, path []step) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i].from >= len(g.txns) {
			continue
		}
		j := i
		for path[j].e.to >= len(g.txns) {
			j++
		}
		kind := edgeNames[path[i].e.kind]
		if path[i].e.key != "" {
			kind += " " + path[i].e.key
		}
		fmt.Fprintf(&b, "\n    %s\n      -%s->", g.txns[path[i].from], kind)
	}
	if len(path) > 0 {
		fmt.Fprintf(&b, " T%d", g.txns[path[len(path)-1].e.to].ID)
	}
	return b.String()
}

// checkOrder holds the commit timestamps against the dependencies: whoever wrote first has the smaller one, and
// whoever read at a timestamp saw exactly what was written up to it.
func checkOrder(g *graph, r *Report) {
	for n, t := range g.txns {
		for _, e := range g.edges[n] {
			if e.to >= len(g.txns) {
				continue
			}
			u := g.txns[e.to]
			switch e.kind {
			case edgeWW:
				if t.CommitTS != 0 && u.CommitTS != 0 && t.CommitTS >= u.CommitTS {
					r.add("timestamp order", "%s wrote %s before %s", t, e.key, u)
				}
			case edgeWR:
				if t.CommitTS == 0 {
					break
				}
				if u.ReadTS != 0 && !u.writes() && t.CommitTS > u.ReadTS {
					r.add("timestamp order", "%s read %s of the later %s", u, e.key, t)
				}
				if u.CommitTS != 0 && t.CommitTS >= u.CommitTS {
					r.add("timestamp order", "%s read %s of %s", u, e.key, t)
				}
			case edgeRW:
				if u.CommitTS == 0 {
					break
				}
				if t.ReadTS != 0 && !t.writes() && t.ReadTS >= u.CommitTS {
					r.add("timestamp order", "%s misses %s of %s", t, e.key, u)
				}
				if t.CommitTS != 0 && t.CommitTS >= u.CommitTS {
					r.add("timestamp order", "%s misses %s of %s", t, e.key, u)
				}
			}
		}
	}
}

// CheckTimestamps holds every acknowledged commit timestamp against real time: it lies between the transaction's
// start and its answer (I6). Start and End must be true time, so this is for simulations.
func CheckTimestamps(h History) *Report {
	r := &Report{Txns: len(h)}
	for _, t := range h {
		if t.Outcome != Committed || t.CommitTS == 0 {
			continue
		}
		if s := t.CommitTS.Time(); s.Before(t.Start) || s.After(t.End) {
			r.add("I6", "%s", t)
		}
	}
	return r
}
