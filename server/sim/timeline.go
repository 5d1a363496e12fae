package sim

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/meridian-db/meridian/truetime"
)

// Timeline prints what happened, by time: the schedule's events between the clients' transactions. Times are
// seconds since the first of them began.
func Timeline(w io.Writer, s Schedule, ops []Op) {
	if len(ops) == 0 {
		fmt.Fprint(w, s)
		return
	}
	ops = slices.Clone(ops)
	slices.SortFunc(ops, func(a, b Op) int { return a.Begin.Compare(b.Begin) })
	start := ops[0].Begin
	sec := func(t time.Time) float64 { return t.Sub(start).Seconds() }
	i := 0
	for _, o := range ops {
		for ; i < len(s) && start.Add(s[i].At).Before(o.Begin); i++ {
			fmt.Fprintf(w, "---- %s\n", s[i])
		}
		kind := "commit"
		switch {
		case o.Unknown:
			kind = "unknown"
		case o.Stale:
			kind = "stale"
		case o.ReadOnly:
			kind = "read"
		}
		fmt.Fprintf(w, "%10.4f  client %-3d %-8s at %10.4f, answered %10.4f:", sec(o.Begin), o.Client, kind, float64(o.TS-truetime.FromTime(start))/1e9, sec(o.End))
		for _, key := range slices.Sorted(maps.Keys(o.Reads)) {
			fmt.Fprintf(w, "  list %x = …%s", key[len(key)-3:], strings.Trim(fmt.Sprint(tail(o.Reads[key])), "[]"))
			if v, ok := o.Appends[key]; ok {
				fmt.Fprintf(w, " + %d", v)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(o.Seen)) {
			fmt.Fprintf(w, "  register %x = %d", key[len(key)-1:], o.Seen[key])
		}
		for _, key := range slices.Sorted(maps.Keys(o.Writes)) {
			fmt.Fprintf(w, "  register %x := %d", key[len(key)-1:], o.Writes[key])
		}
		for _, x := range o.Scans {
			fmt.Fprintf(w, "  scan %x to %x = %v", x.From, x.To, slices.Sorted(maps.Values(x.Found)))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, s[i:])
}
