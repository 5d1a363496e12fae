package exec

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestSQL runs the golden files: each has statements with the rows or the error they give.
func TestSQL(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		db := newTestDB(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			r, err := db.run(d.Input)
			if err != nil {
				return errText(err) + "\n"
			}
			if d.Cmd == "tag" || len(r.cols) == 0 {
				return r.String() + r.tag + "\n"
			}
			out := r.String()
			if d.HasArg("sort") {
				lines := strings.SplitAfter(out, "\n")
				sortStrings(lines)
				out = strings.Join(lines, "")
			}
			if d.HasArg("cols") {
				out = strings.Join(r.cols, "|") + "\n" + out
			}
			if out == "" {
				out = "(no rows)\n"
			}
			return out
		})
	})
}

func sortStrings(s []string) {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
}
