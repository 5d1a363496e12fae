package throttle

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{})
		mallory, ann := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("192.0.2.1")
		guesses := 0
		attempt := func(addr netip.Addr, role string) bool {
			if l.Wait(addr, role) > 0 {
				return false
			}
			l.Failed(addr, role)
			guesses++
			return true
		}
		for range 1000 {
			attempt(mallory, "postgres")
		}
		if guesses != 10 {
			t.Errorf("%d guesses at once, want 10", guesses)
		}
		// From then on one in six seconds, under whatever names.
		guesses = 0
		for i := range 3600 {
			time.Sleep(time.Second)
			attempt(mallory, fmt.Sprint("role", i))
		}
		if guesses < 599 || guesses > 601 {
			t.Errorf("%d guesses in an hour, want 600", guesses)
		}
		if w := l.Wait(ann, "ann"); w != 0 {
			t.Errorf("another address waits %s", w)
		}
		if l.Refused() == 0 {
			t.Error("nothing was counted as refused")
		}
		// A right password clears the slate of the address.
		for range 9 {
			l.Failed(ann, "ann")
		}
		l.Succeeded(ann, "ann")
		for range 9 {
			l.Failed(ann, "ann")
		}
		if w := l.Wait(ann, "ann"); w != 0 {
			t.Errorf("waits %s", w)
		}
	})
}

// TestManyAddresses: guesses at one role from everywhere are slowed down, and do not lock its owner out.
func TestManyAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{MaxEntries: 1000})
		home := netip.MustParseAddr("2001:db8::1")
		l.Succeeded(home, "ann")
		guesses := 0
		for i := range 1 << 16 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
			if l.Wait(addr, "ann") == 0 {
				l.Failed(addr, "ann")
				guesses++
			}
		}
		if guesses != 100 {
			t.Errorf("%d guesses, want 100", guesses)
		}
		if w := l.Wait(netip.MustParseAddr("2001:db8::2"), "ann"); w != 0 {
			t.Errorf("the owner, in the network she logged in from, waits %s", w)
		}
		if l.Wait(netip.MustParseAddr("2001:db9::2"), "ann") == 0 {
			t.Error("another network does not wait")
		}
		if w := l.Wait(netip.MustParseAddr("2001:db9::2"), "bob"); w != 0 {
			t.Errorf("another role waits %s", w)
		}
	})
}

// TestBounded: whoever has many addresses fills no memory, and does not wash himself clean by it.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(Config{MaxEntries: 500, PerRole: 1 << 30})
		bad := netip.MustParseAddr("198.51.100.7")
		for range 100 {
			l.Failed(bad, "x")
		}
		for i := range 20000 {
			addr := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			l.Failed(addr, fmt.Sprint(i))
			l.Succeeded(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), "y")
		}
		if len(l.addresses) > 500 || len(l.roles) > 500 || len(l.known) > 500 {
			t.Errorf("%d addresses, %d roles, %d known logins", len(l.addresses), len(l.roles), len(l.known))
		}
		if l.Wait(bad, "x") == 0 {
			t.Error("the worst address was forgotten")
		}
	})
}
