package truetime

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Sample is one reading of a source: at the moment Raw of the local clock, true time was within Bound of
// Raw+Offset, if the source is honest.
type Sample struct {
	Raw    int64         // LocalClock.Raw at the reading, nanoseconds.
	Offset int64         // True time minus Raw, nanoseconds.
	Bound  time.Duration // Everything that can be wrong with it at Raw; growth since then is the clock's to add.
}

// at returns the interval of true time at raw that s implies when the local clock drifts by at most ppm.
func (s Sample) at(raw int64, ppm int64) Interval {
	age := raw - s.Raw
	if age < 0 {
		age = -age
	}
	half := int64(s.Bound) + driftOver(age, ppm)
	mid := raw + s.Offset
	return Interval{Earliest: Timestamp(mid - half), Latest: Timestamp(mid + half)}
}

// driftOver bounds how far a clock with the given drift goes wrong over ns nanoseconds, rounded up.
func driftOver(ns, ppm int64) int64 {
	if ns > 1<<62/(ppm+1) {
		return ns // Only reachable after months without a sample.
	}
	return (ns*ppm + 999_999) / 1_000_000
}

// Source is one place to learn the time from.
type Source interface {
	// Name identifies the source in logs, metrics and the clock view: "ntp://host:port", "kernel".
	Name() string
	// Sample reads the source once, against local. It honours ctx's deadline.
	Sample(ctx context.Context, local LocalClock) (Sample, error)
}

// BackOffError is returned by a Source that has been told to ask less often (an NTP kiss of death). The
// clock leaves the source alone for After.
type BackOffError struct {
	After time.Duration
	Err   error
}

func (e *BackOffError) Error() string { return e.Err.Error() }
func (e *BackOffError) Unwrap() error { return e.Err }

// ParseSource makes a source from its configuration form: "ntp://host[:port]", "kernel" or "host".
func ParseSource(s string) (Source, error) {
	switch {
	case s == "kernel":
		return KernelSource()
	case s == "host":
		return HostSource(), nil
	case strings.HasPrefix(s, "ntp://"):
		addr := strings.TrimPrefix(s, "ntp://")
		host, port := addr, "123"
		if h, p, err := net.SplitHostPort(addr); err == nil {
			host, port = h, p
		} else if strings.Count(addr, ":") == 1 {
			return nil, fmt.Errorf("time source %q: %w", s, err)
		}
		if n, err := strconv.ParseUint(port, 10, 16); host == "" || err != nil || n == 0 || strings.ContainsAny(host, "/@? ") {
			return nil, fmt.Errorf("time source %q: want ntp://host or ntp://host:port", s)
		}
		return NTPSource(net.JoinHostPort(strings.Trim(host, "[]"), port)), nil
	}
	return nil, fmt.Errorf("time source %q: want ntp://host:port or kernel", s)
}

// HostSource takes the host's wall clock for the truth. It is the source of a single node, or of nodes that
// all share one host: they agree with each other by construction, whatever the wall clock says.
func HostSource() Source { return hostSource{} }

type hostSource struct{}

func (hostSource) Name() string { return "host" }

func (hostSource) Sample(_ context.Context, local LocalClock) (Sample, error) {
	before := local.Raw()
	wall := time.Now().UnixNano()
	after := local.Raw()
	mid := before + (after-before)/2
	return Sample{Raw: mid, Offset: wall - mid, Bound: time.Duration(after-before)/2 + time.Microsecond}, nil
}
