package builtin

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash/crc32"
	"math"
	"strings"
	"unicode"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// The functions of bytea.
func registerBytea(l library) {
	bytes1 := func(f func(b []byte) []byte) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewBytes(f(a[0].Bytes())), nil }
	}
	l.fn("byteaoctetlen", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewInt(int64(len(a[0].Bytes()))), nil })
	l.fn("byteacat", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBytes(append(append([]byte(nil), a[0].Bytes()...), a[1].Bytes()...)), nil
	})
	sub := func(hasLen bool) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			b, from, to := a[0].Bytes(), a[1].Int(), int64(math.MaxInt64)
			if hasLen {
				if a[2].Int() < 0 {
					return types.Null, pgerr.New(pgerr.SubstringError, "negative substring length not allowed")
				}
				to = from + a[2].Int()
			}
			from = max(from, 1)
			to = min(to, int64(len(b))+1)
			if to <= from {
				return types.NewBytes(nil), nil
			}
			return types.NewBytes(b[from-1 : to-1]), nil
		}
	}
	l.fn("bytea_substr", sub(true))
	l.fn("bytea_substr_no_len", sub(false))
	l.fn("byteapos", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(strings.Index(string(a[0].Bytes()), string(a[1].Bytes())) + 1)), nil
	})
	ov := func(hasLen bool) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			b, with, from := a[0].Bytes(), a[1].Bytes(), a[2].Int()
			n := int64(len(with))
			if hasLen {
				n = a[3].Int()
			}
			if from <= 0 {
				return types.Null, pgerr.New(pgerr.SubstringError, "negative substring length not allowed")
			}
			if from+n > math.MaxInt32 {
				return types.Null, errOutOfRange(types.Int4)
			}
			cut := func(i int64) int { return int(min(max(i, 0), int64(len(b)))) }
			out := append([]byte(nil), b[:cut(from-1)]...)
			return types.NewBytes(append(append(out, with...), b[cut(from-1+n):]...)), nil
		}
	}
	l.fn("byteaoverlay", ov(true))
	l.fn("byteaoverlay_no_len", ov(false))
	trim := func(left, right bool) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			b, set := a[0].Bytes(), string(a[1].Bytes())
			for left && len(b) > 0 && strings.IndexByte(set, b[0]) >= 0 {
				b = b[1:]
			}
			for right && len(b) > 0 && strings.IndexByte(set, b[len(b)-1]) >= 0 {
				b = b[:len(b)-1]
			}
			return types.NewBytes(b), nil
		}
	}
	l.fn("byteatrim", trim(true, true))
	l.fn("bytealtrim", trim(true, false))
	l.fn("byteartrim", trim(false, true))
	index := func(n, limit int64) error {
		if n < 0 || n >= limit {
			return pgerr.New(pgerr.ArraySubscriptError, "index %d out of valid range, 0..%d", n, limit-1)
		}
		return nil
	}
	l.fn("byteaGetByte", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		b, n := a[0].Bytes(), a[1].Int()
		if err := index(n, int64(len(b))); err != nil {
			return types.Null, err
		}
		return types.NewInt(int64(b[n])), nil
	})
	l.fn("byteaSetByte", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		b, n := append([]byte(nil), a[0].Bytes()...), a[1].Int()
		if err := index(n, int64(len(b))); err != nil {
			return types.Null, err
		}
		b[n] = byte(a[2].Int())
		return types.NewBytes(b), nil
	})
	l.fn("byteaGetBit", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		b, n := a[0].Bytes(), a[1].Int()
		if err := index(n, int64(len(b))*8); err != nil {
			return types.Null, err
		}
		return types.NewInt(int64(b[n/8] >> (n % 8) & 1)), nil
	})
	l.fn("byteaSetBit", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		b, n, v := append([]byte(nil), a[0].Bytes()...), a[1].Int(), a[2].Int()
		if err := index(n, int64(len(b))*8); err != nil {
			return types.Null, err
		}
		if v != 0 && v != 1 {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "new bit must be 0 or 1")
		}
		b[n/8] = b[n/8]&^(1<<(n%8)) | byte(v)<<(n%8)
		return types.NewBytes(b), nil
	})
	l.fn("bytea_bit_count", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		n := 0
		for _, c := range a[0].Bytes() {
			for ; c != 0; c &= c - 1 {
				n++
			}
		}
		return types.NewInt(int64(n)), nil
	})
	l.fn("sha224_bytea", bytes1(func(b []byte) []byte { s := sha256.Sum224(b); return s[:] }))
	l.fn("sha256_bytea", bytes1(func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }))
	l.fn("sha384_bytea", bytes1(func(b []byte) []byte { s := sha512.Sum384(b); return s[:] }))
	l.fn("sha512_bytea", bytes1(func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }))
	l.fn("crc32_bytea", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInt(int64(crc32.ChecksumIEEE(a[0].Bytes()))), nil
	})
	l.fn("binary_encode", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		b := a[0].Bytes()
		switch strings.ToLower(a[1].Str()) {
		case "hex":
			return types.NewString(hex.EncodeToString(b)), nil
		case "base64":
			s := base64.StdEncoding.EncodeToString(b)
			var out strings.Builder
			for len(s) > 76 {
				out.WriteString(s[:76] + "\n")
				s = s[76:]
			}
			return types.NewString(out.String() + s), nil
		case "escape":
			var out []byte
			for _, c := range b {
				switch {
				case c == 0 || c >= 0x80:
					out = append(out, '\\', '0'+c>>6, '0'+c>>3&7, '0'+c&7)
				case c == '\\':
					out = append(out, '\\', '\\')
				default:
					out = append(out, c)
				}
			}
			return types.NewString(string(out)), nil
		}
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "unrecognized encoding: \"%s\"", a[1].Str())
	})
	l.fn("binary_decode", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s := a[0].Str()
		var b []byte
		var err error
		switch strings.ToLower(a[1].Str()) {
		case "hex":
			b, err = types.ParseHex(s)
		case "base64":
			clean := strings.Map(func(r rune) rune {
				if unicode.IsSpace(r) {
					return -1
				}
				return r
			}, s)
			b, err = base64.StdEncoding.DecodeString(clean)
			if err != nil {
				err = base64Error(clean)
			}
		case "escape":
			b, err = types.ParseBytea(strings.Replace(s, `\x`, `\x`, 1))
		default:
			err = pgerr.New(pgerr.InvalidParameterValue, "unrecognized encoding: \"%s\"", a[1].Str())
		}
		if err != nil {
			return types.Null, err
		}
		return types.NewBytes(b), nil
	})
	registerEncoding(l)
}

func base64Error(s string) error {
	for _, r := range s {
		if !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '+' || r == '/' || r == '=') {
			return pgerr.New(pgerr.InvalidParameterValue, "invalid symbol \"%c\" found while decoding base64 sequence", r)
		}
	}
	return pgerr.New(pgerr.InvalidParameterValue, "invalid base64 end sequence").
		WithHint("Input data is missing padding, is truncated, or is otherwise corrupted.")
}
