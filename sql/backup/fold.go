package backup

import (
	"bytes"
	"context"
	"sort"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// source reads one link's versions of a span in order.
type source struct {
	l    *link
	span kv.Span
	file int // next file
	r    *fileReader
	cur  *version // nil at the end
}

// open positions the source at its first version.
func (s *source) open(ctx context.Context) error {
	// Files are in the order of keys, so the first that reaches into the span is the first whose last key does.
	s.file = sort.Search(len(s.l.Files), func(i int) bool { return bytes.Compare(s.l.Files[i].End, s.span.Start) >= 0 })
	return s.next(ctx)
}

func (s *source) next(ctx context.Context) error {
	for {
		if s.r == nil {
			if s.file >= len(s.l.Files) || bytes.Compare(s.l.Files[s.file].Start, s.span.End) >= 0 {
				s.cur = nil
				return nil
			}
			f := &s.l.Files[s.file]
			b, err := s.l.read(ctx, f)
			if err == nil {
				if s.r, err = newFileReader(b); err != nil {
					err = &FileError{Location: s.l.store.URL(), Name: f.Name, Problem: "it cannot be read", Err: err}
				}
			}
			if err != nil {
				return err
			}
			s.file++
		}
		for s.r.next() {
			v := &s.r.cur
			if bytes.Compare(v.key, s.span.Start) < 0 {
				continue
			}
			if bytes.Compare(v.key, s.span.End) >= 0 {
				s.close()
				s.file = len(s.l.Files)
				s.cur = nil
				return nil
			}
			s.cur = v
			return nil
		}
		err := s.r.err
		s.close()
		if err != nil {
			return &FileError{Location: s.l.store.URL(), Name: s.l.Files[s.file-1].Name, Problem: "it cannot be read", Err: err}
		}
	}
}

func (s *source) close() {
	if s.r != nil {
		s.r.close()
		s.r = nil
	}
}

// fold calls fn for every key of span that had a value as of ts, in order, as the links, the full backup's first, tell.
// Slices are valid during the call.
func fold(ctx context.Context, links []*link, span kv.Span, ts truetime.Timestamp, fn func(key, value []byte) error) error {
	sources := make([]*source, len(links))
	for i, l := range links {
		sources[i] = &source{l: l, span: span}
		defer sources[i].close()
		if err := sources[i].open(ctx); err != nil {
			return err
		}
	}
	var key []byte
	for {
		key = key[:0]
		any := false
		for _, s := range sources {
			if s.cur != nil && (!any || bytes.Compare(s.cur.key, key) < 0) {
				key, any = append(key[:0], s.cur.key...), true
			}
		}
		if !any {
			return nil
		}
		// The newest link that has a version at or below ts decides.
		done := false
		for i := len(sources) - 1; i >= 0; i-- {
			for s := sources[i]; s.cur != nil && bytes.Equal(s.cur.key, key); {
				if !done && s.cur.ts <= ts {
					if done = true; !s.cur.deleted {
						if err := fn(s.cur.key, s.cur.value); err != nil {
							return err
						}
					}
				}
				if err := s.next(ctx); err != nil {
					return err
				}
			}
		}
	}
}
