package pgwire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Message types that a client may send.
const (
	msgBind         = 'B'
	msgClose        = 'C'
	msgCopyData     = 'd'
	msgCopyDone     = 'c'
	msgCopyFail     = 'f'
	msgDescribe     = 'D'
	msgExecute      = 'E'
	msgFlush        = 'H'
	msgFunctionCall = 'F'
	msgParse        = 'P'
	msgPassword     = 'p'
	msgQuery        = 'Q'
	msgSync         = 'S'
	msgTerminate    = 'X'
)

// Sizes in bytes.
const (
	headerSize      = 5        // type and length of a message
	guardReadSize   = 8 << 10  // the buffer a connection keeps while idle
	guardGrowStep   = 1 << 20  // a claimed length is believed only as far as its bytes arrive
	guardShrinkSize = 64 << 10 // a buffer grown past this is dropped after the message
	authMessageSize = 8 << 10  // largest message before authentication
	smallMessage    = 16 << 10 // largest Describe, Execute, Close, Flush, Sync, CopyDone, Terminate
)

// guard is the ChunkReader that stands between the socket and pgproto3's decoder. That decoder trusts the
// lengths it reads: an empty Query, a parameter of length -2 or any short FunctionCall panics it, and five
// bytes make it allocate a gibibyte. The guard hands on only messages that are known to be harmless, so it
// sees every byte first: header checks the type and the length against a limit, and check the content of
// those types whose decoder is not total.
//
// It owns the read buffer. Bytes returned stay valid until the next call of header or Next.
type guard struct {
	r    io.Reader
	buf  []byte // buf[pos:end] is read and not yet consumed
	pos  int
	end  int
	max  int // largest message body
	auth bool

	// beforeRead is called before every read of r: the connection flushes there, so that pipelined
	// requests are answered by one write.
	beforeRead func() error

	typ     byte // of the message whose header has been seen
	length  int  // of its body
	have    bool // a header has been seen and its body not been consumed
	checked bool // check has passed the body
	served  bool // Next has handed the header to the decoder
	hdr     [headerSize]byte
}

func newGuard(r io.Reader, max int) *guard {
	return &guard{r: r, buf: make([]byte, guardReadSize), max: max}
}

// authenticated lifts the small limits that hold for strangers.
func (g *guard) authenticated() { g.auth = true }

// buffered returns the number of bytes read from the socket and not yet consumed.
func (g *guard) buffered() int { return g.end - g.pos }

// fill reads until n bytes are buffered. It grows the buffer in steps, as data arrives.
func (g *guard) fill(n int) error {
	for g.end-g.pos < n {
		if g.pos == g.end {
			g.pos, g.end = 0, 0
			if len(g.buf) > guardShrinkSize && n <= guardReadSize {
				g.buf = make([]byte, guardReadSize)
			}
		}
		if g.pos+n > len(g.buf) || g.end == len(g.buf) {
			have := g.end - g.pos
			want := min(n, have+guardGrowStep)
			if want <= len(g.buf) && have < len(g.buf) {
				copy(g.buf, g.buf[g.pos:g.end])
			} else {
				grown := make([]byte, max(want, min(2*len(g.buf), len(g.buf)+guardGrowStep)))
				copy(grown, g.buf[g.pos:g.end])
				g.buf = grown
			}
			g.pos, g.end = 0, have
		}
		if g.beforeRead != nil {
			if err := g.beforeRead(); err != nil {
				return err
			}
		}
		k, err := g.r.Read(g.buf[g.end:])
		g.end += k
		if err != nil && g.end-g.pos < n {
			if errors.Is(err, io.EOF) && g.end > g.pos {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// nextIs reports whether the next message has been received, at least in part, and is of a type.
func (g *guard) nextIs(typ byte) bool { return g.pos < g.end && g.buf[g.pos] == typ }

// raw consumes n bytes without looking at them, for the start-up packets, which have no type.
func (g *guard) raw(n int) ([]byte, error) {
	if err := g.fill(n); err != nil {
		return nil, err
	}
	b := g.buf[g.pos : g.pos+n]
	g.pos += n
	return b, nil
}

// peek returns the next byte without consuming it.
func (g *guard) peek() (byte, error) {
	if err := g.fill(1); err != nil {
		return 0, err
	}
	return g.buf[g.pos], nil
}

// header reads the next message's type and checks its length. The caller then either lets the decoder
// take the message through Next, or drops it with skip.
func (g *guard) header() (byte, error) {
	if g.have {
		return g.typ, nil
	}
	h, err := g.raw(headerSize)
	if err != nil {
		return 0, err
	}
	typ, size := h[0], binary.BigEndian.Uint32(h[1:])
	limit := g.max
	switch typ {
	case msgBind, msgCopyData, msgCopyFail, msgFunctionCall, msgParse, msgQuery:
	case msgClose, msgCopyDone, msgDescribe, msgExecute, msgFlush, msgSync, msgTerminate:
		limit = min(limit, smallMessage)
	case msgPassword:
		limit = min(limit, authMessageSize)
	default:
		return 0, protocolError("invalid frontend message type %d", typ)
	}
	if !g.auth {
		if typ != msgPassword && typ != msgTerminate {
			return 0, protocolError("expected password response, got message type %d", typ)
		}
		limit = min(limit, authMessageSize)
	}
	if size < 4 {
		return 0, protocolError("invalid message length")
	}
	if int64(size)-4 > int64(limit) {
		return 0, pgerr.New(pgerr.ProgramLimitExceeded, "message of %d bytes exceeds the limit of %d bytes", size, limit+4).
			WithSeverity(pgerr.SeverityFatal)
	}
	g.typ, g.length = typ, int(size)-4
	g.have, g.checked, g.served = true, false, false
	return typ, nil
}

// skip drops the body of the message that header announced.
func (g *guard) skip() error {
	for g.length > 0 {
		n := min(g.length, guardReadSize)
		if _, err := g.raw(n); err != nil {
			return err
		}
		g.length -= n
	}
	g.have = false
	return nil
}

// body consumes the body of the message that header announced. It is valid until the next read.
func (g *guard) body() ([]byte, error) {
	b, err := g.raw(g.length)
	if err == nil {
		g.have = false
	}
	return b, err
}

// check reads the body of the message that header announced and looks whether the decoder survives it. If
// not, the message is consumed and the error, which leaves the framing intact, tells the client.
func (g *guard) check() error {
	if err := g.fill(g.length); err != nil {
		return err
	}
	err := checkBody(g.typ, g.buf[g.pos:g.pos+g.length])
	if err == nil {
		g.checked = true
		return nil
	}
	g.pos += g.length
	g.have = false
	return err
}

// Next implements pgproto3.ChunkReader. The decoder asks for a header, then for the body.
func (g *guard) Next(n int) ([]byte, error) {
	switch {
	case !g.have || !g.checked:
		return nil, protocolError("message reached the decoder unchecked")
	case !g.served:
		if n != headerSize {
			return nil, protocolError("decoder asked for %d bytes of a header", n)
		}
		g.served = true
		g.hdr[0] = g.typ
		binary.BigEndian.PutUint32(g.hdr[1:], uint32(g.length+4))
		return g.hdr[:], nil
	case n != g.length:
		return nil, protocolError("decoder asked for %d bytes of a message of %d", n, g.length)
	}
	g.have = false
	return g.raw(n)
}

// checkBody refuses what pgproto3's decoders of these types do not survive.
func checkBody(typ byte, body []byte) error {
	switch typ {
	case msgQuery, msgCopyFail:
		if len(body) == 0 || body[len(body)-1] != 0 {
			return formatError("invalid message format")
		}
	case msgFunctionCall:
		// Its decoder checks nothing at all; the connection answers the message without decoding it.
		return formatError("function call message reached the decoder")
	case msgBind:
		return checkBind(body)
	}
	return nil
}

// checkBind walks a Bind message as its decoder does and checks every count and length on the way.
func checkBind(b []byte) error {
	for range 2 {
		i := bytes.IndexByte(b, 0)
		if i < 0 {
			return formatError("invalid string in message")
		}
		b = b[i+1:]
	}
	count := func(size int) (int, bool) {
		if len(b) < 2 {
			return 0, false
		}
		n := int(binary.BigEndian.Uint16(b))
		b = b[2:]
		return n, n*size <= len(b)
	}
	n, ok := count(2)
	if !ok {
		return formatError("insufficient data left in message")
	}
	b = b[2*n:]
	if n, ok = count(4); !ok {
		return formatError("insufficient data left in message")
	}
	for range n {
		if len(b) < 4 {
			return formatError("insufficient data left in message")
		}
		size := int64(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if size < -1 || size > int64(len(b)) {
			return formatError("insufficient data left in message")
		}
		if size > 0 {
			b = b[size:]
		}
	}
	if n, ok = count(2); !ok || len(b) != 2*n {
		return formatError("invalid message format")
	}
	return nil
}

// formatError is an ERROR: the message was complete, so the next one can be found.
func formatError(format string, args ...any) *pgerr.Error {
	return pgerr.New(pgerr.ProtocolViolation, format, args...)
}

// protocolError is the FATAL error after which a connection is closed, because its framing is lost.
func protocolError(format string, args ...any) *pgerr.Error {
	return pgerr.New(pgerr.ProtocolViolation, format, args...).WithSeverity(pgerr.SeverityFatal)
}
