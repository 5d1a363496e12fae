package plan

import (
	"math"
	"sync"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/txn/kv"
)

// This file decides what runs beside the data: conditions of scans (Scan.Remote), what is answered of each row
// (Scan.Narrow) and partial aggregates (Partial). It comes last, when all else about a plan is known.

const (
	// shipRows is how many entries a scan reads, by estimate, above which it sends a program along: below, all of it
	// comes in one small page anyway.
	shipRows = 1000
	// shipSelectivity is the share of rows that conditions let through, above which evaluating them twice, there for
	// the condition and here for the row, is no gain.
	shipSelectivity = 0.75
	// narrowShare is the share of a row's width that is wanted, below which it is cut out before it is sent.
	narrowShare = 0.34
	// shipGroups bounds the groups of a partial aggregate, and groupShare the groups for each row.
	shipGroups = 20000
	groupShare = 0.25
)

// Partial aggregates its input beside the data, for the Agg above it, which has the expressions: it merges what
// each page of each range has made of its groups. Its rows are not passed through the frame.
type Partial struct {
	NodeBase
	Input *Scan
	Agg   *Agg

	codec  sync.Once
	codecV any
}

// Codec returns what build makes, calling it once.
func (n *Partial) Codec(build func() any) any {
	n.codec.Do(func() { n.codecV = build() })
	return n.codecV
}

func (n *Partial) inputs(f func(*Node)) {
	var in Node = n.Input
	f(&in)
	n.Input = in.(*Scan)
}
func (n *Partial) exprs(func(*Expr))   {}
func (n *Partial) produces(func(Slot)) {}

// ship decides for a tree; limit is the LIMIT right above n, if any.
func (o *optimizer) ship(n Node, limit *Limit) Node {
	switch x := n.(type) {
	case *Scan:
		o.shipScan(x, limit)
		return n
	case *Limit:
		x.Input = o.ship(x.Input, x)
		return n
	case *Project:
		x.Input = o.ship(x.Input, limit)
		return n
	case *Agg:
		if s, ok := x.Input.(*Scan); ok && o.shipAgg(x, s) {
			return n
		}
	case *Partial:
		return n
	}
	n.inputs(func(c *Node) { *c = o.ship(*c, nil) })
	return n
}

// remotable reports whether a scan's pairs can be worked on where they are: it reads all it needs from the entries
// of one index, by spans, and many of them.
func (o *optimizer) remotable(s *Scan) bool {
	least := o.b.env.RemoteRows
	if least == 0 {
		least = shipRows
	}
	s.many = least > 0 && s.Table.Kind == BaseTable && !s.Point && s.Bitmap == nil && s.pathRows > least
	return s.many && s.Wait == kv.WaitBlock && (s.Index == nil || s.Index == s.Table.Primary || s.IndexOnly) && len(s.allCols) > 0
}

// shipper checks expressions over a scan's columns.
func (s *Scan) shipper() *Shipper {
	base := s.SlotBase()
	return &Shipper{
		Slot: func(x Slot) (int, bool) {
			return x - base, x >= base && x < base+len(s.Table.Columns)
		},
		Scratch: func(x Slot) int { return x },
	}
}

func (o *optimizer) shipScan(s *Scan, limit *Limit) {
	if !o.remotable(s) {
		return
	}
	sh := s.shipper()
	var remote, local []Expr
	for _, f := range s.Filter {
		if _, ok := sh.Append(nil, f); ok {
			remote = append(remote, f)
		} else {
			local = append(local, f)
		}
	}
	if len(remote) > 0 && o.selectivity(remote) <= shipSelectivity {
		s.Filter, s.Remote = append(remote, local...), len(remote)
		if len(local) == 0 && limit != nil {
			o.limitHint(limit, s)
		}
		// Rows that are left out are neither copied nor sent.
		saved := s.pathRows * (1 - o.selectivity(remote)) * costRow * 0.3
		s.Cost = math.Max(s.Startup, s.Cost-saved)
	}
	s.Narrow = !s.Target && s.wantedShare() < narrowShare
}

// wantedShare is the share of a row's stored width that the scan needs.
func (s *Scan) wantedShare() float64 {
	want, all := 0, 0
	for _, c := range s.Cols {
		want += columnWidth(s.Table.Columns[c.Ord])
	}
	for i, c := range s.Table.Columns {
		if c.System || s.IndexOnly && !s.Table.inIndex(s.Index, i) {
			continue
		}
		all += columnWidth(c)
	}
	if all == 0 {
		return 1
	}
	return float64(want) / float64(all)
}

// shipAgg has the scan below an aggregate aggregate beside the data, if it can and that leaves much less to send.
func (o *optimizer) shipAgg(a *Agg, s *Scan) bool {
	if !o.remotable(s) || a.Sets != nil || a.Strategy == AggSorted || s.Target || s.LimitHint != nil || s.Ordered {
		return false
	}
	groups := math.Max(1, a.Rows)
	if groups > shipGroups || groups > groupShare*math.Max(1, s.Rows) {
		return false
	}
	sh := s.shipper()
	ok := true
	check := func(e Expr) {
		if ok {
			_, ok = sh.Append(nil, e)
		}
	}
	for _, f := range s.Filter {
		check(f)
	}
	for _, g := range a.Group {
		check(g)
	}
	for _, g := range a.Aggs {
		if !shipAggCall(g) {
			return false
		}
		for _, e := range g.Args {
			check(e)
		}
		if g.Filter != nil {
			check(g.Filter)
		}
	}
	if !ok {
		return false
	}
	s.Remote = len(s.Filter)
	p := &Partial{Input: s, Agg: a}
	p.NodeBase = NodeBase{Rows: groups, Startup: a.Startup, Cost: a.Cost, Width: a.Width}
	a.Input = p
	a.Cost += groups * costRow
	a.Startup = math.Min(a.Cost, a.Startup+groups*costRow)
	return true
}

// shipAggCall reports whether an aggregate can be computed in parts: its states travel and can be merged.
func shipAggCall(g *AggFunc) bool {
	if g.Distinct || len(g.Order) > 0 || g.Direct > 0 || !MergeableAgg(g.Call) {
		return false
	}
	again, err := builtin.ResolveFunction(g.Call.Func.Name, g.Call.Args)
	return err == nil && again.Func == g.Call.Func
}

// MergeableAgg reports whether an aggregate's states can travel and be merged.
func MergeableAgg(c *builtin.Call) bool {
	if c.Func.Kind != 'a' || c.NewAcc == nil || c.Func.User != nil {
		return false
	}
	acc, ok := c.NewAcc().(builtin.Partial)
	if !ok {
		return false
	}
	for _, t := range acc.StateTypes() {
		if t == nil || !shipType(t) {
			return false
		}
	}
	for _, t := range c.Args {
		if !shipType(t) {
			return false
		}
	}
	return true
}
