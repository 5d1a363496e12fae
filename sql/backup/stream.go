package backup

import (
	"bytes"
	"context"

	"github.com/meridian-db/meridian/sql/catalog"
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
)

// systemSpans are the parts of the catalog that every backup holds, in the order of keys.
func systemSpans() []kv.Span {
	return []kv.Span{catalog.StatsSpan(), catalog.DescriptorSpan(), catalog.SequenceSpan()}
}

func tableSpan(storage uint32) kv.Span { return catalog.TableSpan(storage) }

// stream reads versions in the order of keys. What next returns is valid until it is called again.
type stream interface {
	next(ctx context.Context) (v version, ok bool, err error)
	close()
}

// stream reads what a backup described by m has to hold of p.
func (b *Backup) stream(ctx context.Context, p piece, m *Manifest) (stream, error) {
	span := kv.Span{Start: p.Start, End: p.End}
	switch {
	case !p.Full:
		return b.changeStream(ctx, span, m)
	case m.Since == 0 || !m.History:
		return b.snapshotStream(ctx, span, m.Timestamp)
	}
	// New to the chain, and with history: what was there at the parent's timestamp, and every version since.
	newer, err := b.changeStream(ctx, span, m)
	if err != nil {
		return nil, err
	}
	older, err := b.snapshotStream(ctx, span, m.Since)
	if err != nil {
		newer.close()
		return nil, err
	}
	return &mergedStream{parts: [2]stream{newer, older}}, nil
}

func (b *Backup) begin(ctx context.Context, ts truetime.Timestamp) (kv.Txn, error) {
	return b.cfg.DB.Begin(ctx, kv.TxnOptions{ReadOnly: true, Staleness: kv.Staleness{Kind: kv.ReadTimestamp, At: ts}, Name: "backup"})
}

// snapshotStream is what a reader at ts sees.
func (b *Backup) snapshotStream(ctx context.Context, span kv.Span, ts truetime.Timestamp) (stream, error) {
	tx, err := b.begin(ctx, ts)
	if err != nil {
		return nil, err
	}
	sc, err := tx.Scan(ctx, span, kv.ScanOptions{})
	if err != nil {
		tx.Rollback(ctx)
		return nil, err
	}
	return &scanStream{tx: tx, sc: sc}, nil
}

type scanStream struct {
	tx kv.Txn
	sc kv.Scanner
}

func (s *scanStream) next(ctx context.Context) (version, bool, error) {
	if !s.sc.Next(ctx) {
		return version{}, false, s.sc.Err()
	}
	p := s.sc.Pair()
	return version{key: p.Key, value: p.Value}, true, nil
}

func (s *scanStream) close() {
	s.sc.Close()
	s.tx.Rollback(context.Background())
}

// changeStream is what was written after m.Since and up to m.Timestamp.
func (b *Backup) changeStream(ctx context.Context, span kv.Span, m *Manifest) (stream, error) {
	tx, err := b.begin(ctx, m.Timestamp)
	if err != nil {
		return nil, err
	}
	r, ok := tx.(kv.ChangeReader)
	if !ok {
		tx.Rollback(ctx)
		return nil, pgerr.Unsupported("incremental backups are not supported by this storage")
	}
	sc, err := r.Changes(ctx, span, m.Since, m.History)
	if err != nil {
		tx.Rollback(ctx)
		return nil, err
	}
	return &changes{tx: tx, sc: sc}, nil
}

type changes struct {
	tx   kv.Txn
	sc   kv.ChangeScanner
	page kv.Changes
	at   int
}

func (s *changes) next(ctx context.Context) (version, bool, error) {
	if s.at == len(s.page.Keys) {
		if s.page, s.at = s.sc.NextPage(ctx), 0; len(s.page.Keys) == 0 {
			return version{}, false, s.sc.Err()
		}
	}
	i := s.at
	s.at++
	return version{key: s.page.Keys[i], value: s.page.Values[i], ts: s.page.Timestamps[i], deleted: s.page.Deleted[i]}, true, nil
}

func (s *changes) close() { s.tx.Rollback(context.Background()) }

// mergedStream is two streams in the order of keys, the first one's versions of a key before the second's.
type mergedStream struct {
	parts [2]stream
	heads [2]version
	have  [2]bool
	last  int // which part answered last, whose head has to be replaced
	begun bool
}

func (s *mergedStream) next(ctx context.Context) (version, bool, error) {
	for i := range s.parts {
		if !s.begun || s.last == i {
			var err error
			if s.heads[i], s.have[i], err = s.parts[i].next(ctx); err != nil {
				return version{}, false, err
			}
		}
	}
	s.begun = true
	s.last = 0
	if !s.have[0] || s.have[1] && bytes.Compare(s.heads[1].key, s.heads[0].key) < 0 {
		s.last = 1
	}
	return s.heads[s.last], s.have[s.last], nil
}

func (s *mergedStream) close() {
	for _, p := range s.parts {
		p.close()
	}
}
