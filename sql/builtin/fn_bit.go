package builtin

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// registerEncoding adds conversions between encodings. Text is UTF-8 here; LATIN1 and ASCII are its only
// relatives.
func registerEncoding(l library) {
	canonical := func(name string) string {
		return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name))
	}
	l.fn("pg_convert_to", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		switch canonical(a[1].Str()) {
		case "utf8", "unicode", "sqlascii":
			return types.NewBytes([]byte(a[0].Str())), nil
		case "latin1", "iso88591":
			var out []byte
			for _, r := range a[0].Str() {
				if r > 0xff {
					return types.Null, pgerr.New(pgerr.UntranslatableCharacter, "character with byte sequence %s in encoding \"UTF8\" has no equivalent in encoding \"LATIN1\"", hexBytes(string(r)))
				}
				out = append(out, byte(r))
			}
			return types.NewBytes(out), nil
		}
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "invalid destination encoding name \"%s\"", a[1].Str())
	})
	from := func(b []byte, enc string) (string, error) {
		switch canonical(enc) {
		case "utf8", "unicode", "sqlascii":
			d, err := types.ParseBinary(b, types.Text, nil)
			if err != nil {
				return "", err
			}
			return d.Str(), nil
		case "latin1", "iso88591":
			var s strings.Builder
			for _, c := range b {
				s.WriteRune(rune(c))
			}
			return s.String(), nil
		}
		return "", pgerr.New(pgerr.InvalidParameterValue, "invalid source encoding name \"%s\"", enc)
	}
	l.fn("pg_convert_from", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return str(from(a[0].Bytes(), a[1].Str())) })
	l.fn("length_in_encoding", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, err := from(a[0].Bytes(), a[1].Str())
		if err != nil {
			return types.Null, err
		}
		return types.NewInt(int64(len([]rune(s)))), nil
	})
}

func hexBytes(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString("0x" + strings.Repeat("0", 2-len(formatUint(uint64(s[i]), 16))) + formatUint(uint64(s[i]), 16))
	}
	return b.String()
}

// registerBit adds the functions of bit strings, which are strings of 0 and 1 here.
func registerBit(l library) {
	sameLength := func(op string, f func(x, y int64) int64) EvalFunc {
		g := bitString2(f)
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			if len(a[0].Str()) != len(a[1].Str()) {
				return types.Null, pgerr.New(pgerr.StringDataLengthMismatch, "cannot %s bit strings of different sizes", op)
			}
			return g(a[0], a[1]), nil
		}
	}
	l.fn("bit_and", sameLength("AND", func(x, y int64) int64 { return x & y }))
	l.fn("bit_or", sameLength("OR", func(x, y int64) int64 { return x | y }))
	l.fn("bitxor", sameLength("XOR", func(x, y int64) int64 { return x ^ y }))
	l.fn("bitnot", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(strings.Map(func(r rune) rune { return r ^ 1 }, a[0].Str())), nil
	})
	shift := func(s string, n int64) string {
		switch {
		case n >= int64(len(s)) || n <= -int64(len(s)):
			return strings.Repeat("0", len(s))
		case n >= 0:
			return s[n:] + strings.Repeat("0", int(n))
		}
		return strings.Repeat("0", int(-n)) + s[:len(s)+int(n)]
	}
	l.fn("bitshiftleft", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(shift(a[0].Str(), a[1].Int())), nil
	})
	l.fn("bitshiftright", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(shift(a[0].Str(), -a[1].Int())), nil
	})
	l.fn("bitcat", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewString(a[0].Str() + a[1].Str()), nil
	})
	length := textInt(func(s string) int { return len(s) })
	l.fn("bitlength", length)
	l.fn("bit_length(bit)", length)
	l.fn("bitoctetlength", textInt(func(s string) int { return (len(s) + 7) / 8 }))
	l.fn("bit_bit_count", textInt(func(s string) int { return strings.Count(s, "1") }))
	l.fn("bitposition", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(strings.Index(a[0].Str(), a[1].Str()) + 1)), nil
	})
	l.fn("bitsubstr", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return str(substring(a[0].Str(), a[1].Int(), a[2].Int(), true))
	})
	l.fn("bitsubstr_no_len", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return str(substring(a[0].Str(), a[1].Int(), 0, false))
	})
	l.fn("bitoverlay", overlay(true))
	l.fn("bitoverlay_no_len", overlay(false))
	l.fn("bitgetbit", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, n := a[0].Str(), a[1].Int()
		if n < 0 || n >= int64(len(s)) {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError, "bit index %d out of valid range (0..%d)", n, len(s)-1)
		}
		return types.NewInt(int64(s[n] - '0')), nil
	})
	l.fn("bitsetbit", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, n, v := a[0].Str(), a[1].Int(), a[2].Int()
		if n < 0 || n >= int64(len(s)) {
			return types.Null, pgerr.New(pgerr.ArraySubscriptError, "bit index %d out of valid range (0..%d)", n, len(s)-1)
		}
		if v != 0 && v != 1 {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "new bit must be 0 or 1")
		}
		return types.NewString(s[:n] + formatUint(uint64(v), 2) + s[n+1:]), nil
	})
	for _, fn := range []struct {
		name string
		bits int
	}{{"bitfromint4", 32}, {"bitfromint8", 64}} {
		l.fn(fn.name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			n := int(a[1].Int())
			if n <= 0 {
				n = 1
			}
			if n > 83886080 {
				return types.Null, errTooLong()
			}
			v := uint64(a[0].Int())
			sign := "0"
			if a[0].Int() < 0 {
				sign = "1"
			}
			s := formatUint(v, 2)
			s = strings.Repeat("0", 64-len(s)) + s
			if n <= 64 {
				return types.NewString(s[64-n:]), nil
			}
			return types.NewString(strings.Repeat(sign, n-64) + s), nil
		})
	}
	for _, fn := range []struct {
		name string
		bits int
		t    *types.T
	}{{"bittoint4", 32, types.Int4}, {"bittoint8", 64, types.Int8}} {
		l.fn(fn.name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			s := a[0].Str()
			if len(s) > fn.bits {
				return types.Null, errOutOfRange(fn.t)
			}
			var v uint64
			for i := range len(s) {
				v = v<<1 | uint64(s[i]-'0')
			}
			if fn.bits == 32 {
				return types.NewInt(int64(int32(v))), nil
			}
			return types.NewInt(int64(v)), nil
		})
	}
	for name, t := range map[string]*types.T{"bit": types.Bit, "varbit": types.VarBit} {
		l.bound(name, lengthCoercion(t))
	}
	registerInet(l)
}

func prefixOf(s string) netip.Prefix {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p
	}
	a, _ := netip.ParseAddr(s)
	return netip.PrefixFrom(a, a.BitLen())
}

// registerInet adds the functions of network addresses.
func registerInet(l library) {
	net1 := func(f func(p netip.Prefix) types.Datum) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return f(prefixOf(a[0].Str())), nil }
	}
	asInet := func(p netip.Prefix) types.Datum {
		if p.Bits() == p.Addr().BitLen() {
			return types.NewString(p.Addr().String())
		}
		return types.NewString(p.String())
	}
	mask := func(p netip.Prefix, host bool) types.Datum {
		b := make([]byte, p.Addr().BitLen()/8)
		for i := range p.Addr().BitLen() {
			if (i < p.Bits()) != host {
				b[i/8] |= 0x80 >> (i % 8)
			}
		}
		a, _ := netip.AddrFromSlice(b)
		return types.NewString(a.String())
	}
	l.fn("network_show", net1(func(p netip.Prefix) types.Datum { return types.NewString(p.String()) }))
	l.fn("network_host", net1(func(p netip.Prefix) types.Datum { return types.NewString(p.Addr().String()) }))
	l.fn("network_masklen", net1(func(p netip.Prefix) types.Datum { return types.NewInt(int64(p.Bits())) }))
	l.fn("network_family", net1(func(p netip.Prefix) types.Datum {
		if p.Addr().Is4() {
			return types.NewInt(4)
		}
		return types.NewInt(6)
	}))
	l.fn("network_network", net1(func(p netip.Prefix) types.Datum { return types.NewString(p.Masked().String()) }))
	l.fn("inet_to_cidr", net1(func(p netip.Prefix) types.Datum { return types.NewString(p.Masked().String()) }))
	l.fn("network_netmask", net1(func(p netip.Prefix) types.Datum { return mask(p, false) }))
	l.fn("network_hostmask", net1(func(p netip.Prefix) types.Datum { return mask(p, true) }))
	l.fn("network_broadcast", net1(func(p netip.Prefix) types.Datum {
		b := p.Addr().AsSlice()
		for i := p.Bits(); i < p.Addr().BitLen(); i++ {
			b[i/8] |= 0x80 >> (i % 8)
		}
		a, _ := netip.AddrFromSlice(b)
		return asInet(netip.PrefixFrom(a, p.Bits()))
	}))
	l.fn("inet_abbrev", net1(asInet))
	l.fn("inet_set_masklen", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p, n := prefixOf(a[0].Str()), int(a[1].Int())
		if n == -1 {
			n = p.Addr().BitLen()
		}
		if n < 0 || n > p.Addr().BitLen() {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "invalid mask length: %d", n)
		}
		return asInet(netip.PrefixFrom(p.Addr(), n)), nil
	})
	l.fn("cidr_set_masklen", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p, n := prefixOf(a[0].Str()), int(a[1].Int())
		if n == -1 {
			n = p.Addr().BitLen()
		}
		if n < 0 || n > p.Addr().BitLen() {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "invalid mask length: %d", n)
		}
		return types.NewString(netip.PrefixFrom(p.Addr(), n).Masked().String()), nil
	})
	l.fn("cidr_abbrev", net1(func(p netip.Prefix) types.Datum {
		if !p.Addr().Is4() {
			return types.NewString(p.String())
		}
		// Bytes beyond the mask are left out.
		raw := p.Addr().As4()
		var parts []string
		for i := range max(1, (p.Bits()+7)/8) {
			parts = append(parts, strconv.Itoa(int(raw[i])))
		}
		return types.NewString(strings.Join(parts, ".") + "/" + strconv.Itoa(p.Bits()))
	}))
	within := func(f func(p, q netip.Prefix) bool) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return types.NewBool(f(prefixOf(a[0].Str()), prefixOf(a[1].Str()))), nil
		}
	}
	inside := func(p, q netip.Prefix) bool { return p.Bits() >= q.Bits() && q.Masked().Contains(p.Addr()) }
	l.fn("network_sub", within(func(p, q netip.Prefix) bool { return p.Bits() > q.Bits() && inside(p, q) }))
	l.fn("network_subeq", within(inside))
	l.fn("network_sup", within(func(p, q netip.Prefix) bool { return q.Bits() > p.Bits() && inside(q, p) }))
	l.fn("network_supeq", within(func(p, q netip.Prefix) bool { return inside(q, p) }))
	l.fn("network_overlap", within(func(p, q netip.Prefix) bool { return p.Overlaps(q) }))
	l.fn("inet_same_family", within(func(p, q netip.Prefix) bool { return p.Addr().Is4() == q.Addr().Is4() }))
}
