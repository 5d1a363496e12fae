package participant

import (
	"bytes"
	"context"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// readChanges answers what was written in (req.ChangesAfter, ts], which has been made safe.
func (m *Machine) readChanges(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse, ts truetime.Timestamp, view mvcc.View) error {
	span := mvcc.Span{Start: req.SpanStarts[0], End: req.SpanEnds[0]}
	after := truetime.Timestamp(req.ChangesAfter)
	s := mvcc.NewChangeScanner(m.rep.Engine(), mvcc.ChangesOptions{Span: span, After: after, UpTo: ts,
		View: mvcc.View{Layers: view.Layers}, All: req.AllVersions, ResumeBelow: truetime.Timestamp(req.ResumeBelow)})
	left := newPageLimit(req)
	var arena, resume []byte
	var err error
	for n := 0; s.Next(); n++ {
		key, value := s.Key(), s.Value()
		if left.exhausted() {
			resume = bytes.Clone(key)
			if last := len(resp.RowKeys) - 1; bytes.Equal(resp.RowKeys[last], key) {
				resp.ResumeBelow = resp.RowTs[last]
			}
			break
		}
		left.take(key, value)
		if cap(arena)-len(arena) < len(key)+len(value) {
			arena = make([]byte, 0, max(4<<10, min(64<<10, 2*cap(arena)), len(key)+len(value)))
		}
		at := len(arena)
		arena = append(append(arena, key...), value...)
		deleted := byte(0)
		if s.Deleted() {
			deleted = 1
		}
		resp.RowKeys = append(resp.RowKeys, arena[at:at+len(key):at+len(key)])
		resp.RowValues = append(resp.RowValues, arena[at+len(key):len(arena):len(arena)])
		resp.RowTs = append(resp.RowTs, int64(s.Timestamp()))
		resp.RowDeleted = append(resp.RowDeleted, deleted)
		if n%256 == 255 && ctx.Err() != nil {
			err = ctx.Err()
			break
		}
	}
	if err == nil {
		err = s.Err()
	}
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	resp.SpanRows, resp.ResumeKeys = []int64{int64(len(resp.RowKeys))}, [][]byte{resume}
	// Checked last: what was read before the threshold rose is complete. A deletion above after is still there when
	// after itself may be read.
	return mvcc.CheckGC(min(after, ts), truetime.Timestamp(m.threshold.Load()))
}
