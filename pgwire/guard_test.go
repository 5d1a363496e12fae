package pgwire

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/jackc/pgproto3/v2"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// decodeAll feeds bytes to the decoder behind the guard, as a connection does, and returns the messages it
// took and the error that ended it.
func decodeAll(b []byte, authenticated bool, max int) (n int, err error) {
	g := newGuard(bytes.NewReader(b), max)
	if authenticated {
		g.authenticated()
	}
	c := &conn{guard: g, backend: pgproto3.NewBackend(g, io.Discard)}
	for {
		typ, err := g.header()
		if err != nil {
			return n, err
		}
		if typ == msgFunctionCall {
			if err := g.skip(); err != nil {
				return n, err
			}
			n++
			continue
		}
		if _, err := c.receive(); err != nil && (isDisconnect(err) || isFatalError(err)) {
			return n, err
		}
		n++
	}
}

func isFatalError(err error) bool {
	e, ok := err.(*pgerr.Error)
	return ok && e.Severity == pgerr.SeverityFatal
}

func message(typ byte, body ...byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{typ}, uint32(len(body)+4))
	return append(b, body...)
}

// Each of these panics pgproto3 v2.3.3 when it is decoded without the guard.
var hostileMessages = map[string][]byte{
	"empty query":           message('Q'),
	"empty copy fail":       message('f'),
	"parameter length -2":   message('B', 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe, 0, 0),
	"short function call":   message('F', 0, 0),
	"null function call":    message('F', 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0),
	"bind counts overflow":  message('B', 0, 0, 0xff, 0xff),
	"bind formats overflow": message('B', 0, 0, 0, 0, 0, 0, 0xff, 0xff),
	"short bind":            message('B', 0),
}

func TestGuardStopsWhatPanicsTheDecoder(t *testing.T) {
	for name, msg := range hostileMessages {
		t.Run(name, func(t *testing.T) {
			sync := message('S')
			n, err := decodeAll(append(bytes.Clone(msg), sync...), true, 1<<20)
			if err != io.EOF || n != 2 {
				t.Fatalf("decoded %d messages, error %v; want the bad one answered, and the Sync behind it read", n, err)
			}
		})
	}
}

func TestGuardLimits(t *testing.T) {
	huge := []byte{'Q', 0x40, 0, 0, 0} // claims 1 GiB
	for _, c := range []struct {
		name  string
		auth  bool
		bytes []byte
		code  string
	}{
		{"claimed gibibyte", true, huge, pgerr.ProgramLimitExceeded},
		{"query before authentication", false, message('Q', 0), pgerr.ProtocolViolation},
		{"large password", false, message('p', make([]byte, authMessageSize+1)...), pgerr.ProgramLimitExceeded},
		{"unknown type", true, message('y'), pgerr.ProtocolViolation},
		{"length below four", true, []byte{'Q', 0, 0, 0, 3}, pgerr.ProtocolViolation},
		{"large sync", true, message('S', make([]byte, smallMessage+1)...), pgerr.ProgramLimitExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decodeAll(c.bytes, c.auth, 1<<20)
			if pgerr.Code(err) != c.code || !isFatalError(err) {
				t.Fatalf("error %v, want FATAL %s", err, c.code)
			}
		})
	}
}

// A header alone must not make the guard allocate what it claims.
func TestGuardAllocatesAsBytesArrive(t *testing.T) {
	claim := append([]byte{'d', 0x30, 0, 0, 0}, make([]byte, 100)...)
	g := newGuard(bytes.NewReader(claim), 1<<30)
	g.authenticated()
	if _, err := g.header(); err != nil {
		t.Fatal(err)
	}
	if err := g.check(); err != io.ErrUnexpectedEOF {
		t.Fatalf("error %v", err)
	}
	if len(g.buf) > 2*guardGrowStep {
		t.Fatalf("buffer grew to %d bytes for 100 received", len(g.buf))
	}
}

func TestGuardReadsAcrossBufferBoundaries(t *testing.T) {
	var in []byte
	for i := range 200 {
		in = append(in, message('d', bytes.Repeat([]byte{byte(i)}, i*97)...)...)
	}
	g := newGuard(iotestOneByteReader{bytes.NewReader(in)}, 1<<20)
	g.authenticated()
	c := &conn{guard: g, backend: pgproto3.NewBackend(g, io.Discard)}
	for i := range 200 {
		msg, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		if d := msg.(*pgproto3.CopyData).Data; !bytes.Equal(d, bytes.Repeat([]byte{byte(i)}, i*97)) {
			t.Fatalf("message %d differs", i)
		}
	}
}

// iotestOneByteReader returns few bytes at a time.
type iotestOneByteReader struct{ r io.Reader }

func (r iotestOneByteReader) Read(b []byte) (int, error) { return r.r.Read(b[:min(len(b), 7)]) }

func FuzzGuard(f *testing.F) {
	for _, m := range hostileMessages {
		f.Add(m, true)
	}
	f.Add(message('P', []byte("s\x00SELECT $1\x00\x00\x01\x00\x00\x00\x17")...), true)
	f.Add(message('B', []byte("\x00s\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x04\x00\x00\x00\x07\x00\x01\x00\x01")...), true)
	f.Add(append(message('D', 'S', 0), message('E', 0, 0, 0, 0, 0)...), true)
	f.Add(message('p', []byte("SCRAM-SHA-256\x00\x00\x00\x00\x05n,,n=")...), false)
	f.Add(append(message('d', 1, 2, 3), append(message('c'), message('X')...)...), true)
	f.Fuzz(func(t *testing.T, b []byte, auth bool) {
		decodeAll(b, auth, 1<<16)
	})
}
