package types

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// The lesser types: money and pg_lsn are integers, bit strings, network and MAC addresses live as their
// canonical text.

func appendLSN(buf []byte, v uint64) []byte { return fmt.Appendf(buf, "%X/%X", v>>32, uint32(v)) }

func parseLSN(text string, t *T) (Datum, error) {
	hi, lo, ok := strings.Cut(text, "/")
	h, err1 := strconv.ParseUint(hi, 16, 32)
	l, err2 := strconv.ParseUint(lo, 16, 32)
	if !ok || err1 != nil || err2 != nil {
		return Null, badInput(t, text)
	}
	return NewInt(int64(h<<32 | l)), nil
}

func appendMoney(buf []byte, cents int64) []byte {
	u := uint64(cents)
	if cents < 0 {
		buf = append(buf, '-')
		u = -u
	}
	buf = append(buf, '$')
	whole := strconv.FormatUint(u/100, 10)
	for i, c := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, byte(c))
	}
	return fmt.Appendf(buf, ".%02d", u%100)
}

func parseMoney(text string, t *T) (Datum, error) {
	s := trimSpace(text)
	neg := false
	if strings.HasPrefix(s, "(") && strings.HasSuffix(s, ")") {
		neg, s = true, s[1:len(s)-1]
	}
	if strings.HasPrefix(s, "-") {
		neg, s = true, s[1:]
	}
	s = strings.TrimPrefix(strings.TrimPrefix(s, "$"), "-")
	s = strings.ReplaceAll(s, ",", "")
	if s == "" {
		s = "0"
	}
	n, err := ParseNumeric(s)
	if err != nil || strings.ContainsAny(s, "nNeE") {
		return Null, badInput(t, text)
	}
	n, _ = NumericMul(NumericRound(n, 2), NumericFromInt(100))
	v, ok := NumericToInt64(n)
	if !ok {
		return Null, pgerr.New(pgerr.NumericValueOutOfRange, "value \"%s\" is out of range for type money", text)
	}
	if neg {
		v = -v
	}
	return NewInt(v), nil
}

func parseBits(text string) (Datum, error) {
	if text == "" {
		return NewString(""), nil
	}
	switch text[0] {
	case 'b', 'B':
		text = text[1:]
	case 'x', 'X':
		var b strings.Builder
		for _, c := range text[1:] {
			h, ok := byte(0), false
			if c < 0x80 {
				h, ok = hexDigit(byte(c))
			}
			if !ok {
				return Null, pgerr.New(pgerr.InvalidTextRepresentation, "\"%c\" is not a valid hexadecimal digit", c)
			}
			fmt.Fprintf(&b, "%04b", h)
		}
		return NewString(b.String()), nil
	}
	for _, c := range text {
		if c != '0' && c != '1' {
			return Null, pgerr.New(pgerr.InvalidTextRepresentation, "\"%c\" is not a valid binary digit", c)
		}
	}
	return NewString(text), nil
}

func parseInet(text string, t *T) (Datum, error) {
	addr, bitsText, hasBits := strings.Cut(text, "/")
	if t.OID == OIDCidr {
		for strings.Count(addr, ".") < 3 && !strings.Contains(addr, ":") && addr != "" {
			addr += ".0"
		}
	}
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" {
		return Null, badInput(t, text)
	}
	bits := a.BitLen()
	if hasBits {
		n, err := strconv.Atoi(bitsText)
		if err != nil || n < 0 || n > a.BitLen() {
			return Null, badInput(t, text)
		}
		bits = n
	}
	if t.OID == OIDCidr {
		if !hasBits && a.Is4() {
			bits = 8 * (strings.Count(text, ".") + 1)
		}
		p := netip.PrefixFrom(a, bits)
		if p.Masked().Addr() != a {
			return Null, pgerr.New(pgerr.InvalidTextRepresentation, "invalid cidr value: \"%s\"", text).
				WithDetail("Value has bits set to right of mask.")
		}
		return NewString(p.String()), nil
	}
	if bits == a.BitLen() {
		return NewString(a.String()), nil
	}
	return NewString(netip.PrefixFrom(a, bits).String()), nil
}

func parseMacaddr(text string, t *T) (Datum, error) {
	var b []byte
	s := trimSpace(text)
	hexes := strings.Map(func(r rune) rune {
		if r == ':' || r == '-' || r == '.' {
			return -1
		}
		return r
	}, s)
	want := 6
	if t.OID == OIDMacaddr8 {
		want = 8
	}
	b, err := ParseHex(hexes)
	if err == nil && want == 8 && len(b) == 6 {
		b = append(b[:3:3], append([]byte{0xff, 0xfe}, b[3:]...)...)
	}
	if err != nil || len(b) != want {
		return Null, badInput(t, text)
	}
	var out strings.Builder
	for i, c := range b {
		if i > 0 {
			out.WriteByte(':')
		}
		fmt.Fprintf(&out, "%02x", c)
	}
	return NewString(out.String()), nil
}

// compareInet orders addresses by family, network bits, mask length, then host bits.
func compareInet(a, b string) int {
	x, y := inetPrefix(a), inetPrefix(b)
	if c := x.Addr().BitLen() - y.Addr().BitLen(); c != 0 {
		return sign(c)
	}
	m := min(x.Bits(), y.Bits())
	if c := netip.PrefixFrom(x.Addr(), m).Masked().Addr().Compare(netip.PrefixFrom(y.Addr(), m).Masked().Addr()); c != 0 {
		return c
	}
	if c := x.Bits() - y.Bits(); c != 0 {
		return sign(c)
	}
	return x.Addr().Compare(y.Addr())
}

func inetPrefix(s string) netip.Prefix {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(a, a.BitLen())
}

// The binary forms of the types that live as text.

func appendBitsBinary(buf []byte, s string) []byte {
	buf = be.AppendUint32(buf, uint32(len(s)))
	var b byte
	for i := range len(s) {
		b = b<<1 | s[i]&1
		if i%8 == 7 {
			buf = append(buf, b)
			b = 0
		}
	}
	if r := len(s) % 8; r != 0 {
		buf = append(buf, b<<(8-r))
	}
	return buf
}

func parseBitsBinary(data []byte) (Datum, error) {
	if len(data) < 4 {
		return Null, errShort()
	}
	n := int(be.Uint32(data))
	if n < 0 || (n+7)/8 != len(data)-4 {
		return Null, pgerr.New(pgerr.InvalidBinaryRepresentation, "invalid length in external bit string")
	}
	out := make([]byte, n)
	for i := range out {
		out[i] = '0' + data[4+i/8]>>(7-i%8)&1
	}
	return NewString(string(out)), nil
}

func appendInetBinary(buf []byte, s string, cidr bool) []byte {
	p := inetPrefix(s)
	family := byte(2)
	if !p.Addr().Is4() {
		family = 3
	}
	flag := byte(0)
	if cidr {
		flag = 1
	}
	raw := p.Addr().AsSlice()
	return append(append(buf, family, byte(p.Bits()), flag, byte(len(raw))), raw...)
}

func parseInetBinary(data []byte, t *T) (Datum, error) {
	if len(data) < 4 || len(data) != 4+int(data[3]) {
		return Null, errShort()
	}
	a, ok := netip.AddrFromSlice(data[4:])
	if !ok || int(data[1]) > a.BitLen() {
		return Null, pgerr.New(pgerr.InvalidBinaryRepresentation, "invalid length in external \"%s\" value", t.Name)
	}
	return parseInet(netip.PrefixFrom(a, int(data[1])).String(), t)
}

func appendMacBinary(buf []byte, s string) []byte {
	b, _ := ParseHex(strings.ReplaceAll(s, ":", ""))
	return append(buf, b...)
}

func parseMacBinary(data []byte, t *T) (Datum, error) {
	if len(data) != 6 && len(data) != 8 {
		return Null, errShort()
	}
	return parseMacaddr(fmt.Sprintf("%x", data), t)
}
