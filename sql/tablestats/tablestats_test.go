package tablestats

import (
	"reflect"
	"testing"
	"time"
)

func newRegistry(exists func(uint32) bool) *Registry {
	return New(func() time.Time { return time.Unix(9, 0) }, exists)
}

func TestLive(t *testing.T) {
	r := newRegistry(nil)
	for _, s := range []struct {
		c              Change
		committed      bool
		live, modified int64
	}{
		{Change{Table: 1, Storage: 1, Live: 10, Modified: 12}, true, 10, 12},
		{Change{Table: 1, Storage: 1, Live: -3, Modified: 3}, true, 7, 15},
		{Change{Table: 1, Storage: 1, Live: 50, Modified: 50}, false, 7, 15},
		{Change{Table: 1, Storage: 1, At: 5, Live: 2, Modified: 2}, true, 2, 2}, // newer statistics know the others
		{Change{Table: 1, Storage: 8, At: 5, Live: 1, Modified: 1}, true, 1, 1}, // after TRUNCATE
	} {
		r.Ended(4, s.committed, []Change{s.c})
		if got := r.Tables()[0]; got.Live != s.live || got.Modified != s.modified {
			t.Errorf("after %+v: %d live, %d modified, want %d and %d", s.c, got.Live, got.Modified, s.live, s.modified)
		}
	}
	if d := r.Databases()[0]; d.Commits != 4 || d.Rollbacks != 1 {
		t.Errorf("%d commits, %d rollbacks", d.Commits, d.Rollbacks)
	}
}

func TestReset(t *testing.T) {
	r := newRegistry(nil)
	for db := uint32(1); db <= 2; db++ {
		r.Scanned(db, 10*db, 1, 5)
		r.Searched(db, 10*db, 77, Reads{2, 3, 3})
		r.Searched(db, 10*db, 78, Reads{1, 1, 0})
		r.Wrote(db, 10*db, Writes{7, 8, 9})
		r.Ended(db, true, []Change{{Table: 10 * db, Live: 6}})
	}
	want := Table{ID: 20, Database: 2, Reads: Reads{3, 4, 3}, Writes: Writes{7, 8, 9}, SeqScans: 1, SeqRows: 5, Live: 6,
		Indexes: []Index{{77, Reads{2, 3, 3}}, {78, Reads{1, 1, 0}}}}
	if got := r.Tables()[1]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	r.Reset(1)
	if got := r.Tables(); !reflect.DeepEqual(got[0], Table{ID: 10, Database: 1, Live: 6}) || !reflect.DeepEqual(got[1], want) {
		t.Errorf("after a reset: %+v", got)
	}
	d := r.Databases()
	if d[0] != (Database{ID: 1, Since: time.Unix(9, 0), Reset: true}) || d[1].Returned != 9 || d[1].Fetched != 3 || d[1].Inserted != 7 || d[1].Reset {
		t.Errorf("after a reset: %+v", d)
	}
	d[0].Add(&d[1])
	if d[0].Commits != 1 || d[0].Returned != 9 || !d[0].Reset {
		t.Errorf("sum of two nodes: %+v", d[0])
	}
}

func TestPrune(t *testing.T) {
	r := newRegistry(func(table uint32) bool { return table%2 == 0 })
	for id := range uint32(3 * pruneFrom) {
		r.Scanned(1, id, 1, 1)
	}
	if n := len(r.Tables()); n < pruneFrom || n > 2*pruneFrom+pruneFrom/2 {
		t.Errorf("%d tables are kept of %d, half of which are gone", n, 3*pruneFrom)
	}
}
