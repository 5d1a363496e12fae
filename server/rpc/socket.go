package rpc

import (
	"net"
	"sync"
	"syscall"
)

// socket is the connection below a conn, below TLS if there is any. Write gives the kernel what it takes at once and keeps
// the rest for flush. So whoever has something to say to a peer, a Raft worker or a request's handler, says it itself,
// without the detour over another goroutine, and still never waits for a peer that does not read.
type socket struct {
	net.Conn
	raw syscall.RawConn // nil: Write waits
	mu  struct {
		sync.Mutex
		kept []byte
		// What attempt works on: a closure for each write would have to be allocated.
		next []byte
		err  error
	}
	attempt func(fd uintptr) (done bool)
}

// keptBytes is how much of its buffer a socket that has been flushed holds on to.
const keptBytes = 256 << 10

// hurry ends the time in which Write waits, that of the handshake.
func (s *socket) hurry() {
	tcp, ok := s.Conn.(*net.TCPConn)
	if !ok {
		return
	}
	if raw, err := tcp.SyscallConn(); err == nil {
		s.raw, s.attempt = raw, s.writeNow
	}
}

// eager reports whether Write returns without waiting.
func (s *socket) eager() bool { return s.raw != nil }

// Write implements net.Conn. Without an error all of b counts as written.
func (s *socket) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.raw == nil {
		return s.Conn.Write(b)
	}
	rest := b
	if len(s.mu.kept) == 0 {
		s.mu.next, s.mu.err = b, nil
		err := s.raw.Write(s.attempt)
		if err == nil {
			err = s.mu.err
		}
		rest, s.mu.next = s.mu.next, nil
		if err != nil {
			return len(b) - len(rest), err
		}
	}
	s.mu.kept = append(s.mu.kept, rest...)
	return len(b), nil
}

// writeNow writes s.mu.next as far as the kernel takes it. It is called with s.mu held, by way of raw.
func (s *socket) writeNow(fd uintptr) bool {
	for len(s.mu.next) > 0 {
		n, err := syscall.Write(int(fd), s.mu.next)
		switch err {
		case nil:
			s.mu.next = s.mu.next[n:]
		case syscall.EINTR:
		case syscall.EAGAIN:
			return true
		default:
			s.mu.err = err
			return true
		}
	}
	return true
}

// behind reports whether Write has kept something.
func (s *socket) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.mu.kept) > 0
}

// flush writes what was kept, and waits for the peer to take it.
func (s *socket) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.mu.kept) == 0 {
		return nil
	}
	_, err := s.Conn.Write(s.mu.kept)
	if s.mu.kept = s.mu.kept[:0]; cap(s.mu.kept) > keptBytes {
		s.mu.kept = nil
	}
	return err
}
