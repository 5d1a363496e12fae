package plan

// FastPath marks a plan that executes without operators: the scan of one row by its full primary key,
// alone or below an UPDATE or DELETE, or an INSERT of literal rows.
type FastPath struct {
	Scan   *Scan   // nil for INSERT
	Filter []Expr  // conditions above the scan's own
	Insert *Insert // one of these at most
	Update *Update
	Delete *Delete
}

// fastPath recognises the shape.
func fastPath(p *Plan) (*FastPath, bool) {
	f := &FastPath{}
	n := p.Root
	switch x := n.(type) {
	case *Update:
		if x.Joined || x.Target.Parts != nil || x.Target.Table.Triggers != nil {
			return nil, false
		}
		f.Update, n = x, x.Input
	case *Delete:
		if x.Joined || x.Target.Parts != nil || x.Target.Table.Triggers != nil {
			return nil, false
		}
		f.Delete, n = x, x.Input
	case *Insert:
		if v, ok := x.Input.(*Values); ok && len(v.Rowsets) == 1 && x.Target.Parts == nil && x.Target.Table.Triggers == nil {
			f.Insert = x
			return f, false
		}
		return nil, false
	}
	if fl, ok := n.(*Filter); ok {
		f.Filter, n = fl.Conds, fl.Input
	}
	s, ok := n.(*Scan)
	if !ok || s.Table.Kind != BaseTable || !s.Point || s.Index != s.Table.Primary {
		return nil, false
	}
	f.Scan = s
	return f, true
}

// Written is the id of the table that the statement itself writes, 0 for none. Data-modifying WITH queries are
// not looked at.
func (p *Plan) Written() uint32 {
	if t := p.target(); t != nil && t.Table.Kind != View {
		return t.Table.ID
	}
	return 0
}

func (p *Plan) target() *WriteTarget {
	switch n := p.Root.(type) {
	case *Insert:
		return n.Target
	case *Update:
		return n.Target
	case *Delete:
		return n.Target
	case *Merge:
		return n.Target
	}
	return nil
}
