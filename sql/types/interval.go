package types

import (
	"math"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// intervalUnit is a unit of interval input; its bit marks the field as given.
type intervalUnit uint8

const (
	iuNone intervalUnit = iota
	iuMicro
	iuMilli
	iuSecond
	iuMinute
	iuHour
	iuDay
	iuWeek
	iuMonth
	iuYear
	iuDecade
	iuCentury
	iuMillennium
	iuAgo
	iuIgnore
	iuReserved
)

var intervalUnits = map[string]intervalUnit{
	"ago": iuAgo, "c": iuCentury, "cent": iuCentury, "centuries": iuCentury, "century": iuCentury,
	"d": iuDay, "day": iuDay, "days": iuDay, "dec": iuDecade, "decade": iuDecade, "decades": iuDecade, "decs": iuDecade,
	"h": iuHour, "hour": iuHour, "hours": iuHour, "hr": iuHour, "hrs": iuHour,
	"m": iuMinute, "min": iuMinute, "mins": iuMinute, "minute": iuMinute, "minutes": iuMinute,
	"mil": iuMillennium, "mils": iuMillennium, "millennia": iuMillennium, "millennium": iuMillennium,
	"mon": iuMonth, "mons": iuMonth, "month": iuMonth, "months": iuMonth,
	"ms": iuMilli, "msec": iuMilli, "msecs": iuMilli, "msecond": iuMilli, "mseconds": iuMilli, "millisecon": iuMilli,
	"us": iuMicro, "usec": iuMicro, "usecs": iuMicro, "usecond": iuMicro, "useconds": iuMicro, "microsecon": iuMicro,
	"s": iuSecond, "sec": iuSecond, "secs": iuSecond, "second": iuSecond, "seconds": iuSecond,
	"w": iuWeek, "week": iuWeek, "weeks": iuWeek, "y": iuYear, "year": iuYear, "years": iuYear, "yr": iuYear, "yrs": iuYear,
	"at": iuIgnore, "on": iuIgnore,
}

// intervalAcc gathers an interval without overflowing silently.
type intervalAcc struct {
	years, months, days int64
	micros              int64
	overflow            bool
}

func (a *intervalAcc) addMicros(val int64, frac float64, scale int64) {
	hi, ok := mul64(val, scale)
	if sum := a.micros + hi; !ok || (sum > a.micros) != (hi > 0) && hi != 0 {
		a.overflow = true
	} else {
		a.micros = sum
	}
	a.addFracMicros(frac, float64(scale))
}

func (a *intervalAcc) addFracMicros(frac, scale float64) {
	if frac == 0 {
		return
	}
	frac *= scale
	us := int64(frac)
	frac -= float64(us)
	if frac > 0.5 {
		us++
	} else if frac < -0.5 {
		us--
	}
	if sum := a.micros + us; (sum > a.micros) != (us > 0) && us != 0 {
		a.overflow = true
	} else {
		a.micros = sum
	}
}

func (a *intervalAcc) addDays(val, scale int64) { a.days = a.addSmall(a.days, val, scale) }

func (a *intervalAcc) addMonths(val, scale int64) { a.months = a.addSmall(a.months, val, scale) }

func (a *intervalAcc) addSmall(cur, val, scale int64) int64 {
	p, ok := mul64(val, scale)
	if !ok || p > math.MaxInt32 || p < math.MinInt32 || cur+p > math.MaxInt32 || cur+p < math.MinInt32 {
		a.overflow = true
		return cur
	}
	return cur + p
}

func (a *intervalAcc) addFracDays(frac float64, scale float64) {
	if frac == 0 {
		return
	}
	frac *= scale
	d := int64(frac)
	a.addDays(d, 1)
	a.addFracMicros(frac-float64(d), microsPerDay)
}

// addYears counts years apart from months: each must fit a field, and only then are they added up.
func (a *intervalAcc) addYears(val, scale int64) {
	n, ok := mul64(val, scale)
	if a.years += n; !ok || n != int64(int32(n)) || a.years != int64(int32(a.years)) {
		a.overflow, a.years = true, 0
	}
}

func (a *intervalAcc) addFracYears(frac float64, scale float64) {
	a.addMonths(int64(math.RoundToEven(frac*scale*12)), 1)
}

func mul64(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	p := a * b
	if p/b != a || a == -1 && b == math.MinInt64 || b == -1 && a == math.MinInt64 {
		return 0, false
	}
	return p, true
}

// add applies one value with its unit.
func (a *intervalAcc) add(u intervalUnit, val int64, frac float64) bool {
	switch u {
	case iuMicro:
		a.addMicros(val, frac, 1)
	case iuMilli:
		a.addMicros(val, frac, 1000)
	case iuSecond:
		a.addMicros(val, frac, 1000000)
	case iuMinute:
		a.addMicros(val, frac, 60000000)
	case iuHour:
		a.addMicros(val, frac, microsPerHour)
	case iuDay:
		a.addDays(val, 1)
		a.addFracMicros(frac, microsPerDay)
	case iuWeek:
		a.addDays(val, 7)
		a.addFracDays(frac, 7)
	case iuMonth:
		a.addMonths(val, 1)
		a.addFracDays(frac, 30)
	case iuYear, iuDecade, iuCentury, iuMillennium:
		scale := []int64{1, 10, 100, 1000}[u-iuYear]
		a.addYears(val, scale)
		a.addFracYears(frac, float64(scale))
	default:
		return false
	}
	return true
}

// ParseInterval reads an interval; typmod says which field a bare number means and what is kept.
func ParseInterval(text string, typmod int32, s *Settings) (*Interval, error) {
	s = s.orDefault()
	rng := intervalFullRange
	if typmod >= 0 {
		rng = int(typmod >> 16 & 0x7fff)
	}
	var a intervalAcc
	fields, e := splitDateTime(text)
	if e == dtOK {
		e = a.decode(fields, rng, s.IntervalStyle)
	}
	if e == dtBadFormat {
		a = intervalAcc{}
		e = a.decodeISO(text)
	}
	if e == dtFieldOverflow || e == dtOK && a.overflow {
		e = dtIntervalOverflow
	}
	if e != dtOK {
		return nil, dtError(e, "interval", text)
	}
	a.months += 12 * a.years
	if a.months != int64(int32(a.months)) {
		return nil, ErrIntervalRange()
	}
	return &Interval{Months: int32(a.months), Days: int32(a.days), Micros: a.micros}, nil
}

func (a *intervalAcc) decode(fields []dtField, rng int, style IntervalStyle) dtErr {
	forceNeg := false
	if style == IntervalSQLStandard && len(fields) > 0 && fields[0].s[0] == '-' {
		forceNeg = true
		for _, f := range fields[1:] {
			if f.s[0] == '-' || f.s[0] == '+' {
				forceNeg = false
			}
		}
	}
	unit, pending, before := iuNone, false, false
	mask := 0
	const timeMask = 1<<iuHour | 1<<iuMinute | 1<<iuSecond | 1<<iuMilli | 1<<iuMicro
	for i := len(fields) - 1; i >= 0; i-- {
		f := fields[i]
		m := 0
		switch f.kind {
		case fTime, fTZ, fDate, fNumber:
			if f.kind == fTime || f.kind == fTZ && strings.IndexByte(f.s, ':') > 0 {
				body := f.s
				if f.kind == fTZ {
					body = body[1:]
				}
				var c Civil
				if e := decodeTime(body, rng, &c); e == dtOK {
					us, ok := mul64(int64(c.Hour), microsPerHour)
					us += int64(c.Min)*60000000 + int64(c.Sec)*1000000 + int64(c.Micro)
					if !ok || us < 0 {
						return dtFieldOverflow
					}
					if f.s[0] == '-' || forceNeg {
						us = -us
					}
					a.micros += us
					m, unit, pending = timeMask, iuDay, false
					break
				} else if f.kind == fTime {
					return e
				}
			}
			if unit == iuNone {
				unit = unitOfRange(rng)
			}
			var e dtErr
			if m, unit, e = a.number(f.s, unit, forceNeg); e != dtOK {
				return e
			}
			pending = false
		case fString, fSpecial:
			if pending {
				return dtBadFormat
			}
			u, ok := intervalUnits[tokenKey(f.s)]
			if !ok {
				return dtBadFormat
			}
			switch u {
			case iuIgnore:
				continue
			case iuAgo:
				before = true
			default:
				pending = true
			}
			unit = u
		}
		if m&mask != 0 {
			return dtBadFormat
		}
		mask |= m
	}
	if mask == 0 || pending {
		return dtBadFormat
	}
	if before {
		if a.micros == math.MinInt64 || a.days == math.MinInt32 || a.months == math.MinInt32 {
			return dtFieldOverflow
		}
		a.micros, a.days, a.months, a.years = -a.micros, -a.days, -a.months, -a.years
	}
	return dtOK
}

// unitOfRange is the unit of the last number of an interval without one.
func unitOfRange(rng int) intervalUnit {
	switch {
	case rng == intervalFullRange || rng&maskSecond != 0:
		return iuSecond
	case rng&maskMinute != 0:
		return iuMinute
	case rng&maskHour != 0:
		return iuHour
	case rng&maskDay != 0:
		return iuDay
	case rng&maskMonth != 0:
		return iuMonth
	case rng&maskYear != 0:
		return iuYear
	}
	return iuSecond
}

// number reads a signed number or years-months. next is the unit of a number to its left without one.
func (a *intervalAcc) number(s string, unit intervalUnit, forceNeg bool) (mask int, next intervalUnit, e dtErr) {
	n := 0
	if s[0] == '-' || s[0] == '+' {
		n = 1
	}
	digits := n
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	var val int64
	var frac float64
	if n > digits {
		v, err := strconv.ParseInt(s[:n], 10, 64)
		if err != nil {
			return 0, unit, dtFieldOverflow
		}
		val = v
	}
	switch {
	case n == len(s):
	case s[n] == '-':
		m, err := strconv.ParseInt(s[n+1:], 10, 64)
		if err != nil {
			if strings.Trim(s[n+1:], "0123456789") == "" && s[n+1:] != "" {
				return 0, unit, dtFieldOverflow
			}
			return 0, unit, dtBadFormat
		}
		if m < 0 || m >= 12 {
			return 0, unit, dtFieldOverflow
		}
		unit = iuMonth
		if s[0] == '-' {
			m = -m
		}
		y, ok := mul64(val, 12)
		if !ok || y > math.MaxInt64-12 || y < math.MinInt64+12 {
			return 0, unit, dtFieldOverflow
		}
		val = y + m
	case s[n] == '.':
		if strings.Trim(s[n+1:], "0123456789") != "" {
			return 0, unit, dtBadFormat
		}
		if len(s) > n+1 {
			frac, _ = strconv.ParseFloat("0"+s[n:], 64)
		}
		if s[0] == '-' {
			frac = -frac
		}
	default:
		return 0, unit, dtBadFormat
	}
	if forceNeg {
		val, frac = -abs64(val), -math.Abs(frac)
	}
	if !a.add(unit, val, frac) {
		return 0, unit, dtBadFormat
	}
	if a.overflow {
		return 0, unit, dtFieldOverflow
	}
	mask = 1 << unit
	switch {
	case unit == iuSecond && frac != 0:
		mask = 1<<iuSecond | 1<<iuMilli | 1<<iuMicro
	case unit == iuHour:
		return mask, iuDay, dtOK
	}
	return mask, unit, dtOK
}

func abs64(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}

// decodeISO reads ISO 8601's forms: with designators (P1Y2M3DT4H5M6S) and the alternative ones.
func (a *intervalAcc) decodeISO(s string) dtErr {
	if len(s) < 2 || s[0] != 'P' {
		return dtBadFormat
	}
	s = s[1:]
	datePart, have := true, false
	number := func() (val int64, frac float64, width int, e dtErr) {
		n := 0
		if n < len(s) && (s[n] == '-' || s[n] == '+') {
			n++
		}
		start := n
		for n < len(s) && isDigit(s[n]) {
			n++
		}
		width = n - start
		intEnd := n
		if n < len(s) && s[n] == '.' {
			n++
			for n < len(s) && isDigit(s[n]) {
				n++
			}
		}
		if n == start || n == start+1 && s[start] == '.' {
			return 0, 0, 0, dtBadFormat
		}
		if width > 0 {
			v, err := strconv.ParseInt(s[:intEnd], 10, 64)
			if err != nil {
				return 0, 0, 0, dtFieldOverflow
			}
			val = v
		}
		if n > intEnd+1 {
			// PostgreSQL takes the fraction of the number as a float, which has fewer digits the larger the number is.
			whole, _ := strconv.ParseFloat(s[:n], 64)
			_, frac = math.Modf(whole)
		}
		s = s[n:]
		return val, frac, width, dtOK
	}
	take := func() byte {
		if s == "" {
			return 0
		}
		c := s[0]
		s = s[1:]
		return c
	}
	for s != "" {
		if s[0] == 'T' {
			datePart, have, s = false, false, s[1:]
			continue
		}
		val, frac, width, e := number()
		if e != dtOK {
			return e
		}
		unit := take()
		if datePart {
			switch unit {
			case 'Y':
				a.add(iuYear, val, frac)
			case 'M':
				a.add(iuMonth, val, frac)
			case 'W':
				a.add(iuWeek, val, frac)
			case 'D':
				a.add(iuDay, val, frac)
			case 'T', 0, '-':
				if unit != '-' && width == 8 && !have {
					a.add(iuYear, val/10000, 0)
					a.add(iuMonth, val/100%100, 0)
					a.add(iuDay, val%100, frac)
					if unit == 0 {
						return dtOK
					}
					datePart, have = false, false
					continue
				}
				if have {
					return dtBadFormat
				}
				a.add(iuYear, val, frac)
				for _, u := range []intervalUnit{iuMonth, iuDay} {
					if unit == 0 {
						return dtOK
					}
					if unit == 'T' {
						break
					}
					if unit != '-' {
						return dtBadFormat
					}
					if val, frac, _, e = number(); e != dtOK {
						return e
					}
					a.add(u, val, frac)
					unit = take()
				}
				if unit == 0 {
					return dtOK
				}
				if unit != 'T' {
					return dtBadFormat
				}
				datePart, have = false, false
				continue
			default:
				return dtBadFormat
			}
		} else {
			switch unit {
			case 'H':
				a.add(iuHour, val, frac)
			case 'M':
				a.add(iuMinute, val, frac)
			case 'S':
				a.add(iuSecond, val, frac)
			case 0, ':':
				if unit == 0 && width == 6 && !have {
					a.add(iuHour, val/10000, 0)
					a.add(iuMinute, val/100%100, 0)
					a.add(iuSecond, val%100, frac)
					return dtOK
				}
				if have {
					return dtBadFormat
				}
				a.add(iuHour, val, frac)
				for _, u := range []intervalUnit{iuMinute, iuSecond} {
					if unit == 0 {
						return dtOK
					}
					if unit != ':' {
						return dtBadFormat
					}
					if val, frac, _, e = number(); e != dtOK {
						return e
					}
					a.add(u, val, frac)
					unit = take()
				}
				if unit == 0 {
					return dtOK
				}
				return dtBadFormat
			default:
				return dtBadFormat
			}
		}
		have = true
	}
	return dtOK
}

// ApplyIntervalTypmod drops the fields outside the modifier's range and rounds to its precision.
func ApplyIntervalTypmod(iv *Interval, typmod int32) *Interval {
	if typmod < 0 {
		return iv
	}
	r := *iv
	switch rng := int(typmod >> 16 & 0x7fff); rng {
	case maskYear:
		r.Months = r.Months / 12 * 12
		r.Days, r.Micros = 0, 0
	case maskMonth, maskYear | maskMonth:
		r.Days, r.Micros = 0, 0
	case maskDay:
		r.Micros = 0
	case maskHour, maskDay | maskHour:
		r.Micros = r.Micros / microsPerHour * microsPerHour
	case maskMinute, maskHour | maskMinute, maskDay | maskHour | maskMinute:
		r.Micros = r.Micros / 60000000 * 60000000
	}
	if p := typmod & 0xffff; p != intervalFullPrecision {
		r.Micros = roundMicros(r.Micros, int(p))
	}
	return &r
}

// roundMicros rounds half away from zero to p decimal places of a second.
func roundMicros(us int64, p int) int64 {
	if p >= 6 || p < 0 {
		return us
	}
	scale := [...]int64{1000000, 100000, 10000, 1000, 100, 10}[p]
	if us >= 0 {
		return (us + scale/2) / scale * scale
	}
	return -((-us + scale/2) / scale * scale)
}

// IntervalMicros is the value by which intervals compare: months of 30 days of 24 hours. hi:lo is a
// 128-bit count of microseconds.
func intervalCmpValue(iv *Interval) (days int64, micros int64) {
	days = int64(iv.Months)*30 + int64(iv.Days) + iv.Micros/microsPerDay
	micros = iv.Micros % microsPerDay
	if micros < 0 {
		micros += microsPerDay
		days--
	}
	return days, micros
}

// CompareInterval orders intervals with months of 30 days of 24 hours.
func CompareInterval(a, b *Interval) int {
	da, ua := intervalCmpValue(a)
	db, ub := intervalCmpValue(b)
	switch {
	case da != db:
		return cmp64(da, db)
	default:
		return cmp64(ua, ub)
	}
}

func cmp64(a, b int64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// AppendInterval prints an interval in one of the four styles.
func AppendInterval(buf []byte, iv *Interval, style IntervalStyle) []byte {
	year, mon := int64(iv.Months/12), int64(iv.Months%12)
	day := int64(iv.Days)
	us := iv.Micros
	hour := us / microsPerHour
	us -= hour * microsPerHour
	minute := us / 60000000
	us -= minute * 60000000
	sec, frac := us/1000000, us%1000000
	switch style {
	case IntervalPostgresVerbose:
		return appendIntervalVerbose(buf, [5]int64{year, mon, day, hour, minute}, sec, frac)
	case IntervalSQLStandard:
		return appendIntervalSQL(buf, year, mon, day, hour, minute, sec, frac)
	case IntervalISO8601:
		if *iv == (Interval{}) {
			return append(buf, "PT0S"...)
		}
		part := func(v int64, unit byte) {
			if v != 0 {
				buf = append(strconv.AppendInt(buf, v, 10), unit)
			}
		}
		buf = append(buf, 'P')
		part(year, 'Y')
		part(mon, 'M')
		part(day, 'D')
		if iv.Micros != 0 {
			buf = append(buf, 'T')
			part(hour, 'H')
			part(minute, 'M')
			if sec != 0 || frac != 0 {
				if sec < 0 || frac < 0 {
					buf = append(buf, '-')
				}
				buf = strconv.AppendInt(buf, abs64(sec), 10)
				buf = append(appendFraction(buf, int(abs64(frac))), 'S')
			}
		}
		return buf
	}
	zero, before := true, false
	part := func(v int64, unit string) {
		if v == 0 {
			return
		}
		if !zero {
			buf = append(buf, ' ')
		}
		if before && v > 0 {
			buf = append(buf, '+')
		}
		buf = strconv.AppendInt(buf, v, 10)
		buf = append(append(buf, ' '), unit...)
		if v != 1 {
			buf = append(buf, 's')
		}
		before, zero = v < 0, false
	}
	part(year, "year")
	part(mon, "mon")
	part(day, "day")
	if zero || iv.Micros != 0 {
		if !zero {
			buf = append(buf, ' ')
		}
		if iv.Micros < 0 {
			buf = append(buf, '-')
		} else if before {
			buf = append(buf, '+')
		}
		buf = appendHMS(buf, int(abs64(hour)), int(abs64(minute)), int(abs64(sec)), int(abs64(frac)))
	}
	return buf
}

func appendIntervalVerbose(buf []byte, parts [5]int64, sec, frac int64) []byte {
	buf = append(buf, '@')
	zero, before := true, false
	for i, v := range parts {
		if v == 0 {
			continue
		}
		if zero {
			before = v < 0
			v = abs64(v)
		} else if before {
			v = -v
		}
		buf = strconv.AppendInt(append(buf, ' '), v, 10)
		buf = append(append(buf, ' '), [...]string{"year", "mon", "day", "hour", "min"}[i]...)
		if v != 1 {
			buf = append(buf, 's')
		}
		zero = false
	}
	if sec != 0 || frac != 0 {
		buf = append(buf, ' ')
		if sec < 0 || frac < 0 {
			if zero {
				before = true
			} else if !before {
				buf = append(buf, '-')
			}
		} else if before {
			buf = append(buf, '-')
		}
		buf = strconv.AppendInt(buf, abs64(sec), 10)
		buf = append(appendFraction(buf, int(abs64(frac))), " sec"...)
		if abs64(sec) != 1 || frac != 0 {
			buf = append(buf, 's')
		}
		zero = false
	}
	if zero {
		buf = append(buf, " 0"...)
	}
	if before {
		buf = append(buf, " ago"...)
	}
	return buf
}

func appendIntervalSQL(buf []byte, year, mon, day, hour, minute, sec, frac int64) []byte {
	neg := year < 0 || mon < 0 || day < 0 || hour < 0 || minute < 0 || sec < 0 || frac < 0
	pos := year > 0 || mon > 0 || day > 0 || hour > 0 || minute > 0 || sec > 0 || frac > 0
	yearMonth := year != 0 || mon != 0
	dayTime := day != 0 || hour != 0 || minute != 0 || sec != 0 || frac != 0
	standard := !(neg && pos) && !(yearMonth && dayTime)
	hms := func() {
		buf = strconv.AppendInt(buf, abs64(hour), 10)
		buf = append(buf, ':')
		buf = appendPad(buf, int(abs64(minute)), 2)
		buf = append(buf, ':')
		buf = appendPad(buf, int(abs64(sec)), 2)
		buf = appendFraction(buf, int(abs64(frac)))
	}
	sign := func(negative bool) {
		if negative {
			buf = append(buf, '-')
		} else {
			buf = append(buf, '+')
		}
	}
	if !neg && !pos {
		return append(buf, '0')
	}
	if !standard {
		sign(year < 0 || mon < 0)
		buf = strconv.AppendInt(buf, abs64(year), 10)
		buf = append(buf, '-')
		buf = strconv.AppendInt(buf, abs64(mon), 10)
		buf = append(buf, ' ')
		sign(day < 0)
		buf = strconv.AppendInt(buf, abs64(day), 10)
		buf = append(buf, ' ')
		sign(hour < 0 || minute < 0 || sec < 0 || frac < 0)
		hms()
		return buf
	}
	if neg {
		buf = append(buf, '-')
	}
	if yearMonth {
		buf = strconv.AppendInt(buf, abs64(year), 10)
		buf = append(buf, '-')
		return strconv.AppendInt(buf, abs64(mon), 10)
	}
	if day != 0 {
		buf = strconv.AppendInt(buf, abs64(day), 10)
		buf = append(buf, ' ')
	}
	hms()
	return buf
}

// CheckedInterval builds an interval from wide fields, or fails when one is out of range.
func CheckedInterval(months, days, micros int64) (*Interval, error) {
	if months != int64(int32(months)) || days != int64(int32(days)) {
		return nil, pgerr.New(pgerr.DatetimeFieldOverflow, "interval out of range")
	}
	return &Interval{Months: int32(months), Days: int32(days), Micros: micros}, nil
}
