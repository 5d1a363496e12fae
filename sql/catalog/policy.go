package catalog

// Policy is a row-level security policy of the table that holds it.
type Policy struct {
	OID  uint32 `json:"o"`
	Name string `json:"n"`
	// Restrictive policies must all hold, of the others one.
	Restrictive bool `json:"res,omitempty"`
	// Cmd is pg_policy.polcmd: 'r' SELECT, 'a' INSERT, 'w' UPDATE, 'd' DELETE, '*' all.
	Cmd byte `json:"cmd"`
	// Roles are those that the policy is for, 0 is PUBLIC. Without any it is for nobody.
	Roles []uint32 `json:"r"`
	// Using and Check are SQL text, "" for none. Path is the search path under which their names resolve, and Rel the
	// name by which they call the table.
	Using string   `json:"u,omitempty"`
	Check string   `json:"ck,omitempty"`
	Path  []string `json:"path,omitempty"`
	Rel   string   `json:"rel"`
	// Uses are the other relations that the expressions read.
	Uses    []uint32 `json:"dep,omitempty"`
	Comment string   `json:"c,omitempty"`
}

// Commands that a policy may be for, by the letter of the privilege.
const (
	PolicyAll    = '*'
	PolicySelect = 'r'
	PolicyInsert = 'a'
	PolicyUpdate = 'w'
	PolicyDelete = 'd'
)

// Policy returns the table's policy of that name, nil if there is none.
func (t *Table) Policy(name string) *Policy {
	for _, p := range t.Policies {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// BypassesPolicies reports whether row-level security never concerns a role.
func (s *state) BypassesPolicies(role uint32) bool {
	r := s.RoleByID(role)
	return r == nil || r.Super || r.BypassRLS
}

// PoliciesApply reports whether a table shows a role only what its policies let through.
func (s *state) PoliciesApply(t *Table, role uint32) bool {
	return t.RowSecurity && !s.BypassesPolicies(role) && (t.ForceRowSecurity || !s.HasPrivsOf(role, t.Owner))
}
