package types

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // PostgreSQL carries its own zone data; a node without the system's must too
	"unicode"

	"github.com/meridian-db/meridian/sql/pgerr"
)

//go:embed tzabbrev.txt
var tzAbbrevTable string

//go:embed tznames.txt
var tzNameTable string

type abbrev struct {
	offset int32 // seconds east of Greenwich
	dst    bool
}

var tzAbbrevs = sync.OnceValue(func() map[string]abbrev {
	m := map[string]abbrev{}
	for line := range strings.Lines(tzAbbrevTable) {
		f := strings.Fields(line)
		off, _ := strconv.Atoi(f[1])
		m[strings.ToLower(f[0])] = abbrev{int32(off), f[2] == "1"}
	}
	return m
})

var tzNames = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(tzNameTable) {
		name := strings.TrimSpace(line)
		m[strings.ToLower(name)] = name
	}
	return m
})

// TimeZoneNames returns the names that pg_timezone_names lists.
func TimeZoneNames() []string { return strings.Fields(tzNameTable) }

// TimeZoneAbbrev looks up one of PostgreSQL's default time zone abbreviations.
func TimeZoneAbbrev(name string) (offsetSecs int, dst, ok bool) {
	a, ok := tzAbbrevs()[strings.ToLower(name)]
	return int(a.offset), a.dst, ok
}

var zoneCache sync.Map // lower-case name -> *time.Location; bounded by the zone names

// zoneByName finds a full zone name in any case, nil if there is none. POSIX specifications of a fixed
// offset ("UTC+3", hours west of Greenwich) are taken too.
func zoneByName(name string) *time.Location {
	key := strings.ToLower(name)
	if l, ok := zoneCache.Load(key); ok {
		return l.(*time.Location)
	}
	if proper, ok := tzNames()[key]; ok {
		l, err := time.LoadLocation(proper)
		if err != nil {
			return nil
		}
		zoneCache.Store(key, l)
		return l
	}
	return posixZone(name)
}

func posixZone(name string) *time.Location {
	i := 0
	for i < len(name) && (name[i] >= 'a' && name[i] <= 'z' || name[i] >= 'A' && name[i] <= 'Z') {
		i++
	}
	if strings.HasPrefix(name, "<") {
		if i = strings.IndexByte(name, '>') + 1; i == 0 {
			return nil
		}
	}
	if i < 3 || i == len(name) {
		return nil
	}
	abbr, rest := strings.Trim(name[:i], "<>"), name[i:]
	sign := 1
	if rest[0] == '+' || rest[0] == '-' {
		if rest[0] == '-' {
			sign = -1
		}
		rest = rest[1:]
	}
	if strings.ContainsAny(rest, "<,") || strings.IndexFunc(rest, unicode.IsLetter) >= 0 {
		return posixZoneWithDST(name)
	}
	secs, unit := 0, 3600
	for part := range strings.SplitSeq(rest, ":") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || unit == 0 || n > 167 {
			return nil
		}
		secs += n * unit
		unit /= 60
	}
	return time.FixedZone(strings.ToUpper(abbr), -sign*secs)
}

// posixZoneWithDST makes the zone of a POSIX specification that changes its offset. It hands it to package time as a zone
// file has it, in the footer after the transitions, of which there are none.
func posixZoneWithDST(spec string) *time.Location {
	const header = "TZif2" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	one := "\x00\x00\x00\x01"
	counts := strings.Repeat("\x00", 4*4) + one + one // of them, one offset, whose name is empty
	file := header + strings.Repeat("\x00", 6*4) + header + counts + strings.Repeat("\x00", 6) + "\x00" + "\n" + strings.ToUpper(spec) + "\n"
	l, err := time.LoadLocationFromTZData(spec, []byte(file))
	if err != nil {
		return nil
	}
	for m := time.January; m <= time.December; m++ {
		if time.Date(2000, m, 15, 0, 0, 0, 0, l).IsDST() {
			return l
		}
	}
	return nil // What is wrong in a footer is not reported, and has no effect.
}

// LoadZone reads a value for SET TimeZone: a zone name, or an offset in hours east of Greenwich. It
// returns the location and the name SHOW prints.
func LoadZone(value string) (*time.Location, string, error) {
	bad := func() error {
		return pgerr.New(pgerr.InvalidParameterValue, "invalid value for parameter \"TimeZone\": \"%s\"", value)
	}
	v := trimSpace(value)
	if low := strings.ToLower(v); strings.HasPrefix(low, "interval") {
		v = strings.Trim(v[len("interval"):], " '")
		iv, err := ParseInterval(v, -1, nil)
		if err != nil || iv.Months != 0 || iv.Days != 0 {
			return nil, "", bad()
		}
		return fixedZone(int(iv.Micros / 1e6))
	}
	if h, err := strconv.ParseFloat(v, 64); err == nil {
		if h < -168 || h > 168 {
			return nil, "", bad()
		}
		return fixedZone(int(h * 3600))
	}
	if l := zoneByName(v); l != nil {
		name := v
		if proper, ok := tzNames()[strings.ToLower(v)]; ok {
			name = proper
		}
		return l, name, nil
	}
	return nil, "", bad()
}

// fixedZone names an offset zone as PostgreSQL does: "<+02>-02".
func fixedZone(secs int) (*time.Location, string, error) {
	abs, east, west := secs, "+", "-"
	if secs < 0 {
		abs, east, west = -secs, "-", "+"
	}
	s := pad2(abs / 3600)
	if abs%3600 != 0 {
		s += ":" + pad2(abs/60%60)
		if abs%60 != 0 {
			s += ":" + pad2(abs%60)
		}
	}
	if secs == 0 {
		west = "+"
		east = "+"
	}
	return time.FixedZone(east+s, secs), "<" + east + s + ">" + west + s, nil
}

func pad2(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// ZoneOffset resolves a zone for AT TIME ZONE: an abbreviation or a full name. For an abbreviation loc is
// a fixed zone.
func ZoneOffset(name string) (*time.Location, error) {
	if off, _, ok := TimeZoneAbbrev(name); ok {
		return time.FixedZone(strings.ToUpper(name), off), nil
	}
	if l := zoneByName(name); l != nil {
		return l, nil
	}
	if tz, err := decodeTimezone(name); err == dtOK {
		return time.FixedZone("", -tz), nil
	}
	return nil, pgerr.New(pgerr.InvalidParameterValue, "time zone \"%s\" not recognized", name)
}

// unixEpochPG is 2000-01-01 in Unix seconds.
const unixEpochPG = 946684800

// offsetAt returns the seconds east of Greenwich and the abbreviation at an instant in microseconds.
func offsetAt(loc *time.Location, micros int64) (int, string) {
	if loc == time.UTC {
		return 0, "UTC"
	}
	name, off := time.Unix(floorDiv64(micros, 1e6)+unixEpochPG, 0).In(loc).Zone()
	return off, name
}

// localOffset returns the offset to apply to a local time. A time that a jump forward skips is read with
// the offset before it, one that a jump back repeats with the offset after it.
func localOffset(loc *time.Location, localMicros int64) int {
	if loc == time.UTC {
		return 0
	}
	secs := floorDiv64(localMicros, 1e6) + unixEpochPG
	at := func(s int64) int64 {
		_, off := time.Unix(s, 0).In(loc).Zone()
		return int64(off)
	}
	before, after := at(secs-86400), at(secs+86400)
	if before == after {
		if o := at(secs - before); o != before && at(secs-o) == o {
			return int(o)
		}
		return int(before)
	}
	okBefore, okAfter := at(secs-before) == before, at(secs-after) == after
	if okAfter {
		return int(after)
	}
	if okBefore {
		return int(before)
	}
	return int(before)
}

func floorDiv64(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// LocalMicros converts an instant to local wall-clock microseconds.
func LocalMicros(loc *time.Location, micros int64) int64 {
	off, _ := offsetAt(loc, micros)
	return micros + int64(off)*1e6
}

// UTCMicros converts local wall-clock microseconds to an instant.
func UTCMicros(loc *time.Location, local int64) int64 {
	return local - int64(localOffset(loc, local))*1e6
}
