package exec

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// Writes tells the executions of a session, which run within each other when functions and triggers run statements, who
// of them has written to a table. An execution that has read rows which it is about to change learns from it that
// another one, which began later, may have changed them meanwhile. The zero value is ready; it is not safe for
// concurrent use.
type Writes struct {
	// executions counts those that have begun: it is the number of the latest.
	executions uint64
	tables     map[uint32]*tableWrites
}

// tableWrites has the greatest numbers of executions that have written to a table, and that may write to it.
type tableWrites struct{ wrote, writer uint64 }

// maxKnownTables bounds the memory of a session that makes and drops tables all the time.
const maxKnownTables = 256

// Forget is called where no execution is under way.
func (x *Writes) Forget() {
	if len(x.tables) > maxKnownTables {
		x.tables = nil
	}
}

func (x *Writes) begin() uint64 {
	x.executions++
	return x.executions
}

// to returns the entry of a table that s may write to, nil where nobody asks.
func (s *state) to(t *plan.Table) *tableWrites {
	x := s.env.Writes
	if x == nil {
		return nil
	}
	n := x.tables[t.ID]
	if n == nil {
		if x.tables == nil {
			x.tables = map[uint32]*tableWrites{}
		}
		n = &tableWrites{}
		x.tables[t.ID] = n
	}
	n.writer = max(n.writer, s.serial)
	return n
}

// hasWriters reports whether an execution within this one may have written to the table of a write.
func (o *modifyOp) hasWriters() bool { return o.writes != nil && o.writes.writer > o.s.serial }

// note is called for every row written.
func (w *writer) note() {
	if w.writes != nil {
		w.writes.wrote = max(w.writes.wrote, w.s.serial)
	}
}

// disturbed reports whether an execution within this one has written to the table: then old rows may not be what they
// were when they were read.
func (w *writer) disturbed() bool { return w.writes != nil && w.writes.wrote > w.s.serial }

// look notes that what is known about the table is up to date.
func (w *writer) look() {
	if w.writes != nil {
		w.seen = w.s.env.Writes.executions
	}
}

// stirred reports whether an execution that began after the last look has written to the table.
func (w *writer) stirred() bool { return w.writes != nil && w.writes.wrote > w.seen }

// unchanged makes sure that the old rows of a batch are still there, and what they were when they were read. They are
// locked, so that nobody can have changed them but statements of functions that this one calls. By an image that is not
// theirs any more, index entries would be left behind.
func (w *writer) unchanged(ctx context.Context, list []change, verb string) error {
	same, err := w.allSame(ctx, list)
	if err == nil && !same {
		err = errModified(verb)
	}
	return err
}

// allSame locks the old rows of a batch and reports whether they are what they were when they were read.
func (w *writer) allSame(ctx context.Context, list []change) (bool, error) {
	var keys [][]byte
	var olds [][]types.Datum
	for i := range list {
		if list[i].old != nil {
			keys, olds = append(keys, w.rowKey(list[i].old)), append(olds, list[i].old)
		}
	}
	if len(keys) == 0 {
		return true, nil
	}
	vs, _, err := w.s.env.Txn.GetBatch(ctx, keys, w.lock, kv.WaitBlock)
	if err != nil {
		return false, err
	}
	for i, v := range vs {
		if same, err := w.same(keys[i], v, olds[i]); err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

// verb is what the write does to a row, as messages have it.
func (w *writer) verb(of string) string {
	if w.merging {
		return "updated or deleted"
	}
	return of
}

// same reports whether a row, as it is stored, has the values of old. Who wrote it is not looked at.
func (w *writer) same(key, value []byte, old []types.Datum) (bool, error) {
	if value == nil {
		return false, nil
	}
	was := w.codec.appendRowValue(nil, old)
	if bytes.Equal(value, was) {
		return true, nil
	}
	// A row from before a column was added or dropped is stored in another way.
	all := make([]int, len(w.t.Table.Columns))
	for i := range all {
		all[i] = i
	}
	row := make([]types.Datum, len(all))
	if err := newRowReader(w.codec, w.codec.primary, all).read(key, value, row); err != nil {
		return false, err
	}
	if w.codec.writer >= 0 {
		row[w.codec.writer] = old[w.codec.writer]
	}
	return bytes.Equal(w.codec.appendRowValue(nil, row), was), nil
}

// untriggered is unchanged before BEFORE ROW triggers fire.
func (w *writer) untriggered(ctx context.Context, event uint8, list []change) error {
	if w == nil || !w.disturbed() || !w.t.Table.HasTrigger(plan.Before, true, event) {
		return nil
	}
	return w.unchanged(ctx, list, "updated") // as PostgreSQL says of a row that is to be deleted, too
}

// refresh reads what is known about unique keys again, and returns those under which there is something else.
func (w *writer) refresh(ctx context.Context) (changed []string, err error) {
	if w.mirror != nil {
		if _, err := w.mirror.w.refresh(ctx); err != nil {
			return nil, err
		}
	}
	w.look()
	if len(w.present) == 0 {
		return nil, nil
	}
	var keys [][]byte
	for _, k := range slices.Sorted(maps.Keys(w.present)) {
		keys = append(keys, []byte(k))
	}
	vs, _, err := w.s.env.Txn.GetBatch(ctx, keys, w.lock, kv.WaitBlock)
	if err != nil {
		return nil, err
	}
	for i, k := range keys {
		st := w.present[string(k)]
		if vs[i] != nil && !bytes.Equal(vs[i], st.value) {
			changed = append(changed, string(k))
		}
		st.value = vs[i]
		w.present[string(k)] = st
	}
	return changed, nil
}

func errModified(verb string) error {
	return pgerr.New(pgerr.TriggeredDataChangeViolation, "tuple to be %s was already modified by an operation triggered by the current command", verb).
		WithHint("Consider using an AFTER trigger instead of a BEFORE trigger to propagate changes to other rows.")
}
