package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/meridian-db/meridian/txn/kv"
)

func testLogger(t testing.TB) *slog.Logger {
	if os.Getenv("MERIDIAN_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func startDemo(t testing.TB, dir string) *Demo {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	begin := time.Now()
	d, err := StartDemo(ctx, DemoConfig{SQLAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", Data: dir, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ready in %s", time.Since(begin))
	for _, s := range d.Servers {
		if !s.replicated(ctx) {
			t.Errorf("node %d says it is ready, but ranges are not on three nodes", s.NodeID())
		}
	}
	return d
}

func put(ctx context.Context, db kv.DB, key, value string) error {
	return inTxn(ctx, db, "test", func(tx kv.Txn) error { return tx.Put([]byte(key), []byte(value)) })
}

func get(ctx context.Context, db kv.DB, key string) (string, error) {
	var out string
	err := inTxn(ctx, db, "test", func(tx kv.Txn) error {
		v, err := tx.Get(ctx, []byte(key), kv.LockShared, kv.WaitBlock)
		out = string(v)
		return err
	})
	return out, err
}

// TestDemo writes through every node, reads through every other, restarts all of them and finds the data.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	d := startDemo(t, dir)
	for i, s := range d.Servers {
		if err := put(ctx, s.core.DB, fmt.Sprintf("\x03\x00\x00\x10\x00k%d", i), fmt.Sprint("v", i)); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	defer func() { t.Logf("checked and stopped in %s", time.Since(begin)) }()
	check := func() {
		for i := range d.Servers {
			for _, s := range d.Servers {
				v, err := get(ctx, s.core.DB, fmt.Sprintf("\x03\x00\x00\x10\x00k%d", i))
				if err != nil || v != fmt.Sprint("v", i) {
					t.Errorf("node %d reads %q, %v", s.NodeID(), v, err)
				}
			}
		}
	}
	check()
	cluster := d.Servers[0].ClusterID()
	if err := d.Stop(); err != nil {
		t.Fatal(err)
	}
	d = startDemo(t, dir)
	defer d.Stop()
	if d.Servers[0].ClusterID() != cluster {
		t.Error("a restart founded another cluster")
	}
	check()
}

// TestStoreOfAnotherCluster: a store that belongs elsewhere is refused and stays as it was.
func TestStoreRefused(t *testing.T) {
	base := func(dir string) Config {
		return Config{Store: dir, Insecure: true, SQLAddr: "127.0.0.1:0", RPCAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0"}
	}
	for _, tc := range []struct{ name, content, want string }{
		{"newer format", "meridian-store 9\nanything else\n", "newer"},
		{"damaged", "meridian-store 1\nstore x\ncluster -\nnode 0\nfounding false\ncrc32c 00000000\n", "checksum"},
		{"garbage", "\x00\x01", "damaged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, identityFile)
			if err := os.WriteFile(path, []byte(tc.content), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := New(base(dir))
			var fe *FlagError
			if !errors.As(err, &fe) || fe.Flag != "store" || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error about %q", err, tc.want)
			}
			if b, _ := os.ReadFile(path); string(b) != tc.content {
				t.Error("the file was changed")
			}
		})
	}
}
