package types

import (
	"strings"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// maxBitLength is the longest bit(n).
const maxBitLength = 83886080

// maxCharLength is the longest char(n) and varchar(n).
const maxCharLength = 10485760

// CoerceTypmod applies t's modifier to d: length limits, numeric scale, time precision. An explicit cast
// truncates strings where an assignment fails.
func CoerceTypmod(d Datum, t *T, explicit bool) (Datum, error) {
	if t.Typmod < 0 || d.kind == KindNull {
		return d, nil
	}
	switch t.OID {
	case OIDVarchar:
		n := int(t.Typmod - 4)
		if int(d.n) <= n {
			return d, nil
		}
		s, err := fitString(d.Str(), n, explicit, "character varying")
		return NewString(s), err
	case OIDBPChar:
		n := int(t.Typmod - 4)
		s := d.Str()
		if n > maxCharLength {
			return Null, pgerr.New(pgerr.ProgramLimitExceeded, "invalid memory alloc request size %d", n)
		}
		if c := utf8.RuneCountInString(s); c < n {
			return NewString(s + strings.Repeat(" ", n-c)), nil
		} else if c == n {
			return d, nil
		}
		s, err := fitString(s, n, explicit, "character")
		return NewString(s), err
	case OIDNumeric:
		if d.p == nil && fitsTypmod(d, t.Typmod) {
			return d, nil
		}
		num := d.Numeric()
		r, err := ApplyNumericTypmod(num, t.Typmod)
		if err != nil || r == num {
			return d, err
		}
		return NewNumeric(r), nil
	case OIDTime:
		return NewTime(roundMicros(d.n, int(t.Typmod))), nil
	case OIDTimeTZ:
		z := *d.TimeTZ()
		z.Micros = roundMicros(z.Micros, int(t.Typmod))
		return NewTimeTZ(&z), nil
	case OIDTimestamp, OIDTimestampTZ:
		if IsInfinite(d.n) {
			return d, nil
		}
		return Datum{kind: d.kind, n: roundMicros(d.n, int(t.Typmod))}, nil
	case OIDInterval:
		return NewInterval(ApplyIntervalTypmod(d.Interval(), t.Typmod)), nil
	case OIDBit:
		s, n := d.Str(), int(t.Typmod)
		switch {
		case n > maxBitLength:
			return Null, pgerr.New(pgerr.ProgramLimitExceeded, "bit string length exceeds the maximum allowed (%d)", maxBitLength)
		case len(s) == n:
			return d, nil
		case !explicit:
			return Null, pgerr.New(pgerr.StringDataLengthMismatch, "bit string length %d does not match type bit(%d)", len(s), n)
		case len(s) > n:
			return NewString(s[:n]), nil
		}
		return NewString(s + strings.Repeat("0", n-len(s))), nil
	case OIDVarBit:
		s, n := d.Str(), int(t.Typmod)
		if len(s) <= n {
			return d, nil
		}
		if !explicit {
			return Null, pgerr.New(pgerr.StringDataRightTruncation, "bit string too long for type bit varying(%d)", n)
		}
		return NewString(s[:n]), nil
	}
	if t.Kind == KindArray && t.Elem != nil {
		src := d.Array()
		out := &Array{Elem: src.Elem, Dims: src.Dims, Elems: make([]Datum, len(src.Elems))}
		elem := t.Elem.WithTypmod(t.Typmod)
		for i, e := range src.Elems {
			var err error
			if out.Elems[i], err = CoerceTypmod(e, elem, explicit); err != nil {
				return Null, err
			}
		}
		return NewArray(out), nil
	}
	return d, nil
}

// fitString cuts s to n characters; beyond them an assignment only forgives spaces.
func fitString(s string, n int, explicit bool, name string) (string, error) {
	end, chars := 0, 0
	for end < len(s) && chars < n {
		_, w := utf8.DecodeRuneInString(s[end:])
		end += w
		chars++
	}
	if end == len(s) {
		return s, nil
	}
	if !explicit && strings.Trim(s[end:], " ") != "" {
		return "", pgerr.New(pgerr.StringDataRightTruncation, "value too long for type %s(%d)", name, n)
	}
	return s[:end], nil
}
