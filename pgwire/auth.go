package pgwire

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"hash"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgproto3/v2"
	"github.com/xdg-go/scram"

	"github.com/meridian-db/meridian/pgwire/hba"
	"github.com/meridian-db/meridian/sql/pgcatalog"
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
	method, err := c.prove(ctx, st)
	c.method = method
	if err != nil {
		return err
	}
	at := c.out.begin('R')
	c.out.int32(0)
	c.out.end(at)
	return nil
}

// prove finds the rule for the connection and does what it asks for. It returns the method that was used.
func (c *conn) prove(ctx context.Context, st *startup) (method hba.Method, err error) {
	rule, err := c.rule(st)
	if err != nil {
		return "", err
	}
	addr := addrOf(c.net.RemoteAddr())
	method = rule.Method
	if method == hba.CertOrSCRAM {
		method = hba.SCRAM
		if c.clientCertificate() != nil {
			method = hba.Cert
		}
	}
	limiter := c.srv.cfg.Throttle
	if limiter != nil && method != hba.Trust {
		if wait := limiter.Wait(addr, st.user); wait > 0 {
			return method, pgerr.New(pgerr.ConfigurationLimitExceeded, "too many failed logins").
				WithDetail("Another attempt is possible in %s.", wait.Round(time.Second)+time.Second).WithSeverity(pgerr.SeverityFatal)
		}
	}
	if method == hba.Cert || rule.ClientCert != "" {
		err = c.authenticateCert(st.user, method == hba.Cert || rule.ClientCert == hba.VerifyFull)
	}
	if err == nil && method == hba.SCRAM {
		err = c.authenticateSCRAM(ctx, st.user)
	}
	if limiter != nil && method != hba.Trust {
		switch {
		case err == nil:
			limiter.Succeeded(addr, st.user)
		case pgerr.Code(err) != "": // not the network's
			limiter.Failed(addr, st.user)
		}
	}
	return method, err
}

// rule returns the rule that the connection falls under. One that keeps it out is an error.
func (c *conn) rule(st *startup) (*hba.Rule, error) {
	cfg := &c.srv.cfg
	refused := func(format string, args ...any) error {
		return pgerr.New(pgerr.InvalidAuthorizationSpecification, format, args...).WithSeverity(pgerr.SeverityFatal)
	}
	if cfg.Rules == nil {
		switch {
		case cfg.RequireTLS && c.tls == nil:
			return nil, refused("connection requires TLS, user \"%s\", database \"%s\"", st.user, st.database)
		case cfg.Auth != AuthTrust:
			return &hba.Rule{Method: hba.CertOrSCRAM}, nil
		}
		return c.mayTrust(&hba.Rule{Method: hba.Trust})
	}
	remote := c.net.RemoteAddr()
	_, unix := remote.(*net.UnixAddr)
	conn := hba.Conn{Local: unix, TLS: c.tls != nil, Addr: addrOf(remote), Database: st.database, User: st.user,
		SameHost: sameHost, SameNet: sameNet}
	if cfg.MemberOf != nil {
		conn.Member = func(role string) bool { return cfg.MemberOf(st.user, role) }
	}
	rule := hba.Match(cfg.Rules(), &conn)
	encryption := "no encryption"
	if c.tls != nil {
		encryption = "SSL encryption"
	}
	switch {
	case rule == nil:
		return nil, refused("no pg_hba.conf entry for host \"%s\", user \"%s\", database \"%s\", %s", conn.Addr, st.user, st.database, encryption)
	case rule.Method == hba.Reject:
		return nil, refused("pg_hba.conf rejects connection for host \"%s\", user \"%s\", database \"%s\", %s", conn.Addr, st.user, st.database, encryption)
	case rule.Method == hba.Trust:
		return c.mayTrust(rule)
	}
	return rule, nil
}

// mayTrust refuses trust to clients of other hosts, whatever a rule says.
func (c *conn) mayTrust(rule *hba.Rule) (*hba.Rule, error) {
	if !c.srv.cfg.TrustAnywhere && !isLoopback(c.net.RemoteAddr()) {
		return nil, pgerr.New(pgerr.InvalidAuthorizationSpecification, "trust authentication serves loopback connections only").
			WithSeverity(pgerr.SeverityFatal)
	}
	return rule, nil
}

// clientCertificate is the certificate that the client has shown, nil if it has shown none. It is not verified.
func (c *conn) clientCertificate() *x509.Certificate {
	if c.tls == nil || c.srv.cfg.VerifyClient == nil {
		return nil
	}
	if st := c.tls.ConnectionState(); len(st.PeerCertificates) > 0 {
		return st.PeerCertificates[0]
	}
	return nil
}

// describeTLS is the connection's row in pg_stat_ssl, nil in the clear. Of a certificate that nobody vouches for, which a
// client may show without logging in by it, nothing is told.
func (c *conn) describeTLS() *pgcatalog.TLS {
	if c.tls == nil {
		return nil
	}
	st := c.tls.ConnectionState()
	cipher := tls.CipherSuiteName(st.CipherSuite)
	d := &pgcatalog.TLS{Version: strings.Replace(tls.VersionName(st.Version), "TLS ", "TLSv", 1), Cipher: cipher, Bits: 256}
	if strings.Contains(cipher, "_128_") {
		d.Bits = 128
	}
	if leaf := c.clientCertificate(); leaf != nil && c.srv.cfg.VerifyClient(st) == nil {
		d.ClientDN, d.ClientSerial, d.IssuerDN = slashDN(leaf.Subject), leaf.SerialNumber.String(), slashDN(leaf.Issuer)
	}
	return d
}

// slashDN writes a distinguished name as PostgreSQL does: /O=org/CN=name, in the order of the certificate.
func slashDN(n pkix.Name) string {
	var b strings.Builder
	for _, a := range n.Names {
		kind, ok := shortDN[a.Type.String()]
		if !ok {
			kind = a.Type.String()
		}
		fmt.Fprintf(&b, "/%s=%v", kind, a.Value)
	}
	return b.String()
}

// shortDN are OpenSSL's short names of the attributes that names commonly have.
var shortDN = map[string]string{"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.17": "postalCode", "0.9.2342.19200300.100.1.25": "DC",
	"0.9.2342.19200300.100.1.1": "UID", "1.2.840.113549.1.9.1": "emailAddress"}

// authenticateCert checks the client's certificate; full: that it is made out to the user, by its common name.
func (c *conn) authenticateCert(user string, full bool) error {
	leaf := c.clientCertificate()
	if leaf == nil {
		return pgerr.New(pgerr.InvalidAuthorizationSpecification, "connection requires a valid client certificate").WithSeverity(pgerr.SeverityFatal)
	}
	err := c.srv.cfg.VerifyClient(c.tls.ConnectionState())
	if err == nil && full && leaf.Subject.CommonName != user {
		err = fmt.Errorf("provided user name (%s) and certificate common name do not match", user)
	}
	if err != nil {
		c.srv.log.Warn("client certificate refused", "user", user, "subject", leaf.Subject.String(), "remote", c.net.RemoteAddr(), "err", err)
		return pgerr.New(pgerr.InvalidAuthorizationSpecification, "certificate authentication failed for user \"%s\"", user).
			WithSeverity(pgerr.SeverityFatal)
	}
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

// addrOf is the IP address of a connection's other end, the zero one if it has none.
func addrOf(addr net.Addr) netip.Addr {
	if a, ok := addr.(*net.TCPAddr); ok {
		ip, _ := netip.AddrFromSlice(a.IP)
		return ip.Unmap()
	}
	return netip.Addr{}
}

// sameHost and sameNet report whether an address is one of this host's, or of a network that it is in.
func sameHost(addr netip.Addr) bool {
	return ofInterfaces(func(p netip.Prefix) bool { return p.Addr() == addr })
}
func sameNet(addr netip.Addr) bool {
	return ofInterfaces(func(p netip.Prefix) bool { return p.Contains(addr) })
}

func ofInterfaces(is func(netip.Prefix) bool) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, _ := netip.AddrFromSlice(n.IP)
		ones, _ := n.Mask.Size()
		if ip = ip.Unmap(); is(netip.PrefixFrom(ip, ones)) {
			return true
		}
	}
	return false
}
