package store

import (
	"context"
	"errors"
	"io/fs"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// TestStores is the suite that every store passes.
func TestStores(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket("vault"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(gofakes3.New(backend).Server())
	defer srv.Close()
	bucket := "s3://vault/some/prefix?aws_access_key_id=k&aws_secret_access_key=s&endpoint=" + url.QueryEscape(srv.URL)
	for _, location := range []string{"file://" + t.TempDir(), t.TempDir() + "/new", bucket} {
		ctx := context.Background()
		s, err := Open(ctx, location)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(s.URL(), "secret") {
			t.Errorf("%s tells secrets", s.URL())
		}
		if _, err := s.Read(ctx, "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: reading what is not there: %v", s.URL(), err)
		}
		for _, content := range []string{"one", "", strings.Repeat("big", 1<<20)} {
			if err := s.Write(ctx, "dir/file", []byte(content)); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Read(ctx, "dir/file"); err != nil || string(got) != content {
				t.Errorf("%s: read %d bytes, %v, want %d", s.URL(), len(got), err, len(content))
			}
		}
		for range 2 {
			if err := s.Remove(ctx, "dir/file"); err != nil {
				t.Errorf("%s: remove: %v", s.URL(), err)
			}
		}
	}
}

func TestLocations(t *testing.T) {
	for _, bad := range []string{"", "relative/path", "file://host/path", "http://x/y", "s3:///x", "s3://b/p?what=1", "s3://b?aws_access_key_id=k", "s3://b?endpoint=x", "%zz"} {
		if _, err := Open(context.Background(), bad); !errors.Is(err, ErrLocation) {
			t.Errorf("Open(%q): %v", bad, err)
		}
	}
	if got := Redact("s3://b/p?aws_access_key_id=k&aws_secret_access_key=hush"); strings.Contains(got, "hush") {
		t.Error(got)
	}
	for _, tc := range [][4]string{
		{"file:///a/b/inc", "file:///a/b/full", "../full", "/a/b/full"},
		{"/a/b/inc", "file:///a/b/full", "../full", "/a/b/full"},
		{"/a/inc", "/b/full", "/b/full", "/b/full"},
		{"s3://v/inc?aws_secret_access_key=s", "s3://v/full?aws_secret_access_key=s", "../full", "s3://v/full?aws_secret_access_key=s"},
		{"s3://v/x/inc", "s3://w/full?region=r", "s3://w/full", "s3://w/full"},
	} {
		rel := Relative(tc[0], tc[1])
		if rel != tc[2] || Resolve(tc[0], rel) != tc[3] {
			t.Errorf("Relative(%s, %s) = %s, which resolves to %s; want %s, %s", tc[0], tc[1], rel, Resolve(tc[0], rel), tc[2], tc[3])
		}
	}
}
