package builtin

import (
	"math"
	"strconv"
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// dateReader reads a text by a date template (to_date, to_timestamp).
type dateReader struct {
	s     string
	i     int
	nodes []formatNode
	fx    bool
	// strict matches every character of the template and of the text, as the SQL standard has it.
	strict bool

	year, month, day, hour, min, sec, micro  int
	ddd, julian, cc, ww, week, iso, isoWeekN int
	isoDay, sssss                            int
	haveYear, pm, am, bc, hour12, haveISO    bool
	haveCC, haveSSSSS                        bool
	yearDigits                               int
	offset                                   int
	zoned, tzNeg                             bool
	dates                                    byte // 'G' Gregorian, 'I' ISO weeks
}

func badDateInput(format string, args ...any) error {
	return pgerr.New(pgerr.InvalidDatetimeFormat, format, args...)
}

var keywordWidth = map[string]int{"CC": 2, "DDD": 3, "DD": 2, "D": 1, "FF1": 1, "FF2": 2, "FF3": 3, "FF4": 4, "FF5": 5, "FF6": 6, "HH24": 2, "HH12": 2, "HH": 2,
	"IDDD": 3, "ID": 1, "IW": 2, "IYYY": 4, "IYY": 3, "IY": 2, "I": 1, "J": 7, "MI": 2, "MM": 2, "MS": 3, "Q": 1, "SSSSS": 5, "SSSS": 4, "SS": 2,
	"TZH": 2, "TZM": 2, "US": 6, "WW": 2, "W": 1, "Y,YYY": 5, "YYYY": 4, "YYY": 3, "YY": 2, "Y": 1}

// numberFollows reports whether the keyword at n runs straight into another number.
func (r *dateReader) numberFollows(n int) bool {
	if r.nodes[n].suffix != "" || n+1 >= len(r.nodes) {
		return false
	}
	next := r.nodes[n+1]
	if next.key == "" {
		return len(next.text) == 1 && next.text[0] >= '0' && next.text[0] <= '9'
	}
	key := strings.ToUpper(next.key)
	_, digit := keywordWidth[key]
	return digit && key != "TZH" && key[0] != 'F' // the sign of TZH ends a number; FF1 to FF6 are no numbers to PostgreSQL
}

// number reads the digits of a keyword.
func (r *dateReader) number(n int) (v, digits int, err error) {
	key := r.nodes[n].key
	for r.i < len(r.s) && r.s[r.i] == ' ' {
		r.i++
	}
	start, end := r.i, len(r.s)
	width := keywordWidth[strings.ToUpper(key)]
	fixed := !r.nodes[n].fm && r.numberFollows(n)
	short := func(err error, format string, has int) error {
		return err.(*pgerr.Error).WithDetail(format, width, has).
			WithHint("If your source string is not fixed-width, try using the \"FM\" modifier.")
	}
	if fixed {
		if end-start < width {
			return 0, 0, short(badDateInput("source string too short for \"%s\" formatting field", key),
				"Field requires %d characters, but only %d remain.", end-start)
		}
		end = start + width
	}
	if r.i < end && (r.s[r.i] == '-' || r.s[r.i] == '+') {
		r.i++
	}
	first := r.i
	for r.i < end && r.s[r.i] >= '0' && r.s[r.i] <= '9' {
		r.i++
	}
	if fixed && r.i > first && r.i < end {
		return 0, 0, short(badDateInput("invalid value \"%s\" for \"%s\"", r.s[start:end], key),
			"Field requires %d characters, but only %d could be parsed.", r.i-start)
	}
	if r.i == first {
		text := r.s[start:]
		if len(text) > width && width > 0 {
			text = text[:width]
		}
		return 0, 0, badDateInput("invalid value \"%s\" for \"%s\"", text, key).(*pgerr.Error).WithDetail("Value must be an integer.")
	}
	v, perr := strconv.Atoi(r.s[start:r.i])
	if perr != nil || v > 1<<31-1 {
		return 0, 0, pgerr.New(pgerr.DatetimeFieldOverflow, "value for \"%s\" in source string is out of range", key).
			WithDetail("Value must be in the range -2147483648 to 2147483647.")
	}
	return v, r.i - first, nil
}

// word reads one of a list of names, matched without case on their first n letters (0 for all).
func (r *dateReader) word(key string, names []string, abbrev bool) (int, error) {
	for r.i < len(r.s) && r.s[r.i] == ' ' {
		r.i++
	}
	for i, name := range names {
		if abbrev {
			name = name[:3]
		}
		if len(r.s)-r.i >= len(name) && strings.EqualFold(r.s[r.i:r.i+len(name)], name) {
			r.i += len(name)
			return i, nil
		}
	}
	text := r.s[r.i:]
	if j := strings.IndexByte(text, ' '); j >= 0 {
		text = text[:j]
	}
	return 0, badDateInput("invalid value \"%s\" for \"%s\"", text, key).(*pgerr.Error).
		WithDetail("The given value did not match any of the allowed values for this field.")
}

func isSeparator(c byte) bool {
	return c > 0x20 && c < 0x7f && !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9')
}

func parseDate(s, f string) (*dateParts, error) {
	r := &dateReader{s: s, nodes: parseDateFormat(f)}
	return r.read()
}

func (r *dateReader) read() (*dateParts, error) {
	n := 0
	for ; n < len(r.nodes) && r.i < len(r.s); n++ {
		node := r.nodes[n]
		if node.key == "" {
			c := node.text[0]
			switch {
			case r.strict:
				if !strings.HasPrefix(r.s[r.i:], node.text) {
					what := "character"
					if !node.quoted {
						what = "separator"
					}
					return nil, badDateInput("unmatched format "+what+" \"%s\"", node.text)
				}
				r.i += len(node.text)
			case r.fx:
				r.i += min(runeLen(r.s[r.i:]), len(r.s)-r.i)
			case c == ' ' || isSeparator(c):
				// A separator matches any run of spaces and one separator, or nothing.
				for r.i < len(r.s) && r.s[r.i] == ' ' {
					r.i++
				}
				if r.i < len(r.s) && isSeparator(r.s[r.i]) && !(n+1 < len(r.nodes) && (r.s[r.i] == '-' || r.s[r.i] == '+') && r.nodes[n+1].key == "TZH") {
					r.i++
				}
			default:
				r.i += runeLen(r.s[r.i:])
			}
			continue
		}
		if !r.fx {
			for r.i < len(r.s) && r.s[r.i] == ' ' {
				r.i++
			}
		}
		if err := r.keyword(n); err != nil {
			return nil, err
		}
		if node.suffix != "" {
			r.i = min(r.i+2, len(r.s))
		}
	}
	if r.strict {
		for r.i < len(r.s) && r.s[r.i] == ' ' {
			r.i++
		}
		if n < len(r.nodes) {
			return nil, badDateInput("input string is too short for datetime format")
		}
		if r.i < len(r.s) {
			return nil, badDateInput("trailing characters remain in input string after datetime format")
		}
	}
	return r.finish(r.s)
}

// convention refuses a template that gives a date partly by the calendar and partly by ISO weeks.
func (r *dateReader) convention(key string) error {
	var c byte
	switch key {
	case "MONTH", "MON", "RM", "MM", "DDD", "DD", "D", "WW", "W", "Y,YYY", "YYYY", "YYY", "YY", "Y":
		c = 'G'
	case "IDDD", "ID", "IW", "IYYY", "IYY", "IY", "I":
		c = 'I'
	default:
		return nil
	}
	if r.dates != 0 && r.dates != c {
		return badDateInput("invalid combination of date conventions").(*pgerr.Error).
			WithHint("Do not mix Gregorian and ISO week date conventions in a formatting template.")
	}
	r.dates = c
	return nil
}

func (r *dateReader) keyword(n int) error {
	node := r.nodes[n]
	k := strings.ToUpper(node.key)
	if err := r.convention(k); err != nil {
		return err
	}
	assign := func(p *int, v int) error {
		if *p != 0 && *p != v {
			return badDateInput("conflicting values for \"%s\" field in formatting string", node.key).(*pgerr.Error).
				WithDetail("This value contradicts a previous setting for the same field type.")
		}
		*p = v
		return nil
	}
	set := func(p *int) error {
		v, _, err := r.number(n)
		if err != nil {
			return err
		}
		return assign(p, v)
	}
	year := func(p *int, width int) error {
		v, digits, err := r.number(n)
		if err != nil {
			return err
		}
		if width < 4 && digits < 4 {
			// 2-digit years lie in 1970 to 2069.
			switch {
			case v < 70:
				v += 2000
			case v < 100:
				v += 1900
			case v < 520:
				v += 2000
			case v < 1000:
				v += 1000
			}
		}
		r.yearDigits = width
		return assign(p, v)
	}
	switch k {
	case "FX":
		r.fx = true
	case "A.M.", "P.M.", "AM", "PM":
		names := []string{"am", "pm"}
		if len(k) == 4 {
			names = []string{"a.m.", "p.m."}
		}
		i, err := r.word(node.key, names, false)
		if err != nil {
			return err
		}
		r.pm, r.am, r.hour12 = i == 1, i == 0, true
	case "A.D.", "B.C.", "AD", "BC":
		names := []string{"ad", "bc"}
		if len(k) == 4 {
			names = []string{"a.d.", "b.c."}
		}
		i, err := r.word(node.key, names, false)
		r.bc = i == 1
		return err
	case "HH", "HH12":
		r.hour12 = true
		return set(&r.hour)
	case "HH24":
		return set(&r.hour)
	case "MI":
		return set(&r.min)
	case "SS":
		return set(&r.sec)
	case "MS", "US", "FF1", "FF2", "FF3", "FF4", "FF5", "FF6":
		v, digits, err := r.number(n)
		if err != nil {
			return err
		}
		for ; digits < 6; digits++ {
			v *= 10
		}
		for ; digits > 6; digits-- {
			v /= 10
		}
		if k := node.key; k[0] == 'F' && k[2] < '6' {
			unit := int(math.Pow10(int('6' - k[2])))
			v = (v + unit/2) / unit * unit
		}
		r.micro = v
	case "SSSS", "SSSSS":
		r.haveSSSSS = true
		return set(&r.sssss)
	case "TZ", "OF":
		return pgerr.Unsupported("formatting field \"%s\" is only supported in to_char", node.key)
	case "TZH":
		r.zoned = true
		if r.i < len(r.s) && (r.s[r.i] == '+' || r.s[r.i] == '-' || r.s[r.i] == ' ') {
			r.tzNeg = r.s[r.i] == '-'
			r.i++
		}
		v, _, err := r.number(n)
		r.offset += v * 3600
		return err
	case "TZM":
		r.zoned = true
		v, _, err := r.number(n)
		r.offset += v * 60
		return err
	case "MONTH", "MON":
		i, err := r.word(node.key, longMonths, k == "MON")
		if err != nil {
			return err
		}
		return assign(&r.month, i+1)
	case "DAY", "DY":
		_, err := r.word(node.key, longDays, k == "DY")
		return err
	case "RM":
		i, err := r.word(node.key, romanMonth, false)
		if err != nil {
			return err
		}
		return assign(&r.month, 12-i)
	case "MM":
		return set(&r.month)
	case "DD":
		return set(&r.day)
	case "DDD":
		return set(&r.ddd)
	case "IDDD":
		r.haveISO = true
		return set(&r.ddd)
	case "D":
		var d int
		return set(&d)
	case "ID":
		r.haveISO = true
		return set(&r.isoDay)
	case "WW":
		return set(&r.ww)
	case "IW":
		r.haveISO = true
		return set(&r.isoWeekN)
	case "W":
		return set(&r.week)
	case "Q":
		var q int
		return set(&q)
	case "J":
		return set(&r.julian)
	case "CC":
		r.haveCC = true
		return set(&r.cc)
	case "Y,YYY":
		j := r.i
		for j < len(r.s) && (r.s[j] >= '0' && r.s[j] <= '9' || r.s[j] == ',') {
			j++
		}
		v, err := strconv.Atoi(strings.ReplaceAll(r.s[r.i:j], ",", ""))
		if err != nil {
			return badDateInput("invalid input string for \"Y,YYY\"")
		}
		r.i, r.year, r.haveYear, r.yearDigits = j, v, true, 4
	case "YYYY", "YYY", "YY", "Y":
		r.haveYear = true
		return year(&r.year, len(k))
	case "IYYY", "IYY", "IY", "I":
		r.haveISO, r.haveYear = true, true
		return year(&r.iso, len(k))
	}
	return nil
}

// finish makes a date of the fields.
func (r *dateReader) finish(src string) (*dateParts, error) {
	overflow := func() error {
		return pgerr.New(pgerr.DatetimeFieldOverflow, "date/time field value out of range: \"%s\"", src)
	}
	p := &dateParts{zoned: r.zoned, offset: r.offset}
	if r.tzNeg {
		p.offset = -p.offset
	}
	if r.haveSSSSS {
		r.hour, r.min, r.sec = r.sssss/3600, r.sssss/60%60, r.sssss%60
	}
	if r.hour12 {
		if r.hour < 1 && (r.am || r.pm) || r.hour > 12 {
			return nil, badDateInput("hour \"%d\" is invalid for the 12-hour clock", r.hour).(*pgerr.Error).
				WithHint("Use the 24-hour clock, or give an hour between 1 and 12.")
		}
		if r.pm && r.hour < 12 {
			r.hour += 12
		} else if r.am && r.hour == 12 {
			r.hour = 0
		}
	}
	y := r.year
	switch {
	case r.haveYear && !r.haveISO && r.haveCC && r.yearDigits <= 2:
		y %= 100
		if r.cc < 0 {
			r.cc = -r.cc
			r.bc = true
		}
		if r.bc {
			y = -(r.cc*100 - y) + 1
			if y == 0 {
				y = -r.cc*100 + 1
			}
		} else if y == 0 {
			y = r.cc * 100
		} else {
			y += (r.cc - 1) * 100
		}
	case r.haveYear && !r.haveISO:
		if r.bc {
			y = -y
		}
		if y < 0 {
			y++
		} else if y == 0 && r.bc {
			y = 0
		}
	case r.haveCC && !r.haveYear:
		y = (r.cc-1)*100 + 1
		if r.bc {
			y = -r.cc*100 + 1
		}
	}
	p.Year, p.Month, p.Day = y, r.month, r.day
	switch {
	case r.julian != 0:
		p.Year, p.Month, p.Day = types.JulianToDate(r.julian)
	case r.haveISO && r.isoWeekN != 0:
		jan4 := types.DateToJulian(r.iso, 1, 4)
		monday := jan4 - jan4%7
		j := monday + (r.isoWeekN-1)*7
		if r.isoDay > 1 {
			j += r.isoDay - 1
		}
		p.Year, p.Month, p.Day = types.JulianToDate(j)
	case r.haveISO && r.ddd != 0:
		jan4 := types.DateToJulian(r.iso, 1, 4)
		p.Year, p.Month, p.Day = types.JulianToDate(jan4 - jan4%7 + r.ddd - 1)
	case r.haveISO && r.iso != 0:
		p.Year = r.iso
	case r.ww != 0:
		r.ddd = (r.ww-1)*7 + 1
	}
	if r.week != 0 {
		p.Day = (r.week-1)*7 + 1
	}
	if r.ddd != 0 && !r.haveISO && p.Month <= 1 && p.Day <= 1 {
		if !r.haveYear && !r.haveCC {
			return nil, badDateInput("cannot calculate day of year without year information")
		}
		if r.ddd < 1 || r.ddd > 366 || r.ddd == 366 && !types.IsLeap(p.Year) {
			return nil, overflow()
		}
		p.Year, p.Month, p.Day = types.JulianToDate(types.DateToJulian(p.Year, 1, 1) + r.ddd - 1)
	}
	if p.Month == 0 {
		p.Month = 1
	}
	if p.Day == 0 {
		p.Day = 1
	}
	if p.Month < 1 || p.Month > 12 || p.Day < 1 || p.Day > types.DaysInMonth(p.Year, p.Month) {
		return nil, overflow()
	}
	p.Hour, p.Min, p.Sec, p.Micro = r.hour, r.min, r.sec, r.micro
	if r.hour < 0 || r.hour > 23 || r.min < 0 || r.min > 59 || r.sec < 0 || r.sec > 59 {
		return nil, overflow()
	}
	return p, nil
}
