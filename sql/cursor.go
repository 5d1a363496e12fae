package sql

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// cursorState is what a portal made by DECLARE has in addition: the rows fetched so far, so that it can go
// backwards, and its place among them.
//
// Positions count from 1; 0 is before the first row, and one past the last row known is after the end once
// all is set.
type cursorState struct {
	cols     []Column
	keys     []plan.RowKey // what rows have behind cols (currentof.go)
	locks    bool          // FOR UPDATE or SHARE
	rows     [][]types.Datum
	size     int64 // of rows, in bytes, roughly
	pos      int64 // the row last returned
	all      bool  // rows is complete
	noScroll bool
	held     bool // WITH HOLD
	pinned   bool // a loop of a procedure goes through it
	survives bool // its transaction has committed: rows is all there is
	dropped  int64
	created  time.Time
}

// maxCursorBytes bounds the rows a cursor keeps.
const maxCursorBytes = 64 << 20

// runDeclare is DECLARE.
func (s *Session) runDeclare(ctx context.Context, src *statement, n *ast.DeclareCursorStmt, params []types.Datum) error {
	if s.txn.phase != phaseBlock && !n.Hold {
		return pgerr.New(pgerr.NoActiveSQLTransaction, "DECLARE CURSOR can only be used in transaction blocks")
	}
	if !isPlanned(n.Query) {
		return pgerr.New(pgerr.InvalidCursorDefinition, "DECLARE CURSOR must specify a query that returns rows")
	}
	sel, _ := n.Query.(*ast.SelectStmt)
	locks := sel != nil && len(sel.Locking) > 0
	if locks {
		if err := lockingCursor(n, sel.Locking[0].Strength); err != nil {
			return err
		}
	}
	if s.portals[n.Name] != nil {
		return pgerr.New(pgerr.DuplicateCursor, "cursor \"%s\" already exists", n.Name)
	}
	if len(s.portals) >= maxPrepared {
		return pgerr.New(pgerr.ProgramLimitExceeded, "too many portals")
	}
	s.openImplicit()
	s.txn.replay.stop()
	st := &statement{text: src.text, from: src.from, to: src.to, node: n.Query, numParams: src.numParams}
	plain := st
	pl, err := s.ensurePlan(ctx, st)
	if err != nil {
		return err
	}
	keyed, keys := s.planWithKeys(ctx, n.Query, len(pl.Columns), func(node ast.Stmt) (*plan.Plan, error) {
		k := &statement{text: src.text, from: src.from, to: src.to, node: node, numParams: src.numParams}
		p, err := s.ensurePlan(ctx, k)
		if err == nil {
			st = k
		}
		return p, err
	})
	if keyed == nil {
		st = plain
	}
	p := &portal{name: n.Name, st: st, params: params, declared: &cursorState{cols: pl.Columns, keys: keys, locks: locks, noScroll: n.NoScroll || locks, held: n.Hold, created: s.now()}}
	if n.Binary {
		p.formats = []int16{FormatBinary}
	}
	if err := s.openCursor(ctx, p); err != nil {
		return err
	}
	s.addPortal(p)
	if s.txn.phase == phaseImplicit && !s.txn.grouped && n.Hold {
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	s.out.Complete("DECLARE CURSOR")
	return nil
}

// lockingCursor refuses what a cursor that locks its rows cannot be.
func lockingCursor(n *ast.DeclareCursorStmt, strength ast.LockStrength) error {
	verb := [...]string{"", "FOR KEY SHARE", "FOR SHARE", "FOR NO KEY UPDATE", "FOR UPDATE"}[strength]
	switch {
	case n.Hold:
		return pgerr.Unsupported("DECLARE CURSOR WITH HOLD ... %s is not supported", verb).WithDetail("Holdable cursors must be READ ONLY.")
	case n.Scroll:
		return pgerr.Unsupported("DECLARE SCROLL CURSOR ... %s is not supported", verb).WithDetail("Scrollable cursors must be READ ONLY.")
	case n.Insensitive:
		return pgerr.New(pgerr.InvalidCursorDefinition, "DECLARE INSENSITIVE CURSOR ... %s is not valid", verb).WithDetail("Insensitive cursors must be READ ONLY.")
	}
	return nil
}

func (s *Session) portalColumns(p *portal) []Column {
	if p.declared != nil {
		return p.declared.cols
	}
	if p.st != nil && p.st.plan != nil {
		return p.st.plan.Columns
	}
	return nil
}

// runFetch is FETCH and MOVE.
func (s *Session) runFetch(ctx context.Context, n *ast.FetchStmt, formats []int16, describe bool) error {
	p := s.portals[n.Cursor]
	if p == nil {
		return pgerr.New(pgerr.InvalidCursorName, "cursor \"%s\" does not exist", n.Cursor)
	}
	s.openImplicit()
	s.txn.replay.stop()
	if p.declared == nil {
		if n.Dir != ast.FetchForward {
			return errForwardOnly()
		}
		// A portal of the extended protocol, used by name.
		if p.cursor == nil && !p.done {
			if _, err := s.ensurePlan(ctx, p.st); err != nil {
				return err
			}
			if err := s.openCursor(ctx, p); err != nil {
				return err
			}
		}
		p.declared = &cursorState{cols: p.st.plan.Columns, all: p.done, noScroll: true}
	}
	if len(p.formats) > 0 {
		formats = p.formats
	}
	if !n.Move {
		s.out.BeginRows(p.declared.cols, formats, s.format, describe)
	}
	count, err := s.fetch(ctx, p, n, s.out.Row)
	if err != nil {
		return err
	}
	s.out.CompleteRows(n.Tag(), count)
	return nil
}

func errForwardOnly() error {
	return pgerr.New(pgerr.ObjectNotInPrerequisiteState, "cursor can only scan forward").
		WithHint("Declare it with SCROLL option to enable backward scan.")
}

// fetch moves a cursor and gives the rows it passes to emit, none for MOVE. It returns their number.
func (s *Session) fetch(ctx context.Context, p *portal, n *ast.FetchStmt, emit func(row []types.Datum) error) (int64, error) {
	c := p.declared
	dir, count := n.Dir, n.Count
	if dir == ast.FetchBackward {
		if count == ast.FetchAll {
			dir = ast.FetchBackward
		} else if count < 0 {
			dir, count = ast.FetchForward, -count
		}
	} else if dir == ast.FetchForward && count < 0 {
		dir, count = ast.FetchBackward, -count
	}
	send := func(pos int64) error {
		if n.Move {
			return nil
		}
		return emit(c.rows[pos-1-c.dropped][:len(c.cols)])
	}
	switch dir {
	case ast.FetchForward:
		if count == 0 {
			return s.fetchAt(ctx, p, c.pos, send)
		}
		var sent int64
		for sent < count {
			ok, err := s.cursorAt(ctx, p, c.pos+1)
			if err != nil {
				return sent, err
			}
			if !ok {
				c.pos = int64(len(c.rows)) + c.dropped + 1
				break
			}
			c.pos++
			if err := send(c.pos); err != nil {
				return sent, err
			}
			sent++
		}
		return sent, nil
	case ast.FetchBackward:
		if count == 0 {
			return s.fetchAt(ctx, p, c.pos, send)
		}
		if c.noScroll {
			return 0, errForwardOnly()
		}
		var sent int64
		for sent < count && c.pos > 0 {
			c.pos--
			if c.pos == 0 {
				break
			}
			if err := send(c.pos); err != nil {
				return sent, err
			}
			sent++
		}
		return sent, nil
	case ast.FetchRelative:
		count += c.pos
	default:
		if count < 0 {
			// From the end: -1 is the last row.
			for {
				ok, err := s.cursorAt(ctx, p, int64(len(c.rows))+c.dropped+1)
				if err != nil {
					return 0, err
				}
				if !ok {
					break
				}
			}
			count += int64(len(c.rows)) + c.dropped + 1
		}
	}
	if count < c.pos && c.noScroll {
		return 0, errForwardOnly()
	}
	count = max(count, 0)
	for at := min(c.pos+1, count); at <= count; at++ {
		ok, err := s.cursorAt(ctx, p, at)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
	}
	c.pos = min(count, int64(len(c.rows))+c.dropped+1)
	return s.fetchAt(ctx, p, c.pos, send)
}

// fetchAt sends the row at pos, if there is one.
func (s *Session) fetchAt(ctx context.Context, p *portal, pos int64, send func(int64) error) (int64, error) {
	if pos <= 0 {
		return 0, nil
	}
	ok, err := s.cursorAt(ctx, p, pos)
	if err != nil || !ok {
		return 0, err
	}
	return 1, send(pos)
}

// cursorAt makes the row at pos available: it is kept already or the next to come.
func (s *Session) cursorAt(ctx context.Context, p *portal, pos int64) (bool, error) {
	c := p.declared
	for pos > int64(len(c.rows))+c.dropped {
		if c.all {
			return false, nil
		}
		if p.cursor == nil {
			return false, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "portal \"%s\" cannot be run", p.name)
		}
		row, err := p.nextRow(ctx)
		if err != nil {
			return false, err
		}
		if row == nil {
			c.all = true
			p.cursor.Close()
			p.cursor = nil
			return false, nil
		}
		if c.noScroll && len(c.rows) > 0 {
			c.dropped += int64(len(c.rows))
			c.rows, c.size = c.rows[:0], 0
		}
		kept := make([]types.Datum, len(row))
		for i, d := range row {
			kept[i] = cloneDatum(d)
			c.size += 24
			if k := d.Kind(); k == types.KindString || k == types.KindBytes {
				c.size += int64(len(d.Bytes()))
			}
		}
		if c.size > maxCursorBytes {
			return false, pgerr.New(pgerr.OutOfMemory, "cursor \"%s\" holds more than %d bytes", p.name, maxCursorBytes).
				WithHint("Declare it with NO SCROLL.")
		}
		c.rows = append(c.rows, kept)
	}
	return pos > c.dropped, nil
}

// settleCursors has open cursors read to their ends that a statement might write rows to, so that they show none of what
// it writes: a cursor's result is that of the moment it was opened (all of PostgreSQL's are INSENSITIVE). Those that lock
// their rows are left as they are, for the sake of the rows they have not come to.
func (s *Session) settleCursors(ctx context.Context, write *plan.Plan) error {
	settle := func(p *portal) error {
		if p.cursor == nil || p.running || p.declared != nil && p.declared.locks || !p.st.plan.ReadOnly || !overlap(p.st.plan.Tables, write.Tables) {
			return nil
		}
		p.env.Builtin.Context = ctx
		return p.cursor.Settle(ctx)
	}
	for _, p := range s.portals {
		if err := settle(p); err != nil {
			return err
		}
	}
	return settle(&s.unnamedP)
}

func overlap(a, b []uint32) bool {
	return slices.ContainsFunc(a, func(id uint32) bool { return slices.Contains(b, id) })
}

// nextRow is the next row of an open portal.
func (p *portal) nextRow(ctx context.Context) ([]types.Datum, error) {
	p.env.Builtin.Context = ctx
	p.running = true
	defer func() { p.running = false }()
	return p.cursor.Next(ctx)
}

// holdCursors reads the cursors declared WITH HOLD to their ends, before their transaction commits.
func (s *Session) holdCursors(ctx context.Context) error {
	for _, p := range s.portals {
		c := p.declared
		if c == nil || !c.held || c.survives || c.all {
			continue
		}
		forward := c.noScroll
		c.noScroll = false // what is read ahead now must be kept
		for {
			ok, err := s.cursorAt(ctx, p, int64(len(c.rows))+c.dropped+1)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
		}
		c.noScroll = forward
	}
	return nil
}

// executeDeclared is Execute of a portal that is a cursor.
func (s *Session) executeDeclared(ctx context.Context, p *portal, maxRows int64) error {
	if maxRows <= 0 {
		maxRows = ast.FetchAll
	}
	s.out.BeginRows(p.declared.cols, p.formats, s.format, false)
	n, err := s.fetch(ctx, p, &ast.FetchStmt{Dir: ast.FetchForward, Count: maxRows}, s.out.Row)
	if err != nil {
		return err
	}
	if n == maxRows {
		s.out.Suspended()
		return nil
	}
	s.out.CompleteRows("SELECT", n)
	return nil
}

// runClose is CLOSE.
func (s *Session) runClose(n *ast.CloseStmt) error {
	if n.Cursor == "" {
		for name, p := range s.portals {
			if p.declared != nil {
				s.dropPortal(name)
			}
		}
	} else if s.portals[n.Cursor] == nil {
		return pgerr.New(pgerr.InvalidCursorName, "cursor \"%s\" does not exist", n.Cursor)
	} else {
		s.dropPortal(n.Cursor)
	}
	s.out.Complete(n.Tag())
	return nil
}

// cloneDatum copies what a datum shares with the row it was read from.
func cloneDatum(d types.Datum) types.Datum {
	switch d.Kind() {
	case types.KindString:
		return types.NewString(strings.Clone(d.Str()))
	case types.KindBytes:
		return types.NewBytes(bytes.Clone(d.Bytes()))
	case types.KindArray:
		a := *d.Array()
		a.Elems = cloneDatums(a.Elems)
		return types.NewArray(&a)
	case types.KindTuple:
		t := *d.Tuple()
		t.Elems = cloneDatums(t.Elems)
		return types.NewTuple(&t)
	}
	return d
}

func cloneDatums(in []types.Datum) []types.Datum {
	out := make([]types.Datum, len(in))
	for i, d := range in {
		out[i] = cloneDatum(d)
	}
	return out
}

// readsTable says whether a cursor, or a portal that has not been read to its end, is over a table. A held cursor is not any more
// once its transaction has committed: its rows have been collected.
func (s *Session) readsTable(id uint32) bool {
	for _, p := range s.portals {
		open := p.cursor != nil
		if p.declared != nil {
			open = !p.declared.survives
		}
		if open && p.st != nil && p.st.plan != nil && slices.Contains(p.st.plan.Tables, id) {
			return true
		}
	}
	return false
}
