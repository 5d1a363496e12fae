package builtin

import (
	"math"
	"strconv"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

func intervalAdd(a, b *types.Interval) (*types.Interval, error) {
	us, ok := addInt(a.Micros, b.Micros)
	if !ok {
		return nil, types.ErrIntervalRange()
	}
	return types.CheckedInterval(int64(a.Months)+int64(b.Months), int64(a.Days)+int64(b.Days), us)
}

func intervalSub(a, b *types.Interval) (*types.Interval, error) {
	us, ok := subInt(a.Micros, b.Micros)
	if !ok {
		return nil, types.ErrIntervalRange()
	}
	return types.CheckedInterval(int64(a.Months)-int64(b.Months), int64(a.Days)-int64(b.Days), us)
}

func intervalNeg(a *types.Interval) (*types.Interval, error) {
	return intervalSub(&types.Interval{}, a)
}

// intervalMul multiplies; fractions of months become days and fractions of days become time.
func intervalMul(iv *types.Interval, f float64) (*types.Interval, error) {
	r := func(v float64) (int64, bool) {
		return int64(v), !math.IsNaN(v) && v <= math.MaxInt32 && v >= math.MinInt32
	}
	mf, df := float64(iv.Months)*f, float64(iv.Days)*f
	months, ok1 := r(mf)
	days, ok2 := r(df)
	if !ok1 || !ok2 {
		return nil, types.ErrIntervalRange()
	}
	monthDays := tsRound((mf - float64(months)) * 30)
	secs := tsRound((df - float64(days) + monthDays - math.Trunc(monthDays)) * 86400)
	if math.Abs(secs) >= 86400 {
		if days, ok1 = addInt(days, int64(secs/86400)); !ok1 || days != int64(int32(days)) {
			return nil, types.ErrIntervalRange()
		}
		secs -= float64(int64(secs/86400)) * 86400
	}
	days += int64(monthDays)
	us := math.RoundToEven(float64(iv.Micros)*f + secs*1e6)
	if math.IsNaN(us) || us >= math.MaxInt64 || us < math.MinInt64 {
		return nil, types.ErrIntervalRange()
	}
	return types.CheckedInterval(months, days, int64(us))
}

// tsRound removes the noise below a microsecond, PostgreSQL's TSROUND.
func tsRound(v float64) float64 { return math.RoundToEven(v*1e6) / 1e6 }

func intervalDiv(iv *types.Interval, f float64) (*types.Interval, error) {
	if f == 0 {
		return nil, types.ErrDivisionByZero()
	}
	months, days := int64(float64(iv.Months)/f), int64(float64(iv.Days)/f)
	monthDays := tsRound((float64(iv.Months)/f - float64(months)) * 30)
	secs := tsRound((float64(iv.Days)/f - float64(days) + monthDays - math.Trunc(monthDays)) * 86400)
	if math.Abs(secs) >= 86400 {
		days += int64(secs / 86400)
		secs -= float64(int64(secs/86400)) * 86400
	}
	days += int64(monthDays)
	return types.CheckedInterval(months, days, int64(math.RoundToEven(float64(iv.Micros)/f+secs*1e6)))
}

func interval(iv *types.Interval, err error) (types.Datum, error) {
	if err != nil {
		return types.Null, err
	}
	return types.NewInterval(iv), nil
}

// addMonths moves a local timestamp by months, keeping the day where the month has it.
func addMonths(us int64, months int32) (int64, error) {
	c := types.ToCivil(us)
	m := int64(c.Year)*12 + int64(c.Month-1) + int64(months)
	y := floorDiv(m, 12)
	c.Year, c.Month = int(y), int(m-y*12)+1
	c.Day = min(c.Day, types.DaysInMonth(c.Year, c.Month))
	v, ok := types.FromCivil(c)
	if !ok {
		return 0, types.ErrTimestampRange()
	}
	return v, nil
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// AddInterval adds an interval to a timestamp in a zone: months and days by the calendar of the zone, the
// rest as elapsed time. loc is UTC for timestamp without time zone.
func AddInterval(us int64, iv *types.Interval, loc *time.Location) (int64, error) {
	if types.IsInfinite(us) {
		return us, nil
	}
	if iv.Months != 0 || iv.Days != 0 {
		local := types.LocalMicros(loc, us)
		if iv.Months != 0 {
			var err error
			if local, err = addMonths(local, iv.Months); err != nil {
				return 0, err
			}
			if loc != time.UTC {
				us = types.UTCMicros(loc, local)
				local = types.LocalMicros(loc, us)
			}
		}
		if iv.Days != 0 {
			local += int64(iv.Days) * microsPerDay
		}
		us = types.UTCMicros(loc, local)
	}
	v, ok := addInt(us, iv.Micros)
	if !ok || !types.ValidTimestamp(v) {
		return 0, types.ErrTimestampRange()
	}
	return v, nil
}

// dateToTimestamp converts days to microseconds.
func dateToTimestamp(days int64) (int64, error) {
	if types.IsInfinite(days) {
		return days, nil
	}
	if days > types.MaxTimestampDay {
		return 0, pgerr.New(pgerr.DatetimeFieldOverflow, "date out of range for timestamp")
	}
	return days * microsPerDay, nil
}

// timestampDiff is timestamp subtraction: days and time.
func timestampDiff(a, b int64) (*types.Interval, error) {
	if types.IsInfinite(a) || types.IsInfinite(b) {
		return nil, pgerr.New(pgerr.DatetimeFieldOverflow, "cannot subtract infinite timestamps")
	}
	return types.CheckedInterval(0, (a-b)/microsPerDay, (a-b)%microsPerDay)
}

// age is the difference in years, months, days and time.
func age(a, b int64) (*types.Interval, error) {
	if types.IsInfinite(a) || types.IsInfinite(b) {
		return nil, types.ErrTimestampRange()
	}
	x, y := types.ToCivil(a), types.ToCivil(b)
	neg := a < b
	if neg {
		x, y = y, x
	}
	us := func(c types.Civil) int64 {
		return int64(c.Hour)*microsPerHour + int64(c.Min)*60000000 + int64(c.Sec)*1000000 + int64(c.Micro)
	}
	t := us(x) - us(y)
	days, months := x.Day-y.Day, (x.Year-y.Year)*12+x.Month-y.Month
	if t < 0 {
		t += microsPerDay
		days--
	}
	for days < 0 {
		days += types.DaysInMonth(y.Year, y.Month)
		months--
		// The month that is borrowed is the one of the earlier date, whichever operand it is.
	}
	if neg {
		return types.CheckedInterval(int64(-months), int64(-days), -t)
	}
	return types.CheckedInterval(int64(months), int64(days), t)
}

func registerDatetime(l library) {
	registerNow(l)
	ts := types.NewTimestamp
	tz := types.NewTimestampTZ
	res := func(mk func(int64) types.Datum, v int64, err error) (types.Datum, error) {
		if err != nil {
			return types.Null, err
		}
		return mk(v), nil
	}
	// timestamp and interval
	l.fn("timestamp_pl_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := AddInterval(a[0].Int(), a[1].Interval(), time.UTC)
		return res(ts, v, err)
	})
	l.fn("timestamp_mi_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		n, err := intervalNeg(a[1].Interval())
		if err != nil {
			return types.Null, err
		}
		v, err := AddInterval(a[0].Int(), n, time.UTC)
		return res(ts, v, err)
	})
	l.fn("timestamptz_pl_interval", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := AddInterval(a[0].Int(), a[1].Interval(), c.location())
		return res(tz, v, err)
	})
	l.fn("timestamptz_mi_interval", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		n, err := intervalNeg(a[1].Interval())
		if err != nil {
			return types.Null, err
		}
		v, err := AddInterval(a[0].Int(), n, c.location())
		return res(tz, v, err)
	})
	l.fn("interval_pl_timestamp(interval timestamp)", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := AddInterval(a[1].Int(), a[0].Interval(), time.UTC)
		return res(ts, v, err)
	})
	l.fn("interval_pl_timestamptz(interval timestamptz)", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		v, err := AddInterval(a[1].Int(), a[0].Interval(), c.location())
		return res(tz, v, err)
	})
	l.fn("timestamp_mi", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return interval(timestampDiff(a[0].Int(), a[1].Int()))
	})
	// date
	datePlus := func(days, n int64) (types.Datum, error) {
		if types.IsInfinite(days) {
			return types.NewDate(days), nil
		}
		if !types.ValidDate(days + n) {
			return types.Null, types.ErrDateRange()
		}
		return types.NewDate(days + n), nil
	}
	l.fn("date_pli", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return datePlus(a[0].Int(), a[1].Int()) })
	l.fn("date_mii", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return datePlus(a[0].Int(), -a[1].Int()) })
	l.fn("integer_pl_date(int4 date)", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return datePlus(a[1].Int(), a[0].Int()) })
	l.fn("date_mi", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if types.IsInfinite(a[0].Int()) || types.IsInfinite(a[1].Int()) {
			return types.Null, pgerr.New(pgerr.DatetimeFieldOverflow, "cannot subtract infinite dates")
		}
		return types.NewInt(a[0].Int() - a[1].Int()), nil
	})
	dateInterval := func(days int64, iv *types.Interval, sign bool) (types.Datum, error) {
		us, err := dateToTimestamp(days)
		if err == nil && sign {
			iv, err = intervalNeg(iv)
		}
		if err != nil {
			return types.Null, err
		}
		v, err := AddInterval(us, iv, time.UTC)
		return res(ts, v, err)
	}
	l.fn("date_pl_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return dateInterval(a[0].Int(), a[1].Interval(), false)
	})
	l.fn("date_mi_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return dateInterval(a[0].Int(), a[1].Interval(), true)
	})
	l.fn("interval_pl_date(interval date)", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return dateInterval(a[1].Int(), a[0].Interval(), false)
	})
	dateTime := func(days, us int64) (types.Datum, error) {
		v, err := dateToTimestamp(days)
		if err == nil && !types.IsInfinite(v) {
			if v += us; !types.ValidTimestamp(v) {
				err = types.ErrTimestampRange()
			}
		}
		return res(ts, v, err)
	}
	l.fn("datetime_timestamp", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return dateTime(a[0].Int(), a[1].Int()) })
	l.fn("timedate_pl(time date)", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return dateTime(a[1].Int(), a[0].Int()) })
	dateTimeTZ := func(days int64, t *types.TimeTZ) (types.Datum, error) {
		v, err := dateToTimestamp(days)
		if err == nil && !types.IsInfinite(v) {
			if v += t.Micros + int64(t.OffsetSecs)*1e6; !types.ValidTimestamp(v) {
				err = types.ErrTimestampRange()
			}
		}
		return res(tz, v, err)
	}
	l.fn("datetimetz_timestamptz", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return dateTimeTZ(a[0].Int(), a[1].TimeTZ()) })
	l.fn("timetzdate_pl(timetz date)", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return dateTimeTZ(a[1].Int(), a[0].TimeTZ()) })
	// time
	wrap := func(us int64) int64 {
		if us %= microsPerDay; us < 0 {
			us += microsPerDay
		}
		return us
	}
	l.fn("time_pl_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewTime(wrap(a[0].Int() + a[1].Interval().Micros%microsPerDay)), nil
	})
	l.fn("time_mi_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewTime(wrap(a[0].Int() - a[1].Interval().Micros%microsPerDay)), nil
	})
	l.fn("interval_pl_time(interval time)", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewTime(wrap(a[1].Int() + a[0].Interval().Micros%microsPerDay)), nil
	})
	l.fn("time_mi_time", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInterval(&types.Interval{Micros: a[0].Int() - a[1].Int()}), nil
	})
	timetz := func(t *types.TimeTZ, d int64) (types.Datum, error) {
		return types.NewTimeTZ(&types.TimeTZ{Micros: wrap(t.Micros + d%microsPerDay), OffsetSecs: t.OffsetSecs}), nil
	}
	l.fn("timetz_pl_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return timetz(a[0].TimeTZ(), a[1].Interval().Micros)
	})
	l.fn("timetz_mi_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return timetz(a[0].TimeTZ(), -a[1].Interval().Micros)
	})
	l.fn("interval_pl_timetz(interval timetz)", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return timetz(a[1].TimeTZ(), a[0].Interval().Micros)
	})
	// interval
	l.fn("interval_pl", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return interval(intervalAdd(a[0].Interval(), a[1].Interval()))
	})
	l.fn("interval_mi", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return interval(intervalSub(a[0].Interval(), a[1].Interval()))
	})
	l.fn("interval_um", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return interval(intervalNeg(a[0].Interval())) })
	l.fn("interval_mul", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return interval(intervalMul(a[0].Interval(), a[1].Float()))
	})
	l.fn("mul_d_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return interval(intervalMul(a[1].Interval(), a[0].Float()))
	})
	l.fn("interval_div", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return interval(intervalDiv(a[0].Interval(), a[1].Float()))
	})
	l.fn("interval_justify_hours", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return interval(justifyHours(a[0].Interval())) })
	l.fn("interval_justify_days", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return interval(justifyDays(a[0].Interval())) })
	l.fn("interval_justify_interval", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return interval(justifyInterval(a[0].Interval())) })
	l.fn("make_interval", makeInterval)
	l.fn("interval_scale", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewInterval(types.ApplyIntervalTypmod(a[0].Interval(), int32(a[1].Int()))), nil
	})
	// age
	l.fn("timestamp_age", func(_ *Ctx, a []types.Datum) (types.Datum, error) { return interval(age(a[0].Int(), a[1].Int())) })
	l.fn("timestamptz_age", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		return interval(age(types.LocalMicros(c.location(), a[0].Int()), types.LocalMicros(c.location(), a[1].Int())))
	})
	today := func(c *Ctx) int64 {
		return floorDiv(types.LocalMicros(c.location(), c.TxnTime), microsPerDay) * microsPerDay
	}
	l.fn("age(timestamp)", func(c *Ctx, a []types.Datum) (types.Datum, error) { return interval(age(today(c), a[0].Int())) })
	l.fn("age(timestamptz)", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		return interval(age(today(c), types.LocalMicros(c.location(), a[0].Int())))
	})
	registerDateCasts(l, res)
	registerExtract(l)
	registerTrunc(l)
	registerMake(l)
	finiteFn := func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		return types.NewBool(!types.IsInfinite(a[0].Int())), nil
	}
	l.fn("date_finite", finiteFn)
	l.fn("timestamp_finite", finiteFn)
	l.fn("interval_finite", func(*Ctx, []types.Datum) (types.Datum, error) { return types.NewBool(true), nil })
	registerOverlaps(l)
}

func justifyHours(iv *types.Interval) (*types.Interval, error) {
	days, us := int64(iv.Days)+iv.Micros/microsPerDay, iv.Micros%microsPerDay
	if days > 0 && us < 0 {
		us += microsPerDay
		days--
	} else if days < 0 && us > 0 {
		us -= microsPerDay
		days++
	}
	return types.CheckedInterval(int64(iv.Months), days, us)
}

func justifyDays(iv *types.Interval) (*types.Interval, error) {
	months, days := int64(iv.Months)+int64(iv.Days)/30, int64(iv.Days)%30
	if months > 0 && days < 0 {
		days += 30
		months--
	} else if months < 0 && days > 0 {
		days -= 30
		months++
	}
	return types.CheckedInterval(months, days, iv.Micros)
}

func justifyInterval(iv *types.Interval) (*types.Interval, error) {
	months, days, us := int64(iv.Months), int64(iv.Days), iv.Micros
	days += us / microsPerDay
	us %= microsPerDay
	months += days / 30
	days %= 30
	if months > 0 && (days < 0 || days == 0 && us < 0) {
		days += 30
		months--
	} else if months < 0 && (days > 0 || days == 0 && us > 0) {
		days -= 30
		months++
	}
	if days > 0 && us < 0 {
		us += microsPerDay
		days--
	} else if days < 0 && us > 0 {
		us -= microsPerDay
		days++
	}
	return types.CheckedInterval(months, days, us)
}

func makeInterval(_ *Ctx, a []types.Datum) (types.Datum, error) {
	secs := a[6].Float()
	if math.IsNaN(secs) || math.IsInf(secs, 0) {
		return types.Null, types.ErrIntervalRange()
	}
	us := a[4].Int()*microsPerHour + a[5].Int()*60000000
	s := math.RoundToEven(secs * 1e6)
	if s > math.MaxInt64 || s < math.MinInt64 {
		return types.Null, types.ErrIntervalRange()
	}
	us, ok := addInt(us, int64(s))
	if !ok {
		return types.Null, types.ErrIntervalRange()
	}
	return interval(types.CheckedInterval(a[0].Int()*12+a[1].Int(), a[2].Int()*7+a[3].Int(), us))
}

func registerNow(l library) {
	txn := func(c *Ctx, _ []types.Datum) (types.Datum, error) { return types.NewTimestampTZ(c.TxnTime), nil }
	l.fn("now", txn)
	l.fn("transaction_timestamp", txn)
	l.fn("statement_timestamp", func(c *Ctx, _ []types.Datum) (types.Datum, error) { return types.NewTimestampTZ(c.StmtTime), nil })
	l.fn("clock_timestamp", func(c *Ctx, _ []types.Datum) (types.Datum, error) { return types.NewTimestampTZ(c.clock()), nil })
	l.fn("timeofday", func(c *Ctx, _ []types.Datum) (types.Datum, error) {
		us := c.clock()
		t := time.UnixMicro(us + 946684800*1e6).In(c.location())
		return types.NewString(t.Format("Mon Jan 02 15:04:05.000000 2006 MST")), nil
	})
}

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
			loc, err := types.ZoneOffset(a[0].Str())
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
