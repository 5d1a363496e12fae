// Package hba reads host-based authentication rules in the format of PostgreSQL's pg_hba.conf and says which of them
// a connection falls under: the first one that matches, whatever comes of it.
//
// What PostgreSQL knows and Meridian does not (GSSAPI, LDAP, regular expressions, names of hosts, user name maps) is an
// error of its line, and a file with an error is not used at all: a rule that was left out could be the one that keeps
// somebody out.
package hba

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
)

// Type says which connections a rule is for.
type Type string

// The types.
const (
	Local     Type = "local"     // Unix sockets
	Host      Type = "host"      // TCP, with TLS or without
	HostSSL   Type = "hostssl"   // TCP with TLS
	HostNoSSL Type = "hostnossl" // TCP without TLS
)

// Method says how a client proves who it is.
type Method string

// The methods. CertOrSCRAM is Meridian's own: a client that shows a certificate logs in by it, any other by password.
const (
	Trust       Method = "trust" // loopback and Unix sockets only
	Reject      Method = "reject"
	SCRAM       Method = "scram-sha-256"
	Cert        Method = "cert"
	CertOrSCRAM Method = "cert-or-scram"
)

// ClientCert is what a rule asks of a client's certificate beside its method.
type ClientCert string

// The values of the option clientcert. Empty: nothing.
const (
	VerifyCA   ClientCert = "verify-ca"   // signed by the cluster's CA
	VerifyFull ClientCert = "verify-full" // and made out to the role
)

// Rule is one line.
type Rule struct {
	Line       int
	Type       Type
	Databases  []Name
	Users      []Name
	Net        netip.Prefix // of TCP rules, unless Address is a keyword
	Address    string       // as written; empty for Local
	Mask       string       // as written in a column of its own
	Method     Method
	ClientCert ClientCert
	Options    []string // as written
	Err        error    // why the line cannot be used; the fields before it hold what could be read
}

// Name is a database or role in a rule. A quoted name has no special meaning.
type Name struct {
	Text   string
	Quoted bool
}

// Conn is what a rule is matched against.
type Conn struct {
	Local       bool
	TLS         bool
	Addr        netip.Addr
	Database    string
	User        string
	Replication bool // physical; logical replication names a database
	// Member reports whether User is a member of a role, directly or not; superusers count only where they were made members.
	Member func(role string) bool
	// SameHost and SameNet report whether Addr is of this host, or of a network of this host.
	SameHost, SameNet func(netip.Addr) bool
}

const maxLine = 64 << 10

// Parse reads rules. Lines that cannot be used have Err set; the error is that of reading.
func Parse(r io.Reader) ([]Rule, error) {
	var rules []Rule
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), maxLine)
	for line, start := 1, 1; sc.Scan(); line++ {
		text := sc.Text()
		start = line
		for strings.HasSuffix(text, "\\") && sc.Scan() { // a backslash joins lines
			text = text[:len(text)-1] + sc.Text()
			line++
		}
		fields, err := split(text)
		if len(fields) == 0 && err == nil {
			continue
		}
		rule := Rule{Line: start}
		if rule.Err = err; err == nil {
			rule.Err = rule.parse(fields)
		}
		rules = append(rules, rule)
	}
	if err := sc.Err(); err != nil {
		return nil, fmt.Errorf("read the rules: %w", err)
	}
	return rules, nil
}

// Check returns the first error of rules.
func Check(rules []Rule) error {
	for i := range rules {
		if rules[i].Err != nil {
			return fmt.Errorf("line %d: %w", rules[i].Line, rules[i].Err)
		}
	}
	return nil
}

// split takes a line apart: fields are separated by blanks, the words of one by commas. A '#' outside of quotes
// begins a comment.
func split(line string) ([][]Name, error) {
	var fields [][]Name
	var field []Name
	var word strings.Builder
	open, quoted, more := false, false, false
	endWord := func() {
		if open {
			field = append(field, Name{word.String(), quoted})
			more = false
		}
		word.Reset()
		open, quoted = false, false
	}
	endField := func() {
		endWord()
		if len(field) > 0 && !more {
			fields = append(fields, field)
			field = nil
		}
	}
	for i := 0; i < len(line); i++ {
		switch ch := line[i]; ch {
		case ' ', '\t', '\r':
			endField()
		case ',':
			endWord()
			more = true // blanks may follow
		case '#':
			endField()
			return fields, nil
		case '"':
			end := strings.IndexByte(line[i+1:], '"')
			if end < 0 {
				return nil, fmt.Errorf("a quote is not closed")
			}
			word.WriteString(line[i+1 : i+1+end])
			open, quoted = true, true
			i += 1 + end
		default:
			word.WriteByte(ch)
			open = true
		}
	}
	endField()
	if len(field) > 0 {
		fields = append(fields, field)
	}
	return fields, nil
}

func (r *Rule) parse(fields [][]Name) error {
	one := func(what string) (string, error) {
		if len(fields) == 0 {
			return "", fmt.Errorf("end-of-line before %s specification", what)
		}
		f := fields[0]
		fields = fields[1:]
		if len(f) != 1 {
			return "", fmt.Errorf("multiple values specified for %s", what)
		}
		return f[0].Text, nil
	}
	names := func(what string) ([]Name, error) {
		if len(fields) == 0 {
			return nil, fmt.Errorf("end-of-line before %s specification", what)
		}
		f := fields[0]
		fields = fields[1:]
		for _, n := range f {
			if !n.Quoted && (strings.HasPrefix(n.Text, "@") || strings.HasPrefix(n.Text, "/")) {
				return f, fmt.Errorf("%q: included files and regular expressions are not supported", n.Text)
			}
		}
		return f, nil
	}
	word, err := one("connection type")
	if err != nil {
		return err
	}
	switch r.Type = Type(word); r.Type {
	case Local, Host, HostSSL, HostNoSSL:
	case "hostgssenc", "hostnogssenc":
		return fmt.Errorf("connection type %q is not supported", word)
	default:
		return fmt.Errorf("invalid connection type %q", word)
	}
	if r.Databases, err = names("database"); err != nil {
		return err
	}
	if r.Users, err = names("role"); err != nil {
		return err
	}
	if r.Type != Local {
		if r.Address, err = one("IP address"); err != nil {
			return err
		}
		if err := r.parseAddress(&fields); err != nil {
			return err
		}
	}
	if word, err = one("authentication method"); err != nil {
		return err
	}
	switch r.Method = Method(word); r.Method {
	case Trust, Reject, SCRAM:
	case Cert, CertOrSCRAM:
		if r.Type != HostSSL {
			return fmt.Errorf("%s authentication is only supported on hostssl connections", word)
		}
	case "md5", "password", "gss", "sspi", "ident", "peer", "ldap", "radius", "pam", "bsd":
		return fmt.Errorf("authentication method %q is not supported; there are trust, reject, scram-sha-256, cert and cert-or-scram", word)
	default:
		return fmt.Errorf("invalid authentication method %q", word)
	}
	for _, f := range fields {
		for _, w := range f {
			r.Options = append(r.Options, w.Text)
			name, value, ok := strings.Cut(w.Text, "=")
			switch {
			case !ok:
				return fmt.Errorf("authentication option not in name=value format: %s", w.Text)
			case name != "clientcert":
				return fmt.Errorf("authentication option %q is not supported", name)
			case r.Type != HostSSL:
				return fmt.Errorf("clientcert can only be configured for \"hostssl\" rows")
			case value != string(VerifyCA) && value != string(VerifyFull):
				return fmt.Errorf("invalid value for clientcert: %q", value)
			case r.Method == Cert && value == string(VerifyCA):
				return fmt.Errorf("clientcert only accepts \"verify-full\" when using \"cert\" authentication")
			}
			r.ClientCert = ClientCert(value)
		}
	}
	return nil
}

// parseAddress understands the address of a TCP rule, with its mask if that is a field of its own.
func (r *Rule) parseAddress(fields *[][]Name) error {
	switch r.Address {
	case "all", "samehost", "samenet":
		return nil
	}
	if strings.Contains(r.Address, "/") {
		p, err := netip.ParsePrefix(r.Address)
		if err != nil {
			return fmt.Errorf("invalid CIDR mask in address %q", r.Address)
		}
		if p != p.Masked() {
			// PostgreSQL ignores the host's bits; so do we.
			p = p.Masked()
		}
		r.Net = p
		return nil
	}
	addr, err := netip.ParseAddr(r.Address)
	if err != nil {
		return fmt.Errorf("invalid IP address %q (names of hosts are not supported)", r.Address)
	}
	if len(*fields) == 0 || len((*fields)[0]) != 1 {
		return fmt.Errorf("end-of-line before netmask specification")
	}
	r.Mask = (*fields)[0][0].Text
	*fields = (*fields)[1:]
	mask, err := netip.ParseAddr(r.Mask)
	if err != nil {
		return fmt.Errorf("invalid IP mask %q", r.Mask)
	}
	if mask.BitLen() != addr.BitLen() {
		return fmt.Errorf("IP address and mask do not match")
	}
	bits, ended := 0, false
	for _, b := range mask.AsSlice() {
		for bit := 7; bit >= 0; bit-- {
			on := b>>bit&1 == 1
			if on && ended {
				return fmt.Errorf("invalid IP mask %q: its ones are not at the beginning", r.Mask)
			}
			if on {
				bits++
			} else {
				ended = true
			}
		}
	}
	r.Net = netip.PrefixFrom(addr, bits).Masked()
	return nil
}

// Match returns the first rule that a connection falls under, nil if there is none. Rules must have been checked.
func Match(rules []Rule, c *Conn) *Rule {
	for i := range rules {
		if rules[i].matches(c) {
			return &rules[i]
		}
	}
	return nil
}

func (r *Rule) matches(c *Conn) bool {
	switch r.Type {
	case Local:
		if !c.Local {
			return false
		}
	case HostSSL:
		if c.Local || !c.TLS {
			return false
		}
	case HostNoSSL:
		if c.Local || c.TLS {
			return false
		}
	default:
		if c.Local {
			return false
		}
	}
	if r.Type != Local && !r.matchesAddr(c) {
		return false
	}
	return slices.ContainsFunc(r.Databases, func(n Name) bool { return matchesDatabase(n, c) }) &&
		slices.ContainsFunc(r.Users, func(n Name) bool { return matchesUser(n, c) })
}

func (r *Rule) matchesAddr(c *Conn) bool {
	addr := c.Addr.Unmap()
	switch r.Address {
	case "all":
		return true
	case "samehost":
		return c.SameHost != nil && c.SameHost(addr)
	case "samenet":
		return c.SameNet != nil && c.SameNet(addr)
	}
	return r.Net.Contains(addr.WithZone(""))
}

func matchesDatabase(n Name, c *Conn) bool {
	if c.Replication {
		return !n.Quoted && n.Text == "replication"
	}
	if !n.Quoted {
		switch n.Text {
		case "all":
			return true
		case "sameuser":
			return c.Database == c.User
		case "samerole", "samegroup":
			return c.Member != nil && c.Member(c.Database)
		case "replication":
			return false
		}
	}
	return n.Text == c.Database
}

func matchesUser(n Name, c *Conn) bool {
	if !n.Quoted {
		if n.Text == "all" {
			return true
		}
		if role, ok := strings.CutPrefix(n.Text, "+"); ok {
			return c.Member != nil && c.Member(role)
		}
	}
	return n.Text == c.User
}
