package participant

import (
	ranges "github.com/meridian-db/meridian/range"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// loaded is what a Replica implements besides if it wants to know what is asked of it.
type loaded interface{ LoadStats() *ranges.Load }

// note counts a request that has been served. Of several keys the middle one stands for all.
func (m *Machine) note(req *txnpb.BatchRequest, resp *txnpb.BatchResponse) {
	if m.load == nil {
		return
	}
	var start, end []byte
	writes, size := 0, 0
	switch {
	case len(req.WriteKeys) > 0:
		start, writes = req.WriteKeys[len(req.WriteKeys)/2], 1
		for i := range req.WriteKeys {
			size += len(req.WriteKeys[i]) + len(req.WriteValues[i])
		}
	case len(req.Keys) > 0:
		start = req.Keys[len(req.Keys)/2]
	case len(req.SpanStarts) > 0:
		i := len(req.SpanStarts) / 2
		start, end = req.SpanStarts[i], req.SpanEnds[i]
		if n := len(resp.RowKeys); n > 0 && !req.Reverse && len(req.SpanStarts) == 1 {
			end = resp.RowKeys[n-1] // the last row alone beyond it counts for nothing
		}
	case req.Kind != txnpb.Kind_COMMIT_ONE && req.Kind != txnpb.Kind_DECIDE && req.Kind != txnpb.Kind_PREPARE:
		return // what follows from other requests
	}
	for _, v := range resp.Values {
		size += len(v)
	}
	for i := range resp.RowValues {
		size += len(resp.RowKeys[i]) + len(resp.RowValues[i])
	}
	m.load.Note(start, end, 1, writes, size)
}
