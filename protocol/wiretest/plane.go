package wiretest

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"confgate/core"
)

// plane is a media plane that agrees to everything at once, but to an SDP that
// says "bad"; or, once it was told to wait, that does as the script says. It notes
// what is asked of it against the contract of core.Media.
type plane struct {
	// Guarded by mu.
	mu     sync.Mutex
	waits  bool
	rooms  map[core.RoomID]*media // the last of each name
	all    []*media
	faults []string // what no room may ask
}

func newPlane() *plane { return &plane{rooms: make(map[core.RoomID]*media)} }

func (p *plane) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits = true
}

// Open implements core.Plane.
func (p *plane) Open(room core.RoomID, _ core.MediaOptions, tell func(core.MediaEvent)) core.Media {
	m := &media{
		plane: p, told: make(chan core.MediaEvent, 256), done: make(chan struct{}),
		legs: make(map[uint64]*leg), now: make(map[core.Leg]uint64),
	}
	p.mu.Lock()
	p.rooms[room] = m
	p.all = append(p.all, m)
	p.mu.Unlock()
	go func() {
		for {
			select {
			case e := <-m.told:
				tell(e)
			case <-m.done:
				return
			}
		}
	}()
	return m
}

// act does what a script says of a room's media.
func (p *plane) act(room core.RoomID, what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.rooms[room]
	if m == nil {
		return fmt.Errorf("%s has no media to say that %s", room, what)
	}
	if user, ok := strings.CutSuffix(what, " talks"); ok {
		m.tell(core.Talked{User: core.UserID(user), On: true})
		return nil
	}
	if user, ok := strings.CutSuffix(what, " is silent"); ok {
		m.tell(core.Talked{User: core.UserID(user)})
		return nil
	}
	var (
		n    uint64
		verb string
	)
	if _, err := fmt.Sscanf(what, "leg %d %s", &n, &verb); err != nil || m.legs[n] == nil {
		return fmt.Errorf("there is no doing %q in %s", what, room)
	}
	m.act(m.legs[n], verb)
	return nil
}

// media is one room's. What is in it is guarded by the plane's mu.
type media struct {
	plane *plane
	told  chan core.MediaEvent
	done  chan struct{}

	legs  map[uint64]*leg     // all there ever were
	now   map[core.Leg]uint64 // the one of each name, which is a Leg without its number
	ended bool
}

// leg is a connection that was asked for.
type leg struct {
	core.Leg
	over string                              // what ended it
	due  []func(err error) []core.MediaEvent // settle what was asked
}

var found = []core.Candidate{{Line: "candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host", Mid: "0"}}

var errBadSDP = errors.New("bad SDP")

// begin notes a new connection, which takes the place of its predecessor.
func (m *media) begin(l core.Leg) *leg {
	name := l
	name.N = 0
	if old := m.legs[m.now[name]]; old != nil && old.over == "" {
		old.over = "replaced"
	}
	if m.legs[l.N] != nil || m.ended {
		m.fault("leg %d asked for again, or after the end", l.N)
	}
	m.now[name] = l.N
	m.legs[l.N] = &leg{Leg: l}
	return m.legs[l.N]
}

func (m *media) fault(format string, args ...any) {
	m.plane.faults = append(m.plane.faults, fmt.Sprintf(format, args...))
}

// ask notes how to settle what was asked of l, and does so unless the script will.
func (m *media) ask(l *leg, sdp string, settle func(err error) []core.MediaEvent) {
	l.due = append(l.due, settle)
	switch {
	case m.plane.waits:
	case sdp == "bad":
		m.act(l, "refuses")
	default:
		m.act(l, "agrees")
		if _, ready := settle(nil)[0].(core.Ready); !ready {
			m.act(l, "connects")
		}
	}
}

// act has l do something, whether or not it could.
func (m *media) act(l *leg, verb string) {
	switch verb {
	case "connects":
		m.tell(core.Connected{Leg: l.Leg})
		m.tell(core.Flowing{Leg: l.Leg})
	case "fails":
		m.finish(l, "failed")
		m.tell(core.Failed{Leg: l.Leg, Cause: errors.New("ICE failed")})
	case "agrees", "refuses":
		if len(l.due) == 0 {
			return
		}
		var err error
		if verb == "refuses" {
			err = errBadSDP
			m.finish(l, "refused")
		}
		settle := l.due[0]
		l.due = l.due[1:]
		for _, e := range settle(err) {
			m.tell(e)
		}
	}
}

// finish ends a leg that lives.
func (m *media) finish(l *leg, how string) {
	if l.over == "" {
		l.over = how
	}
}

func (m *media) tell(e core.MediaEvent) {
	if !m.ended {
		m.told <- e
	}
}

// Accept implements core.Media.
func (m *media) Accept(l core.Leg, ref core.Ref, offer string) {
	m.plane.mu.Lock()
	defer m.plane.mu.Unlock()
	m.ask(m.begin(l), offer, func(err error) []core.MediaEvent {
		if err != nil {
			return []core.MediaEvent{core.Accepted{Leg: l, Ref: ref, Err: err}}
		}
		return []core.MediaEvent{core.Accepted{Leg: l, Ref: ref, Answer: "answer to " + offer, Candidates: found}}
	})
}

// Offer implements core.Media.
func (m *media) Offer(l core.Leg, ref core.Ref, _, _ bool) {
	m.plane.mu.Lock()
	defer m.plane.mu.Unlock()
	offer := fmt.Sprintf("offer of %s's %s", l.Stream.User, l.Stream.Source)
	m.ask(m.begin(l), "", func(err error) []core.MediaEvent {
		if err != nil {
			return []core.MediaEvent{core.Ready{Leg: l, Ref: ref, Err: err}}
		}
		return []core.MediaEvent{core.Ready{Leg: l, Ref: ref, Offer: offer, Candidates: found}}
	})
}

// Answer implements core.Media.
func (m *media) Answer(l core.Leg, ref core.Ref, answer string) {
	m.plane.mu.Lock()
	defer m.plane.mu.Unlock()
	known := m.legs[l.N]
	if known == nil || known.over != "" && known.over != "failed" { // which the room may not have heard yet
		m.fault("an answer for leg %d, which is not there", l.N)
		return
	}
	m.ask(known, answer, func(err error) []core.MediaEvent {
		return []core.MediaEvent{core.Settled{Leg: l, Ref: ref, Err: err}}
	})
}

// Trickle implements core.Media.
func (*media) Trickle(core.UserID, core.Stream, core.Candidate) {}

// Drop implements core.Media.
func (m *media) Drop(l core.Leg) {
	m.plane.mu.Lock()
	defer m.plane.mu.Unlock()
	switch known := m.legs[l.N]; {
	case known == nil:
		m.fault("leg %d dropped, which never was", l.N)
	case known.over != "" && known.over != "failed":
		m.fault("leg %d dropped, which was %s already", l.N, known.over)
	default:
		known.over = "dropped"
	}
}

// Close implements core.Media.
func (m *media) Close() {
	m.plane.mu.Lock()
	defer m.plane.mu.Unlock()
	for _, l := range m.legs {
		m.finish(l, "closed")
	}
	m.ended = true
	close(m.done)
}
