package core

import (
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
	settled bool // an answer was given, by either side
}

// newLeg names a connection that takes the place of any other of its name.
func (r *room) newLeg(owner UserID, st Stream) Leg {
	r.lastLeg++
	l := &leg{Leg: Leg{Owner: owner, Stream: st, N: r.lastLeg}}
	r.legs[legName{owner, st}] = l
	return l.Leg
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
	for name, l := range r.legs {
		if which(l.Leg) {
			delete(r.legs, name)
			r.media.Drop(l.Leg)
		}
	}
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
	if c.Stream.User == me.User && c.Stream.Source == Screen {
		if err := r.takeLock(me, ScreenShare); err != nil {
			return nil, err
		}
	}
	r.media.Accept(r.newLeg(me.User, c.Stream), ref, c.SDP)
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
	r.media.Offer(r.newLeg(me.User, c.Stream), ref, c.Video, c.Audio)
	return nil, nil
}

func (r *room) answer(me *seat, ref Ref, c Answer) (Result, error) {
	if r.mode != SFU {
		return nil, Errorf(WrongMode, "members of room %s connect among themselves", r.id)
	}
	l := r.legs[legName{me.User, c.Stream}]
	switch {
	case l == nil:
		return nil, Errorf(NoSuchStream, "no offer was made for %s of %s", c.Stream.Source, c.Stream.User)
	case l.settled:
		return Done{}, nil // a second answer changes nothing
	}
	l.settled = true
	r.media.Answer(l.Leg, ref, c.SDP)
	return nil, nil
}

func (r *room) trickle(me *seat, c Trickle) (Result, error) {
	if r.mode == Mesh {
		return Done{}, r.pass(me, c.To, CandidatePassed{r.id, me.User, c.To, c.Body})
	}
	if _, err := r.other(c.Stream.User); err != nil {
		return nil, err
	}
	r.media.Trickle(me.User, c.Stream, c.Candidate)
	return Done{}, nil
}

// heard takes news from the media plane.
func (r *room) heard(e MediaEvent) {
	switch e := e.(type) {
	case Accepted:
		if l := r.settle(e.Leg, e.Ref, Answered{r.id, e.Leg.Stream, e.Answer}, e.Err); l != nil {
			l.settled = true
			r.found(l, e.Candidates)
		}
	case Ready:
		if l := r.settle(e.Leg, e.Ref, Offered{r.id, e.Leg.Stream, e.Offer}, e.Err); l != nil {
			r.found(l, e.Candidates)
		}
	case Settled:
		r.settle(e.Leg, e.Ref, Done{}, e.Err)
	case Connected:
		r.connected(e.Leg)
	case Flowing:
		if s := r.byUser[e.Leg.Owner]; r.current(e.Leg) != nil && !e.Leg.Up() && !s.media {
			s.media = true
			r.hub.watch.FirstPacket(time.Since(s.joined))
		}
	case Failed:
		if l := r.current(e.Leg); l != nil {
			r.failed(l.Leg, e.Cause)
		}
	case Talked:
		if r.byUser[e.User] != nil {
			r.tellOthers(nil, Speaking{r.id, e.User, e.On})
		}
	}
}

// settle replies to what made leg, and gives it if it lives on.
func (r *room) settle(of Leg, ref Ref, result Result, err error) *leg {
	l := r.current(of)
	if l == nil {
		return nil
	}
	if err != nil {
		r.tell(r.byUser[of.Owner], Reply{Ref: ref, Err: &Error{Code: MediaFailed, Msg: "the connection could not be made", Cause: err}})
		r.failed(of, err)
		return nil
	}
	r.tell(r.byUser[of.Owner], Reply{Ref: ref, Result: result})
	return l
}

func (r *room) found(l *leg, candidates []Candidate) {
	for _, c := range candidates {
		r.tell(r.byUser[l.Owner], Found{r.id, l.Stream, c})
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

func (r *room) failed(of Leg, cause error) {
	delete(r.legs, legName{of.Owner, of.Stream})
	r.hub.watch.LegFailed(r.id, of, cause)
	if of.Up() {
		r.dropFeed(of.Stream)
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
