package pgwire

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Codes in the place of a protocol version.
const (
	codeCancel  = 1234<<16 | 5678
	codeSSL     = 1234<<16 | 5679
	codeGSSENC  = 1234<<16 | 5680
	protocol3   = 3 << 16
	newestMinor = 0 // as PostgreSQL 15: a newer client is told so, and goes on with 3.0

	maxStartupSize  = 10000 // PostgreSQL's MAX_STARTUP_PACKET_LENGTH
	tlsRecordType   = 0x16  // first byte of a direct TLS connection
	cancelKeySize   = 4
	cancelKeyLimit  = 256
	cancelTries     = 10 // to find the statement that a cancel request means
	cancelPause     = 2 * time.Millisecond
	maxStartupTries = 4 // GSSENCRequest, SSLRequest, start-up, and one to spare
)

// errCancelDone ends a connection that only carried a cancel request.
var errCancelDone = errors.New("pgwire: cancel request served")

// startup is what a client said about itself.
type startup struct {
	user        string
	database    string
	replication bool              // replication=database
	settings    map[string]string // the remaining parameters, "options" taken apart
}

// negotiate reads packets until a start-up packet arrives: encryption requests are answered on the way, a
// cancel request is served and ends the connection.
func (c *conn) negotiate(ctx context.Context) (*startup, error) {
	first, err := c.guard.peek()
	if err != nil {
		return nil, err
	}
	if first == tlsRecordType && c.srv.cfg.TLS != nil {
		if err := c.startTLS(ctx, true); err != nil {
			return nil, err
		}
	}
	for range maxStartupTries {
		packet, err := c.startupPacket()
		if err != nil {
			return nil, err
		}
		switch code := binary.BigEndian.Uint32(packet); code {
		case codeCancel:
			c.serveCancel(ctx, packet[4:])
			return nil, errCancelDone
		case codeSSL:
			if c.tls != nil {
				return nil, protocolError("received a second SSLRequest")
			}
			answer := byte('N')
			if c.srv.cfg.TLS != nil {
				answer = 'S'
			}
			if err := c.answerByte(answer); err != nil {
				return nil, err
			}
			if answer == 'S' {
				if err := c.startTLS(ctx, false); err != nil {
					return nil, err
				}
			}
		case codeGSSENC:
			if err := c.answerByte('N'); err != nil {
				return nil, err
			}
		default:
			if code>>16 != 3 {
				return nil, pgerr.New(pgerr.FeatureNotSupported,
					"unsupported frontend protocol %d.%d: server supports 3.0 to 3.%d", code>>16, code&0xffff, newestMinor).
					WithSeverity(pgerr.SeverityFatal)
			}
			return c.readStartup(int(code&0xffff), packet[4:])
		}
	}
	return nil, protocolError("too many negotiation requests")
}

// startupPacket reads a packet without a type byte. Its bytes start with the code.
func (c *conn) startupPacket() ([]byte, error) {
	head, err := c.guard.raw(4)
	if err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head)
	if size < 8 || size > maxStartupSize {
		return nil, protocolError("invalid length of startup packet")
	}
	return c.guard.raw(int(size) - 4)
}

func (c *conn) answerByte(b byte) error {
	c.out.buf = append(c.out.buf, b)
	return c.out.flush()
}

// startTLS wraps the connection. Bytes that arrived in the clear behind the request would be taken for the
// protected stream's, so they end the connection (CVE-2021-23214).
func (c *conn) startTLS(ctx context.Context, direct bool) error {
	var under net.Conn = c.net
	if direct {
		under = &prefixedConn{Conn: c.net, prefix: bytes.Clone(c.guard.buf[c.guard.pos:c.guard.end])}
		c.guard.pos = c.guard.end
	} else if c.guard.buffered() > 0 {
		return protocolError("received unencrypted data after SSL request")
	}
	t := tls.Server(under, c.srv.tlsConfig(&c.certificate))
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	if direct && t.ConnectionState().NegotiatedProtocol != alpnProtocol {
		return protocolError("received direct SSL connection request without ALPN protocol negotiation extension")
	}
	c.tls = t
	c.guard.r, c.out.w = t, t
	return nil
}

// prefixedConn gives back bytes that were read to recognise a direct TLS connection.
type prefixedConn struct {
	net.Conn
	prefix []byte
}

func (p *prefixedConn) Read(b []byte) (int, error) {
	if len(p.prefix) > 0 {
		n := copy(b, p.prefix)
		p.prefix = p.prefix[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// readStartup takes a start-up packet's parameters apart and answers a version or option that it does not
// know with NegotiateProtocolVersion.
func (c *conn) readStartup(minor int, b []byte) (*startup, error) {
	st := &startup{settings: map[string]string{}}
	var unknown []string
	for {
		name, rest, ok := cutString(b)
		if !ok {
			return nil, protocolError("invalid startup packet layout: expected terminator as last byte")
		}
		if name == "" {
			if len(rest) != 0 {
				return nil, protocolError("invalid startup packet layout: expected terminator as last byte")
			}
			break
		}
		value, rest, ok := cutString(rest)
		if !ok {
			return nil, protocolError("invalid startup packet layout: expected terminator as last byte")
		}
		b = rest
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, pgerr.New(pgerr.CharacterNotInRepertoire, "invalid byte sequence for encoding \"UTF8\"").
				WithSeverity(pgerr.SeverityFatal)
		}
		switch {
		case name == "user":
			st.user = value
		case name == "database":
			st.database = value
		case name == "options":
			if err := parseOptions(value, st.settings); err != nil {
				return nil, err
			}
		case name == "replication":
			var err error
			if st.replication, err = replicationMode(value); err != nil {
				return nil, err
			}
		case strings.HasPrefix(name, "_pq_."):
			unknown = append(unknown, name)
		default:
			st.settings[name] = value
		}
	}
	if st.user == "" {
		return nil, pgerr.New(pgerr.InvalidAuthorizationSpecification, "no PostgreSQL user name specified in startup packet").
			WithSeverity(pgerr.SeverityFatal)
	}
	if st.database == "" {
		st.database = st.user
	}
	if minor > newestMinor || len(unknown) > 0 {
		at := c.out.begin('v')
		c.out.int32(protocol3 | newestMinor)
		c.out.int32(int32(len(unknown)))
		for _, name := range unknown {
			c.out.cstring(name)
		}
		c.out.end(at)
	}
	return st, nil
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(b[:i]), b[i+1:], true
}

// parseOptions understands the switches that postgres' own command line has for settings: -c name=value
// and --name=value. A backslash takes the next byte literally.
func parseOptions(s string, into map[string]string) error {
	var words []string
	var word strings.Builder
	open := false
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; {
		case ch == '\\' && i+1 < len(s):
			i++
			word.WriteByte(s[i])
			open = true
		case ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r':
			if open {
				words = append(words, word.String())
				word.Reset()
				open = false
			}
		default:
			word.WriteByte(ch)
			open = true
		}
	}
	if open {
		words = append(words, word.String())
	}
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case w == "-c" && i+1 < len(words):
			i++
			w = words[i]
		case strings.HasPrefix(w, "-c"):
			w = w[2:]
		case strings.HasPrefix(w, "--"):
			w = w[2:]
		default:
			return pgerr.New(pgerr.SyntaxError, "invalid command-line argument for server process: %s", w).
				WithSeverity(pgerr.SeverityFatal)
		}
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return pgerr.New(pgerr.SyntaxError, "-c %s requires a value", w).WithSeverity(pgerr.SeverityFatal)
		}
		into[strings.ReplaceAll(name, "-", "_")] = value
	}
	return nil
}

// serveCancel finds the session that a cancel request names. There is no answer, whatever the outcome: the
// key is all that the request has to prove itself.
func (c *conn) serveCancel(ctx context.Context, b []byte) {
	if len(b) < 4+cancelKeySize || len(b) > 4+cancelKeyLimit {
		return
	}
	pid, key := int32(binary.BigEndian.Uint32(b)), b[4:]
	if !c.srv.Cancel(pid, key) && c.srv.cfg.ForwardCancel != nil {
		c.srv.cfg.ForwardCancel(ctx, pid, key)
	}
}

// Cancel carries out a cancel request, if its key is right, and reports whether the session is here.
func (s *Server) Cancel(pid int32, key []byte) bool {
	target := s.lookup(pid)
	if target == nil {
		return false
	}
	if subtle.ConstantTimeCompare(key, target.cancelKey) != 1 {
		return true
	}
	// The statement was sent before the request, but may not have been begun, or not all of its messages.
	for range cancelTries {
		if target.session.Cancel() {
			break
		}
		time.Sleep(cancelPause)
	}
	return true
}
