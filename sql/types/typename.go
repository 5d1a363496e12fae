package types

import (
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Field bits of an interval's type modifier, PostgreSQL's INTERVAL_MASK.
const (
	maskMonth  = 1 << 1
	maskYear   = 1 << 2
	maskDay    = 1 << 3
	maskHour   = 1 << 10
	maskMinute = 1 << 11
	maskSecond = 1 << 12

	intervalFullRange     = 0x7FFF
	intervalFullPrecision = 0xFFFF
)

// formatNames are the SQL spellings that differ from the internal name.
var formatNames = map[OID]string{
	OIDBool: "boolean", OIDBPChar: "character", OIDVarchar: "character varying", OIDInt2: "smallint",
	OIDInt4: "integer", OIDInt8: "bigint", OIDFloat4: "real", OIDFloat8: "double precision",
	OIDTime: "time without time zone", OIDTimeTZ: "time with time zone",
	OIDTimestamp: "timestamp without time zone", OIDTimestampTZ: "timestamp with time zone",
	OIDVarBit: "bit varying", OIDChar: `"char"`, OIDAny: `"any"`,
}

// FormatType prints a type as format_type(oid, typmod) does: "numeric(10,2)", "integer[]".
func FormatType(t *T) string { return formatType(t, true) }

// TypeName prints a type without its modifier, as error messages do.
func TypeName(t *T) string { return formatType(t, false) }

// TypeNameOID prints a built-in type's name, the number itself for an unknown OID.
func TypeNameOID(oid OID) string {
	if t := ByOID(oid); t != nil {
		return TypeName(t)
	}
	return strconv.FormatUint(uint64(oid), 10)
}

func formatType(t *T, withMod bool) string {
	if t.IsArray() && t.Class != 'd' {
		return formatType(t.Elem, withMod) + "[]"
	}
	if t.Schema != "" {
		return QuoteIdent(t.Name)
	}
	m := t.Typmod
	if !withMod {
		m = -1
	}
	switch t.OID {
	case OIDBPChar:
		if m < 0 {
			if withMod {
				return "bpchar" // a plain "character" would mean character(1)
			}
			return "character"
		}
	case OIDBit:
		if m < 0 && withMod {
			return `"bit"`
		}
	}
	name, ok := formatNames[t.OID]
	if !ok {
		name = t.Name
	}
	if m < 0 {
		return name
	}
	switch t.OID {
	case OIDBool, OIDInt2, OIDInt4, OIDInt8, OIDFloat4, OIDFloat8:
		return name
	case OIDTime, OIDTimeTZ, OIDTimestamp, OIDTimestampTZ:
		first, rest, _ := strings.Cut(name, " ")
		return first + typmodOut(t.OID, m) + " " + rest
	}
	return name + typmodOut(t.OID, m)
}

// TypmodOut prints a type modifier with its parentheses, "" for none.
func TypmodOut(t *T) string {
	if t.Typmod < 0 {
		return ""
	}
	if t.IsArray() {
		return typmodOut(t.Elem.OID, t.Typmod)
	}
	return typmodOut(t.OID, t.Typmod)
}

func typmodOut(oid OID, m int32) string {
	switch oid {
	case OIDBPChar, OIDVarchar:
		return "(" + strconv.Itoa(int(m-4)) + ")"
	case OIDNumeric:
		p, s := NumericTypmod(m)
		return "(" + strconv.Itoa(p) + "," + strconv.Itoa(s) + ")"
	case OIDTime, OIDTimeTZ, OIDTimestamp, OIDTimestampTZ, OIDBit, OIDVarBit:
		return "(" + strconv.Itoa(int(m)) + ")"
	case OIDInterval:
		s := ""
		switch m >> 16 & 0x7FFF {
		case maskYear:
			s = " year"
		case maskMonth:
			s = " month"
		case maskDay:
			s = " day"
		case maskHour:
			s = " hour"
		case maskMinute:
			s = " minute"
		case maskSecond:
			s = " second"
		case maskYear | maskMonth:
			s = " year to month"
		case maskDay | maskHour:
			s = " day to hour"
		case maskDay | maskHour | maskMinute:
			s = " day to minute"
		case maskDay | maskHour | maskMinute | maskSecond:
			s = " day to second"
		case maskHour | maskMinute:
			s = " hour to minute"
		case maskHour | maskMinute | maskSecond:
			s = " hour to second"
		case maskMinute | maskSecond:
			s = " minute to second"
		}
		if p := m & 0xFFFF; p != intervalFullPrecision {
			s += "(" + strconv.Itoa(int(p)) + ")"
		}
		return s
	}
	return "(" + strconv.Itoa(int(m)) + ")"
}

// NumericTypmod splits numeric's modifier into precision and scale; the scale may be negative.
func NumericTypmod(m int32) (precision, scale int) {
	m -= 4
	s := int(m & 0x7ff)
	return int(m >> 16 & 0xffff), (s ^ 1024) - 1024
}

// TypmodIn makes the modifier that a type name with these arguments has: varchar(10), numeric(10,2). For
// interval the arguments are the field mask and the precision, as the grammar passes them.
func TypmodIn(t *T, args []int32) (int32, error) {
	if t.IsArray() {
		return TypmodIn(t.Elem, args)
	}
	bad := pgerr.New(pgerr.InvalidParameterValue, "invalid type modifier")
	switch t.OID {
	case OIDBPChar, OIDVarchar:
		name := "char"
		if t.OID == OIDVarchar {
			name = "varchar"
		}
		if len(args) != 1 {
			return -1, bad
		}
		if args[0] < 1 {
			return -1, pgerr.New(pgerr.InvalidParameterValue, "length for type %s must be at least 1", name)
		}
		if args[0] > 10485760 {
			return -1, pgerr.New(pgerr.InvalidParameterValue, "length for type %s cannot exceed %d", name, 10485760)
		}
		return args[0] + 4, nil
	case OIDBit, OIDVarBit:
		name := "bit"
		if t.OID == OIDVarBit {
			name = "varbit"
		}
		if len(args) != 1 {
			return -1, bad
		}
		if args[0] < 1 {
			return -1, pgerr.New(pgerr.InvalidParameterValue, "length for type %s must be at least 1", name)
		}
		if args[0] > 83886080 {
			return -1, pgerr.New(pgerr.InvalidParameterValue, "length for type %s cannot exceed %d", name, 83886080)
		}
		return args[0], nil
	case OIDNumeric:
		if len(args) < 1 || len(args) > 2 {
			return -1, pgerr.New(pgerr.InvalidParameterValue, "invalid NUMERIC type modifier")
		}
		if args[0] < 1 || args[0] > 1000 {
			return -1, pgerr.New(pgerr.InvalidParameterValue, "NUMERIC precision %d must be between 1 and %d", args[0], 1000)
		}
		scale := int32(0)
		if len(args) == 2 {
			scale = args[1]
			if scale < -1000 || scale > 1000 {
				return -1, pgerr.New(pgerr.InvalidParameterValue, "NUMERIC scale %d must be between %d and %d", scale, -1000, 1000)
			}
		}
		return (args[0]<<16 | scale&0x7ff) + 4, nil
	case OIDTime, OIDTimeTZ, OIDTimestamp, OIDTimestampTZ:
		if len(args) != 1 {
			return -1, bad
		}
		if args[0] < 0 {
			name, tz := "TIMESTAMP", ""
			if t.OID == OIDTime || t.OID == OIDTimeTZ {
				name = "TIME"
			}
			if t.OID == OIDTimeTZ || t.OID == OIDTimestampTZ {
				tz = " WITH TIME ZONE"
			}
			return -1, pgerr.New(pgerr.InvalidParameterValue, "%s(%d)%s precision must not be negative", name, args[0], tz)
		}
		return min(args[0], 6), nil
	case OIDInterval:
		switch len(args) {
		case 1:
			return args[0]<<16 | intervalFullPrecision, nil
		case 2:
			if args[1] < 0 {
				return -1, pgerr.New(pgerr.InvalidParameterValue, "INTERVAL(%d) precision must not be negative", args[1])
			}
			return args[0]<<16 | min(args[1], 6), nil
		}
		return -1, pgerr.New(pgerr.InvalidParameterValue, "invalid INTERVAL type modifier")
	}
	return -1, pgerr.New(pgerr.SyntaxError, "type modifier is not allowed for type \"%s\"", t.Name)
}

// sqlNames are the multi-word and alias spellings that the grammar knows.
var sqlNames = map[string]OID{
	"boolean": OIDBool, "smallint": OIDInt2, "integer": OIDInt4, "int": OIDInt4, "bigint": OIDInt8,
	"real": OIDFloat4, "double precision": OIDFloat8, "decimal": OIDNumeric, "dec": OIDNumeric,
	"character varying": OIDVarchar, "char varying": OIDVarchar, "character": OIDBPChar, "char": OIDBPChar,
	"nchar": OIDBPChar, "national character": OIDBPChar, "time without time zone": OIDTime,
	"time with time zone": OIDTimeTZ, "timestamp without time zone": OIDTimestamp,
	"timestamp with time zone": OIDTimestampTZ, "bit varying": OIDVarBit, "float": OIDFloat8,
	`"char"`: OIDChar, `"any"`: OIDAny, `"bit"`: OIDBit,
}

// ByName finds a built-in type by any unquoted SQL spelling without modifier ("integer", "int4", "double
// precision"), nil if there is none. Serial types are for DDL to expand.
func ByName(name string) *T {
	if t := ByInternalName(name); t != nil && name != "char" && name != "bit" {
		return t
	}
	if oid, ok := sqlNames[strings.ToLower(name)]; ok {
		return ByOID(oid)
	}
	return ByInternalName(strings.ToLower(name))
}

// ErrUndefinedType is the error for a type name that does not exist.
func ErrUndefinedType(name string) error {
	return pgerr.New(pgerr.UndefinedObject, "type \"%s\" does not exist", name)
}

// ParseTypeName reads a built-in type with modifier and array bounds as a user writes it, for regtype
// input and for functions that take a type's name: "numeric(10, 2)[]", "timestamp(3) with time zone".
func ParseTypeName(s string) (*T, error) {
	orig := s
	s = strings.TrimSpace(s)
	arrays := 0
	for strings.HasSuffix(s, "]") {
		i := strings.LastIndexByte(s, '[')
		if i < 0 {
			return nil, ErrUndefinedType(orig)
		}
		s = strings.TrimSpace(s[:i])
		arrays++
	}
	var args []int32
	if i := strings.IndexByte(s, '('); i >= 0 {
		j := strings.IndexByte(s, ')')
		if j < i {
			return nil, ErrUndefinedType(orig)
		}
		for a := range strings.SplitSeq(s[i+1:j], ",") {
			n, err := strconv.ParseInt(strings.TrimSpace(a), 10, 32)
			if err != nil {
				return nil, pgerr.New(pgerr.InvalidParameterValue, "invalid type modifier")
			}
			args = append(args, int32(n))
		}
		s = strings.TrimSpace(s[:i]) + s[j+1:]
	}
	s = strings.TrimPrefix(s, "pg_catalog.")
	name := strings.Join(strings.Fields(s), " ")
	t := ByName(name)
	if t == nil && len(name) > 2 && name[0] == '"' && name[len(name)-1] == '"' {
		t = ByInternalName(name[1 : len(name)-1])
	}
	if t == nil {
		return nil, ErrUndefinedType(orig)
	}
	switch {
	case args != nil:
		if t.OID == OIDInterval && len(args) == 1 {
			args = []int32{intervalFullRange, args[0]}
		}
		m, err := TypmodIn(t, args)
		if err != nil {
			return nil, err
		}
		t = t.WithTypmod(m)
	case t.OID == OIDBPChar && !strings.EqualFold(name, "bpchar"):
		t = t.WithTypmod(5) // character alone is character(1)
	}
	if arrays > 0 {
		if t = ArrayOf(t); t == nil {
			return nil, ErrUndefinedType(orig)
		}
	}
	return t, nil
}

// QuoteIdent quotes an identifier if it needs it. Reserved words are left to the deparser, which knows
// them.
func QuoteIdent(s string) string {
	plain := s != ""
	for i := 0; i < len(s) && plain; i++ {
		c := s[i]
		plain = c == '_' || c >= 'a' && c <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '$')
	}
	if plain {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}
