package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble takes a damaged record of its newest write-ahead log for the log's end, as a power failure leaves one, and
// drops what follows, be it acknowledged or not. So every synced write carries a mark: its number, and the largest
// number that was known to be on disk when it was made. Marks can be found in the file without understanding it;
// if one says that a write was durable which the opened log has not, the log is damaged.
//
//	key 'm', value magic(8) number(8) durable(8) crc(4), big endian
//
// marks belong to a Log.
type marks struct {
	// turn holds a token while a write is applied, so that numbers ascend along the file. It is no mutex, and all writes
	// take it, those without a number, too: a write that begins a new file waits, inside of Pebble, for the old one to be
	// synced, and in a simulation time stands still, and the disk with it, while anybody waits for a mutex.
	turn    chan struct{}
	number  uint64
	durable atomic.Uint64
}

const (
	markMagic = "\xf3raftlog"
	markSize  = len(markMagic) + 20
)

var (
	markKey = []byte{'m'}
	markCRC = crc32.MakeTable(crc32.Castagnoli)
)

func encodeMark(number, durable uint64) []byte {
	b := append(make([]byte, 0, markSize), markMagic...)
	b = binary.BigEndian.AppendUint64(b, number)
	b = binary.BigEndian.AppendUint64(b, durable)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, markCRC))
}

func decodeMark(b []byte) (number, durable uint64, ok bool) {
	n := len(markMagic)
	if len(b) < markSize || string(b[:n]) != markMagic ||
		binary.BigEndian.Uint32(b[n+16:]) != crc32.Checksum(b[:n+16], markCRC) {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(b[n:]), binary.BigEndian.Uint64(b[n+8:]), true
}

// synced notes that the write of a number is on disk, and with it all before.
func (m *marks) synced(number uint64) {
	for {
		old := m.durable.Load()
		if number <= old || m.durable.CompareAndSwap(old, number) {
			return
		}
	}
}

// claimed returns the largest number that the write-ahead logs in dir say was durable.
func claimed(fs vfs.FS, dir string) (uint64, error) {
	names, err := fs.List(dir)
	if err != nil {
		return 0, err
	}
	most := uint64(0)
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		n, err := claimedBy(fs, fs.PathJoin(dir, name))
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		most = max(most, n)
	}
	return most, nil
}

func claimedBy(fs vfs.FS, path string) (most uint64, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf := make([]byte, 1<<20)
	for kept := 0; ; {
		n, err := io.ReadFull(f, buf[kept:])
		b := buf[:kept+n]
		for i := 0; ; i++ {
			k := bytes.Index(b[i:], []byte(markMagic))
			if k < 0 {
				break
			}
			i += k
			if _, durable, ok := decodeMark(b[i:]); ok {
				most = max(most, durable)
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return most, nil
		case err != nil:
			return most, err
		}
		// A mark may stand across the end; whole ones are found again, which does no harm.
		kept = copy(buf, b[len(b)-markSize:])
	}
}

// claimFile keeps the largest claim that was ever found. Opening the engine does away with the files that claims are
// found in: without it, a damaged log would be refused once and pass for a short one ever after.
const claimFile = "CLAIM"

// claim returns what the log in dir was known to hold durably, and makes sure that the next one to ask is told no less.
func claim(fs vfs.FS, dir string) (uint64, error) {
	found, err := claimed(fs, dir)
	if err != nil {
		return 0, err
	}
	kept, err := readClaim(fs, fs.PathJoin(dir, claimFile))
	if err != nil || found <= kept {
		return kept, err
	}
	return found, writeClaim(fs, dir, found)
}

func readClaim(fs vfs.FS, path string) (uint64, error) {
	f, err := fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	_, durable, ok := decodeMark(b)
	if !ok || len(b) != markSize {
		return 0, fmt.Errorf("%w: %s holds %x", ErrCorrupt, path, b[:min(len(b), markSize)])
	}
	return durable, nil
}

func writeClaim(fs vfs.FS, dir string, durable uint64) error {
	tmp := fs.PathJoin(dir, claimFile+".tmp")
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	if _, err = f.Write(encodeMark(durable, durable)); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(tmp, fs.PathJoin(dir, claimFile)); err != nil {
		return err
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkMarks compares the log just opened with what its files claimed before.
func (l *Log) checkMarks(claimed uint64) error {
	v, err := l.get(markKey)
	if err != nil {
		return err
	}
	if v != nil {
		number, _, ok := decodeMark(v)
		if !ok {
			return fmt.Errorf("%w: mark %x", ErrCorrupt, v)
		}
		l.marks.number = number
	}
	if claimed > l.marks.number {
		return fmt.Errorf("%w: the log ends with write %d, but write %d was durable: the store is damaged, and has lost what it had acknowledged",
			ErrCorrupt, l.marks.number, claimed)
	}
	return nil
}
