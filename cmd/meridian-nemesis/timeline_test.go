package main

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestTimeline: a second without a commit is seen in both files, and a fault that crosses a minute is in both rows.
func TestTimeline(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	line := newTimeline(start, 250*time.Millisecond)
	for s := 0.1; s < 62; s += 0.2 {
		if s < 59 || s > 60 {
			line.commit(at(s))
		}
	}
	line.fault("kill", "kill -9 of node 1 & more", at(58.9), at(61.3))
	prefix := filepath.Join(t.TempDir(), "line")
	if err := line.write(prefix); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(prefix + ".csv")
	if err != nil {
		t.Fatal(err)
	}
	var without, under int
	for _, l := range strings.Split(string(text), "\n") {
		f := strings.SplitN(l, ",", 4)
		if len(f) != 4 {
			continue
		}
		if f[1] == "0" {
			without++
		}
		if f[2] == "kill" {
			under++
		}
	}
	if without != 4 || under != 11 {
		t.Errorf("%d slices without a commit, %d under a fault:\n%s", without, under, text)
	}
	plot, err := os.ReadFile(prefix + ".svg")
	if err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(strings.NewReader(string(plot)))
	bands, red := 0, 0
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			for _, a := range e.Attr {
				if a.Name.Local == "fill" && a.Value == faultColors[0] {
					bands++
				}
				if a.Name.Local == "fill" && a.Value == "#c00" {
					red++
				}
			}
		}
	}
	if bands != 2 || red != 4 {
		t.Errorf("%d bands, %d gaps", bands, red)
	}
}
