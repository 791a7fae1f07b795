package core

import "time"

// missSpan is the time over which failed attempts count.
const missSpan = 10 * time.Minute

// maxMissers is of how many users a hub remembers misses.
const maxMissers = 10_000

// misses counts how often somebody asked in vain for what they may not know of.
type misses struct {
	n     int
	since time.Time
}

// tooMany reports whether there have been most in the span.
func (m *misses) tooMany(most int) bool {
	return most > 0 && m.n >= most && time.Since(m.since) < missSpan
}

func (m *misses) add() {
	if time.Since(m.since) >= missSpan {
		*m = misses{since: time.Now()}
	}
	m.n++
}

// errMisses refuses without a look: the answer says nothing of what is there.
func errMisses() error { return over(Misses, "too many failed attempts; try again later") }

// seek gives a room by its id. Who asks for too many that are not there is not told
// any more which are. Called with mu held.
func (h *Hub) seek(p *person, id RoomID) (*room, error) {
	m := h.missed[p.key]
	if m != nil && m.tooMany(h.limits.Misses) {
		return nil, errMisses()
	}
	if r := h.rooms[roomKey{p.key.tenant, id}]; r != nil {
		return r, nil
	}
	if m == nil {
		m = &misses{}
		h.forgetMisses()
		h.missed[p.key] = m
	}
	m.add()
	return nil, Errorf(NoSuchRoom, "no room %s", id)
}

// forgetMisses lets go of what counts no more, now and then, and makes place for one
// user more. Called with mu held.
func (h *Hub) forgetMisses() {
	if full := len(h.missed) >= maxMissers; !full && time.Since(h.swept) < missSpan {
		return
	}
	h.swept = time.Now()
	for key, m := range h.missed {
		if time.Since(m.since) >= missSpan {
			delete(h.missed, key)
		}
	}
	for key := range h.missed { // all are fresh: somebody is forgotten
		if len(h.missed) < maxMissers {
			return
		}
		delete(h.missed, key)
	}
}
