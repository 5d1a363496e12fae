package builtin

import (
	"math"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// dateUnit is a field that extract and date_trunc name.
type dateUnit uint8

const (
	uUnknown dateUnit = iota
	uMicrosecond
	uMillisecond
	uSecond
	uMinute
	uHour
	uDay
	uWeek
	uMonth
	uQuarter
	uYear
	uDecade
	uCentury
	uMillennium
	uISOYear
	uDOW
	uISODOW
	uDOY
	uJulian
	uEpoch
	uTimezone
	uTimezoneHour
	uTimezoneMinute
)

var dateUnits = map[string]dateUnit{
	"microseconds": uMicrosecond, "microsecond": uMicrosecond, "us": uMicrosecond, "usec": uMicrosecond, "usecs": uMicrosecond, "usecond": uMicrosecond, "useconds": uMicrosecond,
	"milliseconds": uMillisecond, "millisecond": uMillisecond, "ms": uMillisecond, "msec": uMillisecond, "msecs": uMillisecond, "msecond": uMillisecond, "mseconds": uMillisecond,
	"second": uSecond, "seconds": uSecond, "s": uSecond, "sec": uSecond, "secs": uSecond,
	"minute": uMinute, "minutes": uMinute, "m": uMinute, "min": uMinute, "mins": uMinute,
	"hour": uHour, "hours": uHour, "h": uHour, "hr": uHour, "hrs": uHour,
	"day": uDay, "days": uDay, "d": uDay, "week": uWeek, "weeks": uWeek, "w": uWeek,
	"month": uMonth, "months": uMonth, "mon": uMonth, "mons": uMonth, "quarter": uQuarter, "qtr": uQuarter,
	"year": uYear, "years": uYear, "y": uYear, "yr": uYear, "yrs": uYear,
	"decade": uDecade, "decades": uDecade, "dec": uDecade, "decs": uDecade,
	"century": uCentury, "centuries": uCentury, "c": uCentury, "cent": uCentury,
	"millennium": uMillennium, "millennia": uMillennium, "mil": uMillennium, "mils": uMillennium,
	"isoyear": uISOYear, "dow": uDOW, "isodow": uISODOW, "doy": uDOY, "julian": uJulian, "jd": uJulian, "j": uJulian, "epoch": uEpoch,
	"timezone": uTimezone, "timezone_h": uTimezoneHour, "timezone_hour": uTimezoneHour, "timezone_m": uTimezoneMinute, "timezone_minute": uTimezoneMinute,
}

func unitError(name string, t *types.T, known bool) error {
	if known {
		return pgerr.New(pgerr.FeatureNotSupported, "unit \"%s\" not supported for type %s", strings.ToLower(name), types.TypeName(t))
	}
	return pgerr.New(pgerr.InvalidParameterValue, "unit \"%s\" not recognized for type %s", strings.ToLower(name), types.TypeName(t))
}

// isoWeek returns the ISO year and week of a date.
func isoWeek(y, m, d int) (year, week int) {
	t := time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC)
	return t.ISOWeek()
}

func century(y int) int64 {
	if y > 0 {
		return int64((y + 99) / 100)
	}
	return -int64((99 - (y - 1)) / 100)
}

func millennium(y int) int64 {
	if y > 0 {
		return int64((y + 999) / 1000)
	}
	return -int64((999 - (y - 1)) / 1000)
}

func decade(y int) int64 {
	if y >= 0 {
		return int64(y / 10)
	}
	return -int64((8 - (y - 1)) / 10)
}

// civilField extracts a field of a local time that does not depend on the epoch or zone.
func civilField(u dateUnit, c types.Civil) (*apd.Decimal, bool) {
	i := func(v int64) (*apd.Decimal, bool) { return apd.New(v, 0), true }
	us := int64(c.Sec)*1000000 + int64(c.Micro)
	displayYear := c.Year
	if c.Year <= 0 {
		displayYear = c.Year - 1
	}
	switch u {
	case uMicrosecond:
		return i(us)
	case uMillisecond:
		return apd.New(us, -3), true
	case uSecond:
		return apd.New(us, -6), true
	case uMinute:
		return i(int64(c.Min))
	case uHour:
		return i(int64(c.Hour))
	case uDay:
		return i(int64(c.Day))
	case uWeek:
		_, w := isoWeek(c.Year, c.Month, c.Day)
		return i(int64(w))
	case uMonth:
		return i(int64(c.Month))
	case uQuarter:
		return i(int64((c.Month-1)/3 + 1))
	case uYear:
		return i(int64(displayYear))
	case uDecade:
		return i(decade(c.Year))
	case uCentury:
		return i(century(c.Year))
	case uMillennium:
		return i(millennium(c.Year))
	case uISOYear:
		y, _ := isoWeek(c.Year, c.Month, c.Day)
		if y <= 0 {
			y--
		}
		return i(int64(y))
	case uDOW:
		return i(int64(c.WDay))
	case uISODOW:
		if c.WDay == 0 {
			return i(7)
		}
		return i(int64(c.WDay))
	case uDOY:
		return i(int64(c.YDay))
	case uJulian:
		j := apd.New(int64(types.DateToJulian(c.Year, c.Month, c.Day)), 0)
		day := int64(c.Hour)*microsPerHour + int64(c.Min)*60000000 + us
		f, err := types.NumericDiv(apd.New(day, 0), apd.New(microsPerDay, 0))
		if err != nil {
			return nil, false
		}
		j, err = types.NumericAdd(j, f)
		return j, err == nil
	}
	return nil, false
}

// infiniteField is extract from infinity: fields that grow forever are infinite, the others NULL.
func infiniteField(u dateUnit, neg bool) (*apd.Decimal, bool) {
	switch u {
	case uYear, uDecade, uCentury, uMillennium, uJulian, uISOYear, uEpoch:
		if neg {
			return types.NumericNegInf, true
		}
		return types.NumericInf, true
	}
	return nil, true
}

// extract returns a field of a value, nil for NULL.
func extract(ctx *Ctx, unit string, d types.Datum, t *types.T) (*apd.Decimal, error) {
	u := dateUnits[strings.ToLower(unit)]
	if u == uUnknown {
		return nil, unitError(unit, t, false)
	}
	unsupported := unitError(unit, t, true)
	switch t.Kind {
	case types.KindDate:
		switch u {
		case uMicrosecond, uMillisecond, uSecond, uMinute, uHour, uTimezone, uTimezoneHour, uTimezoneMinute:
			return nil, unsupported
		}
		days := d.Int()
		if types.IsInfinite(days) {
			r, _ := infiniteField(u, days < 0)
			return r, nil
		}
		if u == uEpoch {
			return apd.New((days+10957)*86400, 0), nil
		}
		var c types.Civil
		c.Year, c.Month, c.Day = types.CivilFromDays(days)
		c.YDay = int(days-types.DaysFromCivil(c.Year, 1, 1)) + 1
		c.WDay = int(((days+6)%7 + 7) % 7)
		if u == uJulian {
			return apd.New(days+2451545, 0), nil
		}
		r, _ := civilField(u, c)
		return r, nil
	case types.KindTimestamp, types.KindTimestampTZ:
		us := d.Int()
		zoned := t.Kind == types.KindTimestampTZ
		if !zoned && (u == uTimezone || u == uTimezoneHour || u == uTimezoneMinute) {
			return nil, unsupported
		}
		if types.IsInfinite(us) {
			r, _ := infiniteField(u, us < 0)
			return r, nil
		}
		if u == uEpoch {
			if us > math.MaxInt64-946684800*1e6 {
				return types.NumericAdd(numericMicros(us), apd.New(946684800, 0))
			}
			return numericMicros(us + 946684800*1e6), nil
		}
		local := us
		if zoned {
			local = types.LocalMicros(ctx.location(), us)
		}
		if r, ok := zoneField(u, (local-us)/1e6); ok {
			return r, nil
		}
		r, _ := civilField(u, types.ToCivil(local))
		return r, nil
	case types.KindTime, types.KindTimeTZ:
		us, off := d.Int(), int64(0)
		if t.Kind == types.KindTimeTZ {
			us, off = d.TimeTZ().Micros, -int64(d.TimeTZ().OffsetSecs)
			if r, ok := zoneField(u, off); ok {
				return r, nil
			}
		}
		switch u {
		case uMicrosecond, uMillisecond, uSecond, uMinute, uHour:
			c := types.Civil{Hour: int(us / microsPerHour), Min: int(us / 60000000 % 60), Sec: int(us / 1000000 % 60), Micro: int(us % 1000000)}
			r, _ := civilField(u, c)
			return r, nil
		case uEpoch:
			return numericMicros(us - off*1e6), nil
		}
		return nil, unsupported
	case types.KindInterval:
		return extractInterval(u, d.Interval(), unsupported)
	}
	return nil, unsupported
}

func zoneField(u dateUnit, east int64) (*apd.Decimal, bool) {
	switch u {
	case uTimezone:
		return apd.New(east, 0), true
	case uTimezoneHour:
		return apd.New(east/3600, 0), true
	case uTimezoneMinute:
		return apd.New(east/60%60, 0), true
	}
	return nil, false
}

func extractInterval(u dateUnit, iv *types.Interval, unsupported error) (*apd.Decimal, error) {
	year, mon := int64(iv.Months)/12, int64(iv.Months)%12
	us := iv.Micros
	hour := us / microsPerHour
	us -= hour * microsPerHour
	minute := us / 60000000
	us -= minute * 60000000
	i := func(v int64) (*apd.Decimal, error) { return apd.New(v, 0), nil }
	switch u {
	case uMicrosecond:
		return i(us)
	case uMillisecond:
		return apd.New(us, -3), nil
	case uSecond:
		return apd.New(us, -6), nil
	case uMinute:
		return i(minute)
	case uHour:
		return i(hour)
	case uDay:
		return i(int64(iv.Days))
	case uMonth:
		return i(mon)
	case uQuarter:
		return i(mon/3 + 1)
	case uYear:
		return i(year)
	case uDecade:
		return i(year / 10)
	case uCentury:
		return i(year / 100)
	case uMillennium:
		return i(year / 1000)
	case uEpoch:
		// A year is 365.25 days here, a month 30.
		secs := year*31557600 + mon*2592000 + int64(iv.Days)*86400
		return types.NumericAdd(apd.New(secs, 0), numericMicros(iv.Micros))
	}
	return nil, unsupported
}

func registerExtract(l library) {
	for _, name := range []string{"date", "timestamp", "timestamptz", "time", "timetz", "interval"} {
		t := types.ByInternalName(name)
		get := func(c *Ctx, a []types.Datum) (types.Datum, error) {
			r, err := extract(c, a[0].Str(), a[1], t)
			if err != nil || r == nil {
				return types.Null, err
			}
			return types.NewNumeric(r), nil
		}
		l.fn("extract_"+name, get)
		part := func(c *Ctx, a []types.Datum) (types.Datum, error) {
			r, err := extract(c, a[0].Str(), a[1], t)
			if err != nil || r == nil {
				return types.Null, err
			}
			return types.NewFloat(types.NumericToFloat(r)), nil
		}
		if name == "date" {
			l.fn("date_part(text date)", func(c *Ctx, a []types.Datum) (types.Datum, error) {
				us, err := dateToTimestamp(a[1].Int())
				if err != nil {
					return types.Null, err
				}
				r, err := extract(c, a[0].Str(), types.NewTimestamp(us), types.Timestamp)
				if err != nil || r == nil {
					return types.Null, err
				}
				return types.NewFloat(types.NumericToFloat(r)), nil
			})
		} else {
			l.fn(name+"_part", part)
		}
	}
}

// truncCivil truncates a local time to a unit.
func truncCivil(u dateUnit, c types.Civil) (types.Civil, bool) {
	switch u {
	case uWeek:
		j := types.DateToJulian(c.Year, c.Month, c.Day)
		c.Year, c.Month, c.Day = types.JulianToDate(j - (c.WDay+6)%7)
		c.Hour, c.Min, c.Sec, c.Micro = 0, 0, 0, 0
		return c, true
	case uMillennium:
		if c.Year > 0 {
			c.Year = (c.Year+999)/1000*1000 - 999
		} else {
			c.Year = -((999-(c.Year-1))/1000)*1000 + 1
		}
	case uCentury:
		if c.Year > 0 {
			c.Year = (c.Year+99)/100*100 - 99
		} else {
			c.Year = -((99-(c.Year-1))/100)*100 + 1
		}
	case uDecade:
		if c.Year > 0 {
			c.Year = c.Year / 10 * 10
		} else {
			c.Year = -((8 - (c.Year - 1)) / 10) * 10
		}
	}
	switch u {
	case uMillennium, uCentury, uDecade, uYear:
		c.Month = 1
		fallthrough
	case uQuarter:
		c.Month = 3*((c.Month-1)/3) + 1
		fallthrough
	case uMonth:
		c.Day = 1
		fallthrough
	case uDay:
		c.Hour = 0
		fallthrough
	case uHour:
		c.Min = 0
		fallthrough
	case uMinute:
		c.Sec = 0
		fallthrough
	case uSecond:
		c.Micro = 0
	case uMillisecond:
		c.Micro = c.Micro / 1000 * 1000
	case uMicrosecond:
	default:
		return c, false
	}
	return c, true
}

func truncUnit(name string, t *types.T) (dateUnit, error) {
	u := dateUnits[strings.ToLower(name)]
	if u == uUnknown {
		return 0, unitError(name, t, false)
	}
	return u, nil
}

func registerTrunc(l library) {
	l.fn("timestamp_trunc", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if types.IsInfinite(a[1].Int()) {
			return a[1], nil
		}
		u, err := truncUnit(a[0].Str(), types.Timestamp)
		if err != nil {
			return types.Null, err
		}
		c, ok := truncCivil(u, types.ToCivil(a[1].Int()))
		if !ok {
			return types.Null, unitError(a[0].Str(), types.Timestamp, true)
		}
		v, ok := types.FromCivil(c)
		if !ok {
			return types.Null, types.ErrTimestampRange()
		}
		return types.NewTimestamp(v), nil
	})
	zoned := func(a []types.Datum, loc *time.Location) (types.Datum, error) {
		us := a[1].Int()
		if types.IsInfinite(us) {
			return a[1], nil
		}
		u, err := truncUnit(a[0].Str(), types.TimestampTZ)
		if err != nil {
			return types.Null, err
		}
		if _, ok := truncCivil(u, types.ToCivil(0)); !ok {
			return types.Null, unitError(a[0].Str(), types.TimestampTZ, true)
		}
		local := types.LocalMicros(loc, us)
		c, _ := truncCivil(u, types.ToCivil(local))
		v, ok := types.FromCivil(c)
		if !ok {
			return types.Null, types.ErrTimestampRange()
		}
		switch u {
		case uMicrosecond, uMillisecond, uSecond, uMinute, uHour:
			// Smaller units keep the offset, so that a repeated hour stays itself.
			return types.NewTimestampTZ(v - (local - us)), nil
		}
		return types.NewTimestampTZ(types.UTCMicros(loc, v)), nil
	}
	l.fn("timestamptz_trunc", func(c *Ctx, a []types.Datum) (types.Datum, error) { return zoned(a, c.location()) })
	l.fn("timestamptz_trunc_zone", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if types.IsInfinite(a[1].Int()) {
			return a[1], nil
		}
		loc, err := types.ZoneOffset(a[2].Str())
		if err != nil {
			return types.Null, err
		}
		return zoned(a, loc)
	})
	l.fn("interval_trunc", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		u, err := truncUnit(a[0].Str(), types.IntervalT)
		if err != nil {
			return types.Null, err
		}
		iv := *a[1].Interval()
		months := map[dateUnit]int32{uMillennium: 12000, uCentury: 1200, uDecade: 120, uYear: 12, uQuarter: 3, uMonth: 1}
		micros := map[dateUnit]int64{uDay: 0, uHour: microsPerHour, uMinute: 60000000, uSecond: 1000000, uMillisecond: 1000, uMicrosecond: 1}
		if m := months[u]; m != 0 {
			iv.Months = iv.Months / m * m
			iv.Days, iv.Micros = 0, 0
		} else if us, ok := micros[u]; ok {
			if us == 0 {
				iv.Micros = 0
			} else {
				iv.Micros = iv.Micros / us * us
			}
		} else {
			return types.Null, unitError(a[0].Str(), types.IntervalT, true)
		}
		return types.NewInterval(&iv), nil
	})
	bin := func(mk func(int64) types.Datum) EvalFunc {
		return func(_ *Ctx, a []types.Datum) (types.Datum, error) {
			stride, src, origin := a[0].Interval(), a[1].Int(), a[2].Int()
			if types.IsInfinite(src) {
				return a[1], nil
			}
			if types.IsInfinite(origin) {
				return types.Null, pgerr.New(pgerr.DatetimeFieldOverflow, "origin out of range")
			}
			if stride.Months != 0 {
				return types.Null, pgerr.New(pgerr.FeatureNotSupported, "timestamps cannot be binned into intervals containing months or years")
			}
			us := int64(stride.Days)*microsPerDay + stride.Micros
			if us <= 0 {
				return types.Null, pgerr.New(pgerr.DatetimeFieldOverflow, "stride must be greater than zero")
			}
			d := src - origin
			m := d - d%us
			if d < 0 && d%us != 0 {
				m -= us
			}
			if v := origin + m; types.ValidTimestamp(v) {
				return mk(v), nil
			}
			return types.Null, types.ErrTimestampRange()
		}
	}
	l.fn("timestamp_bin", bin(types.NewTimestamp))
	l.fn("timestamptz_bin", bin(types.NewTimestampTZ))
}
