package core

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// legName is what a client knows a connection by: whose it is, and what it carries.
type legName struct {
	owner  UserID
	stream Stream
}

// leg is the connection that has a name now.
type leg struct {
	Leg
	seat  *seat // the owner's
	state legState
	waits *Ref // the request that media has yet to settle
}

// legState is how far the two sides have come.
type legState int

const (
	legAsked   legState = iota // media makes an answer, or an offer
	legOffered                 // the client has media's offer
	legSettled                 // an answer was given, by either side
)

// newLeg names a connection, asked for by ref, that takes the place of any other of
// its name.
func (r *room) newLeg(owner *seat, st Stream, ref Ref) Leg {
	name, limits := legName{owner.User, st}, r.hub.limits
	if old := r.legs[name]; old != nil {
		r.remove(old)
	}
	owner.legs++
	owner.candidates = min(owner.candidates+limits.Candidates, (owner.legs+1)*limits.Candidates)
	r.lastLeg++
	l := &leg{Leg: Leg{Owner: owner.User, Stream: st, N: r.lastLeg}, seat: owner, waits: &ref}
	r.legs[name] = l
	return l.Leg
}

// mayConnect refuses a connection more, if the member has too many, or there is no
// media.
func (r *room) mayConnect(me *seat, st Stream) error {
	if r.media == nil {
		return Errorf(MediaFailed, "there is no media in room %s", r.id)
	}
	spare := r.hub.limits.SpareLegs
	if spare > 0 && me.legs >= len(r.seats)+spare && r.legs[legName{me.User, st}] == nil {
		return over(Legs, "too many connections of one member")
	}
	return nil
}

// remove forgets a leg that ends.
func (r *room) remove(l *leg) {
	delete(r.legs, legName{l.Owner, l.Stream})
	l.seat.legs--
	r.giveUp(l)
}

// giveUp answers the request that waits for a leg which has ended: every request is
// answered.
func (r *room) giveUp(l *leg) {
	if l.waits != nil {
		r.tell(l.seat, Reply{Ref: *l.waits, Err: &Error{Code: MediaFailed, Msg: "the connection has ended"}})
		l.waits = nil
	}
}

// current gives the leg that an event of the plane is about, unless it was dropped
// or replaced meanwhile: a client must hear nothing of a connection it has given
// up, nor of somebody it was told has left.
func (r *room) current(of Leg) *leg {
	if l := r.legs[legName{of.Owner, of.Stream}]; l != nil && l.N == of.N {
		return l
	}
	return nil
}

func (r *room) dropLegs(which func(Leg) bool) {
	for _, l := range r.legsInOrder() {
		if which(l.Leg) {
			r.media.Drop(l.Leg)
			r.remove(l)
		}
	}
}

func (r *room) legsInOrder() []*leg {
	return slices.SortedFunc(maps.Values(r.legs), func(a, b *leg) int { return cmp.Compare(a.N, b.N) })
}

// offer makes a connection for the sender's own stream or for another's, which
// need not be published yet.
func (r *room) offer(me *seat, ref Ref, c Offer) (Result, error) {
	if r.mode != SFU {
		return nil, Errorf(WrongMode, "members of room %s connect among themselves", r.id)
	}
	if _, err := r.other(c.Stream.User); err != nil {
		return nil, err
	}
	if err := r.mayConnect(me, c.Stream); err != nil {
		return nil, err
	}
	if c.Stream.User == me.User && c.Stream.Source == Screen {
		if err := r.takeLock(me, ScreenShare); err != nil {
			return nil, err
		}
	}
	l := r.newLeg(me, c.Stream, ref)
	l.Renews = l.Up() && me.renews
	r.media.Accept(l, ref, c.SDP)
	return nil, nil
}

func (r *room) subscribe(me *seat, ref Ref, c Subscribe) (Result, error) {
	if r.mode != SFU {
		return nil, Errorf(WrongMode, "members of room %s connect among themselves", r.id)
	}
	if _, err := r.other(c.Stream.User); err != nil {
		return nil, err
	}
	if !slices.Contains(r.feeds, c.Stream) || c.Stream.User == me.User {
		return nil, Errorf(NoSuchStream, "%s sends no %s", c.Stream.User, c.Stream.Source)
	}
	if err := r.mayConnect(me, c.Stream); err != nil {
		return nil, err
	}
	r.media.Offer(r.newLeg(me, c.Stream, ref), ref, c.Video, c.Audio)
	return nil, nil
}

func (r *room) answer(me *seat, ref Ref, c Answer) (Result, error) {
	if r.mode != SFU {
		return nil, Errorf(WrongMode, "members of room %s connect among themselves", r.id)
	}
	l := r.legs[legName{me.User, c.Stream}]
	switch {
	case l == nil || l.state == legAsked:
		return nil, Errorf(NoSuchStream, "no offer was made for %s of %s", c.Stream.Source, c.Stream.User)
	case l.state == legSettled:
		return Done{}, nil // a second answer changes nothing
	}
	l.state, l.waits = legSettled, &ref
	r.media.Answer(l.Leg, ref, c.SDP)
	return nil, nil
}

func (r *room) trickle(me *seat, c Trickle) (Result, error) {
	switch {
	case r.mode == Mesh && c.Body == nil:
		return nil, Errorf(WrongMode, "members of room %s connect among themselves", r.id)
	case r.mode == Mesh:
		return Done{}, r.pass(me, c.To, CandidatePassed{r.id, me.User, c.To, c.Body})
	}
	if _, err := r.other(c.Stream.User); err != nil {
		return nil, err
	}
	if r.hub.limits.Candidates > 0 {
		if me.candidates == 0 {
			return nil, over(Candidates, "too many candidates")
		}
		me.candidates--
	}
	if r.media != nil {
		r.media.Trickle(me.User, c.Stream, c.Candidate)
	}
	return Done{}, nil
}

// heard takes news from the media plane.
func (r *room) heard(e MediaEvent) {
	switch e := e.(type) {
	case Accepted:
		if l := r.settle(e.Leg, Answered{r.id, e.Leg.Stream, e.Answer}, e.Err); l != nil {
			l.state = legSettled
			r.found(l, e.Candidates)
		}
	case Ready:
		if l := r.settle(e.Leg, Offered{r.id, e.Leg.Stream, e.Offer}, e.Err); l != nil {
			l.state = legOffered
			r.found(l, e.Candidates)
		}
	case Settled:
		r.settle(e.Leg, Done{}, e.Err)
	case Connected:
		r.connected(e.Leg)
	case Flowing:
		if s := r.byUser[e.Leg.Owner]; r.current(e.Leg) != nil && !e.Leg.Up() && !s.media {
			s.media = true
			r.hub.watch.FirstPacket(time.Since(s.joined))
		}
	case Failed:
		if l := r.current(e.Leg); l != nil {
			r.failed(l, e.Cause)
		}
	case Talked:
		if r.byUser[e.User] != nil {
			r.talks(e.User, e.On)
			r.tellOthers(nil, Speaking{r.id, e.User, e.On})
		}
	}
}

// talks keeps who talks, for newcomers.
func (r *room) talks(u UserID, on bool) {
	if on {
		r.talking[u] = true
	} else {
		delete(r.talking, u)
	}
}

// settle replies to the request that waits for a leg, and gives the leg if it lives
// on.
func (r *room) settle(of Leg, result Result, err error) *leg {
	l := r.current(of)
	if l == nil || l.waits == nil {
		return nil
	}
	reply := Reply{Ref: *l.waits, Result: result}
	l.waits = nil
	if err != nil {
		reply.Result, reply.Err = nil, &Error{Code: MediaFailed, Msg: "the connection could not be made", Cause: err}
		r.tell(l.seat, reply)
		r.failed(l, err)
		return nil
	}
	r.tell(l.seat, reply)
	return l
}

func (r *room) found(l *leg, candidates []Candidate) {
	for _, c := range candidates {
		r.tell(l.seat, Found{r.id, l.Stream, c})
	}
}

// connected announces a stream once its sender's connection is up. One that takes
// the place of another is no news.
func (r *room) connected(of Leg) {
	if r.current(of) == nil || !of.Up() || slices.Contains(r.feeds, of.Stream) {
		return
	}
	r.feeds = append(r.feeds, of.Stream)
	me := r.byUser[of.Owner]
	r.tellOthers(me, FeedsAdded{r.id, []Feed{{r.member(me), of.Stream.Source}}})
}

func (r *room) failed(l *leg, cause error) {
	r.remove(l)
	r.hub.watch.LegFailed(r.id, l.Leg, cause)
	if l.Up() {
		r.dropFeed(l.Stream)
	}
}

// dropFeed withdraws a stream whose sender is still here.
func (r *room) dropFeed(st Stream) {
	if i := slices.Index(r.feeds, st); i >= 0 {
		r.feeds = slices.Delete(r.feeds, i, i+1)
		r.tellOthers(r.byUser[st.User], FeedRemoved{r.id, st})
	}
}

func (r *room) feedsNewTo(me *seat) []Feed {
	var feeds []Feed
	for _, st := range r.feeds {
		if s := r.byUser[st.User]; s != nil && s != me {
			feeds = append(feeds, Feed{r.member(s), st.Source})
		}
	}
	return feeds
}
