package builtin

import (
	"regexp"
	"strings"
	"time"

	"github.com/meridian-db/meridian/sql/pgerr"
	"github.com/meridian-db/meridian/sql/types"
)

// isoDatetime are the forms that .datetime() without a template knows: a date, a time, both, each time with
// or without a zone.
var isoDatetime = regexp.MustCompile(`^ *(?:(\d{1,4})-(\d{1,2})-(\d{1,2}))?([ T] *)?(?:(\d{1,2}):(\d{1,2}):(\d{1,2})(\.\d{1,6})?(?: ?([-+]\d{1,2})(?::(\d{1,2}))?)?)?$`)

// datetime is the .datetime() method: it turns a string into a date or time, whose type follows from the
// fields of the template.
func (x *pathExec) datetime(n *types.PathNode, v pathItem, out *pathList) (pathResult, error) {
	if !v.is(types.JSONString) {
		return x.fail(pgerr.InvalidArgumentForSQLJSONDatetimeFunction, "jsonpath item method .%s() can only be applied to a string", "datetime")
	}
	var item pathItem
	var err error
	if n.Left != nil {
		item, err = parseTemplate(v.json.Str, n.Left.Str)
	} else {
		item, err = parseISODatetime(v.json.Str)
	}
	if err != nil {
		if !x.throw {
			err = nil
		}
		return pathFailed, err
	}
	return x.next(n, item, out)
}

func parseISODatetime(s string) (pathItem, error) {
	m := isoDatetime.FindStringSubmatch(s)
	unknown := pgerr.New(pgerr.InvalidArgumentForSQLJSONDatetimeFunction, "datetime format is not recognized: \"%s\"", s).
		WithHint("Use a datetime template argument to specify the input data format.")
	if m == nil {
		return pathItem{}, unknown
	}
	dated, timed, zoned := m[1] != "", m[5] != "", m[9] != ""
	if dated && timed != (m[4] != "") || !dated && (!timed || m[4] != "") {
		return pathItem{}, unknown
	}
	f, t := "", ""
	if dated {
		f, t = "YYYY-MM-DD", m[1]+"-"+m[2]+"-"+m[3]
	}
	if timed {
		f, t = f+" HH24:MI:SS", t+" "+m[5]+":"+m[6]+":"+m[7]
		if m[8] != "" {
			f, t = f+".US", t+m[8]
		}
		if zoned {
			f, t = f+"TZH", t+m[9]
			if m[10] != "" {
				f, t = f+":TZM", t+":"+m[10]
			}
		}
	}
	item, err := parseTemplate(strings.TrimSpace(t), strings.TrimSpace(f))
	if err != nil {
		return pathItem{}, unknown
	}
	return item, nil
}

// parseTemplate reads a string by a template as the SQL standard has it: every character must match.
func parseTemplate(s, template string) (pathItem, error) {
	var dated, timed, zoned bool
	for _, n := range parseDateFormat(template) {
		switch key := strings.ToUpper(n.key); {
		case key == "":
			if c := n.text[0]; !n.quoted && c != ' ' && !isSeparator(c) {
				return pathItem{}, badDateInput("invalid datetime format separator: \"%s\"", n.text)
			}
		case key == "TZ" || key == "OF":
			return pathItem{}, pgerr.Unsupported("formatting field \"%s\" is only supported in to_char", n.key)
		case strings.HasPrefix(key, "TZ"):
			zoned = true
		case strings.HasPrefix(key, "HH"), strings.HasPrefix(key, "MI"), strings.HasPrefix(key, "SS"), strings.HasPrefix(key, "FF"),
			key == "MS", key == "US", key == "AM", key == "PM", key == "A.M.", key == "P.M.":
			timed = true
		case key != "FX":
			dated = true
		}
	}
	r := &dateReader{s: s, nodes: parseDateFormat(template), strict: true}
	p, err := r.read()
	if err != nil {
		return pathItem{}, err
	}
	us, ok := types.FromCivil(p.Civil)
	if dated && (!ok || !types.ValidTimestamp(us)) {
		return pathItem{}, types.ErrTimestampRange()
	}
	clock := ((int64(p.Hour)*60+int64(p.Min))*60+int64(p.Sec))*1e6 + int64(p.Micro)
	missing := func(what string) error {
		return badDateInput("missing time zone in input string for type %s", what)
	}
	switch {
	case dated && timed && zoned:
		if !p.zoned {
			return pathItem{}, missing("timestamptz")
		}
		return pathItem{date: types.NewTimestampTZ(us - int64(p.offset)*1e6), typ: types.TimestampTZ, zone: &p.offset}, nil
	case dated && timed:
		return pathItem{date: types.NewTimestamp(us), typ: types.Timestamp}, nil
	case dated && zoned:
		return pathItem{}, badDateInput("datetime format is zoned but not timed")
	case dated:
		return pathItem{date: types.NewDate(types.DaysFromCivil(p.Year, p.Month, p.Day)), typ: types.Date}, nil
	case timed && zoned:
		if !p.zoned {
			return pathItem{}, missing("timetz")
		}
		return pathItem{date: types.NewTimeTZ(&types.TimeTZ{Micros: clock, OffsetSecs: int32(-p.offset)}), typ: types.TimeTZT}, nil
	case timed:
		return pathItem{date: types.NewTime(clock), typ: types.Time}, nil
	}
	return pathItem{}, badDateInput("datetime format is not dated and not timed")
}

// value turns an item into the JSON that leaves the path.
func (v pathItem) value(ctx *Ctx) *types.JSON {
	if v.json != nil {
		return v.json
	}
	s := *ctx.isoSettings()
	if v.zone != nil {
		s.TimeZone = time.FixedZone("", *v.zone)
	}
	text := string(types.AppendText(nil, v.date, v.typ, &s))
	switch v.typ.OID {
	case types.OIDTimestamp, types.OIDTimestampTZ:
		text = strings.Replace(text, " ", "T", 1)
	}
	if v.typ.OID == types.OIDTimestampTZ || v.typ.OID == types.OIDTimeTZ {
		text = fullZone(text)
	}
	return types.NewJSONString(text)
}

// compareDates compares two dates or times; ok is false for a date against a time.
func (x *pathExec) compareDates(a, b pathItem) (c int, ok bool, err error) {
	if a.typ.OID == b.typ.OID {
		return types.Compare(a.typ, a.date, b.date), true, nil
	}
	isTime := func(t *types.T) bool { return t.OID == types.OIDTime || t.OID == types.OIDTimeTZ }
	if isTime(a.typ) != isTime(b.typ) {
		return 0, false, nil
	}
	// The one with less is brought to the type of the other.
	rank := func(t *types.T) int {
		switch t.OID {
		case types.OIDTimestamp:
			return 1
		case types.OIDTimestampTZ, types.OIDTimeTZ:
			return 2
		}
		return 0
	}
	if rank(a.typ) > rank(b.typ) {
		c, ok, err = x.compareDates(b, a)
		return -c, ok, err
	}
	if rank(b.typ) == 2 && !x.tz {
		return 0, false, pgerr.Unsupported("cannot convert value from %s to %s without time zone usage", a.typ.Name, b.typ.Name).
			WithHint("Use *_tz() function for time zone support.")
	}
	cast, err := ResolveCast(a.typ, b.typ, CastExplicit)
	if err != nil {
		return 0, false, err
	}
	d, err := cast.Eval(x.ctx, a.date)
	if err != nil {
		return 0, false, err
	}
	return types.Compare(b.typ, d, b.date), true, nil
}
