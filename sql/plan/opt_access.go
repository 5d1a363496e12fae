package plan

import (
	"math"
	"strings"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// path is a way to read a table: an index and the part of it that conditions allow.
type path struct {
	ix           *Index
	eq           []Expr
	eqNull       []bool
	in           []Expr
	inArray      bool
	lower, upper []RangeBound
	bounded      bool         // by lower and upper, or by IS NOT NULL alone
	used         map[int]bool // conditions the span makes certain
	conds        []int        // all conditions that contributed
	point        bool
	only         bool
	rows         float64 // entries read
	cost         float64
	reverse      bool
	bitmap       *Bitmap // ix is the primary index
}

// keyFamily reports whether a value of type v can be encoded as a key of type k and sorts alike.
func keyFamily(k, v *types.T) bool {
	k, v = k.BaseType(), v.BaseType()
	if k.OID == v.OID {
		return true
	}
	ints := func(t *types.T) bool {
		return t.OID == types.OIDInt2 || t.OID == types.OIDInt4 || t.OID == types.OIDInt8
	}
	strs := func(t *types.T) bool { return t.OID == types.OIDText || t.OID == types.OIDVarchar }
	oids := func(t *types.T) bool { return t.Kind == types.KindInt && !ints(t) }
	return ints(k) && ints(v) || strs(k) && strs(v) || oids(k) && oids(v)
}

// keyExprs are the expressions of an index's keys over a scan's slots.
func (o *optimizer) keyExprs(s *Scan, ix *Index) []Expr {
	slots := make([]Slot, len(s.Table.Columns))
	for i := range slots {
		slots[i] = -1
	}
	for _, c := range s.allCols {
		slots[c.Ord] = c.Slot
	}
	out := make([]Expr, len(ix.Keys))
	for i, k := range ix.Keys {
		if k.Col >= 0 {
			out[i] = &Col{Slot: slots[k.Col], T: s.Table.Columns[k.Col].T, Name: s.Table.Columns[k.Col].Name, Rel: s.Alias, Pos: -1}
			continue
		}
		if x, err := o.b.bindTableExpr(s.Table, k.Expr, slots); err == nil {
			out[i] = x
		} else {
			out[i] = &Hole{T: k.T}
		}
	}
	return out
}

// usable reports whether the scan may read rows by an index.
func (o *optimizer) usable(s *Scan, ix *Index, conds []Expr) bool {
	return !ix.Inverted && o.readable(s, ix, conds)
}

// readable reports whether the scan may read an index's entries: a partial one needs its predicate implied.
func (o *optimizer) readable(s *Scan, ix *Index, conds []Expr) bool {
	if ix.WriteOnly {
		return false
	}
	if ix.Where == nil {
		return true
	}
	slots := make([]Slot, len(s.Table.Columns))
	for _, c := range s.allCols {
		slots[c.Ord] = c.Slot
	}
	w, err := o.b.bindTableExpr(s.Table, ix.Where, slots)
	return err == nil && implies(conjoin(append([]Expr(nil), conds...)), w)
}

// covers reports whether an index entry holds every column the scan must fill.
func (s *Scan) covers(ix *Index) bool {
	if ix == s.Table.Primary {
		return true
	}
	for _, c := range s.Cols {
		if !s.Table.inIndex(ix, c.Ord) {
			return false
		}
	}
	return true
}

// inIndex reports whether a secondary index's entries hold a column.
func (t *Table) inIndex(ix *Index, ord int) bool {
	for _, i := range ix.Include {
		if i == ord {
			return true
		}
	}
	if rowenc.KeyLossy(t.Columns[ord].T) {
		return false
	}
	for _, k := range ix.Keys {
		if k.Col == ord {
			return true
		}
	}
	for _, k := range t.Primary.Keys {
		if k.Col == ord {
			return true
		}
	}
	return false
}

// match finds how a condition restricts a key: kind '=' (eq), 'n' (is null), 'i' (in list), 'a' (any
// array), 'l', 'u' or 'b' (bounds).
func (o *optimizer) match(cond, key Expr, own *slotSet) (kind byte, vals []Expr, lo, up []RangeBound, exact bool) {
	free := func(e Expr) bool {
		var u slotSet
		exprSlots(e, &u)
		return !u.intersects(own) && !isVolatile(e)
	}
	isKey := func(e Expr) bool { return sameExpr(stripCast(e), key) }
	if kind, vals = matchTID(cond, key, free); kind != 0 {
		return kind, vals, nil, nil, true
	}
	switch x := cond.(type) {
	case *Func:
		if len(x.Args) != 2 {
			return
		}
		op := x.Cmp()
		l, r := x.Args[0], x.Args[1]
		if op == builtin.CmpNone {
			if x.Name == "~~" && isKey(l) {
				return o.likePrefix(r, key)
			}
			return
		}
		if !isKey(l) {
			if !isKey(r) {
				return
			}
			l, r = r, l
			op = [...]builtin.CmpOp{builtin.CmpNone, builtin.CmpEQ, builtin.CmpNE, builtin.CmpGT, builtin.CmpGE, builtin.CmpLT, builtin.CmpLE}[op]
		}
		if !free(r) || !keyFamily(key.Type(), r.Type()) {
			return
		}
		switch op {
		case builtin.CmpEQ:
			return '=', []Expr{r}, nil, nil, true
		case builtin.CmpLT, builtin.CmpLE:
			return 'b', nil, nil, []RangeBound{{E: r, Open: op == builtin.CmpLT}}, true
		case builtin.CmpGT, builtin.CmpGE:
			return 'b', nil, []RangeBound{{E: r, Open: op == builtin.CmpGT}}, nil, true
		}
	case *IsNull:
		if !isKey(x.Arg) || x.Arg.Type().Kind == types.KindTuple {
			return
		}
		if x.Not {
			return 'b', nil, nil, nil, true // no bound lets NULL through
		}
		return 'n', []Expr{&Const{T: key.Type()}}, nil, nil, true
	case *InList:
		if x.Not || !isKey(x.Left) {
			return
		}
		for _, e := range x.List {
			if !free(e) || !keyFamily(key.Type(), e.Type()) {
				return
			}
		}
		if x.Eq.Cmp() != builtin.CmpEQ {
			return
		}
		return 'i', x.List, nil, nil, true
	case *AnyAll:
		if x.All || !isKey(x.Left) || x.Op.Cmp() != builtin.CmpEQ || !free(x.Right) {
			return
		}
		if t := x.Right.Type().BaseType(); t.Elem == nil || !keyFamily(key.Type(), t.Elem) {
			return
		}
		return 'a', []Expr{x.Right}, nil, nil, true
	case *Col:
		if x.T.OID == types.OIDBool && isKey(x) {
			return '=', []Expr{&Const{D: types.NewBool(true), T: types.Bool}}, nil, nil, true
		}
	case *Not:
		if isKey(x.Arg) && x.Arg.Type().OID == types.OIDBool {
			return '=', []Expr{&Const{D: types.NewBool(false), T: types.Bool}}, nil, nil, true
		}
	case *RowCompare:
		if !isKey(x.Left[0]) || !free(x.Right[0]) || x.Op == "<>" || !keyFamily(key.Type(), x.Right[0].Type()) {
			return
		}
		b := []RangeBound{{E: x.Right[0]}}
		if x.Op[0] == '<' {
			return 'b', nil, nil, b, false
		}
		return 'b', nil, b, nil, false
	}
	return
}

// rowBounds turns (a, b) > (1, 2) into a bound over the keys of an index from the k-th on, of which the first is known to be a.
// exact says that the bound is all that the condition says.
func (o *optimizer) rowBounds(s *Scan, ix *Index, x *RowCompare, keys []Expr, k int, own *slotSet) (lo, up []RangeBound, exact bool) {
	b := RangeBound{E: x.Right[0]}
	n, nulls := 1, false
	for ; n < len(x.Left) && k+n < len(keys); n++ {
		r := x.Right[n]
		var used slotSet
		exprSlots(r, &used)
		if ix.Keys[k+n].Desc != ix.Keys[k].Desc || !sameExpr(stripCast(x.Left[n]), keys[k+n]) || !keyFamily(keys[k+n].Type(), r.Type()) ||
			used.intersects(own) || isVolatile(r) {
			break
		}
		// A NULL in a later column makes the comparison unknown where the first ones are equal, and has a place among the keys.
		col := ix.Keys[k+n].Col
		nulls = nulls || col < 0 || !s.Table.Columns[col].NotNull
		b.More = append(b.More, r)
	}
	if exact = n == len(x.Left) && !nulls; exact {
		b.Open = len(x.Op) == 1
	}
	if x.Op[0] == '<' {
		return nil, []RangeBound{b}, exact
	}
	return []RangeBound{b}, nil, exact
}

// likePrefix turns LIKE 'abc%' into a range over text, which sorts by bytes.
func (o *optimizer) likePrefix(pat, key Expr) (kind byte, vals []Expr, lo, up []RangeBound, exact bool) {
	c, ok := stripCast(pat).(*Const)
	if !ok || c.D.IsNull() || key.Type().BaseType().Kind != types.KindString || !keyFamily(key.Type(), types.Text) {
		return
	}
	p := c.D.Str()
	i := strings.IndexAny(p, `%_\`)
	switch {
	case i < 0:
		return '=', []Expr{&Const{D: c.D, T: types.Text}}, nil, nil, true
	case i == 0:
		return
	}
	prefix := p[:i]
	lo = []RangeBound{{E: &Const{D: types.NewString(prefix), T: types.Text}}}
	end := []byte(prefix)
	for len(end) > 0 && end[len(end)-1] >= 0x7f {
		end = end[:len(end)-1]
	}
	if len(end) > 0 {
		end[len(end)-1]++
		up = []RangeBound{{E: &Const{D: types.NewString(string(end)), T: types.Text}, Open: true}}
	}
	return 'b', nil, lo, up, false
}

// pathFor works out what an index offers for a set of conditions.
func (o *optimizer) pathFor(s *Scan, ix *Index, conds []Expr) *path {
	p := &path{ix: ix, used: map[int]bool{}}
	var own slotSet
	for _, c := range s.allCols {
		own.add(c.Slot)
	}
	keys := o.keyExprs(s, ix)
	use := func(i int, exact bool) {
		if exact {
			p.used[i] = true
		}
		p.conds = append(p.conds, i)
	}
	k := 0
keys:
	for ; k < len(keys); k++ {
		if h, ok := keys[k].(*Hole); ok && h != nil {
			break
		}
		inAt, inKind := -1, byte(0)
		var inVals []Expr
		var lo, up []RangeBound
		var bounds []int
		var exacts []bool
		for i, c := range conds {
			kind, vals, l, u, exact := o.match(c, keys[k], &own)
			if rc, ok := c.(*RowCompare); ok && kind == 'b' {
				l, u, exact = o.rowBounds(s, ix, rc, keys, k, &own)
			}
			switch kind {
			case '=', 'n':
				p.eq = append(p.eq, vals[0])
				p.eqNull = append(p.eqNull, kind == 'n')
				use(i, exact)
				continue keys
			case 'i', 'a':
				if inAt < 0 {
					inAt, inKind, inVals = i, kind, vals
				}
			case 'b':
				lo, up = append(lo, l...), append(up, u...)
				bounds = append(bounds, i)
				exacts = append(exacts, exact)
			}
		}
		switch {
		case inAt >= 0:
			p.in, p.inArray = inVals, inKind == 'a'
			use(inAt, true)
		case len(bounds) > 0:
			p.lower, p.upper, p.bounded = lo, up, true
			for j, i := range bounds {
				use(i, exacts[j])
			}
		}
		break
	}
	p.point = ix.Unique && len(p.eq) == len(ix.Keys)
	for i := range p.eqNull {
		if p.eqNull[i] {
			p.point = false
		}
	}
	// What the index leaves are the rows for which the conditions on its keys hold.
	var on []Expr
	for _, i := range p.conds {
		on = append(on, conds[i])
	}
	p.rows = math.Max(1, s.Table.rowEstimate()*o.selectivity(on))
	if p.point {
		p.rows = 1
	}
	p.only = s.covers(ix)
	p.cost = p.pathCost(s, p.rows)
	return p
}

// pathCost is the cost of reading n entries of the path's index.
func (p *path) pathCost(s *Scan, n float64) float64 {
	if p.bitmap != nil {
		return p.bitmap.Cost + n*costFetch
	}
	if p.point && p.in == nil {
		c := costFetch
		if p.ix != s.Table.Primary && !p.only {
			c += costFetch
		}
		return c
	}
	c := costScanStart + n*costRow
	if p.ix != s.Table.Primary && !p.only {
		c += n * costFetch
	}
	if p.in != nil {
		c += costScanStart * float64(len(p.in)-1)
	}
	return c
}

// distinct estimates the number of values of a column.
func (o *optimizer) distinct(t *Table, ord int) float64 {
	total := t.rowEstimate()
	if ord < 0 {
		return math.Min(total, 200)
	}
	c := t.Columns[ord]
	switch {
	case c.Stats != nil && c.Stats.NDistinct > 0:
		return math.Max(1, math.Min(c.Stats.NDistinct, total))
	case c.Stats != nil && c.Stats.NDistinct < 0:
		return math.Max(1, -c.Stats.NDistinct*total)
	case c.T.BaseType().OID == types.OIDBool:
		return 2
	}
	for _, ix := range t.AllIndexes() {
		if ix.Unique && len(ix.Keys) == 1 && ix.Keys[0].Col == ord {
			return total
		}
	}
	return math.Max(1, math.Min(total, 200))
}

// bestPath chooses an index by cost, ignoring order.
func (o *optimizer) bestPath(s *Scan, conds []Expr) *path {
	var best *path
	for _, ix := range s.Table.AllIndexes() {
		if !o.usable(s, ix, conds) {
			continue
		}
		p := o.pathFor(s, ix, conds)
		if ix != s.Table.Primary && len(p.conds) == 0 && !p.only && ix.Where == nil {
			continue
		}
		if best == nil || p.cost < best.cost || p.cost == best.cost && len(p.conds) > len(best.conds) {
			best = p
		}
	}
	if p := o.bitmapPath(s, conds); p != nil && p.cost < best.cost {
		return p
	}
	return best
}

// apply makes a scan read by a path.
func (s *Scan) apply(p *path, conds []Expr) {
	s.Index, s.Eq, s.EqNull, s.In, s.InArray = p.ix, p.eq, p.eqNull, p.in, p.inArray
	s.Lower, s.Upper, s.Bounded, s.Point, s.Reverse = p.lower, p.upper, p.bounded, p.point, p.reverse
	s.IndexConds, s.Filter = nil, nil
	for _, i := range p.conds {
		s.IndexConds = append(s.IndexConds, conds[i])
	}
	for i, c := range conds {
		if !p.used[i] {
			s.Filter = append(s.Filter, c)
		}
	}
	s.conds = conds
	s.pathRows = p.rows
	s.Bitmap = p.bitmap
}

// access chooses the access path of a scan.
func (o *optimizer) access(s *Scan) {
	if s.Table.Kind != BaseTable || s.Index != nil {
		return
	}
	conds := o.equalities(s.Filter)
	s.apply(o.bestPath(s, conds), conds)
}

// provides reports whether a path yields rows in the order of keys, perhaps read backwards.
// many says that one row of the scan may have become several.
func (o *optimizer) provides(s *Scan, p *path, keys []SortKey, many bool) (ok, reverse bool) {
	if p.point && !many {
		return true, false
	}
	if p.in != nil {
		return false, false
	}
	ke := o.keyExprs(s, p.ix)
	// After the keys of the index come those of the primary key, unless it is unique.
	parts := append([]IndexKey(nil), p.ix.Keys...)
	if p.ix != s.Table.Primary && !p.ix.Unique {
		ke = append(ke, o.keyExprs(s, s.Table.Primary)...)
		parts = append(parts, s.Table.Primary.Keys...)
	}
	i := 0
	decided := false
next:
	for _, k := range keys {
		if isConstLike(k.E) {
			continue
		}
		for j := range p.eq {
			if sameExpr(ke[j], stripCast(k.E)) {
				continue next
			}
		}
		if i < len(p.eq) {
			i = len(p.eq)
		}
		if i >= len(ke) {
			// All keys of a unique index are used up: rows are already in a total order.
			return !many && p.ix.Unique && uniqueNotNull(s.Table, p.ix), reverse
		}
		if !sameExpr(ke[i], stripCast(k.E)) {
			return false, false
		}
		rev := parts[i].Desc != k.Desc
		nullable := parts[i].Col < 0 || !s.Table.Columns[parts[i].Col].NotNull
		if nullable && (parts[i].NullsFirst != rev) != k.NullsFirst {
			return false, false
		}
		if decided && rev != reverse {
			return false, false
		}
		reverse, decided = rev, true
		i++
	}
	return true, reverse
}

func uniqueNotNull(t *Table, ix *Index) bool {
	for _, k := range ix.Keys {
		if k.Col < 0 || !t.Columns[k.Col].NotNull {
			return false
		}
	}
	return true
}

// scanBelow finds the scan whose order a node passes on.
func scanBelow(n Node) *Scan {
	switch x := n.(type) {
	case *Scan:
		return x
	case *Filter:
		return scanBelow(x.Input)
	case *Project:
		return scanBelow(x.Input)
	case *LockRows:
		return scanBelow(x.Input)
	case *ProjectSet:
		return scanBelow(x.Input)
	case *Limit:
		return scanBelow(x.Input)
	case *Join:
		if x.Kind != FullJoin {
			return scanBelow(x.Left)
		}
	}
	return nil
}

// LeftOrdered reports whether the order of the left rows may matter to what stands above the join.
func (j *Join) LeftOrdered() bool {
	s := scanBelow(j.Left)
	return j.Kind != FullJoin && s != nil && s.Ordered
}

// sortKeysBelow rewrites sort keys through projections above the scan; nil when they cannot be.
func sortKeysBelow(n Node, keys []SortKey) []SortKey {
	switch x := n.(type) {
	case *Project:
		out := append([]SortKey(nil), keys...)
		for i := range out {
			e, ok := substitute(out[i].E, x.Slots, x.Exprs)
			if !ok {
				return nil
			}
			out[i].E = e
		}
		return sortKeysBelow(x.Input, out)
	case *Filter:
		return sortKeysBelow(x.Input, keys)
	case *LockRows:
		return sortKeysBelow(x.Input, keys)
	case *ProjectSet:
		return sortKeysBelow(x.Input, keys)
	case *Limit:
		return sortKeysBelow(x.Input, keys)
	case *Join:
		return sortKeysBelow(x.Left, keys)
	}
	return keys
}

// isOrdered reports whether the rows of n come in the order of keys, making the scan below read backwards
// or along another index when that is cheaper than sorting. limit is the number of rows wanted, 0 for all.
func (o *optimizer) isOrdered(n Node, keys []SortKey, limit float64) bool {
	s := scanBelow(n)
	if s == nil || s.Table.Kind != BaseTable || s.Index == nil {
		if w, ok := n.(*Sort); ok {
			return samePrefix(keys, w.Keys)
		}
		return false
	}
	below := sortKeysBelow(n, keys)
	if below == nil {
		return false
	}
	many := multiplies(n)
	cur := &path{ix: s.Index, eq: s.Eq, in: s.In, point: s.Point}
	if ok, rev := o.provides(s, cur, below, many); ok && (!s.Ordered || rev == s.Reverse) {
		s.Ordered, s.Reverse = true, rev
		return true
	}
	if s.Ordered {
		return false
	}
	rows := math.Max(1, o.rows(n))
	conds := s.conds
	cost := 0.0
	if s.Bitmap != nil {
		cost = (&path{bitmap: s.Bitmap}).pathCost(s, s.pathRows)
	} else {
		cost = o.pathFor(s, s.Index, conds).cost
	}
	sorted := cost + sortCost(rows)
	var best *path
	bestCost := sorted
	for _, ix := range s.Table.AllIndexes() {
		if !o.usable(s, ix, conds) {
			continue
		}
		p := o.pathFor(s, ix, conds)
		ok, rev := o.provides(s, p, below, many)
		if !ok {
			continue
		}
		p.reverse = rev
		read := p.rows
		if limit > 0 {
			share := rows / math.Max(1, p.rows)
			read = math.Min(read, limit/math.Max(share, 1e-6))
		}
		if c := p.pathCost(s, read); c < bestCost {
			best, bestCost = p, c
		}
	}
	if best == nil {
		return false
	}
	s.apply(best, conds)
	s.Ordered = true
	return true
}

// multiplies reports whether a node on the way to the scan below may yield several rows for one.
func multiplies(n Node) bool {
	switch x := n.(type) {
	case *Scan:
		return false
	case *Join:
		return x.Kind != SemiJoin && x.Kind != AntiJoin || multiplies(x.Left)
	case *ProjectSet:
		return true
	}
	m := false
	n.inputs(func(c *Node) { m = m || multiplies(*c) })
	return m
}

func samePrefix(want, have []SortKey) bool {
	if len(want) > len(have) {
		return false
	}
	for i := range want {
		if !sameKey(want[i], have[i]) {
			return false
		}
	}
	return true
}
