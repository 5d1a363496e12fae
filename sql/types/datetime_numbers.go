package types

import (
	"math"
	"strconv"
	"strings"
)

// prefixedNumber reads the number after "j" or "t".
func (d *decoded) prefixedNumber(s string, prefix int) (int, dtErr) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	switch prefix {
	case unitJulian:
		v, err := strconv.ParseInt(s[:n], 10, 32)
		if err != nil {
			return 0, dtFieldOverflow
		}
		d.setDate(JulianToDate(int(v)))
		d.isJulian = true
		if n < len(s) {
			f, err := strconv.ParseFloat("0"+s[n:], 64)
			if err != nil {
				return 0, dtBadFormat
			}
			us := int64(math.RoundToEven(f * microsPerDay))
			d.Hour, d.Min, d.Sec, d.Micro = int(us/microsPerHour), int(us/60000000%60), int(us/1000000%60), int(us%1000000)
			return mDateAll | mTimeAll, dtOK
		}
		return mDateAll, dtOK
	case unitTime:
		m, e := d.decodeNumberField(s, d.mask|mDateAll)
		if e == dtOK && m != mTimeAll {
			e = dtBadFormat
		}
		return m, e
	}
	return 0, dtBadFormat
}

func (d *decoded) plainNumber(s string, i int, fields []dtField, timeOnly bool) (int, dtErr) {
	dot := strings.IndexByte(s, '.')
	if timeOnly {
		switch {
		case dot >= 0:
			if i == 0 && len(fields) >= 2 && fields[len(fields)-1].kind == fDate {
				return d.decodeDate(s)
			}
			if dot > 2 {
				return d.decodeNumberField(s, d.mask|mDateAll)
			}
			return 0, dtBadFormat
		case len(s) > 4:
			return d.decodeNumberField(s, d.mask|mDateAll)
		}
		return d.decodeNumber(s, d.mask|mDateAll)
	}
	switch {
	case dot >= 0 && d.mask&mDateAll == 0:
		return d.decodeDate(s)
	case dot > 2, len(s) >= 6 && (d.mask&mDateAll == 0 || d.mask&mTimeAll == 0):
		return d.decodeNumberField(s, d.mask)
	}
	return d.decodeNumber(s, d.mask)
}

// decodeDate is DecodeDate: fields separated by punctuation.
func (d *decoded) decodeDate(s string) (int, dtErr) {
	var parts []string
	for i := 0; i < len(s); {
		for i < len(s) && !isAlnum(s[i]) {
			i++
		}
		if i == len(s) {
			return 0, dtBadFormat
		}
		start := i
		if isDigit(s[i]) {
			for i < len(s) && isDigit(s[i]) {
				i++
			}
		} else {
			for i < len(s) && isAlpha(s[i]) {
				i++
			}
		}
		parts = append(parts, s[start:i])
		if i < len(s) {
			i++
		}
	}
	mask, got := d.mask, 0
	haveText := false
	for i, p := range parts {
		if !isAlpha(p[0]) {
			continue
		}
		tok, ok := dateTokens[tokenKey(p)]
		if ok && tok.class == tkIgnore {
			continue
		}
		if !ok || tok.class != tkMonth || mask&mMonth != 0 {
			return 0, dtBadFormat
		}
		d.Month, haveText = tok.val, true
		mask, got = mask|mMonth, got|mMonth
		parts[i] = ""
	}
	saved := d.textMonth
	d.textMonth = haveText
	defer func() { d.textMonth = saved }()
	for _, p := range parts {
		if p == "" || !isDigit(p[0]) {
			continue
		}
		m, e := d.decodeNumber(p, mask)
		if e != dtOK {
			return 0, e
		}
		if mask&m != 0 {
			return 0, dtBadFormat
		}
		mask, got = mask|m, got|m
	}
	if mask&^(mDOY|mTZ) != mDateAll {
		return 0, dtBadFormat
	}
	return got, dtOK
}

// decodeNumber is DecodeNumber: one numeric field whose meaning depends on those already known.
func (d *decoded) decodeNumber(s string, mask int) (int, dtErr) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	if n == 0 {
		return 0, dtBadFormat
	}
	v64, err := strconv.ParseInt(s[:n], 10, 32)
	if err != nil {
		return 0, dtFieldOverflow
	}
	v := int(v64)
	if n < len(s) {
		if s[n] != '.' {
			return 0, dtBadFormat
		}
		if n > 2 {
			return d.decodeNumberField(s, mask|mDateAll)
		}
		us, e := parseFraction(s[n:])
		if e != dtOK {
			return 0, e
		}
		d.Micro = us
	}
	if len(s) == 3 && mask&mDateAll == mYear && v >= 1 && v <= 366 {
		d.YDay = v
		return mDOY | mMonth | mDay, dtOK
	}
	m := 0
	order := d.set.DateOrder
	switch mask & mDateAll {
	case 0:
		switch {
		case len(s) >= 3 || order == OrderYMD:
			d.Year, m = v, mYear
		case order == OrderDMY:
			d.Day, m = v, mDay
		default:
			d.Month, m = v, mMonth
		}
	case mYear:
		d.Month, m = v, mMonth
	case mMonth:
		if d.textMonth && (len(s) >= 3 || order == OrderYMD) {
			d.Year, m = v, mYear
		} else {
			d.Day, m = v, mDay
		}
	case mYear | mMonth:
		m = mDay
		if d.textMonth && len(s) >= 3 && d.twoDigits {
			d.Day, d.Year, d.twoDigits = d.Year, v, false
		} else {
			d.Day = v
		}
	case mDay:
		d.Month, m = v, mMonth
	case mMonth | mDay:
		d.Year, m = v, mYear
	case mDateAll:
		return d.decodeNumberField(s, mask)
	default:
		return 0, dtBadFormat
	}
	if m == mYear {
		d.twoDigits = len(s) <= 2
	}
	return m, dtOK
}

// decodeNumberField is DecodeNumberField: run-together dates and times.
func (d *decoded) decodeNumberField(s string, mask int) (int, dtErr) {
	num := func(t string) int { n, _ := strconv.Atoi(t); return n }
	if dot := strings.IndexByte(s, '.'); dot >= 0 {
		us, e := parseFraction(s[dot:])
		if e != dtOK {
			return 0, e
		}
		d.Micro = us
		s = s[:dot]
	} else if mask&mDateAll != mDateAll && len(s) >= 6 {
		n := len(s)
		y, err := strconv.ParseInt(s[:n-4], 10, 32)
		if err != nil {
			return 0, dtFieldOverflow
		}
		d.setDate(int(y), num(s[n-4:n-2]), num(s[n-2:]))
		d.twoDigits = n-4 == 2
		return mDateAll, dtOK
	}
	if mask&mTimeAll != mTimeAll {
		switch len(s) {
		case 6:
			d.Hour, d.Min, d.Sec = num(s[:2]), num(s[2:4]), num(s[4:])
		case 4:
			d.Hour, d.Min, d.Sec = num(s[:2]), num(s[2:]), 0
		default:
			return 0, dtBadFormat
		}
		if timeOverflows(d.Hour, d.Min, d.Sec, d.Micro) {
			return 0, dtFieldOverflow
		}
		return mTimeAll, dtOK
	}
	return 0, dtBadFormat
}

// parseFraction reads ".123" as microseconds.
func parseFraction(s string) (int, dtErr) {
	if len(s) == 1 {
		return 0, dtOK
	}
	for i := 1; i < len(s); i++ {
		if !isDigit(s[i]) {
			return 0, dtBadFormat
		}
	}
	f, err := strconv.ParseFloat("0"+s, 64)
	if err != nil {
		return 0, dtBadFormat
	}
	return int(math.RoundToEven(f * 1e6)), dtOK
}

func timeOverflows(h, m, s, us int) bool {
	if h < 0 || h > 24 || m < 0 || m > 59 || s < 0 || s > 60 || us < 0 || us > 1000000 {
		return true
	}
	return int64(h)*microsPerHour+int64(m)*60000000+int64(s)*1000000+int64(us) > microsPerDay
}

// decodeTime is DecodeTime; the caller checks the range of the hour.
func decodeTime(s string, rng int, c *Civil) dtErr {
	num := func(t string) (int, string, dtErr) {
		n := 0
		for n < len(t) && isDigit(t[n]) {
			n++
		}
		v := 0
		if n > 0 {
			v64, err := strconv.ParseInt(t[:n], 10, 64)
			if err != nil {
				return 0, "", dtFieldOverflow
			}
			v = int(v64)
		}
		return v, t[n:], dtOK
	}
	var e dtErr
	if c.Hour, s, e = num(s); e != dtOK {
		return e
	}
	if s == "" || s[0] != ':' {
		return dtBadFormat
	}
	if c.Min, s, e = num(s[1:]); e != dtOK {
		return e
	}
	c.Sec, c.Micro = 0, 0
	switch {
	case s == "":
		if rng == maskMinute|maskSecond {
			c.Hour, c.Min, c.Sec = 0, c.Hour, c.Min
		}
	case s[0] == '.':
		if c.Micro, e = parseFraction(s); e != dtOK {
			return e
		}
		c.Hour, c.Min, c.Sec = 0, c.Hour, c.Min
	case s[0] == ':':
		if c.Sec, s, e = num(s[1:]); e != dtOK {
			return e
		}
		if s != "" {
			if s[0] != '.' {
				return dtBadFormat
			}
			if c.Micro, e = parseFraction(s); e != dtOK {
				return e
			}
		}
	default:
		return dtBadFormat
	}
	if c.Min > 59 || c.Sec > 60 {
		return dtFieldOverflow
	}
	return dtOK
}

// decodeTimezone reads "+hh[:mm[:ss]]" or "+hhmm" and returns seconds west.
func decodeTimezone(s string) (int, dtErr) {
	if s == "" || s[0] != '+' && s[0] != '-' {
		return 0, dtBadFormat
	}
	var v [3]int
	rest := s[1:]
	n := 0
	for ; n < 3; n++ {
		k := 0
		for k < len(rest) && isDigit(rest[k]) {
			k++
		}
		if k > 0 {
			x, err := strconv.ParseInt(rest[:k], 10, 32)
			if err != nil {
				return 0, dtTZOverflow
			}
			v[n] = int(x)
		}
		if n == 0 && k == len(rest) && len(s) > 3 {
			v[0], v[1] = v[0]/100, v[0]%100
		}
		rest = rest[k:]
		if rest == "" || rest[0] != ':' {
			break
		}
		rest = rest[1:]
	}
	if v[0] > 15 || v[1] > 59 || v[2] > 59 {
		return 0, dtTZOverflow
	}
	if rest != "" {
		return 0, dtBadFormat
	}
	tz := (v[0]*60+v[1])*60 + v[2]
	if s[0] == '-' {
		tz = -tz
	}
	return -tz, dtOK
}
