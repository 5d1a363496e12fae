package encfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func key(b byte) []byte { return bytes.Repeat([]byte{b}, keySize) }

func open(t testing.TB, cfg Config) *FS {
	t.Helper()
	fs, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

func memStore(t testing.TB) *vfs.MemFS {
	t.Helper()
	mem := vfs.NewCrashableMem()
	if err := mem.MkdirAll("store", 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := mem.OpenDir("")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(root.Sync(), root.Close()); err != nil {
		t.Fatal(err)
	}
	return mem
}

// files returns the raw content of all files below dir.
func files(t testing.TB, fs vfs.FS, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		st, err := fs.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st.IsDir() {
			for p, b := range files(t, fs, path) {
				out[p] = b
			}
			continue
		}
		out[path] = read(t, fs, path)
	}
	return out
}

func read(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, fs vfs.FS, path string, parts ...[]byte) {
	t.Helper()
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		given := bytes.Clone(p)
		if n, err := f.Write(given); err != nil || n != len(p) {
			t.Fatal(n, err)
		}
		// Pebble's own disk in memory does so on purpose when the race detector is built in.
		if _, pebbles := fs.(*vfs.MemFS); !pebbles && !bytes.Equal(given, p) {
			t.Fatal("Write has changed its argument")
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestFile: whatever is written in whatever pieces is read back in whatever others, and the disk has none of it.
func TestFile(t *testing.T) {
	mem := memStore(t)
	fs := open(t, Config{FS: mem, Dir: "store", Key: key(1)})
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		content := make([]byte, rng.IntN(5000))
		for i := range content {
			content[i] = byte(rng.IntN(4)) // with runs of zeros
		}
		var parts [][]byte
		for rest := content; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(700))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		write(t, fs, "store/f", parts...)
		if got := read(t, fs, "store/f"); !bytes.Equal(got, content) {
			t.Fatalf("round %d: read %d bytes that differ from the %d written", round, len(got), len(content))
		}
		st, err := fs.Stat("store/f")
		if err != nil || st.Size() != int64(len(content)) {
			t.Fatalf("size %v, %v, want %d", st, err, len(content))
		}
		f, err := fs.Open("store/f")
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			off, n := rng.IntN(len(content)+20), rng.IntN(300)
			buf := make([]byte, n)
			got, err := f.ReadAt(buf, int64(off))
			want := content[min(off, len(content)):min(off+n, len(content))]
			if !bytes.Equal(buf[:got], want) || (err == io.EOF) != (len(want) < n) || err != nil && err != io.EOF {
				t.Fatalf("round %d: ReadAt(%d bytes at %d of %d): %d bytes, %v", round, n, off, len(content), got, err)
			}
		}
		f.Close()
		if raw := read(t, mem, "store/f"); len(content) > 64 && bytes.Contains(raw, content[:32]) {
			t.Fatal("the disk holds the content")
		}
	}
	// Two files of one content have nothing in common.
	same := bytes.Repeat([]byte("the same in both files. "), 100)
	write(t, fs, "store/a", same)
	write(t, fs, "store/b", same)
	a, b := read(t, mem, "store/a"), read(t, mem, "store/b")
	if bytes.Equal(a[headerSize:], b[headerSize:]) || bytes.Equal(a[headerSize:headerSize+16], a[headerSize+24*16:headerSize+24*16+16]) {
		t.Error("equal plaintexts look equal")
	}
}

func TestWriteAt(t *testing.T) {
	mem := memStore(t)
	fs := open(t, Config{FS: mem, Dir: "store", Key: key(1)})
	f, err := fs.OpenReadWrite("store/f", vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{100, 0, 37} {
		if _, err := f.WriteAt([]byte(fmt.Sprintf("at %3d;", at)), at); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 107)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	for _, at := range []int{100, 0, 37} {
		if want := fmt.Sprintf("at %3d;", at); string(got[at:at+7]) != want {
			t.Errorf("at %d: %q", at, got[at:at+7])
		}
	}
	// The room between, which was never written, reads as the zeros that the file system has put there.
	if !bytes.Equal(got[48:96], make([]byte, 48)) {
		t.Errorf("unwritten: %x", got[48:96])
	}
	if f, err = fs.OpenReadWrite("store/f", vfs.WriteCategoryUnspecified); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("again"), 2); err != nil {
		t.Fatal(err)
	}
	if _, err := f.ReadAt(got[:8], 0); err != nil || string(got[:7]) != "atagain" {
		t.Errorf("%q, %v", got[:8], err)
	}
}

// TestKeys: a wrong store key is refused and named; a changed one leaves old files readable and gives new ones a new data key.
func TestKeys(t *testing.T) {
	mem := memStore(t)
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	cfg := Config{FS: mem, Dir: "store", Key: key(1), Now: func() time.Time { return now }}
	fs := open(t, cfg)
	write(t, fs, "store/one", []byte("first"))
	id := func(name string) byte { return read(t, mem, name)[magicSize+7] }

	bad := cfg
	bad.Key = key(2)
	var wrong *KeyError
	if _, err := Open(bad); !errors.As(err, &wrong) || wrong.Want != KeyID(key(1)) || wrong.Given != KeyID(key(2)) {
		t.Errorf("wrong key: %v", err)
	}
	rotated := cfg
	rotated.Key, rotated.OldKey = key(2), key(1)
	raw := read(t, mem, "store/one")
	fs = open(t, rotated)
	write(t, fs, "store/two", []byte("second"))
	if got := string(read(t, fs, "store/one")) + string(read(t, fs, "store/two")); got != "firstsecond" {
		t.Errorf("after the rotation: %q", got)
	}
	if !bytes.Equal(raw, read(t, mem, "store/one")) {
		t.Error("the rotation has rewritten a file")
	}
	if id("store/one") == id("store/two") {
		t.Error("the rotation has made no new data key")
	}
	if _, err := Open(cfg); !errors.As(err, &wrong) {
		t.Errorf("the old key after the rotation: %v", err)
	}
	fs = open(t, rotated) // the flag of the old key may stay
	write(t, fs, "store/three", []byte("third"))
	if id("store/three") != id("store/two") {
		t.Error("a restart has made a new data key")
	}
	now = now.Add(31 * 24 * time.Hour)
	write(t, fs, "store/four", []byte("fourth"))
	if id("store/four") == id("store/three") {
		t.Error("a data key lives for ever")
	}
	if got := string(read(t, open(t, rotated), "store/four")); got != "fourth" {
		t.Errorf("%q", got)
	}

	// Damage is found, and says what it is.
	b := read(t, mem, "store/"+KeysFile)
	for _, spoil := range []func([]byte) []byte{
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { return bytes.Replace(b, []byte(`"sealed": "`), []byte(`"sealed": "AAAA`), 1) },
		func(b []byte) []byte { return bytes.Replace(b, []byte(`"format": 1`), []byte(`"format": 9`), 1) },
	} {
		write(t, mem, "store/"+KeysFile, spoil(bytes.Clone(b)))
		if _, err := Open(rotated); err == nil || !strings.Contains(err.Error(), KeysFile) {
			t.Errorf("a damaged file of keys: %v", err)
		}
	}
	write(t, mem, "store/"+KeysFile, b)
	for at := range headerSize - 4 {
		spoilt := bytes.Clone(raw)
		spoilt[at] ^= 0x40
		write(t, mem, "store/one", spoilt)
		if _, err := open(t, rotated).Open("store/one"); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d of a header is wrong: %v", at, err)
		}
	}
}

// TestPlainBefore: a store that was not encrypted is taken over, and what is written from then on is encrypted. One that always
// was takes no other file.
func TestPlainBefore(t *testing.T) {
	mem := memStore(t)
	write(t, mem, "store/old", []byte("written before"))
	fs := open(t, Config{FS: mem, Dir: "store", Key: key(1), Plain: true})
	write(t, fs, "store/new", []byte("written after"))
	fs = open(t, Config{FS: mem, Dir: "store", Key: key(1)}) // it remembers
	if got := string(read(t, fs, "store/old")) + ", " + string(read(t, fs, "store/new")); got != "written before, written after" {
		t.Errorf("%q", got)
	}
	if bytes.Contains(read(t, mem, "store/new"), []byte("after")) {
		t.Error("it is not encrypted")
	}
	mem = memStore(t)
	fs = open(t, Config{FS: mem, Dir: "store", Key: key(1)})
	write(t, mem, "store/foreign", bytes.Repeat([]byte("put there by somebody"), 10))
	if _, err := fs.Open("store/foreign"); !errors.Is(err, ErrDamaged) {
		t.Errorf("a file without encryption: %v", err)
	}
}

// TestTornCreation: a file of which a crash has left the name, a piece of the header or only room is empty.
func TestTornCreation(t *testing.T) {
	mem := memStore(t)
	fs := open(t, Config{FS: mem, Dir: "store", Key: key(1)})
	write(t, fs, "store/f", []byte("content"))
	head := read(t, mem, "store/f")[:headerSize]
	for _, raw := range [][]byte{nil, head[:3], head[:40], make([]byte, headerSize), make([]byte, 4096)} {
		write(t, mem, "store/f", raw)
		if got := read(t, fs, "store/f"); len(got) != 0 {
			t.Errorf("%d bytes of header: content %q", len(raw), got)
		}
		if st, err := fs.Stat("store/f"); err != nil || st.Size() != 0 {
			t.Errorf("%d bytes of header: %v, %v", len(raw), st, err)
		}
	}
}

// TestPebbleCrash: Pebble over an encrypted disk that forgets what was not synced loses nothing that was, time after time, also
// while keys change; and no file holds a word of it.
func TestPebbleCrash(t *testing.T) {
	mem := memStore(t)
	rng := rand.New(rand.NewPCG(7, 7))
	synced := map[string]string{}
	store := byte(1)
	for life := range 12 {
		cfg := Config{FS: mem, Dir: "store", Key: key(store)}
		if life%4 == 3 {
			cfg.OldKey = key(store)
			store++
			cfg.Key = key(store)
		}
		fs := open(t, cfg)
		db, err := pebble.Open("store/db", &pebble.Options{FS: fs, MemTableSize: 64 << 10, Logger: quiet{}})
		if err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		for k, v := range synced {
			got, closer, err := db.Get([]byte(k))
			if err != nil || string(got) != v {
				t.Fatalf("life %d: %s = %q, %v, want %q", life, k, got, err, v)
			}
			closer.Close()
		}
		for i := range 300 {
			k, v := fmt.Sprintf("key %d", rng.IntN(500)), fmt.Sprintf("plaintext %d.%d %s", life, i, strings.Repeat("value ", rng.IntN(200)))
			if err := db.Set([]byte(k), []byte(v), pebble.Sync); err != nil {
				t.Fatal(err)
			}
			synced[k] = v
		}
		if life%3 == 1 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 40, RNG: rng})
		db.Close()
		for path, raw := range files(t, mem, "store") {
			for _, word := range []string{"plaintext", "value ", "key "} {
				if bytes.Contains(raw, []byte(word)) {
					t.Fatalf("life %d: %q is in %s", life, word, path)
				}
			}
		}
		mem = crashed
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func TestParseKey(t *testing.T) {
	for _, ok := range []string{strings.Repeat("ab", 32), strings.Repeat("AB", 32) + "\n", strings.Repeat("\x01", 32)} {
		if k, err := ParseKey([]byte(ok)); err != nil || len(k) != keySize {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "ab", strings.Repeat("ab", 33), strings.Repeat("xy", 32)} {
		if _, err := ParseKey([]byte(bad)); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, c := range []string{"plain", "encrypted"} {
		b.Run(c, func(b *testing.B) {
			mem := memStore(b)
			var fs vfs.FS = mem
			if c == "encrypted" {
				fs = open(b, Config{FS: mem, Dir: "store", Key: key(1)})
			}
			write(b, fs, "store/f", make([]byte, 1<<20))
			f, err := fs.Open("store/f")
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			buf := make([]byte, 32<<10)
			b.SetBytes(int64(len(buf)))
			for i := range b.N {
				if _, err := f.ReadAt(buf, int64(i%31)*32<<10+5); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
