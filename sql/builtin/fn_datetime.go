package builtin

import (
	"math"
	"time"

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
