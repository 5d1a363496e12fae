package exec

import (
	"context"
	"slices"

	"github.com/meridian-db/meridian/txn/kv"
)

// page is a run of pairs as a range answered them.
type page struct {
	kv.Page
	err  error
	from *prefetch // who has fetched it, if a goroutine
}

// pages are the pages of a span. close ends what goes on in the background, and the scan; it may be called twice.
type pages interface {
	// next returns the next page, an empty one at the end.
	next(ctx context.Context) page
	close()
}

// pageReader reads a span page by page. If there is much to read, it goes on with parts of the rest side by side;
// otherwise, from the second page on, it fetches the next one while the caller works on the last, in a goroutine that
// close ends.
type pageReader struct {
	sc    kv.PageScanner
	ahead *prefetch // nil while there is no goroutine
	// aside, if set, makes a reader of the parts of the span, which is rest as soon as there are some.
	aside func([]kv.Span) *parallelReader
	rest  *parallelReader
	eager bool // fetch ahead
	count int
	done  bool
}

// newPageReader reads by pages if the scanner can. eager says that the caller is going to read all of it.
func newPageReader(sc kv.Scanner, eager bool, aside func([]kv.Span) *parallelReader) pages {
	ps, ok := sc.(kv.PageScanner)
	if !ok {
		return nil
	}
	return &pageReader{sc: ps, eager: eager, aside: aside}
}

// next implements pages.
func (r *pageReader) next(ctx context.Context) page {
	if r.done {
		return page{}
	}
	if r.rest != nil {
		return r.rest.next(ctx)
	}
	r.count++
	var p page
	if r.ahead != nil {
		p = r.ahead.take(ctx)
	} else {
		p = page{Page: r.sc.NextPage(ctx), err: r.sc.Err()}
	}
	if len(p.Rest) > 0 && p.err == nil && r.aside != nil {
		r.rest = r.aside(p.Rest)
		if p.err = r.rest.fill(ctx); p.err == nil && len(p.Keys) == 0 {
			first := p
			p = r.rest.next(ctx)
			p.Scanned, p.Wire = p.Scanned+first.Scanned, p.Wire+first.Wire
		}
		return p
	}
	r.done = len(p.Keys) == 0 || p.err != nil
	if r.count == 1 && r.eager && !r.done && p.Scanned >= eagerRows {
		r.ahead = startPrefetch(ctx, r.sc, make(chan page, 1))
		go r.ahead.run()
	}
	return p
}

// eagerRows is how many rows the first page has at least when more are fetched ahead: a small page is likely the
// only one.
const eagerRows = 256

// close implements pages.
func (r *pageReader) close() {
	if r.rest != nil {
		r.rest.close()
	}
	if r.ahead != nil {
		r.ahead.end()
		r.ahead = nil
	}
	r.done = true
	r.sc.Close()
}

// prefetch fetches the pages of a scanner, in a goroutine.
type prefetch struct {
	sc     kv.PageScanner
	ctx    context.Context
	cancel context.CancelFunc
	pages  chan page
	done   chan struct{}
}

// startPrefetch prepares a goroutine, run, that sends pages. It does not end with the statement that is running: a
// portal may be read on by another one.
func startPrefetch(ctx context.Context, sc kv.PageScanner, to chan page) *prefetch {
	f := &prefetch{sc: sc, pages: to, done: make(chan struct{})}
	f.ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return f
}

// run sends all pages, an empty one or one with an error at last.
func (f *prefetch) run() {
	defer close(f.done)
	for {
		p := page{f.sc.NextPage(f.ctx), f.sc.Err(), f}
		select {
		case f.pages <- p:
		case <-f.ctx.Done():
			return
		}
		if len(p.Keys) == 0 || p.err != nil {
			return
		}
	}
}

func (f *prefetch) take(ctx context.Context) page {
	select {
	case p := <-f.pages:
		return p
	case <-ctx.Done():
		return page{err: ctx.Err()}
	}
}

// end waits for the goroutine, which uses the scanner.
func (f *prefetch) end() {
	f.cancel()
	<-f.done
}

const (
	// maxParts bounds the parts that a span is divided into, sideBySide those that are read at a time. Each has at
	// most partPages pages of about a megabyte waiting.
	maxParts   = 256
	sideBySide = 4
	partPages  = 2
)

// parallelReader reads the parts of a span side by side. Pages come in the order of the scan, or, with anyOrder, as
// they arrive.
type parallelReader struct {
	open    func(kv.Span) (kv.PageScanner, error)
	parts   []kv.Span // not begun, in the order of the scan
	running []*prefetch
	shared  chan page // of all parts, with anyOrder
	done    bool
}

// newParallelReader reads parts, which are in the order of the scan.
func newParallelReader(parts []kv.Span, anyOrder bool, open func(kv.Span) (kv.PageScanner, error)) *parallelReader {
	r := &parallelReader{open: open, parts: parts}
	if anyOrder {
		r.shared = make(chan page, sideBySide*partPages)
	}
	return r
}

// fill begins parts up to the number that is read side by side.
func (r *parallelReader) fill(ctx context.Context) error {
	for len(r.running) < sideBySide && len(r.parts) > 0 {
		sc, err := r.open(r.parts[0])
		if err != nil {
			return err
		}
		r.parts = r.parts[1:]
		to := r.shared
		if to == nil {
			to = make(chan page, partPages)
		}
		f := startPrefetch(ctx, sc, to)
		r.running = append(r.running, f)
		go f.run()
	}
	return nil
}

// next implements pages.
func (r *parallelReader) next(ctx context.Context) page {
	var scanned, wire int64 // of parts that had nothing, or nothing more, to answer
	for !r.done {
		if err := r.fill(ctx); err != nil {
			return page{err: err}
		}
		if len(r.running) == 0 {
			break
		}
		// All send to one channel, or it is the first one's turn.
		p := r.running[0].take(ctx)
		scanned, wire = scanned+p.Scanned, wire+p.Wire
		if r.done = p.err != nil; r.done || len(p.Keys) > 0 {
			p.Scanned, p.Wire = scanned, wire
			return p
		}
		p.from.end()
		p.from.sc.Close()
		i := slices.Index(r.running, p.from)
		r.running = slices.Delete(r.running, i, i+1)
	}
	r.done = true
	return page{Page: kv.Page{Scanned: scanned, Wire: wire}}
}

// close implements pages.
func (r *parallelReader) close() {
	for _, f := range r.running {
		f.cancel()
	}
	for _, f := range r.running {
		f.end()
		f.sc.Close()
	}
	r.running, r.parts, r.done = nil, nil, true
}
