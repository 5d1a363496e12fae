package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"html"
	"os"
	"strconv"
	"sync"
	"time"
)

// timeline is a run's availability: how many transactions committed in each slice of time, and which fault was under
// way. It is safe for concurrent use.
type timeline struct {
	start time.Time
	slice time.Duration

	mu     sync.Mutex
	counts []int
	faults []faultSpan
}

// faultSpan is one fault, from its beginning until it was mended.
type faultSpan struct {
	name, what string
	from, to   time.Duration // since the timeline's start
}

func newTimeline(start time.Time, slice time.Duration) *timeline {
	return &timeline{start: start, slice: slice}
}

// commit notes that a transaction was acknowledged.
func (t *timeline) commit(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := max(0, int(at.Sub(t.start)/t.slice))
	for len(t.counts) <= i {
		t.counts = append(t.counts, 0)
	}
	t.counts[i]++
}

// fault notes a fault.
func (t *timeline) fault(name, what string, from, to time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append(t.faults, faultSpan{name, what, from.Sub(t.start), to.Sub(t.start)})
}

// write writes prefix.csv, a line for each slice, and prefix.svg, a plot of it.
func (t *timeline) write(prefix string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := os.WriteFile(prefix+".csv", t.csv(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(prefix+".svg", t.svg(), 0o644)
}

// during returns the fault that was under way at some time of slice i, nil for none.
func (t *timeline) during(i int) *faultSpan {
	from, to := time.Duration(i)*t.slice, time.Duration(i+1)*t.slice
	for j := range t.faults {
		if f := &t.faults[j]; f.from < to && from < f.to {
			return f
		}
	}
	return nil
}

func (t *timeline) csv() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write([]string{"seconds", "committed", "fault", "detail"})
	for i, n := range t.counts {
		row := []string{strconv.FormatFloat((time.Duration(i) * t.slice).Seconds(), 'f', -1, 64), strconv.Itoa(n), "", ""}
		if f := t.during(i); f != nil {
			row[2], row[3] = f.name, f.what
		}
		_ = w.Write(row)
	}
	w.Flush()
	return b.Bytes()
}

// The plot: a row for each minute, so that an hour can be read, and a gap of a second be seen.
const (
	plotSecond = 16.0 // pixels
	plotRow    = 46.0
	plotBar    = 30.0
	plotLeft   = 44.0
	plotTop    = 26.0
)

// faultColors tell the kinds of faults apart; there are fewer of them than kinds, and each band has its name.
var faultColors = []string{"#f6d5d5", "#f6e6cd", "#dcecd4", "#d3e4f3", "#e5daf0", "#f0f0cd"}

func (t *timeline) svg() []byte {
	most := 1
	for _, n := range t.counts {
		most = max(most, n)
	}
	length := time.Duration(len(t.counts)) * t.slice
	rows := int((length + time.Minute - 1) / time.Minute)
	width, height := plotLeft+60*plotSecond+10, plotTop+float64(rows)*plotRow+8
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="sans-serif" font-size="9">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%.0f" y="14" font-size="11">transactions committed in each %s, at most %d; red: none; bands: faults; a row is a minute</text>`+"\n", plotLeft, t.slice, most)
	// at returns where a moment is; a span that crosses the end of a row is drawn in pieces.
	at := func(d time.Duration) (row int, x float64) {
		row = int(d / time.Minute)
		return row, plotLeft + (d-time.Duration(row)*time.Minute).Seconds()*plotSecond
	}
	base := func(row int) float64 { return plotTop + float64(row)*plotRow + plotRow - 8 }
	colors := map[string]string{}
	for _, f := range t.faults {
		if colors[f.name] == "" {
			colors[f.name] = faultColors[len(colors)%len(faultColors)]
		}
		for from := f.from; from < f.to; {
			to := min(f.to, from.Truncate(time.Minute)+time.Minute)
			row, x := at(from)
			w := (to - from).Seconds() * plotSecond
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"><title>%s</title></rect>`, x, base(row)-plotBar-8, w, plotBar+8, colors[f.name], html.EscapeString(f.what))
			if from == f.from {
				fmt.Fprintf(&b, `<text x="%.1f" y="%.1f">%s</text>`, x+2, base(row)-plotBar, html.EscapeString(f.name))
			}
			b.WriteByte('\n')
			from = to
		}
	}
	for row := range rows {
		fmt.Fprintf(&b, `<text x="4" y="%.1f">%d min</text><path d="M%.1f %.1fh%.1f" stroke="#999" stroke-width="0.5"/>`+"\n", base(row), row, plotLeft, base(row), 60*plotSecond)
	}
	w := t.slice.Seconds() * plotSecond
	for i, n := range t.counts {
		row, x := at(time.Duration(i) * t.slice)
		if n == 0 {
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="4" fill="#c00"/>`+"\n", x, base(row), w)
			continue
		}
		h := plotBar * float64(n) / float64(most)
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#356"/>`+"\n", x, base(row)-h, w, h)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
