package types

import "testing"

func TestSmoke(t *testing.T) {
	for _, c := range []struct{ typ, in, out string }{
		{"int4", " 42 ", "42"}, {"numeric", "1.50e2", "150"}, {"numeric(5,2)", "123.456", "123.46"}, {"float8", "1e15", "1e+15"},
		{"float8", "0.1", "0.1"}, {"float8", "123456789012345", "123456789012345"}, {"float4", "1234567", "1.234567e+06"},
		{"date", "2024-02-29", "2024-02-29"}, {"timestamptz", "2024-01-01 12:00:00+02", "2024-01-01 10:00:00+00"},
		{"interval", "1 day -2:03:04.5", "1 day -02:03:04.5"}, {"int4[]", "{1,NULL,3}", "{1,NULL,3}"}, {"jsonb", `{"b":1,"a":[1,2.0,"x"]}`, `{"a": [1, 2.0, "x"], "b": 1}`},
		{"varchar(3)", "abc  ", "abc"}, {"char(4)", "ab", "ab  "}, {"uuid", "{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"time", "3:04:05.6 pm", "15:04:05.6"}, {"timestamp", "Jan 5 2020 3 PM", "x"},
	} {
		ty, err := ParseTypeName(c.typ)
		if err != nil {
			t.Error(err)
			continue
		}
		d, err := ParseText(c.in, ty, nil)
		if err != nil {
			t.Log(c, err)
			continue
		}
		if got := string(AppendText(nil, d, ty, nil)); got != c.out {
			t.Errorf("%v: %s", c, got)
		}
	}
}
