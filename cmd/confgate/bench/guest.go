package bench

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// guest is one who comes to a meeting, and goes in a way of their own.
type guest struct {
	*meeting
	way   *guestWay
	rng   *rand.Rand
	road  *road
	stay  time.Duration
	wires wires
}

// guestWay is a way to be there and to go.
type guestWay struct {
	name    string
	share   int  // how many of all come so
	babbles bool // says what nobody means
	line    func(g *guest) (*badLine, error)
	visit   func(g *guest, ctx context.Context, m *member, e *eyes)
}

// guestWays are all there are.
var guestWays = []guestWay{
	{name: "calm", share: 4, visit: (*guest).leaves},
	{name: "on a bad line", share: 3, line: (*guest).worsen, visit: (*guest).leaves},
	{name: "reset", share: 4, visit: (*guest).isReset},
	{name: "silent", share: 2, visit: (*guest).goesSilent},
	{name: "stalled", share: 2, visit: (*guest).stalls},
	{name: "displaced", share: 3, visit: (*guest).isDisplaced},
	{name: "malformed", share: 4, babbles: true, visit: (*guest).mangles},
	{name: "frozen", share: 1}, // in a program of its own: see crowd
}

const (
	maxVisit   = 8 * time.Second
	cutLimit   = 70 * time.Second // for the gateway to notice who is silent or deaf
	deafTalk   = 10 * time.Second
	frameEvery = 20 * time.Millisecond
)

// receive lets guests come until ctx ends, and waits until the last has gone.
func (m *meeting) receive(ctx context.Context) {
	var visits sync.WaitGroup
	defer visits.Wait()
	seats := make(chan struct{}, m.trial.guests)
	tick := time.NewTicker(guestEvery)
	defer tick.Stop()
	for {
		select {
		case seats <- struct{}{}:
		case <-ctx.Done():
			return
		}
		g, rng := m.nextGuest(), seeded(m.rng.Uint64())
		g.rng = rng
		m.counts.guests[g.way.name].Add(1)
		if g.way.visit == nil {
			crowd := m.newCrowd(rng)
			visits.Go(func() {
				defer func() { <-seats }()
				m.freezes(ctx, crowd, rng)
			})
		} else {
			visits.Go(func() {
				defer func() { <-seats }()
				g.come(ctx)
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// nextGuest draws who comes next.
func (m *meeting) nextGuest() *guest {
	total := 0
	for _, w := range guestWays {
		total += w.share
	}
	at := m.rng.IntN(total)
	g := &guest{meeting: m, stay: time.Duration(m.rng.Float64() * m.rng.Float64() * float64(maxVisit))}
	for i := range guestWays {
		g.way = &guestWays[i]
		if at -= g.way.share; at < 0 {
			break
		}
	}
	g.wires = wires{babbles: g.way.babbles, dialect: "id", sends: m.rng.IntN(2) == 0}
	if m.rng.IntN(2) == 0 {
		g.wires.dialect = "eventop"
	}
	g.wires.about = g.way.name + ", " + g.wires.dialect
	return g
}

// come is a guest's whole visit.
func (g *guest) come(ctx context.Context) {
	g.road = newRoad(address(g.rng))
	defer g.road.close()
	if g.way.line != nil {
		bad, err := g.way.line(g)
		if err != nil {
			g.violated("bad line: %v", err)
			return
		}
		defer bad.close()
		g.wires.media = bad.port()
	}
	b := newBoard() // of one whose line is not to be trusted
	if g.way.name == "calm" {
		b = g.board
	}
	m, e := g.newcomer(g.stage(g.road.web, b), g.wires)
	defer g.end(ctx, m)
	if g.enter(ctx, m, e) {
		g.way.visit(g, ctx, m, e)
	}
}

// enter lets a guest join.
func (g *guest) enter(ctx context.Context, m *member, e *eyes) bool {
	g.remember(m)
	joining := context.WithoutCancel(ctx)
	if err := m.join(joining); err != nil {
		g.violated("guest %s (%s): %v", m.user, g.way.name, err)
		return false
	}
	limit := time.NewTimer(enterLimit)
	defer limit.Stop()
	select {
	case <-e.entered:
		g.counts.joins.Add(1)
		return true
	case <-limit.C:
		_, _, faults := m.board.read()
		g.violated("guest %s (%s): %v within %v; %v", m.user, g.way.name, errNotIn, enterLimit, faults)
		return false
	}
}

// remember keeps a guest's name until the meeting ends.
func (m *meeting) remember(one *member) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names = append(m.names, one)
}

// end lets go of all that a guest had.
func (g *guest) end(ctx context.Context, m *member) {
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
	defer cancel()
	if g.road.now() != sound && m.line != nil {
		m.leaving.Store(true)
		m.line.hangUp()
	}
	m.leave(bye)
}

// stays is there for a while, and takes part.
func (g *guest) stays(ctx context.Context, m *member) {
	staying, cancel := context.WithTimeout(ctx, g.stay)
	defer cancel()
	m.talk(staying, g.tag)
}

func (g *guest) leaves(ctx context.Context, m *member, _ *eyes) { g.stays(ctx, m) }

// worsen makes the line that the guest's media go over.
func (g *guest) worsen() (*badLine, error) {
	w := weather{
		loss: g.rng.Float64() * 0.2, twice: 0.02, corrupt: 0.02,
		delay: time.Duration(g.rng.IntN(60)) * time.Millisecond, jitter: time.Duration(g.rng.IntN(40)) * time.Millisecond,
	}
	return newBadLine(g.subject.media, w, g.rng.Uint64(), &g.counts.datagrams)
}

func (g *guest) isReset(ctx context.Context, m *member, _ *eyes) {
	g.stays(ctx, m)
	m.leaving.Store(true)
	g.road.reset()
}

// goesSilent waits until the gateway has noticed.
func (g *guest) goesSilent(ctx context.Context, m *member, _ *eyes) {
	g.stays(ctx, m)
	m.leaving.Store(true)
	g.road.silence()
	g.awaitCut(ctx, m.user, &g.counts.silent)
}

// stalls reads nothing any more. One who says nothing either is to be noticed; one who
// goes on talking is there, and costs the gateway no more than what waits for them.
func (g *guest) stalls(ctx context.Context, m *member, _ *eyes) {
	g.stays(ctx, m)
	m.leaving.Store(true)
	g.road.stall()
	if g.rng.IntN(2) == 0 {
		g.stay += deafTalk
		g.stays(ctx, m)
		g.road.reset()
		return
	}
	g.awaitCut(ctx, m.user, &g.counts.deaf)
}

// awaitCut takes down how long it takes until the others are told that somebody left,
// who did not say so.
func (g *guest) awaitCut(ctx context.Context, user string, to *trips) {
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, cutLimit)
	defer cancel()
	for g.observers[0].eyes.sees(user) {
		switch err := pause(within, drainStep); {
		case err == nil:
		case ctx.Err() != nil: // the meeting ends
			return
		default:
			g.violated("a guest (%s) was not cut off within %v", g.wires.about, cutLimit)
			return
		}
	}
	to.add(time.Since(began))
}

// isDisplaced has the same user come by another way; then what becomes of the first
// changes nothing.
func (g *guest) isDisplaced(ctx context.Context, m *member, _ *eyes) {
	g.stays(ctx, m)
	m.leaving.Store(true)
	again := *g
	again.road = newRoad(address(g.rng))
	defer again.road.close()
	line := g.wires
	line.entry = displacing
	second, e := g.sameName(g.stage(again.road.web, newBoard()), line, m.user, m.index)
	defer again.end(ctx, second)
	if !again.enter(ctx, second, e) {
		return
	}
	g.counts.takeovers.Add(1)
	if g.rng.IntN(2) == 0 {
		g.road.reset()
	}
	again.stays(ctx, second)
}

// mangles says what no client says, among what clients do.
func (g *guest) mangles(ctx context.Context, m *member, e *eyes) {
	m.leaving.Store(true)
	staying, cancel := context.WithTimeout(ctx, g.stay)
	defer cancel()
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	e.deafen()
	for {
		select {
		case <-tick.C:
		case <-staying.Done():
			return
		}
		writing, done := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
		err := shout(writing, e.witness.carrier, g.mangler.next(g.rng), g.rng.IntN(4) == 0)
		done()
		if err != nil {
			return // the gateway has had enough
		}
		g.counts.malformed.Add(1)
	}
}

// shout writes a frame that is not what it should be, now and then without what each
// frame is wrapped in.
func shout(ctx context.Context, c carrier, frame []byte, naked bool) error {
	var ws *websocket.Conn
	switch c := c.(type) {
	case *sockjs:
		if !naked {
			return c.write(ctx, frame)
		}
		ws = c.ws
	case *socketIO:
		if !naked {
			return c.send(ctx, slices.Concat([]byte(`42["knowledgetalk",`), frame, []byte("]")))
		}
		ws = c.ws
	default:
		return errNoWay
	}
	return ws.Write(ctx, websocket.MessageText, frame)
}

// counts is what came about in a soak.
type counts struct {
	meetings, joins, departures, takeovers, malformed, reloads, freezes atomic.Uint64
	expected, lost                                                      atomic.Uint64
	datagrams                                                           fates
	silent, deaf                                                        trips
	guests                                                              map[string]*atomic.Uint64
}

func newCounts() *counts {
	c := &counts{guests: make(map[string]*atomic.Uint64)}
	for _, w := range guestWays {
		c.guests[w.name] = new(atomic.Uint64)
	}
	return c
}
