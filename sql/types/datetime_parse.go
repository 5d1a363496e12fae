package types

import (
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
