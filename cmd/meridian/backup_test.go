package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What meridian backup show says of places without a backup, and of commands that lack something.
func TestBackupUsage(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "MANIFEST.json"), []byte(`{"sha256":"00","manifest":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ args, want string }{
		{"backup show " + t.TempDir(), "there is no finished backup at"},
		{"backup show " + dir, "file MANIFEST.json: it is damaged"},
		{"backup show nowhere", "not a location for backups"},
		{"backup show", "name the location"},
		{"backup", "--to is required"},
		{"backup --bogus", "lists the flags"},
		{"restore", "--from is required"},
	} {
		err := run(context.Background(), strings.Fields(tc.args), env{lookup: func(string) (string, bool) { return "", false }, stdout: io.Discard, stderr: io.Discard})
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("meridian %s: %v, want %q", tc.args, err, tc.want)
		}
	}
}
