package media

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"
)

// answerCheck answers a connectivity check (RFC 8445 section 7.3) that proves to
// come from a client of ours, and nothing else: whoever does not know a leg's
// password gets no byte. m is scratch.
func (p *Plane) answerCheck(b []byte, from path, m *stun.Message, now time.Time) {
	m.Raw = append(m.Raw[:0], b...)
	if m.Decode() != nil || m.Type != stun.BindingRequest {
		p.stats.strangers.Add(1)
		return // nothing more is read of it: m may have kept parts of the message before
	}
	at := p.asks(m)
	k := at.link
	if k == nil && p.farewells.answer(m) {
		from.send(m.Raw)
		return
	}
	if k == nil {
		p.stats.strangers.Add(1)
		return
	}
	var err error
	id, nominated := m.TransactionID, holds(m, stun.AttrUseCandidate)
	if holds(m, stun.AttrICEControlled) {
		// We are lite, so it is the client who is controlling.
		err = m.Build(stun.NewTransactionIDSetter(id), stun.BindingError, stun.CodeRoleConflict, at.integrity, stun.Fingerprint)
		if err == nil {
			from.send(m.Raw)
		}
		return
	}
	mapped := stun.XORMappedAddress{IP: from.to.Addr().WithZone("").AsSlice(), Port: int(from.to.Port())}
	err = m.Build(stun.NewTransactionIDSetter(id), stun.BindingSuccess, &mapped, at.integrity, stun.Fingerprint)
	if err != nil {
		return
	}
	from.send(m.Raw)
	if !k.asked.add(id) {
		return // sent again by the client, or by somebody who has read it on its way
	}
	if from.stream != nil {
		p.streams.met(from.stream)
	}
	k.check(from, nominated, now)
}

// transactions are the latest of a client's checks, by their ids: so that a check
// counts once, and whoever has read one can neither have the route moved to where
// they send it from, nor keep alive who is gone. All checks of some minutes are
// remembered; browsers send one every 2.5 s. It may be used by several goroutines.
type transactions struct {
	ids  [64]atomic.Uint64 // the first bytes; 0: none
	next atomic.Uint32
}

// add reports whether a transaction is new, and remembers it.
func (t *transactions) add(id [stun.TransactionIDSize]byte) bool {
	short := max(binary.BigEndian.Uint64(id[:]), 1)
	for i := range t.ids {
		if t.ids[i].Load() == short {
			return false
		}
	}
	t.ids[(t.next.Add(1)-1)%uint32(len(t.ids))].Store(short)
	return true
}

// holds reports whether a message has an attribute that its integrity covers; what
// follows that anybody may have added (RFC 8489 section 14.5).
func holds(m *stun.Message, t stun.AttrType) bool {
	for _, a := range m.Attributes {
		switch a.Type {
		case t:
			return true
		case stun.AttrMessageIntegrity:
			return false
		}
	}
	return false
}

// asks finds out what a check is for; that is nothing when it is none that counts.
func (p *Plane) asks(m *stun.Message) door {
	name, err := m.Get(stun.AttrUsername)
	if err != nil {
		return door{}
	}
	at := p.links.named(string(name))
	if at.link == nil || at.integrity.Check(m) != nil || m.Contains(stun.AttrFingerprint) && stun.Fingerprint.Check(m) != nil {
		return door{}
	}
	return at
}
