package sql

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"

	"github.com/meridian-db/meridian/sql/pgerr"
)

const (
	scramIterations = 4096
	scramSaltBytes  = 16
	scramPrefix     = "SCRAM-SHA-256$"
)

// HashPassword makes the verifier that is stored for a password, in PostgreSQL's form. A text that already is
// a verifier is kept, so that dumps restore.
func HashPassword(password string) (string, error) {
	if strings.HasPrefix(password, scramPrefix) {
		if _, err := ParseVerifier(password); err == nil {
			return password, nil
		}
	}
	if strings.HasPrefix(password, "md5") && len(password) == 35 {
		return "", pgerr.Unsupported("MD5 passwords are not supported").WithHint("Give the password itself, or a SCRAM-SHA-256 verifier.")
	}
	salt := make([]byte, scramSaltBytes)
	if _, err := rand.Read(salt); err != nil {
		return "", err
	}
	client, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		// A password that SASLprep refuses is used as it is, as PostgreSQL does.
		if client, err = scram.SHA256.NewClientUnprepped("", password, ""); err != nil {
			return "", err
		}
	}
	keys, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: scramIterations})
	if err != nil {
		return "", err
	}
	b64 := base64.StdEncoding.EncodeToString
	return scramPrefix + strconv.Itoa(scramIterations) + ":" + b64(salt) + "$" + b64(keys.StoredKey) + ":" + b64(keys.ServerKey), nil
}

// ParseVerifier takes a stored verifier, SCRAM-SHA-256$iterations:salt$storedkey:serverkey, apart.
func ParseVerifier(v string) (scram.StoredCredentials, error) {
	bad := pgerr.New(pgerr.InvalidPassword, "malformed password verifier")
	rest, ok := strings.CutPrefix(v, scramPrefix)
	if !ok {
		return scram.StoredCredentials{}, bad
	}
	factors, keys, ok1 := strings.Cut(rest, "$")
	iters, salt, ok2 := strings.Cut(factors, ":")
	stored, server, ok3 := strings.Cut(keys, ":")
	n, err := strconv.Atoi(iters)
	if !ok1 || !ok2 || !ok3 || err != nil || n < 1 {
		return scram.StoredCredentials{}, bad
	}
	var raw [3][]byte
	for i, text := range []string{salt, stored, server} {
		if raw[i], err = base64.StdEncoding.DecodeString(text); err != nil {
			return scram.StoredCredentials{}, bad
		}
	}
	if len(raw[1]) != 32 || len(raw[2]) != 32 {
		return scram.StoredCredentials{}, bad
	}
	return scram.StoredCredentials{KeyFactors: scram.KeyFactors{Salt: string(raw[0]), Iters: n}, StoredKey: raw[1], ServerKey: raw[2]}, nil
}

// Credentials returns the stored keys of a role that may log in with a password, false if there is none. It
// serves pgwire.Config.Credentials.
func (srv *Server) Credentials(ctx context.Context, user string) (scram.StoredCredentials, bool, error) {
	if c, ok := srv.cfg.Catalog.(*nodeCatalog); ok {
		if r := c.cfg.Manager.Snapshot(0).RoleByName(user); r != nil && expired(r, srv.cfg.Now()) {
			return scram.StoredCredentials{}, false, nil
		}
	}
	v, ok := srv.cfg.Catalog.Verifier(user)
	if !ok || v == "" {
		return scram.StoredCredentials{}, false, nil
	}
	c, err := ParseVerifier(v)
	return c, err == nil, err
}

// CheckPassword reports whether a role may log in with a password, for logins outside of the SCRAM protocol. It takes as
// long for roles that do not exist.
func (srv *Server) CheckPassword(ctx context.Context, user, password string) (bool, error) {
	stored, ok, err := srv.Credentials(ctx, user)
	if err != nil {
		return false, err
	}
	if !ok {
		stored.KeyFactors = scram.KeyFactors{Salt: "no salt, no role", Iters: scramIterations}
	}
	client, err := scram.SHA256.NewClient(user, password, "")
	if err != nil {
		if client, err = scram.SHA256.NewClientUnprepped(user, password, ""); err != nil {
			return false, err
		}
	}
	keys, err := client.GetStoredCredentialsWithError(stored.KeyFactors)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(keys.StoredKey, stored.StoredKey) == 1 && ok, nil
}
