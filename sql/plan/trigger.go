package plan

import (
	"context"
	"sync"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/types"
)

// Trigger is a trigger that fires.
type Trigger struct {
	Desc *catalog.Trigger
	Cols []int    // ordinals of UPDATE OF
	When ast.Expr // over old and new

	once sync.Once
	cond *triggerCond
	err  error
}

// triggerCond is a bound WHEN condition.
type triggerCond struct {
	e        Expr
	old, new []Slot
	slots    int
}

// Before, After and Instead tell when a row or statement trigger fires.
const (
	Before  = 'B'
	After   = 'A'
	Instead = 'I'
)

// Fires reports whether a trigger fires for an event. set has the columns that an UPDATE names; nil: all.
func (t *Trigger) Fires(timing byte, row bool, event uint8, set map[int]bool) bool {
	d := t.Desc
	if d.Timing != timing || d.Row != row || d.Events&event == 0 {
		return false
	}
	if event != catalog.TriggerUpdate || len(t.Cols) == 0 || set == nil {
		return true
	}
	for _, c := range t.Cols {
		if set[c] {
			return true
		}
	}
	return false
}

// HasTrigger reports whether a table has a trigger of that timing, level and event.
func (t *Table) HasTrigger(timing byte, row bool, events uint8) bool {
	for _, tr := range t.Triggers {
		if tr.Fires(timing, row, events, nil) {
			return true
		}
	}
	return false
}

// RowTriggers reports whether a table, or a partition of it, has row triggers.
func (t *Table) RowTriggers() bool {
	for _, l := range t.leaves() {
		for _, tr := range l.Triggers {
			if tr.Desc.Row {
				return true
			}
		}
	}
	return false
}

// Matches evaluates the trigger's WHEN condition over rows of its table by ordinal; either may be nil.
func (t *Trigger) Matches(ctx context.Context, tab *Table, old, new []types.Datum, env Env) (bool, error) {
	if t.When == nil {
		return true, nil
	}
	t.once.Do(func() { t.cond, t.err = t.bind(ctx, tab, env) })
	if t.err != nil {
		return false, t.err
	}
	c := EvalCtx{Frame: make([]types.Datum, t.cond.slots), B: env.Builtin}
	if old != nil {
		copy(c.Frame[t.cond.old[0]:], old)
	}
	if new != nil {
		copy(c.Frame[t.cond.new[0]:], new)
	}
	return EvalBool(&c, t.cond.e)
}

func (t *Trigger) bind(ctx context.Context, tab *Table, env Env) (*triggerCond, error) {
	// Constants are folded with settings of no session: the condition outlives it.
	env.Builtin = &builtin.Ctx{Context: context.Background(), Settings: types.DefaultSettings}
	b := newBinder(context.WithoutCancel(ctx), &env)
	b.path = []string{tab.Schema, "pg_catalog"}
	c := &triggerCond{old: b.newSlots(len(tab.Columns)), new: b.newSlots(len(tab.Columns))}
	s := &scope{b: b, q: &query{}, clause: "WHEN", noAgg: true, noWindow: true, noSRF: true}
	for _, r := range []*rel{rowRel(tab, "old", c.old), rowRel(tab, "new", c.new)} {
		s.items = append(s.items, nsItem{rel: r, relVisible: true})
	}
	var err error
	if c.e, err = s.condition(t.When, "WHEN"); err != nil {
		return nil, err
	}
	c.slots = b.slots
	return c, nil
}
