package sql

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/tablestats"
)

// runOnCommit does what temporary tables were made to have done at each commit, as part of the transaction: if it fails,
// nothing is committed. It comes last of all that statements of the transaction may see.
func (s *Session) runOnCommit(ctx context.Context) error {
	v, ok := s.txn.catalog.(*catalogView)
	if !ok || !s.hasOnCommit {
		return nil
	}
	schema := v.snap.SchemaByName(s.tempSchemaName())
	if schema == nil {
		return nil
	}
	left := false
	drop := &ast.DropStmt{Object: ast.ObjTable, IfExists: true, Behavior: ast.Cascade}
	empty := &ast.TruncateStmt{}
	for _, t := range v.snap.Tables() {
		if t.Schema != schema.ID {
			continue
		}
		switch t.OnCommit {
		case catalog.OnCommitDrop:
			drop.Objects = append(drop.Objects, &ast.ObjectName{Names: []string{schema.Name, t.Name}})
		case catalog.OnCommitDelete:
			left = true
			// What earlier transactions wrote has gone with them.
			if slices.ContainsFunc(s.written, func(c tablestats.Change) bool { return c.Table == t.ID }) {
				empty.Tables = append(empty.Tables, &ast.RangeVar{Schema: schema.Name, Name: t.Name})
			}
		}
	}
	if len(drop.Objects)+len(empty.Tables) == 0 {
		return nil
	}
	tx, err := s.kvTxn(ctx)
	if err != nil {
		return err
	}
	if err := tx.Step(ctx); err != nil {
		return err
	}
	out := s.out
	s.out = discardOutput{out}
	defer func() { s.out = out }()
	// The role may have been changed since the tables were made.
	env := DDLEnv{Txn: tx, Session: s, User: catalog.BootstrapRoleID}
	if len(empty.Tables) > 0 {
		if _, err := v.Execute(ctx, empty, env); err != nil {
			return err
		}
	}
	if len(drop.Objects) > 0 {
		if _, err := v.Execute(ctx, drop, env); err != nil {
			return err
		}
	}
	s.hasOnCommit = left
	return nil
}
