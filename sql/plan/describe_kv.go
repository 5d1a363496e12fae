package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/meridian-db/meridian/txn/kv"
)

// maxRangeLines bounds the ranges that EXPLAIN ANALYZE lists of a node in text: those that took longest.
const maxRangeLines = 10

// nodeCost is what a statement has asked of one node.
type nodeCost struct {
	kv.RangeCost // the sum
	ranges       []kv.RangeCost
}

// nodeCosts sums the ranges' costs by node; the ranges that took longest are first.
func (a *Actual) nodeCosts() []nodeCost {
	var out []nodeCost
	for _, r := range a.Ranges { // by node
		if len(out) == 0 || out[len(out)-1].Node != r.Node {
			out = append(out, nodeCost{RangeCost: kv.RangeCost{Node: r.Node, Local: r.Local}})
		}
		n := &out[len(out)-1]
		n.Requests += r.Requests
		n.Follower += r.Follower
		n.Rows += r.Rows
		n.Bytes += r.Bytes
		n.LockWait += r.LockWait
		n.Elapsed += r.Elapsed
		n.ranges = append(n.ranges, r)
	}
	for i := range out {
		slices.SortStableFunc(out[i].ranges, func(x, y kv.RangeCost) int { return cmp.Compare(y.Elapsed, x.Elapsed) })
	}
	return out
}

// rangeLines lists what nodes and ranges were asked.
func (d *describer) rangeLines() []string {
	var lines []string
	line := func(indent, what string, c *kv.RangeCost) {
		s := fmt.Sprintf("%s%s: requests=%d rows=%d", indent, what, c.Requests, c.Rows)
		if c.Follower > 0 {
			s += fmt.Sprintf(" follower=%d", c.Follower)
		}
		if !c.Local {
			s += fmt.Sprintf(" bytes=%d", c.Bytes)
		}
		if d.o.Timing {
			s += fmt.Sprintf(" time=%.3f ms", ms(time.Duration(c.Elapsed)))
			if c.LockWait > 0 {
				s += fmt.Sprintf(" lock wait=%.3f ms", ms(time.Duration(c.LockWait)))
			}
		}
		lines = append(lines, s)
	}
	for _, n := range d.a.nodeCosts() {
		what := fmt.Sprintf("Node %d", n.Node)
		if n.Local {
			what += " (this one)"
		}
		line("  ", what, &n.RangeCost)
		for i := range n.ranges[:min(len(n.ranges), maxRangeLines)] {
			line("    ", fmt.Sprintf("Range %d", n.ranges[i].Range), &n.ranges[i])
		}
		if more := len(n.ranges) - maxRangeLines; more > 0 {
			lines = append(lines, fmt.Sprintf("    and %d ranges more", more))
		}
	}
	return lines
}

// clockLines say at which timestamp was read and how well the gateway knows the time.
func (d *describer) clockLines() []string {
	var lines []string
	if ts := d.a.ReadTimestamp; ts != 0 {
		lines = append(lines, "Read Timestamp: "+ts.String())
	}
	if c := d.a.Clock; c.Latest != 0 && d.o.Timing {
		lines = append(lines, fmt.Sprintf("Clock Bound: %.3f ms", ms(time.Duration(c.Latest-c.Earliest)/2)))
	}
	return lines
}

// kvJSON writes the same into the document, every range of it.
func (d *describer) kvJSON(w *jsonWriter) {
	if ts := d.a.ReadTimestamp; ts != 0 {
		w.text("Read Timestamp", ts.String())
	}
	if c := d.a.Clock; c.Latest != 0 && d.o.Timing {
		w.put("Clock Bound", fmt.Sprintf("%.3f", ms(time.Duration(c.Latest-c.Earliest)/2)))
	}
	cost := func(c *kv.RangeCost) {
		w.put("Requests", fmt.Sprint(c.Requests))
		w.put("Follower Reads", fmt.Sprint(c.Follower))
		w.put("Rows", fmt.Sprint(c.Rows))
		w.put("Bytes", fmt.Sprint(c.Bytes))
		if d.o.Timing {
			w.put("Time", fmt.Sprintf("%.3f", ms(time.Duration(c.Elapsed))))
			w.put("Lock Wait", fmt.Sprintf("%.3f", ms(time.Duration(c.LockWait))))
		}
	}
	nodes := d.a.nodeCosts()
	if nodes == nil {
		return
	}
	w.open("Nodes", '[')
	for _, n := range nodes {
		w.open("", '{')
		w.put("Node", fmt.Sprint(n.Node))
		w.put("Gateway", fmt.Sprint(n.Local))
		cost(&n.RangeCost)
		w.open("Ranges", '[')
		for i := range n.ranges {
			w.open("", '{')
			w.put("Range", fmt.Sprint(n.ranges[i].Range))
			cost(&n.ranges[i])
			w.close('}')
		}
		w.close(']')
		w.close('}')
	}
	w.close(']')
}
