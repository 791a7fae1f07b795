package media

import (
	"strings"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// farewells are connections that ended while the client may still believe in them.
// Its checks are answered with an error that revokes consent (RFC 7675 section 5.2):
// browsers notice within seconds and can connect anew, rather than wait for half a
// minute for an answer.
type farewells struct {
	mu  sync.Mutex
	all map[string]farewell // by ufrag; guarded by mu
}

type farewell struct {
	integrity stun.MessageIntegrity
	until     time.Time
}

const (
	// farewellTime is how long checks are answered: by then, a client that has not
	// heard it has given up by itself.
	farewellTime = 30 * time.Second
	maxFarewells = 10000
)

func (f *farewells) add(k *link, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = make(map[string]farewell)
	}
	if len(f.all) < maxFarewells {
		f.all[k.ufrag] = farewell{k.integrity, now.Add(farewellTime)}
	}
}

// forget lets go of those whose time is over.
func (f *farewells) forget(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ufrag, e := range f.all {
		if now.After(e.until) {
			delete(f.all, ufrag)
		}
	}
}

// answer makes of a check the answer to it. It reports false when the check is not
// authentic, or is of no connection that has ended of late.
func (f *farewells) answer(m *stun.Message) bool {
	name, err := m.Get(stun.AttrUsername)
	if err != nil {
		return false
	}
	ufrag, _, _ := strings.Cut(string(name), ":")
	f.mu.Lock()
	e, ok := f.all[ufrag]
	f.mu.Unlock()
	if !ok || e.integrity.Check(m) != nil {
		return false
	}
	id := m.TransactionID
	return m.Build(stun.NewTransactionIDSetter(id), stun.BindingError, stun.CodeForbidden, e.integrity, stun.Fingerprint) == nil
}
