package sql

import (
	"strconv"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/ast"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
	"github.com/meridian-db/meridian/txn/kv"
)

// runSet is SET and RESET.
func (s *Session) runSet(n *ast.SetStmt) error {
	if err := s.set(n); err != nil {
		return err
	}
	s.endSettingsStatement()
	s.out.Complete(n.Tag())
	return nil
}

// endSettingsStatement makes a change of settings outside a transaction final.
func (s *Session) endSettingsStatement() {
	if s.txn.phase == phaseIdle {
		s.commitSettings()
	}
}

func (s *Session) set(n *ast.SetStmt) error {
	if n.Local && s.txn.phase == phaseIdle {
		s.warn(pgerr.NoActiveSQLTransaction, "SET LOCAL can only be used in transaction blocks")
	}
	switch n.Kind {
	case ast.SetValue:
		value, err := s.setValue(n)
		if err != nil {
			return err
		}
		return s.setSetting(n.Name, value, n.Local)
	case ast.SetToDefault, ast.ResetVar:
		return s.resetSetting(n.Name, n.Local)
	case ast.ResetAll:
		s.resetAllSettings()
		return nil
	case ast.SetTransaction:
		if s.txn.phase != phaseBlock {
			s.warn(pgerr.NoActiveSQLTransaction, "SET TRANSACTION can only be used in transaction blocks")
			return nil
		}
		return s.applyModes(n.Modes)
	case ast.SetSessionCharacteristics:
		return s.setCharacteristics(n.Modes)
	case ast.SetSnapshot:
		text, err := constText(n.Args[0])
		if err != nil {
			return err
		}
		return s.setSnapshot(text)
	}
	return pgerr.Unsupported("SET FROM CURRENT is not supported here")
}

func (s *Session) setCharacteristics(m ast.TxnModes) error {
	if m.Isolation != "" {
		if err := s.setSetting("default_transaction_isolation", m.Isolation, false); err != nil {
			return err
		}
	}
	if m.ReadOnly != nil {
		if err := s.setSetting("default_transaction_read_only", onOff(*m.ReadOnly), false); err != nil {
			return err
		}
	}
	if m.Deferrable != nil {
		return s.setSetting("default_transaction_deferrable", onOff(*m.Deferrable), false)
	}
	return nil
}

// setValue joins the arguments of SET as the setting's text form.
func (s *Session) setValue(n *ast.SetStmt) (string, error) {
	if strings.EqualFold(n.Name, "timezone") && len(n.Args) == 1 {
		if c, ok := n.Args[0].(*ast.TypeCast); ok {
			return s.zoneOfInterval(c)
		}
	}
	list, quote := false, false
	if i, ok := s.vars.lookup(n.Name, false); ok {
		g := s.vars.def(i)
		list, quote = g.list, g.list && g.name != "DateStyle"
	}
	if len(n.Args) > 1 && !list {
		return "", pgerr.New(pgerr.InvalidParameterValue, "SET %s takes only one argument", n.Name)
	}
	parts := make([]string, 0, len(n.Args))
	for _, a := range n.Args {
		text, err := constText(a)
		if err != nil {
			return "", err
		}
		if quote {
			text = quoteIdent(text)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", "), nil
}

// constText is the text of a constant argument.
func constText(e ast.Expr) (string, error) {
	switch c := e.(type) {
	case *ast.Const:
		switch c.Kind {
		case ast.ConstInt, ast.ConstBigInt:
			return strconv.FormatInt(c.Int, 10), nil
		case ast.ConstBool:
			return strconv.FormatBool(c.Bool), nil
		case ast.ConstNull:
			return "", nil
		}
		return c.Str, nil
	case *ast.TypeCast:
		return constText(c.Arg)
	case *ast.OpExpr:
		if c.Left == nil && c.Op == "-" {
			text, err := constText(c.Right)
			return "-" + text, err
		}
	case *ast.ColumnRef:
		return strings.Join(c.Fields, "."), nil
	}
	return "", pgerr.New(pgerr.SyntaxError, "SET takes constants only").WithPosition(int(ast.PgPos(e.Position())))
}

// zoneOfInterval is SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE.
func (s *Session) zoneOfInterval(c *ast.TypeCast) (string, error) {
	text, err := constText(c.Arg)
	if err != nil {
		return "", err
	}
	d, err := types.ParseText(text, types.IntervalT, s.format)
	if err != nil {
		return "", err
	}
	iv := d.Interval()
	if iv.Months != 0 || iv.Days != 0 {
		return "", pgerr.New(pgerr.InvalidParameterValue, "time zone interval must not specify months or days")
	}
	return strconv.FormatFloat(float64(iv.Micros)/3.6e9, 'f', -1, 64), nil
}

func showColumns(n *ast.ShowStmt) []Column {
	if strings.EqualFold(n.Name, "all") {
		return []Column{{Name: "name", Type: types.Text}, {Name: "setting", Type: types.Text}, {Name: "description", Type: types.Text}}
	}
	name := n.Name
	if i, ok := settingIndex[strings.ToLower(name)]; ok {
		name = settingTable[i].name
	}
	return []Column{{Name: name, Type: types.Text}}
}

// runShow is SHOW.
func (s *Session) runShow(n *ast.ShowStmt, formats []int16, describe bool) error {
	var rows [][]string
	if strings.EqualFold(n.Name, "all") {
		for i := range settingTable {
			rows = append(rows, []string{settingTable[i].name, s.showSetting(i), settingTable[i].desc})
		}
	} else {
		v, ok := s.Setting(n.Name)
		if !ok {
			return unknownSetting(n.Name)
		}
		rows = [][]string{{v}}
	}
	if err := s.sendText(showColumns(n), rows, formats, describe); err != nil {
		return err
	}
	s.out.Complete("SHOW")
	return nil
}

// Staleness of read-only transactions. Spanner's five bounds are spelled either in one setting,
// meridian.read_staleness = 'max_staleness 10s', or each in its own.

func checkStaleness(_ *Session, v string) (string, error) {
	if v == "" || v == "0" {
		return "", nil
	}
	d, err := parseAge(v)
	if err != nil {
		return "", invalidValue("staleness", v).WithHint("Use a duration such as '10s' or '500ms'.")
	}
	return d.String(), nil
}

// parseAge reads a positive duration: Go's form, or a bare number of seconds.
func parseAge(v string) (time.Duration, error) {
	v = strings.ReplaceAll(strings.TrimSpace(v), " ", "")
	if f, err := strconv.ParseFloat(v, 64); err == nil && f >= 0 && f < 1e9 {
		return time.Duration(f * float64(time.Second)), nil
	}
	v = strings.TrimSuffix(strings.TrimSuffix(v, "econds"), "ec")
	if strings.HasSuffix(v, "min") {
		v = strings.TrimSuffix(v, "in")
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < 0 {
		return 0, invalidValue("staleness", v)
	}
	return d, nil
}

func checkReadTimestamp(s *Session, v string) (string, error) {
	if v == "" {
		return "", nil
	}
	ts, err := s.parseReadTimestamp(v)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(int64(ts), 10), nil
}

func checkReadStaleness(s *Session, v string) (string, error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
	word, rest = strings.ToLower(word), strings.Trim(strings.TrimSpace(rest), "'")
	var err error
	switch word {
	case "", "strong":
		return "strong", nil
	case "exact_staleness", "max_staleness":
		if _, err = parseAge(rest); err == nil && rest != "" {
			return word + " " + rest, nil
		}
	case "read_timestamp", "min_read_timestamp":
		if rest, err = checkReadTimestamp(s, rest); err == nil && rest != "" {
			return word + " " + rest, nil
		}
	}
	return "", invalidValue("meridian.read_staleness", v).
		WithHint("Use strong, exact_staleness 10s, max_staleness 10s, read_timestamp TIMESTAMP or min_read_timestamp TIMESTAMP.")
}

func assignStaleness(s *Session, _ string) {
	s.staleness = kv.Staleness{}
	word, rest, _ := strings.Cut(s.setting("meridian.read_staleness"), " ")
	for _, f := range []struct{ name, setting string }{
		{"exact_staleness", "meridian.exact_staleness"},
		{"max_staleness", "meridian.max_staleness"},
		{"read_timestamp", "meridian.read_timestamp"},
		{"min_read_timestamp", "meridian.min_read_timestamp"},
	} {
		if v := s.setting(f.setting); v != "" {
			word, rest = f.name, v
		}
	}
	switch word {
	case "exact_staleness", "max_staleness":
		d, _ := parseAge(rest)
		s.staleness = kv.Staleness{Kind: kv.ExactStaleness, Age: int64(d)}
		if word == "max_staleness" {
			s.staleness.Kind = kv.MaxStaleness
		}
	case "read_timestamp", "min_read_timestamp":
		ts, err := s.parseReadTimestamp(rest)
		if err != nil {
			return
		}
		s.staleness = kv.Staleness{Kind: kv.ReadTimestamp, At: ts}
		if word == "min_read_timestamp" {
			s.staleness.Kind = kv.MinReadTimestamp
		}
	}
}

// readStaleness is the bound for a read-only transaction that begins now.
func (s *Session) readStaleness() kv.Staleness { return s.staleness }

// checkRole and checkSessionAuthorization see to SET ROLE and SET SESSION AUTHORIZATION.
func checkRole(s *Session, v string) (string, error) {
	if v == "none" || v == "" {
		return "none", nil
	}
	if err := s.roleExists(v); err != nil {
		return "", err
	}
	if !s.starting && !s.isMember(s.authUser(), v) {
		return "", pgerr.New(pgerr.InsufficientPrivilege, "permission denied to set role \"%s\"", v)
	}
	return v, nil
}

// assignRole and assignSessionAuthorization change who the session is, by SET, RESET or the end of a transaction.
func assignRole(s *Session, v string) {
	switch {
	case s.starting:
	case v == "none" || v == "":
		s.becomes(s.authUser())
	default:
		s.becomes(v)
	}
}

func assignSessionAuthorization(s *Session, v string) {
	if s.starting {
		return
	}
	s.authorized = v
	if i := settingIndex["role"]; s.vars.cur[i] != "none" {
		s.vars.cur[i], s.vars.sess[i] = "none", "none"
	}
	s.becomes(s.authUser())
}

func checkSessionAuthorization(s *Session, v string) (string, error) {
	if s.starting {
		return v, nil
	}
	if v == "default" || v == "" {
		v = s.args.User
	}
	if v != s.args.User && !s.isMember(s.args.User, "") {
		return "", pgerr.New(pgerr.InsufficientPrivilege, "permission denied to set session authorization")
	}
	if err := s.roleExists(v); err != nil {
		return "", err
	}
	return v, nil
}

// authUser is the role that SET SESSION AUTHORIZATION made the session's.
func (s *Session) authUser() string {
	if s.authorized != "" {
		return s.authorized
	}
	return s.args.User
}

// becomes changes the current role.
func (s *Session) becomes(role string) {
	s.user = role
	if s.withCatalog(func(c CatalogTxn) { s.superuser, _ = c.RoleExists(role) }) != nil {
		s.superuser = false
	}
	s.searchPath = nil
	s.plannerEpoch++
}

// isMember reports whether a role is a member of another; of none, "": whether it is a superuser.
func (s *Session) isMember(role, of string) (ok bool) {
	err := s.withCatalog(func(c CatalogTxn) {
		v, is := c.(*catalogView)
		if !is {
			return
		}
		v.refresh()
		r, target := v.snap.RoleByName(role), v.snap.RoleByName(of)
		ok = r != nil && (r.Super || target != nil && v.snap.IsMember(r.ID, target.ID))
	})
	return err == nil && ok
}
