package core

import (
	"slices"
	"time"
)

func (r *room) join(c Join, p *person) (Result, error) {
	switch s := r.byUser[p.key.user]; {
	case s == nil:
	case s.isAway():
		return r.resume(s, c, p)
	case s.person == p || !r.hub.speaks(p):
		return nil, Errorf(AlreadyJoined, "%s is in room %s already", s.User, r.id)
	case p.inherits: // the seat's owner was displaced, and the word of it is on its way
		r.hold(s, 0)
		return r.resume(s, c, p)
	default:
		r.leave(s)
	}
	if r.capacity > 0 && len(r.seats) >= r.capacity {
		return nil, Errorf(RoomFull, "room %s is full", r.id)
	}
	right, err := r.hub.seat(r, p)
	if err != nil {
		return nil, err
	}
	as := r.hub.limits.profile(c.As)
	me := &seat{person: p, right: right, joined: time.Now(), renews: c.Renews, untold: c.Untold, candidates: r.hub.limits.Candidates, Member: Member{
		User: p.key.user, Name: as.Name, Device: as.Device, Community: as.Community,
		Video: as.Video, Audio: as.Audio, May: r.mayAtFirst(p.key.user),
	}}
	r.seats = append(r.seats, me)
	r.byUser[me.User] = me
	r.tellOthers(me, MemberJoined{r.id, r.member(me)})
	r.greet(me)
	return Joined{r.state()}, nil
}

// mayAtFirst is what a newcomer may do: what the host has said of them, if they were here
// before, so that nobody gets back by leaving what was taken from them.
func (r *room) mayAtFirst(u UserID) Permits {
	if may, ok := r.permits[u]; ok {
		return may
	}
	return AllPermits.but(r.deny)
}

// greet tells a newcomer what the state of the room does not say.
func (r *room) greet(me *seat) {
	if feeds := r.feedsNewTo(me); len(feeds) > 0 {
		r.tell(me, FeedsAdded{r.id, feeds})
	}
	for _, s := range r.seats {
		if s != me && r.talking[s.User] {
			r.tell(me, Speaking{r.id, s.User, true})
		}
	}
}

func (r *room) state() RoomState {
	st := RoomState{
		Room: r.id, Title: r.title, Mode: r.mode, Speaking: r.speaking, Created: r.created,
		Host: Member{User: r.host, Host: true}, Members: r.members(), Groups: slices.Clone(r.groupsThere()),
	}
	if s := r.byUser[r.host]; s != nil {
		st.Host = r.member(s)
	}
	if r.sharing != nil {
		now := *r.sharing
		st.Sharing = &now
	}
	return st
}

// leave takes s out of the room with all that is theirs, and tells those who stay.
func (r *room) leave(s *seat) {
	if r.sharing != nil && r.sharing.User == s.User {
		r.stopSharing(s)
	}
	r.seats = slices.DeleteFunc(r.seats, func(o *seat) bool { return o == s })
	delete(r.byUser, s.User)
	delete(r.talking, s.User)
	r.dropLegs(func(l Leg) bool { return l.Owner == s.User || l.Stream.User == s.User })
	r.feeds = slices.DeleteFunc(r.feeds, func(f Stream) bool { return f.User == s.User })
	r.tellOthers(s, MemberLeft{r.id, s.User})
	r.hub.vacate(r, s.person)
}

func (r *room) edit(me *seat, c Edit) (Result, error) {
	changed := Changed{Name: c.Name != nil, Video: c.Video != nil, Audio: c.Audio != nil}
	var to *seat
	if c.To != "" {
		var err error
		if to, err = r.other(c.To); err != nil {
			return nil, err
		}
	}
	if c.Name != nil {
		me.Name = r.hub.limits.name(*c.Name)
	}
	set(&me.Video, c.Video)
	set(&me.Audio, c.Audio)
	e := MemberEdited{r.id, r.member(me), changed}
	switch {
	case c.Quiet || changed == Changed{}:
	case to != nil:
		r.tell(to, e)
	default:
		r.tellOthers(me, e)
	}
	return Edited{r.id, r.member(me), changed}, nil
}

// set stores *v, if there is one.
func set[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

func (r *room) arrange(me *seat, c Arrange) (Result, error) {
	if err := r.onlyHost(me.User); err != nil {
		return nil, err
	}
	if c.Host != nil {
		if _, err := r.other(*c.Host); err != nil {
			return nil, err
		}
	}
	if c.Title != nil {
		r.title = r.hub.limits.name(*c.Title)
	}
	set(&r.capacity, c.Capacity)
	set(&r.host, c.Host)
	return Done{}, nil
}

func (r *room) permit(me *seat, c Permit) (Result, error) {
	if err := r.onlyHost(me.User); err != nil {
		return nil, err
	}
	s, err := r.other(c.User)
	if err != nil {
		return nil, err
	}
	set(&s.May.Screen, c.Screen)
	set(&s.May.Chat, c.Chat)
	set(&s.May.Whiteboard, c.Whiteboard)
	set(&s.May.Draw, c.Draw)
	set(&s.May.Document, c.Document)
	r.remember(s)
	return Done{}, nil
}

// maxPermits is of how many members a room remembers what the host has said of them.
const maxPermits = 1000

// remember keeps what a member may do for when they come again.
func (r *room) remember(s *seat) {
	delete(r.permits, s.User)
	if s.May == AllPermits.but(r.deny) {
		return
	}
	for u := range r.permits { // where there are too many, somebody who is not here is forgotten
		if len(r.permits) < maxPermits {
			break
		}
		if r.byUser[u] == nil {
			delete(r.permits, u)
		}
	}
	if len(r.permits) < maxPermits {
		r.permits[s.User] = s.May
	}
}

// kick only asks: clients of the dialect that has it leave by themselves.
func (r *room) kick(me *seat, c Kick) (Result, error) {
	if err := r.onlyHost(me.User); err != nil {
		return nil, err
	}
	s, err := r.other(c.User)
	if err != nil {
		return nil, err
	}
	r.tell(s, Kicked{r.id, me.User})
	return Done{}, nil
}

// close ends the room. The host may, from inside or outside.
func (r *room) close(_ Close, by UserID) (Result, error) {
	if err := r.onlyHost(by); err != nil {
		return nil, err
	}
	r.tellOthers(r.byUser[by], RoomClosed{r.id})
	r.hub.close(r)
	return Done{}, nil
}

func (r *room) group(me *seat, c Group) (Result, error) {
	if err := r.onlyHost(me.User); err != nil {
		return nil, err
	}
	g, err := r.hub.open(me.person, r.host, Open{
		Mode: r.mode, Title: c.Title, Keep: true, Speaking: r.speaking, Deny: r.deny, AnyHost: r.anyHost,
	}, r)
	if err != nil {
		return nil, err
	}
	r.groups = append(r.groupsThere(), g.id)
	invited := make(map[*seat]bool)
	for _, u := range c.Users {
		if s := r.byUser[u]; s != nil && !invited[s] {
			invited[s] = true
			r.tell(s, Invited{r.id, me.User, g.id})
		}
	}
	return Grouped{r.id, g.id}, nil
}

func (r *room) ungroup(me *seat, c Ungroup) (Result, error) {
	if err := r.onlyHost(me.User); err != nil {
		return nil, err
	}
	i := slices.Index(r.groupsThere(), c.Group)
	if i < 0 {
		return nil, Errorf(NoSuchRoom, "room %s has no group %s", r.id, c.Group)
	}
	r.groups = slices.Delete(r.groups, i, i+1)
	r.endGroup(c.Group)
	return Done{}, nil
}

// groupsThere gives the breakout rooms that have not ended some other way.
func (r *room) groupsThere() []RoomID {
	r.groups = slices.DeleteFunc(r.groups, func(id RoomID) bool {
		g := r.hub.there(r.tenant, id)
		return g == nil || g.main != r
	})
	return r.groups
}

// endGroup ends a breakout room without waiting for it.
func (r *room) endGroup(id RoomID) {
	if g := r.hub.there(r.tenant, id); g != nil && g.main == r {
		r.hub.close(g)
	}
}
