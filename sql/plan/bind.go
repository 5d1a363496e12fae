package plan

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func prepare(ctx context.Context, stmt ast.Stmt, env Env) (*Plan, error) {
	return nil, pgerr.Unsupported("statement %s", stmt.Tag())
}

func prepareInsert(ctx context.Context, table *ast.RangeVar, columns []string, env Env) (*Plan, error) {
	return nil, pgerr.Unsupported("COPY")
}

// FastPath marks a plan that executes without operators.
type FastPath struct{}

// Frame is a window frame.
type Frame struct{ StartOffset, EndOffset Expr }
