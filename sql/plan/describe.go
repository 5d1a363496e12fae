package plan

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// Actual is what EXPLAIN ANALYZE measured.
type Actual struct {
	Total time.Duration
	Nodes map[int]ActualNode
	KV    kv.Stats
}

// ActualNode is what was measured of one node.
type ActualNode struct {
	Loops, Rows    int64
	Startup, Total time.Duration
}

// item is a node of the description.
type item struct {
	name  string // "Index Scan using t_pkey on t"
	props []prop
	node  Node
	kids  []*item
	label string // "InitPlan 1"
	kind  string // JSON: Node Type
}

type prop struct{ key, val string }

// Describe renders a plan as EXPLAIN does: lines of text, or one JSON document.
func Describe(p *Plan, o *ExplainOptions, a *Actual) []string {
	d := &describer{p: p, seen: map[int]bool{}}
	d.countRels(p.Root)
	root := d.item(p.Root)
	if o.Verbose && len(p.Output) > 0 {
		var out []string
		for _, e := range p.Output {
			out = append(out, d.expr(e))
		}
		root.props = append([]prop{{"Output", strings.Join(out, ", ")}}, root.props...)
	}
	for _, e := range p.Output {
		d.subplans(root, e)
	}
	if o.JSON {
		doc := map[string]any{"Plan": d.json(root, o, a)}
		if a != nil {
			doc["Execution Time"] = ms(a.Total)
			doc["Ranges"], doc["Lock Wait"], doc["Commit Wait"], doc["Retries"] = a.KV.Ranges, float64(a.KV.LockWait)/1e6, float64(a.KV.CommitWait)/1e6, a.KV.Retries
		}
		b, _ := json.MarshalIndent([]any{doc}, "", "  ")
		return []string{string(b)}
	}
	var lines []string
	d.text(&lines, root, 0, o, a)
	if a != nil {
		k := a.KV
		lines = append(lines, fmt.Sprintf("KV: ranges=%d local=%d rpcs=%d retries=%d", k.Ranges, k.LocalReads, k.RPCs, k.Retries))
		lines = append(lines, fmt.Sprintf("Lock Wait: %.3f ms", float64(k.LockWait)/1e6))
		lines = append(lines, fmt.Sprintf("Commit Wait: %.3f ms", float64(k.CommitWait)/1e6))
		if o.Summary {
			lines = append(lines, fmt.Sprintf("Execution Time: %.3f ms", ms(a.Total)))
		}
	}
	return lines
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type describer struct {
	p    *Plan
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

func (d *describer) text(lines *[]string, it *item, depth int, o *ExplainOptions, a *Actual) {
	indent := ""
	if depth > 0 {
		indent = strings.Repeat("      ", depth-1) + "  "
	}
	line := indent
	if it.label != "" {
		*lines = append(*lines, indent+it.label)
		depth++
		indent = strings.Repeat("      ", depth-1) + "  "
		line = indent
	}
	if depth > 0 {
		line += "->  "
	}
	line += it.name
	b := it.node.Base()
	if o.Costs {
		line += fmt.Sprintf("  (cost=%.2f..%.2f rows=%.0f width=%d)", b.Startup, b.Cost, b.Rows, b.Width)
	}
	if a != nil {
		if n, ok := a.Nodes[b.ID]; ok {
			l := float64(n.Loops)
			rows := float64(n.Rows) / l
			if o.Timing {
				line += fmt.Sprintf(" (actual time=%.3f..%.3f rows=%.0f loops=%d)", ms(n.Startup), ms(n.Total)/l, rows, n.Loops)
			} else {
				line += fmt.Sprintf(" (actual rows=%.0f loops=%d)", rows, n.Loops)
			}
		} else {
			line += " (never executed)"
		}
	}
	*lines = append(*lines, line)
	pad := indent + "  "
	if depth > 0 {
		pad = indent + "      "
	}
	for _, p := range it.props {
		*lines = append(*lines, pad+p.key+": "+p.val)
	}
	for _, k := range it.kids {
		d.text(lines, k, depth+1, o, a)
	}
}

func (d *describer) json(it *item, o *ExplainOptions, a *Actual) map[string]any {
	m := map[string]any{"Node Type": it.kind}
	b := it.node.Base()
	if o.Costs {
		m["Startup Cost"], m["Total Cost"], m["Plan Rows"], m["Plan Width"] = round2(b.Startup), round2(b.Cost), b.Rows, b.Width
	}
	if it.label != "" {
		m["Subplan Name"] = it.label
	}
	if a != nil {
		n := a.Nodes[b.ID]
		l := max(1, n.Loops)
		m["Actual Rows"], m["Actual Loops"] = n.Rows/l, n.Loops
		if o.Timing {
			m["Actual Startup Time"], m["Actual Total Time"] = ms(n.Startup), ms(n.Total)/float64(l)
		}
	}
	for _, p := range it.props {
		m[p.key] = p.val
	}
	switch x := it.node.(type) {
	case *Scan:
		m["Relation Name"], m["Alias"] = x.Table.Name, x.Alias
		if x.Index != nil && it.kind != "Seq Scan" {
			m["Index Name"] = x.Index.Name
		}
	case *Join:
		m["Join Type"] = joinTypes[x.Kind]
	}
	var kids []any
	for _, k := range it.kids {
		kids = append(kids, d.json(k, o, a))
	}
	if kids != nil {
		m["Plans"] = kids
	}
	return m
}

func round2(f float64) float64 { return float64(int64(f*100+0.5)) / 100 }

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

func (d *describer) keys(ks []SortKey) string {
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
	return strings.Join(out, ", ")
}

func (d *describer) list(es []Expr) string {
	var out []string
	for _, e := range es {
		out = append(out, d.expr(e))
	}
	return strings.Join(out, ", ")
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
	add := func(key, val string) { it.props = append(it.props, prop{key, val}) }
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
		in.props = append(in.props, prop{"Filter", d.conds(x.Conds)})
		return in
	case *Join:
		name := "Nested Loop"
		if x.Method == HashJoin {
			name = "Hash"
		}
		switch x.Kind {
		case LeftJoin, FullJoin, SemiJoin, AntiJoin:
			name += " " + joinTypes[x.Kind]
			if x.Method != HashJoin {
				name += " Join"
			}
		}
		if x.Method == HashJoin {
			name += " Join"
			var cs []string
			for i := range x.LeftKeys {
				cs = append(cs, "("+d.expr(x.LeftKeys[i])+" = "+d.expr(x.RightKeys[i])+")")
			}
			if len(cs) == 1 {
				add("Hash Cond", cs[0])
			} else {
				add("Hash Cond", "("+strings.Join(cs, " AND ")+")")
			}
		}
		it.name = name
		it.kind = "Nested Loop"
		if x.Method == HashJoin {
			it.kind = "Hash Join"
		}
		if len(x.On) > 0 {
			add("Join Filter", d.conds(x.On))
		}
		l, r := d.item(x.Left), d.item(x.Right)
		switch {
		case x.Method == HashJoin:
			r = &item{name: "Hash", kind: "Hash", node: x.Right, kids: []*item{r}}
		case x.Memo:
			r = &item{name: "Materialize", kind: "Materialize", node: x.Right, kids: []*item{r}}
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
		if len(x.Group) > 0 {
			add("Group Key", d.list(x.Group))
		}
	case *Sort:
		it.name, it.kind = "Sort", "Sort"
		add("Sort Key", d.keys(x.Keys))
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
			c.label = "CTE " + x.CTEs[i].Name
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
	case *Merge:
		it.name, it.kind = "Merge on "+relName(x.Target.Table, ""), "ModifyTable"
	default:
		it.name = fmt.Sprintf("%T", n)
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
	add := func(key, val string) { it.props = append(it.props, prop{key, val}) }
	whole := len(x.IndexConds) == 0 && (x.Index == nil || x.Index == x.Table.Primary) && !x.Ordered
	switch {
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
		it.name = verb + " using " + types.QuoteIdent(x.Index.Name) + " on " + name
		if len(x.IndexConds) > 0 {
			add("Index Cond", d.conds(x.IndexConds))
		}
	}
	if len(x.Filter) > 0 {
		add("Filter", d.conds(x.Filter))
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
			k.label = "SubPlan " + itoa(s.ID+1)
			if !s.Correlated && s.Kind != SubAny && s.Kind != SubAll {
				k.label = "InitPlan " + itoa(s.ID+1)
				if s.Kind == SubScalar {
					k.label += " (returns $" + itoa(s.ID) + ")"
				}
			}
			it.kids = append(it.kids, k)
		}
		return true
	})
}
