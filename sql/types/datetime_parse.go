package types

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// decoded is a broken-down time as it is being read, with the mask of the fields seen.
type decoded struct {
	Civil
	mask      int
	kind      int // dtkDate, dtkEpoch, dtkLate or dtkEarly
	tz        int // seconds west
	hasTZ     bool
	zone      *time.Location
	twoDigits bool
	bc        bool
	textMonth bool
	isJulian  bool
	mer       int // 0 AM, 1 PM, 2 neither
	set       *Settings
	zoneErr   string
}

// decodeDateTime is DecodeDateTime: a date, with or without a time and a zone. The returned value has its
// zone resolved into tz. A result of complete == false means a time without a date.
func decodeDateTime(fields []dtField, s *Settings) (*decoded, dtErr) {
	d := &decoded{kind: dtkDate, mer: 2, set: s}
	if e := d.decodeFields(fields, false); e != dtOK {
		return d, e
	}
	if d.kind != dtkDate {
		return d, dtOK
	}
	if e := d.validate(); e != dtOK {
		return d, e
	}
	if e := d.applyMeridian(); e != dtOK {
		return d, e
	}
	if d.mask&mDateAll != mDateAll {
		return d, dtBadFormat
	}
	return d, d.resolveZone()
}

func (d *decoded) applyMeridian() dtErr {
	if d.mer != 2 && d.Hour > 12 {
		return dtFieldOverflow
	}
	if d.mer == 0 && d.Hour == 12 {
		d.Hour = 0
	} else if d.mer == 1 && d.Hour != 12 {
		d.Hour += 12
	}
	return dtOK
}

func (d *decoded) resolveZone() dtErr {
	loc := d.zone
	if d.mask&mTZ == 0 {
		loc = d.set.location()
	}
	if loc != nil {
		local := DaysFromCivil(d.Year, d.Month, d.Day)*microsPerDay + int64(d.Hour)*microsPerHour + int64(d.Min)*60000000 + int64(d.Sec)*1000000
		d.tz = -localOffset(loc, local)
		if y := d.Year; y < -290000 || y > 290000 {
			d.tz = 0
		}
	}
	return dtOK
}

func (d *decoded) setDate(y, m, day int) { d.Year, d.Month, d.Day = y, m, day }

// localNow returns the transaction's timestamp as local wall-clock microseconds.
func (d *decoded) localNow() (local int64, off int) {
	loc := d.set.location()
	off, _ = offsetAt(loc, d.set.TxnTimestamp)
	return d.set.TxnTimestamp + int64(off)*1e6, off
}

// decodeFields reads all fields. timeOnly changes what a date-like field may be, as DecodeTimeOnly does.
func (d *decoded) decodeFields(fields []dtField, timeOnly bool) dtErr {
	prefix := -1
	for i, f := range fields {
		m := 0
		switch f.kind {
		case fDate:
			switch {
			case prefix == unitJulian && !timeOnly:
				n := 0
				for n < len(f.s) && isDigit(f.s[n]) {
					n++
				}
				v, err := strconv.Atoi(f.s[:n])
				if err != nil {
					return dtFieldOverflow
				}
				d.setDate(JulianToDate(v))
				d.isJulian = true
				tz, e := decodeTimezone(f.s[n:])
				if e != dtOK {
					return e
				}
				d.tz, d.hasTZ = tz, true
				m, prefix = mDateAll|mTimeAll|mTZ, -1
			case timeOnly && i == 0 && len(fields) >= 2 && (fields[len(fields)-1].kind == fDate || fields[1].kind == fTime),
				!timeOnly && prefix < 0 && d.mask&(mMonth|mDay) != mMonth|mDay:
				var e dtErr
				if m, e = d.decodeDate(f.s); e != dtOK {
					return e
				}
			case isDigit(f.s[0]) || prefix >= 0:
				if prefix >= 0 && prefix != unitTime || d.mask&mTimeAll == mTimeAll {
					return dtBadFormat
				}
				prefix = -1
				j := strings.IndexByte(f.s, '-')
				if j < 0 {
					return dtBadFormat
				}
				tz, e := decodeTimezone(f.s[j:])
				if e != dtOK {
					return e
				}
				fm := d.mask
				if timeOnly {
					fm |= mDateAll
				}
				if m, e = d.decodeNumberField(f.s[:j], fm); e != dtOK {
					return e
				}
				d.tz, d.hasTZ = tz, true
				m |= mTZ
			default:
				if d.zone = zoneByName(f.s); d.zone == nil {
					d.zoneErr = f.s
					return dtBadZone
				}
				m = mTZ
			}
		case fTime:
			if prefix >= 0 {
				if prefix != unitTime {
					return dtBadFormat
				}
				prefix = -1
			}
			var e dtErr
			if e = decodeTime(f.s, intervalFullRange, &d.Civil); e != dtOK {
				return e
			}
			m = mTimeAll
			if timeOverflows(d.Hour, d.Min, d.Sec, d.Micro) {
				return dtFieldOverflow
			}
		case fTZ:
			tz, e := decodeTimezone(f.s)
			if e != dtOK {
				return e
			}
			d.tz, d.hasTZ = tz, true
			m = mTZ
		case fNumber:
			var e dtErr
			if prefix >= 0 {
				m, e = d.prefixedNumber(f.s, prefix)
				prefix = -1
			} else {
				m, e = d.plainNumber(f.s, i, fields, timeOnly)
			}
			if e != dtOK {
				return e
			}
		case fString, fSpecial:
			if off, dst, ok := TimeZoneAbbrev(f.s); ok {
				_ = dst
				d.tz, d.hasTZ = -off, true
				m = mTZ
				break
			}
			tok, known := dateTokens[tokenKey(f.s)]
			if !known {
				if d.zone = zoneByName(f.s); d.zone == nil {
					return dtBadFormat
				}
				m = mTZ
				break
			}
			if tok.class == tkIgnore {
				continue
			}
			var e dtErr
			if m, e = d.word(tok, &prefix, timeOnly); e != dtOK {
				return e
			}
		}
		if m&d.mask != 0 {
			return dtBadFormat
		}
		d.mask |= m
	}
	if prefix >= 0 {
		return dtBadFormat
	}
	return dtOK
}

// word decodes a known word.
func (d *decoded) word(tok token, prefix *int, timeOnly bool) (int, dtErr) {
	switch tok.class {
	case tkReserved:
		local, off := d.localNow()
		today := floorDiv64(local, microsPerDay)
		switch tok.val {
		case dtkNow:
			d.Civil = ToCivil(local)
			d.tz, d.hasTZ = -off, true
			if timeOnly {
				return mTimeAll, dtOK
			}
			return mDateAll | mTimeAll | mTZ, dtOK
		case dtkAllballs:
			d.Hour, d.Min, d.Sec, d.Micro = 0, 0, 0, 0
			d.tz, d.hasTZ = 0, true
			return mTimeAll | mTZ, dtOK
		}
		if timeOnly {
			return 0, dtBadFormat
		}
		switch tok.val {
		case dtkYesterday:
			d.setDate(CivilFromDays(today - 1))
			return mDateAll, dtOK
		case dtkToday:
			d.setDate(CivilFromDays(today))
			return mDateAll, dtOK
		case dtkTomorrow:
			d.setDate(CivilFromDays(today + 1))
			return mDateAll, dtOK
		}
		d.kind = tok.val
		return mDateAll | mTimeAll | mTZ, dtOK
	case tkMonth:
		if timeOnly {
			return 0, dtBadFormat
		}
		m := mMonth
		if d.mask&mMonth != 0 && !d.textMonth && d.mask&mDay == 0 && d.Month >= 1 && d.Month <= 31 {
			d.Day, m = d.Month, mDay
		}
		d.textMonth, d.Month = true, tok.val
		return m, dtOK
	case tkDTZMod:
		d.tz -= tok.val
		return mDTZ, dtOK
	case tkAMPM:
		d.mer = tok.val
		return mAMPM, dtOK
	case tkADBC:
		d.bc = tok.val == 1
		return mADBC, dtOK
	case tkDOW:
		if timeOnly {
			return 0, dtBadFormat
		}
		return mDOW, dtOK
	case tkISOTime:
		if !timeOnly && d.mask&mDateAll != mDateAll {
			return 0, dtBadFormat
		}
		fallthrough
	case tkUnits:
		if *prefix >= 0 {
			return 0, dtBadFormat
		}
		*prefix = tok.val
		return 0, dtOK
	}
	return 0, dtBadFormat
}

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

// validate is ValidateDate.
func (d *decoded) validate() dtErr {
	if d.mask&mYear != 0 && !d.isJulian {
		switch {
		case d.bc:
			if d.Year <= 0 {
				return dtFieldOverflow
			}
			d.Year = -(d.Year - 1)
		case d.twoDigits:
			if d.Year < 70 {
				d.Year += 2000
			} else if d.Year < 100 {
				d.Year += 1900
			}
		case d.Year <= 0:
			return dtFieldOverflow
		}
	}
	if d.mask&mDOY != 0 {
		d.setDate(JulianToDate(DateToJulian(d.Year, 1, 1) + d.YDay - 1))
	}
	if d.mask&mMonth != 0 && (d.Month < 1 || d.Month > 12) {
		return dtMDOverflow
	}
	if d.mask&mDay != 0 && (d.Day < 1 || d.Day > 31) {
		return dtMDOverflow
	}
	if d.mask&mDateAll == mDateAll && d.Day > DaysInMonth(d.Year, d.Month) {
		return dtFieldOverflow
	}
	return dtOK
}

func (d *decoded) err(e dtErr, typ, text string) error {
	if e == dtBadZone {
		return pgerr.New(pgerr.InvalidParameterValue, "time zone \"%s\" not recognized", d.zoneErr)
	}
	return dtError(e, typ, text)
}

func parseDateTime(text, typ string, s *Settings) (*decoded, error) {
	fields, e := splitDateTime(text)
	if e != dtOK {
		return nil, dtError(e, typ, text)
	}
	d, e := decodeDateTime(fields, s)
	if e != dtOK {
		return nil, d.err(e, typ, text)
	}
	return d, nil
}

func parseDate(text string, s *Settings) (Datum, error) {
	d, err := parseDateTime(text, "date", s)
	if err != nil {
		return Null, err
	}
	switch d.kind {
	case dtkEpoch:
		return NewDate(-10957), nil
	case dtkLate:
		return NewDate(DateInf), nil
	case dtkEarly:
		return NewDate(DateNegInf), nil
	}
	days := DaysFromCivil(d.Year, d.Month, d.Day)
	if !ValidDate(days) || d.Year < -4713 {
		return Null, pgerr.New(pgerr.DatetimeFieldOverflow, "date out of range: \"%s\"", text)
	}
	return NewDate(days), nil
}

func parseTimestamp(text string, s *Settings) (Datum, error) {
	d, err := parseDateTime(text, "timestamp", s)
	if err != nil {
		return Null, err
	}
	return d.timestamp(text, false)
}

func parseTimestampTZ(text string, s *Settings) (Datum, error) {
	d, err := parseDateTime(text, "timestamp with time zone", s)
	if err != nil {
		return Null, err
	}
	return d.timestamp(text, true)
}

func (d *decoded) timestamp(text string, tz bool) (Datum, error) {
	mk := NewTimestamp
	if tz {
		mk = NewTimestampTZ
	}
	switch d.kind {
	case dtkEpoch:
		return mk(-unixEpochPG * 1e6), nil
	case dtkLate:
		return mk(DateInf), nil
	case dtkEarly:
		return mk(DateNegInf), nil
	}
	v, ok := FromCivil(d.Civil)
	days := DaysFromCivil(d.Year, d.Month, d.Day)
	if tz && days > minDate-2 && days < endTimestamp/microsPerDay+1 {
		v += int64(d.tz) * 1e6
		ok = ValidTimestamp(v)
	}
	if !ok {
		return Null, pgerr.New(pgerr.DatetimeFieldOverflow, "timestamp out of range: \"%s\"", text)
	}
	return mk(v), nil
}

// decodeTimeOnly is DecodeTimeOnly.
func decodeTimeOnly(text, typ string, s *Settings) (*decoded, error) {
	fields, e := splitDateTime(text)
	if e != dtOK {
		return nil, dtError(e, typ, text)
	}
	d := &decoded{kind: dtkDate, mer: 2, set: s}
	if e := d.decodeFields(fields, true); e != dtOK {
		return nil, d.err(e, typ, text)
	}
	if e := d.validate(); e != dtOK {
		return nil, d.err(e, typ, text)
	}
	if e := d.applyMeridian(); e != dtOK {
		return nil, d.err(e, typ, text)
	}
	if timeOverflows(d.Hour, d.Min, d.Sec, d.Micro) {
		return nil, dtError(dtFieldOverflow, typ, text)
	}
	if d.mask&mTimeAll != mTimeAll {
		return nil, dtError(dtBadFormat, typ, text)
	}
	if d.zone != nil || d.mask&mTZ == 0 {
		loc := d.zone
		if loc == nil {
			loc = s.location()
		} else if d.mask&mDateAll != mDateAll {
			if off, _ := offsetAt(loc, 0); !fixedOffset(loc, off) {
				// A zone with daylight saving needs a date to mean an offset.
				return nil, dtError(dtBadFormat, typ, text)
			}
		}
		if d.mask&mDateAll != mDateAll {
			local, _ := d.localNow()
			d.setDate(CivilFromDays(floorDiv64(local, microsPerDay)))
		}
		local := DaysFromCivil(d.Year, d.Month, d.Day)*microsPerDay + int64(d.Hour)*microsPerHour + int64(d.Min)*60000000
		d.tz = -localOffset(loc, local)
	}
	return d, nil
}

// fixedOffset reports whether a zone keeps one offset, judged over the current century's first years.
func fixedOffset(loc *time.Location, off int) bool {
	for m := range 48 {
		if o, _ := offsetAt(loc, int64(m)*180*microsPerDay); o != off {
			return false
		}
	}
	return true
}

func (d *decoded) timeMicros() int64 {
	return int64(d.Hour)*microsPerHour + int64(d.Min)*60000000 + int64(d.Sec)*1000000 + int64(d.Micro)
}

func parseTime(text string, s *Settings) (Datum, error) {
	d, err := decodeTimeOnly(text, "time", s)
	if err != nil {
		return Null, err
	}
	return NewTime(d.timeMicros()), nil
}

func parseTimeTZ(text string, s *Settings) (Datum, error) {
	d, err := decodeTimeOnly(text, "time with time zone", s)
	if err != nil {
		return Null, err
	}
	return NewTimeTZ(&TimeTZ{Micros: d.timeMicros(), OffsetSecs: int32(d.tz)}), nil
}
