package relay

import (
	"net/netip"
	"sync"
	"time"

	"confgate/core"
)

// holder names whose an allocation is.
type holder struct {
	tenant core.TenantID
	user   core.UserID
}

// account is what one user has of the relay. There is none for who has nothing.
type account struct {
	flow flow

	// Guarded by books.mu.
	allocations int
	peers       map[netip.AddrPort]time.Time // when they were asked for last
	offline     time.Time                    // when the user was first seen to be gone; zero: is here
}

// books keep what each user has, and how much that may be.
type books struct {
	most     int // allocations, in all
	mostEach int // allocations, of one user
	rate     int // bytes a second of one user, both ways; 0: no limit

	// Guarded by mu.
	mu       sync.Mutex
	accounts map[holder]*account
	total    int // allocations
}

const (
	// maxPeers bounds what one user's permissions and channels take. A mesh of 25
	// people with five addresses each has 120.
	maxPeers = 256
	// peerLasts is how long a permission stays, and a channel, after it was asked for
	// last (RFC 8656, sections 9 and 12: at least five minutes, and ten).
	peerLasts = 10 * time.Minute
	// goneLasts is how long an allocation may be refreshed for a user who is gone:
	// who has lost their connection comes back to a call that goes on.
	goneLasts = 2 * time.Minute
)

func newBooks(most, mostEach, rate int) *books {
	return &books{most: most, mostEach: mostEach, rate: rate, accounts: make(map[holder]*account)}
}

// room reports whether h may have another allocation.
func (b *books) room(h holder) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hasRoom(h)
}

// hasRoom is called with mu held.
func (b *books) hasRoom(h holder) bool {
	a := b.accounts[h]
	return b.total < b.most && (a == nil || a.allocations < b.mostEach)
}

// take gives h one more allocation; nil if that is one too many.
func (b *books) take(h holder) *account {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.hasRoom(h) {
		return nil
	}
	a := b.accounts[h]
	if a == nil {
		a = &account{peers: make(map[netip.AddrPort]time.Time), flow: flow{rate: b.rate}}
		b.accounts[h] = a
	}
	a.allocations++
	b.total++
	return a
}

// give takes back what take gave.
func (b *books) give(h holder) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.total--
	if a := b.accounts[h]; a != nil {
		if a.allocations--; a.allocations == 0 {
			delete(b.accounts, h)
		}
	}
}

// allocations counts them all.
func (b *books) allocations() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

// note reports whether h may have permissions for these peers.
func (b *books) note(h holder, peers []netip.AddrPort) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[h]
	if a == nil {
		return true // Pion's server says that there is no allocation
	}
	now := time.Now()
	for _, p := range peers {
		if _, known := a.peers[p]; !known && len(a.peers) >= maxPeers {
			a.forget(now)
			if len(a.peers) >= maxPeers {
				return false
			}
		}
		a.peers[p] = now
	}
	return true
}

// forget drops peers whose permissions have ended.
func (a *account) forget(now time.Time) {
	for p, at := range a.peers {
		if now.Sub(at) > peerLasts {
			delete(a.peers, p)
		}
	}
}

// lingers reports whether h, who is online or not, may keep what they have.
func (b *books) lingers(h holder, online func(core.TenantID, core.UserID) bool) bool {
	here := online(h.tenant, h.user)
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.accounts[h]
	switch {
	case a == nil:
		return true // Pion's server says that there is no allocation
	case here:
		a.offline = time.Time{}
	case a.offline.IsZero():
		a.offline = time.Now()
	default:
		return time.Since(a.offline) <= goneLasts
	}
	return true
}

// flow bounds the bytes a second of one user.
type flow struct {
	rate int // 0: no limit

	// Guarded by mu.
	mu   sync.Mutex
	left float64 // bytes
	at   time.Time
}

// smallestBurst lets a key frame through whatever the rate is.
const smallestBurst = 64 << 10

// pass reports whether n more bytes are within the bound.
func (f *flow) pass(n int) bool {
	if f.rate == 0 {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	most := float64(max(f.rate, smallestBurst))
	f.left = min(most, f.left+now.Sub(f.at).Seconds()*float64(f.rate))
	f.at = now
	if f.left < float64(n) {
		return false
	}
	f.left -= float64(n)
	return true
}
