package core

import (
	"cmp"
	"slices"
	"time"
)

// takeOver is how long the seats of a connection that has gone quiet wait for the one
// that took its place.
const takeOver = 10 * time.Second

// hold keeps the seat of somebody whose connection was lost, for as long as they may
// come back. Nobody is told. What they send goes on, if its connection does; what
// they received ends, since they will ask for it anew.
func (r *room) hold(s *seat, grace time.Duration) {
	s.away = time.Now().Add(grace)
	for _, l := range r.legsInOrder() {
		if l.seat == s && (!l.Up() || l.waits != nil) {
			r.media.Drop(l.Leg)
			r.remove(l)
			if l.Up() {
				r.dropFeed(l.Stream)
			}
		}
	}
	r.awaitReturn()
}

// awaitReturn sets the room's timer for whoever is overdue first.
func (r *room) awaitReturn() {
	if r.overdue != nil {
		r.overdue.Stop()
		r.overdue = nil
	}
	var first time.Time
	for _, s := range r.seats {
		if s.isAway() && (first.IsZero() || s.away.Before(first)) {
			first = s.away
		}
	}
	if !first.IsZero() {
		r.overdue = time.NewTimer(time.Until(first))
	}
}

// whenOverdue gives a tick when somebody has been away for too long.
func (r *room) whenOverdue() <-chan time.Time {
	if r.overdue == nil {
		return nil
	}
	return r.overdue.C
}

// giveUpAway has those leave who did not come back in time.
func (r *room) giveUpAway() {
	for _, s := range slices.Clone(r.seats) {
		if s.isAway() && !s.away.After(time.Now()) {
			r.leave(s)
		}
	}
	r.awaitReturn()
}

func (s *seat) isAway() bool { return !s.away.IsZero() }

// resume gives somebody who comes back their seat. The others are told what has
// changed about them, and not that they were away.
func (r *room) resume(s *seat, c Join, p *person) (Result, error) {
	right, err := r.hub.reseat(r, p)
	if err != nil {
		return nil, err
	}
	as := r.hub.limits.profile(c.As)
	changed := Changed{
		Name: as.Name != "" && as.Name != s.Name, Video: as.Video != s.Video, Audio: as.Audio != s.Audio,
	}
	s.person, s.away, s.joined, s.media, s.candidates = p, time.Time{}, time.Now(), false, r.hub.limits.Candidates
	s.right, s.renews, s.untold = right, c.Renews, c.Untold
	s.Name, s.Device, s.Video, s.Audio = cmp.Or(as.Name, s.Name), cmp.Or(as.Device, s.Device), as.Video, as.Audio
	r.awaitReturn()
	// Who joins finds themself last.
	r.seats = append(slices.DeleteFunc(r.seats, func(o *seat) bool { return o == s }), s)
	if changed != (Changed{}) {
		r.tellOthers(s, MemberEdited{r.id, r.member(s), changed})
	}
	r.greet(s)
	return Joined{r.state()}, nil
}
