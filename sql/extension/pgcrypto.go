package extension

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"strings"

	//lint:ignore SA1019 The cipher is that of bcrypt and of pgcrypto's bf.
	"golang.org/x/crypto/blowfish"

	"github.com/meridian-db/meridian/sql/builtin"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// hashes are the algorithms of digest and hmac.
var hashes = map[string]func() hash.Hash{
	"md5": md5.New, "sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New,
}

func hashNamed(name string) (func() hash.Hash, error) {
	if h := hashes[strings.ToLower(name)]; h != nil {
		return h, nil
	}
	return nil, pgerr.New(pgerr.InvalidParameterValue, "Cannot use %q: No such hash algorithm", name)
}

// octets are the bytes of a text or bytea.
func octets(d types.Datum) []byte {
	if d.Kind() == types.KindBytes {
		return d.Bytes()
	}
	return []byte(d.Str())
}

// The functions of pgcrypto, but for those of OpenPGP.
func init() {
	eval("pg_digest", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		h, err := hashNamed(a[1].Str())
		if err != nil {
			return types.Null, err
		}
		d := h()
		d.Write(octets(a[0]))
		return types.NewBytes(d.Sum(nil)), nil
	})
	eval("pg_hmac", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		h, err := hashNamed(a[2].Str())
		if err != nil {
			return types.Null, err
		}
		d := hmac.New(h, octets(a[1]))
		d.Write(octets(a[0]))
		return types.NewBytes(d.Sum(nil)), nil
	})
	eval("pg_random_bytes", func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
		n := a[0].Int()
		if n < 1 || n > 1024 {
			return types.Null, pgerr.New(pgerr.ExternalRoutineInvocationException, "Length not in range")
		}
		b := make([]byte, n)
		_, err := rand.Read(b)
		return types.NewBytes(b), err
	})
	crypter := func(verb string, iv bool, run func(c *ciphering, data []byte) ([]byte, error)) builtin.EvalFunc {
		return func(_ *builtin.Ctx, a []types.Datum) (types.Datum, error) {
			c, err := newCiphering(a[len(a)-1].Str(), a[1].Bytes())
			if err != nil {
				return types.Null, err
			}
			if iv {
				copy(c.iv, a[2].Bytes())
			}
			out, err := run(c, a[0].Bytes())
			if err != nil {
				return types.Null, pgerr.New(pgerr.ExternalRoutineInvocationException, "%s error: %s", verb, err)
			}
			return types.NewBytes(out), nil
		}
	}
	eval("pg_encrypt", crypter("encrypt", false, (*ciphering).encrypt))
	eval("pg_decrypt", crypter("decrypt", false, (*ciphering).decrypt))
	eval("pg_encrypt_iv", crypter("encrypt_iv", true, (*ciphering).encrypt))
	eval("pg_decrypt_iv", crypter("decrypt_iv", true, (*ciphering).decrypt))
}

// ciphering is what a type such as 'aes-cbc/pad:pkcs' asks for, with a key.
type ciphering struct {
	block cipher.Block
	iv    []byte
	ecb   bool
	pad   bool // as PKCS says
}

// cipherFailure is what could not be done, as pgcrypto says it.
type cipherFailure string

func (f cipherFailure) Error() string { return string(f) }

const (
	errEncrypt cipherFailure = "Encryption failed"
	errDecrypt cipherFailure = "Decryption failed"
)

// newCiphering reads a type: algorithm, then -mode, then /pad:padding.
func newCiphering(kind string, key []byte) (*ciphering, error) {
	unknown := pgerr.New(pgerr.InvalidParameterValue, "Cannot use %q: No such cipher algorithm", kind)
	c := &ciphering{pad: true}
	name, padding, padded := strings.Cut(strings.ToLower(kind), "/")
	if padded {
		switch padding {
		case "pad:pkcs":
		case "pad:none":
			c.pad = false
		default:
			return nil, unknown
		}
	}
	name, mode, _ := strings.Cut(name, "-")
	switch mode {
	case "", "cbc":
	case "ecb":
		c.ecb = true
	default:
		return nil, unknown
	}
	var err error
	switch name {
	case "aes", "rijndael":
		size := 16
		for size < len(key) && size < 32 {
			size += 8
		}
		c.block, err = aes.NewCipher(fitted(key, size))
	case "bf", "blowfish":
		if len(key) == 0 {
			key = []byte{0}
		}
		c.block, err = blowfish.NewCipher(key[:min(len(key), 56)])
	case "des":
		c.block, err = des.NewCipher(fitted(key, 8))
	case "3des", "des3":
		c.block, err = des.NewTripleDESCipher(fitted(key, 24))
	default:
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	c.iv = make([]byte, c.block.BlockSize())
	return c, nil
}

// fitted is a key with the length that a cipher wants.
func fitted(key []byte, size int) []byte {
	out := make([]byte, size)
	copy(out, key)
	return out
}

func (c *ciphering) encrypt(data []byte) ([]byte, error) {
	size := c.block.BlockSize()
	out := bytes.Clone(data)
	if c.pad {
		n := size - len(data)%size
		out = append(out, bytes.Repeat([]byte{byte(n)}, n)...)
	}
	if len(out)%size != 0 {
		return nil, errEncrypt
	}
	if !c.ecb {
		cipher.NewCBCEncrypter(c.block, c.iv).CryptBlocks(out, out)
		return out, nil
	}
	for b := out; len(b) > 0; b = b[size:] {
		c.block.Encrypt(b, b)
	}
	return out, nil
}

func (c *ciphering) decrypt(data []byte) ([]byte, error) {
	size := c.block.BlockSize()
	if len(data)%size != 0 || c.pad && len(data) == 0 {
		return nil, errDecrypt
	}
	out := bytes.Clone(data)
	if c.ecb {
		for b := out; len(b) > 0; b = b[size:] {
			c.block.Decrypt(b, b)
		}
	} else {
		cipher.NewCBCDecrypter(c.block, c.iv).CryptBlocks(out, out)
	}
	if !c.pad {
		return out, nil
	}
	n := int(out[len(out)-1])
	if n == 0 || n > size || !bytes.HasSuffix(out, bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, errDecrypt
	}
	return out[:len(out)-n], nil
}
