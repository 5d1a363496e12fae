package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/parser"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plpgsql"
	"github.com/meridian-db/meridian/sql/types"
)

// queryText runs a query that a function was given as text, with the rights of the user, as EXECUTE of a function that
// changes nothing would.
func (s *Session) queryText(ctx context.Context, text string, emit func(ts []*types.T, row []types.Datum) error) error {
	list, err := parser.Parse(text)
	if err != nil {
		return unplaced(err)
	}
	if len(list) != 1 {
		return pgerr.New(pgerr.SyntaxError, "expected one query")
	}
	sel, ok := list[0].Stmt.(*ast.SelectStmt)
	if !ok || sel.Into != nil {
		return pgerr.Unsupported("only queries can be run here")
	}
	var ts []*types.T
	_, err = s.runRoutineStmt(ctx, 's', &routineStmt{node: sel}, nil, nil, func(cols []plpgsql.Column, row []types.Datum) error {
		if ts == nil {
			for _, c := range cols {
				ts = append(ts, c.Type)
			}
		}
		return emit(ts, row)
	})
	return err
}
