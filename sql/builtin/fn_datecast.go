package builtin

import (
	"math"
	"strconv"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func registerDateCasts(l library, res func(func(int64) types.Datum, int64, error) (types.Datum, error)) {
	ts, tz := types.NewTimestamp, types.NewTimestampTZ
	toZone := func(c *Ctx, local int64) (int64, error) {
		if types.IsInfinite(local) {
			return local, nil
		}
		v := types.UTCMicros(c.location(), local)
		if !types.ValidTimestamp(v) {
			return 0, types.ErrTimestampRange()
		}
		return v, nil
	}
	fromZone := func(loc *time.Location, us int64) int64 {
		if types.IsInfinite(us) {
			return us
		}
		return types.LocalMicros(loc, us)
	}
	l.fn("date_timestamp", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := dateToTimestamp(a[0].Int())
		return res(ts, v, err)
	})
	l.fn("date_timestamptz", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := dateToTimestamp(a[0].Int())
		if err == nil {
			v, err = toZone(c, v)
		}
		return res(tz, v, err)
	})
	day := func(us int64) types.Datum {
		if types.IsInfinite(us) {
			return types.NewDate(us)
		}
		return types.NewDate(floorDiv(us, microsPerDay))
	}
	timeOf := func(us int64) types.Datum {
		if types.IsInfinite(us) {
			return types.Null
		}
		return types.NewTime(us - floorDiv(us, microsPerDay)*microsPerDay)
	}
	l.fn("timestamp_date", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return day(a[0].Int()), nil })
	l.fn("timestamptz_date", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		return day(fromZone(c.location(), a[0].Int())), nil
	})
	l.fn("timestamp_timestamptz", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := toZone(c, a[0].Int())
		return res(tz, v, err)
	})
	l.fn("timestamptz_timestamp", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		return ts(fromZone(c.location(), a[0].Int())), nil
	})
	l.fn("timestamp_time", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return timeOf(a[0].Int()), nil })
	l.fn("timestamptz_time", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		if types.IsInfinite(a[0].Int()) {
			return types.Null, nil
		}
		return timeOf(fromZone(c.location(), a[0].Int())), nil
	})
	l.fn("timestamptz_timetz", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		us := a[0].Int()
		if types.IsInfinite(us) {
			return types.Null, nil
		}
		local := fromZone(c.location(), us)
		return types.NewTimeTZ(&types.TimeTZ{Micros: timeOf(local).Int(), OffsetSecs: int32((us - local) / 1e6)}), nil
	})
	l.fn("interval_time", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return timeOf(a[0].Interval().Micros), nil })
	l.fn("time_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInterval(&types.Interval{Micros: a[0].Int()}), nil
	})
	l.fn("timetz_time", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return types.NewTime(a[0].TimeTZ().Micros), nil })
	l.fn("time_timetz", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		local := floorDiv(fromZone(c.location(), c.TxnTime), microsPerDay)*microsPerDay + a[0].Int()
		us := types.UTCMicros(c.location(), local)
		return types.NewTimeTZ(&types.TimeTZ{Micros: a[0].Int(), OffsetSecs: int32((us - local) / 1e6)}), nil
	})
	// AT TIME ZONE
	at := func(name string, f func(c *Ctx, zone *time.Location, d types.Datum) (types.Datum, error)) {
		l.fn(name+"_zone", func(c *Ctx, a []types.Datum) (types.Datum, error) {
			if name != "timetz" && types.IsInfinite(a[1].Int()) {
				return f(c, time.UTC, a[1])
			}
			loc, err := types.ZoneOffset(posixSign(a[0].Str()))
			if err != nil {
				return types.Null, err
			}
			return f(c, loc, a[1])
		})
		l.fn(name+"_izone", func(c *Ctx, a []types.Datum) (types.Datum, error) {
			iv := a[0].Interval()
			if name != "timetz" && types.IsInfinite(a[1].Int()) {
				return f(c, time.UTC, a[1])
			}
			if iv.Months != 0 || iv.Days != 0 {
				return types.Null, pgerr.New(pgerr.InvalidParameterValue, "interval time zone \"%s\" must not include months or days",
					types.AppendInterval(nil, iv, c.settings().IntervalStyle))
			}
			return f(c, time.FixedZone("", int(iv.Micros/1e6)), a[1])
		})
	}
	at("timestamp", func(_ *Ctx, zone *time.Location, d types.Datum) (types.Datum, error) {
		if types.IsInfinite(d.Int()) {
			return tz(d.Int()), nil
		}
		v := types.UTCMicros(zone, d.Int())
		if !types.ValidTimestamp(v) {
			return types.Null, types.ErrTimestampRange()
		}
		return tz(v), nil
	})
	at("timestamptz", func(_ *Ctx, zone *time.Location, d types.Datum) (types.Datum, error) {
		return ts(fromZone(zone, d.Int())), nil
	})
	at("timetz", func(c *Ctx, zone *time.Location, d types.Datum) (types.Datum, error) {
		t := d.TimeTZ()
		off := (types.LocalMicros(zone, c.TxnTime) - c.TxnTime) / 1e6
		us := (t.Micros + int64(t.OffsetSecs)*1e6 + off*1e6) % microsPerDay
		if us < 0 {
			us += microsPerDay
		}
		return types.NewTimeTZ(&types.TimeTZ{Micros: us, OffsetSecs: int32(-off)}), nil
	})
	// Precision coercions: (value, typmod).
	for name, t := range map[string]*types.T{"timestamp_scale": types.Timestamp, "timestamptz_scale": types.TimestampTZ, "time_scale": types.Time, "timetz_scale": types.TimeTZT} {
		l.fn(name, func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			return types.CoerceTypmod(a[0], t.WithTypmod(int32(a[1].Int())), false)
		})
	}
	l.fn("numeric", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.CoerceTypmod(a[0], types.Numeric.WithTypmod(int32(a[1].Int())), false)
	})
}

func registerMake(l library) {
	civil := func(a []types.Datum) (types.Civil, error) {
		y, m, d := int(a[0].Int()), int(a[1].Int()), int(a[2].Int())
		year := y
		if y < 0 {
			year = y + 1
		}
		if y == 0 || m < 1 || m > 12 || d < 1 || d > types.DaysInMonth(year, m) {
			return types.Civil{}, pgerr.New(pgerr.DatetimeFieldOverflow, "date field value out of range: %d-%02d-%02d", year, m, d)
		}
		return types.Civil{Year: year, Month: m, Day: d}, nil
	}
	clock := func(a []types.Datum) (int64, error) {
		h, m, s := a[0].Int(), a[1].Int(), a[2].Float()
		if h < 0 || h > 24 || m < 0 || m > 59 || !(s >= 0 && s <= 60) || float64(h*3600+m*60)+s > 86400 {
			return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "time field value out of range: %d:%02d:%s", h, m, secondsText(s))
		}
		return h*microsPerHour + m*60000000 + int64(math.RoundToEven(s*1e6)), nil
	}
	l.fn("make_date", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		c, err := civil(a)
		if err != nil {
			return types.Null, err
		}
		days := types.DaysFromCivil(c.Year, c.Month, c.Day)
		if !types.ValidDate(days) {
			return types.Null, pgerr.New(pgerr.DatetimeFieldOverflow, "date out of range: %d-%02d-%02d", a[0].Int(), c.Month, c.Day)
		}
		return types.NewDate(days), nil
	})
	l.fn("make_time", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		us, err := clock(a)
		if err != nil {
			return types.Null, err
		}
		return types.NewTime(us), nil
	})
	stamp := func(a []types.Datum) (int64, error) {
		c, err := civil(a)
		if err != nil {
			return 0, err
		}
		us, err := clock(a[3:])
		if err != nil {
			return 0, err
		}
		v, ok := types.FromCivil(c)
		if v += us; !ok || !types.ValidTimestamp(v) {
			return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp out of range: %d-%02d-%02d %d:%02d:%s", a[0].Int(), c.Month, c.Day, a[3].Int(), a[4].Int(), secondsText(a[5].Float()))
		}
		return v, nil
	}
	l.fn("make_timestamp", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := stamp(a)
		if err != nil {
			return types.Null, err
		}
		return types.NewTimestamp(v), nil
	})
	zoned := func(c *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := stamp(a)
		if err != nil {
			return types.Null, err
		}
		loc := c.location()
		if len(a) > 6 {
			if loc, err = types.ZoneOffset(a[6].Str()); err != nil {
				return types.Null, err
			}
		}
		return types.NewTimestampTZ(types.UTCMicros(loc, v)), nil
	}
	l.fn("make_timestamptz", zoned)
	l.fn("make_timestamptz_at_timezone", zoned)
	l.fn("float8_timestamptz", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		s := a[0].Float()
		switch {
		case math.IsNaN(s):
			return types.Null, pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp cannot be NaN")
		case math.IsInf(s, 1):
			return types.NewTimestampTZ(types.DateInf), nil
		case math.IsInf(s, -1):
			return types.NewTimestampTZ(types.DateNegInf), nil
		}
		us := math.RoundToEven((s - 946684800) * 1e6)
		if math.Abs(us) > math.MaxInt64/2 || !types.ValidTimestamp(int64(us)) {
			return types.Null, pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp out of range: \"%g\"", s)
		}
		return types.NewTimestampTZ(int64(us)), nil
	})
}

func secondsText(s float64) string {
	t := strconv.FormatFloat(s, 'g', 6, 64)
	if len(t) < 2 {
		t = "0" + t
	}
	return t
}

func registerOverlaps(l library) {
	// overlaps(s1, e1, s2, e2): the periods have a point in common; the ends come in any order, may be NULL.
	overlap := func(t *types.T, e [4]types.Datum) types.Datum {
		cmp := func(a, b types.Datum) int { return types.Compare(t, a, b) }
		s1, e1, s2, e2 := e[0], e[1], e[2], e[3]
		order := func(s, e *types.Datum) bool {
			if s.IsNull() {
				if e.IsNull() {
					return false
				}
				*s, *e = *e, types.Null
			} else if !e.IsNull() && cmp(*s, *e) > 0 {
				*s, *e = *e, *s
			}
			return true
		}
		if !order(&s1, &e1) || !order(&s2, &e2) {
			return types.Null
		}
		if c := cmp(s1, s2); c == 0 {
			if e1.IsNull() || e2.IsNull() {
				return types.Null
			}
			return types.NewBool(true)
		} else if c < 0 {
			s1, e1, s2, e2 = s2, e2, s1, e1
		}
		// s1 is later: it must lie before the end of the other.
		if e2.IsNull() {
			return types.Null
		}
		if cmp(s1, e2) < 0 {
			return types.NewBool(true)
		}
		if e1.IsNull() {
			return types.Null
		}
		return types.NewBool(false)
	}
	add := func(c *Ctx, t *types.T, d types.Datum, iv types.Datum) (types.Datum, error) {
		if d.IsNull() || iv.IsNull() {
			return types.Null, nil
		}
		switch t.Kind {
		case types.KindTime:
			us := (d.Int() + iv.Interval().Micros%microsPerDay + microsPerDay) % microsPerDay
			return types.NewTime(us), nil
		case types.KindTimestamp:
			v, err := AddInterval(d.Int(), iv.Interval(), time.UTC)
			return types.NewTimestamp(v), err
		}
		v, err := AddInterval(d.Int(), iv.Interval(), c.location())
		return types.NewTimestampTZ(v), err
	}
	for _, fn := range FuncsNamed("overlaps") {
		t := types.ByOID(fn.Args[0])
		args := fn.Args
		l.fn(fn.key(), func(c *Ctx, a []types.Datum) (types.Datum, error) {
			e := [4]types.Datum(a)
			for _, i := range []int{1, 3} {
				if args[i] == types.OIDInterval && t.OID != types.OIDInterval {
					var err error
					if e[i], err = add(c, t, e[i-1], e[i]); err != nil {
						return types.Null, err
					}
				}
			}
			return overlap(t, e), nil
		})
	}
}

// numericMicros returns microseconds as a numeric number of seconds with scale 6.
func numericMicros(us int64) *apd.Decimal { return apd.New(us, -6) }

// posixSign turns a zone that is only an offset into the sense of ISO 8601. AT TIME ZONE reads it as POSIX does, west
// of Greenwich counting as positive.
func posixSign(zone string) string {
	switch {
	case zone == "":
	case zone[0] == '-':
		return "+" + zone[1:]
	case zone[0] == '+':
		return "-" + zone[1:]
	case zone[0] >= '0' && zone[0] <= '9':
		return "-" + zone
	}
	return zone
}
