package plan

import (
	"context"
	"strings"
	"sync"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/inverted"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/rowenc"
	"github.com/meridian-db/meridian/sql/types"
)

// SnapshotCatalog is a Catalog over a catalog snapshot. It converts each table once, so it should be kept
// as long as the snapshot is current. It is safe for concurrent use.
type SnapshotCatalog struct {
	Snap *catalog.Snapshot

	mu       sync.Mutex
	tables   map[*catalog.Table]*Table
	routines map[*catalog.Function]*builtin.Func
}

// FromSnapshot makes the Catalog of a snapshot.
func FromSnapshot(s *catalog.Snapshot) *SnapshotCatalog {
	return &SnapshotCatalog{Snap: s, tables: map[*catalog.Table]*Table{}}
}

// Table implements Catalog.
func (c *SnapshotCatalog) Table(path []string, schema, name string) (*Table, error) {
	r := c.Snap.ResolveRelation(path, schema, name)
	if r.Table == nil {
		return nil, nil
	}
	if r.Index != nil {
		return (&Table{ID: r.Index.OID, Name: name, Kind: OtherRelation}).Finish(), nil
	}
	return c.convert(r.Table)
}

// TableByID implements Catalog.
func (c *SnapshotCatalog) TableByID(id uint32) (*Table, error) {
	t := c.Snap.TableByID(id)
	if t == nil {
		return nil, nil
	}
	return c.convert(t)
}

// Type implements Catalog.
func (c *SnapshotCatalog) Type(path []string, n *ast.TypeName) (*types.T, error) {
	return c.Snap.ResolveType(path, n)
}

// DomainChecks implements DomainCatalog.
func (c *SnapshotCatalog) DomainChecks(t *types.T) ([]*Check, error) {
	d := c.Snap.UserType(uint32(t.OID))
	if d == nil {
		return nil, nil
	}
	var out []*Check
	for _, k := range d.Checks {
		e, err := parser.ParseExpr(k.Expr)
		if err != nil {
			return nil, err
		}
		out = append(out, &Check{Name: k.Name, Expr: e})
	}
	return out, nil
}

func (c *SnapshotCatalog) convert(d *catalog.Table) (*Table, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.convertLocked(d)
}

// convertLocked converts a table, its partitions and, first, what it is a partition of.
func (c *SnapshotCatalog) convertLocked(d *catalog.Table) (*Table, error) {
	if t := c.tables[d]; t != nil {
		return t, nil
	}
	if d.PartOf != 0 {
		if p := c.Snap.TableByID(d.PartOf); p != nil {
			if _, err := c.convertLocked(p); err != nil {
				return nil, err
			}
			if t := c.tables[d]; t != nil {
				return t, nil
			}
		}
	}
	return c.convertTree(d)
}

// convertTree converts a table and its partitions.
func (c *SnapshotCatalog) convertTree(d *catalog.Table) (*Table, error) {
	t, err := FromDescriptor(c.Snap, d)
	if err != nil {
		return nil, err
	}
	c.tables[d] = t
	if d.Partitioning == nil {
		return t, c.heirs(t, d)
	}
	if err := c.partitions(t, d); err != nil {
		delete(c.tables, d)
		return nil, err
	}
	return t, nil
}

// FromDescriptor converts a table's descriptor. Expressions stored as text are parsed here.
func FromDescriptor(s *catalog.Snapshot, d *catalog.Table) (*Table, error) {
	t := &Table{ID: d.ID, StorageID: d.StorageID(), Schema: s.SchemaName(d.Schema), Name: d.Name, Owner: d.Owner, Descriptor: d, RowCount: -1}
	stats := s.Stats(d)
	if stats != nil {
		t.RowCount, t.StatsAt = stats.Rows, stats.At
	}
	var err error
	expr := func(text string) ast.Expr {
		if text == "" || err != nil {
			return nil
		}
		var e ast.Expr
		if e, err = parser.ParseExpr(text); err != nil {
			err = pgerr.New(pgerr.InternalError, "stored expression %q of %q: %w", text, d.Name, err)
			return nil
		}
		return e
	}
	ords := map[int16]int{}
	for _, col := range d.Columns {
		if col.Dropped {
			continue
		}
		ords[col.Num] = len(t.Columns)
		missing := types.Null
		if len(col.Missing) > 0 {
			if missing, err = rowenc.OneValue(col.Missing, col.T); err != nil {
				return nil, pgerr.New(pgerr.InternalError, "value of column %q of %q before it was added: %w", col.Name, d.Name, err)
			}
		}
		t.Columns = append(t.Columns, &TableColumn{ID: uint32(col.Num), AttNum: col.Num, Name: col.Name, T: col.T, NotNull: col.NotNull,
			Default: expr(col.Default), Identity: col.Identity, Sequence: seqOf(col), Generated: expr(col.Generated), Hidden: col.Hidden, Missing: missing,
			Stats: columnStats(stats.Column(col.Num), col.T)})
	}
	switch {
	case d.Virtual != nil:
		t.Kind = VirtualTable
		gen := d.Virtual.Rows
		t.Rows = func(ctx context.Context, env any, emit func([]types.Datum) error) error {
			ve, _ := env.(*catalog.VirtualEnv)
			return gen(ctx, ve, emit)
		}
	case d.Kind == catalog.RelView:
		t.Kind = View
		st, perr := parser.ParseOne(d.Query)
		if perr != nil {
			return nil, pgerr.New(pgerr.InternalError, "stored query of view %q: %w", d.Name, perr)
		}
		sel, ok := st.Stmt.(*ast.SelectStmt)
		if !ok {
			return nil, pgerr.New(pgerr.InternalError, "view %q does not hold a query", d.Name)
		}
		t.View, t.ViewPath = sel, d.Path
		for _, o := range d.Options {
			name, value, _ := strings.Cut(o, "=")
			switch name {
			case "check_option":
				t.CheckOption = value
			case "security_invoker":
				t.Invoker = optionOn(value)
			case "security_barrier":
				t.Barrier = optionOn(value)
			}
		}
	case d.Kind == catalog.RelSequence:
		t.Kind = Sequence
	case d.IsPartitioned():
		t.Kind = Partitioned
		t.addWriter()
		t.NoUpdate, t.NoDelete = s.Unidentified(d)
	case d.IsTable():
		t.addWriter()
		t.NoUpdate, t.NoDelete = s.Unidentified(d)
		if d.Kind == catalog.RelMatView {
			t.NotUpdatable = "cannot change materialized view \"" + d.Name + "\""
			t.Unpopulated = !d.Populated
		}
	default:
		t.Kind = OtherRelation
	}
	index := func(ix *catalog.Index) *Index {
		out := &Index{ID: ix.ID, OID: ix.OID, PartOf: ix.PartOf, Name: ix.Name, Primary: ix.Primary, Unique: ix.Unique || ix.Primary || ix.Hidden, NullsNotDistinct: ix.NullsNotDistinct,
			Where: expr(ix.Where), WriteOnly: ix.State != catalog.IndexPublic, Inverted: ix.Inverted()}
		if ix.Deferrable && out.Unique && ix != d.Primary {
			out.Unique, out.Deferred, out.InitDeferred = false, true, ix.InitDeferred
		}
		if out.Exclude = ix.Exclude; out.Exclude != nil {
			out.Deferred, out.InitDeferred = ix.Deferrable, ix.InitDeferred
		}
		if ix.Constraint != 0 || ix.Primary {
			out.Constraint = ix.Name
		}
		for _, k := range ix.Keys {
			p := IndexKey{Col: -1, T: k.T, Desc: k.Desc, NullsFirst: k.NullsFirst}
			if k.Column != 0 {
				p.Col = ords[k.Column]
				p.T = t.Columns[p.Col].T
			} else {
				p.Expr = expr(k.Expr)
			}
			if out.Inverted {
				if p.Class = inverted.Default(p.T); k.OpClass != "" {
					p.Class = inverted.Named(k.OpClass)
				}
			}
			out.Keys = append(out.Keys, p)
		}
		for _, n := range ix.Include {
			out.Include = append(out.Include, ords[n])
		}
		return out
	}
	if d.Primary != nil {
		t.Primary = index(d.Primary)
	}
	for _, ix := range d.Indexes {
		t.Indexes = append(t.Indexes, index(ix))
	}
	for _, k := range d.Checks {
		if ord, ok := ords[k.NotNull]; ok {
			t.Columns[ord].RefusesNull = true
			continue
		}
		t.Checks = append(t.Checks, &Check{Name: k.Name, Expr: expr(k.Expr)})
	}
	for _, f := range d.FKs {
		t.FKs = append(t.FKs, convertFK(s, d, f))
	}
	for _, tr := range d.Triggers {
		if tr.Disabled || tr.Fires == 'R' {
			continue
		}
		out := &Trigger{Desc: tr, When: expr(tr.When)}
		for _, n := range tr.Columns {
			out.Cols = append(out.Cols, ords[n])
		}
		t.Triggers = append(t.Triggers, out)
	}
	for _, r := range d.Rules {
		if !r.Disabled && err == nil {
			var out *Rule
			if out, err = convertRule(r, expr); err == nil {
				t.Rules = append(t.Rules, out)
			}
		}
	}
	if d.RowSecurity {
		t.RowSecurity = &RowSecurity{}
		for _, p := range d.Policies {
			t.RowSecurity.Policies = append(t.RowSecurity.Policies, &Policy{Policy: p, Using: expr(p.Using), Check: expr(p.Check)})
		}
	}
	// Keys that point at a partitioned table point at each of its partitions.
	for _, at := range append([]*catalog.Table{d}, s.Ancestors(d)...) {
		for _, in := range at.Inbound {
			child := s.TableByID(in.Table)
			if child == nil {
				continue
			}
			for _, f := range child.FKs {
				if f.OID != in.Constraint {
					continue
				}
				fk := convertFK(s, child, f)
				for i, n := range f.RefColumns {
					if c := d.Column(at.ColumnByNum(n).Name); c != nil {
						fk.ParentCols[i] = uint32(c.Num)
					}
				}
				t.Inbound = append(t.Inbound, fk)
			}
		}
	}
	if d.Rewriting != nil && err == nil {
		t.Mirror, err = mirrorOf(s, d)
	}
	if err != nil {
		return nil, err
	}
	return t.Finish(), nil
}

// optionOn reads a boolean option of a relation; without a value it is on.
func optionOn(value string) bool {
	switch strings.ToLower(value) {
	case "", "true", "on", "yes", "1", "t", "y":
		return true
	}
	return false
}

// columnStats reads a column's stored statistics, nil if there are none. Values that do not read as the column's
// type, which may have changed since, are left out with all of their kind.
func columnStats(st *catalog.ColumnStats, t *types.T) *ColumnStats {
	if st == nil {
		return nil
	}
	read := func(texts []string) []types.Datum {
		out := make([]types.Datum, len(texts))
		for i, text := range texts {
			d, err := types.ParseText(text, t.BaseType(), nil)
			if err != nil {
				return nil
			}
			out[i] = d
		}
		return out
	}
	out := &ColumnStats{NDistinct: st.NDistinct, NullFrac: st.NullFrac, AvgWidth: st.AvgWidth, Correlation: st.Correlation,
		Common: read(st.Common), Histogram: read(st.Histogram)}
	if out.Common != nil {
		out.CommonFreqs = st.CommonFreqs
	}
	return out
}

// seqOf is the sequence whose next value is the column's default.
func seqOf(c *catalog.Column) uint32 {
	if c.Identity != 0 {
		return c.Sequence
	}
	return 0
}

func convertFK(s *catalog.Snapshot, child *catalog.Table, f *catalog.ForeignKey) *ForeignKey {
	action := func(b byte) FKAction {
		switch b {
		case catalog.FKRestrict:
			return FKRestrict
		case catalog.FKCascade:
			return FKCascade
		case catalog.FKSetNull:
			return FKSetNull
		case catalog.FKSetDefault:
			return FKSetDefault
		}
		return FKNoAction
	}
	out := &ForeignKey{Name: f.Name, ChildID: child.ID, ParentID: f.RefTable, OnDelete: action(f.OnDelete), OnUpdate: action(f.OnUpdate),
		MatchFull: f.MatchFull, Deferrable: f.Deferrable, InitDeferred: f.InitDeferred, ChildSchema: s.SchemaName(child.Schema), ChildName: child.Name}
	for _, c := range f.Columns {
		out.ChildCols = append(out.ChildCols, uint32(c))
	}
	for _, c := range f.RefColumns {
		out.ParentCols = append(out.ParentCols, uint32(c))
		out.RootCols = append(out.RootCols, uint32(c))
	}
	for _, c := range f.SetColumns {
		out.SetCols = append(out.SetCols, uint32(c))
	}
	if p := s.TableByID(f.RefTable); p != nil {
		out.ParentSchema, out.ParentName = s.SchemaName(p.Schema), p.Name
	}
	return out
}
