package exec

import (
	"slices"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// Transition holds the rows that a statement has changed in a table, for triggers with transition tables. Rows are by
// ordinal of the table; those of partitions are kept as rows of the table that the statement names.
type Transition struct {
	Table    *plan.Table
	Event    uint8
	Old, New [][]types.Datum
	maps     map[*plan.Table][]int // of partitions: their ordinals for the table's columns
}

// wantTransitions begins to keep the rows of a statement for the triggers that ask for them.
func (s *state) wantTransitions(t *plan.Table, events uint8) {
	for _, ev := range []uint8{catalog.TriggerInsert, catalog.TriggerUpdate, catalog.TriggerDelete} {
		if s.transition(t, ev) != nil {
			continue
		}
		for _, tr := range t.Triggers {
			if events&ev != 0 && tr.Desc.Events&ev != 0 && tr.Desc.Timing == plan.After && (tr.Desc.OldTable != "" || tr.Desc.NewTable != "") {
				s.trans = append(s.trans, &Transition{Table: t, Event: ev})
				break
			}
		}
	}
}

// transition finds what has been kept for a trigger's table and event, nil if nothing.
func (s *state) transition(t *plan.Table, event uint8) *Transition {
	for _, x := range s.trans {
		if x.Event == event && x.Table == t {
			return x
		}
	}
	return nil
}

// keepTransition adds a row to what is kept. A row that moves to another partition is deleted there and inserted here,
// but to an UPDATE it is one that was updated.
func (s *state) keepTransition(t *plan.Table, event uint8, old, new []types.Datum) error {
	for _, x := range s.trans {
		if x.Table != t && x.Table != t.Root() {
			continue
		}
		if x.Event != event && (x.Event != catalog.TriggerUpdate || !s.moving) {
			continue
		}
		for _, side := range []struct {
			row []types.Datum
			to  *[][]types.Datum
		}{{old, &x.Old}, {new, &x.New}} {
			if side.row == nil {
				continue
			}
			row := s.keepRow(x.of(t, side.row))
			if err := s.grow(int64(len(row))*datumSize + 32); err != nil {
				return err
			}
			*side.to = append(*side.to, row)
		}
	}
	return nil
}

// of makes a row of the statement's table of one of a partition.
func (x *Transition) of(t *plan.Table, row []types.Datum) []types.Datum {
	if t == x.Table {
		return row
	}
	m := x.maps[t]
	if m == nil {
		m = make([]int, len(x.Table.Columns))
		for i, c := range x.Table.Columns {
			m[i] = t.Column(c.Name)
		}
		if x.maps == nil {
			x.maps = map[*plan.Table][]int{}
		}
		x.maps[t] = m
	}
	out := make([]types.Datum, len(m))
	for i, j := range m {
		if j >= 0 {
			out[i] = row[j]
		}
	}
	return out
}

// endNested takes over what a statement of a foreign key action owes. To statement triggers all actions on a table are
// one statement: its triggers fire once, and see the rows of all.
func (q *fkQueue) endNested(s *state) {
	q.s.trans = s.trans
	for _, e := range s.owed {
		q.events = slices.DeleteFunc(q.events, func(o triggerEvent) bool { return o.tr == e.tr && o.event == e.event && !o.tr.Desc.Row })
		q.events = append(q.events, e)
	}
}
