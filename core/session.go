package core

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Session is one client's place in the house. Its methods are called from one
// goroutine: the one that reads the client's frames.
type Session struct {
	hub  *Hub
	out  *Outbox
	from Peer

	me      *person // nil until the client said who it is
	refused misses  // of its credentials
	profile Profile // what it said of itself then
	rooms   []*room // joined, in order; a room may have ended, or put us out
}

// Do carries out cmd. What comes of it arrives in the outbox.
func (s *Session) Do(ctx context.Context, ref Ref, cmd Command) {
	result, err := s.do(ctx, ref, cmd)
	switch {
	case result == nil && err == nil:
		return // the room replies
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return // the connection has ended, and nobody waits for a reply
	}
	s.reply(ref, result, err)
	s.observe(cmd, err)
}

func (s *Session) do(ctx context.Context, ref Ref, cmd Command) (Result, error) {
	switch c := cmd.(type) {
	case Hello:
		return s.hello(ctx, c)
	case Join:
		return nil, s.join(ctx, ref, c)
	default: // all others need to know who the client is
	}
	switch {
	case s.me == nil:
		return nil, Errorf(NotRegistered, "not registered")
	case ref.As != "" && ref.As != s.User():
		return nil, Errorf(Mismatch, "the sender is somebody else")
	}
	if err := s.hub.limits.admit(cmd); err != nil {
		return nil, err
	}
	switch c := cmd.(type) {
	case Ping:
		return Done{}, nil
	case Bad:
		return nil, &Error{Code: c.Code, Msg: c.Msg}
	case Open:
		r, err := s.hub.open(s.me, s.me.key.user, c, nil)
		if err != nil {
			return nil, err
		}
		return Opened{r.id}, nil
	case Leave:
		return s.leave(ctx, ref, c)
	case Edit, Say, Cast, Trickle:
		if cmd.room() == "" {
			return s.everywhere(ctx, ref, cmd)
		}
	default: // for a room
	}
	return nil, s.toRoom(ctx, ref, cmd)
}

// Fail replies to ref with err, for a frame that could not be read.
func (s *Session) Fail(ref Ref, err error) { s.reply(ref, nil, err) }

// User says who the client is, as far as is known.
func (s *Session) User() UserID {
	if s.me == nil {
		return ""
	}
	return s.me.key.user
}

// InRoom reports whether the client is in a room, as far as is known.
func (s *Session) InRoom() bool { return len(s.rooms) > 0 }

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// Lose goes offline as Close does, but that the seats are kept for the grace time
// that the client has: its connection was lost, and it may come back.
func (s *Session) Lose() {
	if s.me != nil && s.me.grace > 0 {
		for _, r := range s.rooms {
			// A room that has ended is left already.
			_, _ = r.send(context.Background(), message{hold: s.me, grace: s.me.grace})
		}
		s.rooms = nil
	}
	s.Close()
}

// Close leaves all rooms and goes offline.
func (s *Session) Close() {
	s.leaveAll(context.Background())
	if s.me != nil {
		s.hub.forget(s.me)
		s.me = nil
	}
}

func (s *Session) reply(ref Ref, result Result, err error) {
	if err != nil {
		result = nil
	}
	s.out.Put(Reply{ref, result, AsError(err)})
}

func (s *Session) observe(cmd Command, err error) {
	s.hub.watch.Handled(cmd.room(), Caller{s.User(), s.from.Remote}, cmd, AsError(err))
}

func (s *Session) hello(ctx context.Context, c Hello) (Result, error) {
	g, err := s.identify(ctx, c.Cred, c.Online, seconds(c.Grace))
	for tries := 1; c.Cred.User == "" && isTaken(err) && tries < idTries; tries++ {
		g, err = s.identify(ctx, c.Cred, c.Online, seconds(c.Grace))
	}
	if err != nil {
		return nil, err
	}
	s.hub.renewSeats(s.me)
	s.profile = s.hub.limits.profile(Profile{Name: c.Cred.Name, Device: c.Cred.Device})
	return Welcome{g.User, g.ICEServers}, nil
}

// isTaken reports whether somebody else is who the client was to be.
func isTaken(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == UserOnline
}

// identify has the house check who the client is, and makes this session the one
// that speaks for them. A session that was somebody else stops being them.
func (s *Session) identify(ctx context.Context, c Credentials, o Online, grace time.Duration) (Grant, error) {
	if s.refused.tooMany(s.hub.limits.Misses) {
		return Grant{}, errMisses()
	}
	c.Remote, c.Origin = s.from.Remote, s.from.Origin
	g, err := s.hub.auth.Authorize(ctx, c)
	if err != nil {
		s.refused.add()
		if _, ok := errors.AsType[*Error](err); ok {
			return g, err
		}
		return g, &Error{Code: Unauthorized, Msg: "not let in", Cause: err}
	}
	if s.me != nil && s.me.key != (personKey{g.Tenant, g.User}) {
		s.Close()
	}
	if c.User == "" {
		o = Refuse // the house chose who the client is, and takes nobody's place
	}
	me, err := s.hub.claim(ctx, g, newPerson(g, c, grace, s.out), o)
	if err != nil {
		return g, err
	}
	s.me = me
	return g, nil
}

// join enters a room. The room replies, unless the client never got so far.
func (s *Session) join(ctx context.Context, ref Ref, c Join) error {
	before := s.hub.withdrawn()
	if c.Cred != nil {
		cred := *c.Cred
		cred.Room = c.Room
		if _, err := s.identify(ctx, cred, c.Online, seconds(c.Grace)); err != nil {
			return err
		}
	}
	switch {
	case s.me == nil:
		return Errorf(NotRegistered, "not registered")
	case ref.As != "" && ref.As != s.User():
		return Errorf(Mismatch, "the sender is somebody else")
	}
	if c.Alone {
		s.leaveAll(ctx)
	}
	if c.As.Name == "" {
		c.As.Name = s.profile.Name
	}
	if c.As.Device == "" {
		c.As.Device = s.profile.Device
	}
	r, err := s.hub.acquire(s.me, c.Room, c.Make)
	if err != nil {
		return err
	}
	done, err := r.send(ctx, message{from: s.me, ref: ref, cmd: c})
	if err != nil || done.err != nil {
		s.hub.release(r) // the hold did not become a seat
		return err
	}
	if !slices.Contains(s.rooms, r) {
		s.rooms = append(s.rooms, r)
	}
	if c.Cred != nil && s.hub.withdrawn() != before { // perhaps theirs, and they were judged before it
		s.hub.judgeSeat(ctx, r, s.me)
	}
	return nil
}

// leave goes out of one room, or of all. A room that has ended is left already.
func (s *Session) leave(ctx context.Context, ref Ref, c Leave) (Result, error) {
	if c.Room == "" && len(s.rooms) > 1 {
		s.leaveAll(ctx)
		return Done{}, nil
	}
	named := func(r *room) bool { return r.id == c.Room }
	err := s.toRoom(ctx, ref, c)
	if e := AsError(err); e != nil && e.Code == NoSuchRoom && slices.ContainsFunc(s.rooms, named) { // it ended under us
		s.rooms = slices.DeleteFunc(s.rooms, named)
		return Done{}, nil
	}
	return nil, err
}

// leaveAll is done whatever becomes of the connection: a seat must not outlive it.
func (s *Session) leaveAll(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	for _, r := range s.rooms {
		// A room that has ended is left already.
		_, _ = r.send(ctx, message{from: s.me, cmd: Leave{Room: r.id}, quiet: true, member: true})
	}
	s.rooms = nil
}

// everywhere carries out a command that names no room: in the rooms that it
// concerns, else for the one person it is for, wherever they are.
func (s *Session) everywhere(ctx context.Context, ref Ref, cmd Command) (Result, error) {
	var (
		result Result
		failed error
		heard  bool
		rooms  = slices.Clone(s.rooms)
	)
	for _, r := range rooms {
		m := message{from: s.me, ref: ref, cmd: inRoom(cmd, r.id), ifMine: true, quiet: len(rooms) > 1}
		done, err := s.send(ctx, r, m)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, err
		case err != nil || done.skipped:
		case !m.quiet:
			return nil, nil // the room replied
		case done.err == nil && r.hasPassed(cmd):
			return done.result, nil // who shares several rooms with the sender hears it once
		default:
			heard = true
			result, failed = cmp.Or(result, done.result), cmp.Or(failed, done.err)
		}
	}
	if heard && result != nil {
		return result, nil
	}
	if heard {
		return nil, failed
	}
	return s.direct(cmd)
}

// direct passes a message to one person who is in none of the sender's rooms.
func (s *Session) direct(cmd Command) (Result, error) {
	me := s.me.key
	switch c := cmd.(type) {
	case Say:
		if c.To != "" {
			return Done{}, s.hub.deliver(s.me, c.To, Said{From: me.user, Message: c.Message})
		}
	case Cast:
		if c.To != "" {
			e := Passed{From: me.user, To: c.To, Topic: c.Topic, Body: c.Body}
			return Relayed{c.To, c.Topic, c.Body}, s.hub.deliver(s.me, c.To, e)
		}
	case Trickle:
		if c.To != "" && c.Body != nil {
			e := CandidatePassed{From: me.user, To: c.To, Body: c.Body}
			return Done{}, s.hub.deliver(s.me, c.To, e)
		}
		return nil, Errorf(NoSuchMember, "%s is in none of the sender's rooms", c.Stream.User)
	case Edit:
		return nil, Errorf(NotMember, "not in a room")
	default: // for a room
	}
	return nil, Errorf(NoSuchMember, "there is nobody to hear it")
}

// toRoom has the room that cmd names carry it out, and reply.
func (s *Session) toRoom(ctx context.Context, ref Ref, cmd Command) error {
	r, err := s.room(cmd.room())
	if err != nil {
		return err
	}
	_, err = s.send(ctx, r, message{from: s.me, ref: ref, cmd: inRoom(cmd, r.id), member: slices.Contains(s.rooms, r)})
	return err
}

// room finds the room that a command names; the last one joined if it names none.
func (s *Session) room(id RoomID) (*room, error) {
	if id == "" {
		if len(s.rooms) == 0 {
			return nil, Errorf(NotMember, "not in a room")
		}
		return s.rooms[len(s.rooms)-1], nil
	}
	for _, r := range s.rooms {
		switch {
		case r.id != id:
		case r.life.Err() == nil:
			return r, nil
		case s.hub.there(s.me.key.tenant, id) == nil: // it ended under the client, who may ask on
			return nil, Errorf(NoSuchRoom, "no room %s", id)
		}
	}
	return s.hub.find(s.me, id)
}

// send gives m to r, and forgets r if that leaves the client without a seat there. It
// waits for what r had to tell because of it.
func (s *Session) send(ctx context.Context, r *room, m message) (handled, error) {
	done, err := r.send(ctx, m)
	if !done.seated {
		s.rooms = slices.DeleteFunc(s.rooms, func(o *room) bool { return o == r })
	}
	pay(ctx, done.wait)
	return done, err
}
