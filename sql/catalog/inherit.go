package catalog

import "slices"

// Below lists the tables directly below t: its partitions, or the tables that inherit from it, by id.
func (s *state) Below(t *Table) []*Table {
	if t.Partitioning != nil {
		return s.Partitions(t)
	}
	var out []*Table
	for _, id := range t.Heirs {
		if h := s.TableByID(id); h != nil {
			out = append(out, h)
		}
	}
	slices.SortFunc(out, func(a, b *Table) int { return int(a.ID) - int(b.ID) })
	return out
}

// AllHeirs lists the tables that inherit from t, directly or not, level by level as PostgreSQL reads them. A table that
// inherits in several ways is there once.
func (s *state) AllHeirs(t *Table) []*Table {
	list := []*Table{t}
	for i := 0; i < len(list); i++ {
		for _, h := range s.Below(list[i]) {
			if !slices.Contains(list, h) {
				list = append(list, h)
			}
		}
	}
	return list[1:]
}

// InhCount is attinhcount: of how many parents the column is.
func (c *Column) InhCount() int { return inhCount(c.Parents, c.Inherited) }

// IsLocal is attislocal: the table's own definition has the column.
func (c *Column) IsLocal() bool { return !c.Inherited || c.Local }

// InhCount is coninhcount.
func (k *Check) InhCount() int { return inhCount(k.Parents, k.Inherited) }

// IsLocal is conislocal.
func (k *Check) IsLocal() bool { return !k.Inherited || k.Local }

func inhCount(parents int, inherited bool) int {
	if inherited {
		return max(parents, 1)
	}
	return 0
}

// Disinherit says that one parent less has the column; it is then the table's own, if it has no other.
func (c *Column) Disinherit() {
	if c.Parents = c.InhCount() - 1; c.Parents <= 0 {
		c.Parents, c.Inherited, c.Local = 0, false, false
	}
}

// Inherit says that one parent more has the column, which was the table's own if it was nobody's.
func (c *Column) Inherit() {
	c.Local = c.IsLocal()
	c.Parents, c.Inherited = c.InhCount()+1, true
}

// Disinherit is that of Column.
func (k *Check) Disinherit() {
	if k.Parents = k.InhCount() - 1; k.Parents <= 0 {
		k.Parents, k.Inherited, k.Local = 0, false, false
	}
}

// Inherit is that of Column.
func (k *Check) Inherit() {
	k.Local = k.IsLocal()
	k.Parents, k.Inherited = k.InhCount()+1, true
}
