package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
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

// TestUnit: systemd, where there is one, has nothing to say about the unit, and it waits longer than the node drains.
func TestUnit(t *testing.T) {
	b, err := os.ReadFile("../../deploy/systemd/meridian.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(b)
	waits(t, unit, `TimeoutStopSec=(\d+)`, `MERIDIAN_DRAIN_TIMEOUT=(\w+)`)
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("needs systemd-analyze")
	}
	// What is not on this machine is replaced by what is.
	here := regexp.MustCompile(`(?m)^(ExecStart|User|Group)=.*`).ReplaceAllStringFunc(unit, func(s string) string {
		name, _, _ := strings.Cut(s, "=")
		return name + "=" + map[string]string{"ExecStart": "/bin/true start", "User": "root", "Group": "root"}[name]
	})
	path := filepath.Join(t.TempDir(), "meridian.service")
	if err := os.WriteFile(path, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", "--recursive-errors=no", path).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestManifests: what the Kubernetes manifests name in one place is there in the other.
func TestManifests(t *testing.T) {
	b, err := os.ReadFile("../../deploy/kubernetes/meridian.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	readme, err := os.ReadFile("../../deploy/kubernetes/README.md")
	if err != nil {
		t.Fatal(err)
	}
	waits(t, text, `terminationGracePeriodSeconds: (\d+)`, `--drain-timeout=(\w+)`)
	names := func(pattern string) map[string]bool {
		out := map[string]bool{}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			out[m[1]] = true
		}
		if len(out) == 0 {
			t.Errorf("nothing is like %s", pattern)
		}
		return out
	}
	subset := func(what string, these, those map[string]bool) {
		for n := range these {
			if !those[n] {
				t.Errorf("%s %s is not there: %v", what, n, those)
			}
		}
	}
	ports, numbers := names(`name: (\w+), containerPort`), names(`containerPort: (\d+)`)
	subset("the probed port", names(`httpGet: \{path: /\w+, port: (\w+)`), ports)
	subset("the service's port", names(`\{name: (\w+), port:`), ports)
	subset("the service's port", names(`\{name: \w+, port: (\d+)\}`), numbers)
	subset("the port of a flag", names(`-addr=0\.0\.0\.0:(\d+)`), numbers)
	volumes := names(`(?m)^        - name: (\w+)\n          secret:`)
	for n := range names(`metadata: \{name: (\w+)\}`) {
		volumes[n] = true
	}
	subset("the volume", names(`\{name: (\w+), mountPath`), volumes)
	if len(names(`app\.kubernetes\.io/name: ([\w-]+)`)) != 1 {
		t.Error("labels and selectors differ")
	}
	for secret := range names(`secret(?:KeyRef|Name)?: \{?(?:name: |secretName: )([\w-]+)`) {
		if !strings.Contains(string(readme), secret) {
			t.Errorf("the README does not say how secret %s is made", secret)
		}
	}
}

// waits checks that what stops a node allows it more time than it takes to drain.
func waits(t *testing.T, text, allowed, drain string) {
	t.Helper()
	a, d := regexp.MustCompile(allowed).FindStringSubmatch(text), regexp.MustCompile(drain).FindStringSubmatch(text)
	if a == nil || d == nil {
		t.Fatalf("no %s or no %s", allowed, drain)
	}
	limit, err := time.ParseDuration(a[1] + "s")
	if err != nil {
		t.Fatal(err)
	}
	if takes, err := time.ParseDuration(d[1]); err != nil || takes >= limit {
		t.Errorf("draining takes %s (%v), and %s is allowed", takes, err, limit)
	}
}
