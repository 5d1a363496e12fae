package server

import (
	"net"
	"net/netip"

	"github.com/meridian-db/meridian/pgwire/hba"
	"github.com/meridian-db/meridian/sql/pgcatalog"
)

// authRuleRows are the rows of pg_hba_file_rules: the file as it is now.
func (s *Server) authRuleRows() ([]pgcatalog.AuthRule, error) {
	if s.hba == nil {
		return nil, nil
	}
	rules, err := s.hba.Lines()
	out := make([]pgcatalog.AuthRule, len(rules))
	for i := range rules {
		r := &rules[i]
		out[i] = pgcatalog.AuthRule{Line: r.Line, Type: string(r.Type), Address: r.Address, Netmask: r.Mask, Method: string(r.Method),
			Databases: texts(r.Databases), Users: texts(r.Users), Options: r.Options}
		if r.Mask == "" && r.Net.IsValid() {
			out[i].Address, out[i].Netmask = r.Net.Addr().String(), maskOf(r.Net)
		}
		if r.Err != nil {
			out[i] = pgcatalog.AuthRule{Line: r.Line, Err: r.Err.Error()}
		}
	}
	return out, err
}

func texts(names []hba.Name) (out []string) {
	for _, n := range names {
		out = append(out, n.Text)
	}
	return out
}

// maskOf writes the length of a network as a mask, as PostgreSQL shows it.
func maskOf(p netip.Prefix) string {
	bits := p.Addr().BitLen()
	mask := net.CIDRMask(p.Bits(), bits)
	if bits == 128 {
		addr, _ := netip.AddrFromSlice(mask)
		return addr.String()
	}
	return net.IP(mask).String()
}
