package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	envName   = regexp.MustCompile(`\bMERIDIAN_[A-Z_]+`)
	startFlag = regexp.MustCompile(`(?m)(?:- |meridian start |\s)--([a-z][a-z-]*)=`)
)

// notFlags are variables of the test's own compose files.
var notFlags = map[string]bool{"MERIDIAN_IMAGE": true}

// TestDeployedFlags holds the flags and variables that manifests, units and compose files give to a node against those that
// it has.
func TestDeployedFlags(t *testing.T) {
	f := newFlags("start", "", env{stdout: io.Discard})
	nodeFlags(f)
	var files []string
	for _, pattern := range []string{"kubernetes/*.yaml", "systemd/*.service", "*.yml", "compose/*.yml"} {
		list, err := filepath.Glob(filepath.Join("../../deploy", pattern))
		if err != nil || len(list) == 0 {
			t.Fatalf("%s: no files, %v", pattern, err)
		}
		files = append(files, list...)
	}
	seen := 0
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(b)
		for _, v := range envName.FindAllString(text, -1) {
			flag := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(v, "MERIDIAN_")), "_", "-")
			if f.Lookup(flag) == nil && !notFlags[v] {
				t.Errorf("%s gives %s, and `meridian start` has no --%s", name, v, flag)
			}
			seen++
		}
		for _, m := range startFlag.FindAllStringSubmatch(text, -1) {
			if f.Lookup(m[1]) == nil {
				t.Errorf("%s gives --%s, which `meridian start` does not have", name, m[1])
			}
			seen++
		}
	}
	if seen < 40 {
		t.Errorf("only %d flags found", seen)
	}
}
