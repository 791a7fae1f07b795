package media

import (
	"errors"
	"log/slog"
	"sync"

	"confgate/core"
)

var (
	errNoLeg = errors.New("there is no such connection")
)

// name is what one leg at a time is known by.
type name struct {
	owner  core.UserID
	stream core.Stream
}

func nameOf(l core.Leg) name { return name{l.Owner, l.Stream} }

// room implements [core.Media].
type room struct {
	plane   *Plane
	log     *slog.Logger
	options core.MediaOptions
	menu    menu
	tell    func(core.MediaEvent)
	replies queue // to what concerns no leg

	mu     sync.Mutex
	closed bool                  // guarded by mu
	legs   map[name]*leg         // guarded by mu
	feeds  map[core.Stream]*feed // guarded by mu
	common common                // guarded by mu
}

// Accept implements [core.Media].
func (r *room) Accept(id core.Leg, ref core.Ref, offer string) {
	read := readDownOffer
	if id.Up() {
		read = readUpOffer
	}
	d, err := read(offer, r.menu.all)
	if err != nil {
		r.end(nameOf(id), func(*leg) bool { return true })
		r.reply(core.Accepted{Leg: id, Ref: ref, Err: err})
		return
	}
	l := r.renegotiated(id, d)
	if l == nil {
		l = r.replace(id, d)
	}
	if l == nil {
		r.reply(core.Accepted{Leg: id, Ref: ref, Err: errClosed})
		return
	}
	r.see(id, d)
	l.do(func() { l.accept(id, ref, d) })
}

// Offer implements [core.Media].
func (r *room) Offer(id core.Leg, ref core.Ref, video, audio bool) {
	l := r.replace(id, nil)
	if l == nil {
		r.reply(core.Ready{Leg: id, Ref: ref, Err: errClosed})
		return
	}
	l.do(func() { l.offer(ref, video, audio) })
}

// Answer implements [core.Media].
func (r *room) Answer(id core.Leg, ref core.Ref, answer string) {
	l := r.find(id)
	if l == nil {
		r.reply(core.Settled{Leg: id, Ref: ref, Err: errNoLeg})
		return
	}
	l.do(func() { l.answer(ref, answer) })
}

// Trickle implements [core.Media]. There is nothing to do: the client reaches the
// plane's one address, and by that the plane learns the client's (a peer-reflexive
// candidate, RFC 8445 section 7.3.1.3). What it only names is not probed, since it
// may be anybody's address, nor is a name looked up; the same goes for candidates
// in an SDP (see readSDP).
func (r *room) Trickle(core.UserID, core.Stream, core.Candidate) {}

// Drop implements [core.Media].
func (r *room) Drop(id core.Leg) {
	r.end(nameOf(id), func(l *leg) bool { return l.n == id.N })
}

// Close implements [core.Media].
func (r *room) Close() {
	r.mu.Lock()
	r.closed = true
	for key, l := range r.legs {
		r.leave(key)
		l.end()
	}
	r.mu.Unlock()
	r.plane.forget(r)
}

func (r *room) reply(e core.MediaEvent) { r.replies.post(func() { r.tell(e) }) }

// renegotiated gives the leg whose connection d is about, under its new number; nil
// when there is none.
func (r *room) renegotiated(id core.Leg, d *description) *leg {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.legs[nameOf(id)]
	if l == nil || l.client == nil || !l.client.isSame(d) {
		return nil
	}
	l.n, l.renews, l.client = id.N, id.Renews, d.identity()
	return l
}

// replace makes a leg in the place of its predecessor, if there is one, and in its guise
// where an answer may be taken for that to another offer. d is the client's offer, nil
// where the server is to make it. The leg is nil when the room is closed.
func (r *room) replace(id core.Leg, d *description) *leg {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	key, g := nameOf(id), newGuise()
	at := g.access.ufrag
	if old := r.legs[key]; old != nil {
		if d != nil && !id.Up() {
			g = old.guise
			at = g.access.ufrag + ":" + d.ufrag
		}
		old.end()
	}
	f := r.feeds[id.Stream]
	if f == nil {
		f = newFeed()
		r.feeds[id.Stream] = f
	}
	f.legs++
	l := newLeg(r, f, id, g, at)
	l.client = d.identity()
	r.legs[key] = l
	return l
}

func (r *room) find(id core.Leg) *leg {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.legs[nameOf(id)]; l != nil && l.n == id.N {
		return l
	}
	return nil
}

// see takes note of what a member can take or send.
func (r *room) see(id core.Leg, d *description) {
	r.mu.Lock()
	unfit := r.learn(direction(id), d)
	r.mu.Unlock()
	askFit(unfit)
}

// settled notes who the client of a leg that we offered to is.
func (r *room) settled(l *leg, d *description) {
	r.mu.Lock()
	l.client = d.identity()
	unfit := r.learn(l.dir, d)
	r.mu.Unlock()
	askFit(unfit)
}

// end ends the leg of that name if it is the one meant.
func (r *room) end(key name, meant func(*leg) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.legs[key]; l != nil && meant(l) {
		r.leave(key)
		l.end()
	}
}

// remove takes l, which ends by itself, from the room and gives the name that it
// goes by; ok is false when somebody has ended it already.
func (r *room) remove(l *leg) (id core.Leg, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.legs[l.name] != l {
		return core.Leg{}, false
	}
	r.leave(l.name)
	return core.Leg{Owner: l.name.owner, Stream: l.name.stream, N: l.n, Renews: l.renews}, true
}

// release gives up a leg's share in its feed.
func (r *room) release(l *leg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.feed.legs--; l.feed.legs == 0 && r.feeds[l.name.stream] == l.feed {
		delete(r.feeds, l.name.stream)
	}
}
