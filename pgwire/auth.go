package pgwire

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"hash"
	"net"

	"github.com/jackc/pgproto3/v2"
	"github.com/xdg-go/scram"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Credentials are the stored keys of a role's password; the password itself is never kept.
type Credentials = scram.StoredCredentials

const (
	mechanism       = "SCRAM-SHA-256"
	mechanismPlus   = "SCRAM-SHA-256-PLUS"
	scramIterations = 4096
)

// authenticate proves that the client is st.user, and sends AuthenticationOk.
func (c *conn) authenticate(ctx context.Context, st *startup) error {
	if c.srv.cfg.RequireTLS && c.tls == nil {
		return pgerr.New(pgerr.InvalidAuthorizationSpecification,
			"connection requires TLS, user \"%s\", database \"%s\"", st.user, st.database).WithSeverity(pgerr.SeverityFatal)
	}
	switch c.srv.cfg.Auth {
	case AuthTrust:
		if !c.srv.cfg.TrustAnywhere && !isLoopback(c.net.RemoteAddr()) {
			return pgerr.New(pgerr.InvalidAuthorizationSpecification,
				"trust authentication serves loopback connections only").WithSeverity(pgerr.SeverityFatal)
		}
	default:
		if err := c.authenticateSCRAM(ctx, st.user); err != nil {
			return err
		}
	}
	at := c.out.begin('R')
	c.out.int32(0)
	c.out.end(at)
	return nil
}

// authenticateSCRAM runs SCRAM-SHA-256. A role that does not exist, or has no password, goes through the
// same exchange with keys made up from its name, so that a stranger cannot tell the two apart.
func (c *conn) authenticateSCRAM(ctx context.Context, user string) error {
	binding := c.channelBinding()
	at := c.out.begin('R')
	c.out.int32(pgproto3.AuthTypeSASL)
	if binding.IsSupported() {
		c.out.cstring(mechanismPlus)
	}
	c.out.cstring(mechanism)
	c.out.buf = append(c.out.buf, 0)
	c.out.end(at)
	if err := c.out.flush(); err != nil {
		return err
	}
	if err := c.backend.SetAuthType(pgproto3.AuthTypeSASL); err != nil {
		return err
	}
	msg, err := c.receive()
	if err != nil {
		return err
	}
	initial, ok := msg.(*pgproto3.SASLInitialResponse)
	if !ok {
		return protocolError("expected SASL response, got %T", msg)
	}
	if initial.AuthMechanism != mechanism && (initial.AuthMechanism != mechanismPlus || !binding.IsSupported()) {
		return protocolError("client selected an invalid SASL authentication mechanism")
	}

	known := false
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) {
		cred, ok, err := c.srv.cfg.Credentials(ctx, user)
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		if known = ok; !ok {
			cred = c.srv.mockCredentials(user)
		}
		return cred, nil
	})
	if err != nil {
		return err
	}
	conv := server.NewConversation()
	if binding.IsSupported() {
		conv = server.NewConversationWithChannelBinding(binding)
		if initial.AuthMechanism == mechanismPlus {
			conv = server.NewConversationWithChannelBindingRequired(binding)
		}
	}
	reply, err := conv.Step(string(initial.Data))
	if err != nil {
		return protocolError("malformed SCRAM message: %w", err)
	}
	c.sasl(pgproto3.AuthTypeSASLContinue, reply)
	if err := c.out.flush(); err != nil {
		return err
	}
	if err := c.backend.SetAuthType(pgproto3.AuthTypeSASLContinue); err != nil {
		return err
	}
	if msg, err = c.receive(); err != nil {
		return err
	}
	final, ok := msg.(*pgproto3.SASLResponse)
	if !ok {
		return protocolError("expected SASL response, got %T", msg)
	}
	reply, err = conv.Step(string(final.Data))
	if err != nil || !conv.Valid() || !known {
		return pgerr.New(pgerr.InvalidPassword, "password authentication failed for user \"%s\"", user).
			WithSeverity(pgerr.SeverityFatal)
	}
	c.sasl(pgproto3.AuthTypeSASLFinal, reply)
	return nil
}

func (c *conn) sasl(authType int32, data string) {
	at := c.out.begin('R')
	c.out.int32(authType)
	c.out.buf = append(c.out.buf, data...)
	c.out.end(at)
}

// mockCredentials are the keys of a role that cannot log in. The salt depends on the name alone, as a real
// one would; the keys match no password.
func (s *Server) mockCredentials(user string) Credentials {
	derive := func(purpose string) []byte {
		mac := hmac.New(sha256.New, s.mockKey[:])
		mac.Write([]byte(purpose))
		mac.Write([]byte(user))
		return mac.Sum(nil)
	}
	return Credentials{
		KeyFactors: scram.KeyFactors{Salt: string(derive("salt")[:16]), Iters: scramIterations},
		StoredKey:  derive("stored"),
		ServerKey:  derive("server"),
	}
}

// channelBinding is tls-server-end-point (RFC 5929): a hash of the certificate that this connection
// presented. The scram package's own constructor reads the peer's certificate, so serves clients only.
func (c *conn) channelBinding() scram.ChannelBinding {
	if c.tls == nil || c.certificate == nil || len(c.certificate.Certificate) == 0 {
		return scram.ChannelBinding{}
	}
	leaf := c.certificate.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(c.certificate.Certificate[0]); err != nil {
			return scram.ChannelBinding{}
		}
	}
	var h hash.Hash
	switch leaf.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = sha512.New384()
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = sha512.New()
	case x509.PureEd25519:
		return scram.ChannelBinding{} // RFC 5929 defines no hash for it.
	default:
		h = sha256.New()
	}
	h.Write(leaf.Raw)
	return scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: h.Sum(nil)}
}

// tlsConfig is the server's configuration with a note of the certificate that it chose.
func (s *Server) tlsConfig(chosen **tls.Certificate) *tls.Config {
	cfg := s.cfg.TLS.Clone()
	cfg.NextProtos = []string{alpnProtocol}
	inner, certs := cfg.GetCertificate, cfg.Certificates
	cfg.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if inner != nil {
			if cert, err := inner(hello); cert != nil || err != nil {
				*chosen = cert
				return cert, err
			}
		}
		for i := range certs {
			if hello.SupportsCertificate(&certs[i]) == nil {
				*chosen = &certs[i]
				return &certs[i], nil
			}
		}
		if len(certs) > 0 {
			*chosen = &certs[0]
			return &certs[0], nil
		}
		return nil, nil
	}
	cfg.Certificates = nil
	return cfg
}

// isLoopback reports whether an address is of this host only.
func isLoopback(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return addr != nil && addr.Network() == "pipe"
}
