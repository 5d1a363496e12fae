package plan

import (
	"math"

	"github.com/meridian-db/meridian/sql/builtin"
)

// Costs, in PostgreSQL's unit of one sequentially read page, so that EXPLAIN's figures have the familiar size. What
// counts are the ratios: a row read in order by its neighbour costs a third of a microsecond, one fetched by key
// some six times that, and opening a scan as much as twenty rows.
const (
	costRow       = 0.01
	costFetch     = 0.06
	costScanStart = 0.2
	costCond      = 0.0025 // one condition or expression
	costBuild     = 0.015  // a row put into a hash table
	costProbe     = 0.008  // a row looked up in it
	costMerge     = 0.006  // a row of either side of a merge join
	costOut       = 0.002  // a joined row handed on
	costSort      = 0.0015 // one comparison
	costSpill     = 0.02   // a row written out and read back
)

func hashCost(probe, build, out float64) float64 {
	return probe*costProbe + build*costBuild + out*costOut
}

func loopCost(l, r, out float64) float64 { return l*r*costCond + r*costBuild + out*costOut }

func sortCost(n float64) float64 { return n * math.Log2(n+2) * costSort }

// lookupCost is the cost of finding the right rows of one left row by a path. A semi join stops at the first.
func lookupCost(p *path, kind JoinKind) float64 {
	if p.point && p.in == nil {
		return costFetch
	}
	n := p.rows
	if p.bitmap != nil {
		return p.pathCost(nil, n)
	}
	if kind == SemiJoin || kind == AntiJoin {
		n = math.Min(n, 2)
	}
	c := costScanStart + n*costRow
	if !p.only && !p.ix.Primary {
		c += n * costFetch
	}
	return c
}

// rows estimates the rows a node yields.
func (o *optimizer) rows(n Node) float64 {
	switch x := n.(type) {
	case *Scan:
		if x.Table.Kind != BaseTable {
			return math.Max(1, 100*o.selectivity(x.Filter))
		}
		if x.Point {
			return 1
		}
		conds := x.Filter
		if x.Index != nil {
			conds = x.conds
		} else if p := o.bestPath(x, x.Filter); p != nil && p.point {
			return 1
		}
		return math.Max(1, x.Table.rowEstimate()*o.selectivity(conds))
	case *Append:
		sum := 0.0
		if !x.expanded {
			for _, t := range x.Table.leaves() {
				sum += t.rowEstimate()
			}
		}
		for _, k := range x.Kids {
			sum += o.rows(k.Input)
		}
		return math.Max(1, sum)
	case *OneRow:
		return 1
	case *Values:
		return float64(len(x.Rowsets))
	case *FuncScan:
		return o.funcRows(x)
	case *Project:
		return o.rows(x.Input)
	case *Filter:
		return math.Max(1, o.rows(x.Input)*o.selectivity(x.Conds))
	case *Join:
		l, r := o.rows(x.Left), o.rows(x.Right)
		if x.rightRows > 0 {
			r = x.rightRows
		}
		on := x.On
		if x.joinConds != nil {
			on = x.joinConds
		}
		switch x.Kind {
		case InnerJoin:
			var eqs []Expr
			sel := 1.0
			for _, c := range on {
				if f, ok := c.(*Func); ok && f.Cmp() == builtin.CmpEQ && len(f.Args) == 2 {
					eqs = append(eqs, c)
				} else {
					sel *= o.joinSelectivity(c)
				}
			}
			return math.Max(1, l*r*sel*o.equiSelectivity(eqs))
		case FullJoin:
			return math.Max(l+r, l*r*o.selectivity(on))
		}
		return o.outerRows(x.Kind, l, r, on)
	case *Partial:
		return x.Rows
	case *Agg:
		in := o.rows(x.Input)
		if len(x.Group) == 0 {
			return math.Max(1, float64(len(x.Sets)))
		}
		g := 1.0
		for _, e := range x.Group {
			g *= o.exprDistinct(e)
		}
		return math.Max(1, math.Min(g, in)) * math.Max(1, float64(len(x.Sets)))
	case *Sort:
		return o.limited(o.rows(x.Input), x.Limit, x.Offset)
	case *Limit:
		r := o.rows(x.Input)
		if c, ok := constInt(x.Offset); ok {
			r = math.Max(1, r-c)
		}
		if c, ok := constInt(x.Count); ok {
			r = math.Min(r, math.Max(1, c))
		}
		return r
	case *Distinct:
		g := 1.0
		for _, e := range x.Keys {
			g *= o.exprDistinct(e)
		}
		return math.Max(1, math.Min(g, o.rows(x.Input)))
	case *SetOp:
		l, r := o.rows(x.Left), o.rows(x.Right)
		switch x.Op {
		case Union:
			return l + r
		case Intersect:
			return math.Max(1, math.Min(l, r)*0.5)
		}
		return math.Max(1, l*0.5)
	case *With:
		return o.rows(x.Input)
	case *CTEScan:
		if x.Working || x.CTE.Query == nil {
			return 100
		}
		return o.rows(x.CTE.Query)
	case *ProjectSet:
		return o.rows(x.Input) * 10
	case *Window:
		return o.rows(x.Input)
	case *LockRows:
		return o.rows(x.Input)
	case *Insert:
		return o.rows(x.Input)
	case *Update:
		return o.rows(x.Input)
	case *Delete:
		return o.rows(x.Input)
	case *Merge:
		return o.rows(x.Input)
	}
	return 1000
}

func (o *optimizer) limited(r float64, limit, offset Expr) float64 {
	if c, ok := constInt(limit); ok {
		if f, ok := constInt(offset); ok {
			c += f
		}
		return math.Min(r, math.Max(1, c))
	}
	return r
}

// funcRows knows generate_series of constants and unnest of literals.
func (o *optimizer) funcRows(x *FuncScan) float64 {
	most := 1.0
	for _, f := range x.Funcs {
		if f.Call == nil {
			continue
		}
		n := 100.0
		if f.Call.Func.Name == "generate_series" && len(f.Args) >= 2 {
			a, ok1 := constInt(f.Args[0])
			b, ok2 := constInt(f.Args[1])
			if ok1 && ok2 {
				step := 1.0
				if len(f.Args) == 3 {
					if s, ok := constInt(f.Args[2]); ok && s != 0 {
						step = s
					}
				}
				n = math.Max(1, math.Floor((b-a)/step)+1)
			}
		}
		most = math.Max(most, n)
	}
	return most
}

// scanCost is the cost of reading an input completely, before its paths are chosen.
func (o *optimizer) scanCost(n Node) float64 {
	if s, ok := n.(*Scan); ok && s.Table.Kind == BaseTable {
		return o.bestPath(s, s.Filter).cost
	}
	c := o.rows(n) * costRow
	n.inputs(func(k *Node) { c += o.scanCost(*k) })
	return c
}

// estimate fills in the numbers EXPLAIN shows.
func (o *optimizer) estimate(n Node) {
	total := 0.0
	startup := 0.0
	width := 0
	n.inputs(func(c *Node) {
		o.estimate(*c)
		total += (*c).Base().Cost
		startup = math.Max(startup, (*c).Base().Startup)
		width += (*c).Base().Width
	})
	b := n.Base()
	rows := o.rows(n)
	b.Rows = math.Round(rows)
	switch x := n.(type) {
	case *Scan:
		width = 0
		for _, c := range x.Cols {
			width += columnWidth(x.Table.Columns[c.Ord])
		}
		if x.Table.Kind != BaseTable {
			total = 100 * costRow
			break
		}
		p := &path{ix: x.Index, only: x.IndexOnly || x.Index == x.Table.Primary, point: x.Point, in: x.In, bitmap: x.Bitmap}
		total = p.pathCost(x, x.pathRows) + x.pathRows*float64(len(x.Filter))*costCond
		if x.LimitHint != nil {
			if l, ok := constInt(x.LimitHint); ok && l < x.pathRows {
				b.Rows = math.Round(rows)
			}
		}
	case *Join:
		l, r := x.Left.Base(), x.Right.Base()
		startup = l.Startup
		switch {
		case x.Method == HashJoin:
			startup = l.Startup + r.Cost + r.Rows*costBuild
			total = l.Cost + r.Cost + hashCost(l.Rows, r.Rows, b.Rows)
		case x.Method == MergeJoin:
			startup = l.Startup + r.Startup
			total = l.Cost + r.Cost + (l.Rows+r.Rows)*costMerge + b.Rows*costOut
		case x.Method == LookupJoin:
			total = l.Cost + l.Rows*costFetch + b.Rows*costOut
			r.Rows = 1
		case x.Lateral:
			total = l.Cost + l.Rows*math.Max(costRow, r.Cost) + b.Rows*costOut
		default:
			total = l.Cost + r.Cost + loopCost(l.Rows, r.Rows, b.Rows)
		}
		if x.Kind == SemiJoin || x.Kind == AntiJoin {
			width = l.Width
		}
	case *Sort:
		in := x.Input.Base()
		n := in.Rows
		if x.Limit != nil {
			n = math.Min(n, b.Rows*2)
		}
		if x.Prefix > 0 {
			each := o.groupRows(x.Input, x.Keys[:x.Prefix])
			groups := math.Max(1, in.Rows/each)
			startup = in.Startup + (in.Cost-in.Startup)/groups + each*math.Log2(each+2)*costSort
			share := 1.0
			if x.Limit != nil {
				share = math.Min(1, (b.Rows+each)/math.Max(1, in.Rows))
			}
			total = startup + ((in.Cost-in.Startup)+in.Rows*math.Log2(each+2)*costSort)*share*(1-1/groups) + b.Rows*costCond
			break
		}
		startup = in.Cost + in.Rows*math.Log2(n+2)*costSort
		total = startup + b.Rows*costCond
	case *Agg:
		in := x.Input.Base()
		total = in.Cost + in.Rows*costCond*float64(1+len(x.Aggs)+len(x.Group))
		if x.Strategy != AggSorted {
			startup = total
		}
		width = 8 * (len(x.Aggs) + len(x.Group))
		total += b.Rows * costRow
	case *Limit:
		in := x.Input.Base()
		share := math.Min(1, b.Rows/math.Max(1, in.Rows))
		total = in.Startup + (in.Cost-in.Startup)*share
	case *FuncScan:
		total = b.Rows * costRow
		width = 8
	case *Values:
		total = b.Rows * 0.0125
		width = 8 * len(x.Slots)
	case *OneRow:
		total = 0.01
	case *Filter:
		total += x.Input.Base().Rows * costCond * float64(len(x.Conds))
	case *Project:
		total += b.Rows * costCond * float64(len(x.Exprs))
	default:
		total += b.Rows * costCond
	}
	// Subqueries run once, or for each row that gets to them.
	times := b.Rows
	n.inputs(func(k *Node) { times = math.Max(times, (*k).Base().Rows) })
	n.exprs(func(e *Expr) {
		once, each := o.subqueryCosts(*e, times)
		startup += once
		total += once + each
	})
	b.Startup, b.Cost, b.Width = startup, math.Max(total, startup), width
}

// subqueryCosts are the costs of an expression's subqueries: of those that run once, and of the others for so many rows.
func (o *optimizer) subqueryCosts(e Expr, times float64) (once, each float64) {
	walkExpr(e, func(x Expr) bool {
		s, ok := x.(*Subquery)
		if !ok || s.Root == nil {
			return true
		}
		if s.Root.Base().Cost == 0 {
			o.estimate(s.Root)
		}
		if s.Correlated {
			each += o.batchCost(s, times)
		} else {
			once += s.Root.Base().Cost
		}
		return true
	})
	return once, each
}

// columnWidth is a column's average width.
func columnWidth(c *TableColumn) int {
	switch {
	case c.Stats != nil && c.Stats.AvgWidth > 0:
		return int(math.Round(c.Stats.AvgWidth))
	case c.T.Size > 0:
		return int(c.T.Size)
	}
	return 32
}
