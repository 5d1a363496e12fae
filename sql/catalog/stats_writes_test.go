package catalog

import (
	"testing"
	"time"

	"github.com/meridian-db/meridian/txn/kv/kvtest"
)

// TestWritesOfAllNodes: nodes that have written too little each refresh statistics when they have written enough together,
// one of them, and once.
func TestWritesOfAllNodes(t *testing.T) {
	db := kvtest.New()
	set := &statsSet{tables: map[uint32]*TableStats{7: {Table: 7, Rows: 1000}}}
	nodes := []*Manager{{cfg: Config{DB: db}}, {cfg: Config{DB: db}}}
	for _, m := range nodes {
		m.stats.cur.Store(set)
	}
	now := time.Unix(1000, 0)
	steps := []struct {
		node    int
		changes int64
		after   time.Duration
		told    int64 // what the node adds to the sum
		refresh bool
	}{
		{0, 18, 0, 0, false}, // less than an eighth of 50 and a tenth of 1,000 rows
		{0, 42, 0, 60, false},
		{1, 80, 0, 80, false},
		{1, 19, time.Second, 0, false}, // a moment after the last time
		{1, 1, shareEvery, 20, true},   // 160 in all
		{0, 30, 0, 30, false},          // the sum began anew
		{0, 130, shareEvery, 130, true},
	}
	for i, s := range steps {
		m := nodes[s.node]
		now = now.Add(s.after)
		m.NoteChanges(7, s.changes)
		var told int64
		refresh := false
		for _, w := range m.unshared(now) {
			told += w.n
			var err error
			if refresh, err = m.share(t.Context(), w, now); err != nil {
				t.Fatal(err)
			}
		}
		if told != s.told || refresh != s.refresh {
			t.Fatalf("step %d: told of %d, refresh %v; want %d, %v", i, told, refresh, s.told, s.refresh)
		}
		if refresh {
			m.changes.reset(7)
		}
	}
	// What is fresh is left alone.
	fresh := *set.tables[7]
	fresh.At = now.UnixMicro()
	nodes[1].stats.cur.Store(&statsSet{tables: map[uint32]*TableStats{7: &fresh}})
	nodes[1].NoteChanges(7, 1000)
	if w := nodes[1].unshared(now.Add(analyzeEvery / 2)); len(w) > 0 {
		t.Errorf("%v are told of", w)
	}
	if w := nodes[1].unshared(now.Add(analyzeEvery)); len(w) != 1 {
		t.Errorf("%v are told of after a minute", w)
	}
}
