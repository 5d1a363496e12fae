package txn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/meridian-db/meridian/txn/kv"
)

// testPrograms has two programs: "odd" answers the pairs whose value ends in an odd digit, upper-cased, "count" how many
// pairs there were. Both refuse a pair whose value is "bad".
type testPrograms struct{}

type testProgram struct {
	count bool
	n     int
}

func (testPrograms) Start(_ context.Context, program []byte) (kv.Evaluator, error) {
	switch string(program) {
	case "odd":
		return &testProgram{}, nil
	case "count":
		return &testProgram{count: true}, nil
	}
	return nil, errors.New("unknown")
}

func (p *testProgram) Pair(k, v []byte) ([]byte, []byte, bool, error) {
	if string(v) == "bad" {
		return nil, nil, false, errors.New("bad")
	}
	p.n++
	return k, bytes.ToUpper(v), !p.count && v[len(v)-1]%2 == 1, nil
}
func (p *testProgram) Held() int64 { return 0 }
func (p *testProgram) Finish(emit func(k, v []byte)) error {
	if p.count {
		emit(nil, fmt.Append(nil, p.n))
	}
	return nil
}

// TestPrograms: programs run beside the data wherever the transaction has written nothing itself and the range can,
// under locks and without; elsewhere the pairs come as they are.
func TestPrograms(t *testing.T) {
	inCluster(t, 2, nil, []string{"g", "p"}, func(ctx context.Context, c *testCluster) {
		for i, k := 0, 'a'; k <= 'z'; i, k = i+1, k+1 {
			c.put(1, string(k), fmt.Sprintf("v%d", i))
		}
		pages := func(tx kv.Txn, program, lo, hi string, reverse bool, limit int64) string {
			t.Helper()
			sc, err := tx.Scan(ctx, kv.Span{Start: []byte(lo), End: []byte(hi)}, kv.ScanOptions{Program: []byte(program), Reverse: reverse, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			defer sc.Close()
			out := ""
			for {
				p := sc.(kv.PageScanner).NextPage(ctx)
				if len(p.Keys) == 0 {
					if sc.Err() != nil {
						t.Fatal(sc.Err())
					}
					return out
				}
				out += fmt.Sprintf("%v", p.Computed)[:1] + "["
				for i, k := range p.Keys {
					out += fmt.Sprintf("%s=%s ", k, p.Values[i])
				}
				out += "]"
			}
		}
		for _, opts := range []kv.TxnOptions{{ReadOnly: true}, {}, {Isolation: kv.Snapshot}} {
			tx := c.begin(1, opts)
			for _, tc := range []struct {
				program, lo, hi string
				reverse         bool
				limit           int64
				want            string
			}{
				{"odd", "a", "zz", false, 0, "t[b=V1 d=V3 f=V5 ]t[h=V7 j=V9 l=V11 n=V13 ]t[p=V15 r=V17 t=V19 v=V21 x=V23 z=V25 ]"},
				{"odd", "e", "k", true, 0, "t[j=V9 h=V7 ]t[f=V5 ]"},
				{"odd", "a", "b", false, 0, ""},
				{"odd", "a", "zz", false, 2, "t[b=V1 d=V3 ]t[f=V5 ]t[h=V7 j=V9 l=V11 ]t[n=V13 ]t[p=V15 r=V17 t=V19 v=V21 x=V23 z=V25 ]"},
				{"count", "a", "zz", false, 0, "t[=6 ]t[=9 ]t[=11 ]"},
				{"else", "e", "h", false, 0, "f[e=v4 f=v5 ]f[g=v6 ]"},
			} {
				if got := pages(tx, tc.program, tc.lo, tc.hi, tc.reverse, tc.limit); got != tc.want {
					t.Errorf("%+v: %s from %s: %s, want %s", opts, tc.program, tc.lo, got, tc.want)
				}
			}
			tx.Rollback(ctx)
		}

		// Own writes: their range's pairs come as they are, with the writes in them.
		tx := c.begin(1, kv.TxnOptions{})
		for _, err := range []error{tx.Put([]byte("h"), []byte("own")), tx.Delete([]byte("i")), tx.Put([]byte("hh"), []byte("new"))} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if got, want := pages(tx, "odd", "e", "r", false, 0), "t[f=V5 ]f[g=v6 h=own hh=new j=v9 k=v10 l=v11 m=v12 n=v13 o=v14 ]t[p=V15 ]"; got != want {
			t.Errorf("with own writes: %s, want %s", got, want)
		}
		if got, want := pages(tx, "count", "h", "j", true, 0), "f[hh=new h=own ]"; got != want {
			t.Errorf("with own writes, downwards: %s, want %s", got, want)
		}
		// Staged ones are in the ranges.
		if err := tx.flush(ctx); err != nil {
			t.Fatal(err)
		}
		if got, want := pages(tx, "count", "g", "p", false, 0), "t[=9 ]"; got != want {
			t.Errorf("with staged writes: %s, want %s", got, want)
		}
		tx.Rollback(ctx)

		// A pair that the program cannot take.
		c.put(1, "j", "bad")
		tx = c.begin(1, kv.TxnOptions{ReadOnly: true})
		defer tx.Rollback(ctx)
		if got, want := pages(tx, "odd", "e", "r", false, 0), "t[f=V5 ]f[g=v6 h=v7 i=v8 j=bad k=v10 l=v11 m=v12 n=v13 o=v14 ]t[p=V15 ]"; got != want {
			t.Errorf("with a bad pair: %s, want %s", got, want)
		}
		if got, want := pages(tx, "count", "g", "p", false, 0), "f[g=v6 h=v7 i=v8 j=bad k=v10 l=v11 m=v12 n=v13 o=v14 ]"; got != want {
			t.Errorf("with a bad pair: %s, want %s", got, want)
		}
	})
}

// TestProgramLocks: a read under locks locks all that a program was run over, not only what it has answered.
func TestProgramLocks(t *testing.T) {
	inCluster(t, 1, nil, nil, func(ctx context.Context, c *testCluster) {
		for i, k := 0, 'a'; k <= 'j'; i, k = i+1, k+1 {
			c.put(1, string(k), fmt.Sprintf("v%d", i))
		}
		tx := c.begin(1, kv.TxnOptions{})
		defer tx.Rollback(ctx)
		sc, err := tx.Scan(ctx, kv.Span{Start: []byte("a"), End: []byte("zz")}, kv.ScanOptions{Program: []byte("odd"), Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer sc.Close()
		if p := sc.(kv.PageScanner).NextPage(ctx); len(p.Keys) != 2 || !p.Computed {
			t.Fatalf("%q computed=%v", p.Keys, p.Computed)
		}
		// The page ends at d: c has been looked at, g has not.
		for key, locked := range map[string]bool{"c": true, "cc": true, "g": false} {
			w := c.begin(1, kv.TxnOptions{})
			_, err := w.Get(ctx, []byte(key), kv.LockExclusive, kv.WaitError)
			if errors.Is(err, kv.ErrLockNotAvailable) != locked {
				t.Errorf("%s: %v, locked should be %v", key, err, locked)
			}
			w.Rollback(ctx)
		}
	})
}
