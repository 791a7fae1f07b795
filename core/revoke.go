package core

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"
)

// ErrLapsed is why somebody is put out of a room whose token has run out.
var ErrLapsed = errors.New("what let the client in has run out")

// Bounds of judging rights again.
const (
	maxJudged  = 16 // at once
	judgeSteps = 16 // looks for those who are due, in the time after which they are
)

// right is what somebody's seat in a room hangs on.
type right struct {
	room *room
	who  personKey

	// Guarded by Hub.mu.
	grant *Grant
	due   time.Time // when it is judged again; zero: never
}

// lasting gives a grant whose end no step of the clock brings nearer.
func lasting(g Grant) *Grant {
	if !g.Until.IsZero() {
		g.Until = time.Now().Add(time.Until(g.Until))
	}
	return &g
}

// entitle notes what p's seat in r hangs on from now on. Called with mu held.
func (h *Hub) entitle(r *room, p *person) *right {
	h.disentitle(r, p.key)
	if h.rights[p.key] == nil {
		h.rights[p.key] = make(map[*room]*right)
	}
	rt := &right{room: r, who: p.key}
	h.rights[p.key][r] = rt
	h.renew(rt, p.grant)
	return rt
}

// renew has rt hang on g. Called with mu held.
func (h *Hub) renew(rt *right, g *Grant) {
	rt.grant, rt.due = g, h.nextDue(g)
	if rt.due.IsZero() {
		delete(h.passing, rt)
	} else {
		h.passing[rt] = struct{}{}
	}
}

// renewSeats has all of p's seats hang on what p has shown last.
func (h *Hub) renewSeats(p *person) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, rt := range h.rights[p.key] {
		h.renew(rt, p.grant)
	}
}

// disentitle forgets the right to a seat that is vacated. Called with mu held.
func (h *Hub) disentitle(r *room, key personKey) {
	all := h.rights[key]
	delete(h.passing, all[r])
	delete(all, r)
	if len(all) == 0 {
		delete(h.rights, key)
	}
}

// nextDue says when a right is to be judged again: at its end, or between half of the
// time that there is and all of it, so that those who came together are not asked
// for together.
func (h *Hub) nextDue(g *Grant) (due time.Time) {
	if h.recheck > 0 && g.Stays != nil {
		due = time.Now().Add(h.recheck/2 + rand.N(h.recheck/2-h.recheck/judgeSteps+1))
	}
	if h.lapse && !g.Until.IsZero() && (due.IsZero() || g.Until.Before(due)) {
		due = g.Until
	}
	return due
}

// Recheck judges again and again whether those in rooms may still be there, as
// HubConfig says, until ctx ends.
func (h *Hub) Recheck(ctx context.Context) {
	every := time.Second
	if h.recheck > 0 {
		every = max(min(every, h.recheck/judgeSteps), time.Millisecond)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var judging sync.WaitGroup
	defer judging.Wait()
	turns := make(chan struct{}, maxJudged)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, rt := range h.dueNow() {
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				return
			}
			judging.Go(func() {
				defer func() { <-turns }()
				h.judge(ctx, rt)
			})
		}
	}
}

// dueNow gives the rights that are due, and says when they are the next time.
func (h *Hub) dueNow() (all []*right) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for rt := range h.passing {
		if !now.Before(rt.due) {
			rt.due = h.nextDue(rt.grant)
			all = append(all, rt)
		}
	}
	return all
}

// judge puts somebody out of their room who may not be there any more. It waits for
// who has to be asked.
func (h *Hub) judge(ctx context.Context, rt *right) {
	defer func() {
		if reason := recover(); reason != nil { // a bug in who was asked
			h.watch.Panicked(rt.room.id, reason, debug.Stack())
		}
	}()
	h.mu.Lock()
	g := rt.grant
	h.mu.Unlock()
	var err error
	switch {
	case h.lapse && !g.Until.IsZero() && !time.Now().Before(g.Until):
		err = ErrLapsed
	case g.Stays != nil:
		err = g.Stays(ctx)
	}
	if err == nil || ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	judged := rt.grant == g // and nothing better was shown meanwhile
	h.mu.Unlock()
	if judged {
		_, _ = rt.room.send(ctx, message{expel: rt.who.user, right: rt, cause: err}) // a room that has ended is left
	}
}

// withdrawn counts expulsions. Who was judged before one may have to be judged again.
func (h *Hub) withdrawn() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.withdrawals
}

// judgeSeat judges the right by which p has just taken a seat in r.
func (h *Hub) judgeSeat(ctx context.Context, r *room, p *person) {
	h.mu.Lock()
	rt := h.rights[p.key][r]
	h.mu.Unlock()
	if rt != nil {
		h.judge(ctx, rt)
	}
}

// Expelled counts what an expulsion has ended.
type Expelled struct {
	Connections int
	Seats       int // in rooms; also those kept for people whose connection was lost
}

// Expel cuts off everybody who is online in a tenant, and empties their seats.
func (h *Hub) Expel(ctx context.Context, t TenantID) Expelled {
	people := make(map[personKey]bool)
	h.mu.Lock()
	for key := range h.people {
		people[key] = key.tenant == t
	}
	for key := range h.rights {
		people[key] = key.tenant == t
	}
	h.mu.Unlock()
	var all Expelled
	for key, meant := range people {
		if meant {
			done := h.expel(ctx, key)
			all.Connections += done.Connections
			all.Seats += done.Seats
		}
	}
	return all
}

// ExpelUser cuts somebody's connection, with ErrRevoked, and empties their seats at
// once. They may come again, if they are let in.
func (h *Hub) ExpelUser(ctx context.Context, t TenantID, u UserID) Expelled {
	return h.expel(ctx, personKey{t, u})
}

func (h *Hub) expel(ctx context.Context, key personKey) (done Expelled) {
	h.mu.Lock()
	h.withdrawals++
	p := h.people[key]
	delete(h.people, key) // so that the connection takes no seat any more
	var rooms []*room
	for r := range h.rights[key] {
		rooms = append(rooms, r)
	}
	h.mu.Unlock()
	for _, r := range rooms {
		done.Seats += r.putOut(ctx, message{expel: key.user, wordless: true})
	}
	if p != nil { // after that, or it might leave by itself before it is put out
		p.out.Cut(ErrRevoked)
		done.Connections++
	}
	return done
}

// ExpelFrom puts somebody out of one room: they are told that they were kicked, or
// cut off with ErrRevoked where their dialect has no word for it.
func (h *Hub) ExpelFrom(ctx context.Context, t TenantID, u UserID, id RoomID) Expelled {
	h.mu.Lock()
	h.withdrawals++
	r := h.rooms[roomKey{t, id}]
	h.mu.Unlock()
	if r == nil {
		return Expelled{}
	}
	return Expelled{Seats: r.putOut(ctx, message{expel: u})}
}

// putOut empties the seat of whom m expels, if they have one, and counts it.
func (r *room) putOut(ctx context.Context, m message) (seats int) {
	m.cause = ErrRevoked
	done, err := r.send(ctx, m)
	if err == nil && done.expelled {
		return 1
	}
	return 0
}

// expel takes s out of the room, and tells all concerned.
func (r *room) expel(s *seat, m message) {
	s.person.putOut.Store(true)
	r.leave(s)
	switch {
	case s.isAway():
		r.awaitReturn()
	case m.wordless:
	case s.untold:
		s.person.out.Cut(ErrRevoked)
	default:
		r.tell(s, Kicked{r.id, r.host})
	}
	r.hub.watch.Expelled(r.id, Caller{s.User, s.person.remote}, m.cause)
}
