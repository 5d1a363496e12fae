package backup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// A data file is a zstd stream of: the line fileMagic, then versions in the order of keys, the newest first for each
// key: the length shared with the previous key, the length of the rest, flags (1: a deletion), the timestamp, the
// length of the value (uvarints), rest and value. Timestamp zero stands for "at or below that of the full backup".
const fileMagic = "meridian backup 1\n"

// fileBytes is the size of keys and values after which a file ends.
const fileBytes = 8 << 20

// version is one version of a key.
type version struct {
	key, value []byte
	ts         truetime.Timestamp
	deleted    bool
}

// fileWriter collects one file in memory.
type fileWriter struct {
	buf   bytes.Buffer
	z     *zstd.Encoder
	entry []byte
	prev  []byte
	file  File
}

func newFileWriter() (*fileWriter, error) {
	w := &fileWriter{}
	var err error
	if w.z, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithLowerEncoderMem(true)); err != nil {
		return nil, err
	}
	w.reset()
	return w, nil
}

func (w *fileWriter) reset() {
	w.buf.Reset()
	w.z.Reset(&w.buf)
	_, _ = w.z.Write([]byte(fileMagic)) // to memory
	w.prev, w.file = w.prev[:0], File{}
}

func (w *fileWriter) add(v version) error {
	if w.file.Pairs == 0 {
		w.file.Start = bytes.Clone(v.key)
	}
	shared := 0
	for n := min(len(w.prev), len(v.key)); shared < n && w.prev[shared] == v.key[shared]; shared++ {
	}
	flags := uint64(0)
	if v.deleted {
		flags = 1
	}
	e := binary.AppendUvarint(w.entry[:0], uint64(shared))
	e = binary.AppendUvarint(e, uint64(len(v.key)-shared))
	e = binary.AppendUvarint(e, flags)
	e = binary.AppendUvarint(e, uint64(v.ts))
	e = binary.AppendUvarint(e, uint64(len(v.value)))
	e = append(e, v.key[shared:]...)
	w.entry = e
	if _, err := w.z.Write(e); err != nil {
		return err
	}
	if _, err := w.z.Write(v.value); err != nil {
		return err
	}
	w.prev = append(w.prev[:0], v.key...)
	w.file.Pairs++
	w.file.Raw += int64(len(v.key) + len(v.value))
	return nil
}

func (w *fileWriter) full() bool  { return w.file.Raw >= fileBytes }
func (w *fileWriter) empty() bool { return w.file.Pairs == 0 }

// finish returns the file and its content, which is valid until the next reset.
func (w *fileWriter) finish() (File, []byte, error) {
	if err := w.z.Close(); err != nil {
		return File{}, nil, err
	}
	f := w.file
	f.End, f.Bytes, f.SHA256 = bytes.Clone(w.prev), int64(w.buf.Len()), sum(w.buf.Bytes())
	return f, w.buf.Bytes(), nil
}

var errDataFile = errors.New("malformed data file")

// fileReader decodes a file.
type fileReader struct {
	z   *zstd.Decoder
	r   byteReader
	cur version // valid until next
	err error
}

// byteReader reads from a small buffer of its own.
type byteReader struct {
	src    io.Reader
	buf    []byte
	lo, hi int
}

func (b *byteReader) ReadByte() (byte, error) {
	if b.lo == b.hi {
		n, err := b.src.Read(b.buf)
		if n == 0 {
			if err == nil {
				err = io.ErrNoProgress
			}
			return 0, err
		}
		b.lo, b.hi = 0, n
	}
	b.lo++
	return b.buf[b.lo-1], nil
}

func (b *byteReader) Read(p []byte) (int, error) {
	if b.lo < b.hi {
		n := copy(p, b.buf[b.lo:b.hi])
		b.lo += n
		return n, nil
	}
	return b.src.Read(p)
}

func newFileReader(content []byte) (*fileReader, error) {
	z, err := zstd.NewReader(bytes.NewReader(content), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(64<<20))
	if err != nil {
		return nil, err
	}
	r := &fileReader{z: z, r: byteReader{src: z, buf: make([]byte, 32<<10)}}
	magic := make([]byte, len(fileMagic))
	if _, err := io.ReadFull(&r.r, magic); err != nil || string(magic) != fileMagic {
		z.Close()
		return nil, errDataFile
	}
	return r, nil
}

func (r *fileReader) close() { r.z.Close() }

// next moves to the next version; false at the end or on an error.
func (r *fileReader) next() bool {
	if r.err != nil {
		return false
	}
	var n [5]uint64
	for i := range n {
		v, err := binary.ReadUvarint(&r.r)
		if err == io.EOF && i == 0 {
			return false
		}
		if err != nil {
			r.err = fmt.Errorf("%w: %w", errDataFile, err)
			return false
		}
		n[i] = v
	}
	shared, rest, flags, ts, size := n[0], n[1], n[2], n[3], n[4]
	if shared > uint64(len(r.cur.key)) || rest > kv.MaxKeySize || shared+rest > kv.MaxKeySize || flags > 1 ||
		ts > uint64(truetime.MaxTimestamp) || size > kv.MaxValueSize {
		r.err = errDataFile
		return false
	}
	key := append(r.cur.key[:shared], make([]byte, rest)...)
	if cap(r.cur.value) < int(size) {
		r.cur.value = make([]byte, size)
	}
	value := r.cur.value[:size]
	if _, err := io.ReadFull(&r.r, key[shared:]); err != nil {
		r.err = fmt.Errorf("%w: %w", errDataFile, err)
		return false
	}
	if _, err := io.ReadFull(&r.r, value); err != nil {
		r.err = fmt.Errorf("%w: %w", errDataFile, err)
		return false
	}
	r.cur = version{key: key, value: value, ts: truetime.Timestamp(ts), deleted: flags == 1}
	return true
}
