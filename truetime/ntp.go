package truetime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/beevik/ntp"
)

// ntpShortError covers what an NTP packet cannot say: root delay and root dispersion travel with a
// resolution of 15.26 µs each, and servers truncate them.
const ntpShortError = 31 * time.Microsecond

// NTPSource asks the NTP server at addr ("host:port").
func NTPSource(addr string) Source { return &ntpSource{addr: addr} }

// ntpSource keeps its socket for the next sample: one that is made and closed for each takes most of the system calls
// of a node that does nothing else. The clock takes one sample at a time.
type ntpSource struct {
	addr string
	mu   sync.Mutex
	conn net.Conn // nil before the first sample, and after one that failed
}

// keptConn is a connection that its user does not close.
type keptConn struct{ net.Conn }

func (keptConn) Close() error { return nil }

// dial lends the socket to a query.
func (s *ntpSource) dial(_, addr string) (net.Conn, error) {
	if s.conn == nil {
		c, err := net.Dial("udp", addr)
		if err != nil {
			return nil, err
		}
		s.conn = c
	}
	return keptConn{s.conn}, nil
}

// Close closes the socket. The next sample makes a new one.
func (s *ntpSource) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drop()
}

func (s *ntpSource) drop() error {
	c := s.conn
	if s.conn = nil; c == nil {
		return nil
	}
	return c.Close()
}

func (s *ntpSource) Name() string { return "ntp://" + s.addr }

func (s *ntpSource) Sample(ctx context.Context, local LocalClock) (Sample, error) {
	opt := ntp.QueryOptions{Timeout: time.Second}
	if d, ok := ctx.Deadline(); ok {
		opt.Timeout = max(time.Until(d), time.Millisecond)
	}
	// The library's clock is ours: Raw, moved to some moment of this century so that its arithmetic on
	// time.Time does not saturate. What it calls the clock offset is then an offset of Raw.
	anchor := int64(1_700_000_000_000_000_000) - local.Raw()
	opt.GetSystemTime = func() time.Time { return time.Unix(0, anchor+local.Raw()) }
	s.mu.Lock()
	defer s.mu.Unlock()
	opt.Dialer = s.dial
	r, err := ntp.QueryWithOptions(s.addr, opt)
	if err != nil {
		// An answer may still come, and the name may stand for another host by now.
		_ = s.drop()
		return Sample{}, err
	}
	if err := r.Validate(); err != nil {
		_ = s.drop()
		if r.IsKissOfDeath() {
			after := 10 * time.Minute // DENY, RSTR: we are not wanted.
			if r.KissCode == "RATE" {
				after = max(64*time.Second, r.Poll)
			}
			return Sample{}, &BackOffError{After: after, Err: fmt.Errorf("kiss of death %s: %w", r.KissCode, err)}
		}
		return Sample{}, err
	}
	return ntpSample(r, anchor)
}

// ntpSample computes the bound of one exchange. The server read its clock at T2 and T3; between our T1 and
// T4 lie its T3-T2 and the two flights, and the sum of the flights is all we know about either.
func ntpSample(r *ntp.Response, anchor int64) (Sample, error) {
	t := r.Timestamps
	total, held := t.ClientRecv.Sub(t.ClientXmit), t.ServerXmit.Sub(t.ServerRecv)
	rtt := total - held
	if held < 0 || rtt < 0 {
		return Sample{}, errors.New("the server's receive and transmit stamps do not fit into the round trip")
	}
	raw := t.ClientRecv.UnixNano() - anchor
	// At T4 true time is in [T3, T3+rtt], widened by what the server says about its own error.
	mid := t.ServerXmit.UnixNano() + int64(rtt/2)
	bound := rtt/2 + 1 + r.RootDelay/2 + r.RootDispersion + r.Precision + time.Microsecond + ntpShortError
	return Sample{Raw: raw, Offset: mid - raw, Bound: bound}, nil
}
