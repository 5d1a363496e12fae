package builtin

import (
	"errors"
	"strings"
	"testing"
)

// A pattern whose back references make matching exponential must give up by its budget.
func TestRegexBudget(t *testing.T) {
	re, err := compileRegex(`^(a*)*(a*)*(a*)*\1\2\3c\1$`, regexFlags{})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := re.MatchString(strings.Repeat("a", 400) + "b"); !errors.Is(err, errRegexBudget) {
		t.Errorf("hostile pattern answered %v, %v", ok, err)
	}
	// Without back references the fast engine answers, whatever the text.
	re, err = compileRegex(`^((a+)+)+$`, regexFlags{})
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := re.MatchString(strings.Repeat("a", 100000) + "b"); ok || err != nil {
		t.Errorf("linear pattern answered %v, %v", ok, err)
	}
}

// The tree and the fast engine must agree on where a greedy pattern matches.
func FuzzRegex(f *testing.F) {
	for _, p := range []string{"a(b|bc)(c?)d", "(a*)+b", "(x|y)*z", `(\w+)\s(\w)`, "a{2,3}b?", "(?:a|b)+c", "[^a-c]*", "(?=a)b", `(a)\1`} {
		f.Add(p, "abcbcdaab xyz")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 60 || len(text) > 60 {
			return
		}
		re, err := compileRegex(pattern, regexFlags{})
		if err != nil {
			return
		}
		loc, err := re.Find(text, 0)
		if err != nil || re.fast == nil || re.tree == nil || re.lazy {
			return
		}
		own, err := re.search(text, 0, len(text))
		if err != nil {
			return
		}
		if (own == nil) != (loc == nil) || own != nil && (own[0] != loc[0] || own[1] != loc[1]) {
			t.Fatalf("%q in %q: tree %v, fast %v", pattern, text, own, loc)
		}
	})
}
