package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/meridian-db/meridian/sql/backup/store"
	"github.com/meridian-db/meridian/truetime"
)

const (
	manifestName   = "MANIFEST.json"
	manifestFormat = 1
	// maxChain bounds how many incremental backups may follow one another.
	maxChain = 1000
)

// Scope is what is backed up or restored.
type Scope struct {
	Database string `json:"database,omitempty"` // empty: the whole cluster
	Table    string `json:"table,omitempty"`    // schema.table within Database; empty: all of it
}

func (s Scope) String() string {
	switch {
	case s.Database == "":
		return "the cluster"
	case s.Table == "":
		return fmt.Sprintf("database %q", s.Database)
	}
	return fmt.Sprintf("table %s of database %q", s.Table, s.Database)
}

// Manifest describes one backup.
type Manifest struct {
	Format  int       `json:"format"`
	ID      string    `json:"id"`
	Version string    `json:"version"` // of Meridian
	Created time.Time `json:"created"` // wall time of the node that wrote it, for people

	Scope Scope `json:"scope"`
	// Timestamp is that of the data; Since the parent's, 0 for a full backup.
	Timestamp truetime.Timestamp `json:"timestamp"`
	Since     truetime.Timestamp `json:"since,omitempty"`
	// History says that every version between the two is there, not just the newest.
	History bool `json:"history,omitempty"`
	// Parent is the backup that this one goes on from. Its location is relative to this one's where they are siblings.
	Parent         string `json:"parent,omitempty"`
	ParentLocation string `json:"parentLocation,omitempty"`

	// Storages are the storage ids whose keys the chain up to here covers.
	Storages []uint32 `json:"storages"`
	Tables   []string `json:"tables"` // database.schema.table, for people
	Files    []File   `json:"files"`  // in the order of their first keys; spans of files do not overlap
	Protect  uint64   `json:"protect,omitempty"`
}

// File is one data file.
type File struct {
	Name   string `json:"name"`
	Start  []byte `json:"start"` // first key
	End    []byte `json:"end"`   // last key
	Pairs  int64  `json:"pairs"`
	Bytes  int64  `json:"bytes"` // of the file
	Raw    int64  `json:"raw"`   // of keys and values
	SHA256 string `json:"sha256"`
}

// Totals sums up the files.
func (m *Manifest) Totals() (files int, pairs, bytes, raw int64) {
	for i := range m.Files {
		pairs, bytes, raw = pairs+m.Files[i].Pairs, bytes+m.Files[i].Bytes, raw+m.Files[i].Raw
	}
	return len(m.Files), pairs, bytes, raw
}

// FileError reports a file of a backup that is missing, damaged or not what the manifest says.
type FileError struct {
	Location, Name string
	Problem        string
	Err            error
}

func (e *FileError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("backup %s: file %s: %s: %v", e.Location, e.Name, e.Problem, e.Err)
	}
	return fmt.Sprintf("backup %s: file %s: %s", e.Location, e.Name, e.Problem)
}

func (e *FileError) Unwrap() error { return e.Err }

// ErrNoBackup is what errors.Is finds when a location holds no finished backup.
var ErrNoBackup = errors.New("there is no finished backup")

type sealed struct {
	SHA256   string          `json:"sha256"` // of Manifest as it stands here
	Manifest json.RawMessage `json:"manifest"`
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func writeManifest(ctx context.Context, s store.Store, m *Manifest) error {
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	b, err := json.Marshal(sealed{sum(body), body})
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	return s.Write(ctx, manifestName, b)
}

func readManifest(ctx context.Context, s store.Store) (*Manifest, error) {
	b, err := s.Read(ctx, manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w at %s: it has no %s", ErrNoBackup, s.URL(), manifestName)
	}
	if err != nil {
		return nil, err
	}
	damaged := func(what string, err error) error {
		return &FileError{Location: s.URL(), Name: manifestName, Problem: what, Err: err}
	}
	var env sealed
	if err := json.Unmarshal(b, &env); err != nil {
		return nil, damaged("it is damaged", err)
	}
	if sum(env.Manifest) != env.SHA256 {
		return nil, damaged("it is damaged: its checksum is wrong", nil)
	}
	m := &Manifest{}
	if err := json.Unmarshal(env.Manifest, m); err != nil {
		return nil, damaged("it is damaged", err)
	}
	if m.Format != manifestFormat {
		return nil, damaged(fmt.Sprintf("it has format %d, this version reads format %d", m.Format, manifestFormat), nil)
	}
	return m, nil
}

// link is one backup of a chain.
type link struct {
	*Manifest
	store store.Store
}

// read returns the content of a data file after its checksum has been compared.
func (l *link) read(ctx context.Context, f *File) ([]byte, error) {
	b, err := l.store.Read(ctx, f.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &FileError{Location: l.store.URL(), Name: f.Name, Problem: "it is missing"}
	case err != nil:
		return nil, err
	case int64(len(b)) != f.Bytes:
		return nil, &FileError{Location: l.store.URL(), Name: f.Name, Problem: fmt.Sprintf("it is damaged: it has %d bytes, the manifest says %d", len(b), f.Bytes)}
	case sum(b) != f.SHA256:
		return nil, &FileError{Location: l.store.URL(), Name: f.Name, Problem: "it is damaged: its checksum is wrong"}
	}
	return b, nil
}

// Chain is a full backup and the incremental ones that follow it.
type Chain struct{ links []*link }

// OpenChain reads the manifests from the backup at location back to the full one.
func OpenChain(ctx context.Context, location string) (*Chain, error) {
	c := &Chain{}
	for range maxChain {
		s, err := store.Open(ctx, location)
		if err != nil {
			return nil, err
		}
		m, err := readManifest(ctx, s)
		if err != nil {
			return nil, err
		}
		if len(c.links) > 0 {
			if child := c.links[0]; child.Parent != m.ID || child.Since != m.Timestamp {
				return nil, fmt.Errorf("the backup at %s goes on from backup %s at %s, but there is backup %s", child.store.URL(), child.Parent, s.URL(), m.ID)
			}
		}
		c.links = append([]*link{{m, s}}, c.links...)
		if m.Parent == "" {
			return c, nil
		}
		location = store.Resolve(location, m.ParentLocation)
	}
	return nil, fmt.Errorf("the chain of backups is longer than %d", maxChain)
}

// Manifests returns the manifests, the full backup's first, and where they are.
func (c *Chain) Manifests() (ms []*Manifest, urls []string) {
	for _, l := range c.links {
		ms, urls = append(ms, l.Manifest), append(urls, l.store.URL())
	}
	return ms, urls
}

func (c *Chain) last() *link { return c.links[len(c.links)-1] }

// Verify reads every file of the chain and compares checksums, and decodes them. seen is called after each file.
func (c *Chain) Verify(ctx context.Context, seen func(url string, f *File)) error {
	for _, l := range c.links {
		for i := range l.Files {
			f := &l.Files[i]
			b, err := l.read(ctx, f)
			if err != nil {
				return err
			}
			r, err := newFileReader(b)
			if err != nil {
				return &FileError{Location: l.store.URL(), Name: f.Name, Problem: "it cannot be read", Err: err}
			}
			pairs := int64(0)
			for r.next() {
				pairs++
			}
			err = r.err
			r.close()
			if err == nil && pairs != f.Pairs {
				err = fmt.Errorf("it has %d pairs, the manifest says %d", pairs, f.Pairs)
			}
			if err != nil {
				return &FileError{Location: l.store.URL(), Name: f.Name, Problem: "it cannot be read", Err: err}
			}
			if seen != nil {
				seen(l.store.URL(), f)
			}
		}
	}
	return nil
}

// TimeError reports a timestamp that a chain cannot restore.
type TimeError struct {
	At     truetime.Timestamp
	Ranges string
}

func (e *TimeError) Error() string {
	return fmt.Sprintf("the backup cannot be restored as of %s; it can be as of %s", e.At, e.Ranges)
}

// at returns the links needed to restore as of ts, zero for the newest, and the timestamp.
func (c *Chain) at(ts truetime.Timestamp) ([]*link, truetime.Timestamp, error) {
	if ts == 0 {
		return c.links, c.last().Timestamp, nil
	}
	covered := ""
	for i, l := range c.links {
		if l.Timestamp == ts || l.History && l.Since < ts && ts < l.Timestamp {
			return c.links[:i+1], ts, nil
		}
		if covered != "" {
			covered += ", "
		}
		if l.History && l.Since != 0 {
			covered += "anything up to "
		}
		covered += l.Timestamp.String()
	}
	return nil, 0, &TimeError{ts, covered}
}

// Summary is what people want to know of a backup.
type Summary struct {
	Location string `json:"location"`
	ID       string `json:"id"`
	Scope    string `json:"scope"`
	// Timestamp is in nanoseconds since 1970, as options and SET TRANSACTION SNAPSHOT take it; Time is the same.
	Timestamp truetime.Timestamp `json:"timestamp"`
	Time      time.Time          `json:"time"`
	Since     truetime.Timestamp `json:"since,omitempty"`
	History   bool               `json:"revision_history"`
	Created   time.Time          `json:"created"`
	Tables    []string           `json:"tables"`
	Files     int                `json:"files"`
	Entries   int64              `json:"entries"`
	Bytes     int64              `json:"bytes"`
}

// Summaries describes the backups of the chain, the full one first.
func (c *Chain) Summaries() []Summary {
	var out []Summary
	for _, l := range c.links {
		files, pairs, bytes, _ := l.Totals()
		s := Summary{Location: l.store.URL(), ID: l.ID, Scope: l.Scope.String(), Timestamp: l.Timestamp, Time: l.Timestamp.Time().UTC(),
			Since: l.Since, History: l.History, Created: l.Created, Tables: l.Tables, Files: files, Entries: pairs, Bytes: bytes}
		out = append(out, s)
	}
	return out
}
