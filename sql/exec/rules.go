package exec

import (
	"context"

	"github.com/meridian-db/meridian/sql/plan"
)

// rulesOp runs the statements that rules have made of one, each to its end before the next one begins.
type rulesOp struct {
	n      *plan.Rules
	steps  []op
	at     int
	opened bool
}

func (s *state) buildRules(n *plan.Rules) (op, error) {
	o := &rulesOp{n: n}
	for _, step := range n.Steps {
		in, err := s.build(step)
		if err != nil {
			return nil, err
		}
		o.steps = append(o.steps, in)
	}
	return o, nil
}

func (o *rulesOp) open(context.Context) error {
	o.at, o.opened = 0, false
	return nil
}

func (o *rulesOp) next(ctx context.Context) (bool, error) {
	for o.at < len(o.steps) {
		step := o.steps[o.at]
		if !o.opened {
			o.opened = true
			if err := step.open(ctx); err != nil {
				return false, err
			}
		}
		ok, err := step.next(ctx)
		switch {
		case err != nil:
			return false, err
		case ok && o.at == o.n.Returns:
			return true, nil
		case !ok:
			o.at, o.opened = o.at+1, false
		}
	}
	return false, nil
}

func (o *rulesOp) close() {
	for _, step := range o.steps {
		step.close()
	}
}

// count is what the command tag says.
func (o *rulesOp) count() int64 {
	if o.n.Counts < 0 {
		return 0
	}
	if m, ok := rootModify(o.steps[o.n.Counts]); ok {
		return m.count()
	}
	return 0
}
