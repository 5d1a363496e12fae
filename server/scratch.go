package server

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/sql/exec"
)

// scratch gives executions files below the store. What a node that died left there goes when it comes back.
type scratch struct {
	fs  vfs.FS
	dir string
	n   atomic.Int64
}

func newScratch(fs vfs.FS, store string) (*scratch, error) {
	s := &scratch{fs: fs, dir: fs.PathJoin(store, "scratch")}
	if err := fs.RemoveAll(s.dir); err != nil {
		return nil, fmt.Errorf("remove %s: %w", s.dir, err)
	}
	if err := fs.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("create %s: %w", s.dir, err)
	}
	return s, nil
}

// Create implements exec.Scratch.
func (s *scratch) Create() (exec.ScratchFile, error) {
	path := s.fs.PathJoin(s.dir, fmt.Sprint(s.n.Add(1)))
	f, err := s.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &scratchFile{fs: s.fs, path: path, w: f}, nil
}

type scratchFile struct {
	fs   vfs.FS
	path string
	w, r vfs.File
}

func (f *scratchFile) Write(b []byte) (int, error) { return f.w.Write(b) }

// Reader implements exec.ScratchFile.
func (f *scratchFile) Reader() (io.Reader, error) {
	if f.w != nil {
		err := f.w.Close()
		if f.w = nil; err != nil {
			return nil, err
		}
	}
	if f.r != nil {
		_ = f.r.Close()
	}
	var err error
	f.r, err = f.fs.Open(f.path)
	return f.r, err
}

// Close implements exec.ScratchFile.
func (f *scratchFile) Close() error {
	for _, x := range []vfs.File{f.w, f.r} {
		if x != nil {
			_ = x.Close()
		}
	}
	f.w, f.r = nil, nil
	return f.fs.Remove(f.path)
}
