package plan

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/meridian-db/meridian/txn/kv"

	"github.com/meridian-db/meridian/truetime"
)

// TestExplainRanges: EXPLAIN ANALYZE shows what each node and range was asked, the ranges that took longest first, and
// the bound of the clock, in both formats.
func TestExplainRanges(t *testing.T) {
	a := &Actual{Clock: truetime.Interval{Earliest: 1_000_000, Latest: 1_500_000}, ReadTimestamp: 2_000_000_001}
	for i := range 12 {
		a.Ranges = append(a.Ranges, kv.RangeCost{Range: int64(i), Node: 1, Local: true, Requests: 1, Rows: 10, Elapsed: int64(i) * 1e6})
	}
	a.Ranges = append(a.Ranges, kv.RangeCost{Range: 20, Node: 2, Requests: 3, Follower: 2, Rows: 7, Bytes: 512, Elapsed: 5e6, LockWait: 1e6})
	p := &Plan{Root: &OneRow{}}
	text := strings.Join(Describe(p, &ExplainOptions{Analyze: true, Timing: true}, a), "\n")
	for _, want := range []string{
		"  Node 1 (this one): requests=12 rows=120 time=66.000 ms\n    Range 11: requests=1 rows=10 time=11.000 ms\n    Range 10:",
		"    Range 2: requests=1 rows=10 time=2.000 ms\n    and 2 ranges more\n  Node 2: requests=3 rows=7 follower=2 bytes=512 time=5.000 ms lock wait=1.000 ms\n    Range 20:",
		"Read Timestamp: 2.000000001\nClock Bound: 0.250 ms",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	var doc []struct {
		ReadTimestamp string  `json:"Read Timestamp"`
		ClockBound    float64 `json:"Clock Bound"`
		Nodes         []struct {
			Node, Requests, Rows int
			Gateway              bool
			Ranges               []struct {
				Range int
				Time  float64
			}
		}
	}
	out := Describe(p, &ExplainOptions{Analyze: true, Timing: true, JSON: true}, a)[0]
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	d := doc[0]
	if d.ReadTimestamp != "2.000000001" || d.ClockBound != 0.25 || len(d.Nodes) != 2 || len(d.Nodes[0].Ranges) != 12 ||
		d.Nodes[0].Ranges[0].Time != 11 || !d.Nodes[0].Gateway || d.Nodes[1].Requests != 3 {
		t.Errorf("the document says %+v", d)
	}
	if text := strings.Join(Describe(p, &ExplainOptions{Analyze: true}, a), "\n"); strings.Contains(text, "time=") || strings.Contains(text, "Clock Bound") {
		t.Errorf("times without TIMING:\n%s", text)
	}
}
