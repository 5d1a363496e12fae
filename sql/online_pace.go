package sql

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/sql/pgcatalog"
)

// Chunks of a backfill have between minChunk rows and Config.BackfillRows. A chunk's locks keep writers of its rows
// waiting, and what it does at once keeps everybody waiting, so while clients are at work it is a small one; else it
// grows, as each costs commits and round trips of its own, for as long as its rows take no more than chunkTime: who comes
// meanwhile waits no longer than that and what any commit takes, and rows that are large make it small. Between regions
// the least chunk takes longer than that: what counts is how much longer others take.
const (
	minChunk  = 512
	chunkTime = 100 * time.Millisecond
)

// While clients are at work a chunk is followed by busyRest times as much rest as it took. What it took grows with all that
// goes on, so the share of the processors that is left to clients does not depend on how many there are. What its rows
// cost afterwards, on all replicas, when storage flushes and compacts them, is as much again.
const (
	busyRest = 3
	maxRest  = 500 * time.Millisecond // a chunk that was held up by something else says nothing about load
)

// lookEvery is how often a job asks all nodes whether clients are at work.
const lookEvery = 250 * time.Millisecond

// recently is how long after the begin of its last statement a client counts as being at work: between any two statements of
// those who work there is a moment in which none is executed.
const recently = time.Second

// pacer leaves the larger part of the time to those who use the cluster. How long chunks take would not tell whether
// somebody does: they differ by more than a factor of three on an idle cluster, while storage flushes and compacts.
type pacer struct {
	load   func(ctx context.Context) bool // whether clients are at work, on any node
	rows   int                            // of the next chunk
	most   int                            // Config.BackfillRows
	least  time.Duration                  // what the quickest chunk took, which rows have little part in
	looked time.Time
	busy   bool // as of then
}

// next says what follows a chunk that took d: a rest, if others are at work, and a chunk of so many rows.
func (p *pacer) next(d time.Duration) (rest time.Duration, rows int) {
	if p.least == 0 || d < p.least {
		p.least = d
	}
	switch more := d - p.least; {
	case p.busy:
		return min(busyRest*d, maxRest), minChunk
	case more > chunkTime:
		return 0, max(p.rows/2, minChunk)
	case more < chunkTime/2:
		return 0, min(2*p.rows, p.most)
	}
	return 0, p.rows
}

// pause rests after a chunk that took d; the error is the context's.
func (p *pacer) pause(ctx context.Context, d time.Duration) error {
	if time.Since(p.looked) >= lookEvery {
		p.busy, p.looked = p.load(ctx), time.Now()
	}
	var rest time.Duration
	if rest, p.rows = p.next(d); rest == 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(rest)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// clientsActive reports whether a client of any node has a statement executed that does not only wait for a job, or has
// begun one recently. What cannot be known, because nodes do not answer, counts as no.
func (s *Session) clientsActive(ctx context.Context) bool {
	list, err := s.CatalogProviders().Activity(ctx)
	if err != nil {
		list = s.srv.Activity()
	}
	since := s.now().Add(-recently)
	for _, a := range list {
		if a.ClientAddr != "" && a.WaitEvent != pgcatalog.WaitJob && (a.State == "active" || a.QueryStart.After(since)) {
			return true
		}
	}
	return false
}
