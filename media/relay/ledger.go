package relay

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// What strangers are answered. A packet's source can be made up, so that whoever is
// at that address would get the answer. They get no more than answerRatio times
// what was sent in their name. Some answers a second are lent, so that whoever comes
// for the first time need not ask twice.
const (
	answerRatio = 1.5
	lentAnswers = 64
	mostCredit  = 4096 // bytes that one may save up
	ledgerSize  = 4096
)

// ledger keeps what was received from whom, and not yet answered. It has a fixed
// size: people who share an account share what is in it.
type ledger struct {
	seed maphash.Seed

	// Guarded by mu.
	mu     sync.Mutex
	credit [ledgerSize]float64 // bytes that may be answered
	lent   int                 // answers, in this second
	second int64
}

func newLedger() *ledger { return &ledger{seed: maphash.MakeSeed()} }

func (l *ledger) account(of netip.Addr) *float64 {
	return &l.credit[maphash.Comparable(l.seed, of)%ledgerSize]
}

// earn notes that n bytes came from somebody.
func (l *ledger) earn(from netip.Addr, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(from)
	*a = min(*a+answerRatio*float64(n), mostCredit)
}

// spend reports whether n bytes may be answered.
func (l *ledger) spend(to netip.Addr, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(to)
	if *a < float64(n) && !l.lends(*a) {
		return false
	}
	*a -= float64(n)
	return true
}

// lends reports whether somebody may be answered before they have sent enough.
// Called with mu held.
func (l *ledger) lends(credit float64) bool {
	if now := time.Now().Unix(); now != l.second {
		l.second, l.lent = now, 0
	}
	if credit < 0 || l.lent >= lentAnswers {
		return false
	}
	l.lent++
	return true
}
