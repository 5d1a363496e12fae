package participant

import (
	"bytes"
	"context"

	"github.com/meridian-db/meridian/mvcc"
	"github.com/meridian-db/meridian/truetime"
	"github.com/meridian-db/meridian/txn/txnpb"
)

// One request runs a program over at most scanBudget bytes of pairs, and lets it keep at most heldBudget bytes (plus
// one pair): then the page ends, however little has come of it, so that a request's time and memory have a bound.
const (
	scanBudget = 8 << 20
	heldBudget = 4 << 20
)

// scanProgram is scanRows with the request's program run over the pairs. ok is false when the program could not be
// run to the page's end; nothing has been added to resp then.
func (m *Machine) scanProgram(ctx context.Context, req *txnpb.BatchRequest, resp *txnpb.BatchResponse, left *pageLimit, span mvcc.Span, ts truetime.Timestamp, view mvcc.View) (rows int64, resume []byte, ok bool, err error) {
	if m.srv.cfg.Programs == nil {
		return 0, nil, false, nil
	}
	ev, err := m.srv.cfg.Programs.Start(ctx, req.Program)
	if err != nil {
		return 0, nil, false, nil
	}
	before, first := *left, len(resp.RowKeys)
	s := mvcc.NewScanner(m.rep.Engine(), mvcc.ScanOptions{Span: span, TS: ts, View: view, Reverse: req.Reverse})
	defer func() {
		if cerr := s.Close(); err == nil && cerr != nil {
			err = cerr
		}
		if !ok || err != nil {
			left.rows, left.bytes = before.rows, before.bytes
			resp.RowKeys, resp.RowValues = resp.RowKeys[:first], resp.RowValues[:first]
		}
	}()
	arena := left.arena
	emit := func(key, value []byte) {
		left.take(key, value)
		if cap(arena)-len(arena) < len(key)+len(value) {
			arena = make([]byte, 0, max(4<<10, min(64<<10, 2*cap(arena)), len(key)+len(value)))
		}
		n := len(arena)
		arena = append(append(arena, key...), value...)
		resp.RowKeys = append(resp.RowKeys, arena[n:n+len(key):n+len(key)])
		resp.RowValues = append(resp.RowValues, arena[n+len(key):len(arena):len(arena)])
		rows++
	}
	scanned, budget := int64(0), int64(scanBudget)
	for s.Next() {
		key := s.Key()
		if left.exhausted() || budget <= 0 || ev.Held() > heldBudget {
			if resume = bytes.Clone(key); req.Reverse {
				resume = append(resume, 0) // exclusive end that still holds key
			}
			break
		}
		value := s.Value()
		budget -= int64(len(key) + len(value))
		if scanned++; scanned%256 == 0 && ctx.Err() != nil {
			return 0, nil, true, ctx.Err()
		}
		k, v, keep, err := ev.Pair(key, value)
		if err != nil {
			return 0, nil, false, nil
		}
		if keep {
			emit(k, v)
		}
	}
	if err := s.Err(); err != nil {
		return 0, nil, true, err
	}
	if err := ev.Finish(emit); err != nil {
		return 0, nil, false, nil
	}
	left.arena = arena
	resp.Computed = true
	resp.RowsScanned += scanned
	left.read = scanBudget - budget
	m.srv.metrics.programRows.Add(float64(scanned))
	return rows, resume, true, nil
}
