package truetime

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestMarzullo checks majorityInterval on small examples; each line of input is a named interval.
func TestMarzullo(t *testing.T) {
	datadriven.RunTest(t, "testdata/marzullo", func(t *testing.T, d *datadriven.TestData) string {
		var names []string
		var ivs []Interval
		for line := range strings.Lines(d.Input) {
			var n string
			var lo, hi int64
			if _, err := fmt.Sscanf(line, "%s %d %d", &n, &lo, &hi); err != nil {
				d.Fatalf(t, "%q: %v", line, err)
			}
			names, ivs = append(names, n), append(ivs, Interval{Timestamp(lo), Timestamp(hi)})
		}
		var need int
		d.ScanArgs(t, "need", &need)
		hull, ok := majorityInterval(ivs, need)
		if !ok {
			return "none"
		}
		out := fmt.Sprintf("[%d, %d]", hull.Earliest, hull.Latest)
		for i, iv := range ivs {
			if !iv.Overlaps(hull) {
				out += "\nliar " + names[i]
			}
		}
		return out
	})
}

// TestCore runs the protocol traces. Times are microseconds; raw time starts at 0 and true time, in an
// honest world, is raw+1000000.
func TestCore(t *testing.T) {
	datadriven.Walk(t, "testdata/core", func(t *testing.T, path string) {
		var c *core
		var raw int64
		const us, zero = int64(1000), int64(1_000_000_000)
		show := func() string {
			var b strings.Builder
			if iv, ok := c.now(raw); ok {
				fmt.Fprintf(&b, "now [%+.1f, %+.1f] about true time\n", float64(int64(iv.Earliest)-raw-zero)/1e3, float64(int64(iv.Latest)-raw-zero)/1e3)
			} else {
				b.WriteString("now unknown\n")
			}
			for i := range c.src {
				fmt.Fprintf(&b, "%s: %s\n", c.src[i].name, c.src[i].verdict)
			}
			if why := c.fence(); why != "" {
				fmt.Fprintf(&b, "fenced: %s\n", why)
			}
			return b.String()
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "new": // new sources=(a,b,c)
				arg, _ := d.Arg("sources")
				raw = 0
				c = newCore(arg.Vals, 200, 50*time.Millisecond, 3, 10*time.Second)
				return ""
			case "advance":
				var n int64
				d.ScanArgs(t, "us", &n)
				raw += n * us
				return show()
			case "samples": // each line: source offset-from-truth bound
				for line := range strings.Lines(d.Input) {
					var name string
					var off, bound int64
					if _, err := fmt.Sscanf(line, "%s %d %d", &name, &off, &bound); err != nil {
						d.Fatalf(t, "%q: %v", line, err)
					}
					i := sourceIndex(c, name)
					if bound < 0 {
						c.fail(raw, i, errors.New("timeout"))
						continue
					}
					c.sample(raw, i, Sample{Raw: raw, Offset: zero + off*us, Bound: time.Duration(bound * us)})
				}
				return show()
			case "pause":
				c.pause(raw)
				return show()
			case "peers": // each line: id earliest latest, about true time
				ours, _ := c.now(raw)
				for line := range strings.Lines(d.Input) {
					var id uint64
					var lo, hi int64
					if _, err := fmt.Sscanf(line, "%d %d %d", &id, &lo, &hi); err != nil {
						d.Fatalf(t, "%q: %v", line, err)
					}
					at := raw + zero
					c.peer(raw, id, Interval{Timestamp(at + lo*us), Timestamp(at + hi*us)}, ours)
				}
				return show()
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func sourceIndex(c *core, name string) int {
	for i := range c.src {
		if c.src[i].name == name {
			return i
		}
	}
	panic(name)
}

// TestIntervalContainsTruth is I1 as a property: honest sources within their bounds, an oscillator within
// its drift, any minority of liars, lost polls and pauses; at every moment the interval contains true time
// and Earliest never goes back while no pause intervenes.
func TestIntervalContainsTruth(t *testing.T) {
	for seed := range uint64(300) {
		if err := simulate(seed, 200); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestDriftMatters runs the same world with a core that does not age its samples, and expects I1 to break.
func TestDriftMatters(t *testing.T) {
	for seed := range uint64(300) {
		if simulate(seed, 0) != nil {
			return
		}
	}
	t.Fatal("without drift growth no run violated I1: the property test proves nothing")
}

func simulate(seed uint64, ppm int64) error {
	rng := rand.New(rand.NewPCG(seed, 7))
	n := 1 + rng.IntN(6)
	liars := rng.IntN((n-1)/2 + 1)
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("s", i))
	}
	c := newCore(names, ppm, time.Second, 3, time.Second)
	truth, raw := float64(1e18), float64(0)
	rate := 1 + (rng.Float64()*2-1)*200e-6 // raw seconds per true second
	var last Interval
	for step := range 400 {
		dt := rng.Float64() * 2e8
		truth += dt
		raw += dt * rate
		if rng.IntN(50) == 0 {
			rate = 1 + (rng.Float64()*2-1)*199e-6
		}
		if rng.IntN(150) == 0 { // suspended: raw stands still
			truth += rng.Float64() * 1e10
			c.pause(int64(raw))
			last = Interval{}
		}
		i := rng.IntN(n)
		switch {
		case rng.IntN(10) == 0 && c.src[i].n > 0: // One that was never heard counts among the liars.
			c.fail(int64(raw), i, errors.New("lost"))
		default:
			bound := float64(10_000 + rng.IntN(3_000_000))
			off := truth - raw + (rng.Float64()*2-1)*bound
			if i < liars {
				off += (rng.Float64()*2 - 1) * 5e6
				bound = rng.Float64() * 1e5
			}
			c.sample(int64(raw), i, Sample{Raw: int64(raw), Offset: int64(off), Bound: time.Duration(bound) + 1500})
		}
		iv, ok := c.now(int64(raw))
		if !ok {
			continue
		}
		// float64 has a resolution of 128 ns at 1e18.
		if at := Timestamp(truth); iv.Earliest > at+1000 || iv.Latest < at-1000 {
			return fmt.Errorf("step %d: truth %d outside %v", step, at, iv)
		}
		if c.contradictions > 0 {
			return fmt.Errorf("step %d: contradiction in an honest world", step)
		}
		if iv.Earliest < last.Earliest {
			return fmt.Errorf("step %d: Earliest went back from %d to %d", step, last.Earliest, iv.Earliest)
		}
		last = iv
	}
	return nil
}
