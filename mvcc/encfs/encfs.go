// Package encfs is a file system that encrypts what a store writes.
//
// Each file is AES-256 in counter mode under a key of its own, derived from a data key and a salt that stand, by the data
// key's id and in the clear, in the file's header. Any byte can be read and written by itself, so Pebble's random reads cost no
// more than the bytes they return. Data keys are in one small file, sealed with AES-GCM under the store key, which the operator
// keeps. A new store key is a new seal on that file; a new data key is one more in it, for the files to come. Files are never
// rewritten for either: compactions do that in time.
//
// It keeps secrets from whoever gets hold of the disk. It does not notice somebody who changes it: Pebble's checksums find
// damage, not malice. Names and lengths of files show.
package encfs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The header of a file: magic, id of the data key, salt, checksum.
const (
	headerSize = 64
	magicSize  = 16
	saltSize   = 32
	keySize    = 32
	blockSize  = aes.BlockSize
)

var (
	magic      = [magicSize]byte{0x93, 'M', 'e', 'r', 'i', 'd', 'i', 'a', 'n', ' ', 'A', 'E', 'S', ' ', 0x01, 0x0a}
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// ErrDamaged reports a file whose header is not one that this store wrote.
var ErrDamaged = errors.New("encfs: the file's header is damaged")

// FS is a vfs.FS over another one. It is safe for concurrent use.
type FS struct {
	vfs.FS // what is not about content
	keys   *keyring
}

// Unwrap implements vfs.FS.
func (fs *FS) Unwrap() vfs.FS { return fs.FS }

// Create implements vfs.FS. The header reaches the disk with what is synced first.
func (fs *FS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	key, err := fs.keys.current()
	if err != nil {
		return nil, fmt.Errorf("encfs: create %s: %w", name, err)
	}
	f, err := fs.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	var head [headerSize]byte
	copy(head[:], magic[:])
	binary.BigEndian.PutUint64(head[magicSize:], key.id)
	salt := head[magicSize+8 : magicSize+8+saltSize]
	rand.Read(salt)
	binary.BigEndian.PutUint32(head[magicSize+8+saltSize:], crc32.Checksum(head[:magicSize+8+saltSize], castagnoli))
	block, err := fileCipher(key.secret, salt)
	if err == nil {
		_, err = f.Write(head[:])
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{File: f, block: block}, nil
}

// ReuseForWrite implements vfs.FS. A file under a new key has no use for the blocks of an old one.
func (fs *FS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.FS.Remove(oldname); err != nil {
		return nil, err
	}
	return fs.Create(newname, category)
}

// Open implements vfs.FS.
func (fs *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	if err != nil {
		return nil, err
	}
	return fs.wrap(name, f)
}

// OpenReadWrite implements vfs.FS.
func (fs *FS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if st, err := fs.FS.Stat(name); err != nil || st.Size() == 0 {
		return fs.Create(name, category)
	}
	f, err := fs.FS.OpenReadWrite(name, category, opts...)
	if err != nil {
		return nil, err
	}
	return fs.wrap(name, f)
}

// Stat implements vfs.FS: sizes are those of contents.
func (fs *FS) Stat(name string) (vfs.FileInfo, error) {
	st, err := fs.FS.Stat(name)
	if err != nil || st.IsDir() || st.Size() == 0 {
		return st, err
	}
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// wrap reads the header of a file that has been opened.
func (fs *FS) wrap(name string, f vfs.File) (_ vfs.File, err error) {
	defer func() {
		if err != nil {
			f.Close()
			err = fmt.Errorf("%s: %w", name, err)
		}
	}()
	st, err := f.Stat()
	if err != nil || st.IsDir() {
		return f, err
	}
	var head [headerSize]byte
	n, err := f.ReadAt(head[:], 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case n < headerSize && (string(head[:n]) == string(magic[:min(n, magicSize)]) || n > magicSize && [magicSize]byte(head[:magicSize]) == magic):
		// A crash came between the making of the file and its first sync: it has no content.
		return &file{File: f, torn: true}, nil
	case n > 0 && head == [headerSize]byte{}:
		return &file{File: f, torn: true}, nil // the same, on a file system that keeps lengths ahead of data
	case n == headerSize && [magicSize]byte(head[:magicSize]) == magic:
	case fs.keys.plain:
		return f, nil // from before the store was encrypted
	default:
		return nil, ErrDamaged
	}
	const sumAt = magicSize + 8 + saltSize
	if crc32.Checksum(head[:sumAt], castagnoli) != binary.BigEndian.Uint32(head[sumAt:]) {
		return nil, ErrDamaged
	}
	key, ok := fs.keys.byID(binary.BigEndian.Uint64(head[magicSize:]))
	if !ok {
		return nil, fmt.Errorf("%w: it names a data key that this store does not have", ErrDamaged)
	}
	block, err := fileCipher(key.secret, head[magicSize+8:sumAt])
	if err != nil {
		return nil, err
	}
	return &file{File: f, block: block}, nil
}

// fileCipher derives a file's own key.
func fileCipher(dataKey, salt []byte) (cipher.Block, error) {
	key, err := hkdf.Key(sha256.New, dataKey, salt, "meridian file", keySize)
	if err != nil {
		return nil, err
	}
	return aes.NewCipher(key)
}

// file is an encrypted file. Reads and writes at positions may run at once, as with vfs.File; those without a position are
// one goroutine's.
type file struct {
	vfs.File
	block cipher.Block
	pos   int64 // of Read and Write
	torn  bool  // it never had content
}

// buffers are for what is encrypted or decrypted.
var buffers = sync.Pool{New: func() any { b := make([]byte, 64<<10); return &b }}

const maxPooled = 1 << 20

func buffer(n int) *[]byte {
	b := buffers.Get().(*[]byte)
	if cap(*b) < n {
		*b = make([]byte, n)
	}
	*b = (*b)[:n]
	return b
}

func release(b *[]byte) {
	if cap(*b) <= maxPooled {
		buffers.Put(b)
	}
}

// stream is the key stream from a block on.
func (f *file) stream(at int64) cipher.Stream {
	var iv [blockSize]byte
	binary.BigEndian.PutUint64(iv[8:], uint64(at/blockSize))
	return cipher.NewCTR(f.block, iv[:])
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	n, err := f.put(p, f.pos, f.File.Write)
	f.pos += int64(n)
	return n, err
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	return f.put(p, off, func(b []byte) (int, error) { return f.File.WriteAt(b, off+headerSize) })
}

func (f *file) put(p []byte, off int64, write func([]byte) (int, error)) (int, error) {
	if f.torn {
		return 0, ErrDamaged
	}
	skip := int(off % blockSize)
	b := buffer(skip + len(p))
	defer release(b)
	clear((*b)[:skip])
	copy((*b)[skip:], p)
	f.stream(off-int64(skip)).XORKeyStream(*b, *b)
	return write((*b)[skip:])
}

// Read implements vfs.File.
func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// ReadAt implements vfs.File. Blocks of zeros are what they are: room that the file system has set aside, before anything
// was written to it, reads as zeros without us, and Pebble takes zeros for the end of its log.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case f.torn:
		return 0, io.EOF
	case off < 0:
		return 0, errors.New("encfs: negative offset")
	}
	skip := int(off % blockSize)
	size := (skip + len(p) + blockSize - 1) / blockSize * blockSize
	b := buffer(size)
	defer release(b)
	raw := *b
	n, err := f.File.ReadAt(raw, off-int64(skip)+headerSize)
	if err != nil && err != io.EOF {
		return 0, err
	}
	raw = raw[:n]
	var holes []int
	for i := 0; i+blockSize <= n; i += blockSize {
		if binary.NativeEndian.Uint64(raw[i:])|binary.NativeEndian.Uint64(raw[i+8:]) == 0 {
			holes = append(holes, i)
		}
	}
	f.stream(off-int64(skip)).XORKeyStream(raw, raw)
	for _, i := range holes {
		clear(raw[i : i+blockSize])
	}
	if n <= skip {
		return 0, io.EOF
	}
	if n = copy(p, raw[skip:]); n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Preallocate implements vfs.File.
func (f *file) Preallocate(offset, length int64) error {
	return f.File.Preallocate(offset+headerSize, length)
}

// SyncTo implements vfs.File.
func (f *file) SyncTo(length int64) (bool, error) { return f.File.SyncTo(length + headerSize) }

// Prefetch implements vfs.File.
func (f *file) Prefetch(offset, length int64) error {
	return f.File.Prefetch(offset+headerSize, length)
}

// Fd implements vfs.File. Nobody may go around us.
func (f *file) Fd() uintptr { return vfs.InvalidFd }

// Stat implements vfs.File.
func (f *file) Stat() (vfs.FileInfo, error) {
	st, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	return info{st, max(0, st.Size()-headerSize), f.torn}, nil
}

// info is a file's, less the header.
type info struct {
	vfs.FileInfo
	size int64
	torn bool
}

// Size implements vfs.FileInfo.
func (i info) Size() int64 {
	if i.torn {
		return 0
	}
	return i.size
}

// Config configures Open. A zero field takes the default named in its comment.
type Config struct {
	FS     vfs.FS           // Required.
	Dir    string           // The store's directory. Required.
	Key    []byte           // The store key, 32 bytes. Required.
	OldKey []byte           // The store key before, to change it. Default: none.
	Plain  bool             // The store has files that were written before it was encrypted.
	Now    func() time.Time // Default time.Now.
	MaxAge time.Duration    // Of a data key, after which new files get another. Default 30 days.
}
