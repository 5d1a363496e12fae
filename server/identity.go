package server

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	ranges "github.com/meridian-db/meridian/range"
)

// storeFormat is the newest on-disk format this build writes and reads.
const storeFormat = 1

const (
	identityFile = "IDENTITY"
	nodesFile    = "NODES"
)

// Identity says whose store a directory is. It is written once per step of a node's birth:
//
//	new store ── StoreID ──▶ (join: another node allocates) ── ClusterID, NodeID ──▶ member
type Identity struct {
	StoreID   string        // random, made with the store
	ClusterID string        // empty until the node has founded or joined
	NodeID    ranges.NodeID // zero until then
	// Founding is set while the founder has not yet written the first ranges.
	Founding bool
}

// Member reports whether the node has a place in a cluster.
func (id Identity) Member() bool { return id.ClusterID != "" && id.NodeID != 0 }

// StoreError reports that a store cannot be used as configured. The store is untouched.
type StoreError struct {
	Dir, Reason string
}

func (e *StoreError) Error() string { return "store " + e.Dir + ": " + e.Reason }

// LoadIdentity reads the identity of the store in dir; ok is false when the directory holds no store.
func LoadIdentity(fs vfs.FS, dir string) (id Identity, ok bool, err error) {
	path := fs.PathJoin(dir, identityFile)
	f, err := fs.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		// A directory with files of ours but no identity is not new: something was deleted.
		for _, sub := range []string{"raftlog", "state"} {
			if names, lerr := fs.List(fs.PathJoin(dir, sub)); lerr == nil && len(names) > 0 {
				return id, false, &StoreError{dir, "the file IDENTITY is missing although there is data in " + sub + "; restore it, or use an empty directory with --store"}
			}
		}
		return id, false, nil
	}
	if err != nil {
		return id, false, fmt.Errorf("store %s: %w", dir, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return id, false, fmt.Errorf("store %s: %w", dir, err)
	}
	if id, err = parseIdentity(b); err != nil {
		return id, false, &StoreError{dir, err.Error()}
	}
	return id, true, nil
}

// parseIdentity decodes the file. The format number is read before the checksum, so that a newer format gets the
// right complaint.
func parseIdentity(b []byte) (id Identity, err error) {
	fields := map[string]string{}
	sc := bufio.NewScanner(bytes.NewReader(b))
	var sum uint64
	summed, sumSeen := 0, false
	for sc.Scan() {
		k, v, ok := strings.Cut(sc.Text(), " ")
		if !ok || fields[k] != "" {
			return id, errors.New("the file IDENTITY is damaged; restore it from a copy")
		}
		fields[k] = v
		if k == "crc32c" {
			sum, err = strconv.ParseUint(v, 16, 32)
			sumSeen = err == nil
			break
		}
		summed += len(sc.Bytes()) + 1
	}
	format, err := strconv.Atoi(fields["meridian-store"])
	if err != nil {
		return id, errors.New("the file IDENTITY is damaged; restore it from a copy")
	}
	if format > storeFormat {
		return id, fmt.Errorf("it has format %d, newer than %d, the newest this build knows; start it with the release that wrote it, or a later one", format, storeFormat)
	}
	if !sumSeen || summed > len(b) || crc32.Checksum(b[:summed], crc32.MakeTable(crc32.Castagnoli)) != uint32(sum) {
		return id, errors.New("the file IDENTITY is damaged (checksum); restore it from a copy")
	}
	node, err := strconv.ParseUint(fields["node"], 10, 16)
	if err != nil || fields["store"] == "" {
		return id, errors.New("the file IDENTITY is damaged; restore it from a copy")
	}
	id = Identity{StoreID: fields["store"], ClusterID: fields["cluster"], NodeID: ranges.NodeID(node), Founding: fields["founding"] == "true"}
	if id.ClusterID == "-" {
		id.ClusterID = ""
	}
	return id, nil
}

func (id Identity) encode() []byte {
	cluster := id.ClusterID
	if cluster == "" {
		cluster = "-"
	}
	b := fmt.Appendf(nil, "meridian-store %d\nstore %s\ncluster %s\nnode %d\nfounding %t\n", storeFormat, id.StoreID, cluster, id.NodeID, id.Founding)
	return fmt.Appendf(b, "crc32c %08x\n", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// Save writes the identity durably.
func (id Identity) Save(fs vfs.FS, dir string) error {
	return writeFileAtomic(fs, dir, identityFile, id.encode())
}

// createDir creates a directory with its parents, durably: a new directory whose name was not synced in its
// parent is gone after a power failure, with all that was synced inside.
func createDir(fs vfs.FS, dir string) error {
	missing := []string{}
	for d := dir; ; d = fs.PathDir(d) {
		if _, err := fs.Stat(d); err == nil || d == fs.PathDir(d) {
			break
		}
		missing = append(missing, d)
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, d := range missing {
		parent, err := fs.OpenDir(fs.PathDir(d))
		if err != nil {
			return err
		}
		if err := errors.Join(parent.Sync(), parent.Close()); err != nil {
			return err
		}
	}
	return nil
}

// writeFileAtomic replaces a file: after a crash it holds the old or the new content, never a mixture.
func writeFileAtomic(fs vfs.FS, dir, name string, content []byte) error {
	if err := createDir(fs, dir); err != nil {
		return err
	}
	tmp := fs.PathJoin(dir, name+".tmp")
	f, err := fs.Create(tmp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fs.Rename(tmp, fs.PathJoin(dir, name))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
