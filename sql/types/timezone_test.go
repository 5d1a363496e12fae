package types

import (
	"testing"
	"time"
)

// TestPosixZones: what changes its offset does so by the rule that was given, or by that of the United States.
func TestPosixZones(t *testing.T) {
	for _, c := range []struct {
		spec           string
		winter, summer int // offsets in minutes
	}{
		{"XXX-16", 16 * 60, 16 * 60},
		{"XXX5YYY", -5 * 60, -4 * 60},
		{"<-03>3<-02>,M10.3.0,M2.3.0", -2 * 60, -3 * 60},
		{"xxx-167:59yyy,M3.2.0,M11.1.0", 167*60 + 59, 168*60 + 59},
		{"CET-1CEST,M3.5.0,M10.5.0/3", 60, 120},
	} {
		l, _, err := LoadZone(c.spec)
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		for month, want := range map[time.Month]int{time.January: c.winter, time.July: c.summer} {
			if _, secs := time.Date(2024, month, 1, 12, 0, 0, 0, l).Zone(); secs != want*60 {
				t.Errorf("%s: %d minutes in %s, not %d", c.spec, secs/60, month, want)
			}
		}
	}
	for _, spec := range []string{"XXX5YYY,M3.2.,M11.1.0", "XXX5YYY,hello", "XXX5Y"} {
		if l, _, err := LoadZone(spec); err == nil {
			t.Errorf("%s is taken for %v", spec, l)
		}
	}
}
