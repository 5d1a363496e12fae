package plan

import (
	"encoding/json"
	"fmt"
	"strings"
)

// document writes EXPLAIN (FORMAT JSON) as PostgreSQL lays it out: tools read it by names, people by its order.
func (d *describer) document(root *item) string {
	w := &jsonWriter{}
	w.open("", '[')
	w.open("", '{')
	d.json(w, root, "Plan", "")
	if d.o.Summary {
		w.put("Planning Time", fmt.Sprintf("%.3f", ms(d.o.Planning)))
	}
	if d.a != nil {
		k := d.a.KV
		w.put("Ranges", fmt.Sprint(k.Ranges))
		w.put("Local Reads", fmt.Sprint(k.LocalReads))
		w.put("Remote Requests", fmt.Sprint(k.RPCs))
		w.put("Retries", fmt.Sprint(k.Retries))
		w.put("Lock Wait", fmt.Sprintf("%.3f", float64(k.LockWait)/1e6))
		w.put("Commit Wait", fmt.Sprintf("%.3f", float64(k.CommitWait)/1e6))
		d.kvJSON(w)
		// As with PostgreSQL, readers find the list whether there is something in it or not.
		w.open("Triggers", '[')
		w.close(']')
		if d.o.Summary {
			w.put("Execution Time", fmt.Sprintf("%.3f", ms(d.a.Total)))
		}
	}
	w.close('}')
	w.close(']')
	return strings.TrimPrefix(w.b.String(), "\n")
}

func (d *describer) json(w *jsonWriter, it *item, key, part string) {
	w.open(key, '{')
	w.text("Node Type", it.kind)
	first := 0
	for ; first < len(it.head) && (it.head[first].key == "Strategy" || it.head[first].key == "Partial Mode"); first++ {
		w.text(it.head[first].key, it.head[first].val)
	}
	if part != "" {
		w.text("Parent Relationship", part)
	}
	if it.label != "" {
		w.text("Subplan Name", it.label)
	}
	w.put("Parallel Aware", "false")
	w.put("Async Capable", "false")
	for _, p := range it.head[first:] {
		w.text(p.key, p.val)
	}
	b := it.node.Base()
	if d.o.Costs {
		w.put("Startup Cost", fmt.Sprintf("%.2f", b.Startup))
		w.put("Total Cost", fmt.Sprintf("%.2f", b.Cost))
		w.put("Plan Rows", fmt.Sprintf("%.0f", b.Rows))
		w.put("Plan Width", itoa(b.Width))
	}
	if d.a != nil {
		n := d.a.Nodes[b.ID]
		l := max(1, n.Loops)
		if d.o.Timing {
			w.put("Actual Startup Time", fmt.Sprintf("%.3f", ms(n.Startup)))
			w.put("Actual Total Time", fmt.Sprintf("%.3f", ms(n.Total)/float64(l)))
		}
		w.put("Actual Rows", fmt.Sprint(n.Rows/l))
		w.put("Actual Loops", fmt.Sprint(n.Loops))
	}
	for _, p := range it.props {
		switch {
		case p.list != nil:
			var vals []string
			for _, v := range p.list {
				vals = append(vals, quoted(v))
			}
			w.put(p.key, "["+strings.Join(vals, ", ")+"]")
		case p.number:
			w.put(p.key, p.val)
		default:
			w.text(p.key, p.val)
		}
	}
	if len(it.kids) > 0 {
		w.open("Plans", '[')
		for _, k := range it.kids {
			part := k.part
			if part == "" {
				part = "Outer"
				if it.name == "Append" {
					part = "Member"
				}
			}
			d.json(w, k, "", part)
		}
		w.close(']')
	}
	w.close('}')
}

// jsonWriter writes nested objects and lists, two spaces a level.
type jsonWriter struct {
	b     strings.Builder
	depth int
	some  bool // something stands before at this level
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	s = strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
	return s
}

func (w *jsonWriter) line(key string) {
	if w.some {
		w.b.WriteByte(',')
	}
	w.b.WriteString("\n" + strings.Repeat("  ", w.depth))
	if key != "" {
		w.b.WriteString(quoted(key) + ": ")
	}
	w.some = true
}

func (w *jsonWriter) put(key, val string) {
	w.line(key)
	w.b.WriteString(val)
}

func (w *jsonWriter) text(key, val string) { w.put(key, quoted(val)) }

func (w *jsonWriter) open(key string, bracket byte) {
	w.line(key)
	w.b.WriteByte(bracket)
	w.depth++
	w.some = false
}

func (w *jsonWriter) close(bracket byte) {
	w.depth--
	w.b.WriteString("\n" + strings.Repeat("  ", w.depth) + string(bracket))
	w.some = true
}
