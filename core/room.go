package core

import (
	"cmp"
	"context"
	"runtime/debug"
	"slices"
	"time"
)

// room is one conference. One goroutine owns it, the one in run; the rest of the
// house reaches it by message only.
type room struct {
	hub     *Hub
	tenant  TenantID
	id      RoomID
	mode    Mode
	keep    bool
	deny    Permits
	anyHost bool
	maker   personKey
	main    *room // the room that this one is a breakout of, if it is one
	created time.Time
	in      chan message
	life    context.Context //nolint:containedctx // it is the room's, not a call's: it ends with the room
	end     context.CancelFunc

	// Guarded by Hub.mu.
	holds     int                // seats, and people about to take one
	used      bool               // somebody had a seat, or the room was made by joining
	breakouts map[*room]struct{} // they end with it; nil: none yet

	// Owned by run.
	title    string
	capacity int // 0: no limit
	speaking bool
	host     UserID
	media    Media       // nil: there is none
	overdue  *time.Timer // nil: nobody is away
	seats    []*seat     // in order of arrival
	byUser   map[UserID]*seat
	feeds    []Stream // published and connected, in order
	legs     map[legName]*leg
	lastLeg  uint64
	sharing  *Sharing
	talking  map[UserID]bool
	permits  map[UserID]Permits // of whom the host has said something
	groups   []RoomID
	news     []news // waits until the reply is out
	fanout   fanout
}

// seat is a member's place.
type seat struct {
	Member
	person *person
	joined time.Time
	right  *right
	media  bool // the first packet is on its way
	renews bool // the client makes an uplink anew when it fails
	untold bool // it is cut off when it is put out

	legs       int // connections that are the member's
	candidates int // that may still be trickled, where there is a limit

	away time.Time // until when the seat is kept, if its connection was lost
}

type news struct {
	to    *seat
	event Event
}

// message is what a room handles: one of a command, news from media, a person who
// has to go, is put out, or has lost their connection, the time, or a look.
type message struct {
	from *person
	ref  Ref
	cmd  Command

	ifMine bool // skip it unless it concerns somebody here
	quiet  bool // the sender replies to the client
	member bool // the sender has a seat, as far as it knows

	media MediaEvent
	evict *person
	hold  *person // whose connection was lost
	grace time.Duration
	look  bool // say what a newcomer would be told

	expel    UserID // who is put out
	right    *right // only if their seat still hangs on it; nil: whatever it hangs on
	cause    error  // why
	wordless bool   // their connection is about to be cut, and they are told no more

	overdue bool // somebody has been away for too long

	done chan<- handled
}

// handled is what became of a message.
type handled struct {
	seated  bool // the sender has a seat now
	skipped bool // it concerned nobody here
	result  Result
	err     error
	state   RoomState     // where it was looked at
	wait    time.Duration // until the sender is to be listened to again

	expelled bool // somebody was put out
}

func newRoom(h *Hub, maker personKey, host UserID, c Open, main *room) *room {
	life, end := context.WithCancel(context.Background())
	r := &room{
		hub: h, tenant: maker.tenant, maker: maker, id: c.Room, mode: c.Mode, keep: c.Keep, deny: c.Deny, anyHost: c.AnyHost, main: main, created: time.Now(),
		in: make(chan message), life: life, end: end,
		title: h.limits.name(c.Title), capacity: c.Capacity, speaking: c.Speaking, host: host,
		byUser: make(map[UserID]*seat), legs: make(map[legName]*leg), talking: make(map[UserID]bool), permits: make(map[UserID]Permits),
		fanout: fanoutOf(h.limits),
	}
	if r.capacity == 0 {
		r.capacity = h.capacity
	}
	return r
}

// send hands m to the room and waits until it was handled. An error means that the
// room never got it; one that has ended has no seats.
func (r *room) send(ctx context.Context, m message) (handled, error) {
	done := make(chan handled, 1)
	m.done = done
	select {
	case r.in <- m:
		return <-done, nil
	case <-r.life.Done():
		return handled{}, Errorf(NoSuchRoom, "room %s is closed", r.id)
	case <-ctx.Done():
		return handled{seated: true}, context.Cause(ctx)
	}
}

func (r *room) run() {
	r.openMedia()
	defer r.clear()
	unused := time.NewTimer(r.hub.unused)
	defer unused.Stop()
	for r.life.Err() == nil {
		select {
		case m := <-r.in:
			r.guard(m)
		case <-unused.C:
			r.hub.expire(r)
		case <-r.whenOverdue():
			r.guard(message{overdue: true, done: make(chan handled, 1)})
		case <-r.life.Done():
		}
	}
}

// guard handles m. A bug that panics ends this room and cuts off its people, who
// may come again; the house lives.
func (r *room) guard(m message) {
	var done handled
	defer func() {
		if reason := recover(); reason != nil {
			r.hub.watch.Panicked(r.id, reason, debug.Stack())
			r.news = nil // half of it
			for _, s := range r.seats {
				s.person.out.Cut(ErrRoomFailed)
			}
			r.hub.close(r)
		}
		m.done <- done
	}()
	done = r.handle(m)
}

// clear empties a room that has ended.
func (r *room) clear() {
	for _, l := range r.legsInOrder() {
		r.giveUp(l)
	}
	r.sendNews()
	for _, s := range r.seats {
		r.hub.vacate(r, s.person)
	}
	r.seats, r.byUser = nil, nil
	r.shareNow(nil)
	r.awaitReturn()
	r.closeMedia()
}

// openMedia starts the room's media. Where that fails, the room is good for all else.
func (r *room) openMedia() {
	defer r.survive()
	wanted := r.hub.media
	wanted.Speaking = r.speaking
	r.media = r.hub.plane.Open(r.id, wanted, func(e MediaEvent) {
		_, _ = r.send(r.life, message{media: e}) // a room that has ended needs no news
	})
}

func (r *room) closeMedia() {
	defer r.survive()
	if r.media != nil {
		r.media.Close()
	}
}

// survive keeps a bug of the media plane from ending the process. It is deferred.
func (r *room) survive() {
	if reason := recover(); reason != nil {
		r.hub.watch.Panicked(r.id, reason, debug.Stack())
	}
}

// handle does all that m asks for. It never waits, so a test can call it with no
// goroutine at all.
func (r *room) handle(m message) (done handled) {
	switch {
	case m.media != nil:
		r.heard(m.media)
	case m.evict != nil:
		if s := r.mine(m.evict); s != nil {
			r.leave(s)
		}
	case m.hold != nil:
		if s := r.mine(m.hold); s != nil {
			r.hold(s, m.grace)
		}
	case m.expel != "":
		if s := r.byUser[m.expel]; s != nil && (m.right == nil || m.right == s.right) {
			r.expel(s, m)
			done.expelled = true
		}
	case m.overdue:
		r.giveUpAway()
	case m.look:
		done.state = r.state()
	case m.ifMine && !r.concerns(m):
		done.skipped = true
	default:
		m.cmd = r.plain(m.cmd, m.from.key.user)
		done.result, done.err = r.do(m)
		if !m.quiet && (done.result != nil || done.err != nil) {
			m.from.out.Put(Reply{m.ref, result(done), AsError(done.err)})
		}
		r.hub.watch.Handled(r.id, Caller{m.from.key.user, m.from.remote}, m.cmd, AsError(done.err))
	}
	done.wait = r.charge()
	r.sendNews() // the reply first, then the news
	done.seated = m.from != nil && r.mine(m.from) != nil
	return done
}

// charge gives how long who caused the news is to wait.
func (r *room) charge() time.Duration {
	wait, first := r.fanout.charge(r.news, time.Now())
	if first {
		r.hub.watch.Slowed(r.id)
	}
	return wait
}

func (r *room) sendNews() {
	for _, n := range r.news {
		if !n.to.isAway() {
			n.to.person.out.Put(n.event)
		}
	}
	clear(r.news)
	r.news = r.news[:0]
}

func result(d handled) Result {
	if d.err != nil {
		return nil
	}
	return d.result
}

// plain gives a command as this room takes it, so that one story leaves one tape
// whichever dialect tells it: the sender filled in where nobody is named, and
// nothing that a room of this mode does not use.
func (r *room) plain(c Command, from UserID) Command {
	switch c := c.(type) {
	case Offer:
		c.Stream.User = cmp.Or(c.Stream.User, from)
		return c
	case Trickle:
		if r.mode == SFU {
			c.To, c.Body = "", nil
			c.Stream.User = cmp.Or(c.Stream.User, from)
		}
		return c
	default:
		return c
	}
}

// concerns reports whether m, which names no room, is for somebody here.
func (r *room) concerns(m message) bool {
	to := UserID("")
	switch c := m.cmd.(type) {
	case Say:
		to = c.To
	case Cast:
		to = c.To
	case Trickle:
		if to = c.Stream.User; r.mode == Mesh {
			to = c.To
		}
	default: // Edit concerns every room; no other comes without one
	}
	return to == "" || r.byUser[to] != nil
}

// hasPassed reports whether a command that concerns somebody here went to one person. Any
// goroutine may ask.
func (r *room) hasPassed(c Command) bool {
	switch c := c.(type) {
	case Say:
		return c.To != ""
	case Cast:
		return c.To != ""
	case Trickle:
		return c.To != "" && r.mode == Mesh
	default:
		return false
	}
}

// do gives the result of m's command, or neither result nor error when media will
// settle it later.
func (r *room) do(m message) (Result, error) {
	if c, ok := m.cmd.(Join); ok {
		return r.join(c, m.from)
	}
	if c, ok := m.cmd.(Close); ok {
		return r.close(c, m.from.key.user)
	}
	me := r.mine(m.from)
	if me == nil {
		if _, ok := m.cmd.(Leave); ok && m.member && m.from.putOut.Load() { // and goes now
			return Done{}, nil
		}
		return nil, Errorf(NotMember, "not in room %s", r.id)
	}
	switch c := m.cmd.(type) {
	case Leave:
		r.leave(me)
		return Done{}, nil
	case List:
		return Listed{r.id, r.members()}, nil
	case Edit:
		return r.edit(me, c)
	case Arrange:
		return r.arrange(me, c)
	case Permit:
		return r.permit(me, c)
	case Kick:
		return r.kick(me, c)
	case Offer:
		return r.offer(me, m.ref, c)
	case Subscribe:
		return r.subscribe(me, m.ref, c)
	case Answer:
		return r.answer(me, m.ref, c)
	case Trickle:
		return r.trickle(me, c)
	case Share:
		return r.share(me, c)
	case Show:
		return r.show(me, c)
	case Unshare:
		return r.unshare(me)
	case Say:
		return r.say(me, c, m.ifMine)
	case Cast:
		return r.cast(me, c)
	case Group:
		return r.group(me, c)
	case Ungroup:
		return r.ungroup(me, c)
	case Hello, Ping, Bad, Open, Join, Close: // done already, or not for a room
	}
	return nil, Errorf(Unknown, "%s is not for a room", CommandName(m.cmd))
}

// mine gives p's seat, unless it waits for another connection already. What a client
// may do hangs on its connection, never on the names in its frames.
func (r *room) mine(p *person) *seat {
	if s := r.byUser[p.key.user]; s != nil && s.person == p && !s.isAway() {
		return s
	}
	return nil
}

// other gives the seat of somebody a command names.
func (r *room) other(u UserID) (*seat, error) {
	if s := r.byUser[u]; s != nil {
		return s, nil
	}
	return nil, Errorf(NoSuchMember, "%s is not in room %s", u, r.id)
}

func (r *room) tell(s *seat, e Event) { r.news = append(r.news, news{s, e}) }

// tellOthers tells everyone but me; me may be nil.
func (r *room) tellOthers(me *seat, e Event) {
	for _, s := range r.seats {
		if s != me {
			r.tell(s, e)
		}
	}
}

// member gives s as the others see it.
func (r *room) member(s *seat) Member {
	m := s.Member
	m.Host = m.User == r.host
	m.Publishing = slices.ContainsFunc(r.feeds, func(f Stream) bool { return f.User == m.User })
	return m
}

func (r *room) members() []Member {
	all := make([]Member, len(r.seats))
	for i, s := range r.seats {
		all[i] = r.member(s)
	}
	return all
}

// onlyHost refuses who is not the host.
func (r *room) onlyHost(u UserID) error {
	if u != r.host && !r.anyHost {
		return Errorf(NotPermitted, "only the host of room %s may", r.id)
	}
	return nil
}
