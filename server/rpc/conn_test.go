package rpc

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
)

// pipe is a connection over loopback, and its other end.
func pipe(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close(); there.Close() })
	c := newConn(here)
	c.sock.hurry()
	return c, there
}

// TestSocket: writing to a peer that does not read ends at once, whatever the kernel has room for, and the peer gets
// everything in order once it reads.
func TestSocket(t *testing.T) {
	c, there := pipe(t)
	if !c.eager() {
		t.Fatal("a TCP connection waits")
	}
	var sent bytes.Buffer
	for i := uint32(0); !c.behind() || sent.Len() < 32<<20; i++ { // The kernel's buffers grow to some MB.
		b := bytes.Repeat(binary.BigEndian.AppendUint32(nil, i), 4<<10)
		sent.Write(b)
		if err := c.try(b); err != nil {
			t.Fatal(err)
		}
	}
	flushed := make(chan error, 1)
	go func() {
		flushed <- c.write([]byte("end"))
		c.Close()
	}()
	sent.WriteString("end")
	got, err := io.ReadAll(there)
	if err != nil || !bytes.Equal(got, sent.Bytes()) {
		t.Errorf("%d bytes of %d arrived, %v", len(got), sent.Len(), err)
	}
	if err := <-flushed; err != nil {
		t.Error(err)
	}
}

// TestSocketClosed: who waits for a peer that does not read is freed by Close.
func TestSocketClosed(t *testing.T) {
	c, _ := pipe(t)
	for !c.behind() {
		if err := c.try(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	entered, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		close(entered)
		ended <- c.write(nil)
	}()
	<-entered
	c.Close()
	if err := <-ended; err == nil {
		t.Error("all was written to a peer that reads nothing")
	}
	if err := c.try([]byte("x")); err == nil && !c.behind() {
		t.Error("a closed connection was written to")
	}
}

// TestReadBlock: blocks of all sizes come through, an announced length costs no memory before its bytes are there, and what
// is cut or too large is an error.
func TestReadBlock(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 127, 128, trustedBytes - 1, trustedBytes, trustedBytes + 1, 5*trustedBytes + 7}
	for i, n := range sizes {
		stream = append(binary.AppendUvarint(stream, uint64(n)), bytes.Repeat([]byte{byte(i)}, n)...)
	}
	c := &conn{r: bufio.NewReader(bytes.NewReader(stream))}
	for i, n := range sizes {
		b, err := c.readBlock(1 << 20)
		if err != nil || !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, n)) {
			t.Fatalf("block %d of %d bytes: %d bytes, %v", i, n, len(b), err)
		}
	}
	if _, err := c.readBlock(1 << 20); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	announced := binary.AppendUvarint(nil, MaxPayload)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c = &conn{r: bufio.NewReader(bytes.NewReader(append(announced, make([]byte, 10)...)))}
	if _, err := c.readBlock(maxFrame); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut block: %v", err)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("%d bytes allocated for ten", after.TotalAlloc-before.TotalAlloc)
	}
	for what, b := range map[string][]byte{"too large": binary.AppendUvarint(nil, maxFrame+1), "no length": bytes.Repeat([]byte{0xff}, 11)} {
		c := &conn{r: bufio.NewReader(bytes.NewReader(b))}
		if _, err := c.readBlock(maxFrame); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
