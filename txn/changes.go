package txn

import (
	"bytes"
	"context"
	"errors"

	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

var (
	_ kv.ChangeReader = (*Txn)(nil)
	_ kv.Partitioner  = (*DB)(nil)
)

// changeScanner reads a span range after range.
type changeScanner struct {
	t     *Txn
	span  kv.Span
	after truetime.Timestamp
	all   bool
	pos   []byte
	below truetime.Timestamp // versions of pos at or above it have been returned; zero: none
	err   error
}

// Changes implements kv.ChangeReader.
func (t *Txn) Changes(ctx context.Context, span kv.Span, after truetime.Timestamp, all bool) (kv.ChangeScanner, error) {
	if !t.opts.ReadOnly {
		return nil, wrap(kv.ErrReadOnly, "changes are read by read-only transactions")
	}
	if err := t.check(); err != nil {
		return nil, err
	}
	if _, _, err := t.snapshotTS(ctx, span.Start, false); err != nil {
		return nil, err
	}
	return &changeScanner{t: t, span: kv.Span{Start: bytes.Clone(span.Start), End: bytes.Clone(span.End)}, after: after, all: all,
		pos: bytes.Clone(span.Start)}, nil
}

// NextPage implements kv.ChangeScanner.
func (s *changeScanner) NextPage(ctx context.Context) kv.Changes {
	for s.err == nil && bytes.Compare(s.pos, s.span.End) < 0 {
		var page kv.Changes
		if page, s.err = s.fetch(ctx); s.err != nil {
			s.err = s.t.fail(s.err)
		} else if len(page.Keys) > 0 {
			return page
		}
	}
	return kv.Changes{}
}

func (s *changeScanner) fetch(ctx context.Context) (page kv.Changes, err error) {
	retry := s.t.db.newRetry()
	for {
		rt, err := s.t.db.routeFor(ctx, s.pos, false)
		if err != nil {
			return page, err
		}
		hi := s.span.End
		if bytes.Compare(hi, rt.desc.End) > 0 {
			hi = rt.desc.End
		}
		req := &txnpb.BatchRequest{SpanStarts: [][]byte{s.pos}, SpanEnds: [][]byte{hi}, Changes: true, ChangesAfter: int64(s.after),
			AllVersions: s.all, ResumeBelow: int64(s.below)}
		if err := s.t.prepareRead(ctx, req, s.pos, kv.LockNone, kv.WaitBlock, false, latestLevel); err != nil {
			return page, err
		}
		resp, sn, err := s.t.db.send(ctx, rt, req)
		s.t.account(sn, req, resp)
		if errors.Is(err, errReroute) {
			retry.cause = "routing"
			if err := retry.wait(ctx); err != nil {
				return page, err
			}
			continue
		}
		if err == nil {
			err = responseError(req, resp)
		}
		if err != nil {
			return page, err
		}
		n := len(resp.RowKeys)
		if len(resp.RowValues) != n || len(resp.RowTs) != n || len(resp.RowDeleted) != n || len(resp.ResumeKeys) != 1 {
			return page, malformed(req, resp)
		}
		page = kv.Changes{Keys: resp.RowKeys, Values: resp.RowValues, Timestamps: make([]truetime.Timestamp, n), Deleted: make([]bool, n)}
		for i := range n {
			page.Timestamps[i], page.Deleted[i] = timestamp(resp.RowTs[i]), resp.RowDeleted[i] != 0
		}
		s.pos, s.below = hi, 0
		if resume := resp.ResumeKeys[0]; len(resume) > 0 {
			s.pos, s.below = resume, timestamp(resp.ResumeBelow)
		}
		return page, nil
	}
}

// Err implements kv.ChangeScanner.
func (s *changeScanner) Err() error { return s.err }

// Partition implements kv.Partitioner.
func (db *DB) Partition(ctx context.Context, span kv.Span) ([]kv.Span, error) {
	var out []kv.Span
	for pos := span.Start; bytes.Compare(pos, span.End) < 0; {
		desc, err := db.Lookup(ctx, pos)
		if err != nil {
			return nil, err
		}
		end := span.End
		if bytes.Compare(desc.End, end) < 0 {
			end = desc.End
		}
		out = append(out, kv.Span{Start: pos, End: end})
		pos = end
	}
	return out, nil
}
