package builtin

import (
	"math"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// registerSnapshots registers the functions of transactions' ids and snapshots. Commits have no numbers here that order
// them: the id of a transaction is that of its age, and a snapshot shows every transaction but those that began later.
func registerSnapshots(l library) {
	parse := func(d types.Datum) (types.TxnSnapshot, error) {
		return types.ParseTxnSnapshot(d.Str())
	}
	end := func(max bool) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			s, err := parse(a[0])
			if max {
				return types.NewInt(int64(s.XMax)), err
			}
			return types.NewInt(int64(s.XMin)), err
		}
	}
	l.fn("pg_snapshot_xmin", end(false))
	l.fn("pg_snapshot_xmax", end(true))
	l.rows("pg_snapshot_xip", func(_ *Ctx, a []types.Datum) (RowIter, error) {
		s, err := parse(a[0])
		var out []types.Datum
		for _, n := range s.XIP {
			out = append(out, types.NewInt(int64(n)))
		}
		return columnList(out), err
	})
	l.fn("pg_visible_in_snapshot", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s, err := parse(a[1])
		return types.NewBool(s.Visible(uint64(a[0].Int()))), err
	})
	l.fn("pg_current_snapshot", func(c *Ctx, _ []types.Datum) (types.Datum, error) {
		id, _ := c.session().TxnID(true)
		id = max(id, 1)
		return types.NewString(types.TxnSnapshot{XMin: id, XMax: id}.String()), nil
	})
	l.fn("pg_xact_status", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		id, _ := c.session().TxnID(false)
		switch xid := uint64(a[0].Int()); {
		case xid == id && id != 0:
			return types.NewString("in progress"), nil
		case xid == 1 || xid == 2: // PostgreSQL's own first transactions
			return types.NewString("committed"), nil
		}
		return types.Null, nil // what became of it is not kept
	})
	l.fn("pg_sleep_for(interval)", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		i := a[0].Interval()
		days := float64(i.Days) + 30*float64(i.Months%12) + 365.25*float64(i.Months/12)
		return sleep(c, []types.Datum{types.NewFloat(days*86400 + float64(i.Micros)/1e6)})
	})
	l.fn("pg_sleep_until(timestamptz)", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		now := types.NewInt(MicrosOf(c.Clock()))
		return sleep(c, []types.Datum{types.NewFloat(float64(a[0].Int()-now.Int()) / 1e6)})
	})
	l.fn("pg_size_bytes", sizeBytes)
}

// sizeBytes reads what pg_size_pretty writes.
func sizeBytes(_ *Ctx, a []types.Datum) (types.Datum, error) {
	text := a[0].Str()
	bad := func() (types.Datum, error) {
		return types.Null, pgerr.New(pgerr.InvalidParameterValue, "invalid size: %q", text)
	}
	s := strings.TrimLeft(text, " \t\n\r\v\f")
	n := 0
	if n < len(s) && (s[n] == '-' || s[n] == '+') {
		n++
	}
	digits := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.') {
		if s[n] != '.' {
			digits++
		} else if strings.Contains(s[:n], ".") {
			break
		}
		n++
	}
	if digits == 0 {
		return bad()
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		k := n + 1
		if k < len(s) && (s[k] == '-' || s[k] == '+') {
			k++
		}
		if k < len(s) && s[k] >= '0' && s[k] <= '9' {
			for n = k; n < len(s) && s[n] >= '0' && s[n] <= '9'; {
				n++
			}
		}
	}
	d, err := types.ParseText(s[:n], types.Numeric, nil)
	if err != nil {
		return bad()
	}
	unit := strings.Trim(s[n:], " \t\n\r\v\f")
	if unit != "" {
		power, ok := map[string]int{"bytes": 0, "kb": 10, "mb": 20, "gb": 30, "tb": 40, "pb": 50}[strings.ToLower(unit)]
		if !ok {
			return types.Null, pgerr.New(pgerr.InvalidParameterValue, "invalid size: %q", text).
				WithDetail("Invalid size unit: \"%s\".", unit).
				WithHint("Valid units are \"bytes\", \"kB\", \"MB\", \"GB\", \"TB\", and \"PB\".")
		}
		by, err := types.ParseText(strconv.FormatInt(int64(1)<<power, 10), types.Numeric, nil)
		if err != nil {
			return types.Null, err
		}
		p, err := types.NumericMul(d.Numeric(), by.Numeric())
		if err != nil {
			return types.Null, err
		}
		d = types.NewNumeric(p)
	}
	v, ok := types.NumericToInt64(types.NumericRound(d.Numeric(), 0))
	if !ok || v == math.MinInt64 {
		return types.Null, pgerr.New(pgerr.NumericValueOutOfRange, "bigint out of range")
	}
	return types.NewInt(v), nil
}
