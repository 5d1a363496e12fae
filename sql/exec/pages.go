package exec

import (
	"context"

	"github.com/meridian-db/meridian/txn/kv"
)

// page is a run of pairs as a range answered them.
type page struct {
	keys, values [][]byte
	err          error
}

// pageReader reads a span page by page. From the second page on it fetches the next one while the caller works
// on the last, in a goroutine that close ends.
type pageReader struct {
	sc     kv.PageScanner
	pages  chan page // nil while there is no goroutine
	cancel context.CancelFunc
	eager  bool // fetch ahead
	first  page
	count  int
	done   bool
}

// newPageReader reads by pages if the scanner can; the first page has been fetched then. eager says that the
// caller is going to read all of it.
func newPageReader(ctx context.Context, sc kv.Scanner, eager bool) *pageReader {
	ps, ok := sc.(kv.PageScanner)
	if !ok {
		return nil
	}
	r := &pageReader{sc: ps, eager: eager}
	keys, values, ok := ps.NextPage(ctx)
	if !ok {
		return nil
	}
	r.first = page{keys, values, ps.Err()}
	return r
}

// next returns the next page, an empty one at the end.
func (r *pageReader) next(ctx context.Context) page {
	if r.done {
		return page{}
	}
	r.count++
	var p page
	switch {
	case r.count == 1:
		p = r.first
		r.first = page{}
		if r.eager && len(p.keys) >= eagerRows && p.err == nil {
			r.ahead(ctx)
		}
	case r.pages != nil:
		select {
		case p = <-r.pages:
		case <-ctx.Done():
			p.err = ctx.Err()
		}
	default:
		k, v, _ := r.sc.NextPage(ctx)
		p = page{k, v, r.sc.Err()}
	}
	r.done = len(p.keys) == 0 || p.err != nil
	return p
}

// eagerRows is how many rows the first page has at least when more are fetched ahead: a small page is likely the
// only one.
const eagerRows = 256

// ahead starts the goroutine. It does not end with the statement that is running: a portal may be read on by
// another one.
func (r *pageReader) ahead(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	pages := make(chan page, 1)
	r.pages = pages
	go func() {
		defer close(pages)
		for {
			k, v, _ := r.sc.NextPage(ctx)
			p := page{k, v, r.sc.Err()}
			select {
			case pages <- p:
			case <-ctx.Done():
				return
			}
			if len(p.keys) == 0 || p.err != nil {
				return
			}
		}
	}()
}

// close ends the goroutine and the scan.
func (r *pageReader) close() {
	if r.pages != nil {
		r.cancel()
		for range r.pages { // until the goroutine has closed it: it uses the scanner
		}
		r.pages = nil
	}
	r.done = true
	r.sc.Close()
}
