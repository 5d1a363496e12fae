package pgwire

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/meridian-db/meridian/sql"
	"github.com/meridian-db/meridian/sql/pgerr"
)

func testCertificate(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func passwordOf(t testing.TB, user, password string) func(context.Context, string) (Credentials, bool, error) {
	verifier, err := sql.HashPassword(password)
	if err != nil {
		t.Fatal(err)
	}
	cred, err := sql.ParseVerifier(verifier)
	if err != nil {
		t.Fatal(err)
	}
	return func(_ context.Context, u string) (Credentials, bool, error) { return cred, u == user, nil }
}

func dial(t testing.TB, addr, params string) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, "postgres://"+strings.Replace(params, "@", "@"+addr+"/postgres?", 1))
	if err == nil {
		t.Cleanup(func() { conn.Close(context.Background()) })
	}
	return conn, err
}

func TestSCRAM(t *testing.T) {
	_, addr := startServer(t, Config{Credentials: passwordOf(t, "postgres", "secret"), TLS: &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}}})
	for _, c := range []struct{ params, code string }{
		{"postgres:secret@sslmode=disable", ""},
		{"postgres:secret@sslmode=require", ""},
		{"postgres:secret@sslmode=require&channel_binding=require", ""},
		{"postgres:secret@sslmode=require&channel_binding=disable", ""},
		{"postgres:wrong@sslmode=require", pgerr.InvalidPassword},
		{"postgres:wrong@sslmode=disable", pgerr.InvalidPassword},
		{"nobody:secret@sslmode=disable", pgerr.InvalidPassword},
	} {
		_, err := dial(t, addr, c.params)
		var e *pgconn.PgError
		switch {
		case c.code == "" && err != nil:
			t.Errorf("%s: %v", c.params, err)
		case c.code != "" && (!errors.As(err, &e) || e.Code != c.code || e.Severity != "FATAL"):
			t.Errorf("%s: error %v, want FATAL %s", c.params, err, c.code)
		}
	}
	// libpq does the same by itself: psql's default prefers TLS, and binds the channel.
	if got := psqlRun(t, addr, "-c", `\conninfo`, "-c", "SHOW ssl"); !strings.Contains(got, "SSL connection") {
		t.Errorf("psql printed %s", got)
	}
}

func TestRequireTLS(t *testing.T) {
	_, addr := startServer(t, Config{Credentials: passwordOf(t, "postgres", "secret"), RequireTLS: true,
		TLS: &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}}})
	if _, err := dial(t, addr, "postgres:secret@sslmode=disable"); err == nil {
		t.Error("connected in the clear")
	}
	if _, err := dial(t, addr, "postgres:secret@sslmode=require"); err != nil {
		t.Error(err)
	}
}

func TestTrustListensOnLoopbackOnly(t *testing.T) {
	srv, _ := startServer(t, Config{Auth: AuthTrust})
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Skip(err)
	}
	if err := srv.Serve(context.Background(), l); err == nil {
		t.Fatal("trust authentication listens beyond loopback")
	}
}

// rawConn speaks the protocol by hand.
type rawConn struct {
	t testing.TB
	net.Conn
	f *pgproto3.Frontend
}

func dialRaw(t testing.TB, addr string) *rawConn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { c.Close() })
	return &rawConn{t, c, pgproto3.NewFrontend(c, c)}
}

func (c *rawConn) write(b ...[]byte) {
	if _, err := c.Write(bytes.Join(b, nil)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawConn) startup(version uint32, params ...string) {
	b := binary.BigEndian.AppendUint32(nil, version)
	for _, p := range append(params, "") {
		b = append(append(b, p...), 0)
	}
	c.write(binary.BigEndian.AppendUint32(nil, uint32(len(b)+4)), b)
}

// next returns the next message as text, for comparison.
func (c *rawConn) next() pgproto3.BackendMessage {
	msg, err := c.f.Receive()
	if err != nil {
		c.t.Fatal(err)
	}
	return msg
}

// until reads messages up to the first ReadyForQuery or error and returns the last.
func (c *rawConn) untilReady() (*pgproto3.BackendKeyData, *pgproto3.NegotiateProtocolVersion, pgproto3.BackendMessage) {
	var key *pgproto3.BackendKeyData
	var neg *pgproto3.NegotiateProtocolVersion
	for {
		switch m := c.next().(type) {
		case *pgproto3.BackendKeyData:
			k := *m
			k.SecretKey = bytes.Clone(m.SecretKey)
			key = &k
		case *pgproto3.NegotiateProtocolVersion:
			n := *m
			neg = &n
		case *pgproto3.ReadyForQuery, *pgproto3.ErrorResponse:
			return key, neg, m
		}
	}
}

func TestProtocolVersions(t *testing.T) {
	_, addr := startServer(t, Config{Auth: AuthTrust})
	for _, c := range []struct {
		version   uint32
		params    []string
		key       int
		negotiate bool
		code      string
	}{
		{protocol3, nil, 4, false, ""},
		{protocol3 | 2, nil, 4, true, ""},
		{protocol3 | 9999, nil, 4, true, ""},
		{protocol3, []string{"_pq_.something", "1"}, 4, true, ""},
		{2 << 16, nil, 0, false, pgerr.FeatureNotSupported},
		{protocol3, []string{"nonsense", "1"}, 0, false, pgerr.UndefinedObject},
		{protocol3, []string{"replication", "true"}, 0, false, pgerr.FeatureNotSupported},
	} {
		r := dialRaw(t, addr)
		r.startup(c.version, append([]string{"user", "postgres", "database", "postgres"}, c.params...)...)
		key, neg, last := r.untilReady()
		if e, ok := last.(*pgproto3.ErrorResponse); ok || c.code != "" {
			if !ok || e.Code != c.code {
				t.Errorf("version %x: answered %+v, want %q", c.version, last, c.code)
			}
			continue
		}
		if len(key.SecretKey) != c.key || (neg != nil) != c.negotiate {
			t.Errorf("version %x %v: key of %d bytes, negotiated %+v", c.version, c.params, len(key.SecretKey), neg)
		}
	}
}

func TestHostileStartup(t *testing.T) {
	_, addr := startServer(t, Config{Auth: AuthTrust})
	for name, b := range map[string][]byte{
		"garbage":          []byte("GET / HTTP/1.1\r\n\r\n"),
		"length 0":         {0, 0, 0, 0},
		"length 7":         {0, 0, 0, 7, 0, 3, 0},
		"huge":             {0x7f, 0xff, 0xff, 0xff},
		"no terminator":    {0, 0, 0, 12, 0, 3, 0, 0, 'u', 's', 'e', 'r'},
		"no user":          {0, 0, 0, 9, 0, 3, 0, 0, 0},
		"short cancel":     {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2e},
		"empty query":      {'Q', 0, 0, 0, 4},
		"two ssl requests": {0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f, 0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f, 0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f, 0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f, 0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f},
	} {
		r := dialRaw(t, addr)
		r.write(b)
		r.Conn.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := dial(t, addr, "postgres@sslmode=disable"); err != nil {
		t.Errorf("server does not serve any more: %v", err)
	}
}

func TestClearTextBehindSSLRequestIsRefused(t *testing.T) {
	_, addr := startServer(t, Config{Auth: AuthTrust, TLS: &tls.Config{Certificates: []tls.Certificate{testCertificate(t)}}})
	r := dialRaw(t, addr)
	r.write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f, 0, 0, 0, 9, 0, 3, 0, 0, 0})
	b, _ := io.ReadAll(r)
	if len(b) == 0 || b[0] != 'S' || !bytes.Contains(b, []byte("unencrypted data")) {
		t.Fatalf("answered %q", b)
	}
}

func TestFunctionCallAndBadMessages(t *testing.T) {
	_, addr := startServer(t, Config{Auth: AuthTrust})
	r := dialRaw(t, addr)
	r.startup(protocol3, "user", "postgres", "database", "postgres")
	r.untilReady()
	two, three := []byte{0, 0, 0, 4, 0, 0, 0, 2}, []byte{0, 0, 0, 1, '3'}
	call := func(oid byte, rest ...byte) []byte { return message('F', append([]byte{0, 0, 0, oid}, rest...)...) }
	args := slices.Concat([]byte{0, 2, 0, 1, 0, 0, 0, 2}, two, three) // the first one binary
	const int4pl = 177
	var last pgproto3.BackendMessage
	for _, bad := range []struct {
		message []byte
		code    string
	}{
		{hostileMessages["short function call"], pgerr.ProtocolViolation},
		{hostileMessages["null function call"], pgerr.UndefinedFunction},
		{call(int4pl, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 2, 0, 1), pgerr.ProtocolViolation}, // one argument
		{call(int4pl, slices.Concat(args, []byte{0, 1, 0})...), pgerr.ProtocolViolation},
		{call(1, slices.Concat(args, []byte{0, 1})...), pgerr.UndefinedFunction},
	} {
		r.write(bad.message)
		_, _, last = r.untilReady()
		if e, ok := last.(*pgproto3.ErrorResponse); !ok || e.Code != bad.code {
			t.Fatalf("function call %x answered %+v, not %s", bad.message, last, bad.code)
		}
		r.untilReady()
	}
	for format, want := range []string{"5", "\x00\x00\x00\x05"} {
		r.write(call(int4pl, slices.Concat(args, []byte{0, byte(format)})...))
		if v, ok := r.next().(*pgproto3.FunctionCallResponse); !ok || string(v.Result) != want {
			t.Fatalf("2 + 3 is %+v, not %q", v, want)
		}
		r.untilReady()
	}
	// A bad Bind is an error, the messages up to Sync are skipped, and the session goes on.
	r.write(hostileMessages["parameter length -2"], message('E', 0, 0, 0, 0, 0), message('S'), message('Q', []byte("SHOW ssl\x00")...))
	_, _, last = r.untilReady()
	if e, ok := last.(*pgproto3.ErrorResponse); !ok || e.Code != pgerr.ProtocolViolation || e.Severity != "ERROR" {
		t.Fatalf("bad Bind answered %+v", last)
	}
	if _, _, last = r.untilReady(); last.(*pgproto3.ReadyForQuery).TxStatus != 'I' {
		t.Fatalf("Sync answered %+v", last)
	}
	for _, want := range []string{"T", "D", "C", "Z"} {
		if got := messageType(r.next()); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	// A message whose type is unknown loses the framing: FATAL.
	r.write(message('y'))
	if e, ok := r.next().(*pgproto3.ErrorResponse); !ok || e.Severity != "FATAL" {
		t.Fatalf("unknown message answered %+v", e)
	}
	if _, err := r.f.Receive(); err == nil {
		t.Fatal("connection goes on")
	}
}

func messageType(m pgproto3.BackendMessage) string {
	switch m.(type) {
	case *pgproto3.RowDescription:
		return "T"
	case *pgproto3.DataRow:
		return "D"
	case *pgproto3.CommandComplete:
		return "C"
	case *pgproto3.ReadyForQuery:
		return "Z"
	case *pgproto3.ErrorResponse:
		return "E"
	}
	return "?"
}

func TestConnectionLimit(t *testing.T) {
	srv, addr := startServer(t, Config{Auth: AuthTrust, MaxConnections: 2})
	for range 2 {
		if _, err := dial(t, addr, "postgres@sslmode=disable"); err != nil {
			t.Fatal(err)
		}
	}
	var e *pgconn.PgError
	if _, err := dial(t, addr, "postgres@sslmode=disable"); !errors.As(err, &e) || e.Code != pgerr.TooManyConnections {
		t.Fatalf("third connection: %v", err)
	}
	if n := srv.Connections(); n != 2 {
		t.Fatalf("%d connections", n)
	}
}

func TestUnknownDatabase(t *testing.T) {
	_, addr := startServer(t, Config{Auth: AuthTrust})
	r := dialRaw(t, addr)
	r.startup(protocol3, "user", "postgres", "database", "nope")
	if _, _, last := r.untilReady(); last.(*pgproto3.ErrorResponse).Code != pgerr.InvalidCatalogName || last.(*pgproto3.ErrorResponse).Severity != "FATAL" {
		t.Fatalf("answered %+v", last)
	}
}

// A shutdown tells idle clients at once, lets an open transaction end, and then drops it too.
func TestShutdown(t *testing.T) {
	srv, addr := startServer(t, Config{Auth: AuthTrust})
	idle, inTxn := dialRaw(t, addr), dialRaw(t, addr)
	for _, r := range []*rawConn{idle, inTxn} {
		r.startup(protocol3, "user", "postgres", "database", "postgres")
		r.untilReady()
	}
	inTxn.write(message('Q', []byte("BEGIN\x00")...))
	inTxn.untilReady()
	done := make(chan struct{})
	go func() { srv.Shutdown(context.Background()); close(done) }()
	if e, ok := idle.next().(*pgproto3.ErrorResponse); !ok || e.Code != pgerr.AdminShutdown {
		t.Fatalf("idle client got %+v", e)
	}
	inTxn.write(message('Q', []byte("SHOW ssl\x00")...))
	if _, _, last := inTxn.untilReady(); messageType(last) != "Z" {
		t.Fatalf("open transaction got %+v", last)
	}
	select {
	case <-done:
		t.Fatal("shutdown did not wait for the open transaction")
	default:
	}
	inTxn.write(message('Q', []byte("COMMIT\x00")...))
	if _, _, last := inTxn.untilReady(); messageType(last) != "Z" {
		t.Fatalf("commit got %+v", last)
	}
	if e, ok := inTxn.next().(*pgproto3.ErrorResponse); !ok || e.Code != pgerr.AdminShutdown {
		t.Fatalf("after its commit the client got %+v", e)
	}
	<-done
}

func TestShutdownDeadline(t *testing.T) {
	srv, addr := startServer(t, Config{Auth: AuthTrust})
	r := dialRaw(t, addr)
	r.startup(protocol3, "user", "postgres", "database", "postgres")
	r.untilReady()
	r.write(message('Q', []byte("BEGIN\x00")...))
	r.untilReady()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	srv.Shutdown(ctx)
	if e, ok := r.next().(*pgproto3.ErrorResponse); !ok || e.Code != pgerr.AdminShutdown {
		t.Fatalf("got %+v", e)
	}
}
