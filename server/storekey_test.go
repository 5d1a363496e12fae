package server

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestEncryptedStore: nothing of rows, names or statements is in any file of a node with a store key, neither log nor state nor what
// a sort writes out; its key alone opens it, and can be changed.
func TestEncryptedStore(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	dir, keys := t.TempDir(), t.TempDir()
	one, two := filepath.Join(keys, "one"), filepath.Join(keys, "two")
	for _, k := range []string{one, two} {
		if err := IssueStoreKey(k); err != nil {
			t.Fatal(err)
		}
	}
	if err := IssueStoreKey(one); err == nil {
		t.Error("a key was written over another")
	}
	config := func(key, old string) Config {
		return Config{Store: dir, SQLAddr: "127.0.0.1:0", RPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Logger: testLogger(t), Insecure: true,
			StoreKey: key, OldStoreKey: old}
	}
	const word = "kardamomkapsel"
	plaintext := func() (found []string) {
		n := 0
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil // gone meanwhile
			}
			if n++; bytes.Contains(b, []byte(word)) {
				found = append(found, path)
			}
			return err
		})
		if err != nil || n < 5 {
			t.Fatalf("%d files, %v", n, err)
		}
		return found
	}
	run := func(key, old string, work func(s *Server)) {
		t.Helper()
		s, err := New(config(key, old))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Start(ctx); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
			if found := plaintext(); len(found) > 0 {
				t.Errorf("plaintext in %v", found)
			}
		}()
		work(s)
	}
	count := func(s *Server) (n int) {
		t.Helper()
		if err := connectTo(t, ctx, s).QueryRow(ctx, "select count(*) from "+word+" where b like '"+word+"%'").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	run(one, "", func(s *Server) {
		conn := connectTo(t, ctx, s)
		execute(t, ctx, conn, "create table "+word+" (a int primary key, b text)")
		execute(t, ctx, conn, "insert into "+word+" select i, '"+word+"' || i from generate_series(1, 20000) i")
		// Both engines, from memory to files.
		if err := s.core.Engine.Flush(); err != nil {
			t.Fatal(err)
		}
		if found := plaintext(); len(found) > 0 {
			t.Errorf("while it runs: plaintext in %v", found)
		}
	})
	run(one, "", func(s *Server) {
		if n := count(s); n != 20000 {
			t.Errorf("%d rows after a restart", n)
		}
	})
	for _, tc := range []struct{ name, key, old, want string }{
		{"no key", "", "", "--store-key (MERIDIAN_STORE_KEY): is required, the store is encrypted"},
		{"another key", two, "", "the store is encrypted under"},
		{"no such file", filepath.Join(keys, "none"), "", "no such file"},
		{"no key in the file", os.Args[0], "", "64 hexadecimal digits"},
		{"only an old key", "", one, "has no meaning without"},
	} {
		s, err := New(config(tc.key, tc.old))
		if err == nil {
			s.Stop()
		}
		var fe *FlagError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", tc.name, err, tc.want)
		}
	}
	run(two, one, func(s *Server) {
		if n := count(s); n != 20000 {
			t.Errorf("%d rows under a new key", n)
		}
		execute(t, ctx, connectTo(t, ctx, s), "update "+word+" set b = '"+word+" again'")
	})
	run(two, "", func(s *Server) {
		if n := count(s); n != 20000 {
			t.Errorf("%d rows with the new key alone", n)
		}
	})
	if s, err := New(config(one, "")); err == nil {
		s.Stop()
		t.Error("the old key opens the store")
	}
}

// TestEncryptedCrash: a node on an encrypted disk that forgets what was not synced has, after each crash, all that it had
// acknowledged: the checks by which the log tells a torn end from damage work on what is decrypted.
func TestEncryptedCrash(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	key := filepath.Join(t.TempDir(), "key")
	if err := IssueStoreKey(key); err != nil {
		t.Fatal(err)
	}
	mem := vfs.NewCrashableMem()
	rng := rand.New(rand.NewPCG(3, 5))
	rows := 0
	for life := range 4 {
		s, err := New(Config{FS: mem, Store: "store", SQLAddr: "127.0.0.1:0", RPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Logger: testLogger(t),
			Insecure: true, StoreKey: key})
		if err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		if err := s.Start(ctx); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		conn := connectTo(t, ctx, s)
		if life == 0 {
			execute(t, ctx, conn, "create table t (a int primary key, b text)")
		}
		var n int
		if err := conn.QueryRow(ctx, "select count(*) from t").Scan(&n); err != nil || n != rows {
			t.Errorf("life %d: %d of %d rows, %v", life, n, rows, err)
		}
		for range 40 {
			execute(t, ctx, conn, "insert into t values ($1, repeat('x', 3000))", rows)
			rows++
		}
		crashed := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 25 * life, RNG: rng})
		conn.Close(ctx)
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		mem = crashed
	}
}
