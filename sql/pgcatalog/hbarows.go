package pgcatalog

import "github.com/meridian-db/meridian/sql/pgerr"

// AuthRule is a row of pg_hba_file_rules: a line of the file that the node has its authentication rules from. Empty texts
// and nil lists are NULL.
type AuthRule struct {
	Line                                int
	Type, Address, Netmask, Method, Err string
	Databases, Users, Options           []string
}

// pgHBAFileRules shows superusers the file as it is now, which is not yet in force while one of its lines has an error.
func pgHBAFileRules(g *gen) error {
	if r := g.snap.RoleByID(g.env.User); r == nil || !r.Super {
		return pgerr.New(pgerr.InsufficientPrivilege, "permission denied for view pg_hba_file_rules")
	}
	p := g.providers()
	if p.AuthRules == nil {
		return nil
	}
	text := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	list := func(l []string) any {
		if l == nil {
			return nil
		}
		return textArray(l)
	}
	rules, err := p.AuthRules()
	if err != nil {
		return pgerr.New(pgerr.ConfigFileError, "could not open the file of authentication rules: %w", err)
	}
	for _, r := range rules {
		if err := g.row("line_number", r.Line, "type", text(r.Type), "database", list(r.Databases), "user_name", list(r.Users), "address", text(r.Address),
			"netmask", text(r.Netmask), "auth_method", text(r.Method), "options", list(r.Options), "error", text(r.Err)); err != nil {
			return err
		}
	}
	return nil
}
