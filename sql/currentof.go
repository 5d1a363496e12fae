package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// planWithKeys plans a cursor's query so that its rows bring the keys that WHERE CURRENT OF needs. It returns nil where
// they are not rows of tables, or the user may not read the keys: then the cursor does without.
func (s *Session) planWithKeys(ctx context.Context, node ast.Stmt, columns int, prepare func(node ast.Stmt) (*plan.Plan, error)) (*plan.Plan, []plan.RowKey) {
	c, err := s.pinCatalog(ctx)
	if err != nil {
		return nil, nil
	}
	n, keys := plan.RowKeys(node, columns, plan.Env{Catalog: c, SearchPath: s.path(), Builtin: &s.bctx})
	if keys == nil {
		return nil, nil
	}
	p, err := prepare(n)
	if err != nil || len(p.Columns) != keys[len(keys)-1].To || s.checkNeeds(p.Needs) != nil {
		return nil, nil
	}
	return p, keys
}

// currentOf implements builtin.Ctx.CurrentOf: a column of the key of the row on which a cursor stands.
func (s *Session) currentOf(cursor string, table uint32, tableName string, key int) (types.Datum, error) {
	p := s.portals[cursor]
	if p == nil {
		return types.Null, pgerr.New(pgerr.InvalidCursorName, "cursor \"%s\" does not exist", cursor)
	}
	c := p.declared
	if c == nil {
		return types.Null, pgerr.New(pgerr.InvalidCursorState, "cursor \"%s\" is not a SELECT query", cursor)
	}
	if c.survives {
		return types.Null, pgerr.New(pgerr.InvalidCursorState, "cursor \"%s\" is held from a previous transaction", cursor)
	}
	at := -1
	for _, k := range c.keys {
		if k.Table == table {
			if at >= 0 {
				return types.Null, pgerr.New(pgerr.InvalidCursorState, "cursor \"%s\" has multiple FOR UPDATE/SHARE references to table \"%s\"", cursor, tableName)
			}
			at = k.From + key
		}
	}
	if at < 0 && c.locks {
		return types.Null, pgerr.New(pgerr.InvalidCursorState, "cursor \"%s\" does not have a FOR UPDATE/SHARE reference to table \"%s\"", cursor, tableName)
	}
	if at < 0 {
		return types.Null, pgerr.New(pgerr.InvalidCursorState, "cursor \"%s\" is not a simply updatable scan of table \"%s\"", cursor, tableName)
	}
	i := c.pos - 1 - c.dropped
	if c.pos < 1 || i < 0 || i >= int64(len(c.rows)) {
		return types.Null, pgerr.New(pgerr.InvalidCursorState, "cursor \"%s\" is not positioned on a row", cursor)
	}
	return c.rows[i][at], nil
}
