// Package store is where backups are kept: a directory, or a bucket of an S3-compatible server. A place holds files
// that are written once, as a whole, and never changed.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Store is one place. It is safe for concurrent use.
type Store interface {
	// Write makes a file of data; it exists whole or not at all, and replaces one of that name.
	Write(ctx context.Context, name string, data []byte) error
	// Read returns a file's content. The error is fs.ErrNotExist when there is none, as errors.Is has it.
	Read(ctx context.Context, name string) ([]byte, error)
	// Remove removes a file. That it does not exist is no error.
	Remove(ctx context.Context, name string) error
	// URL is where the store is, without secrets.
	URL() string
}

// ErrLocation is what errors.Is finds when a location is not one.
var ErrLocation = errors.New("not a location for backups")

// Open returns the store at location:
//
//	file:///path, or an absolute path     a directory; it is made when something is written
//	s3://bucket/prefix?endpoint=...       a bucket; see openS3 for the parameters
func Open(ctx context.Context, location string) (Store, error) {
	if filepath.IsAbs(location) {
		return dir{filepath.Clean(location)}, nil
	}
	u, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("%w: %q", ErrLocation, location) // err may show a secret
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" || !filepath.IsAbs(u.Path) {
			return nil, fmt.Errorf("%w: %q: give file:///absolute/path", ErrLocation, location)
		}
		return dir{filepath.Clean(u.Path)}, nil
	case "s3":
		return openS3(ctx, u)
	}
	return nil, fmt.Errorf("%w: %q: give file:///path or s3://bucket/prefix", ErrLocation, Redact(location))
}

// Redact returns a location without its secrets.
func Redact(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return "(unreadable)"
	}
	q := u.Query()
	for _, k := range []string{paramSecret, paramToken} {
		if q.Has(k) {
			q.Set(k, "redacted")
		}
	}
	u.RawQuery, u.User = q.Encode(), nil
	return u.String()
}

// Relative returns how to find the place at to from the one at from: a relative path when they are siblings, so that
// both may move together, and to itself otherwise. Parameters of a location, its secrets among them, are left out.
func Relative(from, to string) string {
	f, a := split(from)
	t, b := split(to)
	if f == t && path.Dir(a) == path.Dir(b) {
		return "../" + path.Base(b)
	}
	return t + b
}

// Resolve undoes Relative. Parameters are those of from.
func Resolve(from, to string) string {
	base, p := split(from)
	if strings.HasPrefix(to, "../") {
		to = base + path.Join(path.Dir(p), strings.TrimPrefix(to, "../"))
	}
	if u, err := url.Parse(from); err == nil && u.Scheme == "s3" && u.RawQuery != "" && strings.HasPrefix(to, "s3://") {
		to += "?" + u.RawQuery
	}
	return to
}

// split returns scheme and host of a location, and its path.
func split(location string) (base, p string) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme == "" {
		return "", path.Clean(location)
	}
	if u.Scheme == "file" {
		return "", path.Clean(u.Path)
	}
	return u.Scheme + "://" + u.Host, path.Clean("/" + u.Path)
}

// dir is a directory.
type dir struct{ path string }

func (d dir) file(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

// Write implements Store. The file is synced before it gets its name, and its name before Write returns.
func (d dir) Write(_ context.Context, name string, data []byte) (err error) {
	final := d.file(name)
	if err := os.MkdirAll(filepath.Dir(final), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(final), ".partial-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err = io.Copy(f, bytes.NewReader(data)); err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), final)
	}
	if err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(final))
	if err != nil {
		return err
	}
	defer parent.Close()
	return parent.Sync()
}

// Read implements Store.
func (d dir) Read(_ context.Context, name string) ([]byte, error) { return os.ReadFile(d.file(name)) }

// Remove implements Store.
func (d dir) Remove(_ context.Context, name string) error {
	if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// URL implements Store.
func (d dir) URL() string { return "file://" + filepath.ToSlash(d.path) }
