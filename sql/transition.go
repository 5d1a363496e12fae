package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/exec"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// transitionTables are what the statements of a running trigger function see under the names of its REFERENCING
// clause. Plans of statements outlive a firing: they read what the session has then, so they are made anew only when
// the names or the table behind them change.
type transitionTables struct {
	key       transitionKey
	relations map[string]*plan.Table
	rows      *exec.Transition
}

type transitionKey struct {
	table    *plan.Table
	old, new string
}

func newTransitionTables(s *Session, tr *catalog.Trigger, rows *exec.Transition) *transitionTables {
	t := &transitionTables{key: transitionKey{rows.Table, tr.OldTable, tr.NewTable}, rows: rows, relations: map[string]*plan.Table{}}
	for _, side := range []struct {
		name string
		rows func(*exec.Transition) [][]types.Datum
	}{{tr.OldTable, func(x *exec.Transition) [][]types.Datum { return x.Old }}, {tr.NewTable, func(x *exec.Transition) [][]types.Datum { return x.New }}} {
		if side.name == "" {
			continue
		}
		rel := &plan.Table{Name: side.name, Kind: plan.VirtualTable, RowCount: -1}
		var ords []int
		for i, c := range rows.Table.Columns {
			if !c.Hidden {
				rel.Columns = append(rel.Columns, &plan.TableColumn{ID: c.ID, AttNum: c.AttNum, Name: c.Name, T: c.T})
				ords = append(ords, i)
			}
		}
		rel.Rows = func(_ context.Context, _ any, emit func([]types.Datum) error) error {
			now := s.routines.trans
			if now == nil {
				return nil
			}
			out := make([]types.Datum, len(ords))
			for _, row := range side.rows(now.rows) {
				for i, o := range ords {
					out[i] = row[o]
				}
				if err := emit(out); err != nil {
					return err
				}
			}
			return nil
		}
		t.relations[side.name] = rel.Finish()
	}
	return t
}

// keyOf is what plans of a trigger function's statements depend on; the zero value outside of one.
func (t *transitionTables) keyOf() transitionKey {
	if t == nil {
		return transitionKey{}
	}
	return t.key
}

func (t *transitionTables) visible() map[string]*plan.Table {
	if t == nil {
		return nil
	}
	return t.relations
}

// fireTruncate fires a table's TRUNCATE triggers.
func (s *Session) fireTruncate(ctx context.Context, c CatalogTxn, table uint32, timing byte) error {
	t, err := c.TableByID(table)
	if err != nil || t == nil {
		return err
	}
	for _, tr := range t.Triggers {
		if !tr.Fires(timing, false, catalog.TriggerTruncate, nil) {
			continue
		}
		ok, err := tr.Matches(ctx, t, nil, nil, plan.Env{Catalog: c, Builtin: &s.bctx})
		if err != nil {
			return err
		}
		if ok {
			if _, err := s.Fire(ctx, t, tr, catalog.TriggerTruncate, nil, nil, nil); err != nil {
				return err
			}
		}
	}
	return nil
}
