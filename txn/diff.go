package txn

import (
	"bytes"
	"context"
	"errors"

	"github.com/meridian-db/meridian/txn/kv"
	"github.com/meridian-db/meridian/txn/txnpb"
)

var _ kv.DiffReader = (*DB)(nil)

// diffPage bounds one answer about changes, in bytes.
const diffPage = 1 << 20

// Kinds of a row of DIFF, see txn.proto.
const (
	diffExists  = 1
	diffExisted = 2
)

// Diffs implements kv.DiffReader. The nearest replica of each range is asked, so a reader beside a replica moves no
// data between nodes. Splits, moves and changes of leaders only send it elsewhere: ranges keep nothing for it.
func (db *DB) Diffs(ctx context.Context, cr kv.DiffRequest, fn func(*kv.Diff) error) error {
	pos := cr.Span.Start
	retry := db.newRetry()
	for bytes.Compare(pos, cr.Span.End) < 0 {
		rt, err := db.routeFor(ctx, pos, false)
		if err != nil {
			return err
		}
		end := cr.Span.End
		if bytes.Compare(end, rt.desc.End) > 0 {
			end = rt.desc.End
		}
		req := &txnpb.BatchRequest{
			Kind: txnpb.Kind_DIFF, SpanStarts: [][]byte{pos}, SpanEnds: [][]byte{end}, MinTs: int64(cr.After), MaxTs: int64(cr.TS),
			MaxBytes: diffPage, Previous: cr.Previous, FollowerOk: true, Gateway: int32(db.cfg.NodeID),
		}
		resp, _, err := db.send(ctx, rt, req)
		if errors.Is(err, errReroute) {
			retry.cause = "routing"
			if err := retry.wait(ctx); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if resp.Error == txnpb.ErrorCode_BELOW_GC {
			return wrap(kv.ErrReadTooOld, "changes after "+cr.After.String()+": "+resp.ErrorMessage)
		}
		if err := responseError(req, resp); err != nil {
			return err
		}
		n := len(resp.RowKeys)
		if len(resp.RowTs) != n || len(resp.RowKinds) != n || len(resp.RowValues) != n || cr.Previous && len(resp.RowPrevious) != n {
			return malformed(req, resp)
		}
		var c kv.Diff
		for i := range n {
			c = kv.Diff{Key: resp.RowKeys[i], TS: timestamp(resp.RowTs[i]), Existed: resp.RowKinds[i]&diffExisted != 0}
			if resp.RowKinds[i]&diffExists != 0 {
				c.Value = resp.RowValues[i]
				if c.Value == nil {
					c.Value = []byte{}
				}
			}
			if cr.Previous && c.Existed {
				c.Previous = resp.RowPrevious[i]
			}
			if err := fn(&c); err != nil {
				return err
			}
		}
		pos = end
		if len(resp.ResumeKeys) == 1 && len(resp.ResumeKeys[0]) > 0 {
			if pos = resp.ResumeKeys[0]; bytes.Compare(pos, req.SpanStarts[0]) <= 0 {
				return malformed(req, resp) // it would never end
			}
		}
		retry = db.newRetry()
	}
	return nil
}
