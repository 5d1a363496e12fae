package exec

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/plan"
)

// checkPolicies holds a row in the frame against row-level security policies.
func (s *state) checkPolicies(checks []plan.PolicyCheck) error {
	for i := range checks {
		k := &checks[i]
		ok, err := plan.EvalBool(&s.c, k.E)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		row, using := "new", ""
		switch k.Kind {
		case plan.CheckConflict:
			using = " (USING expression)"
		case plan.CheckMerge:
			row, using = "target", " (USING expression)"
		}
		if k.Policy != "" {
			return pgerr.New(pgerr.InsufficientPrivilege, "%s row violates row-level security policy %q%s for table %q", row, k.Policy, using, k.Table)
		}
		return pgerr.New(pgerr.InsufficientPrivilege, "%s row violates row-level security policy%s for table %q", row, using, k.Table)
	}
	return nil
}
