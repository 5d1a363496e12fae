package sql

import (
	"context"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/plan"
	"github.com/meridian-db/meridian/sql/types"
)

// A prepared statement has a generic plan, made without the values of its parameters, and gets custom ones, for which
// the planner knows them: columns are skewed, and what suits a rare value is slow for a common one. As in PostgreSQL
// the first executions are custom, and then those of which custom plans were cheaper on average, their making
// included. A custom plan knows values for its estimates only, so it is never wrong for others.

const (
	// firstCustom is the number of executions with custom plans before costs are compared.
	firstCustom = 5
	// planningCost is the cost of planning a statement, and again for each table, in the unit of plans' costs.
	planningCost = 2.5
)

// customPlans are a prepared statement's: what pg_prepared_statements counts, and the summed cost of the custom plans.
type customPlans struct {
	generic, custom int64
	cost            float64
}

// specialize returns the statement to execute for parameters: st itself, which has its generic plan, or a copy with a
// custom one.
func (s *Session) specialize(ctx context.Context, st *statement, params []types.Datum) (*statement, error) {
	p := st.plan
	if p == nil || len(params) == 0 || p.Root == nil || !s.wantsCustom(st, p) {
		st.plans.generic++
		return st, nil
	}
	c := *st
	c.plan = nil
	if err := s.planWith(ctx, &c, params); err != nil {
		return nil, err
	}
	st.plans.custom++
	if c.plan.Root != nil {
		st.plans.cost += c.plan.Root.Base().Cost + planningCost*float64(1+len(p.Tables))
	}
	return &c, nil
}

// wantsCustom decides between the generic plan p and a custom one. What finds a row by its key has no other plan, and a
// statement without a name, which drivers send again and again, is only worth another look if it is costly.
func (s *Session) wantsCustom(st *statement, p *plan.Plan) bool {
	if p.Fast != nil || p.PointKey {
		return false
	}
	switch s.setting("plan_cache_mode") {
	case "force_generic_plan":
		return false
	case "force_custom_plan":
		return true
	}
	generic := p.Root.Base().Cost
	switch {
	case st.name == "":
		return generic > costlyPlan
	case st.plans.custom < firstCustom:
		_, insert := st.node.(*ast.InsertStmt)
		return !insert || generic > costlyPlan
	}
	return generic >= st.plans.cost/float64(st.plans.custom)
}

// planWith plans a statement for values of its parameters.
func (s *Session) planWith(ctx context.Context, st *statement, params []types.Datum) error {
	s.paramValues = func([]*types.T) []types.Datum { return params }
	defer func() { s.paramValues = nil }()
	_, err := s.ensurePlan(ctx, st)
	return err
}
