package raftlog

import (
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// An append that moves a file's end must also sync the file's new length, and with it the file system's journal, which
// the stores of one disk take turns at. A write into blocks that were written before syncs its own data only: in half the
// time or less when three stores share a disk. Pebble comes to this when it recycles its first log file; a log file that
// is new gets zeros ahead of its end.

// PrewriteBytes is how many zeros servers have written and synced along with every write that comes to their end: a tenth
// of a percent of the commits wait for them.
const PrewriteBytes = 512 << 10

// PrewriteFS returns fs with ahead zeros written ahead in new files that have the name of a write-ahead log, "000012.log".
// Pebble takes zeros there, or what zeros decrypt to, for the log's end. It goes below a file system that encrypts: zeros
// that are encrypted, and overwritten later under the same key stream, would give it away.
func PrewriteFS(fs vfs.FS, ahead int) vfs.FS { return &prewriteFS{fs, make([]byte, ahead)} }

// prewriteFS is used by its address: Pebble compares file systems.
type prewriteFS struct {
	vfs.FS
	zeros []byte
}

func isWAL(base string) bool {
	number, ok := strings.CutSuffix(base, ".log")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// Create implements vfs.FS.
func (fs *prewriteFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if err != nil || !isWAL(fs.PathBase(name)) {
		return f, err
	}
	return &prewritten{File: f, zeros: fs.zeros}, nil
}

// ReuseForWrite implements vfs.FS.
func (fs *prewriteFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.ReuseForWrite(oldname, newname, category)
	if err != nil || !isWAL(fs.PathBase(newname)) {
		return f, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &prewritten{File: f, zeros: fs.zeros, written: st.Size()}, nil
}

// Unwrap implements vfs.FS.
func (fs *prewriteFS) Unwrap() vfs.FS { return fs.FS }

// prewritten is a file that is written from its beginning to its end, by one goroutine.
type prewritten struct {
	vfs.File
	zeros   []byte
	pos     int64 // of the next Write
	written int64 // the file has blocks up to here; -1 if there is no room for more
}

// Write implements vfs.File.
func (f *prewritten) Write(p []byte) (int, error) {
	end := f.pos + int64(len(p))
	if f.written >= 0 && end > f.written {
		// Without room for zeros there may still be some for p, which has the word.
		if _, err := f.File.WriteAt(f.zeros, end); err == nil {
			f.written = end + int64(len(f.zeros))
		} else {
			f.written = -1
		}
	}
	n, err := f.File.Write(p)
	f.pos += int64(n)
	return n, err
}
