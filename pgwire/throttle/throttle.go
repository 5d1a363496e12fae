// Package throttle slows down those who guess passwords. It counts failed logins by address, and by role over all
// addresses, in buckets that refill with time; who has emptied one is refused before a password is looked at.
//
// An address from which a role has logged in is known for that role: attempts from elsewhere never lock it out. All
// memory is bounded, whatever the number of addresses.
package throttle

import (
	"cmp"
	"net/netip"
	"sync"
	"time"
)

// Config configures a Limiter. A zero field takes the default named in its comment.
type Config struct {
	Now        func() time.Time // Default time.Now.
	PerAddress int              // Failures in a row that an address has free. Default 10.
	PerRole    int              // Failures that a role has free over addresses it is not known at. Default 100.
	Refill     time.Duration    // How long it takes until another failure is free. Default 6s.
	MaxEntries int              // Of each kind. Default 16384.
}

// Limiter is safe for concurrent use.
type Limiter struct {
	cfg Config

	mu        sync.Mutex
	addresses map[netip.Prefix]*bucket
	roles     map[string]*bucket
	known     map[login]time.Time // when it logged in last
	refused   uint64
}

type login struct {
	addr netip.Prefix
	role string
}

// bucket counts failures that have not been forgiven yet, as of a time.
type bucket struct {
	failures float64
	at       time.Time
}

// maxDebt bounds, in multiples of what is free, how much a storm of parallel failures is remembered for.
const maxDebt = 10

// New returns a limiter that has seen nothing.
func New(cfg Config) *Limiter {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.PerAddress = cmp.Or(cfg.PerAddress, 10)
	cfg.PerRole = cmp.Or(cfg.PerRole, 100)
	cfg.Refill = cmp.Or(cfg.Refill, 6*time.Second)
	cfg.MaxEntries = cmp.Or(cfg.MaxEntries, 16384)
	return &Limiter{cfg: cfg, addresses: map[netip.Prefix]*bucket{}, roles: map[string]*bucket{}, known: map[login]time.Time{}}
}

// network is what one client can easily have addresses of: one of IPv4, a /64 of IPv6.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // the zero Prefix for the zero Addr, of sockets without addresses
	return p
}

// Wait returns how long an address must wait before it may try to log in as a role, zero when it may now.
func (l *Limiter) Wait(addr netip.Addr, role string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, p := l.cfg.Now(), network(addr)
	wait := l.over(l.addresses[p], l.cfg.PerAddress, now)
	if _, known := l.known[login{p, role}]; !known {
		wait = max(wait, l.over(l.roles[role], l.cfg.PerRole, now))
	}
	if wait > 0 {
		l.refused++
	}
	return wait
}

// over returns how long it takes until a bucket has room for a failure.
func (l *Limiter) over(b *bucket, free int, now time.Time) time.Duration {
	if b == nil {
		return 0
	}
	left := b.failures - now.Sub(b.at).Seconds()/l.cfg.Refill.Seconds()
	if left <= float64(free-1) {
		return 0
	}
	return max(time.Duration((left-float64(free-1))*float64(l.cfg.Refill)), time.Millisecond)
}

// Failed notes a failed login.
func (l *Limiter) Failed(addr netip.Addr, role string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, p := l.cfg.Now(), network(addr)
	add(l, l.addresses, p, l.cfg.PerAddress, now)
	if _, known := l.known[login{p, role}]; !known {
		add(l, l.roles, role, l.cfg.PerRole, now)
	}
}

func add[K comparable](l *Limiter, m map[K]*bucket, key K, free int, now time.Time) {
	b := m[key]
	if b == nil {
		makeRoom(l, m, now)
		b = &bucket{at: now}
		m[key] = b
	}
	b.failures = max(0, b.failures-now.Sub(b.at).Seconds()/l.cfg.Refill.Seconds())
	b.failures = min(b.failures+1, float64(free*maxDebt))
	b.at = now
}

// makeRoom forgets what has been forgiven and, if that is not enough, the smallest of some: whoever fills the table
// with fresh addresses cannot push himself out by it.
func makeRoom[K comparable](l *Limiter, m map[K]*bucket, now time.Time) {
	if len(m) < l.cfg.MaxEntries {
		return
	}
	var least K
	found := false
	var fewest float64
	seen := 0
	for k, b := range m { // some of them, in no order
		left := b.failures - now.Sub(b.at).Seconds()/l.cfg.Refill.Seconds()
		if left <= 0 {
			delete(m, k)
			continue
		}
		if !found || left < fewest {
			least, fewest, found = k, left, true
		}
		if seen++; seen >= 64 && len(m) >= l.cfg.MaxEntries {
			break
		}
	}
	if len(m) >= l.cfg.MaxEntries && found {
		delete(m, least)
	}
}

// Succeeded notes a login: what the address had failed at is forgiven.
func (l *Limiter) Succeeded(addr netip.Addr, role string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := network(addr)
	delete(l.addresses, p)
	key := login{p, role}
	if _, ok := l.known[key]; !ok && len(l.known) >= l.cfg.MaxEntries {
		var oldest login
		var at time.Time
		seen := 0
		for k, t := range l.known {
			if at.IsZero() || t.Before(at) {
				oldest, at = k, t
			}
			if seen++; seen >= 64 {
				break
			}
		}
		delete(l.known, oldest)
	}
	l.known[key] = l.cfg.Now()
}

// Refused returns how many attempts were refused.
func (l *Limiter) Refused() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}
