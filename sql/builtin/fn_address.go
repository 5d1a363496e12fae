package builtin

import (
	"math/big"
	"net/netip"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// registerAddress adds the arithmetic of network and hardware addresses.
func registerAddress(l library) {
	show := func(p netip.Prefix) types.Datum {
		if p.Bits() == p.Addr().BitLen() {
			return types.NewString(p.Addr().String())
		}
		return types.NewString(p.String())
	}
	inet := func(d types.Datum) netip.Prefix {
		if p, err := netip.ParsePrefix(d.Str()); err == nil {
			return p
		}
		a, err := netip.ParseAddr(d.Str())
		if err != nil {
			return netip.Prefix{}
		}
		return netip.PrefixFrom(a, a.BitLen())
	}
	bytesOf := func(p netip.Prefix, f func(i int, b byte) byte, bits int) types.Datum {
		raw := p.Addr().AsSlice()
		for i := range raw {
			raw[i] = f(i, raw[i])
		}
		a, _ := netip.AddrFromSlice(raw)
		return show(netip.PrefixFrom(a, bits))
	}
	l.fn("inetnot", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p := inet(a[0])
		return bytesOf(p, func(_ int, b byte) byte { return ^b }, p.Bits()), nil
	})
	pair := func(name string, f func(x, y byte) byte) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			p, q := inet(a[0]), inet(a[1])
			if p.Addr().BitLen() != q.Addr().BitLen() {
				return types.Null, pgerr.New(pgerr.InvalidParameterValue, "cannot %s inet values of different sizes", name)
			}
			other := q.Addr().AsSlice()
			return bytesOf(p, func(i int, b byte) byte { return f(b, other[i]) }, max(p.Bits(), q.Bits())), nil
		}
	}
	l.fn("inetand", pair("AND", func(x, y byte) byte { return x & y }))
	l.fn("inetor", pair("OR", func(x, y byte) byte { return x | y }))
	shift := func(p netip.Prefix, by int64) (types.Datum, error) {
		size := p.Addr().BitLen() / 8
		n := new(big.Int).SetBytes(p.Addr().AsSlice())
		n.Add(n, big.NewInt(by))
		if n.Sign() < 0 || n.BitLen() > 8*size {
			return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "result is out of range")
		}
		a, _ := netip.AddrFromSlice(n.FillBytes(make([]byte, size)))
		return show(netip.PrefixFrom(a, p.Bits())), nil
	}
	l.fn("inetpl", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return shift(inet(a[0]), a[1].Int()) })
	l.fn("int8pl_inet(int8 inet)", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return shift(inet(a[1]), a[0].Int()) })
	l.fn("inetmi_int8", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return shift(inet(a[0]), -a[1].Int()) })
	l.fn("inetmi", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p, q := inet(a[0]), inet(a[1])
		if p.Addr().BitLen() != q.Addr().BitLen() {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "cannot subtract inet values of different sizes")
		}
		n := new(big.Int).SetBytes(p.Addr().AsSlice())
		n.Sub(n, new(big.Int).SetBytes(q.Addr().AsSlice()))
		if !n.IsInt64() {
			return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "result is out of range")
		}
		return types.NewInt(n.Int64()), nil
	})
	l.fn("inet_merge", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p, q := inet(a[0]), inet(a[1])
		if p.Addr().BitLen() != q.Addr().BitLen() {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "cannot merge addresses from different families")
		}
		bits := min(p.Bits(), q.Bits())
		for bits > 0 && netip.PrefixFrom(p.Addr(), bits).Masked() != netip.PrefixFrom(q.Addr(), bits).Masked() {
			bits--
		}
		return types.NewString(netip.PrefixFrom(p.Addr(), bits).Masked().String()), nil
	})
	mac := func(d types.Datum) []byte {
		b, err := types.ParseHex(stripColons(d.Str()))
		if err != nil {
			return nil
		}
		return b
	}
	text := func(b []byte, t types.OID) (types.Datum, error) {
		return types.ParseText(hexText(b), types.ByOID(t), nil)
	}
	for name, t := range map[string]types.OID{"macaddr": types.OIDMacaddr, "macaddr8": types.OIDMacaddr8} {
		bitwise := func(f func(x, y byte) byte) EvalFunc {
			return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
				x, y := mac(a[0]), mac(a[len(a)-1])
				for i := range x {
					x[i] = f(x[i], y[i])
				}
				return text(x, t)
			}
		}
		l.fn(name+"_and", bitwise(func(x, y byte) byte { return x & y }))
		l.fn(name+"_or", bitwise(func(x, y byte) byte { return x | y }))
		l.fn(name+"_not", bitwise(func(x, _ byte) byte { return ^x }))
		l.fn(name+"_trunc", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			x := mac(a[0])
			clear(x[3:])
			return text(x, t)
		})
	}
	l.fn("macaddr8_set7bit", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		x := mac(a[0])
		x[0] |= 2
		return text(x, types.OIDMacaddr8)
	})
	l.fn("macaddrtomacaddr8", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return text(mac(a[0]), types.OIDMacaddr8) })
	l.fn("macaddr8tomacaddr", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		x := mac(a[0])
		if x[3] != 0xff || x[4] != 0xfe {
			return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "macaddr8 data out of range to convert to macaddr").
				WithHint("Only addresses that have FF and FE as values in the 4th and 5th bytes from the left, for example xx:xx:xx:ff:fe:xx:xx:xx, are eligible to be converted from macaddr8 to macaddr.")
		}
		return text(append(x[:3:3], x[5:]...), types.OIDMacaddr)
	})
}

func stripColons(s string) string {
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] != ':' {
			out = append(out, s[i])
		}
	}
	return string(out)
}

func hexText(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}
