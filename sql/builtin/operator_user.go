package builtin

import (
	"slices"
	"strings"

	"github.com/meridian-db/meridian/sql/types"
)

// OperatorRequest is the use of an operator to be resolved.
type OperatorRequest struct {
	Name        string
	Schema      string // as written; empty: the search path
	Left, Right *types.T
	// Users are the operators of the name that users made, in the order of the search path; Ahead says how many of them stand
	// before pg_catalog. OnlyUsers leaves out the built-in ones.
	Users     []UserOperator
	Ahead     int
	OnlyUsers bool
	Casts     CastSource // of users; nil: there are none
}

// UserOperator is an operator that a user has made, with its function; nil for a shell.
type UserOperator struct {
	*Operator
	Func *Func
}

// shellFunc stands for the function of an operator that has only been named by another.
var shellFunc = &Func{Name: "shell", Kind: 'f'}

func (r *OperatorRequest) shown() string {
	if r.Schema != "" {
		return r.Schema + "." + r.Name
	}
	return r.Name
}

// operators lists the operators of a name. Of those with the same operands the first on the search path counts.
func (r *OperatorRequest) operators(name string) []*Operator {
	own := catalog().operByName[name]
	if len(r.Users) == 0 {
		if r.OnlyUsers {
			return nil
		}
		return own
	}
	var out []*Operator
	add := func(o *Operator) {
		if !slices.ContainsFunc(out, func(p *Operator) bool { return p.Left == o.Left && p.Right == o.Right }) {
			out = append(out, o)
		}
	}
	for i, u := range r.Users {
		if i == r.Ahead && !r.OnlyUsers {
			for _, o := range own {
				add(o)
			}
		}
		add(u.Operator)
	}
	if len(r.Users) == r.Ahead && !r.OnlyUsers {
		for _, o := range own {
			add(o)
		}
	}
	return out
}

// function is the function behind an operator.
func (r *OperatorRequest) function(op *Operator) *Func {
	for _, u := range r.Users {
		if u.Operator == op {
			if u.Func == nil {
				return shellFunc
			}
			return u.Func
		}
	}
	return catalog().funcByOID[op.Proc]
}

// ValidOperatorName reports whether a name can be an operator's.
func ValidOperatorName(name string) bool {
	if name == "" || len(name) > 63 || strings.Trim(name, "~!@#^&|`?+-*/%<>=") != "" || strings.Contains(name, "/*") || strings.Contains(name, "--") {
		return false
	}
	if n := len(name); n > 1 && (name[n-1] == '+' || name[n-1] == '-') && !strings.ContainsAny(name, "~!@#^&|`?%") {
		return false
	}
	return name != "!="
}
