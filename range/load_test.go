package ranges

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// The script in testdata/load says where a hot range is divided, given what it was asked.
//
//	balance          each line a request: a key, or start-end, and how often ("*3")
//	heat             each line a second: how many requests (as many times), with what key space ("uniform", "one"); prints
//	                 where the range would be split, and when
func TestLoadScript(t *testing.T) {
	d := desc(1, "a", "z", 1)
	datadriven.RunTest(t, "testdata/load", func(t *testing.T, td *datadriven.TestData) string {
		switch td.Cmd {
		case "balance":
			var samples []loadSample
			for _, line := range strings.Fields(td.Input) {
				n := 1
				if at := strings.Index(line, "*"); at >= 0 {
					fmt.Sscan(line[at+1:], &n)
					line = line[:at]
				}
				start, end, span := strings.Cut(line, "-")
				s := loadSample{start: []byte(start)}
				if span {
					s.end = []byte(end)
				}
				for range n {
					samples = append(samples, s)
				}
			}
			if key := balance(samples, d); key != nil {
				return string(key)
			}
			return "no split"
		case "heat":
			var l Load
			now := time.Unix(1000, 0)
			var out strings.Builder
			l.tick(now, 100)
			second := 0
			rng := rand.New(rand.NewPCG(1, 2))
			for _, line := range strings.Split(strings.TrimSpace(td.Input), "\n") {
				var times, n int
				var how string
				fmt.Sscan(line, &times, &n, &how)
				for range times {
					for range n {
						key := []byte{'b'}
						if how == "uniform" {
							key = []byte(fmt.Sprintf("%c", 'b'+rng.IntN(20)))
						}
						l.Note(key, nil, 1, 0, 0)
					}
					second++
					now = now.Add(time.Second)
					l.tick(now, 100)
					if key := l.splitKey(d); key != nil {
						where := "near the middle"
						if key[0] < 'h' || key[0] > 'p' {
							where = string(key)
						}
						fmt.Fprintf(&out, "second %d: split %s\n", second, where)
					}
				}
				fmt.Fprintf(&out, "second %d: cold for %s\n", second, l.coldFor(now))
			}
			return out.String()
		}
		t.Fatalf("unknown command %q", td.Cmd)
		return ""
	})
}

// A request costs no allocation but for one in sixteen, which keeps a key.
func TestLoadNoteIsCheap(t *testing.T) {
	var l Load
	key := []byte("some key")
	l.Note(key, nil, 1, 0, 0)
	if n := testing.AllocsPerRun(1000, func() { l.Note(key, nil, 1, 1, 10) }); n > 1 {
		t.Errorf("%v allocations a request", n)
	}
}
