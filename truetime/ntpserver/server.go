// Package ntpserver answers SNTP (RFC 4330, server mode): the time source of closed networks, of the demo
// and of tests, so that the NTP path of truetime is the real one everywhere.
//
// It guarantees that an answer's transmit time is what Config.Clock read while the request was held, and that
// it never answers with more bytes than it was asked with. It owns one goroutine, from Listen to Close. How
// good the time is that it hands out is its operator's claim, made through RootDispersion.
package ntpserver

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// Config configures a Server. A zero field takes the default named in its comment.
type Config struct {
	Addr string // host:port to listen on, UDP. Required; port 0 lets the kernel choose.
	// Clock reads the time to hand out. Default time.Now: the host's wall clock, as some daemon keeps it.
	Clock func() time.Time
	Reply Reply
}

// Reply is what the server claims about its time. Tests lie with it.
type Reply struct {
	Offset         time.Duration // Added to Clock.
	RootDelay      time.Duration
	RootDispersion time.Duration // The stated error of Clock. Default 15.3µs, the smallest that NTP can express.
	Delay          time.Duration // The answer is held back for this long after its transmit stamp.
	Stratum        uint8         // Default 1. 16 is "unsynchronised"; Kiss needs 0.
	Leap           uint8         // 0 none, 1 and 2 leap second, 3 not in sync.
	Kiss           string        // A kiss code ("RATE", "DENY"): stratum 0.
	Silent         bool          // No answer at all.
}

// Server is a running responder.
type Server struct {
	cfg    Config
	conn   *net.UDPConn
	reply  atomic.Pointer[Reply]
	served atomic.Uint64
	done   chan struct{}
	late   sync.WaitGroup // answers held back
}

// Listen opens the port and starts answering.
func Listen(cfg Config) (*Server, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	addr, err := net.ResolveUDPAddr("udp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("time server: %w", err)
	}
	conn, err := net.ListenUDP("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("time server: %w", err)
	}
	s := &Server{cfg: cfg, conn: conn, done: make(chan struct{})}
	s.Set(cfg.Reply)
	go s.run()
	return s, nil
}

// Addr returns the address that the server listens on.
func (s *Server) Addr() string { return s.conn.LocalAddr().String() }

// Set changes what the server says from the next answer on.
func (s *Server) Set(r Reply) {
	if r.Kiss == "" {
		r.Stratum = cmp.Or(r.Stratum, 1)
	} else {
		r.Stratum = 0
	}
	r.RootDispersion = max(r.RootDispersion, 15300*time.Nanosecond)
	s.reply.Store(&r)
}

// Served returns how many requests have been answered.
func (s *Server) Served() uint64 { return s.served.Load() }

// Close stops the server and waits for its goroutine.
func (s *Server) Close() error {
	err := s.conn.Close()
	<-s.done
	s.late.Wait()
	return err
}

func (s *Server) run() {
	defer close(s.done)
	var buf [1024]byte
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf[:])
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue // An ICMP refusal of an earlier answer, for example.
		}
		r := s.reply.Load()
		recv := s.cfg.Clock().Add(r.Offset)
		out, ok := respond(buf[:n], *r, recv)
		if !ok || r.Silent {
			continue
		}
		send := func() {
			s.conn.WriteToUDPAddrPort(out[:], from)
			s.served.Add(1)
		}
		binary.BigEndian.PutUint64(out[40:], ntpTime(s.cfg.Clock().Add(r.Offset)))
		if r.Delay == 0 {
			send()
			continue
		}
		s.late.Add(1)
		time.AfterFunc(r.Delay, func() { defer s.late.Done(); send() })
	}
}

// respond builds the answer to one request but for its transmit stamp.
func respond(req []byte, r Reply, recv time.Time) (out [48]byte, ok bool) {
	if len(req) < 48 {
		return out, false
	}
	version, mode := req[0]>>3&7, req[0]&7
	if mode != 3 || version < 1 || version > 4 {
		return out, false // Not a client's question; answering could start a ping-pong between servers.
	}
	out[0] = r.Leap<<6 | version<<3 | 4
	out[1] = r.Stratum
	out[2] = req[2]
	out[3] = 0xec // Precision 2^-20 s.
	binary.BigEndian.PutUint32(out[4:], ntpShort(r.RootDelay))
	binary.BigEndian.PutUint32(out[8:], ntpShort(r.RootDispersion))
	copy(out[12:16], cmp.Or(r.Kiss, "LOCL"))
	binary.BigEndian.PutUint64(out[16:], ntpTime(recv))
	copy(out[24:32], req[40:48])
	binary.BigEndian.PutUint64(out[32:], ntpTime(recv))
	return out, true
}

// ntpTime converts to seconds since 1900 with a 32-bit fraction; the era is implied.
func ntpTime(t time.Time) uint64 {
	const to1900 = 2208988800
	return uint64(t.Unix()+to1900)<<32 | uint64(t.Nanosecond())<<32/1e9
}

// ntpShort converts to 16.16 seconds, rounding up: a bound must not shrink on the way.
func ntpShort(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	v := (uint64(d)<<16 + 1e9 - 1) / 1e9
	return uint32(min(v, 1<<32-1))
}

// AnchoredClock returns a clock that takes the wall time once, and from then on counts local's raw time, so
// that no daemon's slewing of the wall clock makes it run differently from its readers' oscillator. After a
// suspend it takes the wall time anew. It serves the readers of one host, who then agree exactly.
func AnchoredClock(local truetime.LocalClock) func() time.Time {
	var mu sync.Mutex
	anchor := func() (off, boot int64) {
		return time.Now().UnixNano() - local.Raw(), local.Boot() - local.Raw()
	}
	off, boot := anchor()
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		raw := local.Raw()
		b := local.Boot()
		if after := local.Raw(); after-raw < int64(200*time.Microsecond) { // Else we were descheduled; the next call will see.
			// BOOTTIME may be slewed against RAW by a daemon, a little at a time; a suspend is a jump.
			if b-after-boot > int64(5*time.Millisecond) {
				off, boot = anchor()
			} else {
				boot = b - after
			}
			raw = after
		}
		return time.Unix(0, off+raw)
	}
}
