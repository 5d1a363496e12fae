package types

// The four directions of I/O. t may carry a modifier, which ParseText and ParseBinary apply as an
// assignment would; s may be nil for DefaultSettings.

// AppendText appends d, a value of type t and not NULL, in PostgreSQL's text format.
func AppendText(buf []byte, d Datum, t *T, s *Settings) []byte {
	return appendText(buf, d, t, s.orDefault())
}

// ParseText reads a value of type t from its text format. Errors are *pgerr.Error.
func ParseText(text string, t *T, s *Settings) (Datum, error) {
	d, err := parseText(text, t, s.orDefault())
	if err != nil || t.Typmod < 0 {
		return d, err
	}
	return CoerceTypmod(d, t, false)
}

// AppendBinary appends d, a value of type t and not NULL, in PostgreSQL's binary format.
func AppendBinary(buf []byte, d Datum, t *T, s *Settings) ([]byte, error) {
	return appendBinary(buf, d, t, s.orDefault())
}

// ParseBinary reads a value of type t from its binary format. The datum does not alias data.
func ParseBinary(data []byte, t *T, s *Settings) (Datum, error) {
	d, err := parseBinary(data, t, s.orDefault())
	if err != nil || t.Typmod < 0 {
		return d, err
	}
	return CoerceTypmod(d, t, false)
}
