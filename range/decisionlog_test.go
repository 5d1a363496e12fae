package ranges

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/truetime"
)

// The placement log is what it was when the store is opened again, and stays small. What was under way then is said not to
// be known, and the torn end of the file is left out.
func TestDecisionLog(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("store", 0o755); err != nil {
		t.Fatal(err)
	}
	cfg := &Config{FS: fs, Dir: "store", Logger: slog.New(slog.DiscardHandler)}
	l := openDecisionLog(cfg)
	if len(l.list) != 0 {
		t.Fatal("something out of nothing")
	}
	largest := int64(0)
	size := func() int64 {
		st, err := fs.Stat("store/placement.log")
		if err != nil {
			t.Fatal(err)
		}
		return st.Size()
	}
	for i := range 5000 {
		d := Decision{Time: truetime.Timestamp(i + 1), Range: RangeID(i%7 + 1), Kind: "add voter", Change: "r1: add voter n4", Reason: "because", Outcome: underWay}
		l.set(d)
		d.Outcome, d.Took = "done", time.Second
		l.set(d)
		largest = max(largest, size())
	}
	l.set(Decision{Time: 9000, Range: 3, Outcome: underWay})
	want := slices.Clone(l.list)
	l.close()
	l.set(Decision{Time: 9001, Range: 3, Outcome: underWay}) // late: lost, and no harm
	if len(want) < maxDecisions/2 || len(want) > maxDecisions || largest > 4*maxDecisions*120 {
		t.Errorf("%d decisions, a file of %d bytes", len(want), largest)
	}
	want[len(want)-1].Outcome = interrupted
	f, err := fs.OpenReadWrite("store/placement.log", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(`{"t":9002,"r":4,"c":"to`), size()); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for range 2 { // the second time from the file that the first one has made
		l = openDecisionLog(cfg)
		if got := l.list[max(0, len(l.list)-len(want)):]; !slices.Equal(got, want) {
			t.Fatalf("%d decisions read, the last %+v; want %d, %+v", len(l.list), l.list[len(l.list)-1], len(want), want[len(want)-1])
		}
		last := Decision{Time: want[len(want)-1].Time + 1, Range: 1, Outcome: "done"}
		l.set(last)
		want = append(want, last)
		l.close()
	}
}
