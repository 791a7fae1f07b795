package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

func parseCut(f *trialFlags) {
	f.IntVar(&f.trial.members, "members", 50, "how `many` have their lines cut, five in each room")
	f.IntVar(&f.trial.guests, "cuts", 4, "how `often` each")
}

const (
	cutParty   = 5               // whose lines are cut, in a room
	maxAway    = time.Second     // from the cut until somebody tries to come back
	maxOnline  = 2 * time.Second // between cuts
	resumeMost = 2000.0          // ms
	noticeMost = 35_000.0        // ms
	backLimit  = 40 * time.Second
	backPause  = 250 * time.Millisecond
)

// cut is a trial in which lines are cut, and people come back in time.
type cut struct {
	*soak
	mu   sync.Mutex
	took map[string][]time.Duration // guarded by mu: to be back, by how the line was cut
}

// How lines are cut. In `eventOp`, whose connection went silent is let in again once the
// gateway has noticed; in `id`, at once.
const (
	byReset    = "a reset"
	bySilence  = "silence, id"
	bySilence2 = "silence, eventOp"
)

// playCut cuts people's lines, by a reset or by silence, and has them come back in time:
// to the others they were never away.
func playCut(ctx context.Context, o *ordeal, rep *faultReport) error {
	s := &soak{
		trial: o.trial, subject: o.subject, people: newPeople(), web: newWeb(), first: firstName(), counts: newCounts(),
	}
	var err error
	if s.engine, err = newEngine(loopback); err != nil {
		return err
	}
	defer s.engine.close()
	defer s.web.CloseIdleConnections()
	c, rng := &cut{soak: s, took: make(map[string][]time.Duration)}, seeded(o.trial.seed)
	rooms := max(o.trial.members/cutParty, 1)
	errs := make([]error, rooms)
	var all sync.WaitGroup
	o.now("cutting")
	steps := make([]int, rooms)
	for i := range rooms {
		m := &meeting{
			soak: s, room: fmt.Sprintf("c-cut-%d", i), tag: fmt.Sprintf("%08x", rng.Uint32()), rng: seeded(rng.Uint64()),
			clock: clock{time.Now()}, window: newWindow(), board: newBoard(),
		}
		all.Go(func() { steps[i], errs[i] = c.meet(ctx, m) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	told := 0
	for _, n := range steps {
		told += n
	}
	back := len(c.took[byReset]) + len(c.took[bySilence]) + len(c.took[bySilence2])
	rep.exactly("lines cut, and back", float64(back), float64(rooms*cutParty*o.trial.guests), "")
	for _, how := range []string{byReset, bySilence, bySilence2} {
		most := resumeMost
		if how == bySilence2 {
			most = noticeMost
		}
		sum := summarize(c.took[how])
		rep.tell("back after "+how+", p50", sum.P50, "ms")
		rep.most("slowest", sum.Max, most, "ms")
	}
	rep.exactly("arrivals and departures that others were told", float64(told), float64(2*rooms*cutParty), "")
	rep.tell("messages checked", float64(s.account.heard.Load()), "")
	rep.exactly("packets between the others", float64(s.counts.lost.Load()), 0, fmt.Sprintf("lost of %d", s.counts.expected.Load()))
	rep.exactly("violations", float64(s.broken), 0, "")
	for _, v := range s.violations {
		rep.fault("%s", v)
	}
	return nil
}

// meet holds a meeting in which lines are cut, and gives how often an observer was told
// that somebody came or left.
func (c *cut) meet(ctx context.Context, m *meeting) (int, error) {
	err := m.hold(ctx, func(here context.Context) {
		var all sync.WaitGroup
		var party together
		party.seated.Add(cutParty)
		party.done.Add(cutParty)
		for i := range cutParty {
			seed := m.rng.Uint64()
			all.Go(func() { c.visit(here, m, dialectOf(i), seeded(seed), &party) })
		}
		all.Wait()
	})
	if err != nil {
		return 0, err
	}
	return len(m.told), nil
}

// together is a party that comes and goes as one.
type together struct{ seated, done sync.WaitGroup }

// visit is that of one whose line is cut time and again.
func (c *cut) visit(ctx context.Context, m *meeting, d string, rng *rand.Rand, party *together) {
	g := &guest{meeting: m, way: &guestWay{name: "cut"}, rng: rng, wires: wires{dialect: d, about: "cut, " + d}}
	g.road = newRoad(address(rng))
	one, e := g.newcomer(g.stage(g.road.web, newBoard()), g.wires)
	in := g.enter(ctx, one, e)
	party.seated.Done()
	party.seated.Wait() // from now on the others are known
	for n := range c.trial.guests {
		if !in || ctx.Err() != nil {
			break
		}
		g.stay = time.Duration(rng.Float64() * float64(maxOnline))
		g.stays(ctx, one)
		how, before := c.sever(g, n), *g
		one.leaving.Store(true)
		_ = pause(ctx, time.Duration(rng.Float64()*float64(maxAway)))
		began := time.Now()
		again, seen := c.comeBack(ctx, g, one)
		if in = again != nil; in {
			c.back(how, time.Since(began))
			if others := seen.others(); len(others) != len(m.observers)+cutParty-1 {
				c.violated("%s came back after %s and found %v", one.user, how, others)
			}
		}
		before.end(ctx, one) // which changes nothing any more
		before.road.close()
		one = again
	}
	party.done.Done()
	party.done.Wait()
	if one != nil {
		g.end(ctx, one)
	}
	g.road.close()
}

// sever cuts a line, and tells how.
func (c *cut) sever(g *guest, n int) string {
	last := n == c.trial.guests-1
	switch {
	case g.wires.dialect == "id" && n%2 == 1:
		g.road.silence()
		return bySilence
	case g.wires.dialect == "eventop" && last:
		g.road.silence()
		return bySilence2
	}
	g.road.reset()
	return byReset
}

// comeBack tries until it is let in, as somebody whose line was cut.
func (c *cut) comeBack(ctx context.Context, g *guest, as *member) (*member, *eyes) {
	within, cancel := context.WithTimeout(ctx, backLimit)
	defer cancel()
	for {
		g.road = newRoad(address(g.rng))
		b := newBoard()
		again, seen := g.sameName(g.stage(g.road.web, b), g.wires, as.user, as.index)
		err := again.join(context.WithoutCancel(ctx))
		if err == nil {
			err = b.await(within, func(p progress) bool { return p.joined+p.gone > 0 })
		}
		if now, _, _ := b.read(); err == nil && now.joined > 0 {
			return again, seen
		}
		g.end(ctx, again)
		g.road.close()
		if pause(within, backPause) != nil {
			_, _, faults := b.read()
			c.violated("%s could not come back: %v; %v", as.user, err, faults)
			return nil, nil
		}
	}
}

// back notes how long it took to be back.
func (c *cut) back(how string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.took[how] = append(c.took[how], took)
}
