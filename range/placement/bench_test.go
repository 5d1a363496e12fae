package placement

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkPlanEven is a look at 10,000 ranges on five nodes that are even: what a pass costs when there is news but
// nothing to do.
func BenchmarkPlanEven(b *testing.B) {
	s := Snapshot{ReplaceAfter: 5 * time.Minute, UrgentAfter: 10 * time.Second, Policies: NewSet(nil)}
	for i := range 5 {
		s.Nodes = append(s.Nodes, Node{ID: NodeID(i + 1), Region: string(rune('a' + i)), Live: true})
	}
	for i := range 10000 {
		r := Range{ID: RangeID(i + 1), Start: fmt.Appendf(nil, "%06d", i), End: fmt.Appendf(nil, "%06d", i+1), Bytes: 1 << 20, Load: 1}
		for k := range 3 {
			r.Voters = append(r.Voters, NodeID((i+k)%5+1))
		}
		r.Leader = r.Voters[0]
		s.Ranges = append(s.Ranges, r)
	}
	b.ReportAllocs()
	for b.Loop() {
		if cs := Plan(s, 64); len(cs) > 0 {
			b.Fatal(explain(cs))
		}
	}
}
