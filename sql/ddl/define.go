package ddl

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
)

// define is CREATE AGGREGATE, CREATE OPERATOR and their kin.
func (x *executor) define(ctx context.Context, s *ast.DefineStmt) error {
	switch s.Object {
	case ast.ObjAggregate:
		if x.OlderDefinitions {
			return errOlderNodes("aggregates")
		}
		return x.createAggregate(ctx, s)
	case ast.ObjOperator:
		if x.OlderDefinitions {
			return errOlderNodes("operators")
		}
		return x.createOperator(ctx, s)
	}
	return pgerr.Unsupported("%s is not supported", s.Tag())
}
