package types

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
)

func mustType(t *testing.T, name string) *T {
	t.Helper()
	ty, err := ParseTypeName(name)
	if err != nil {
		t.Fatal(err)
	}
	return ty
}

// Text input and output, with PostgreSQL's errors. The golden file of sql/builtin covers many more values.
func TestText(t *testing.T) {
	for _, c := range []struct{ typ, in, out string }{
		{"integer", " 42 ", "42"}, {"integer", "abc", `22P02 invalid input syntax for type integer: "abc"`},
		{"integer", "2147483648", `22003 value "2147483648" is out of range for type integer`},
		{"bigint", "-9223372036854775808", "-9223372036854775808"},
		{"numeric", "1.50e2", "150"}, {"numeric(5,2)", "123.456", "123.46"}, {"numeric(5,2)", "1234.5", "22003 numeric field overflow"},
		{"numeric", "1e-5", "0.00001"}, {"float8", "1e15", "1e+15"}, {"float8", "123456789012345", "123456789012345"}, {"float8", "0.1", "0.1"},
		{"float8", "1e400", `22003 "1e400" is out of range for type double precision`}, {"float4", "1234567", "1.234567e+06"},
		{"boolean", "of", "f"}, {"boolean", "maybe", `22P02 invalid input syntax for type boolean: "maybe"`},
		{"varchar(3)", "abc  ", "abc"}, {"varchar(3)", "abcd", "22001 value too long for type character varying(3)"}, {"char(4)", "ab", "ab  "},
		{"bytea", `\x4142`, `\x4142`}, {"bytea", `a\\b\001`, `\x615c6201`},
		{"date", "2024-02-30", `22008 date/time field value out of range: "2024-02-30"`}, {"date", "January 8, 1999", "1999-01-08"},
		{"date", "0044-03-15 BC", "0044-03-15 BC"}, {"date", "not a date", `22007 invalid input syntax for type date: "not a date"`},
		{"time", "3:04:05.6 pm", "15:04:05.6"}, {"timetz", "04:05:06-08:00", "04:05:06-08"},
		{"timestamp", "Mon Feb 10 17:32:01.4 1997", "1997-02-10 17:32:01.4"}, {"timestamp", "20010214T173201", "2001-02-14 17:32:01"},
		{"timestamptz", "2024-01-01 12:00:00+02", "2024-01-01 10:00:00+00"}, {"timestamptz", "infinity", "infinity"},
		{"timestamptz", "2024-07-01 12:00 America/New_York", "2024-07-01 16:00:00+00"},
		{"interval", "1 year 2 mons -3 days 04:05:06.789", "1 year 2 mons -3 days +04:05:06.789"}, {"interval", "P1Y2M3DT4H5M6S", "1 year 2 mons 3 days 04:05:06"},
		{"uuid", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"jsonb", `{"bb":1,"a":[1,2.0,"x"],"a":null}`, `{"a": null, "bb": 1}`}, {"jsonb", "{bad", "22P02 invalid input syntax for type json"},
		{"integer[]", "{1,NULL,3}", "{1,NULL,3}"}, {"integer[]", "[2:3]={1,2}", "[2:3]={1,2}"}, {"integer[]", "{1,2", `22P02 malformed array literal: "{1,2"`},
		{"text[]", `{a,"b c","",NULL,"NULL"}`, `{a,"b c","",NULL,"NULL"}`}, {"inet", "192.168.1.5/24", "192.168.1.5/24"}, {"bit(3)", "101", "101"},
	} {
		ty := mustType(t, c.typ)
		d, err := ParseText(c.in, ty, nil)
		got := ""
		if err == nil {
			got = string(AppendText(nil, d, ty, nil))
		} else {
			var e *pgerr.Error
			if !errors.As(err, &e) {
				t.Errorf("%s %q: %v is no *pgerr.Error", c.typ, c.in, err)
				continue
			}
			got = e.Code + " " + e.Message
		}
		if got != c.out {
			t.Errorf("%s %q: got %s, want %s", c.typ, c.in, got, c.out)
		}
	}
}

// What AppendBinary writes ParseBinary reads back, and cut-off data is an error, never a panic.
func TestBinaryRoundTrip(t *testing.T) {
	for _, c := range [][2]string{{"boolean", "t"}, {"smallint", "-5"}, {"integer", "7"}, {"bigint", "-1"}, {"real", "1.5"}, {"float8", "-0.25"},
		{"numeric", "0"}, {"numeric", "12345678901234567890.00001"}, {"numeric", "-0.00010"}, {"numeric", "10000"}, {"numeric", "NaN"}, {"numeric", "-Infinity"},
		{"text", "héllo"}, {"bytea", `\x00ff`}, {"date", "1999-01-08"}, {"date", "-infinity"}, {"time", "12:00:00.000001"}, {"timetz", "12:00:00+05:30"},
		{"timestamp", "2024-02-29 01:02:03"}, {"timestamptz", "infinity"}, {"interval", "1 mon 2 days 03:04:05"}, {"uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"jsonb", `{"a": [1, null]}`}, {"integer[]", "{{1,2},{3,NULL}}"}, {"text[]", "{}"}, {"inet", "::1"}, {"macaddr", "08:00:2b:01:02:03"}, {"bit varying", "10110"}} {
		ty := mustType(t, c[0])
		d, err := ParseText(c[1], ty, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := AppendBinary(nil, d, ty, nil)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseBinary(b, ty, nil)
		if err != nil {
			t.Errorf("%v: %v", c, err)
			continue
		}
		if got := string(AppendText(nil, back, ty, nil)); got != c[1] {
			t.Errorf("%v came back as %s", c, got)
		}
		for n := range b {
			_, _ = ParseBinary(b[:n], ty, nil)
		}
	}
}

// A local time that a change of the clocks skips or repeats is read as PostgreSQL reads it.
func TestLocalTimeAtClockChange(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	s := *DefaultSettings
	s.TimeZone = berlin
	for in, want := range map[string]string{
		"2024-03-31 02:30:00": "2024-03-31 03:30:00+02", // skipped: the offset before
		"2024-10-27 02:30:00": "2024-10-27 02:30:00+01", // repeated: the offset after
		"2024-07-01 00:00:00": "2024-07-01 00:00:00+02",
	} {
		d, err := ParseText(in, TimestampTZ, &s)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(AppendText(nil, d, TimestampTZ, &s)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestFormatType(t *testing.T) {
	for in, want := range map[string]string{"int": "integer", "varchar(10)": "character varying(10)", "numeric(10,2)[]": "numeric(10,2)[]",
		"timestamp(3) with time zone": "timestamp(3) with time zone", "char": "character(1)", "bpchar": "bpchar", `"char"`: `"char"`} {
		if got := FormatType(mustType(t, in)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	var all []*T
	for _, ty := range All() {
		if ty.Class == 'b' {
			all = append(all, ty)
		}
	}
	for _, s := range []string{"1", "{1,2}", "2024-01-01 10:00", "1 day", `{"a":1}`, "P1D", "[1:2]={1,2}", "J2451187", "1e5", "\\x00", "now", "04:05 PST"} {
		f.Add(uint16(3), []byte(s))
	}
	f.Fuzz(func(t *testing.T, which uint16, data []byte) {
		ty := all[int(which)%len(all)]
		if d, err := ParseText(string(data), ty, nil); err == nil {
			AppendText(nil, d, ty, nil)
			Hash(ty, 0, d)
			Compare(ty, d, d)
		}
		if d, err := ParseBinary(data, ty, nil); err == nil {
			AppendText(nil, d, ty, nil)
		}
	})
}

// Equal numerics hash equally whatever their scale and size.
func TestNumericHash(t *testing.T) {
	for _, pair := range [][2]string{{"1", "1.000"}, {"0", "0.00"}, {"100", "1e2"}, {"12345678901234567890123.50", "12345678901234567890123.5"},
		{"100000000000000000000000000", "1e26"}, {"-2.50", "-2.5"}} {
		a, _ := ParseText(pair[0], Numeric, nil)
		b, _ := ParseText(pair[1], Numeric, nil)
		if Hash(Numeric, 1, a) != Hash(Numeric, 1, b) {
			t.Errorf("%v hash apart", pair)
		}
	}
}

// TestShapeForms: what is written of a shape is read again, in both formats, whatever its numbers are.
func TestShapeForms(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, s := range []*Shape{
		{OID: OIDPoint, F: []float64{nan, -inf}}, {OID: OIDLseg, F: []float64{1, 2, inf, 1e-300}}, {OID: OIDBox, F: []float64{3, 4, 1, 2}},
		{OID: OIDPath, F: []float64{0, 0, 1, 1}, Open: true}, {OID: OIDPath, F: []float64{0.1, 0}}, {OID: OIDPolygon, F: []float64{0, 0, 1, 1, 2, 0}},
		{OID: OIDLine, F: []float64{1, 2, nan}}, {OID: OIDCircle, F: []float64{0, 0, inf}},
	} {
		typ, d := ByOID(s.OID), NewShape(s)
		if again := NewShape(ShapeOf(d, s.OID)); again.Str() != d.Str() {
			t.Errorf("%s is read as %s", d.Str(), again.Str())
		}
		b, err := AppendBinary(nil, d, typ, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseBinary(b, typ, nil)
		if err != nil || again.Str() != d.Str() {
			t.Errorf("%s comes back in binary as %v, %v", d.Str(), again, err)
		}
		for n := range b {
			if _, err := ParseBinary(b[:n], typ, nil); err == nil {
				t.Errorf("%s: %d of %d bytes are taken", d.Str(), n, len(b))
			}
		}
	}
	ShapeOf(NewShape(&Shape{OID: OIDCircle, F: []float64{0, 0, -1}}), OIDCircle)
}
