package builtin

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// The golden file holds calls of functions and casts with the answers of PostgreSQL 15: one call a line,
// fields apart by tabs, the answer last. An error is "!" with its SQLSTATE and message.
//
//	f name type=value ... answer        a function
//	c type=value type answer            an explicit cast
//	t type value answer                 input and output
//
// The lines of known.tsv are calls whose answers are known to differ, most in the last digit of a float.
// To make it again: go test -run Golden -cases FILE writes the calls as SQL beside their lines; answer them
// with any PostgreSQL 15 whose settings are the defaults with TimeZone UTC.
var casesFile = flag.String("cases", "", "write the calls to be answered to this file")

var knownFile = flag.String("known", "", "write the calls that are answered differently to this file")

var samples = map[string][]string{
	"bool":    {"t", "f"},
	"int2":    {"0", "1", "-7", "32767", "-32768"},
	"int4":    {"0", "1", "2", "3", "-5", "100", "2147483647", "-2147483648"},
	"int8":    {"0", "1", "-3", "12345678901", "9223372036854775807", "-9223372036854775808"},
	"oid":     {"0", "23", "4294967295"},
	"float4":  {"0", "-0", "1.5", "-2.25", "1e30", "3e-20", "NaN", "Infinity"},
	"float8":  {"0", "-0", "1", "0.5", "-1.5", "2.5", "100", "1e200", "1e-200", "1234567.891", "NaN", "Infinity", "-Infinity"},
	"numeric": {"0", "1", "-1", "0.00", "1.50", "-2.345", "12345678901234567890.123456789", "0.000012345", "99999", "1e20", "0.5", "10", "NaN", "Infinity", "-Infinity"},
	"text":    {"", "a", "abc", "Hello World", "  pad ", "ünïcödé", "a,b,,c", "x'y\\z", "foobarbaz", "%", "b", "123", "NULL"},
	"varchar": {"", "abc", "Hi "}, "bpchar": {"", "abc  ", "Hi"}, "name": {"abc", "pg_class"},
	"bytea":       {"\\x", "\\x00ff", "\\x414243", "\\xdeadbeef00"},
	"date":        {"2000-01-01", "2024-02-29", "1969-12-31", "0001-01-01 BC", "infinity", "-infinity", "5874897-12-31", "2020-12-31"},
	"time":        {"00:00:00", "12:34:56.789", "24:00:00", "23:59:59.999999"},
	"timetz":      {"00:00:00+00", "12:34:56.789-08", "23:59:59+05:30"},
	"timestamp":   {"2000-01-01 00:00:00", "2024-02-29 12:34:56.789012", "1900-07-04 23:59:59", "0044-03-15 10:00:00 BC", "infinity", "-infinity", "294276-12-31 23:59:59"},
	"timestamptz": {"2000-01-01 00:00:00+00", "2024-02-29 12:34:56.789012+00", "1999-12-31 23:59:59-08", "infinity", "-infinity"},
	"interval":    {"0", "1 day", "1 mon", "-1 mon +2 days 03:04:05.678", "10 years 40 days 100:00:00", "-00:00:00.000001", "3 mons -15 days"},
	"uuid":        {"00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
	"jsonb":       {"null", "true", "1.50", "\"str\"", "[]", "{}", "[1, \"a\", null, [2, 3]]", "{\"a\": 1, \"b\": {\"c\": [true, null]}, \"d\": \"x\"}", "[{\"a\": 1}, {\"b\": 2}]"},
	"json":        {"null", "1.50", "\"st\\nr\"", "[]", "{}", "[1, \"a\" ,null,[2, 3]]", "{\"b\":1, \"a\" : {\"c\":[true]}, \"b\":2}"},
	"_int4":       {"{}", "{1}", "{1,2,3}", "{3,NULL,1}", "{{1,2},{3,4}}", "[0:2]={7,8,9}"},
	"_text":       {"{}", "{a}", "{a,b,c}", "{a,NULL,\"x y\"}", "{a,1}", "{b,c}"},
	"_int8":       {"{1,2}"}, "_numeric": {"{1.5,2}"}, "_float8": {"{0.5}"},
	"bit": {"1", "0", "101", "1111"}, "varbit": {"", "1", "1010"},
	"money": {"$1.50", "-$2,000.01", "$0.00"},
	"inet":  {"10.0.0.1", "192.168.1.0/24", "::1"}, "cidr": {"10.0.0.0/8"},
	"char": {"a", "", "1"}, "regtype": {"integer"}, "xid": {"5"},
}

// poly are the concrete types that stand for polymorphic parameters.
var poly = map[types.OID][]string{
	types.OIDAnyElement: {"int4", "text"}, types.OIDAnyArray: {"_int4", "_text"}, types.OIDAnyNonArray: {"int4", "text"},
	types.OIDAnyCompatible: {"int4", "text"}, types.OIDAnyCompatibleArray: {"_int4", "_text"}, types.OIDAnyCompatibleNonArray: {"int4"},
	types.OIDAny: {"int4", "text", "bool", "numeric", "timestamp", "_int4", "jsonb"},
}

func quoteSQL(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

func sqlType(name string) string {
	if name == "char" {
		return `"char"`
	}
	if name[0] == '_' {
		return name[1:] + "[]"
	}
	return "pg_catalog." + name
}

// skipped functions depend on the clock, the server or its catalog, or promise nothing about their value.
func skipped(fn *Func) bool {
	if fn.Volatility == 'v' || fn.Kind != 'f' || fn.RetSet || len(fn.Args) == 0 || len(fn.Args) > 4 {
		return true
	}
	for _, p := range []string{"pg_", "hash", "uuid_hash", "jsonb_hash", "interval_hash", "time_hash", "timestamp_hash", "timetz_hash", "numeric_hash", "has_", "current_", "inet_", "age", "obj_desc", "col_desc", "set_config", "txid", "shobj", "to_reg", "getdatabase", "row_to", "enum", "bpchar", "varchar", "bit", "varbit", "bt", "uuid_cmp", "network_cmp", "numeric", "timestamp", "interval", "normalize", "is_normalized", "time", "make_interval", "PG_", "json_pop", "jsonb_pop", "timestamptz_in", "time_in"} {
		if strings.HasPrefix(fn.Name, p) && !strings.HasSuffix(fn.Name, "_pl_interval") && fn.Name != "timezone" {
			return true
		}
	}
	switch fn.Ret {
	case types.OIDTrigger, types.OIDCstring, types.OIDRecord, types.OIDVoid, types.OIDXML:
		return true
	}
	for _, a := range fn.Args {
		if a == types.OIDCstring || a == types.OIDRecord {
			return true
		}
	}
	return false
}

// writeCases draws calls of everything implemented.
func writeCases(t *testing.T, path string) {
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	defer w.Flush()
	r := rand.New(rand.NewPCG(15, 15))
	esc := strings.NewReplacer("\\", "\\\\", "\t", "\\t", "\n", "\\n")
	emit := func(line, sql string) {
		fmt.Fprintf(w, "%s\t%s\n", esc.Replace(strings.ReplaceAll(line, "\t", "\x1f")), esc.Replace(sql))
	}
	for name, vals := range samples {
		for _, v := range vals {
			emit("t\t"+name+"\t"+v, quoteSQL(v)+"::"+sqlType(name))
		}
		for other := range samples {
			for i, v := range vals {
				if i < 3 || r.IntN(3) == 0 {
					emit("c\t"+name+"="+v+"\t"+other, "("+quoteSQL(v)+"::"+sqlType(name)+")::"+sqlType(other))
				}
			}
		}
	}
	for _, fn := range Funcs() {
		if skipped(fn) || !Implemented(fn) {
			continue
		}
		seen := map[string]bool{}
		for range 14 {
			line, sql := "f\t"+fn.Name, fn.Name+"("
			switch fn.Name {
			case "overlaps", "position", "substring", "overlay", "trim", "extract", "interval", "time", "timestamp", "char", "bit", "numeric", "varchar":
				sql = `pg_catalog."` + fn.Name + `"(`
			}
			ok := true
			pick := r.IntN(100)
			for i, a := range fn.Args {
				name := types.ByOID(a)
				tn := ""
				if c := poly[a]; c != nil {
					tn = c[pick%min(len(c), 2)]
					if a == types.OIDAny {
						tn = c[r.IntN(len(c))]
					}
				} else if name != nil {
					tn = name.Name
				}
				vals := samples[tn]
				if vals == nil {
					ok = false
					break
				}
				v := vals[r.IntN(len(vals))]
				if strings.Contains(fn.Name, "pad") || fn.Name == "repeat" || strings.Contains(fn.Name, "array_fill") || fn.Name == "factorial" || fn.Name == "power" || fn.Name == "pow" {
					if len(v) > 4 && a != types.OIDText {
						v = "3"
						if a == types.OIDAnyArray || tn == "_int4" {
							v = "{2}"
						}
					}
				}
				if i > 0 {
					sql += ", "
				}
				line += "\t" + tn + "=" + v
				sql += quoteSQL(v) + "::" + sqlType(tn)
			}
			if !ok || seen[line] {
				continue
			}
			seen[line] = true
			emit(line, sql+")")
		}
	}
}

func goldenCtx() *Ctx { return &Ctx{Settings: types.DefaultSettings} }

func goldenArg(spec string) (types.Datum, *types.T, error) {
	name, v, _ := strings.Cut(spec, "=")
	t := types.ByInternalName(name)
	d, err := types.ParseText(v, t, nil)
	return d, t, err
}

// answer evaluates a line of the golden file.
func answer(fields []string) string {
	d, t, err := evaluate(fields)
	if err != nil {
		var e *pgerr.Error
		if errors.As(err, &e) {
			return "!" + e.Code + " " + e.Message
		}
		return "!XX000 " + err.Error()
	}
	if d.IsNull() {
		return "<NULL>"
	}
	return string(types.AppendText(nil, d, t, nil))
}

func evaluate(f []string) (types.Datum, *types.T, error) {
	ctx := goldenCtx()
	switch f[0] {
	case "t":
		t := types.ByInternalName(f[1])
		d, err := types.ParseText(f[2], t, nil)
		return d, t, err
	case "c":
		d, from, err := goldenArg(f[1])
		if err != nil {
			return d, nil, err
		}
		to := types.ByInternalName(f[2])
		c, err := ResolveCast(from, to, CastExplicit)
		if err != nil {
			return d, nil, err
		}
		d, err = c.Eval(ctx, d)
		return d, to, err
	}
	var args []types.Datum
	var ts []*types.T
	for _, spec := range f[2:] {
		d, t, err := goldenArg(spec)
		if err != nil {
			return d, nil, err
		}
		args, ts = append(args, d), append(ts, t)
	}
	call, err := ResolveFunction(f[1], ts)
	if err != nil {
		return types.Null, nil, err
	}
	for i, a := range args {
		c, err := ResolveCast(ts[i], call.Args[i], CastImplicit)
		if err != nil {
			return types.Null, nil, err
		}
		if args[i], err = c.Eval(ctx, a); err != nil {
			return types.Null, nil, err
		}
	}
	d, err := call.Eval(ctx, args)
	return d, call.Ret, err
}

func TestGolden(t *testing.T) {
	if *casesFile != "" {
		writeCases(t, *casesFile)
		return
	}
	data, err := os.ReadFile("testdata/golden.tsv")
	if err != nil {
		t.Fatal(err)
	}
	unesc := strings.NewReplacer("\\\\", "\\", "\\t", "\t", "\\n", "\n")
	bad, n := 0, 0
	var wrong []string
	known := map[string]bool{}
	if data, err := os.ReadFile("testdata/known.tsv"); err == nil {
		for line := range strings.Lines(string(data)) {
			known[strings.TrimRight(line, "\n")] = true
		}
	}
	for line := range strings.Lines(string(data)) {
		call, want, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		want = unesc.Replace(want)
		fields := strings.Split(unesc.Replace(call), "\x1f")
		n++
		if known[call] {
			continue
		}
		start := time.Now()
		got := answer(fields)
		if d := time.Since(start); d > 200*time.Millisecond {
			t.Logf("slow %v %q", d, fields)
		}
		if got != want {
			wrong = append(wrong, call)
			if bad++; bad <= 5000 {
				t.Errorf("%q\n got %s\nwant %s", fields, got, want)
			}
		}
	}
	if *knownFile != "" {
		if err := os.WriteFile(*knownFile, []byte(strings.Join(wrong, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d wrong, %d known", bad, n, len(known))
}
