package locktable

import "slices"

// Join moves every entry and lock of right, the table of the range that this one's has absorbed, into t, and closes right.
// The two hold locks on different keys. Requests that wait in right fail with ErrMoved. A transaction known to both has
// one entry then, which answers to either token: with both it holds all that it held, and a gateway that held locks in
// both ranges names both (Begin). One that either table has aborted is aborted.
func (t *Table) Join(right *Table) {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.settle()
	right.mu.Lock()
	defer right.mu.Unlock()

	t.token = max(t.token, right.token)
	right.closed = true
	for gateway, at := range right.broken {
		t.noteBroken(gateway, t.sweep-(right.sweep-at))
	}
	for id, x := range right.txns {
		for _, r := range x.queue {
			right.unlink(r)
			right.finish(r, ErrMoved)
		}
		x.queue = nil
		points, spans := x.points, x.spans
		x.points, x.spans = nil, nil
		right.changed(x)
		y := t.txns[id]
		switch {
		case y == nil:
			y = &Txn{ID: id, Age: x.Age, Gateway: x.Gateway, Token: x.Token, others: x.others, Payload: x.Payload,
				err: x.err, ts: x.ts, seen: t.sweep - (right.sweep - x.seen)}
			y.state.Store(x.state.Load())
			if s := x.State(); s == Committing || s == Prepared {
				t.unsettled.Add(1)
			}
			y.points = y.pointsBuf[:0]
			t.txns[id] = y
		case y.State() == Aborted:
			continue // its locks of the other range go, too
		case x.State() == Aborted:
			t.drop(y, Aborted, x.err)
			continue
		default:
			y.seen = max(y.seen, t.sweep-(right.sweep-x.seen))
			for _, token := range append([]int64{x.Token}, x.others...) {
				if !y.answersTo(token) {
					y.others = append(y.others, token)
				}
			}
		}
		for _, h := range points {
			_, p, _ := t.points.Get(h.p.key)
			t.grantPoint(y, p, h.p.key, h.mode)
		}
		for _, s := range spans {
			t.grantSpan(y, s.start, s.end, s.mode)
		}
	}
	right.txns = map[TxnID]*Txn{}
	right.spans, right.spanWaiters = nil, nil
	right.points.Clear(false)
	right.unsettled.Store(0)
}

// answersTo reports whether token names the entry: the one it was made with, or that of an entry that was joined to it.
func (x *Txn) answersTo(token int64) bool {
	return x.Token == token || slices.Contains(x.others, token)
}
