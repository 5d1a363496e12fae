package history

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// parse reads a history, one transaction a line: start end outcome [s=ts] [at=ts] [stale] ops..., where an op is
// k+1 (append) or k:1,2 (read).
func parse(t *testing.T, text string) History {
	t.Helper()
	var h History
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line)
		x := &Txn{ID: len(h) + 1, Outcome: map[string]Outcome{"ok": Committed, "aborted": Aborted, "unknown": Unknown}[f[2]]}
		var start, end int64
		fmt.Sscan(f[0], &start)
		x.Start = time.Unix(0, start)
		if _, err := fmt.Sscan(f[1], &end); err == nil {
			x.End = time.Unix(0, end)
		}
		for _, op := range f[3:] {
			var n int64
			switch {
			case op == "stale":
				x.Stale = true
			case strings.HasPrefix(op, "s="):
				fmt.Sscan(op[2:], &n)
				x.CommitTS = truetime.Timestamp(n)
			case strings.HasPrefix(op, "at="):
				fmt.Sscan(op[3:], &n)
				x.ReadTS = truetime.Timestamp(n)
			case strings.Contains(op, "+"):
				fmt.Sscan(op[2:], &n)
				x.Ops = append(x.Ops, Op{Key: op[:1], Append: true, Value: n})
			default:
				o := Op{Key: op[:1]}
				for _, v := range strings.Split(op[2:], ",") {
					if _, err := fmt.Sscan(v, &n); err == nil {
						o.List = append(o.List, n)
					}
				}
				x.Ops = append(x.Ops, o)
			}
		}
		h = append(h, x)
	}
	return h
}

// TestPlanted: each anomaly is found under its name, and its harmless twin is not.
func TestPlanted(t *testing.T) {
	for _, c := range []struct{ name, history, want string }{
		{"serial", `
			0 1 ok x+1
			2 3 ok x:1 x+2
			4 5 ok x:1,2`, ""},
		{"concurrent in either order", `
			0 9 ok x+1
			0 9 ok x+2
			0 9 ok x:2
			10 11 ok x:2,1`, ""},
		{"aborted read", `
			0 1 aborted x+1
			2 3 ok x:1`, "aborted read"},
		{"aborted and unseen", `
			0 1 aborted x+1
			2 3 ok x:`, ""},
		{"intermediate read", `
			0 9 ok x+1 x+2
			0 9 ok x:1
			10 11 ok x:1,2`, "intermediate read"},
		{"from nowhere", `
			0 9 ok x:7`, "phantom value"},
		{"twice", `
			0 1 ok x+1
			2 3 ok x:1,1`, "duplicate"},
		{"two orders", `
			0 9 ok x+1
			0 9 ok x+2
			0 9 ok x:1,2
			0 9 ok x:2,1`, "incompatible order"},
		{"own append unseen", `
			0 9 ok x+1 x:`, "internal"},
		{"not repeatable", `
			0 9 ok x+1
			0 9 ok x: x:1`, "internal"},
		{"write cycle", `
			0 9 ok x+1 y+1
			0 9 ok x+2 y+2
			10 11 ok x:1,2 y:2,1`, "G0"},
		{"circular information flow", `
			0 9 ok x+1 y:2
			0 9 ok y+2 x:1`, "G1c"},
		{"read skew", `
			0 9 ok x+1 y+1
			0 9 ok x:1 y:
			10 11 ok x:1 y:1`, "G-single"},
		{"lost update", `
			0 9 ok x: x+1
			0 9 ok x: x+2
			10 11 ok x:1,2`, "G-single"},
		{"write skew", `
			0 9 ok x: y+1
			0 9 ok y: x+2
			10 11 ok x:2 y:1`, "G2-item"},
		{"stale read", `
			0 1 ok x+1
			2 3 ok x:
			4 5 ok x:1`, "G-single-realtime"},
		{"stale read that asked for it", `
			0 1 ok s=1 x+1
			2 3 ok stale x:
			4 5 ok x:1`, ""},
		{"acknowledged append lost", `
			0 1 ok x+1
			2 3 ok x+2
			4 5 ok x:1`, "G-single-realtime"},
		{"order against real time", `
			0 1 ok x+1
			2 3 ok x+2
			4 5 ok x:2,1`, "G0-realtime"},
		{"write skew against real time", `
			0 1 ok x: y+1
			2 3 ok y: x+2
			4 5 ok x:2 y:1`, "G-single-realtime"},
		{"unknown, then seen", `
			0 - unknown x+1
			2 3 ok x:1
			4 5 ok x:`, "G-single-realtime"},
		{"unknown and never seen", `
			0 - unknown x+1
			2 3 ok x:
			4 5 ok x:`, ""},
		{"unknown takes effect late", `
			0 - unknown x+1
			2 3 ok x:
			4 5 ok x:1`, ""},
		{"timestamps against the order of writes", `
			0 9 ok s=8 x+1
			0 9 ok s=5 x+2
			10 11 ok x:1,2`, "timestamp order"},
		{"snapshot misses what its timestamp covers", `
			0 9 ok s=3 x+1
			0 9 ok at=5 x:
			10 11 ok x:1`, "timestamp order"},
		{"snapshot sees the future", `
			0 9 ok s=7 x+1
			0 9 ok at=5 x:1`, "timestamp order"},
		{"long fork", `
			0 9 ok x+1
			0 9 ok y+1
			0 9 ok x:1 y:
			0 9 ok x: y:1
			10 11 ok x:1 y:1`, "G2-item"},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			r := Check(parse(t, c.history))
			if c.want == "" {
				if err := r.Err(); err != nil {
					t.Error(err)
				}
				return
			}
			if len(r.Anomalies) == 0 || r.Anomalies[0].Name != c.want {
				t.Errorf("want %q, got %v", c.want, r.Err())
			}
		})
	}
}

func TestTimestamps(t *testing.T) {
	h := parse(t, "10 20 ok s=15 x+1\n10 20 ok s=25 y+1\n10 20 ok s=5 z+1\n10 20 aborted s=5 w+1")
	if r := CheckTimestamps(h); len(r.Anomalies) != 2 || !r.Has("I6") {
		t.Error(r.Err())
	}
}

// simulate runs a list-append workload on a perfect store: every transaction takes effect at one point between
// its start and its end. mutate may spoil a transaction's view.
func simulate(seed uint64, n int, mutate func(r *rand.Rand, i int, state map[string][]int64) map[string][]int64) History {
	r := rand.New(rand.NewPCG(seed, 1))
	state := map[string][]int64{}
	var h History
	now := int64(0)
	for i := 0; i < n; i++ {
		now += 10
		t := &Txn{ID: i + 1, Outcome: Committed, CommitTS: truetime.Timestamp(now),
			Start: time.Unix(0, now-int64(r.IntN(40))), End: time.Unix(0, now+int64(r.IntN(40)))}
		view := state
		if mutate != nil {
			view = mutate(r, i, state)
		}
		own := map[string][]int64{}
		for ops := 1 + r.IntN(4); ops > 0; ops-- {
			k := string(rune('a' + r.IntN(5)))
			if r.IntN(2) == 0 {
				v := int64(i*10 + ops)
				own[k] = append(own[k], v)
				t.Ops = append(t.Ops, Op{Key: k, Append: true, Value: v})
			} else {
				t.Ops = append(t.Ops, Op{Key: k, List: append(append([]int64(nil), view[k]...), own[k]...)})
			}
		}
		switch r.IntN(20) {
		case 0:
			t.Outcome = Aborted
		case 1:
			t.Outcome, t.End = Unknown, time.Time{}
			if r.IntN(2) == 0 {
				break
			}
			fallthrough
		default:
			for k, vs := range own {
				state[k] = append(append([]int64(nil), state[k]...), vs...)
			}
		}
		if !t.writes() {
			t.CommitTS, t.ReadTS = 0, t.CommitTS
		}
		h = append(h, t)
	}
	return h
}

// TestSimulated: perfect histories pass; the same store with one kind of fault does not.
func TestSimulated(t *testing.T) {
	for seed := uint64(0); seed < 20; seed++ {
		if err := Check(simulate(seed, 500, nil)).Err(); err != nil {
			t.Fatal(err)
		}
		var old map[string][]int64
		stale := Check(simulate(seed, 500, func(r *rand.Rand, i int, state map[string][]int64) map[string][]int64 {
			if i%20 == 0 || old == nil {
				old = map[string][]int64{}
				for k, v := range state {
					old[k] = v
				}
			}
			if r.IntN(30) == 0 {
				return old
			}
			return state
		}))
		if len(stale.Anomalies) == 0 {
			t.Errorf("seed %d: stale reads went unseen", seed)
		}
	}
}

func TestLargeHistory(t *testing.T) {
	began := time.Now()
	if err := Check(simulate(1, 20000, nil)).Err(); err != nil {
		t.Fatal(err)
	}
	t.Logf("20000 transactions in %s", time.Since(began))
}

func TestBank(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(0, n) }
	good := func() *Bank {
		return &Bank{
			Initial: map[string]int64{"a": 10, "b": 10}, Since: 1,
			Transfers: []Transfer{
				{ID: 1, From: "a", To: "b", Amount: 3, Start: at(10), End: at(20), Outcome: Committed, CommitTS: 15},
				{ID: 2, From: "b", To: "a", Amount: 1, Start: at(30), End: at(40), Outcome: Committed, CommitTS: 35},
			},
			Reads: []Balances{
				{ID: 3, Start: at(5), End: at(6), ReadTS: 5, Values: map[string]int64{"a": 10, "b": 10}},
				{ID: 4, Start: at(25), End: at(26), ReadTS: 25, Values: map[string]int64{"a": 7, "b": 13}},
				{ID: 5, Start: at(45), End: at(46), ReadTS: 45, Values: map[string]int64{"a": 8, "b": 12}},
			},
		}
	}
	if err := CheckBank(good()).Err(); err != nil {
		t.Error(err)
	}
	for want, spoil := range map[string]func(b *Bank){
		"total":           func(b *Bank) { b.Reads[1].Values["a"]++ },
		"replay":          func(b *Bank) { b.Reads[1].Values["a"], b.Reads[1].Values["b"] = 10, 10 },
		"I6":              func(b *Bank) { b.Transfers[0].CommitTS = 22 },
		"timestamp order": func(b *Bank) { b.Transfers[1].CommitTS = 15 },
	} {
		b := good()
		spoil(b)
		if r := CheckBank(b); !r.Has(want) {
			t.Errorf("%s: %v", want, r.Err())
		}
	}
	late := good()
	late.Reads[2].ReadTS, late.Reads[2].Values = 30, map[string]int64{"a": 7, "b": 13}
	if r := CheckBank(late); !r.Has("replay") {
		t.Errorf("a read that misses an acknowledged transfer: %v", r.Err())
	}
	late.Reads[2].Stale = true
	if err := CheckBank(late).Err(); err != nil {
		t.Errorf("a stale read: %v", err)
	}
	open := good()
	open.Transfers = append(open.Transfers, Transfer{ID: 6, From: "a", To: "b", Amount: 5, Start: at(41), Outcome: Unknown})
	open.Reads[2].Values = map[string]int64{"a": 3, "b": 17}
	if err := CheckBank(open).Err(); err != nil {
		t.Errorf("a transfer of unknown outcome: %v", err)
	}
}
