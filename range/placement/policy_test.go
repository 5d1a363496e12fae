package placement

import (
	"reflect"
	"testing"
)

func TestSpanPolicyEncoding(t *testing.T) {
	want := SpanPolicy{Start: []byte{3, 1}, End: []byte{3, 2}, Policy: Policy{Name: "eu", Regions: []string{"a", "b"}, Replicas: 5, Leaders: []string{"b"}, Global: true}}
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []SpanPolicy{{Start: []byte{3}, End: []byte{3}}, {End: []byte{1}, Policy: Policy{Replicas: 2}}, {End: []byte{1}, Policy: Policy{Replicas: -1}}} {
		if _, err := bad.Encode(); err == nil {
			t.Errorf("%+v was encoded", bad)
		}
	}
	if _, err := Decode([]byte("{")); err == nil {
		t.Error("half a record was decoded")
	}
}

func TestSet(t *testing.T) {
	s := NewSet([]SpanPolicy{
		{Start: []byte("k"), End: []byte("p"), Policy: Policy{Name: "inner"}},
		{Start: []byte("a"), End: []byte("z"), Policy: Policy{Name: "outer"}},
		{Start: []byte{0x01}, End: []byte{0xff}, Policy: Policy{Name: "all"}},
	})
	for key, want := range map[string]string{"": "", "\x01": "all", "a": "outer", "jz": "outer", "k": "inner", "oz": "inner", "p": "outer", "z": "all", "\xff": ""} {
		if got := s.At([]byte(key)).Name; got != want {
			t.Errorf("%q has policy %q, not %q", key, got, want)
		}
	}
	for _, c := range [][3]string{{"\x01", "\x03", ""}, {"\x03", "\xff", "a"}, {"a", "k", ""}, {"a", "l", "k"}, {"k", "z", "p"}, {"k", "p", ""}} {
		if got := s.Boundary([]byte(c[0]), []byte(c[1])); string(got) != c[2] {
			t.Errorf("in [%q,%q) a boundary at %q, not %q", c[0], c[1], got, c[2])
		}
	}
	var none *Set
	if none.Boundary([]byte("a"), []byte("z")) != nil || none.At([]byte("a")).Name != "" || none.Hash() != 0 || s.Hash() == 0 {
		t.Error("no set, or its hash")
	}
}
