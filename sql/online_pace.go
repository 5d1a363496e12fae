package sql

import (
	"context"
	"time"

	"github.com/meridian-db/meridian/sql/pgcatalog"
)

// Chunks of a backfill have between minChunk rows and Config.BackfillRows. A chunk's locks keep writers of its rows waiting, so while
// clients are at work it is a small one; else it grows, as each costs commits and round trips of its own, for as long as
// it takes no more than chunkTime: who comes meanwhile waits no longer than that, and rows that are large make it small.
const (
	minChunk  = 512
	chunkTime = 100 * time.Millisecond
)

// maxRest bounds a rest: a chunk that was held up by something else says nothing about load.
const maxRest = 500 * time.Millisecond

// lookEvery is how often a job asks all nodes whether clients are at work.
const lookEvery = 250 * time.Millisecond

// pacer leaves the larger part of the time to those who use the cluster. How long chunks take would not tell whether
// somebody does: they differ by more than a factor of three on an idle cluster, while storage flushes and compacts.
type pacer struct {
	load   func(ctx context.Context) bool // whether clients are at work, on any node
	rows   int                            // of the next chunk
	most   int                            // Config.BackfillRows
	looked time.Time
	busy   bool // as of then
}

// next says what follows a chunk that took d: a rest, twice as long where others are at work, and a chunk of so many rows.
func (p *pacer) next(d time.Duration) (rest time.Duration, rows int) {
	switch {
	case p.busy:
		return min(2*d, maxRest), minChunk
	case d > chunkTime:
		return 0, max(p.rows/2, minChunk)
	case d < chunkTime/2:
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

// clientsActive reports whether a client of any node has a statement executed that does not only wait for a job. What
// cannot be known, because nodes do not answer, counts as no.
func (s *Session) clientsActive(ctx context.Context) bool {
	list, err := s.CatalogProviders().Activity(ctx)
	if err != nil {
		list = s.srv.Activity()
	}
	for _, a := range list {
		if a.State == "active" && a.ClientAddr != "" && a.WaitEvent != pgcatalog.WaitJob {
			return true
		}
	}
	return false
}
