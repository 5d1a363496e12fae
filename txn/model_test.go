package txn

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/kv"
)

// kvModel is what a transaction should see: committed data, its own writes, and savepoints to return to.
type kvModel struct {
	data  map[string]string
	saves []savedModel
}

type savedModel struct {
	sp   kv.Savepoint
	data map[string]string
}

func copyMap(m map[string]string) map[string]string {
	c := make(map[string]string, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func dumpModel(data map[string]string, start, end string, reverse bool) string {
	var keys []string
	for k := range data {
		if k >= start && k < end {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	if reverse {
		sort.Sort(sort.Reverse(sort.StringSlice(keys)))
	}
	for i, k := range keys {
		keys[i] = k + "=" + data[k]
	}
	return strings.Join(keys, " ")
}

// TestModel runs random transactions against a model: reads, scans in both directions with small pages, writes,
// savepoints, flushes into staging in between, splits and moves of ranges under way, from several gateways.
func TestModel(t *testing.T) {
	seeds := 30
	if testing.Short() {
		seeds = 5
	}
	for seed := 0; seed < seeds; seed++ {
		for _, iso := range []kv.Isolation{kv.Serializable, kv.Snapshot, kv.ReadCommitted} {
			t.Run(fmt.Sprintf("%d/%d", seed, iso), func(t *testing.T) {
				stage := []int{1, 1000, 1 << 20}[seed%3]
				inCluster(t, 3, func(c *Config) { c.StageBytes = stage }, []string{"g", "p"}, func(ctx context.Context, c *testCluster) {
					runTxnModel(ctx, t, c, rand.New(rand.NewPCG(uint64(seed), uint64(iso))), iso)
				})
			})
		}
	}
}

func runTxnModel(ctx context.Context, t *testing.T, c *testCluster, r *rand.Rand, iso kv.Isolation) {
	committed := map[string]string{}
	randKey := func() string { return string(rune('a'+r.IntN(26))) + fmt.Sprint(r.IntN(6)) }
	splits := 0
	for n := 0; n < 12; n++ {
		tx := c.begin([]*testNode{c.nodes[1], c.nodes[2], c.nodes[3]}[r.IntN(3)].id, kv.TxnOptions{Isolation: iso})
		m := &kvModel{data: copyMap(committed)}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		for step := r.IntN(40); step >= 0; step-- {
			switch r.IntN(14) {
			case 0, 1, 2, 3:
				k, v := randKey(), fmt.Sprintf("%d.%d", n, step)
				must(tx.Put([]byte(k), []byte(v)))
				m.data[k] = v
			case 4:
				k := randKey()
				must(tx.Delete([]byte(k)))
				delete(m.data, k)
			case 5:
				k := randKey()
				v, err := tx.Get(ctx, []byte(k), kv.LockExclusive, kv.WaitBlock)
				must(err)
				if want, ok := m.data[k]; ok != (v != nil) || string(v) != want {
					t.Fatalf("Get(%s) = %q, want %q", k, v, want)
				}
				if v == nil {
					must(tx.Insert([]byte(k), []byte("ins")))
					m.data[k] = "ins"
				}
			case 6:
				var keys [][]byte
				for i := 0; i < 5; i++ {
					keys = append(keys, []byte(randKey()))
				}
				vs, _, err := tx.GetBatch(ctx, keys, kv.LockMode(r.IntN(3)), kv.WaitBlock)
				must(err)
				for i, k := range keys {
					if want, ok := m.data[string(k)]; ok != (vs[i] != nil) || string(vs[i]) != want {
						t.Fatalf("GetBatch %s = %q, want %q", k, vs[i], want)
					}
				}
			case 7:
				sp := tx.Savepoint()
				m.saves = append(m.saves, savedModel{sp, copyMap(m.data)})
			case 8:
				if n := len(m.saves); n > 0 {
					i := r.IntN(n)
					must(tx.RollbackTo(ctx, m.saves[i].sp))
					m.data = copyMap(m.saves[i].data)
					m.saves = m.saves[:i+1]
				}
			case 9:
				must(tx.Flush(ctx))
			case 10:
				if splits < 4 && r.IntN(4) == 0 {
					splits++
					if k := randKey(); string(c.rangeOf(k).desc.Load().Start) != k {
						c.split(k)
					}
				}
			case 11:
				if r.IntN(4) == 0 {
					c.transfer(randKey(), ranges.NodeID(1+r.IntN(3)), true)
				}
			default:
				scanModel(ctx, t, c, tx, m, r)
			}
		}
		if r.IntN(5) == 0 {
			tx.Rollback(ctx)
		} else {
			_, err := tx.Commit(ctx)
			must(err)
			committed = m.data
		}
		if got, want := c.all(1), dumpModel(committed, "\x03", "\xff", false); got != want {
			t.Fatalf("after transaction %d:\n got %s\nwant %s", n, got, want)
		}
	}
}

// scanModel reads a span while it writes to it: the scanner must show what was there when it was opened.
func scanModel(ctx context.Context, t *testing.T, c *testCluster, tx *Txn, m *kvModel, r *rand.Rand) {
	lo, hi := string(rune('a'+r.IntN(20))), string(rune('a'+r.IntN(27)))
	opts := kv.ScanOptions{Reverse: r.IntN(2) == 0, Limit: int64(r.IntN(4)), Lock: kv.LockMode(r.IntN(3))}
	want := dumpModel(m.data, lo, hi, opts.Reverse)
	s, err := tx.Scan(ctx, kv.Span{Start: []byte(lo), End: []byte(hi)}, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []string
	for s.Next(ctx) {
		got = append(got, fmt.Sprintf("%s=%s", s.Pair().Key, s.Pair().Value))
		switch r.IntN(6) {
		case 0:
			k := string(rune('a'+r.IntN(26))) + fmt.Sprint(r.IntN(6))
			v := fmt.Sprintf("w%d", r.IntN(1000))
			if err := tx.Put([]byte(k), []byte(v)); err != nil {
				t.Fatal(err)
			}
			m.data[k] = v
		case 1:
			if err := tx.Delete(s.Pair().Key); err != nil {
				t.Fatal(err)
			}
			delete(m.data, string(s.Pair().Key))
		case 2:
			if err := tx.Flush(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if g := strings.Join(got, " "); g != want {
		t.Fatalf("scan [%s, %s) %+v:\n got %s\nwant %s", lo, hi, opts, g, want)
	}
}
