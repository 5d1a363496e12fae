package rpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// conn is a connection between two nodes. After the handshake (handshake.go) it carries blocks in both directions, each a
// length (uvarint) and that many bytes; a block is a frame (frame.go). One goroutine reads, one at a time writes.
type conn struct {
	net.Conn         // TLS, or sock itself
	sock     *socket // below
	r        *bufio.Reader
}

const readBuffer = 64 << 10

func newConn(nc net.Conn) *conn {
	s := &socket{Conn: nc}
	return &conn{Conn: s, sock: s}
}

// secure puts TLS on the socket.
func (c *conn) secure(ctx context.Context, t *tls.Conn) error {
	c.Conn = t
	return t.HandshakeContext(ctx)
}

// Close ends the connection at once, also under whoever waits in write. TLS would take leave first; frames have ends of
// their own.
func (c *conn) Close() error { return c.sock.Close() }

// pieceBytes is how much of a large write is handed to the socket before it is flushed.
const pieceBytes = 64 << 10

// write sends b and waits until the kernel has all of it.
func (c *conn) write(b []byte) error {
	for {
		if err := c.sock.flush(); err != nil {
			return err
		}
		if len(b) == 0 {
			return nil
		}
		piece := b[:min(len(b), pieceBytes)]
		if _, err := c.Write(piece); err != nil {
			return err
		}
		b = b[len(piece):]
	}
}

// try sends b as far as the kernel takes it at once. What it does not take, behind tells, waits for write.
func (c *conn) try(b []byte) error {
	_, err := c.Write(b)
	return err
}

func (c *conn) eager() bool  { return c.sock.eager() }
func (c *conn) behind() bool { return c.sock.behind() }

// writeBlock sends one block.
func (c *conn) writeBlock(b []byte) error {
	return c.write(append(binary.AppendUvarint(make([]byte, 0, len(b)+binary.MaxVarintLen32), uint64(len(b))), b...))
}

// trustedBytes is the size up to which a block's announced length is believed before its bytes are there.
const trustedBytes = 64 << 10

// readBlock reads a block of at most limit bytes; it belongs to the caller. io.EOF means that the peer has closed the
// connection between two blocks.
func (c *conn) readBlock(limit int) ([]byte, error) {
	n, err := binary.ReadUvarint(c.r)
	if err != nil {
		return nil, err
	}
	if n > uint64(limit) {
		return nil, fmt.Errorf("%w: %d bytes announced", errFrame, n)
	}
	b := make([]byte, min(int(n), trustedBytes))
	for have := 0; ; {
		k, err := io.ReadFull(c.r, b[have:])
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if have += k; have == int(n) {
			return b, nil
		}
		more := make([]byte, min(int(n), 2*len(b)))
		copy(more, b)
		b = more
	}
}

// writeFrame sends one frame, where no outbox does.
func (c *conn) writeFrame(f *frame) error {
	return c.writeBlock(append(f.appendHead(nil), f.payload...))
}

// readFrame reads a frame of at most limit bytes, whose payload belongs to the caller.
func (c *conn) readFrame(f *frame, limit int) error {
	b, err := c.readBlock(limit)
	if err != nil {
		return err
	}
	return decodeFrame(b, f)
}

// lingerTime bounds how long a connection is drained.
const lingerTime = 5 * time.Second

// closeAfterAnswer closes a connection so that the peer gets what was written: were it closed over bytes that it has sent
// and nobody has read, the kernel would throw both away.
func (c *conn) closeAfterAnswer() {
	defer c.Close()
	if tcp, ok := c.sock.Conn.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
		tcp.SetReadDeadline(time.Now().Add(lingerTime))
		io.Copy(io.Discard, tcp)
	}
}
