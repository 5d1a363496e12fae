package ntpserver

import (
	"testing"
	"time"
)

func FuzzRespond(f *testing.F) {
	f.Add(make([]byte, 48))
	f.Add([]byte{0x23})
	f.Fuzz(func(t *testing.T, req []byte) {
		out, ok := respond(req, Reply{Stratum: 1}, time.Unix(1_800_000_000, 0))
		if ok && (req[0]&7 != 3 || out[0]&7 != 4 || string(out[24:32]) != string(req[40:48])) {
			t.Errorf("%x answered by %x", req, out)
		}
	})
}

func TestShortFormatRoundsUp(t *testing.T) {
	for _, d := range []time.Duration{1, 15258, 15259, 290 * time.Microsecond, time.Second, 70000 * time.Second} {
		back := time.Duration(uint64(ntpShort(d)) * 1e9 >> 16)
		if back < d-time.Microsecond && d < 65536*time.Second {
			t.Errorf("%s became %s", d, back)
		}
	}
}
