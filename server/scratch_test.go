package server

import (
	"io"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestScratch writes a scratch file, reads it back and closes it; what another process left is gone.
func TestScratch(t *testing.T) {
	fs := vfs.NewMem()
	s, err := newScratch(fs, "store")
	if err != nil {
		t.Fatal(err)
	}
	left, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.Write([]byte("left behind")); err != nil {
		t.Fatal(err)
	}
	if s, err = newScratch(fs, "store"); err != nil {
		t.Fatal(err)
	}
	f, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"one ", "two"} {
		if _, err := f.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := f.Reader()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || string(b) != "one two" {
		t.Errorf("read %q, %v", b, err)
	}
	if names, _ := fs.List("store/scratch"); len(names) != 1 {
		t.Errorf("%v, want one file", names)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if names, _ := fs.List("store/scratch"); len(names) != 0 {
		t.Errorf("%v left", names)
	}
}
