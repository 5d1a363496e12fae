package plan

import (
	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/txn/kv"
)

// locking adds SELECT ... FOR UPDATE and its kin.
func (s *scope) locking(st *ast.SelectStmt, node Node) (Node, error) {
	l := &LockRows{Input: node}
	for _, lc := range st.Locking {
		s.b.writes = true
		wait := [...]kv.WaitPolicy{kv.WaitBlock, kv.WaitSkipLocked, kv.WaitError}[lc.Wait]
		mode := kv.LockShared
		if lc.Strength == ast.ForUpdate || lc.Strength == ast.ForNoKeyUpdate {
			mode = kv.LockExclusive
		}
		var rels []*rel
		if len(lc.Tables) == 0 {
			for _, it := range s.items {
				if it.relVisible || it.rel.scan != nil || it.rel.app != nil {
					rels = append(rels, it.rel)
				}
			}
		}
		for _, r := range lc.Tables {
			var found *rel
			for _, it := range s.items {
				if it.rel.alias == r.Name {
					found = it.rel
				}
			}
			if found == nil {
				return nil, errAt(r.Off, pgerr.UndefinedTable, "relation %q in %s clause not found in FROM clause", r.Name, lockName(lc.Strength))
			}
			if found.scan == nil && found.app == nil {
				return nil, errAt(r.Off, pgerr.FeatureNotSupported, "%s cannot be applied to this relation", lockName(lc.Strength))
			}
			rels = append(rels, found)
		}
		for _, r := range rels {
			if r.table != nil && r.table.Kind != VirtualTable {
				s.b.need(r.table.ID, 'w')
				conds, err := s.b.secureLock(r.table, r.slots())
				if err != nil {
					return nil, err
				}
				l.Input = filterOver(l.Input, conds)
			}
			if r.app != nil {
				// The partitions' rows are locked as they are found.
				r.app.Target, r.app.Wait, r.app.Lock = true, wait, max(r.app.Lock, LockShare)
				if mode == kv.LockExclusive {
					r.app.Lock = LockForUpdate
				}
				continue
			}
			if r.scan == nil || r.scan.Table.Kind != BaseTable {
				continue
			}
			dup := false
			for _, t := range l.Targets {
				if t.Scan == r.scan {
					t.Mode = max(t.Mode, mode)
					t.Wait = max(t.Wait, wait)
					dup = true
				}
			}
			if dup {
				continue
			}
			t := &LockTarget{Scan: r.scan, Mode: mode, Wait: wait}
			// The scan itself must not wait where the clause says not to.
			r.scan.Lock, r.scan.Wait = LockShare, wait
			if mode == kv.LockExclusive {
				r.scan.Lock = LockForUpdate
			}
			for _, k := range r.scan.Table.Primary.Keys {
				for _, c := range r.scan.Cols {
					if c.Ord == k.Col {
						t.PK = append(t.PK, c.Slot)
					}
				}
			}
			l.Targets = append(l.Targets, t)
		}
	}
	if len(l.Targets) == 0 {
		return l.Input, nil
	}
	return l, nil
}

// slots are those of a scan's columns by ordinal.
func (r *rel) slots() []Slot {
	if r.app != nil {
		return r.app.Slots
	}
	if r.scan != nil {
		return slotsOf(r.scan)
	}
	return nil
}
