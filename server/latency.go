package server

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Latency is simulated network latency between regions: the round trip added between two nodes. It is there for
// demonstrations and tests on one machine. The zero value adds nothing.
type Latency struct {
	pairs map[[2]string]time.Duration // by region names in order
	other time.Duration               // between two different regions that are not in pairs
}

// ParseLatency reads the value of --latency: "off", "lan" (0.5 ms between regions), "wan" (30 to 120 ms), "world" (what
// lies between the regions of KnownRegions, which all must be of), or the name of a file with lines "REGION REGION ROUND-TRIP", as in "eu-west us-east 80ms"; "* * 50ms" is for all other pairs.
// regions gives "wan" its distances: neighbours in the list are near.
func ParseLatency(s string, regions []string) (Latency, error) {
	switch s {
	case "", "off":
		return Latency{}, nil
	case "lan":
		return Latency{other: 500 * time.Microsecond}, nil
	case "world":
		for _, r := range regions {
			if _, ok := regionRoundTrips[r]; !ok {
				return Latency{}, fmt.Errorf("the distances of region %q are not known; those of %s are", r, strings.Join(KnownRegions(), ", "))
			}
		}
		return worldLatency(), nil
	case "wan":
		l := Latency{pairs: map[[2]string]time.Duration{}, other: 60 * time.Millisecond}
		for i, a := range regions {
			for j := i + 1; j < len(regions); j++ {
				l.pairs[pairOf(a, regions[j])] = min(time.Duration(j-i)*30*time.Millisecond, 120*time.Millisecond)
			}
		}
		return l, nil
	}
	f, err := os.Open(s)
	if err != nil {
		return Latency{}, fmt.Errorf("want off, lan, wan, world or a file with lines \"REGION REGION 80ms\": %w", err)
	}
	defer f.Close()
	return readLatency(f, s)
}

func readLatency(r io.Reader, name string) (Latency, error) {
	l := Latency{pairs: map[[2]string]time.Duration{}}
	sc := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for n := 1; sc.Scan(); n++ {
		text, _, _ := strings.Cut(sc.Text(), "#")
		f := strings.Fields(text)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 {
			return Latency{}, fmt.Errorf("%s:%d: want \"REGION REGION 80ms\"", name, n)
		}
		d, err := time.ParseDuration(f[2])
		if err != nil || d < 0 || d > time.Minute {
			return Latency{}, fmt.Errorf("%s:%d: %q is no round trip between 0s and 1m", name, n, f[2])
		}
		if f[0] == "*" && f[1] == "*" {
			l.other = d
		} else {
			l.pairs[pairOf(f[0], f[1])] = d
		}
	}
	return l, sc.Err()
}

func pairOf(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}

// RoundTrip returns the simulated round trip between two regions.
func (l Latency) RoundTrip(a, b string) time.Duration {
	if d, ok := l.pairs[pairOf(a, b)]; ok {
		return d
	}
	if a == b {
		return 0
	}
	return l.other
}

// Off reports whether no latency is simulated.
func (l Latency) Off() bool { return len(l.pairs) == 0 && l.other == 0 }
