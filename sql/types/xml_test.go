package types

import "testing"

func TestXMLDeclaration(t *testing.T) {
	for in, want := range map[string]string{
		`<a/>`:                         `<a/>`,
		`<?xml version="1.0"?><a/>`:    `<a/>`,
		"<?xml version='1.0' ?>\n<a/>": `<a/>`,
		`<?xml version="1.0" encoding="ISO-8859-1"?><a/>`: `<a/>`,
		`<?xml version="1.1"?><a/>`:                       `<?xml version="1.1"?><a/>`,
		`<?xml version="1.0" standalone="yes"?><a/>`:      `<?xml version="1.0" standalone="yes"?><a/>`,
		`<?xml version="1.0"?>`:                           ``,
	} {
		d := NewString(in)
		if got := string(AppendText(nil, d, XML, nil)); got != want {
			t.Errorf("%s in text: %s", in, got)
		}
		if got, err := AppendBinary(nil, d, XML, nil); err != nil || string(got) != want {
			t.Errorf("%s in binary: %s, %v", in, got, err)
		}
	}
}
