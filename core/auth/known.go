package auth

import (
	"hash/maphash"
	"net/netip"
	"time"
)

// acquaintance is an address from which people of a tenant came in.
type acquaintance struct {
	address netip.Prefix
	tenant  tenantKey
}

// acquaintances are those of late, in two generations of which the old one is forgotten
// when the young one is full or has its time. Of each there is but a hash, with a seed
// that nobody knows: a few bytes, however many people come and go.
type acquaintances struct {
	seed       maphash.Seed
	young, old map[uint64]struct{}
	began      time.Time // the young generation
}

func newAcquaintances() *acquaintances {
	return &acquaintances{seed: maphash.MakeSeed(), young: make(map[uint64]struct{})}
}

// add notes that somebody came in.
func (a *acquaintances) add(who acquaintance, now time.Time) {
	a.age(now)
	a.young[a.hash(who)] = struct{}{}
	if len(a.young) >= maxSources/2 {
		a.turn(now)
	}
}

// has reports whether somebody came in of late.
func (a *acquaintances) has(who acquaintance, now time.Time) bool {
	a.age(now)
	h := a.hash(who)
	_, young := a.young[h]
	_, old := a.old[h]
	return young || old
}

func (a *acquaintances) hash(who acquaintance) uint64 { return maphash.Comparable(a.seed, who) }

// age forgets those whose time is over.
func (a *acquaintances) age(now time.Time) {
	switch passed := now.Sub(a.began); {
	case passed >= 2*stayKnownFor:
		a.turn(now)
		a.turn(now)
	case passed >= stayKnownFor:
		a.turn(now)
	}
}

func (a *acquaintances) turn(now time.Time) {
	a.old, a.young, a.began = a.young, make(map[uint64]struct{}), now
}

func (a *acquaintances) len() int { return len(a.young) + len(a.old) }
