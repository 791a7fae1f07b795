package auth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"confgate/core"
)

// ThrottleConfig says how many wrong proofs are looked at.
type ThrottleConfig struct {
	Failures       int           // from one address in a Window; 0: 10
	TenantFailures int           // for one tenant in a Window; 0: 10, below 0: any number
	Window         time.Duration // 0: 30 minutes

	// Delay is what each attempt waits when there were too many failures, but people
	// of that tenant came in from that address lately. So one of a school's pupils
	// cannot lock out the others; 0: 3 s.
	Delay time.Duration
}

// Bounds of a throttle's memory.
const (
	maxSources   = 1 << 14        // addresses; as many tenants, and known pairs of both
	stayKnownFor = 24 * time.Hour // at least, and twice that at most
)

// Throttle keeps those who guess from being told whether they are right. It counts
// proofs that were compared and found wrong: by address, IPv6 by the /64 that one
// customer has, and by the tenant that was named, whether there is such a tenant or
// not. Attempts that are under way count as failures until they have ended, so that
// guessing in parallel gains nothing.
type Throttle struct {
	config ThrottleConfig

	// Guarded by mu, as are the sources.
	mu        sync.Mutex
	addresses *lru[netip.Prefix, *source]
	tenants   *lru[tenantKey, *source]
	known     *acquaintances
}

// tenantKey is the hash of a tenant's name, which may be as long as a client likes.
type tenantKey [sha256.Size]byte

// source is where guesses come from, or what they are for. There is one while attempts
// are under way or failures count.
type source struct {
	failures []time.Time   // of the last Window, the oldest first
	attempts int           // that have it
	pending  int           // of them, those that are judged
	settled  chan struct{} // closed when one of them ends; nil: nobody waits
}

// NewThrottle makes one that has seen nobody.
func NewThrottle(c ThrottleConfig) *Throttle {
	c.Failures, c.TenantFailures = cmp.Or(c.Failures, 10), cmp.Or(c.TenantFailures, 10)
	c.Window, c.Delay = cmp.Or(c.Window, 30*time.Minute), cmp.Or(c.Delay, 3*time.Second)
	return &Throttle{
		config:    c,
		addresses: newLRU[netip.Prefix, *source](maxSources),
		tenants:   newLRU[tenantKey, *source](maxSources),
		known:     newAcquaintances(),
	}
}

// Before makes an Authorizer that does not let everything through to next.
func (t *Throttle) Before(next core.Authorizer) core.Authorizer { return throttled{t, next} }

type throttled struct {
	throttle *Throttle
	next     core.Authorizer
}

// Authorize lets c through to next, late, or not at all.
func (t throttled) Authorize(ctx context.Context, c core.Credentials) (g core.Grant, err error) {
	a := t.throttle.attempt(c)
	defer a.leave()
	if err := a.begin(ctx); err != nil {
		return core.Grant{}, err
	}
	err = refuse(OtherReason, "never judged") // if a bug ends it
	defer func() { a.end(err) }()
	return t.next.Authorize(ctx, c)
}

// attempt is one client's, from before it is judged until after.
type attempt struct {
	*Throttle
	who     acquaintance
	sources []bounded // those whose failures count against it
	held    bool      // it is pending in its sources
}

// bounded is a source, and how many failures it may have.
type bounded struct {
	*source
	most int
}

func (t *Throttle) attempt(c core.Credentials) *attempt {
	who := acquaintance{address: network(c.Remote)}
	if c.Tenant != "" {
		who.tenant = sha256.Sum256([]byte(c.Tenant))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &attempt{Throttle: t, who: who, sources: []bounded{{sourceOf(t.addresses, who.address), t.config.Failures}}}
	if c.Tenant != "" && t.config.TenantFailures > 0 {
		a.sources = append(a.sources, bounded{sourceOf(t.tenants, who.tenant), t.config.TenantFailures})
	}
	for _, s := range a.sources {
		s.attempts++
	}
	return a
}

// leave lets go of what the attempt has, and forgets what counts no more: of its own
// sources, and of those that were not asked for the longest.
func (a *attempt) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sources {
		s.attempts--
	}
	before := time.Now().Add(-a.config.Window)
	forget(a.addresses, a.who.address, before)
	forget(a.tenants, a.who.tenant, before)
}

// forget lets go of a source, and of the oldest two, if nothing of them counts.
func forget[K comparable](all *lru[K, *source], key K, before time.Time) {
	forgetOne(all, key, before)
	for range 2 {
		if oldest, ok := all.oldest(); ok {
			forgetOne(all, oldest, before)
		}
	}
}

func forgetOne[K comparable](all *lru[K, *source], key K, before time.Time) {
	if s, ok := all.peek(key); ok && s.isIdle(before) {
		all.remove(key)
	}
}

// sourceOf finds a source, or makes it.
func sourceOf[K comparable](all *lru[K, *source], key K) *source {
	s, ok := all.get(key)
	if !ok {
		s = new(source)
		all.put(key, s)
	}
	return s
}

// begin waits until the attempt may be judged, or refuses it.
func (a *attempt) begin(ctx context.Context) error {
	for {
		full, busy, known := a.look()
		switch {
		case full && known:
			return wait(ctx, time.After(a.config.Delay))
		case full:
			return refuse(Throttled, "too many failures before this")
		case busy == nil:
			return nil
		}
		if err := wait(ctx, busy); err != nil {
			return err
		}
	}
}

func wait[T any](ctx context.Context, until <-chan T) error {
	select {
	case <-until:
		return nil
	case <-ctx.Done():
		return refuse(Throttled, "gone while it had to wait")
	}
}

// look tells whether there were too many failures, or may have been once what is
// under way has ended; then the channel tells when. Otherwise the attempt is held.
func (a *attempt) look() (full bool, busy <-chan struct{}, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for _, s := range a.sources {
		s.forget(now.Add(-a.config.Window))
		full = full || len(s.failures) >= s.most
	}
	if full {
		return true, nil, a.known.has(a.who, now)
	}
	for _, s := range a.sources {
		if len(s.failures)+s.pending >= s.most {
			if s.settled == nil {
				s.settled = make(chan struct{})
			}
			return false, s.settled, false
		}
	}
	for _, s := range a.sources {
		s.pending++
	}
	a.held = true
	return false, nil, false
}

// end takes down what became of the attempt.
func (a *attempt) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for _, s := range a.sources {
		if isGuess(err) {
			s.fail(now, s.most)
		}
		if a.held {
			s.release()
		}
	}
	if err == nil {
		a.known.add(a.who, now)
	}
}

func (s *source) forget(before time.Time) {
	for len(s.failures) > 0 && s.failures[0].Before(before) {
		s.failures = s.failures[1:]
	}
}

// isIdle reports whether nothing of it counts.
func (s *source) isIdle(before time.Time) bool {
	s.forget(before)
	return s.attempts == 0 && len(s.failures) == 0
}

// fail notes a failure. More than the most that count are not kept.
func (s *source) fail(now time.Time, most int) {
	if len(s.failures) >= most {
		s.failures = s.failures[1:]
	}
	s.failures = append(s.failures, now)
}

func (s *source) release() {
	s.pending--
	if s.settled != nil {
		close(s.settled)
		s.settled = nil
	}
}

// network gives what an address is counted as: itself, or the /64 of IPv6. Those
// that cannot be read count as one.
func network(remote string) netip.Prefix {
	at, err := netip.ParseAddr(remote)
	if port, portErr := netip.ParseAddrPort(remote); portErr == nil {
		at, err = port.Addr(), nil
	}
	if err != nil {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	at = at.Unmap().WithZone("")
	bits := 32
	if at.Is6() {
		bits = 64
	}
	p, err := at.Prefix(bits)
	if err != nil {
		return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	return p
}
