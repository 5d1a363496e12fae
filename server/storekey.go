package server

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/meridian-db/meridian/mvcc/encfs"
	"github.com/meridian-db/meridian/range/raftlog"
)

// IssueStoreKey writes a new store key to a file, which must not exist.
func IssueStoreKey(path string) error {
	key := make([]byte, 32)
	rand.Read(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return flagErr("out", err.Error(), "give a file that this user can write")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return flagErr("out", err.Error(), "give a file that does not exist yet and that this user can write")
	}
	_, err = fmt.Fprintf(f, "%s\n", hex.EncodeToString(key))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return flagErr("out", err.Error(), "give a file that this user can write")
	}
	return nil
}

// readStoreKey reads the key that a flag names.
func readStoreKey(flag, path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err == nil {
		b, err = encfs.ParseKey(b)
	}
	if err != nil {
		return nil, flagErr(flag, err.Error(), "give a file that `meridian cert store-key` wrote")
	}
	return b, nil
}

// openStoreFS returns the file system that the database's files are in: one over cfg.FS, which may encrypt. The files IDENTITY,
// NODES and LOCK stay as they are; they tell who the node is, and nothing of what is stored.
func openStoreFS(cfg *Config, warn func(msg string, args ...any)) (vfs.FS, error) {
	base := raftlog.PrewriteFS(cfg.FS, raftlog.PrewriteBytes)
	encrypted := encfs.Encrypted(cfg.FS, cfg.Store)
	switch {
	case cfg.StoreKey == "" && cfg.OldStoreKey != "":
		return nil, flagErr("old-store-key", "has no meaning without --store-key", "give the new key, too")
	case cfg.StoreKey == "" && encrypted:
		return nil, flagErr("store-key", "is required, the store is encrypted", "give the file with its store key")
	case cfg.StoreKey == "":
		return base, nil
	}
	ec := encfs.Config{FS: base, Dir: cfg.Store}
	var err error
	if ec.Key, err = readStoreKey("store-key", cfg.StoreKey); err != nil {
		return nil, err
	}
	if cfg.OldStoreKey != "" {
		if ec.OldKey, err = readStoreKey("old-store-key", cfg.OldStoreKey); err != nil {
			return nil, err
		}
	}
	if !encrypted {
		if _, err := cfg.FS.Stat(cfg.FS.PathJoin(cfg.Store, "state")); err == nil {
			ec.Plain = true
			warn("the store was not encrypted: files that are there stay as they are until compactions replace them; for certainty decommission the node and start it with an empty store")
		}
	}
	fs, err := encfs.Open(ec)
	var wrong *encfs.KeyError
	switch {
	case errors.As(err, &wrong):
		return nil, flagErr("store-key", fmt.Sprintf("%s holds the key %s, the store is encrypted under %s", cfg.StoreKey, wrong.Given, wrong.Want),
			"give that key, or, to change it, the new one here and that one as --old-store-key")
	case err != nil:
		return nil, flagErr("store-key", err.Error(), "if the file "+encfs.KeysFile+" is damaged, "+replaceStore)
	}
	return fs, nil
}
