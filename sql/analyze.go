package sql

import (
	"context"
	"fmt"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/txn/kv"
)

// runVacuum is VACUUM and ANALYZE. Old versions are collected in the background, so VACUUM has nothing to do but
// ANALYZE's part. Statistics are made at a snapshot of their own, without locks, and outside the transaction: a
// rollback does not take them back.
func (s *Session) runVacuum(ctx context.Context, n *ast.VacuumStmt, alone bool) error {
	if !n.Analyze && (s.txn.phase == phaseBlock || !alone) {
		return pgerr.New(pgerr.ActiveSQLTransaction, "VACUUM cannot run inside a transaction block")
	}
	analyze := n.Analyze
	for _, o := range n.Options {
		if o.Name == "analyze" {
			on, err := argBool(o)
			if err != nil {
				return err
			}
			analyze = on
		}
	}
	own := s.txn.pristine()
	s.openImplicit()
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return err
	}
	var tables []*plan.Table
	for _, vt := range n.Tables {
		t, err := c.Table(s.path(), vt.Table.Schema, vt.Table.Name)
		if err != nil {
			return err
		}
		if t == nil {
			return pgerr.New(pgerr.UndefinedTable, "relation \"%s\" does not exist", vt.Table.Name).WithPosition(int(ast.PgPos(vt.Table.Off)))
		}
		if t.Kind == plan.BaseTable {
			tables = append(tables, t)
		}
	}
	if v, ok := c.(*catalogView); ok && len(n.Tables) == 0 {
		for _, d := range v.snap.Tables() {
			if !d.IsTable() {
				continue
			}
			t, err := c.TableByID(d.ID)
			if err != nil {
				return err
			}
			tables = append(tables, t)
		}
	}
	if own {
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	for _, t := range tables {
		if !analyze {
			break
		}
		if err := s.srv.analyze(ctx, t, false); err != nil {
			return err
		}
	}
	s.out.Complete(n.Tag())
	return nil
}

// analyze makes and stores a table's statistics.
func (srv *Server) analyze(ctx context.Context, t *plan.Table, auto bool) error {
	tx, err := srv.cfg.DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, Name: "analyze"})
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	d, ok := t.Descriptor.(*catalog.Table)
	if !ok {
		return nil
	}
	st, err := exec.Analyze(ctx, tx, t, func(ord int) int {
		if c := d.ColumnByNum(t.Columns[ord].AttNum); c != nil && c.StatTgt != 0 {
			return int(c.StatTgt)
		}
		return -1
	})
	if err != nil {
		return fmt.Errorf("analyze %q: %w", t.Name, err)
	}
	st.At, st.Auto = srv.cfg.Now().UnixMicro(), auto
	return srv.cfg.Catalog.SaveStats(ctx, st)
}

// autoAnalyze refreshes the statistics of a table in the background (catalog.Manager.SetAnalyzer).
func (srv *Server) autoAnalyze(ctx context.Context, c *nodeCatalog, id uint32) error {
	snap := c.cfg.Manager.Snapshot(0)
	d := snap.TableByID(id)
	if d == nil || !d.IsTable() {
		return nil
	}
	t, err := plan.FromDescriptor(snap, d)
	if err != nil {
		return err
	}
	return srv.analyze(ctx, t, true)
}

// SaveStats implements Catalog.
func (c *nodeCatalog) SaveStats(ctx context.Context, st *catalog.TableStats) error {
	return c.cfg.Manager.SaveStats(ctx, st)
}

// NoteChanges implements Catalog.
func (c *nodeCatalog) NoteChanges(table uint32, n int64) { c.cfg.Manager.NoteChanges(table, n) }
