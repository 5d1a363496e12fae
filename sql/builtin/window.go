package builtin

import (
	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func (l library) win(name string, f func(ctx *Ctx, w Window) (types.Datum, error)) {
	l.add(name, &impl{window: f})
}

func registerWindow(l library) {
	l.win("window_row_number", func(_ *Ctx, w Window) (types.Datum, error) { return types.NewInt(int64(w.Row() + 1)), nil })
	l.win("window_rank", func(_ *Ctx, w Window) (types.Datum, error) {
		start, _ := w.Peers(w.Row())
		return types.NewInt(int64(start + 1)), nil
	})
	l.win("window_dense_rank", denseRank)
	l.win("window_percent_rank", func(_ *Ctx, w Window) (types.Datum, error) {
		if w.Len() <= 1 {
			return types.NewFloat(0), nil
		}
		start, _ := w.Peers(w.Row())
		return types.NewFloat(float64(start) / float64(w.Len()-1)), nil
	})
	l.win("window_cume_dist", func(_ *Ctx, w Window) (types.Datum, error) {
		_, end := w.Peers(w.Row())
		return types.NewFloat(float64(end) / float64(w.Len())), nil
	})
	l.win("window_ntile", ntile)
	for i, n := range []string{"window_lag", "window_lag_with_offset", "window_lag_with_offset_and_default"} {
		l.win(n, offsetRow(-1, i))
	}
	for i, n := range []string{"window_lead", "window_lead_with_offset", "window_lead_with_offset_and_default"} {
		l.win(n, offsetRow(1, i))
	}
	l.win("window_first_value", func(_ *Ctx, w Window) (types.Datum, error) { return nthValue(w, 1, false) })
	l.win("window_last_value", func(_ *Ctx, w Window) (types.Datum, error) { return nthValue(w, 1, true) })
	l.win("window_nth_value", func(_ *Ctx, w Window) (types.Datum, error) {
		n, err := w.Arg(w.Row(), 1)
		if err != nil || n.IsNull() {
			return types.Null, err
		}
		if n.Int() <= 0 {
			return types.Null, pgerr.New(pgerr.InvalidArgumentForNthValue, "argument of nth_value must be greater than zero")
		}
		return nthValue(w, int(n.Int()), false)
	})
}

// rankState is what dense_rank remembers between the rows of a partition.
type rankState struct{ peerStart, rank int }

func denseRank(_ *Ctx, w Window) (types.Datum, error) {
	slot := w.State()
	st, ok := (*slot).(*rankState)
	if !ok {
		st = &rankState{peerStart: -1}
		*slot = st
	}
	start, _ := w.Peers(w.Row())
	if start != st.peerStart {
		if start < st.peerStart {
			st.rank = 0 // evaluated out of order: count again
			for i := 0; i < start; {
				st.rank++
				_, i = w.Peers(i)
			}
		}
		st.rank++
		st.peerStart = start
	}
	return types.NewInt(int64(st.rank)), nil
}

func ntile(_ *Ctx, w Window) (types.Datum, error) {
	n, err := w.Arg(0, 0)
	if err != nil || n.IsNull() {
		return types.Null, err
	}
	k := n.Int()
	if k <= 0 {
		return types.Null, pgerr.New(pgerr.InvalidArgumentForNtile, "argument of ntile must be greater than zero")
	}
	total, row := int64(w.Len()), int64(w.Row())
	size, extra := total/k, total%k
	if row < extra*(size+1) {
		return types.NewInt(row/(size+1) + 1), nil
	}
	if size == 0 {
		return types.NewInt(row + 1), nil
	}
	return types.NewInt(extra + (row-extra*(size+1))/size + 1), nil
}

// offsetRow is lag and lead with extra arguments: the offset, and the default.
func offsetRow(sign int64, extra int) func(*Ctx, Window) (types.Datum, error) {
	hasOffset, hasDefault := extra >= 1, extra >= 2
	return func(_ *Ctx, w Window) (types.Datum, error) {
		off := int64(1)
		if hasOffset {
			d, err := w.Arg(w.Row(), 1)
			if err != nil || d.IsNull() {
				return types.Null, err
			}
			off = d.Int()
		}
		row := int64(w.Row()) + sign*off
		if row >= 0 && row < int64(w.Len()) {
			return w.Arg(int(row), 0)
		}
		if hasDefault {
			return w.Arg(w.Row(), 2)
		}
		return types.Null, nil
	}
}

// nthValue returns argument 0 at the nth row of the frame, from its end if last.
func nthValue(w Window, n int, last bool) (types.Datum, error) {
	start, end := w.Frame()
	for i := range max(end-start, 0) {
		row := start + i
		if last {
			row = end - 1 - i
		}
		if w.Excluded(row) {
			continue
		}
		if n--; n == 0 {
			return w.Arg(row, 0)
		}
	}
	return types.Null, nil
}
