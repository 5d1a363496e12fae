package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/meridian-db/meridian/server"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn"
	"github.com/meridian-db/meridian/txn/feed"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/participant"
)

// mirror is a table kept by a change feed, and what there was to complain about.
type mirror struct {
	rows    map[string]string
	open    truetime.Timestamp
	pending map[string]*string // of the open transaction
	txns    map[truetime.Timestamp][]string
	last    truetime.Timestamp
	errs    []error
}

func (m *mirror) Begin(_ context.Context, ts truetime.Timestamp) error {
	if ts <= m.last {
		m.errs = append(m.errs, fmt.Errorf("transaction at %s after that at %s", ts, m.last))
	}
	m.open, m.pending = ts, map[string]*string{}
	return nil
}

func (m *mirror) Change(_ context.Context, _ int, c *kv.Diff) error {
	key := string(c.Key)
	before, existed := m.rows[key]
	if _, twice := m.pending[key]; twice || c.TS != m.open || existed != c.Existed || before != string(c.Previous) {
		m.errs = append(m.errs, fmt.Errorf("change of %x at %s in the transaction at %s: was %q (%v), mirror has %q", key, c.TS, m.open, c.Previous, c.Existed, before))
	}
	var v *string
	if c.Value != nil {
		v = new(string(c.Value))
	}
	m.pending[key] = v
	return nil
}

func (m *mirror) Commit(_ context.Context, ts truetime.Timestamp) error {
	for k, v := range m.pending {
		if v == nil {
			delete(m.rows, k)
		} else {
			m.rows[k] = *v
		}
		m.txns[ts] = append(m.txns[ts], k)
	}
	m.last, m.pending = ts, nil
	return nil
}

// follow keeps a mirror of the lists, asking one node after the other, until ctx ends. Now and then it compares it with
// the lists at the timestamp that the feed has reached. It returns how far it has come.
func follow(ctx context.Context, c *Cluster, rng *rand.Rand, m *mirror, after truetime.Timestamp) truetime.Timestamp {
	spans := []kv.Span{{Start: []byte{0x03, 0, 0, 1}, End: []byte{0x03, 0, 0, 2}}, {Start: []byte{0x03, 0, 0, 2}, End: []byte{0x03, 0, 0, 3}}}
	for ctx.Err() == nil {
		pause(ctx, time.Duration(rng.IntN(150))*time.Millisecond)
		if rng.IntN(20) == 0 {
			pause(ctx, time.Second) // a slow consumer
		}
		node := c.Nodes()[rng.IntN(len(c.Nodes()))]
		core := node.Core()
		if core == nil {
			continue
		}
		// A small budget makes most rounds divide what they read.
		r, err := feed.New(feed.Config{DB: core.DB, BudgetBytes: int64(1000 + rng.IntN(10000))})
		if err != nil {
			m.errs = append(m.errs, err)
			return after
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		held := *m
		held.rows = maps.Clone(m.rows)
		reached, err := r.Read(try, spans, true, after, node.Clock.Now().Earliest, m)
		cancel()
		if err != nil {
			if m.pending != nil || m.last > after {
				m.rows, m.last, m.pending = held.rows, held.last, nil // begin anew from the checkpoint
				maps.DeleteFunc(m.txns, func(ts truetime.Timestamp, _ []string) bool { return ts > after })
			}
			if errors.Is(err, kv.ErrReadTooOld) {
				m.errs = append(m.errs, err)
				return after
			}
			continue
		}
		if after = reached; rng.IntN(4) == 0 {
			m.compare(ctx, c, rng, spans, reached)
		}
	}
	return after
}

// compare compares the mirror with a read at ts.
func (m *mirror) compare(ctx context.Context, c *Cluster, rng *rand.Rand, spans []kv.Span, ts truetime.Timestamp) {
	core := c.Nodes()[rng.IntN(len(c.Nodes()))].Core()
	if core == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tx, err := core.DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, Staleness: kv.Staleness{Kind: kv.ReadTimestamp, At: ts}})
	if err != nil {
		return
	}
	defer tx.Rollback(ctx)
	rows := map[string]string{}
	for _, span := range spans {
		s, err := tx.Scan(ctx, span, kv.ScanOptions{})
		if err != nil {
			return
		}
		for s.Next(ctx) {
			rows[string(s.Pair().Key)] = string(s.Pair().Value)
		}
		err = s.Err()
		s.Close()
		if err != nil {
			return
		}
	}
	if !maps.Equal(rows, m.rows) {
		var b strings.Builder
		for k, v := range rows {
			if m.rows[k] != v {
				fmt.Fprintf(&b, " %x: table %d bytes, feed %d;", k, len(v), len(m.rows[k]))
			}
		}
		m.errs = append(m.errs, fmt.Errorf("at %s feed and table differ:%s", ts, b.String()))
	}
}

// runFeed lives a life beside a feed and returns what is wrong with either.
func runFeed(t *testing.T, l Life, seed uint64) (m *mirror, errs []error) {
	m = &mirror{rows: map[string]string{}, txns: map[truetime.Timestamp][]string{}}
	var reached truetime.Timestamp
	splits := l.Aside
	l.Seed = seed
	l.Aside = func(ctx context.Context, c *Cluster) {
		rng := rand.New(rand.NewPCG(seed, 99))
		begin := c.Nodes()[0].Clock.Now().Earliest.Add(-time.Second)
		done := make(chan struct{})
		if splits != nil {
			go func() { defer close(done); splits(ctx, c) }()
		} else {
			close(done)
		}
		reached = follow(ctx, c, rng, m, begin)
		<-done
	}
	r := live(t, l)
	ops, errs := r.Ops, append(r.Errs, m.errs...)
	for _, o := range ops {
		if o.Unknown || o.TS == 0 || o.TS > reached {
			continue
		}
		for k := range o.Appends {
			found := false
			for _, got := range m.txns[o.TS] {
				found = found || bytes.Equal([]byte(got), []byte(k))
			}
			if !found {
				errs = append(errs, fmt.Errorf("the commit of %x at %s is missing from the feed", k, o.TS))
			}
		}
	}
	if len(m.txns) == 0 {
		errs = append(errs, errors.New("the feed has seen nothing"))
	}
	t.Logf("seed %d: %d operations, %d transactions in the feed", seed, len(ops), len(m.txns))
	return m, errs
}

// TestSimFeed: what a change feed yields, applied in order, is the table at every timestamp that the feed has reached, and
// every acknowledged commit is in it, whatever happens to nodes, leaders and ranges meanwhile.
func TestSimFeed(t *testing.T) {
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := Life{Keys: 10, Length: 20 * time.Second, Flush: seed%2 == 0, Schedule: Plan(seed, 3, 20*time.Second, 1500*time.Millisecond)}
			l.Tune = func(cc *server.CoreConfig) {
				if l.Flush {
					cc.TuneTxn = func(c *txn.Config) { c.StageBytes = 1 }
				}
				cc.TuneParticipant = func(c *participant.Config) { c.MoveAfter = 300 * time.Millisecond }
			}
			l.Aside = func(ctx context.Context, c *Cluster) {
				splitLists(ctx, c, rand.New(rand.NewPCG(seed, 77)), l.Keys)
			}
			_, errs := runFeed(t, l, seed)
			for i, err := range errs {
				if i < 10 {
					t.Error(err)
				}
			}
		})
	}
}

// TestSimFeedUnsettled: a feed that takes a timestamp for resolved while transactions prepared below it are undecided
// loses them, and the comparison above notices.
func TestSimFeedUnsettled(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		// Late messages leave transactions prepared for longer.
		l := Life{Clients: 12, Length: 10 * time.Second, Schedule: Schedule{{For: 10 * time.Second, Kind: KindLossy}}}
		l.Tune = func(cc *server.CoreConfig) {
			cc.TuneParticipant = func(c *participant.Config) { c.TestFeedUnsettled = true }
		}
		if _, errs := runFeed(t, l, seed); len(errs) > 0 {
			t.Logf("noticed: %v", errs[0])
			return
		}
	}
	t.Error("nobody noticed that resolved timestamps ignored prepared transactions")
}
