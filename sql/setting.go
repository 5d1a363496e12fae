package sql

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/textsearch"
	"github.com/meridian-db/meridian/sql/types"
)

// settingIndex finds a setting by its lower-case name. The indexes below it are of settings that every
// statement looks at. All are set once, here, because settingTable refers to functions that use them.
var (
	settingIndex         map[string]int
	idxDefaultIsolation  int
	idxDefaultReadOnly   int
	idxDefaultDeferrable int
	idxIsolation         int
	idxReadOnly          int
	idxDeferrable        int
	idxApplicationName   int
)

func init() {
	settingIndex = make(map[string]int, len(settingTable))
	for i := range settingTable {
		settingIndex[strings.ToLower(settingTable[i].name)] = i
	}
	idxDefaultIsolation = settingIndex["default_transaction_isolation"]
	idxDefaultReadOnly = settingIndex["default_transaction_read_only"]
	idxDefaultDeferrable = settingIndex["default_transaction_deferrable"]
	idxIsolation = settingIndex["transaction_isolation"]
	idxReadOnly = settingIndex["transaction_read_only"]
	idxDeferrable = settingIndex["transaction_deferrable"]
	idxApplicationName = settingIndex["application_name"]
}

// settings are a session's values. Each setting has an effective value and one that outlives the
// transaction: SET LOCAL changes only the first. The undo log takes both back when a transaction or
// savepoint is rolled back.
type settings struct {
	cur, sess []string // by index; past the table: custom (dotted) settings
	reset     []string // what RESET returns to: defaults overlaid by role, database and start-up values
	custom    map[string]int
	names     []string // of custom settings
	undo      []settingUndo
}

type settingUndo struct {
	index     int
	cur, sess string
}

func newSettings() settings {
	v := settings{cur: make([]string, len(settingTable))}
	for i := range settingTable {
		v.cur[i] = settingTable[i].def
	}
	v.sess = append([]string(nil), v.cur...)
	v.reset = append([]string(nil), v.cur...)
	return v
}

// lookup returns the index of a setting, making room for a custom one when create is set.
func (v *settings) lookup(name string, create bool) (int, bool) {
	name = strings.ToLower(name)
	if i, ok := settingIndex[name]; ok {
		return i, true
	}
	if i, ok := v.custom[name]; ok {
		return i, true
	}
	if !create || !validCustomName(name) {
		return 0, false
	}
	i := len(v.cur)
	v.cur, v.sess, v.reset = append(v.cur, ""), append(v.sess, ""), append(v.reset, "")
	if v.custom == nil {
		v.custom = map[string]int{}
	}
	v.custom[name] = i
	v.names = append(v.names, name)
	return i, true
}

// validCustomName reports whether a name has the form class.name; meridian's own class is not open.
func validCustomName(name string) bool {
	class, rest, ok := strings.Cut(name, ".")
	return ok && class != "" && rest != "" && class != "meridian"
}

func (v *settings) def(i int) *setting {
	if i < len(settingTable) {
		return &settingTable[i]
	}
	return &setting{name: v.names[i-len(settingTable)], kind: kindString}
}

func unknownSetting(name string) *pgerr.Error {
	return pgerr.New(pgerr.UndefinedObject, "unrecognized configuration parameter \"%s\"", name)
}

// setSetting changes a setting. local: until the end of the transaction. It checks permission and value.
func (s *Session) setSetting(name, value string, local bool) error {
	i, ok := s.vars.lookup(name, true)
	if !ok {
		if strings.HasPrefix(strings.ToLower(name), "meridian.") || !strings.Contains(name, ".") {
			return unknownSetting(name)
		}
		return pgerr.New(pgerr.InvalidName, "invalid configuration parameter name \"%s\"", name).
			WithDetail("Custom parameter names must be two or more simple identifiers separated by dots.")
	}
	g := s.vars.def(i)
	if err := s.maySet(g); err != nil {
		return err
	}
	canonical, err := s.checkSetting(g, value)
	if err != nil {
		return err
	}
	s.assignSetting(i, canonical, local)
	return nil
}

// maySet checks the setting's context.
func (s *Session) maySet(g *setting) error {
	switch g.context {
	case ctxInternal:
		return pgerr.New(pgerr.CantChangeRuntimeParam, "parameter \"%s\" cannot be changed", g.name)
	case ctxSighup:
		return pgerr.New(pgerr.CantChangeRuntimeParam, "parameter \"%s\" cannot be changed now", g.name)
	case ctxBackend:
		if !s.starting {
			return pgerr.New(pgerr.CantChangeRuntimeParam, "parameter \"%s\" cannot be set after connection start", g.name)
		}
	case ctxSuperuser:
		if !s.superuser {
			return pgerr.New(pgerr.InsufficientPrivilege, "permission denied to set parameter \"%s\"", g.name)
		}
	}
	return nil
}

// resetSetting returns a setting to what it was when the session started.
func (s *Session) resetSetting(name string, local bool) error {
	i, ok := s.vars.lookup(name, false)
	if !ok {
		if validCustomName(strings.ToLower(name)) {
			return nil
		}
		return unknownSetting(name)
	}
	g := s.vars.def(i)
	if err := s.maySet(g); err != nil {
		return err
	}
	if g.name == "transaction_isolation" || g.name == "transaction_read_only" || g.name == "transaction_deferrable" {
		return pgerr.New(pgerr.FeatureNotSupported, "parameter \"%s\" cannot be reset", g.name)
	}
	s.assignSetting(i, s.vars.reset[i], local)
	return nil
}

// resetAllSettings is RESET ALL: every setting a user may change, but not who the user is nor the
// transaction's modes.
func (s *Session) resetAllSettings() {
	for i := range s.vars.cur {
		g := s.vars.def(i)
		switch g.name {
		case "transaction_isolation", "transaction_read_only", "transaction_deferrable", "seed", "role", "session_authorization":
			continue
		}
		if s.maySet(g) == nil && s.vars.cur[i] != s.vars.reset[i] {
			s.assignSetting(i, s.vars.reset[i], false)
		}
	}
}

// assignSetting stores a checked value, logs how to undo it, and tells those who depend on it.
func (s *Session) assignSetting(i int, value string, local bool) {
	v := &s.vars
	if !s.starting {
		v.undo = append(v.undo, settingUndo{i, v.cur[i], v.sess[i]})
	}
	old := v.cur[i]
	v.cur[i] = value
	if !local {
		v.sess[i] = value
	}
	if s.starting {
		v.reset[i] = value
	}
	s.settingChanged(i, old)
}

func (s *Session) settingChanged(i int, old string) {
	if i >= len(settingTable) {
		return
	}
	g := &settingTable[i]
	if g.assign != nil {
		g.assign(s, s.vars.cur[i])
	}
	if g.report && !s.starting && s.vars.cur[i] != old {
		s.out.Parameter(g.name, s.showSetting(i))
	}
}

// undoSettings rolls back to a length of the undo log: 0 at the end of a failed transaction.
func (s *Session) undoSettings(to int) {
	v := &s.vars
	for k := len(v.undo) - 1; k >= to; k-- {
		u := v.undo[k]
		old := v.cur[u.index]
		v.cur[u.index], v.sess[u.index] = u.cur, u.sess
		if old != u.cur {
			s.settingChanged(u.index, old)
		}
	}
	v.undo = v.undo[:to]
}

// commitSettings ends SET LOCAL at a commit.
func (s *Session) commitSettings() {
	v := &s.vars
	for k := len(v.undo) - 1; k >= 0; k-- {
		i := v.undo[k].index
		if old := v.cur[i]; old != v.sess[i] {
			v.cur[i] = v.sess[i]
			s.settingChanged(i, old)
		}
	}
	v.undo = v.undo[:0]
}

// setting returns the effective value of a setting of the table, in canonical form.
func (s *Session) setting(name string) string { return s.vars.cur[settingIndex[name]] }

// Setting returns a setting as SHOW prints it, false if there is no such setting. It implements
// builtin.Session.
func (s *Session) Setting(name string) (string, bool) {
	i, ok := s.vars.lookup(name, false)
	if !ok {
		return "", false
	}
	return s.showSetting(i), true
}

// SetSetting implements builtin.Session for set_config.
func (s *Session) SetSetting(name, value string, local bool) (string, error) {
	if err := s.setSetting(name, value, local); err != nil {
		return "", err
	}
	v, _ := s.Setting(name)
	return v, nil
}

// showSetting formats a value with its unit, as SHOW does.
func (s *Session) showSetting(i int) string {
	if s.txn.phase == phaseIdle {
		switch i { // what the next transaction will have
		case idxIsolation:
			i = idxDefaultIsolation
		case idxReadOnly:
			i = idxDefaultReadOnly
		case idxDeferrable:
			i = idxDefaultDeferrable
		}
	}
	v := s.vars.cur[i]
	g := s.vars.def(i)
	if g.kind != kindInt || g.unit == "" {
		return v
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n <= 0 {
		return v
	}
	switch g.unit {
	case "ms", "s", "min":
		steps := timeUnits
		for steps[0].name != g.unit {
			steps = steps[1:]
		}
		return scaleUp(n, steps)
	case "8kB":
		return scaleUp(n*8, memoryUnits)
	}
	return scaleUp(n, memoryUnits)
}

type unitStep struct {
	name string
	per  int64 // of the previous unit
}

var (
	timeUnits   = []unitStep{{"ms", 1}, {"s", 1000}, {"min", 60}, {"h", 60}, {"d", 24}}
	memoryUnits = []unitStep{{"kB", 1}, {"MB", 1024}, {"GB", 1024}, {"TB", 1024}}
)

// scaleUp prints n in the largest unit that divides it.
func scaleUp(n int64, steps []unitStep) string {
	name := steps[0].name
	for _, st := range steps[1:] {
		if n%st.per != 0 {
			break
		}
		n /= st.per
		name = st.name
	}
	return strconv.FormatInt(n, 10) + name
}

// checkSetting brings a value into canonical form.
func (s *Session) checkSetting(g *setting, value string) (string, error) {
	var err error
	switch g.kind {
	case kindBool:
		b, ok := parseBoolSetting(value)
		if !ok {
			return "", pgerr.New(pgerr.InvalidParameterValue, "parameter \"%s\" requires a Boolean value", g.name)
		}
		value = onOff(b)
	case kindInt, kindReal:
		value, err = checkNumber(g, value)
	case kindEnum:
		value, err = checkEnum(g, value)
	}
	if err == nil && g.check != nil {
		value, err = g.check(s, value)
	}
	return value, err
}

func onOff(b bool) string {
	if b {
		return "on"
	}
	return "off"
}

// parseBoolSetting takes PostgreSQL's spellings and their unambiguous prefixes.
func parseBoolSetting(v string) (value, ok bool) {
	v = strings.ToLower(strings.TrimSpace(v))
	prefix := func(word string, least int) bool { return len(v) >= least && strings.HasPrefix(word, v) }
	switch {
	case v == "1" || prefix("true", 1) || prefix("yes", 1) || prefix("on", 2):
		return true, true
	case v == "0" || prefix("false", 1) || prefix("no", 1) || prefix("off", 2):
		return false, true
	}
	return false, false
}

func checkEnum(g *setting, value string) (string, error) {
	for _, e := range g.enum {
		if strings.EqualFold(e, strings.TrimSpace(value)) {
			return e, nil
		}
	}
	// The on/off settings with further values take every boolean spelling.
	if b, ok := parseBoolSetting(value); ok {
		for _, e := range g.enum {
			if e == onOff(b) {
				return e, nil
			}
		}
	}
	return "", invalidValue(g.name, value).WithHint("Available values: %s.", strings.Join(g.enum, ", "))
}

func invalidValue(name, value string) *pgerr.Error {
	return pgerr.New(pgerr.InvalidParameterValue, "invalid value for parameter \"%s\": \"%s\"", name, value)
}

// unitFactors are multiples of a unit, by name; the key of the outer map is the setting's own unit.
var unitFactors = map[string]map[string]float64{
	"ms":  {"us": 1e-3, "ms": 1, "s": 1e3, "min": 6e4, "h": 36e5, "d": 864e5},
	"s":   {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400},
	"min": {"us": 1e-6 / 60, "ms": 1e-3 / 60, "s": 1.0 / 60, "min": 1, "h": 60, "d": 1440},
	"kB":  {"B": 1.0 / 1024, "kB": 1, "MB": 1 << 10, "GB": 1 << 20, "TB": 1 << 30},
	"8kB": {"B": 1.0 / 8192, "kB": 1.0 / 8, "MB": 1 << 7, "GB": 1 << 17, "TB": 1 << 27},
}

func checkNumber(g *setting, value string) (string, error) {
	text := strings.TrimSpace(value)
	digits := len(text)
	for i, r := range text {
		if (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z') && !strings.HasPrefix(text, "0x") && r != 'e' && r != 'E' {
			digits = i
			break
		}
	}
	number, unit := strings.TrimSpace(text[:digits]), strings.TrimSpace(text[digits:])
	var f float64
	if n, err := strconv.ParseInt(number, 0, 64); err == nil {
		f = float64(n)
	} else if f, err = strconv.ParseFloat(number, 64); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return "", invalidValue(g.name, value)
	}
	if unit != "" {
		factor, ok := unitFactors[g.unit][unit]
		if !ok {
			e := invalidValue(g.name, value)
			switch g.unit {
			case "ms", "s", "min":
				e.WithHint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
			case "kB", "8kB":
				e.WithHint("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".")
			}
			return "", e
		}
		f *= factor
	}
	if g.kind == kindInt {
		f = math.RoundToEven(f)
	}
	if f < g.min || f > g.max {
		suffix := ""
		if g.unit != "" {
			suffix = " " + g.unit
		}
		return "", pgerr.New(pgerr.InvalidParameterValue, "%s%s is outside the valid range for parameter \"%s\" (%s .. %s)",
			formatNumber(g, f), suffix, g.name, formatNumber(g, g.min), formatNumber(g, g.max))
	}
	return formatNumber(g, f), nil
}

func formatNumber(g *setting, f float64) string {
	if g.kind == kindInt {
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// The checks and effects of single settings follow.

func checkApplicationName(_ *Session, v string) (string, error) {
	// PostgreSQL replaces what is not printable ASCII, because the name goes into logs and views.
	clean := []byte(v)
	for i, b := range clean {
		if b < ' ' || b > '~' {
			clean[i] = '?'
		}
	}
	if len(clean) > 63 {
		clean = clean[:63]
	}
	return string(clean), nil
}

func assignApplicationName(s *Session, v string) {
	s.info.Lock()
	s.info.Application = v
	s.info.Unlock()
}

func checkEncoding(_ *Session, v string) (string, error) {
	plain := strings.Map(func(r rune) rune { // as PostgreSQL compares names of encodings
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return unicode.ToUpper(r)
		}
		return -1
	}, v)
	switch plain {
	case "UTF8", "UNICODE":
		return "UTF8", nil
	case "SQLASCII":
		return "SQL_ASCII", nil
	case "LATIN1", "ISO88591", "WIN1252", "LATIN9", "EUCJP", "SJIS", "WIN1251", "KOI8R", "BIG5", "GBK", "EUCKR", "LATIN2", "WIN1250":
		return "", pgerr.New(pgerr.FeatureNotSupported, "conversion between %s and UTF8 is not supported", strings.ToUpper(v))
	}
	return "", invalidValue("client_encoding", v)
}

func checkAccessMethod(_ *Session, v string) (string, error) {
	if v != "heap" {
		return "", invalidValue("default_table_access_method", v).WithDetail("Table access method \"%s\" does not exist.", v)
	}
	return v, nil
}

func checkTextConfig(_ *Session, v string) (string, error) {
	c := textsearch.ByName(strings.TrimPrefix(v, "pg_catalog."))
	if c == nil {
		return "", invalidValue("default_text_search_config", v)
	}
	return "pg_catalog." + c.Name, nil
}

func checkDateStyle(s *Session, v string) (string, error) {
	style, order := splitDateStyle(s.setting("datestyle"))
	for word := range strings.FieldsFuncSeq(v, func(r rune) bool { return r == ',' || r == ' ' }) {
		switch w := strings.ToUpper(strings.Trim(word, `"'`)); {
		case w == "ISO" || w == "SQL":
			style = w
		case strings.HasPrefix(w, "POSTGRES"):
			style = "Postgres"
		case w == "GERMAN":
			style, order = "German", "DMY"
		case w == "MDY" || w == "US" || strings.HasPrefix(w, "NONEURO"):
			order = "MDY"
		case w == "DMY" || strings.HasPrefix(w, "EURO"):
			order = "DMY"
		case w == "YMD":
			order = "YMD"
		case w == "DEFAULT":
			style, order = "ISO", "MDY"
		default:
			return "", invalidValue("DateStyle", v).WithDetail("Unrecognized key word: \"%s\".", strings.ToLower(word))
		}
	}
	return style + ", " + order, nil
}

func splitDateStyle(v string) (style, order string) {
	style, order, _ = strings.Cut(v, ", ")
	return style, order
}

func checkTimeZone(_ *Session, v string) (string, error) {
	if _, name, err := types.LoadZone(v); err == nil {
		return name, nil
	}
	return "", invalidValue("TimeZone", v)
}

// assignFormat rebuilds the settings that the text form of values depends on. The old ones may be in use
// by rows under way, so they are replaced, not changed.
func assignFormat(s *Session, _ string) {
	f := &types.Settings{Reg: s, Resolve: s.resolveType}
	style, order := splitDateStyle(s.setting("datestyle"))
	f.DateFormat = map[string]types.DateFormat{"ISO": types.DateISO, "SQL": types.DateSQL, "Postgres": types.DatePostgres, "German": types.DateGerman}[style]
	f.DateOrder = map[string]types.DateOrder{"MDY": types.OrderMDY, "DMY": types.OrderDMY, "YMD": types.OrderYMD}[order]
	f.IntervalStyle = map[string]types.IntervalStyle{"postgres": types.IntervalPostgres, "postgres_verbose": types.IntervalPostgresVerbose,
		"sql_standard": types.IntervalSQLStandard, "iso_8601": types.IntervalISO8601}[s.setting("intervalstyle")]
	if loc, name, err := types.LoadZone(s.setting("timezone")); err == nil {
		f.TimeZone, f.TimeZoneName = loc, name
	}
	f.ExtraFloatDigits, _ = strconv.Atoi(s.setting("extra_float_digits"))
	if s.setting("bytea_output") == "escape" {
		f.ByteaOutput = types.ByteaEscape
	}
	f.TxnTimestamp = s.bctx.TxnTime
	s.format = f
	s.bctx.Settings = f
	s.plannerEpoch++ // constants in plans were read under the old settings
}

func (s *Session) milliseconds(name string) time.Duration {
	n, _ := strconv.ParseInt(s.setting(name), 10, 64)
	return time.Duration(n) * time.Millisecond
}

func assignTimeouts(s *Session, _ string) {
	s.statementTimeout = s.milliseconds("statement_timeout")
	s.lockTimeout = s.milliseconds("lock_timeout")
	s.idleTimeout = s.milliseconds("idle_session_timeout")
	s.idleTxnTimeout = s.milliseconds("idle_in_transaction_session_timeout")
	s.maxRetries, _ = strconv.Atoi(s.setting("meridian.max_retries"))
}

func assignMinMessages(s *Session, v string) {
	for i, name := range []string{"debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"} {
		if name == v {
			s.minMessages = i
		}
	}
}

// assignPlanner makes plans made under other settings unusable.
func assignPlanner(s *Session, _ string) {
	s.planCacheOff = s.setting("meridian.plan_cache") == "off"
	s.plannerEpoch++
}

func checkSearchPath(_ *Session, v string) (string, error) {
	if _, err := splitIdentifiers(v); err != nil {
		return "", invalidValue("search_path", v).WithDetail("List syntax is invalid.")
	}
	return v, nil
}

func assignSearchPath(s *Session, v string) {
	s.searchPath = nil // recomputed at the next use: "$user" depends on the role
	s.plannerEpoch++
}

// splitIdentifiers parses a comma-separated list of identifiers, folding unquoted ones.
func splitIdentifiers(v string) ([]string, error) {
	var list []string
	rest := strings.TrimSpace(v)
	if rest == "" {
		return nil, nil
	}
	for {
		var name string
		if strings.HasPrefix(rest, `"`) {
			i := 1
			for {
				j := strings.IndexByte(rest[i:], '"')
				if j < 0 {
					return nil, invalidValue("list", v)
				}
				name += rest[i : i+j]
				i += j + 1
				if !strings.HasPrefix(rest[i:], `"`) {
					break
				}
				name += `"`
				i++
			}
			rest = rest[i:]
		} else {
			i := strings.IndexAny(rest, ", \t\n\"")
			if i < 0 {
				i = len(rest)
			}
			if name = strings.ToLower(rest[:i]); name == "" {
				return nil, invalidValue("list", v)
			}
			rest = rest[i:]
		}
		list = append(list, name)
		rest = strings.TrimSpace(rest)
		if rest == "" {
			return list, nil
		}
		if rest[0] != ',' {
			return nil, invalidValue("list", v)
		}
		rest = strings.TrimSpace(rest[1:])
	}
}
