package types

import (
	"math"
	"strconv"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// Limits and special values of the date and time types.
const (
	microsPerDay  = 86400 * 1000000
	microsPerHour = 3600 * 1000000
	epochJulian   = 2451545 // 2000-01-01

	DateInf    = math.MaxInt64
	DateNegInf = math.MinInt64

	minDate      = -2451545             // 4714-11-24 BC
	endDate      = 2147483494 - 2451545 // first invalid: 5874898-06-04
	minTimestamp = -211813488000000000
	endTimestamp = 9223371331200000000 // 294277-01-01
)

// IsInfinite reports whether a date or timestamp is one of the infinities.
func IsInfinite(v int64) bool { return v == DateInf || v == DateNegInf }

// ValidTimestamp reports whether v is a finite timestamp in range.
func ValidTimestamp(v int64) bool { return v >= minTimestamp && v < endTimestamp }

// ValidDate reports whether v is a finite date in range.
func ValidDate(v int64) bool { return v >= minDate && v < endDate }

// Civil is a broken-down local time. Year 0 is 1 BC.
type Civil struct {
	Year, Month, Day, Hour, Min, Sec int
	Micro                            int
	YDay, WDay                       int
}

// DateToJulian returns the Julian day number of a civil date.
func DateToJulian(y, m, d int) int {
	if m > 2 {
		m++
		y += 4800
	} else {
		m += 13
		y += 4799
	}
	century := y / 100
	j := y*365 - 32167
	j += y/4 - century + century/4
	j += 7834*m/256 + d
	return j
}

// JulianToDate is the inverse of DateToJulian.
func JulianToDate(jd int) (year, month, day int) {
	j := uint64(jd)
	j += 32044
	quad := j / 146097
	extra := (j-quad*146097)*4 + 3
	j += 60 + quad*3 + extra/146097
	quad = j / 1461
	j -= quad * 1461
	y := j * 4 / 1461
	if y != 0 {
		j = (j + 305) % 365
	} else {
		j = (j + 306) % 366
	}
	j += 123
	y += quad * 4
	year = int(y) - 4800
	q := j * 2141 / 65536
	day = int(j - 7834*q/256)
	month = int((q+10)%12) + 1
	return year, month, day
}

// DaysFromCivil returns the days since 2000-01-01.
func DaysFromCivil(y, m, d int) int64 { return int64(DateToJulian(y, m, d) - epochJulian) }

// CivilFromDays breaks up days since 2000-01-01.
func CivilFromDays(days int64) (y, m, d int) { return JulianToDate(int(days) + epochJulian) }

// ToCivil breaks up local microseconds since 2000-01-01.
func ToCivil(micros int64) Civil {
	days := floorDiv64(micros, microsPerDay)
	rest := micros - days*microsPerDay
	var c Civil
	c.Year, c.Month, c.Day = CivilFromDays(days)
	c.Hour, c.Min, c.Sec, c.Micro = int(rest/microsPerHour), int(rest/60000000%60), int(rest/1000000%60), int(rest%1000000)
	c.YDay = int(days-DaysFromCivil(c.Year, 1, 1)) + 1
	c.WDay = int(((days+6)%7 + 7) % 7) // 2000-01-01 was a Saturday
	return c
}

// FromCivil returns local microseconds since 2000-01-01, false when out of range.
func FromCivil(c Civil) (int64, bool) {
	days := DaysFromCivil(c.Year, c.Month, c.Day)
	if days < minDate-1 || days > endTimestamp/microsPerDay+1 {
		return 0, false
	}
	t := int64(c.Hour)*microsPerHour + int64(c.Min)*60000000 + int64(c.Sec)*1000000 + int64(c.Micro)
	v := days*microsPerDay + t
	if days > 0 && v < 0 {
		return 0, false
	}
	return v, v >= minTimestamp && v < endTimestamp
}

// IsLeap reports whether the (astronomical) year is a leap year.
func IsLeap(y int) bool { return y%4 == 0 && (y%100 != 0 || y%400 == 0) }

// DaysInMonth returns the length of a month.
func DaysInMonth(y, m int) int {
	if m == 2 && IsLeap(y) {
		return 29
	}
	return [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}[m-1]
}

var monthAbbrevs = [...]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}
var dayAbbrevs = [...]string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

func appendPad(buf []byte, n, width int) []byte {
	var tmp [20]byte
	s := strconv.AppendInt(tmp[:0], int64(n), 10)
	for i := len(s); i < width; i++ {
		buf = append(buf, '0')
	}
	return append(buf, s...)
}

func displayYear(y int) int {
	if y > 0 {
		return y
	}
	return 1 - y
}

func appendDateOnly(buf []byte, y, m, d int, s *Settings) []byte {
	year := displayYear(y)
	switch s.DateFormat {
	case DateSQL, DatePostgres:
		sep := byte('/')
		if s.DateFormat == DatePostgres {
			sep = '-'
		}
		a, b := m, d
		if s.DateOrder == OrderDMY {
			a, b = d, m
		}
		buf = appendPad(buf, a, 2)
		buf = append(buf, sep)
		buf = appendPad(buf, b, 2)
		buf = append(buf, sep)
		buf = appendPad(buf, year, 4)
	case DateGerman:
		buf = appendPad(buf, d, 2)
		buf = append(buf, '.')
		buf = appendPad(buf, m, 2)
		buf = append(buf, '.')
		buf = appendPad(buf, year, 4)
	default:
		buf = appendPad(buf, year, 4)
		buf = append(buf, '-')
		buf = appendPad(buf, m, 2)
		buf = append(buf, '-')
		buf = appendPad(buf, d, 2)
	}
	return buf
}

func appendInfinity(buf []byte, v int64) []byte {
	if v == DateNegInf {
		return append(buf, "-infinity"...)
	}
	return append(buf, "infinity"...)
}

func appendDate(buf []byte, days int64, s *Settings) []byte {
	if IsInfinite(days) {
		return appendInfinity(buf, days)
	}
	y, m, d := CivilFromDays(days)
	buf = appendDateOnly(buf, y, m, d, s)
	if y <= 0 {
		buf = append(buf, " BC"...)
	}
	return buf
}

func appendHMS(buf []byte, h, m, sec, micro int) []byte {
	buf = appendPad(buf, h, 2)
	buf = append(buf, ':')
	buf = appendPad(buf, m, 2)
	buf = append(buf, ':')
	buf = appendPad(buf, sec, 2)
	return appendFraction(buf, micro)
}

func appendFraction(buf []byte, micro int) []byte {
	if micro == 0 {
		return buf
	}
	buf = append(buf, '.')
	buf = appendPad(buf, micro, 6)
	for buf[len(buf)-1] == '0' {
		buf = buf[:len(buf)-1]
	}
	return buf
}

func appendTime(buf []byte, us int64) []byte {
	return appendHMS(buf, int(us/microsPerHour), int(us/60000000%60), int(us/1000000%60), int(us%1000000))
}

// appendZone prints an offset in seconds east of Greenwich.
func appendZone(buf []byte, east int, minutes bool) []byte {
	if east < 0 {
		buf = append(buf, '-')
		east = -east
	} else {
		buf = append(buf, '+')
	}
	buf = appendPad(buf, east/3600, 2)
	if east%3600 != 0 || minutes {
		buf = append(buf, ':')
		buf = appendPad(buf, east/60%60, 2)
		if east%60 != 0 {
			buf = append(buf, ':')
			buf = appendPad(buf, east%60, 2)
		}
	}
	return buf
}

func appendTimeTZ(buf []byte, t *TimeTZ) []byte {
	return appendZone(appendTime(buf, t.Micros), int(-t.OffsetSecs), false)
}

func appendTimestamp(buf []byte, us int64, s *Settings) []byte {
	if IsInfinite(us) {
		return appendInfinity(buf, us)
	}
	return appendDateTime(buf, ToCivil(us), s, false, 0, "")
}

func appendTimestampTZ(buf []byte, us int64, s *Settings) []byte {
	if IsInfinite(us) {
		return appendInfinity(buf, us)
	}
	off, name := offsetAt(s.location(), us)
	return appendDateTime(buf, ToCivil(us+int64(off)*1e6), s, true, off, name)
}

func appendDateTime(buf []byte, c Civil, s *Settings, zone bool, off int, zoneName string) []byte {
	// Zones without an alphabetic abbreviation ("+03") print their offset.
	named := zoneName != "" && (zoneName[0] >= 'A' && zoneName[0] <= 'Z' || zoneName[0] >= 'a' && zoneName[0] <= 'z')
	switch s.DateFormat {
	case DatePostgres:
		buf = append(buf, dayAbbrevs[c.WDay]...)
		buf = append(buf, ' ')
		if s.DateOrder == OrderDMY {
			buf = appendPad(buf, c.Day, 2)
			buf = append(buf, ' ')
			buf = append(buf, monthAbbrevs[c.Month-1]...)
		} else {
			buf = append(buf, monthAbbrevs[c.Month-1]...)
			buf = append(buf, ' ')
			buf = appendPad(buf, c.Day, 2)
		}
		buf = append(buf, ' ')
		buf = appendHMS(buf, c.Hour, c.Min, c.Sec, c.Micro)
		buf = append(buf, ' ')
		buf = appendPad(buf, displayYear(c.Year), 4)
		if zone {
			buf = append(buf, ' ')
			if named {
				buf = append(buf, zoneName...)
			} else {
				buf = appendZone(buf, off, false)
			}
		}
	default:
		buf = appendDateOnly(buf, c.Year, c.Month, c.Day, s)
		buf = append(buf, ' ')
		buf = appendHMS(buf, c.Hour, c.Min, c.Sec, c.Micro)
		if zone {
			switch {
			case s.DateFormat == DateISO || !named:
				buf = appendZone(buf, off, false)
			default:
				buf = append(buf, ' ')
				buf = append(buf, zoneName...)
			}
		}
	}
	if c.Year <= 0 {
		buf = append(buf, " BC"...)
	}
	return buf
}

// ErrTimestampRange and ErrDateRange are the overflow errors of date arithmetic.
func ErrTimestampRange() error {
	return pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp out of range")
}
func ErrDateRange() error { return pgerr.New(pgerr.DatetimeFieldOverflow, "date out of range") }
func ErrIntervalRange() error {
	return pgerr.New(pgerr.DatetimeFieldOverflow, "interval out of range")
}

// MaxTimestampDay is the last date that is a timestamp too.
const MaxTimestampDay = endTimestamp/microsPerDay - 1
