package builtin

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// Version is the PostgreSQL version whose dialect and catalogs this is.
const Version = "15.0"

// VersionString is what version() returns. Clients cut it apart: first PostgreSQL and its version, then " on " and the
// platform, then the compiler and the size of a word.
func VersionString(product string) string {
	return fmt.Sprintf("PostgreSQL %s (%s) on %s-unknown-%s, compiled by %s, %d-bit", Version, product, runtime.GOARCH, runtime.GOOS, runtime.Version(), strconv.IntSize)
}

// testSession answers for a Ctx without a session.
type testSession struct{}

func (testSession) CurrentUser() string { return "postgres" }
func (testSession) SessionUser() string { return "postgres" }
func (testSession) Database() string    { return "postgres" }
func (testSession) CurrentSchemas(implicit bool) []string {
	if implicit {
		return []string{"pg_catalog", "public"}
	}
	return []string{"public"}
}
func (testSession) BackendPID() int32                                  { return 1 }
func (testSession) ServerVersion() string                              { return VersionString("Meridian") }
func (testSession) Setting(string) (string, bool)                      { return "", false }
func (testSession) SetSetting(_, value string, _ bool) (string, error) { return value, nil }
func (testSession) ListeningChannels() []string                        { return nil }
func (testSession) TxnID(bool) (uint64, bool)                          { return 1, true }

func (c *Ctx) session() Session {
	if c == nil || c.Session == nil {
		return testSession{}
	}
	return c.Session
}

// orHook prefers the hook's implementation, for functions that have a plain default here.
func orHook(fallback EvalFunc) func(*Call) (EvalFunc, error) {
	return func(call *Call) (EvalFunc, error) {
		fn := call.Func
		return func(ctx *Ctx, a []types.Datum) (types.Datum, error) {
			if ctx != nil && ctx.Hook != nil {
				if f := ctx.Hook(fn); f != nil {
					return f(ctx, a)
				}
			}
			return fallback(ctx, a)
		}, nil
	}
}

func constant(d types.Datum) EvalFunc {
	return func(*Ctx, []types.Datum) (types.Datum, error) { return d, nil }
}

func registerSystem(l library) {
	registerSnapshots(l)
	sess := func(f func(s Session) string) EvalFunc {
		return func(c *Ctx, _ []types.Datum) (types.Datum, error) { return types.NewString(f(c.session())), nil }
	}
	l.fn("pgsql_version", sess(Session.ServerVersion))
	l.fn("current_user", sess(Session.CurrentUser))
	l.fn("session_user", sess(Session.SessionUser))
	l.fn("current_database", sess(Session.Database))
	l.fn("current_schema", func(c *Ctx, _ []types.Datum) (types.Datum, error) {
		if s := c.session().CurrentSchemas(false); len(s) > 0 {
			return types.NewString(s[0]), nil
		}
		return types.Null, nil
	})
	l.fn("current_schemas", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		var out []types.Datum
		for _, s := range c.session().CurrentSchemas(a[0].Bool()) {
			out = append(out, types.NewString(s))
		}
		return types.NewArrayOf(types.Name, out), nil
	})
	l.rows("pg_listening_channels", func(c *Ctx, _ []types.Datum) (RowIter, error) {
		var out []types.Datum
		for _, name := range c.session().ListeningChannels() {
			out = append(out, types.NewString(name))
		}
		return columnList(out), nil
	})
	l.fn("pg_backend_pid", func(c *Ctx, _ []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(c.session().BackendPID())), nil
	})
	txid := func(assign bool) EvalFunc {
		return func(c *Ctx, _ []types.Datum) (types.Datum, error) {
			if id, ok := c.session().TxnID(assign); ok {
				return types.NewInt(int64(id)), nil
			}
			return types.Null, nil
		}
	}
	l.fn("pg_current_xact_id", txid(true))
	l.fn("pg_current_xact_id_if_assigned", txid(false))
	l.fn("xid8toxid", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(uint32(a[0].Int()))), nil
	})
	setting := func(c *Ctx, a []types.Datum) (types.Datum, error) {
		v, ok := c.session().Setting(a[0].Str())
		if !ok {
			if len(a) > 1 && a[1].Bool() {
				return types.Null, nil
			}
			return types.Null, pgerr.New(pgerr.UndefinedObject, "unrecognized configuration parameter \"%s\"", a[0].Str())
		}
		return types.NewString(v), nil
	}
	l.fn("show_config_by_name", setting)
	l.fn("show_config_by_name_missing_ok", setting)
	l.fn("set_config_by_name", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, pgerr.New(pgerr.NullValueNotAllowed, "SET requires parameter name")
		}
		v := ""
		if !a[1].IsNull() {
			v = a[1].Str()
		}
		return str(c.session().SetSetting(a[0].Str(), v, !a[2].IsNull() && a[2].Bool()))
	})
	l.bound("pg_typeof", func(call *Call) (EvalFunc, error) {
		return constant(types.NewInt(int64(call.Args[0].OID))), nil
	})
	l.bound("format_type", orHook(func(c *Ctx, a []types.Datum) (types.Datum, error) {
		if a[0].IsNull() {
			return types.Null, nil
		}
		t := types.ByOID(types.OID(a[0].Int()))
		if t == nil && c.settings().Resolve != nil {
			t = c.settings().Resolve(types.OID(a[0].Int()))
		}
		switch {
		case a[0].Int() == 0:
			return types.NewString("-"), nil
		case t == nil:
			return types.NewString("???"), nil
		case a[1].IsNull():
			return types.NewString(types.TypeName(t)), nil
		}
		return types.NewString(types.FormatType(t.WithTypmod(int32(a[1].Int())))), nil
	}))
	l.bound("pg_column_size", func(call *Call) (EvalFunc, error) {
		t := call.Args[0]
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if t.Size > 0 {
				return types.NewInt(int64(t.Size)), nil
			}
			n := len(types.AppendText(nil, a[0], t, nil))
			if n < 127 {
				return types.NewInt(int64(n + 1)), nil
			}
			return types.NewInt(int64(n + 4)), nil
		}, nil
	})
	l.fn("gen_random_uuid", func(*Ctx, []types.Datum) (types.Datum, error) {
		u := new([16]byte)
		if _, err := rand.Read(u[:]); err != nil {
			return types.Null, fmt.Errorf("read random bytes: %w", err)
		}
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
		return types.NewUUID(u), nil
	})
	l.fn("pg_sleep", sleep)
	l.bound("pg_num_nulls", func(call *Call) (EvalFunc, error) { return countNulls(call, true), nil })
	l.bound("pg_num_nonnulls", func(call *Call) (EvalFunc, error) { return countNulls(call, false), nil })
	// Text functions of the catalog that need no catalog.
	l.fn("parse_ident", parseIdent)
	l.fn("pg_encoding_max_length_sql", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewInt(4), nil })
	l.bound("getdatabaseencoding", orHook(constant(types.NewString("UTF8"))))
	l.bound("pg_client_encoding", orHook(constant(types.NewString("UTF8"))))
	l.bound("pg_is_in_recovery", orHook(constant(types.NewBool(false))))
	l.bound("pg_conf_load_time", orHook(func(c *Ctx, _ []types.Datum) (types.Datum, error) { return types.NewTimestampTZ(c.StmtTime), nil }))
	l.bound("pg_my_temp_schema", orHook(constant(types.NewInt(0))))
	l.bound("pg_is_other_temp_schema", orHook(constant(types.NewBool(false))))
	l.bound("inet_client_addr", orHook(constant(types.Null)))
	l.bound("inet_client_port", orHook(constant(types.Null)))
	l.bound("inet_server_addr", orHook(constant(types.Null)))
	l.bound("inet_server_port", orHook(constant(types.Null)))
	l.bound("pg_jit_available", orHook(constant(types.NewBool(false))))
	l.bound("pg_trigger_depth", orHook(constant(types.NewInt(0))))
	l.bound("pg_collation_actual_version", orHook(constant(types.Null)))
	l.bound("pg_relation_is_publishable", orHook(constant(types.NewBool(true))))
	// The void type and unknown literals have input and output of their own.
	l.fn("pg_size_pretty", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(sizePretty(a[0].Int())), nil
	})
	l.fn("pg_size_pretty_numeric", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		v, ok := types.NumericToInt64(types.NumericTrunc(a[0].Numeric(), 0))
		if !ok {
			return types.Null, errOutOfRange(types.Int8)
		}
		return types.NewString(sizePretty(v)), nil
	})
	l.bound("has_any_column_privilege", orHook(constant(types.NewBool(true))))
	for _, fn := range catalog().funcs {
		// Privileges are the catalog's; without one everybody may do everything.
		if (strings.HasPrefix(fn.Name, "has_") && strings.HasSuffix(fn.Name, "_privilege") || fn.Name == "pg_has_role") && l[fn.key()] == nil {
			l.bound(fn.key(), orHook(constant(types.NewBool(true))))
		}
		if strings.HasSuffix(fn.Name, "_is_visible") && l[fn.key()] == nil {
			l.bound(fn.key(), orHook(constant(types.NewBool(true))))
		}
		if (strings.HasSuffix(fn.Name, "obj_description") || fn.Name == "col_description") && l[fn.key()] == nil {
			l.bound(fn.key(), orHook(constant(types.Null)))
		}
	}
	// Hash functions that partitioning and applications use; the values are this database's own.
	l.bound("hash_record", func(call *Call) (EvalFunc, error) { return hashEval(call.Args[0]), nil })
	registerEnum(l)
}

func hashEval(t *types.T) EvalFunc {
	return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(int32(stableHash(t, 0, a[0])))), nil
	}
}

func sleep(c *Ctx, a []types.Datum) (types.Datum, error) {
	ctx := c.Context
	if ctx == nil {
		ctx = context.Background()
	}
	timer := time.NewTimer(time.Duration(max(a[0].Float(), 0) * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return types.NewString(""), nil
	case <-ctx.Done():
		return types.Null, context.Cause(ctx)
	}
}

func countNulls(call *Call, nulls bool) EvalFunc {
	explicit, ts := call.VariadicCall, call.Args
	return func(c *Ctx, a []types.Datum) (types.Datum, error) {
		vals, _ := c.variadic(a, ts, 0, explicit)
		if vals == nil && explicit {
			return types.Null, nil
		}
		n := 0
		for _, v := range vals {
			if v.IsNull() == nulls {
				n++
			}
		}
		return types.NewInt(int64(n)), nil
	}
}

func sizePretty(n int64) string {
	units := []string{"bytes", "kB", "MB", "GB", "TB", "PB"}
	limit := int64(10 * 1024)
	abs := func(v int64) int64 { return max(v, -v) }
	if abs(n) < limit {
		return fmt.Sprintf("%d bytes", n)
	}
	half := func(v int64) int64 { // divides by two, rounding away from zero
		if v < 0 {
			return (v - 1) / 2
		}
		return (v + 1) / 2
	}
	n >>= 9
	for _, u := range units[1 : len(units)-1] {
		if abs(n) < 20*1024-1 {
			return fmt.Sprintf("%d %s", half(n), u)
		}
		n >>= 10
	}
	return fmt.Sprintf("%d PB", half(n))
}

func parseIdent(_ *Ctx, a []types.Datum) (types.Datum, error) {
	s, strict := a[0].Str(), a[1].Bool()
	orig := s
	bad := func(detail string) (types.Datum, error) {
		e := pgerr.New(pgerr.InvalidParameterValue, "string is not a valid identifier: \"%s\"", orig)
		e.Detail = detail
		return types.Null, e
	}
	space := func() { s = strings.TrimLeft(s, " \t\n\r\f\v") }
	isStart := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80 }
	var out []types.Datum
	space()
	for after := false; ; after = true {
		switch {
		case strings.HasPrefix(s, `"`):
			var b strings.Builder
			i := 1
			for {
				j := strings.IndexByte(s[i:], '"')
				if j < 0 {
					return bad("String has unclosed double quotes.")
				}
				b.WriteString(s[i : i+j])
				i += j + 1
				if i < len(s) && s[i] == '"' {
					b.WriteByte('"')
					i++
					continue
				}
				break
			}
			if b.Len() == 0 {
				return bad("Quoted identifier must not be empty.")
			}
			s = s[i:]
			out = append(out, types.NewString(b.String()))
		case s != "" && isStart(s[0]):
			i := 0
			for i < len(s) && (isStart(s[i]) || s[i] >= '0' && s[i] <= '9' || s[i] == '$') {
				i++
			}
			out = append(out, types.NewString(strings.ToLower(s[:i])))
			s = s[i:]
		case strings.HasPrefix(s, "."):
			return bad("No valid identifier before \".\".")
		case after:
			return bad("No valid identifier after \".\".")
		default:
			return bad("")
		}
		space()
		if strings.HasPrefix(s, ".") {
			s = s[1:]
			space()
			continue
		}
		if s != "" && strict {
			return bad("")
		}
		return types.NewArrayOf(types.Text, out), nil
	}
}

func registerEnum(l library) {
	label := func(t *types.T, i int) (types.Datum, error) {
		if t.Def == nil || len(t.Def.Labels) == 0 {
			return types.Null, pgerr.New(pgerr.ObjectNotInPrerequisiteState, "enum %s contains no values", types.TypeName(t))
		}
		return types.NewString(t.Def.Labels[(i+len(t.Def.Labels))%len(t.Def.Labels)]), nil
	}
	l.bound("enum_first", func(c *Call) (EvalFunc, error) {
		t := c.Args[0].BaseType()
		return func(*Ctx, []types.Datum) (types.Datum, error) { return label(t, 0) }, nil
	})
	l.bound("enum_last", func(c *Call) (EvalFunc, error) {
		t := c.Args[0].BaseType()
		return func(*Ctx, []types.Datum) (types.Datum, error) { return label(t, -1) }, nil
	})
	rng := func(c *Call) (EvalFunc, error) {
		t := c.Args[0].BaseType()
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if t.Def == nil {
				return types.Null, pgerr.New(pgerr.DatatypeMismatch, "could not determine actual enum type")
			}
			var out []types.Datum
			for _, s := range t.Def.Labels {
				d := types.NewString(s)
				if len(a) == 2 && (!a[0].IsNull() && types.Compare(t, d, a[0]) < 0 || !a[1].IsNull() && types.Compare(t, d, a[1]) > 0) {
					continue
				}
				out = append(out, d)
			}
			return types.NewArrayOf(t, out), nil
		}, nil
	}
	l.bound("enum_range_bounds", rng)
	l.bound("enum_range_all", rng)
}
