package plan

import "github.com/meridian-db/meridian/sql/builtin"

// factorAll takes disjunctions apart: what all branches have in common becomes a condition of its own, and what
// all branches say about one input restricts that input.
func (o *optimizer) factorAll(conds []Expr) []Expr {
	var out []Expr
	for _, c := range conds {
		if in, ok := inListOf(c); ok {
			out = append(out, in)
		} else if or, ok := c.(*Or); ok {
			out = append(out, o.factor(or)...)
		} else {
			out = append(out, c)
		}
	}
	return out
}

// inListOf turns a = 1 OR a IN (2, 3) into a IN (1, 2, 3), which an index can look up.
func inListOf(c Expr) (Expr, bool) {
	or, ok := c.(*Or)
	if !ok {
		return nil, false
	}
	var in *InList
	for _, e := range disjuncts(or) {
		var left Expr
		var list []Expr
		var eq *Func
		switch x := e.(type) {
		case *Func:
			if x.Cmp() != builtin.CmpEQ || len(x.Args) != 2 || !isConstLike(x.Args[1]) {
				return nil, false
			}
			left, list = x.Args[0], x.Args[1:]
			eq = &Func{Name: x.Name, Call: x.Call, T: x.T, Form: x.Form, Args: []Expr{&Hole{T: x.Args[0].Type()}, &Hole{T: x.Args[1].Type()}}}
		case *InList:
			if x.Not || x.Eq.Cmp() != builtin.CmpEQ {
				return nil, false
			}
			left, list, eq = x.Left, x.List, x.Eq
		default:
			return nil, false
		}
		if _, ok := left.(*Col); !ok {
			return nil, false
		}
		switch {
		case in == nil:
			in = &InList{Left: left, Eq: eq}
		case !sameExpr(in.Left, left) || !sameExpr(in.Eq, eq):
			return nil, false
		}
		in.List = append(in.List, list...)
	}
	return in, true
}

func disjuncts(e Expr) []Expr {
	or, ok := e.(*Or)
	if !ok {
		return []Expr{e}
	}
	var out []Expr
	for _, a := range or.Args {
		out = append(out, disjuncts(a)...)
	}
	return out
}

// factor turns (a AND x) OR (a AND y) into a and x OR y. In three-valued logic both are the same.
func (o *optimizer) factor(or *Or) []Expr {
	branches := disjuncts(or)
	parts := make([][]Expr, len(branches))
	for i, b := range branches {
		parts[i] = conjuncts(b)
		for _, p := range parts[i] {
			if isVolatile(p) || hasSubquery(p) {
				return []Expr{or}
			}
		}
	}
	var out []Expr
	for _, c := range parts[0] {
		everywhere := true
		for _, p := range parts[1:] {
			found := false
			for _, x := range p {
				found = found || sameExpr(c, x)
			}
			everywhere = everywhere && found
		}
		if everywhere {
			out = append(out, c)
		}
	}
	for i := range parts {
		var rest []Expr
		for _, x := range parts[i] {
			common := false
			for _, c := range out {
				common = common || sameExpr(c, x)
			}
			if !common {
				rest = append(rest, x)
			}
		}
		if len(rest) == 0 {
			return out // one branch says nothing more than what is common
		}
		parts[i] = rest
	}
	if len(out) == 0 {
		out = append(out, or)
	} else {
		args := make([]Expr, len(parts))
		for i := range parts {
			args[i] = conjoin(parts[i])
		}
		out = append(out, &Or{Args: args})
	}
	return append(out, o.restrictions(parts)...)
}

// restrictions derives from a disjunction what it says about each single input: (a.x AND b.y) OR (a.z AND b.w)
// implies a.x OR a.z. The full condition is tested later all the same, so these are worth it only when they leave
// rows out early.
func (o *optimizer) restrictions(parts [][]Expr) []Expr {
	scans := map[*Scan]bool{}
	var order []*Scan
	single := func(e Expr) *Scan {
		var used slotSet
		exprSlots(e, &used)
		var s *Scan
		for _, slot := range used.list() {
			or, ok := o.origin[slot]
			if !ok || s != nil && or.scan != s {
				return nil
			}
			s = or.scan
		}
		return s
	}
	several := false
	for _, p := range parts {
		for _, e := range p {
			s := single(e)
			if s == nil {
				several = true
				continue
			}
			if !scans[s] {
				scans[s] = true
				order = append(order, s)
			}
		}
	}
	if len(order) < 2 && !several {
		return nil // all about one input
	}
	var out []Expr
	for _, s := range order {
		var args []Expr
		for _, p := range parts {
			var own []Expr
			for _, e := range p {
				if single(e) == s {
					own = append(own, e)
				}
			}
			if own == nil {
				args = nil
				break
			}
			args = append(args, conjoin(own))
		}
		if args != nil {
			out = append(out, &Or{Args: args})
		}
	}
	return out
}
