package exec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/meridian-db/meridian/txn/kv"
)

// fakePages is a scanner of n pages of one pair each, named by their part; with err the last one fails.
type fakePages struct {
	kv.Scanner
	part, n, at int
	err         error
	closed      *int
}

func (f *fakePages) NextPage(context.Context) kv.Page {
	if f.at == f.n {
		return kv.Page{Scanned: 1}
	}
	f.at++
	return kv.Page{Keys: [][]byte{fmt.Appendf(nil, "%d.%d", f.part, f.at)}, Values: [][]byte{nil}, Scanned: 10}
}
func (f *fakePages) Err() error {
	if f.at == f.n {
		return f.err
	}
	return nil
}
func (f *fakePages) Close() { *f.closed++ }

// TestParallelReader: parts are read side by side, come in order or complete, and leave nothing running, read to
// their end or not. (A bubble with a goroutine left over fails.)
func TestParallelReader(t *testing.T) {
	parts := make([]kv.Span, 9)
	for i := range parts {
		parts[i].Start = []byte{byte(i)}
	}
	for _, anyOrder := range []bool{false, true} {
		for _, stop := range []int{0, 1, 7, 1000} {
			for _, fails := range []int{-1, 4} {
				synctest.Test(t, func(t *testing.T) {
					opened, closed := 0, 0
					r := newParallelReader(parts, anyOrder, func(sp kv.Span) (kv.PageScanner, error) {
						opened++
						f := &fakePages{part: int(sp.Start[0]), n: int(sp.Start[0]) % 4, closed: &closed}
						if f.part == fails {
							f.err, f.n = errors.New("lost"), 2
						}
						return f, nil
					})
					var got []string
					scanned := int64(0)
					var err error
					for len(got) < stop {
						p := r.next(t.Context())
						scanned += p.Scanned
						if err = p.err; err != nil || len(p.Keys) == 0 {
							break
						}
						got = append(got, string(p.Keys[0]))
						if len(got) == 1 && opened != min(sideBySide, len(parts)) && fails < 0 && !anyOrder {
							// Part 0 is empty: one more has been begun for it.
							if opened != sideBySide+1 {
								t.Errorf("%d parts are read at a time", opened)
							}
						}
					}
					r.close()
					r.close()
					if opened != closed {
						t.Errorf("%d scanners opened, %d closed", opened, closed)
					}
					if stop < 1000 {
						return
					}
					if fails >= 0 {
						if err == nil {
							t.Error("an error is lost")
						}
						return
					}
					if len(got) != 12 || scanned != 12*10+9 {
						t.Errorf("%d pages, %d rows scanned: %v", len(got), scanned, got)
					}
					if want := "1.1 2.1 2.2 3.1 3.2 3.3 5.1 6.1 6.2 7.1 7.2 7.3"; !anyOrder && strings.Join(got, " ") != want {
						t.Errorf("order: %v, want %s", got, want)
					}
				})
			}
		}
	}
}

// TestPageReaderInParts: a reader goes on with the parts that the first page names, if that is empty or not, and counts what
// that has read.
func TestPageReaderInParts(t *testing.T) {
	for _, empty := range []bool{false, true} {
		for _, stop := range []int{1, 1000} {
			synctest.Test(t, func(t *testing.T) {
				opened, closed := 1, 0
				first := &firstPage{fakePages: fakePages{n: 1000, closed: &closed}, empty: empty}
				r := newPageReader(first, true, func(parts []kv.Span) *parallelReader {
					return newParallelReader(parts, false, func(sp kv.Span) (kv.PageScanner, error) {
						opened++
						return &fakePages{part: int(sp.Start[0]), n: 2, closed: &closed}, nil
					})
				})
				var got []string
				scanned := int64(0)
				for len(got) < stop {
					p := r.next(t.Context())
					scanned += p.Scanned
					if p.err != nil {
						t.Fatal(p.err)
					}
					if len(p.Keys) == 0 {
						break
					}
					got = append(got, string(p.Keys[0]))
				}
				r.close()
				r.close()
				if opened != closed {
					t.Errorf("%d scanners opened, %d closed", opened, closed)
				}
				want, rows := "0.1 1.1 1.2 2.1 2.2", int64(10+4*10+2)
				if empty {
					want = "1.1 1.2 2.1 2.2"
				}
				if stop == 1000 && (strings.Join(got, " ") != want || scanned != rows) {
					t.Errorf("%v, %d rows scanned", got, scanned)
				}
			})
		}
	}
}

// firstPage is a scanner whose first page names two parts, and which must not be read on.
type firstPage struct {
	fakePages
	empty, shut bool
}

func (f *firstPage) Close() {
	if !f.shut {
		f.shut = true
		f.fakePages.Close()
	}
}

func (f *firstPage) NextPage(ctx context.Context) kv.Page {
	if f.at > 0 {
		panic("read on beside its parts")
	}
	p := f.fakePages.NextPage(ctx)
	if p.Rest = []kv.Span{{Start: []byte{1}}, {Start: []byte{2}}}; f.empty {
		p.Keys = nil
	}
	return p
}
