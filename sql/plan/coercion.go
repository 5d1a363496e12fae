package plan

import (
	"context"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/types"
)

// PrepareCoercion returns what converts a value of one type into another as an assignment does, domains' checks
// included. Its error says that there is no such conversion.
func PrepareCoercion(ctx context.Context, from, to *types.T, env Env) (func(b *builtin.Ctx, d types.Datum) (types.Datum, error), error) {
	b := newBinder(ctx, &env)
	b.noFold = true
	x, err := b.coerce(&Param{N: 0, T: from}, to, builtin.CastAssignment, -1)
	if err != nil {
		return nil, err
	}
	x = b.settle(x)
	slots := b.slots
	return func(c *builtin.Ctx, d types.Datum) (types.Datum, error) {
		e := EvalCtx{Params: []types.Datum{d}, B: c, Frame: make([]types.Datum, slots)}
		return x.Eval(&e)
	}, nil
}
