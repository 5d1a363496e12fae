package builtin

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// dateKeywords are the keywords of date templates, longest first; each is taken in upper and lower case,
// names of days and months capitalised too.
var dateKeywords = func() []string {
	k := strings.Fields("A.D. A.M. AD AM B.C. BC CC DAY DDD DD DY Day Dy D FF1 FF2 FF3 FF4 FF5 FF6 FX HH24 HH12 HH IDDD ID IW IYYY IYY IY I J MI MM MONTH MON MS Month Mon OF P.M. PM Q RM SSSSS SSSS SS TZH TZM TZ US WW W Y,YYY YYYY YYY YY Y")
	for _, s := range k[:len(k):len(k)] {
		if low := strings.ToLower(s); strings.ToUpper(s) == s {
			k = append(k, low)
		}
	}
	sort.SliceStable(k, func(i, j int) bool { return len(k[i]) > len(k[j]) })
	return k
}()

// parseDateFormat cuts a date template. Prefixes FM and TM and suffixes TH belong to one keyword.
func parseDateFormat(f string) []formatNode {
	match := func(s string) int {
		start := 0
		for len(s) > start+1 {
			if p := strings.ToUpper(s[start : start+2]); (p == "FM" || p == "TM") && (s[start:start+2] == p || s[start:start+2] == strings.ToLower(p)) {
				start += 2
				continue
			}
			break
		}
		for _, k := range dateKeywords {
			if strings.HasPrefix(s[start:], k) {
				n := start + len(k)
				if len(s) >= n+2 && (s[n:n+2] == "TH" || s[n:n+2] == "th") {
					n += 2
				}
				if len(s) >= n+2 && s[n:n+2] == "SP" {
					n += 2
				}
				return n
			}
		}
		return start
	}
	nodes := splitFormat(f, match)
	for i := range nodes {
		n := &nodes[i]
		for len(n.key) > 2 && (strings.EqualFold(n.key[:2], "FM") || strings.EqualFold(n.key[:2], "TM")) {
			// Names from the locale are not padded.
			n.fm = n.fm || strings.EqualFold(n.key[:2], "FM") || strings.EqualFold(n.key[2:], "MONTH") || strings.EqualFold(n.key[2:], "DAY")
			n.key = n.key[2:]
		}
		n.key = strings.TrimSuffix(n.key, "SP")
		if k := len(n.key); k > 2 && (n.key[k-2:] == "TH" || n.key[k-2:] == "th") && !strings.EqualFold(n.key, "MONTH") {
			n.suffix, n.key = n.key[k-2:], n.key[:k-2]
		}
	}
	return nodes
}

var (
	longMonths = []string{"January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"}
	longDays   = []string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"}
	romanMonth = []string{"XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"}
)

// dateParts is what a date template prints.
type dateParts struct {
	types.Civil
	interval bool
	zone     string
	offset   int // seconds east
	zoned    bool
}

func (p *dateParts) year(y int) int {
	if !p.interval && y <= 0 {
		return 1 - y
	}
	return y
}

// caseLike gives s the case of a keyword: all upper, capitalised or all lower.
func caseLike(key, s string) string {
	switch {
	case key == strings.ToUpper(key):
		return strings.ToUpper(s)
	case key == strings.ToLower(key):
		return strings.ToLower(s)
	}
	return s
}

func formatDate(p *dateParts, f string) (string, error) {
	var b strings.Builder
	for _, n := range parseDateFormat(f) {
		if n.key == "" {
			b.WriteString(n.text)
			continue
		}
		s, err := p.keyword(n)
		if err != nil {
			return "", err
		}
		b.WriteString(s)
		if n.suffix != "" && s != "" {
			b.WriteString(ordinal(s, n.suffix == "TH"))
		}
	}
	return b.String(), nil
}

func (p *dateParts) keyword(n formatNode) (string, error) {
	num := func(v, width int) (string, error) {
		if n.fm {
			width = 0
		} else if v < 0 {
			width++
		}
		return fmt.Sprintf("%0*d", width, v), nil
	}
	name := func(s string) (string, error) {
		s = caseLike(n.key, s)
		if !n.fm {
			s += strings.Repeat(" ", max(0, 9-len(s)))
		}
		return s, nil
	}
	invalid := pgerr.New(pgerr.InvalidDatetimeFormat, "invalid format specification for an interval value").
		WithHint("Intervals are not tied to specific calendar dates.")
	hour := p.Hour
	k := strings.ToUpper(n.key)
	switch k {
	case "A.M.", "P.M.", "AM", "PM":
		s := "am"
		if h := hour % 24; h >= 12 {
			s = "pm"
		}
		if len(k) == 4 {
			s = s[:1] + "." + s[1:] + "."
		}
		return caseLike(n.key, s), nil
	case "HH", "HH12":
		h := hour % 12
		if h == 0 {
			h = 12
		}
		return num(h, 2)
	case "HH24":
		return num(hour, 2)
	case "MI":
		return num(p.Min, 2)
	case "SS":
		return num(p.Sec, 2)
	case "MS", "FF3":
		return fmt.Sprintf("%03d", p.Micro/1000), nil
	case "US", "FF6":
		return fmt.Sprintf("%06d", p.Micro), nil
	case "FF1", "FF2", "FF4", "FF5":
		w := int(k[2] - '0')
		v := p.Micro
		for range 6 - w {
			v /= 10
		}
		return fmt.Sprintf("%0*d", w, v), nil
	case "SSSS", "SSSSS":
		return strconv.Itoa(hour*3600 + p.Min*60 + p.Sec), nil
	case "FX":
		return "", nil
	}
	if k == "TZ" || k == "TZH" || k == "TZM" || k == "OF" {
		if p.interval {
			return "", invalid
		}
		off, sign := p.offset, "+"
		if off < 0 {
			off, sign = -off, "-"
		}
		switch k {
		case "TZ":
			return caseLike(n.key, p.zone), nil
		case "TZH":
			return fmt.Sprintf("%s%02d", sign, off/3600), nil
		case "TZM":
			return fmt.Sprintf("%02d", off/60%60), nil
		}
		s := fmt.Sprintf("%s%02d", sign, off/3600)
		if n.fm {
			s = fmt.Sprintf("%s%d", sign, off/3600)
		}
		if off%3600 != 0 {
			s += fmt.Sprintf(":%02d", off/60%60)
		}
		return s, nil
	}
	switch k {
	case "A.D.", "B.C.", "AD", "BC":
		if p.interval {
			return "", invalid
		}
		s := "ad"
		if p.Year <= 0 {
			s = "bc"
		}
		if len(k) == 4 {
			s = s[:1] + "." + s[1:] + "."
		}
		return caseLike(n.key, s), nil
	case "MONTH", "MON":
		if p.interval {
			return "", invalid
		}
		if p.Month == 0 {
			return "", nil
		}
		s := longMonths[p.Month-1]
		if k == "MON" {
			return caseLike(n.key, s[:3]), nil
		}
		return name(s)
	case "MM":
		return num(p.Month, 2)
	case "DAY", "DY":
		if p.interval {
			return "", invalid
		}
		s := longDays[p.WDay]
		if k == "DY" {
			return caseLike(n.key, s[:3]), nil
		}
		return name(s)
	case "DDD":
		return num(p.YDay, 3)
	case "IDDD":
		y, w := isoWeek(p.Year, p.Month, max(p.Day, 1))
		_ = y
		wd := p.WDay
		if wd == 0 {
			wd = 7
		}
		return num((w-1)*7+wd, 3)
	case "DD":
		if n.fm {
			return strconv.Itoa(p.Day), nil
		}
		return fmt.Sprintf("%02d", p.Day), nil
	case "D":
		if p.interval {
			return "", invalid
		}
		return strconv.Itoa(p.WDay + 1), nil
	case "ID":
		if p.interval {
			return "", invalid
		}
		if p.WDay == 0 {
			return "7", nil
		}
		return strconv.Itoa(p.WDay), nil
	case "WW":
		return num((p.YDay-1)/7+1, 2)
	case "IW":
		_, w := isoWeek(p.Year, p.Month, p.Day)
		return num(w, 2)
	case "Q":
		if p.Month == 0 {
			return "", nil
		}
		return strconv.Itoa((p.Month-1)/3 + 1), nil
	case "CC":
		c := p.Year / 100
		if !p.interval {
			c = int(century(p.Year))
		}
		if c <= 99 && c >= -99 {
			return num(c, 2)
		}
		return strconv.Itoa(c), nil
	case "Y,YYY":
		y := p.year(p.Year)
		return fmt.Sprintf("%d,%03d", y/1000, y%1000), nil
	case "YYYY":
		return num(p.year(p.Year), 4)
	case "YYY":
		return num(p.year(p.Year)%1000, 3)
	case "YY":
		return num(p.year(p.Year)%100, 2)
	case "Y":
		return num(p.year(p.Year)%10, 1)
	case "IYYY", "IYY", "IY", "I":
		y, _ := isoWeek(p.Year, p.Month, max(p.Day, 1))
		y = p.year(y)
		switch k {
		case "IYY":
			return num(y%1000, 3)
		case "IY":
			return num(y%100, 2)
		case "I":
			return num(y%10, 1)
		}
		return num(y, 4)
	case "RM":
		if p.Month == 0 && p.Year == 0 {
			return "", nil
		}
		i := 12 - p.Month
		switch {
		case p.Month == 0 && p.Year >= 0:
			i = 0
		case p.Month == 0:
			i = 11
		case p.Month < 0:
			i = -(p.Month + 1)
		}
		s := caseLike(n.key, romanMonth[i])
		if !n.fm {
			s += strings.Repeat(" ", 4-len(s))
		}
		return s, nil
	case "W":
		return strconv.Itoa((p.Day-1)/7 + 1), nil
	case "J":
		return strconv.Itoa(types.DateToJulian(p.Year, p.Month, p.Day)), nil
	}
	return "", nil
}

func registerDateFormat(l library) {
	l.fn("timestamp_to_char", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[1].Str() == "" || types.IsInfinite(a[0].Int()) {
			return types.Null, nil
		}
		return str(formatDate(&dateParts{Civil: types.ToCivil(a[0].Int())}, a[1].Str()))
	})
	l.fn("timestamptz_to_char", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		us := a[0].Int()
		if a[1].Str() == "" || types.IsInfinite(us) {
			return types.Null, nil
		}
		name, off := time.UnixMicro(us + 946684800*1e6).In(c.location()).Zone()
		return str(formatDate(&dateParts{Civil: types.ToCivil(us + int64(off)*1e6), zone: name, offset: off, zoned: true}, a[1].Str()))
	})
	l.fn("interval_to_char", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		if a[1].Str() == "" {
			return types.Null, nil
		}
		iv := a[0].Interval()
		us := iv.Micros
		p := &dateParts{interval: true}
		p.Year, p.Month, p.Day = int(iv.Months/12), int(iv.Months%12), int(iv.Days)
		p.Hour, p.Min, p.Sec, p.Micro = int(us/microsPerHour), int(us/60000000%60), int(us/1000000%60), int(us%1000000)
		p.YDay = int(iv.Months)*30 + int(iv.Days)
		return str(formatDate(p, a[1].Str()))
	})
	l.fn("to_timestamp", func(c *Ctx, a []types.Datum) (types.Datum, error) {
		p, err := parseDate(a[0].Str(), a[1].Str())
		if err != nil {
			return types.Null, err
		}
		local, ok := types.FromCivil(p.Civil)
		if !ok {
			return types.Null, types.ErrTimestampRange()
		}
		if p.zoned {
			return types.NewTimestampTZ(local - int64(p.offset)*1e6), nil
		}
		return types.NewTimestampTZ(types.UTCMicros(c.location(), local)), nil
	})
	l.fn("to_date", func(_ *Ctx, a []types.Datum) (types.Datum, error) {
		p, err := parseDate(a[0].Str(), a[1].Str())
		if err != nil {
			return types.Null, err
		}
		days := types.DaysFromCivil(p.Year, p.Month, p.Day)
		if !types.ValidDate(days) {
			return types.Null, pgerr.New(pgerr.DatetimeFieldOverflow, "date out of range: \"%s\"", a[0].Str())
		}
		return types.NewDate(days), nil
	})
}
