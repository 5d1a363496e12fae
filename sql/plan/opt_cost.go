package plan

import (
	"math"

	"github.com/meridian-db/meridian/sql/builtin"
)

// rows estimates the rows a node yields.
func (o *optimizer) rows(n Node) float64 {
	switch x := n.(type) {
	case *Scan:
		if x.Table.Kind != BaseTable {
			return math.Max(1, 100*o.selectivity(x.Filter))
		}
		if x.Index != nil {
			return math.Max(1, x.pathRows*o.selectivity(x.Filter))
		}
		if len(x.Filter) == 0 {
			return x.Table.rowEstimate()
		}
		p := o.bestPath(x, x.Filter)
		var rest []Expr
		for i, c := range x.Filter {
			if !p.used[i] {
				rest = append(rest, c)
			}
		}
		return math.Max(1, p.rows*o.selectivity(rest))
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
		sel := 1.0
		for _, c := range x.On {
			sel *= o.joinSelectivity(c)
		}
		for i := range x.LeftKeys {
			sel *= o.keySelectivity(x.LeftKeys[i], x.RightKeys[i])
		}
		switch x.Kind {
		case SemiJoin:
			return math.Max(1, l*math.Min(1, math.Max(0.1, r*sel)))
		case AntiJoin:
			return math.Max(1, l*0.5)
		case LeftJoin:
			return math.Max(l, l*r*sel)
		case FullJoin:
			return math.Max(l+r, l*r*sel)
		}
		return math.Max(1, l*r*sel)
	case *Agg:
		in := o.rows(x.Input)
		if len(x.Group) == 0 {
			return math.Max(1, float64(len(x.Sets)))
		}
		g := 1.0
		for _, e := range x.Group {
			g *= o.exprDistinct(e)
		}
		return math.Max(1, math.Min(g, in*0.5+1)) * math.Max(1, float64(len(x.Sets)))
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
		return math.Max(1, o.rows(x.Input)*0.5)
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

// selectivity is the share of rows for which all conditions hold.
func (o *optimizer) selectivity(conds []Expr) float64 {
	s := 1.0
	for _, c := range conds {
		s *= o.condSelectivity(c)
	}
	return s
}

func (o *optimizer) condSelectivity(c Expr) float64 {
	switch x := c.(type) {
	case *Const:
		if x.D.IsNull() || !x.D.Bool() {
			return 1e-6
		}
		return 1
	case *Func:
		switch x.Cmp() {
		case builtin.CmpEQ:
			d := 200.0
			for _, a := range x.Args {
				if n := o.exprDistinct(a); n > 1 && !isConstLike(a) {
					d = n
				}
			}
			return 1 / d
		case builtin.CmpNE:
			return 0.995
		case builtin.CmpLT, builtin.CmpLE, builtin.CmpGT, builtin.CmpGE:
			return 1.0 / 3
		}
		switch x.Name {
		case "~~", "~~*", "~", "~*":
			return 0.05
		case "!~~", "!~~*":
			return 0.95
		}
		return 1.0 / 3
	case *And:
		return o.selectivity(x.Args)
	case *Or:
		s := 1.0
		for _, a := range x.Args {
			s *= 1 - o.condSelectivity(a)
		}
		return 1 - s
	case *Not:
		return 1 - o.condSelectivity(x.Arg)
	case *IsNull:
		if x.Not {
			return 0.99
		}
		return 0.01
	case *InList:
		s := math.Min(1, float64(len(x.List))/o.exprDistinct(x.Left))
		if x.Not {
			return math.Max(0.01, 1-s)
		}
		return s
	case *AnyAll:
		return math.Min(0.5, 10/o.exprDistinct(x.Left))
	}
	return 0.5
}

func (o *optimizer) joinSelectivity(c Expr) float64 {
	if f, ok := c.(*Func); ok && f.Cmp() == builtin.CmpEQ && len(f.Args) == 2 {
		return o.keySelectivity(f.Args[0], f.Args[1])
	}
	return o.condSelectivity(c)
}

func (o *optimizer) keySelectivity(l, r Expr) float64 {
	return 1 / math.Max(1, math.Max(o.exprDistinct(l), o.exprDistinct(r)))
}

// exprDistinct estimates the number of different values of an expression.
func (o *optimizer) exprDistinct(e Expr) float64 {
	switch x := e.(type) {
	case *Col:
		if or, ok := o.origin[x.Slot]; ok {
			if or.scan.Table.Kind == BaseTable {
				return o.distinct(or.scan.Table, or.ord)
			}
			return 50
		}
	case *Cast:
		return o.exprDistinct(x.Arg)
	case *Const, *Param:
		return 1
	}
	return 200
}

// scanCost is the cost of reading an input completely.
func (o *optimizer) scanCost(n Node) float64 {
	if s, ok := n.(*Scan); ok && s.Table.Kind == BaseTable {
		return o.bestPath(s, s.Filter).cost
	}
	c := o.rows(n)
	n.inputs(func(k *Node) { c += o.scanCost(*k) })
	return c
}

// estimate fills in the numbers EXPLAIN shows, in PostgreSQL's unit: about one per sequential page read.
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
	b.Rows = math.Round(o.rows(n))
	switch x := n.(type) {
	case *Scan:
		for _, c := range x.Cols {
			col := x.Table.Columns[c.Ord]
			switch {
			case col.Stats != nil && col.Stats.AvgWidth > 0:
				width += int(math.Round(col.Stats.AvgWidth))
			case col.T.Size > 0:
				width += int(col.T.Size)
			default:
				width += 32
			}
		}
		r := x.pathRows
		if x.Table.Kind != BaseTable {
			r = 100
		}
		total = 0.15 + r*0.012
		if x.Index != nil && x.Index != x.Table.Primary && !x.IndexOnly {
			total = 0.3 + r*0.05
		}
	case *Join:
		l, r := x.Left.Base(), x.Right.Base()
		switch x.Method {
		case HashJoin:
			startup = r.Cost + r.Rows*0.015
			total += r.Rows*0.015 + l.Rows*0.01 + b.Rows*0.01
		default:
			if x.Lateral {
				total = l.Cost + l.Rows*math.Max(0.1, r.Cost)
			} else {
				total += l.Rows * r.Rows * 0.0025
			}
		}
	case *Sort:
		in := x.Input.Base()
		startup = in.Cost + in.Rows*math.Log2(in.Rows+2)*0.005
		total = startup + b.Rows*0.01
	case *Agg:
		total += x.Input.Base().Rows * 0.01 * float64(1+len(x.Aggs))
		if x.Strategy != AggSorted {
			startup = total
		}
		width = 8 * (len(x.Aggs) + len(x.Group))
		total += b.Rows * 0.01
	case *Limit:
		in := x.Input.Base()
		share := math.Min(1, b.Rows/math.Max(1, in.Rows))
		total = in.Startup + (in.Cost-in.Startup)*share
	case *FuncScan:
		total = b.Rows * 0.01
		width = 8
	case *Values:
		total = b.Rows * 0.0125
		width = 8 * len(x.Slots)
	case *OneRow:
		total = 0.01
	default:
		total += b.Rows * 0.01
	}
	b.Startup, b.Cost, b.Width = startup, total, width
	n.exprs(func(e *Expr) {
		walkExpr(*e, func(x Expr) bool {
			if s, ok := x.(*Subquery); ok && s.Root != nil && s.Root.Base().Cost == 0 {
				o.estimate(s.Root)
			}
			return true
		})
	})
}
