package extension

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	//lint:ignore SA1019 The cipher is that of bcrypt and of pgcrypto's bf.
	"golang.org/x/crypto/blowfish"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// This file is crypt() and gen_salt() of pgcrypto, with Blowfish ($2a$) and MD5 ($1$).

const (
	cryptAlphabet  = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
)

var bcryptBase64 = base64.NewEncoding(bcryptAlphabet).WithPadding(base64.NoPadding)

var errSalt = pgerr.New(pgerr.InvalidParameterValue, "invalid salt")

func init() {
	eval("pg_crypt", func(ctx *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		password, salt := []byte(a[0].Str()), a[1].Str()
		var out string
		var err error
		switch {
		case strings.HasPrefix(salt, "$2a$"), strings.HasPrefix(salt, "$2x$"), strings.HasPrefix(salt, "$2y$"), strings.HasPrefix(salt, "$2b$"):
			background := context.Background()
			if ctx != nil && ctx.Context != nil {
				background = ctx.Context
			}
			out, err = bcrypt(background, password, salt)
		case strings.HasPrefix(salt, "$1$"):
			out = md5Crypt(password, salt)
		case len(salt) < 2:
			err = errSalt
		default:
			err = pgerr.Unsupported("crypt with DES is not supported").WithHint("Use gen_salt('bf').")
		}
		return types.NewString(out), err
	})
	generate := func(kind string, rounds int64) (types.Datum, error) {
		switch strings.ToLower(kind) {
		case "bf":
			if rounds == 0 {
				rounds = 6
			}
			if rounds < 4 || rounds > 31 {
				return types.Null, errRounds
			}
			var b [16]byte
			_, err := rand.Read(b[:])
			return types.NewString(fmt.Sprintf("$2a$%02d$%s", rounds, bcryptBase64.EncodeToString(b[:]))), err
		case "md5":
			if rounds != 0 && rounds != 1000 {
				return types.Null, errRounds
			}
			var b [8]byte
			_, err := rand.Read(b[:])
			for i := range b {
				b[i] = cryptAlphabet[b[i]&63]
			}
			return types.NewString("$1$" + string(b[:])), err
		case "des", "xdes":
			return types.Null, pgerr.Unsupported("crypt with DES is not supported").WithHint("Use gen_salt('bf').")
		}
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "gen_salt: Unknown salt algorithm")
	}
	eval("pg_gen_salt", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) { return generate(a[0].Str(), 0) })
	eval("pg_gen_salt_rounds", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) { return generate(a[0].Str(), a[1].Int()) })
}

var errRounds = pgerr.New(pgerr.InvalidParameterValue, "gen_salt: Incorrect number of rounds")

// bcrypt hashes a password as a salt "$2a$cost$" with 22 characters asks, 2^cost times (Provos and Mazières, "A
// Future-Adaptable Password Scheme"). It ends with the context.
func bcrypt(ctx context.Context, password []byte, salt string) (string, error) {
	if len(salt) < 29 || salt[6] != '$' {
		return "", errSalt
	}
	cost, err := strconv.ParseUint(salt[4:6], 10, 8)
	if err != nil || cost < 4 || cost > 31 {
		return "", errSalt
	}
	raw, err := bcryptBase64.DecodeString(salt[7:29])
	if err != nil {
		return "", errSalt
	}
	key := append(append(make([]byte, 0, len(password)+1), password...), 0)
	key = key[:min(len(key), 72)]
	c, err := blowfish.NewSaltedCipher(key, raw)
	if err != nil {
		return "", err
	}
	for i := range uint64(1) << cost {
		if i%64 == 0 && ctx.Err() != nil {
			return "", ctx.Err()
		}
		blowfish.ExpandKey(key, c)
		blowfish.ExpandKey(raw, c)
	}
	text := []byte("OrpheanBeholderScryDoubt")
	for b := text; len(b) > 0; b = b[8:] {
		for range 64 {
			c.Encrypt(b, b)
		}
	}
	// The unused bits of the salt's last character are written as zero.
	return salt[:7] + bcryptBase64.EncodeToString(raw) + bcryptBase64.EncodeToString(text[:23]), nil
}

// md5Crypt hashes a password as the salt "$1$" with up to eight characters asks: the scheme of FreeBSD's crypt.
func md5Crypt(password []byte, salt string) string {
	chars, _, _ := strings.Cut(salt[3:], "$")
	chars = chars[:min(len(chars), 8)]
	inner := md5.New()
	inner.Write(password)
	inner.Write([]byte(chars))
	inner.Write(password)
	mixed := inner.Sum(nil)

	h := md5.New()
	h.Write(password)
	h.Write([]byte("$1$" + chars))
	for n := len(password); n > 0; n -= 16 {
		h.Write(mixed[:min(n, 16)])
	}
	for n := len(password); n > 0; n >>= 1 {
		if n&1 != 0 {
			h.Write([]byte{0})
		} else {
			h.Write(password[:1])
		}
	}
	sum := h.Sum(nil)
	for i := range 1000 {
		r := md5.New()
		first, last := sum, password
		if i&1 != 0 {
			first, last = password, sum
		}
		r.Write(first)
		if i%3 != 0 {
			r.Write([]byte(chars))
		}
		if i%7 != 0 {
			r.Write(password)
		}
		r.Write(last)
		sum = r.Sum(nil)
	}
	out := []byte("$1$" + chars + "$")
	put := func(v uint32, n int) {
		for ; n > 0; n-- {
			out = append(out, cryptAlphabet[v&63])
			v >>= 6
		}
	}
	for i := range 5 {
		third := i + 12
		if i == 4 {
			third = 5
		}
		put(uint32(sum[i])<<16|uint32(sum[i+6])<<8|uint32(sum[third]), 4)
	}
	put(uint32(sum[11]), 2)
	return string(out)
}
