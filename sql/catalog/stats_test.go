package catalog

import (
	"testing"
	"time"
)

// TestStatisticsDue: enough changes make a table's statistics stale, but not before a minute has passed since they
// were refreshed, however many changes there are.
func TestStatisticsDue(t *testing.T) {
	m := &Manager{}
	m.stats.cur.Store(&statsSet{tables: map[uint32]*TableStats{7: {Table: 7, Rows: 1000}}})
	now := time.Unix(1000, 0)
	steps := []struct {
		table   uint32
		changes int64
		after   time.Duration
		due     bool
	}{
		{7, 150, 0, false}, // 50 and a tenth of 1,000 rows
		{7, 1, 0, true},
		{7, 100000, 59 * time.Second, false},
		{7, 0, time.Second, true},
		{8, 51, 0, true}, // no statistics yet
		{8, 51, 30 * time.Second, false},
		{8, 0, 30 * time.Second, true},
	}
	for i, s := range steps {
		now = now.Add(s.after)
		m.NoteChanges(s.table, s.changes)
		due := m.due(now)
		if (len(due) == 1 && due[0] == s.table) != s.due || len(due) > 1 {
			t.Fatalf("step %d: due are %v", i, due)
		}
		for _, id := range due {
			m.changes.reset(id)
			m.changes.refreshed(id, now)
		}
		if s.table == 8 && s.due {
			m.NoteChanges(7, 0)
		}
	}
	if len(m.changes.last) > 2 {
		t.Errorf("times of %d tables are kept", len(m.changes.last))
	}
}
