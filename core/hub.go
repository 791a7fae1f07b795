package core

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// HubConfig is what a hub is made of.
type HubConfig struct {
	Plane    Plane
	Auth     Authorizer
	Observer Observer
	// Media is what rooms want of their media; each says for itself whether it
	// wants to know who speaks.
	Media MediaOptions
	// Capacity is the most members of a room that was opened without saying;
	// 0: no limit.
	Capacity int
	// Unused is how long a room that was opened waits for its first member;
	// 0: 5 minutes.
	Unused time.Duration
	Limits Limits
	// Recheck is the time in which Hub.Recheck has it asked again who may stay in a
	// room (Grant.Stays); 0: never.
	Recheck time.Duration
	// Lapse has Hub.Recheck put people out of rooms when what let them in runs out
	// (Grant.Until); otherwise calls go on.
	Lapse bool
	// NewRoomID thinks of an id for a room that was opened without one; nil: a
	// random one.
	NewRoomID func() RoomID
}

// Hub is the house: the rooms of one process and the people who are online.
type Hub struct {
	plane    Plane
	auth     Authorizer
	watch    Observer
	media    MediaOptions
	capacity int
	unused   time.Duration
	limits   Limits
	recheck  time.Duration
	lapse    bool
	newID    func() RoomID
	running  sync.WaitGroup // the rooms' goroutines

	// Guarded by mu, as are room.holds, room.used and person.grant.
	mu       sync.Mutex
	draining bool
	rooms    map[roomKey]*room
	made     map[personKey]int // rooms, by who made them
	ofTenant map[TenantID]int  // rooms
	people   map[personKey]*person
	missed   map[personKey]*misses
	pages    map[personKey]int // bytes that rooms keep of what each shows
	swept    time.Time         // when missed was last looked through
	members  int               // seats taken, in all rooms
	empty    []chan struct{}   // closed when members becomes 0

	rights      map[personKey]map[*room]*right // a right for each seat
	passing     map[*right]struct{}            // those that are judged again
	withdrawals uint64                         // expulsions there were
}

type roomKey struct {
	tenant TenantID
	id     RoomID
}

type personKey struct {
	tenant TenantID
	user   UserID
}

// person is somebody online: the one session that speaks for them.
type person struct {
	key    personKey
	out    *Outbox
	remote string            // the client's address
	proof  [sha256.Size]byte // of the credentials that let them in
	grant  *Grant            // what they gave last
	grace  time.Duration     // for which seats are kept when the connection is lost
	// inherits says that this connection takes over the seats of the one that it
	// displaces.
	inherits bool
	// putOut says that they were put out of a room, so they may think that they are in it.
	putOut atomic.Bool
}

func newPerson(g Grant, c Credentials, grace time.Duration, out *Outbox) *person {
	return &person{
		key: personKey{g.Tenant, g.User}, out: out, remote: c.Remote, grace: grace, grant: lasting(g),
		proof: sha256.Sum256([]byte(c.Tenant + "\x00" + c.Key + "\x00" + c.Token)),
	}
}

// Stats are a hub's gauges.
type Stats struct {
	Rooms   int // rooms there are
	Members int // seats taken in them
	People  int // people who have said who they are
}

// NewHub makes an empty hub.
func NewHub(c HubConfig) *Hub {
	if c.NewRoomID == nil {
		c.NewRoomID = func() RoomID { return RoomID(RandomID("r")) }
	}
	return &Hub{
		plane: c.Plane, auth: c.Auth, watch: c.Observer, media: c.Media,
		capacity: c.Capacity, unused: cmp.Or(c.Unused, 5*time.Minute), newID: c.NewRoomID,
		limits: c.Limits, recheck: c.Recheck, lapse: c.Lapse, made: make(map[personKey]int), ofTenant: make(map[TenantID]int), missed: make(map[personKey]*misses), pages: make(map[personKey]int),
		rooms: make(map[roomKey]*room), people: make(map[personKey]*person),
		rights: make(map[personKey]map[*room]*right), passing: make(map[*right]struct{}),
	}
}

// Session opens a session whose events go to out.
func (h *Hub) Session(out *Outbox, from Peer) *Session {
	return &Session{hub: h, out: out, from: from}
}

// Stats counts what there is.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{Rooms: len(h.rooms), Members: h.members, People: len(h.people)}
}

// IsOnline reports whether somebody has a connection that speaks for them.
func (h *Hub) IsOnline(t TenantID, u UserID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.people[personKey{t, u}] != nil
}

// Drain refuses new rooms and new members from now on. Calls that run go on.
func (h *Hub) Drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Close ends all rooms and waits until they have let go of everything. It comes
// after the last session was closed; no room is made afterwards.
func (h *Hub) Close() {
	h.mu.Lock()
	h.draining = true
	for _, r := range h.rooms {
		h.drop(r)
	}
	h.mu.Unlock()
	h.running.Wait()
}

// Empty waits until nobody is in any room.
func (h *Hub) Empty(ctx context.Context) error {
	h.mu.Lock()
	if h.members == 0 {
		h.mu.Unlock()
		return nil
	}
	done := make(chan struct{})
	h.empty = append(h.empty, done)
	h.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// claim makes p the one who speaks for that person, and gives them; p's connection
// may do so already. Who did before leaves all rooms before claim returns, if the
// policy lets it happen at all.
func (h *Hub) claim(ctx context.Context, g Grant, p *person, o Online) (*person, error) {
	if !validID(string(g.User)) {
		return nil, Errorf(Invalid, "not a user id")
	}
	h.mu.Lock()
	old := h.people[p.key]
	switch {
	case old != nil && old.out == p.out:
		old.grant = p.grant
		h.mu.Unlock()
		return old, nil
	case old != nil && !yields(old, p, o):
		h.mu.Unlock()
		return nil, Errorf(UserOnline, "%s is online", g.User)
	case old == nil && g.MaxUsers > 0 && h.online(g.Tenant) >= g.MaxUsers:
		h.mu.Unlock()
		return nil, Errorf(TooMany, "too many users are online")
	}
	p.inherits = o == Reclaim || o == Displace && p.grace > 0
	h.people[p.key] = p
	var seats []*room
	if old != nil {
		seats = slices.SortedFunc(maps.Keys(h.rights[p.key]), func(a, b *room) int { return cmp.Compare(a.id, b.id) })
	}
	h.mu.Unlock()
	for _, r := range seats {
		_, _ = r.send(ctx, succession(old, p, o)) // a room that has ended has no seats
	}
	if old != nil && o != Displace {
		old.out.Cut(ErrDisplaced)
	}
	return p, nil
}

// succession is what becomes of the seats of old, whose place p takes.
func succession(old, p *person, o Online) message {
	switch {
	case !p.inherits:
		return message{evict: old}
	case o == Reclaim:
		return message{hold: old, grace: max(p.grace, takeOver)}
	}
	return message{hold: old, grace: p.grace}
}

// speaks reports whether p is who speaks for that person now.
func (h *Hub) speaks(p *person) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.people[p.key] == p
}

// yields reports whether old makes way for p, who is the same person.
func yields(old, p *person, o Online) bool {
	switch o {
	case Displace, Cut:
		return true
	case Reclaim:
		return old.out.quiet.Load() && old.proof == p.proof
	case Refuse:
	}
	return false
}

// online counts a tenant's people. Called with mu held.
func (h *Hub) online(t TenantID) (n int) {
	for key := range h.people {
		if key.tenant == t {
			n++
		}
	}
	return n
}

// forget takes p offline, unless a newer connection speaks for the same person.
func (h *Hub) forget(p *person) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.people[p.key] == p {
		delete(h.people, p.key)
	}
}

// deliver puts what from says into the outbox of somebody online, of the same tenant.
func (h *Hub) deliver(from *person, to UserID, e Event) error {
	h.mu.Lock()
	speaks := h.people[from.key] == from
	p := h.people[personKey{from.key.tenant, to}]
	h.mu.Unlock()
	switch {
	case !speaks:
		return errDisplaced(from)
	case p == nil:
		return Errorf(NoSuchMember, "%s is not online", to)
	}
	p.out.Put(e)
	return nil
}

// errDisplaced refuses a connection that speaks for nobody any more.
func errDisplaced(p *person) error {
	return &Error{Code: UserOnline, Msg: "somebody else speaks for " + string(p.key.user), Cause: ErrDisplaced}
}

// open makes a room that stays until it was used and is empty again.
func (h *Hub) open(p *person, host UserID, c Open, main *room) (*room, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := p.key.tenant
	if h.people[p.key] != p {
		return nil, errDisplaced(p)
	}
	switch {
	case h.draining:
		return nil, Errorf(Draining, "no new rooms")
	case main != nil && h.rooms[roomKey{t, main.id}] != main: // it ends, and nothing more with it
		return nil, Errorf(NoSuchRoom, "room %s is closed", main.id)
	}
	if c.Room == "" {
		c.Room = h.freeID(t)
	}
	if !validID(string(c.Room)) {
		return nil, Errorf(Invalid, "not a room id")
	}
	if h.rooms[roomKey{t, c.Room}] != nil {
		return nil, Errorf(RoomExists, "room %s exists", c.Room)
	}
	if err := h.roomFor(p); err != nil {
		return nil, err
	}
	return h.start(p.key, host, c, main), nil
}

// roomFor refuses one room more, if there are too many. Called with mu held.
func (h *Hub) roomFor(p *person) error {
	switch t := p.key.tenant; {
	case h.limits.TenantRooms > 0 && h.ofTenant[t] >= h.limits.TenantRooms:
		return over(TenantRooms, "too many rooms")
	case h.limits.UserRooms > 0 && h.made[p.key] >= h.limits.UserRooms:
		return over(UserRooms, "too many rooms of one user")
	}
	return nil
}

// freeID thinks of a room id. Where those of the usual form are taken, it gives a
// longer one. Called with mu held.
func (h *Hub) freeID(t TenantID) RoomID {
	for tries := 0; ; tries++ {
		id := h.newID()
		if tries >= idTries {
			id += RoomID(RandomID(""))
		}
		if h.rooms[roomKey{t, id}] == nil {
			return id
		}
	}
}

// idTries is how often the house thinks of an id before it thinks that all are taken.
const idTries = 8

// RandomID gives an id of the form that clients know: a letter and seven digits.
// It is no secret; being allowed in never depends on knowing one.
func RandomID(prefix string) string {
	n, err := rand.Int(rand.Reader, big.NewInt(9_000_000))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return fmt.Sprintf("%s%d", prefix, n.Int64()+1_000_000)
}

// LongID gives an id that nobody can guess, of at least 128 random bits.
func LongID(prefix string) string { return prefix + rand.Text() }

// find gives a room to somebody who does not want to enter it.
func (h *Hub) find(p *person, id RoomID) (*room, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seek(p, id)
}

// there gives a room to the house itself; nil: it is not there.
func (h *Hub) there(t TenantID, id RoomID) *room {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rooms[roomKey{t, id}]
}

// Look gives a room as a newcomer would be told of it.
func (h *Hub) Look(ctx context.Context, t TenantID, id RoomID) (RoomState, error) {
	r := h.there(t, id)
	if r == nil {
		return RoomState{}, Errorf(NoSuchRoom, "no room %s", id)
	}
	done, err := r.send(ctx, message{look: true})
	return done.state, err
}

// acquire gives a room to somebody about to enter it: it does not end before the
// matching release, or vacate if they got a seat. A missing room is made if
// create says how.
func (h *Hub) acquire(p *person, id RoomID, create *Open) (*room, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return nil, Errorf(Draining, "no new members")
	}
	r := h.rooms[roomKey{p.key.tenant, id}]
	switch {
	case create == nil:
		var err error
		if r, err = h.seek(p, id); err != nil {
			return nil, err
		}
	case r == nil:
		if !validID(string(id)) {
			return nil, Errorf(Invalid, "not a room id")
		}
		if err := h.roomFor(p); err != nil {
			return nil, err
		}
		c := *create
		c.Room = id
		r = h.start(p.key, p.key.user, c, nil)
		r.used = true // it is nobody's if its maker does not get in
	}
	for held := r; held != nil; held = held.main {
		held.holds++
	}
	return r, nil
}

// release gives back a room that was acquired.
func (h *Hub) release(r *room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.letGo(r)
}

// letGo ends r if that was the last hold on it; who is in a breakout room holds
// the main room too. Called with mu held.
func (h *Hub) letGo(r *room) {
	for ; r != nil; r = r.main {
		if r.holds--; r.holds == 0 && r.used && !r.keep {
			h.drop(r)
		}
	}
}

// close ends a room, whoever is in it.
func (h *Hub) close(r *room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(r)
}

// drop takes a room out of the house, and its breakout rooms with it, so that nobody
// gets into them any more. Called with mu held.
func (h *Hub) drop(r *room) {
	for g := range r.breakouts {
		h.drop(g)
	}
	if r.main != nil {
		delete(r.main.breakouts, r)
	}
	if key := (roomKey{r.tenant, r.id}); h.rooms[key] == r {
		delete(h.rooms, key)
		less(h.made, r.maker)
		less(h.ofTenant, r.tenant)
	}
	r.end()
}

// less counts one down, and forgets what nothing is left of.
func less[K comparable](counts map[K]int, key K) {
	if counts[key]--; counts[key] <= 0 {
		delete(counts, key)
	}
}

// expire ends a room that nobody has ever entered, nor is about to.
func (h *Hub) expire(r *room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !r.used && r.holds == 0 {
		h.drop(r)
	}
}

// seat notes that p has a seat in r, unless p was displaced or the house began to
// drain meanwhile.
func (h *Hub) seat(r *room, p *person) (*right, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.draining {
		return nil, Errorf(Draining, "no new members")
	}
	if h.people[p.key] != p {
		return nil, errDisplaced(p)
	}
	r.used = true
	h.members++
	return h.entitle(r, p), nil
}

// reseat notes that p takes over the seat of an older connection of the same person.
// The hold with which p came is let go: the seat has its own.
func (h *Hub) reseat(r *room, p *person) (*right, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.people[p.key] != p {
		return nil, errDisplaced(p)
	}
	h.letGo(r)
	return h.entitle(r, p), nil
}

// vacate notes that p has no seat in r any more, and lets go of r for it.
func (h *Hub) vacate(r *room, p *person) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disentitle(r, p.key)
	if h.members--; h.members == 0 {
		for _, done := range h.empty {
			close(done)
		}
		h.empty = nil
	}
	h.letGo(r)
}

// keepPage notes that rooms keep so many bytes more of what a user shows, or less, if that
// is not too much.
func (h *Hub) keepPage(u personKey, more int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.pages[u] + more
	switch {
	case more > 0 && h.limits.Pages > 0 && now > h.limits.Pages:
		return over(PagesSize, "more than %d bytes of pages in all rooms", h.limits.Pages)
	case now <= 0:
		delete(h.pages, u)
	default:
		h.pages[u] = now
	}
	return nil
}

// start makes a room and its goroutine. Called with mu held.
func (h *Hub) start(maker personKey, host UserID, c Open, main *room) *room {
	r := newRoom(h, maker, host, c, main)
	if main != nil {
		if main.breakouts == nil {
			main.breakouts = make(map[*room]struct{})
		}
		main.breakouts[r] = struct{}{}
	}
	h.rooms[roomKey{maker.tenant, c.Room}] = r
	h.made[maker]++
	h.ofTenant[maker.tenant]++
	h.running.Go(r.run)
	return r
}
