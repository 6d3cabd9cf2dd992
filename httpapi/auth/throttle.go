package auth

import (
	"net/netip"
	"sync"
	"time"
)

const (
	firstPause = time.Second
	longest    = 15 * time.Minute // pause, and how long a failure is remembered after the last one
	maxTracked = 20_000           // keys that one throttle remembers
)

// A Throttle slows down whoever keeps failing: after a number of failures each
// further one is followed by a pause twice as long, from a second to fifteen
// minutes. It forgets a key fifteen minutes after its last pause has ended, so
// nobody is locked out for ever. The counts are those of this node.
type Throttle struct {
	free int // failures without a pause
	now  func() time.Time

	mu   sync.Mutex // guards keys
	keys map[string]failures
}

type failures struct {
	count int
	until time.Time // no try before that
}

// NewThrottle returns a throttle that allows that many failures without a pause.
func NewThrottle(free int, now func() time.Time) *Throttle {
	return &Throttle{free: free, now: now, keys: map[string]failures{}}
}

// Wait is how long the key has to wait before its next try; zero where it may
// try now.
func (t *Throttle) Wait(key string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.keys[key].until.Sub(t.now()))
}

// Fail notes a failure of the key.
func (t *Throttle) Fail(key string) {
	now := t.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	f, tracked := t.keys[key]
	if tracked && now.Sub(f.until) > longest {
		f = failures{}
	}
	if !tracked && len(t.keys) >= maxTracked {
		t.forget(now)
	}
	f.count++
	f.until = now.Add(pause(f.count - t.free))
	t.keys[key] = f
}

// pause is how long to wait after the n-th failure that is not free any more.
func pause(n int) time.Duration {
	if n < 0 {
		return 0
	}
	return min(longest, firstPause<<min(n, 20))
}

// Succeed forgets the failures of the key.
func (t *Throttle) Succeed(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.keys, key)
}

// forget makes room: keys whose time has passed go, and where there are none,
// the one that would be free again first.
func (t *Throttle) forget(now time.Time) {
	var soonest string
	var at time.Time
	for key, f := range t.keys {
		if now.Sub(f.until) > longest {
			delete(t.keys, key)
		} else if soonest == "" || f.until.Before(at) {
			soonest, at = key, f.until
		}
	}
	if len(t.keys) >= maxTracked {
		delete(t.keys, soonest)
	}
}

// Network is the part of an address (host:port) that one customer usually has:
// an IPv4 address, or the /64 of an IPv6 address.
func Network(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ip.String()
	}
	return p.String()
}
