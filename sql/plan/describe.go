package plan

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// Actual is what EXPLAIN ANALYZE measured.
type Actual struct {
	Total time.Duration
	Nodes map[int]ActualNode
	KV    kv.Stats
	// Ranges are the costs by node and range, Clock the clock's interval at the end; nil and zero where the store does
	// not tell. ReadTimestamp is zero for a transaction that reads under locks.
	Ranges        []kv.RangeCost
	Clock         truetime.Interval
	ReadTimestamp truetime.Timestamp
}

// ActualNode is what was measured of one node.
type ActualNode struct {
	Loops, Rows    int64
	Startup, Total time.Duration
	Removed        int64  // rows that conditions left out
	Sorted         string // how a sort went: "quicksort", "top-N heapsort"
	Memory         int64  // bytes that a sort or hash table took at most
	Disk           int64  // bytes that it wrote out
	// Scanned are the rows that ranges have read for a scan, Remote those of them that they have worked on themselves,
	// Wire the bytes that came from other nodes.
	Scanned, Remote, Wire int64
}

// item is a node of the description.
type item struct {
	name  string // "Index Scan using t_pkey on t"
	props []prop
	node  Node
	kids  []*item
	label string // "InitPlan 1"
	kind  string // JSON: Node Type
	// part is what the item is to its parent, if not its only input: "Inner", "InitPlan", "SubPlan", "Member".
	part string
	head []prop // JSON: what stands between the node's type and its costs
}

type prop struct {
	key, val string
	list     []string // the values of a list, which val joins
	number   bool     // JSON shows val without quotes
	jsonOnly bool
}

// Describe renders a plan as EXPLAIN does: lines of text, or one JSON document.
func Describe(p *Plan, o *ExplainOptions, a *Actual) []string {
	d := &describer{p: p, o: o, a: a, seen: map[int]bool{}}
	d.countRels(p.Root)
	root := d.item(p.Root)
	if o.Verbose && len(p.Output) > 0 {
		var out []string
		for _, e := range p.Output {
			out = append(out, d.expr(e))
		}
		root.props = append([]prop{{key: "Output", val: strings.Join(out, ", "), list: out}}, root.props...)
	}
	for _, e := range p.Output {
		d.subplans(root, e)
	}
	if o.JSON {
		return []string{d.document(root)}
	}
	var lines []string
	d.text(&lines, root, 0)
	if o.Summary {
		lines = append(lines, fmt.Sprintf("Planning Time: %.3f ms", ms(o.Planning)))
	}
	if a != nil {
		k := a.KV
		lines = append(lines, fmt.Sprintf("KV: ranges=%d local=%d rpcs=%d retries=%d", k.Ranges, k.LocalReads, k.RPCs, k.Retries))
		lines = append(lines, d.rangeLines()...)
		lines = append(lines, fmt.Sprintf("Lock Wait: %.3f ms", float64(k.LockWait)/1e6))
		lines = append(lines, fmt.Sprintf("Commit Wait: %.3f ms", float64(k.CommitWait)/1e6))
		lines = append(lines, d.clockLines()...)
		if o.Summary {
			lines = append(lines, fmt.Sprintf("Execution Time: %.3f ms", ms(a.Total)))
		}
	}
	return lines
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type describer struct {
	p    *Plan
	o    *ExplainOptions
	a    *Actual
	seen map[int]bool
	subs int
	rels int
}

// countRels counts what has columns: with more than one, column names are qualified.
func (d *describer) countRels(n Node) {
	switch n.(type) {
	case *Scan, *FuncScan, *CTEScan:
		d.rels++
	}
	n.exprs(func(e *Expr) {
		walkExpr(*e, func(x Expr) bool {
			if s, ok := x.(*Subquery); ok && s.Root != nil {
				d.countRels(s.Root)
			}
			return true
		})
	})
	n.inputs(func(c *Node) { d.countRels(*c) })
}

// text writes an item as PostgreSQL's ExplainNode does; indent counts pairs of spaces.
func (d *describer) text(lines *[]string, it *item, indent int) {
	put := func(s string) { *lines = append(*lines, strings.Repeat("  ", indent)+s) }
	if it.label != "" {
		put(it.label)
		indent++
	}
	line := it.name
	b := it.node.Base()
	if d.o.Costs {
		line += fmt.Sprintf("  (cost=%.2f..%.2f rows=%.0f width=%d)", b.Startup, b.Cost, b.Rows, b.Width)
	}
	if d.a != nil {
		if n, ok := d.a.Nodes[b.ID]; ok {
			l := float64(max(1, n.Loops))
			rows := float64(n.Rows) / l
			if d.o.Timing {
				line += fmt.Sprintf(" (actual time=%.3f..%.3f rows=%.0f loops=%d)", ms(n.Startup), ms(n.Total)/l, rows, n.Loops)
			} else {
				line += fmt.Sprintf(" (actual rows=%.0f loops=%d)", rows, n.Loops)
			}
		} else {
			line += " (never executed)"
		}
	}
	if indent > 0 {
		put("->  " + line)
		indent += 2
	} else {
		put(line)
	}
	indent++
	for _, p := range it.props {
		if !p.jsonOnly {
			put(p.key + ": " + p.val)
		}
	}
	for _, k := range it.kids {
		d.text(lines, k, indent)
	}
}

var joinTypes = map[JoinKind]string{InnerJoin: "Inner", LeftJoin: "Left", FullJoin: "Full", SemiJoin: "Semi", AntiJoin: "Anti"}

func (d *describer) conds(es []Expr) string {
	if len(es) == 1 {
		return "(" + strings.TrimSuffix(strings.TrimPrefix(d.expr(es[0]), "("), ")") + ")"
	}
	var out []string
	for _, e := range es {
		out = append(out, d.expr(e))
	}
	return "(" + strings.Join(out, " AND ") + ")"
}

func (d *describer) keys(ks []SortKey) []string {
	var out []string
	for _, k := range ks {
		s := d.expr(k.E)
		if k.Desc {
			s += " DESC"
			if !k.NullsFirst {
				s += " NULLS LAST"
			}
		} else if k.NullsFirst {
			s += " NULLS FIRST"
		}
		out = append(out, s)
	}
	return out
}

func (d *describer) list(es []Expr) string { return strings.Join(d.texts(es), ", ") }

func (d *describer) texts(es []Expr) []string {
	var out []string
	for _, e := range es {
		out = append(out, d.expr(e))
	}
	return out
}

// removed adds how many rows a node's conditions left out, for each time it ran.
func (d *describer) removed(it *item, key string, n Node) {
	if d.a == nil {
		return
	}
	if s := d.a.Nodes[n.Base().ID]; s.Removed > 0 {
		it.props = append(it.props, prop{key: key, val: fmt.Sprint(s.Removed / max(1, s.Loops)), number: true})
	}
}

func relName(t *Table, alias string) string {
	n := types.QuoteIdent(t.Name)
	if alias != "" && alias != t.Name {
		n += " " + types.QuoteIdent(alias)
	}
	return n
}

// item describes a node. Nodes that PostgreSQL has no counterpart of (projections) are passed over.
func (d *describer) item(n Node) *item {
	it := &item{node: n}
	add := func(key, val string) { it.props = append(it.props, prop{key: key, val: val}) }
	head := func(key, val string) { it.head = append(it.head, prop{key: key, val: val}) }
	switch x := n.(type) {
	case *OneRow:
		it.name = "Result"
	case *Values:
		it.name = "Values Scan on \"*VALUES*\""
		it.kind = "Values Scan"
		if len(x.Rowsets) == 1 {
			it.name, it.kind = "Result", "Result"
		}
	case *Scan:
		d.scan(it, x)
	case *Append:
		it.name = "Append"
		if x.Order != nil && !x.OneByOne {
			it.name = "Merge Append"
			it.props = append(it.props, prop{key: "Sort Key", val: strings.Join(d.keys(x.Order), ", "), list: d.keys(x.Order)})
		}
		if len(x.Kids) == 0 {
			it.name = "Result"
			add("One-Time Filter", "false")
		}
	case *FuncScan:
		name := x.Funcs[0].Name
		if x.Alias != "" && x.Alias != name {
			name += " " + x.Alias
		}
		it.name, it.kind = "Function Scan on "+name, "Function Scan"
	case *Project:
		in := d.item(x.Input)
		for _, e := range x.Exprs {
			d.subplans(in, e)
		}
		return in
	case *Filter:
		in := d.item(x.Input)
		for _, c := range x.Conds {
			d.subplans(in, c)
		}
		in.props = append(in.props, prop{key: "Filter", val: d.conds(x.Conds)})
		d.removed(in, "Rows Removed by Filter", x)
		return in
	case *Join:
		name := "Nested Loop"
		keyed := x.Method == HashJoin || x.Method == MergeJoin
		switch x.Method {
		case HashJoin:
			name = "Hash"
		case MergeJoin:
			name = "Merge"
		}
		switch x.Kind {
		case LeftJoin, FullJoin, SemiJoin, AntiJoin:
			name += " " + joinTypes[x.Kind]
			if !keyed {
				name += " Join"
			}
		}
		if keyed {
			cond := name[:strings.IndexByte(name+" ", ' ')] + " Cond"
			name += " Join"
			var cs []string
			for i := range x.LeftKeys {
				cs = append(cs, "("+d.expr(x.LeftKeys[i])+" = "+d.expr(x.RightKeys[i])+")")
			}
			if len(cs) == 1 {
				add(cond, cs[0])
			} else {
				add(cond, "("+strings.Join(cs, " AND ")+")")
			}
		}
		it.name = name
		it.kind = "Nested Loop"
		switch x.Method {
		case HashJoin:
			it.kind = "Hash Join"
		case MergeJoin:
			it.kind = "Merge Join"
		}
		head("Join Type", joinTypes[x.Kind])
		if len(x.On) > 0 {
			add("Join Filter", d.conds(x.On))
			d.removed(it, "Rows Removed by Join Filter", x)
		}
		l, r := d.item(x.Left), d.item(x.Right)
		r.part = "Inner"
		switch {
		case x.Method == HashJoin:
			r.part = ""
			r = &item{name: "Hash", kind: "Hash", node: x.Right, kids: []*item{r}, part: "Inner"}
			if d.a != nil && d.a.Nodes[x.ID].Memory > 0 {
				kb := d.a.Nodes[x.ID].Memory/1024 + 1
				batches := 1
				if d.a.Nodes[x.ID].Disk > 0 {
					batches = 16 // exec's fanOut
				}
				r.props = append(r.props, prop{key: "Batches", val: fmt.Sprintf("%d  Memory Usage: %dkB", batches, kb)})
			}
		case x.Memo:
			r.part = ""
			r = &item{name: "Materialize", kind: "Materialize", node: x.Right, kids: []*item{r}, part: "Inner"}
		}
		it.kids = append(it.kids, l, r)
		return it
	case *Agg:
		it.name, it.kind = "Aggregate", "Aggregate"
		switch {
		case x.Sets != nil:
			it.name = "MixedAggregate"
		case x.Strategy == AggHash:
			it.name = "HashAggregate"
		case x.Strategy == AggSorted:
			it.name = "GroupAggregate"
		}
		strategy := "Plain"
		switch {
		case x.Sets != nil:
			strategy = "Mixed"
		case x.Strategy == AggHash:
			strategy = "Hashed"
		case x.Strategy == AggSorted:
			strategy = "Sorted"
		}
		head("Strategy", strategy)
		if _, ok := x.Input.(*Partial); ok {
			it.name = "Finalize " + it.name
			head("Partial Mode", "Finalize")
		} else {
			head("Partial Mode", "Simple")
		}
		if len(x.Group) > 0 {
			it.props = append(it.props, prop{key: "Group Key", val: d.list(x.Group), list: d.texts(x.Group)})
		}
	case *Partial:
		it.name, it.kind = "Partial Aggregate", "Aggregate"
		if x.Agg.Strategy == AggHash {
			it.name = "Partial HashAggregate"
		}
		head("Strategy", map[bool]string{true: "Hashed", false: "Plain"}[x.Agg.Strategy == AggHash])
		head("Partial Mode", "Partial")
		if len(x.Agg.Group) > 0 {
			it.props = append(it.props, prop{key: "Group Key", val: d.list(x.Agg.Group), list: d.texts(x.Agg.Group)})
		}
	case *Sort:
		it.name, it.kind = "Sort", "Sort"
		if x.Prefix > 0 {
			it.name, it.kind = "Incremental Sort", "Incremental Sort"
		}
		it.props = append(it.props, prop{key: "Sort Key", val: strings.Join(d.keys(x.Keys), ", "), list: d.keys(x.Keys)})
		if x.Prefix > 0 {
			it.props = append(it.props, prop{key: "Presorted Key", val: strings.Join(d.keys(x.Keys[:x.Prefix]), ", "), list: d.keys(x.Keys[:x.Prefix])})
		}
		if d.a != nil && d.a.Nodes[x.ID].Sorted != "" {
			n := d.a.Nodes[x.ID]
			where, kb := "Memory", n.Memory/1024+1
			if n.Disk > 0 {
				where, kb = "Disk", n.Disk/1024+1
			}
			if d.o.JSON {
				add("Sort Method", n.Sorted)
				it.props = append(it.props, prop{key: "Sort Space Used", val: fmt.Sprint(kb), number: true}, prop{key: "Sort Space Type", val: where})
			} else {
				add("Sort Method", fmt.Sprintf("%s  %s: %dkB", n.Sorted, where, kb))
			}
		}
	case *Limit:
		it.name = "Limit"
	case *Distinct:
		it.name, it.kind = "HashAggregate", "Aggregate"
		if x.Sorted {
			it.name, it.kind = "Unique", "Unique"
		} else {
			add("Group Key", d.list(x.Keys))
		}
	case *SetOp:
		switch {
		case x.Op == Union && x.All:
			it.name = "Append"
		case x.Op == Union:
			it.name, it.kind = "HashAggregate", "Aggregate"
		default:
			it.name = "HashSetOp " + [...]string{"", "Intersect", "Except"}[x.Op]
			if x.All {
				it.name += " All"
			}
			it.kind = "SetOp"
		}
	case *With:
		in := d.item(x.Input)
		for i := len(x.CTEs) - 1; i >= 0; i-- {
			c := d.item(x.CTEs[i].Query)
			if x.CTEs[i].Step != nil {
				c = &item{name: "Recursive Union", kind: "Recursive Union", node: x.CTEs[i].Query, kids: []*item{c, d.item(x.CTEs[i].Step)}}
			}
			c.label, c.part = "CTE "+x.CTEs[i].Name, "InitPlan"
			in.kids = append([]*item{c}, in.kids...)
		}
		return in
	case *CTEScan:
		it.name, it.kind = "CTE Scan on "+x.CTE.Name, "CTE Scan"
		if x.Working {
			it.name, it.kind = "WorkTable Scan on "+x.CTE.Name, "WorkTable Scan"
		}
		if x.Alias != x.CTE.Name {
			it.name += " " + x.Alias
		}
	case *ProjectSet:
		it.name = "ProjectSet"
	case *Window:
		it.name = "WindowAgg"
	case *LockRows:
		it.name = "LockRows"
	case *Insert:
		it.name, it.kind = "Insert on "+relName(x.Target.Table, ""), "ModifyTable"
		if x.Conflict != nil {
			res := "NOTHING"
			if x.Conflict.Update {
				res = "UPDATE"
			}
			add("Conflict Resolution", res)
			if x.Conflict.Name != "" {
				add("Conflict Arbiter Indexes", x.Conflict.Name)
			}
		}
	case *Update:
		it.name, it.kind = "Update on "+relName(x.Target.Table, aliasOf(x.Scan)), "ModifyTable"
	case *Delete:
		it.name, it.kind = "Delete on "+relName(x.Target.Table, aliasOf(x.Scan)), "ModifyTable"
	case *Rules:
		it.name = "Rules"
	case *Merge:
		it.name, it.kind = "Merge on "+relName(x.Target.Table, x.Alias), "ModifyTable"
	default:
		it.name = fmt.Sprintf("%T", n)
	}
	switch n.(type) {
	case *Agg, *Distinct:
		if d.a != nil && d.a.Nodes[n.Base().ID].Disk > 0 {
			it.props = append(it.props, prop{key: "Disk Usage", val: fmt.Sprintf("%dkB", d.a.Nodes[n.Base().ID].Disk/1024+1)})
		}
	}
	if it.kind == "" {
		it.kind = it.name
	}
	n.inputs(func(c *Node) { it.kids = append(it.kids, d.item(*c)) })
	n.exprs(func(e *Expr) { d.subplans(it, *e) })
	return it
}

func aliasOf(s *Scan) string {
	if s == nil {
		return ""
	}
	return s.Alias
}

func (d *describer) scan(it *item, x *Scan) {
	name := relName(x.Table, x.Alias)
	add := func(key, val string) { it.props = append(it.props, prop{key: key, val: val}) }
	head := func(key, val string) { it.head = append(it.head, prop{key: key, val: val}) }
	whole := len(x.IndexConds) == 0 && (x.Index == nil || x.Index == x.Table.Primary) && !x.Ordered
	switch {
	case x.Bitmap != nil:
		d.bitmapScan(it, x, name)
		return
	case x.Table.Kind != BaseTable || whole:
		it.name, it.kind = "Seq Scan on "+name, "Seq Scan"
	default:
		verb := "Index Scan"
		if x.IndexOnly {
			verb = "Index Only Scan"
		}
		it.kind = verb
		if x.Reverse {
			verb += " Backward"
		}
		direction := "Forward"
		if x.Reverse {
			direction = "Backward"
		}
		head("Scan Direction", direction)
		head("Index Name", x.Index.Name)
		it.name = verb + " using " + types.QuoteIdent(x.Index.Name) + " on " + name
		if len(x.IndexConds) > 0 {
			add("Index Cond", d.conds(x.IndexConds))
		}
	}
	head("Relation Name", x.Table.Name)
	if d.o.Verbose {
		head("Schema", x.Table.Schema)
	}
	head("Alias", cmp.Or(x.Alias, x.Table.Name))
	if x.Remote > 0 {
		add("Remote Filter", d.conds(x.Filter[:x.Remote]))
	}
	if x.Remote < len(x.Filter) {
		add("Filter", d.conds(x.Filter[x.Remote:]))
	}
	d.removed(it, "Rows Removed by Filter", x)
	if d.a != nil {
		if n := d.a.Nodes[x.ID]; n.Remote > 0 {
			it.props = append(it.props, prop{key: "Rows Scanned at Ranges", val: fmt.Sprint(n.Scanned / max(1, n.Loops)), number: true})
			it.props = append(it.props, prop{key: "Bytes Received", val: fmt.Sprint(n.Wire / max(1, n.Loops)), number: true})
		}
	}
	for _, e := range append(append([]Expr(nil), x.Filter...), x.IndexConds...) {
		d.subplans(it, e)
	}
}

// subplans adds the subqueries of an expression below an item.
func (d *describer) subplans(it *item, e Expr) {
	walkExpr(e, func(x Expr) bool {
		if s, ok := x.(*Subquery); ok && !d.seen[s.ID] && s.Root != nil {
			d.seen[s.ID] = true
			d.subs++
			k := d.item(s.Root)
			k.label, k.part = "SubPlan "+itoa(s.ID+1), "SubPlan"
			if !s.Correlated && s.Kind != SubAny && s.Kind != SubAll {
				k.label, k.part = "InitPlan "+itoa(s.ID+1), "InitPlan"
				if s.Kind == SubScalar {
					k.label += " (returns $" + itoa(s.ID) + ")"
				}
			}
			it.kids = append(it.kids, k)
			if s.Batch != nil {
				// As PostgreSQL shows the alternative of a subplan that is hashed.
				all := d.item(s.Batch.All.Root)
				all.label, all.part = k.label+" (hashed)", "SubPlan"
				it.kids = append(it.kids, all)
			}
		}
		return true
	})
}
