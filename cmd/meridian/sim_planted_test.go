//go:build planted

package main

import (
	"context"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/meridian-db/meridian/truetime/plant"
)

// TestPlantedBugs plants each of the bugs and lets `meridian sim` look for it: every one must be found within ten
// minutes, and without one nothing. It runs the command in processes of its own, because a bug may end the process.
func TestPlantedBugs(t *testing.T) {
	bin := t.TempDir() + "/meridian"
	if out, err := exec.Command("go", "build", "-tags", "planted", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	run := func(bug plant.Bug, hours float64) (found bool, out string) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		b, err := exec.CommandContext(ctx, bin, "sim", "--bug", string(bug), "--seed", "1", "--hours", fmt.Sprint(hours), "--life", "20s", "--every", "2s",
			"--think", "3ms", "--clients", "10", "--dense", "--shrink=false").CombinedOutput()
		return err != nil && ctx.Err() == nil, string(b)
	}
	if found, out := run("", 0.1); found {
		t.Fatalf("without a bug:\n%s", out)
	}
	for _, bug := range plant.Bugs {
		t.Run(string(bug), func(t *testing.T) {
			began := time.Now()
			found, out := run(bug, 20)
			out = out[:min(len(out), 1500)]
			if !found {
				t.Fatalf("not found in %s:\n%s", time.Since(began).Round(time.Second), out)
			}
			t.Logf("found after %s:\n%s", time.Since(began).Round(time.Second), out)
		})
	}
}
