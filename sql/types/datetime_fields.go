package types

import (
	"strings"

	"github.com/meridian-db/meridian/sql/pgerr"
)

// The parser of date and time input takes the same forms as PostgreSQL's: the text is cut into fields of
// a few kinds, then each field is decoded in the light of those before it.

type dtErr uint8

const (
	dtOK dtErr = iota
	dtBadFormat
	dtFieldOverflow
	dtMDOverflow // probably a month and day in the wrong order
	dtIntervalOverflow
	dtTZOverflow
	dtBadZone
)

func dtError(e dtErr, typ, text string) error {
	switch e {
	case dtFieldOverflow:
		return pgerr.New(pgerr.DatetimeFieldOverflow, "date/time field value out of range: \"%s\"", text)
	case dtMDOverflow:
		return pgerr.New(pgerr.DatetimeFieldOverflow, "date/time field value out of range: \"%s\"", text).
			WithHint("Perhaps you need a different \"datestyle\" setting.")
	case dtIntervalOverflow:
		return pgerr.New(pgerr.IntervalFieldOverflow, "interval field value out of range: \"%s\"", text)
	case dtTZOverflow:
		return pgerr.New(pgerr.InvalidTimeZoneDisplacementValue, "time zone displacement out of range: \"%s\"", text)
	}
	return pgerr.New(pgerr.InvalidDatetimeFormat, "invalid input syntax for type %s: \"%s\"", typ, text)
}

type fieldKind uint8

const (
	fNumber fieldKind = iota
	fString
	fDate
	fTime
	fTZ
	fSpecial
)

type dtField struct {
	kind fieldKind
	s    string
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
func isAlpha(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isAlnum(c byte) bool { return isDigit(c) || isAlpha(c) }
func isPunct(c byte) bool { return c > ' ' && c < 0x7f && !isAlnum(c) }

// splitDateTime is ParseDateTime.
func splitDateTime(text string) ([]dtField, dtErr) {
	var fields []dtField
	i := 0
	at := func() byte {
		if i < len(text) {
			return text[i]
		}
		return 0
	}
	for i < len(text) {
		if isSpace(text[i]) {
			i++
			continue
		}
		start := i
		var kind fieldKind
		c := text[i]
		switch {
		case isDigit(c):
			for isDigit(at()) {
				i++
			}
			switch d := at(); {
			case d == ':':
				kind = fTime
				i++
				for isDigit(at()) || at() == ':' || at() == '.' {
					i++
				}
			case d == '-' || d == '/' || d == '.':
				i++
				if isDigit(at()) {
					kind = fDate
					if d == '.' {
						kind = fNumber
					}
					for isDigit(at()) {
						i++
					}
					if at() == d {
						kind = fDate
						i++
						for isDigit(at()) || at() == d {
							i++
						}
					}
				} else {
					kind = fDate
					for isAlnum(at()) || at() == d {
						i++
					}
				}
			default:
				kind = fNumber
			}
		case c == '.':
			i++
			for isDigit(at()) {
				i++
			}
			kind = fNumber
		case isAlpha(c):
			kind = fString
			for isAlpha(at()) {
				i++
			}
			isDate := false
			switch d := at(); {
			case d == '-' || d == '/' || d == '.':
				isDate = true
			case d == '+' || isDigit(d):
				_, known := dateTokens[tokenKey(text[start:i])]
				isDate = !known
			}
			if isDate {
				kind = fDate
				for {
					i++
					if d := at(); !(d == '+' || d == '-' || d == '/' || d == '_' || d == '.' || d == ':' || isAlnum(d)) {
						break
					}
				}
			}
		case c == '+' || c == '-':
			i++
			for i < len(text) && isSpace(text[i]) {
				i++
			}
			switch {
			case isDigit(at()):
				kind = fTZ
				for isDigit(at()) || at() == ':' || at() == '.' || at() == '-' {
					i++
				}
			case isAlpha(at()):
				kind = fSpecial
				for isAlpha(at()) {
					i++
				}
			default:
				return nil, dtBadFormat
			}
			fields = append(fields, dtField{kind, string(c) + strings.ToLower(strings.TrimLeft(text[start+1:i], " \t\n\r\v\f"))})
			if len(fields) >= 25 {
				return nil, dtBadFormat
			}
			continue
		case isPunct(c):
			i++
			continue
		default:
			return nil, dtBadFormat
		}
		if len(fields) >= 25 {
			return nil, dtBadFormat
		}
		fields = append(fields, dtField{kind, strings.ToLower(text[start:i])})
	}
	return fields, dtOK
}

// Field bits, as in PostgreSQL's DTK_M.
const (
	mMonth = 1 << iota
	mYear
	mDay
	mTZ
	mHour
	mMinute
	mSecond
	mDOY
	mDOW
	mDTZ
	mAMPM
	mADBC
	mReserved
	mDateAll = mYear | mMonth | mDay
	mTimeAll = mHour | mMinute | mSecond
)

type tokenClass uint8

const (
	tkReserved tokenClass = iota
	tkMonth
	tkDOW
	tkAMPM
	tkADBC
	tkUnits
	tkISOTime
	tkIgnore
	tkDTZMod
)

// Values of reserved words and units.
const (
	dtkNow = iota
	dtkToday
	dtkTomorrow
	dtkYesterday
	dtkEpoch
	dtkLate
	dtkEarly
	dtkAllballs
	dtkDate // an ordinary date, as the kind of a decoded value

	unitJulian
	unitTime
	unitOther
)

type token struct {
	class tokenClass
	val   int
}

const tokMaxLen = 10

func tokenKey(s string) string {
	s = strings.ToLower(s)
	if len(s) > tokMaxLen {
		s = s[:tokMaxLen]
	}
	return s
}

var dateTokens = map[string]token{
	"-infinity": {tkReserved, dtkEarly}, "infinity": {tkReserved, dtkLate}, "+infinity": {tkReserved, dtkLate},
	"epoch": {tkReserved, dtkEpoch}, "now": {tkReserved, dtkNow}, "today": {tkReserved, dtkToday},
	"tomorrow": {tkReserved, dtkTomorrow}, "yesterday": {tkReserved, dtkYesterday}, "allballs": {tkReserved, dtkAllballs},
	"ad": {tkADBC, 0}, "bc": {tkADBC, 1}, "am": {tkAMPM, 0}, "pm": {tkAMPM, 1},
	"jan": {tkMonth, 1}, "january": {tkMonth, 1}, "feb": {tkMonth, 2}, "february": {tkMonth, 2}, "mar": {tkMonth, 3},
	"march": {tkMonth, 3}, "apr": {tkMonth, 4}, "april": {tkMonth, 4}, "may": {tkMonth, 5}, "jun": {tkMonth, 6},
	"june": {tkMonth, 6}, "jul": {tkMonth, 7}, "july": {tkMonth, 7}, "aug": {tkMonth, 8}, "august": {tkMonth, 8},
	"sep": {tkMonth, 9}, "sept": {tkMonth, 9}, "september": {tkMonth, 9}, "oct": {tkMonth, 10}, "october": {tkMonth, 10},
	"nov": {tkMonth, 11}, "november": {tkMonth, 11}, "dec": {tkMonth, 12}, "december": {tkMonth, 12},
	"sun": {tkDOW, 0}, "sunday": {tkDOW, 0}, "mon": {tkDOW, 1}, "monday": {tkDOW, 1}, "tue": {tkDOW, 2},
	"tues": {tkDOW, 2}, "tuesday": {tkDOW, 2}, "wed": {tkDOW, 3}, "wednesday": {tkDOW, 3}, "weds": {tkDOW, 3},
	"thu": {tkDOW, 4}, "thur": {tkDOW, 4}, "thurs": {tkDOW, 4}, "thursday": {tkDOW, 4}, "fri": {tkDOW, 5},
	"friday": {tkDOW, 5}, "sat": {tkDOW, 6}, "saturday": {tkDOW, 6},
	"at": {tkIgnore, 0}, "on": {tkIgnore, 0}, "d": {tkUnits, unitOther}, "h": {tkUnits, unitOther},
	"m": {tkUnits, unitOther}, "mm": {tkUnits, unitOther}, "y": {tkUnits, unitOther}, "s": {tkUnits, unitOther},
	"dow": {tkUnits, unitOther}, "doy": {tkUnits, unitOther}, "isodow": {tkUnits, unitOther}, "isoyear": {tkUnits, unitOther},
	"j": {tkUnits, unitJulian}, "jd": {tkUnits, unitJulian}, "julian": {tkUnits, unitJulian}, "t": {tkISOTime, unitTime},
	"dst": {tkDTZMod, 3600},
}
