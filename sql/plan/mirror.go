package plan

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// MirrorTable is the shape that a table's rows are being rewritten into (catalog.Rewriting).
type MirrorTable struct {
	Table *Table
	// Values are the columns, by id, that do not keep their values; Path is what their names resolve by.
	Values map[uint32]ast.Expr
	Path   []string
	// Moved says that the rows have another primary key there.
	Moved bool
	// RowID is the id of the column that becomes the hidden primary key, which rows have already that have an image
	// (catalog.Rewriting.RowIDs); zero: none.
	RowID uint32
}

// Mirror is how a row that is written is written there too.
type Mirror struct {
	// Target has slots of its own. Its Old and New are set where those of the row's own target are.
	Target *WriteTarget
	// Old and New compute the columns of the mirrored row, by ordinal, from the slots of the row itself. A column that
	// the table does not have yet is NULL in Old: no key depends on it.
	Old, New []Expr
	Moved    bool
	// RowID is the ordinal of MirrorTable.RowID in the row itself, -1 if there is none. Who writes a row gives it one.
	RowID int
}

// mirrorOf converts what a table is being rewritten into.
func mirrorOf(s *catalog.Snapshot, d *catalog.Table) (*MirrorTable, error) {
	r := d.Rewriting
	next := r.Table.Clone()
	next.Name, next.Schema, next.Owner = d.Name, d.Schema, d.Owner
	for i, c := range d.Columns {
		// The hidden row id stays in the rows until the end: it tells which of them a mirrored one belongs to.
		if c.Hidden && !c.Dropped && next.Columns[i].Dropped {
			kept := *c
			next.Columns[i] = &kept
		}
	}
	// What is not known to hold for the rows, or is held against them where they are, is not held against them here.
	next.Checks = slices.DeleteFunc(next.Checks, func(k *catalog.Check) bool { return k.NotValid })
	t, err := FromDescriptor(s, next)
	if err != nil {
		return nil, err
	}
	for _, c := range t.Columns {
		if old := d.ColumnByNum(c.AttNum); old != nil && !old.Dropped {
			c.Generated = nil // stored in the row already
		}
	}
	m := &MirrorTable{Table: t, Values: map[uint32]ast.Expr{}, Path: r.Path, Moved: r.Moved(d)}
	if c := r.RowIDs(d); c != nil {
		m.RowID = uint32(c.Num)
	}
	for _, v := range r.Values {
		e, err := parser.ParseExpr(v.Expr)
		if err != nil {
			return nil, pgerr.New(pgerr.InternalError, "stored expression %q of %q: %w", v.Expr, d.Name, err)
		}
		m.Values[uint32(v.Column)] = e
	}
	return m, nil
}

// mirror binds what writing rows of t a second time needs to the slots of the old and the new row.
func (b *binder) mirror(t *Table, old, new []Slot) (*Mirror, error) {
	src := t.Mirror
	m := &Mirror{Moved: src.Moved, RowID: -1}
	if src.RowID != 0 {
		m.RowID = t.ColumnByID(src.RowID)
	}
	var to [2][]Slot
	for i, from := range [2][]Slot{old, new} {
		if from != nil {
			to[i] = b.newSlots(len(src.Table.Columns))
		}
	}
	var err error
	if m.Target, err = b.writeTarget(src.Table, to[0], to[1]); err != nil {
		return nil, err
	}
	if old != nil {
		if m.Old, err = b.mirrorValues(t, old, false); err != nil {
			return nil, err
		}
	}
	if new != nil {
		m.New, err = b.mirrorValues(t, new, true)
	}
	return m, err
}

func (b *binder) mirrorValues(t *Table, slots []Slot, fresh bool) ([]Expr, error) {
	out := make([]Expr, len(t.Mirror.Table.Columns))
	for i, c := range t.Mirror.Table.Columns {
		var err error
		at := t.ColumnByID(c.ID)
		switch e := t.Mirror.Values[c.ID]; {
		case e != nil:
			out[i], err = b.mirrorValue(t, e, c, slots)
		case at >= 0:
			out[i] = &Col{Slot: slots[at], T: c.T, Name: c.Name, Rel: t.Name, Pos: -1}
		case fresh:
			out[i], err = b.defaultExpr(t.Mirror.Table, i)
		default:
			out[i] = &Const{T: c.T}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (b *binder) mirrorValue(t *Table, e ast.Expr, c *TableColumn, slots []Slot) (Expr, error) {
	sc := &scope{b: b, q: &query{}, clause: "transform expressions", noAgg: true, noWindow: true, noSRF: true, items: visibleItem(rowRel(t, t.Name, slots))}
	path := b.path
	b.path = t.Mirror.Path
	b.stored++
	defer func() { b.path = path; b.stored-- }()
	x, err := sc.expr(e)
	if err != nil {
		return nil, err
	}
	return b.assign(x, c, -1)
}

// MirrorIsSteady reports whether whoever writes a row of t gives it the same values in the shape that t is being rewritten
// into: functions and casts are built in and immutable, and no setting of a session matters.
func MirrorIsSteady(ctx context.Context, t *Table, env Env) (bool, error) {
	b := newBinder(ctx, &env)
	slots := b.newSlots(len(t.Columns))
	for _, c := range t.Mirror.Table.Columns {
		e := t.Mirror.Values[c.ID]
		if e == nil {
			continue
		}
		x, err := b.mirrorValue(t, e, c, slots)
		if err != nil {
			return false, err
		}
		if !steady(x) {
			return false, nil
		}
	}
	return true, nil
}

func steady(e Expr) bool {
	ok := true
	walkExpr(e, func(x Expr) bool {
		ok = ok && steadyNode(x)
		return ok
	})
	return ok
}

func steadyNode(e Expr) bool {
	if !shipType(e.Type()) && e.Type().OID != types.OIDUnknown {
		return false
	}
	switch x := e.(type) {
	case *Const, *Col, *And, *Or, *Not, *IsNull, *BoolTest, *Coalesce, *MinMax, *Case:
		return true
	case *Func:
		return steadyCall(x)
	case *Cast:
		from, to := x.C.From.BaseType(), x.C.To.BaseType()
		if plainText[from.OID] && (plainText[to.OID] || to.OID == types.OIDFloat4 || to.OID == types.OIDFloat8) {
			return true
		}
		return x.C.Volatility == 'i' && shipType(from) && shipType(to) && !settingsMatter([]*types.T{from}, to)
	case *NullIf:
		return steadyCall(x.Eq)
	case *InList:
		return steadyCall(x.Eq)
	case *DistinctFrom:
		return steadyCall(x.Eq)
	}
	return false
}

// plainText are types whose text is the same in every session.
var plainText = map[types.OID]bool{types.OIDBool: true, types.OIDInt2: true, types.OIDInt4: true, types.OIDInt8: true, types.OIDNumeric: true,
	types.OIDText: true, types.OIDVarchar: true, types.OIDBPChar: true, types.OIDUUID: true, types.OIDJSON: true, types.OIDJSONB: true}

func steadyCall(x *Func) bool {
	c := x.Call
	return c.Func != nil && c.Func.User == nil && c.Func.Kind == 'f' && c.Volatility == 'i' && !c.RetSet && !settingsMatter(c.Args, c.Ret)
}
