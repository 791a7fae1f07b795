package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	wholeLimit = 20 * time.Second      // for the room to be whole after a join
	dialLimit  = 10 * time.Second      // for a member's line to be up
	drainIdle  = 2 * time.Second       // without a late packet, after the window: NACKs go on for less
	drainLimit = 30 * time.Second      // for late packets in all
	drainStep  = 50 * time.Millisecond // between looks at whether all came
	leaveFor   = 20 * time.Second      // for all to say goodbye and close
)

var (
	errNotWhole   = errors.New("not everybody hears and sees everybody")
	errIncomplete = errors.New("the run was broken off")
)

// call is a scenario in which people meet in rooms and stay. Of each room's people the
// first publish, and everybody receives those.
type call struct {
	options options
	stage   *stage
	crowd   []*member // in the order in which they join
	whole   []extent  // what there is when so many have joined
	server  *server
}

// extent is how much there is of a call.
type extent struct {
	legs  int // connections
	pairs int // of a sender and one who receives their media
}

func newCall(o options) (scenario, error) { return openCall(o) }

func openCall(o options) (*call, error) {
	dials, err := findDialect(o.dialect)
	if err != nil {
		return nil, err
	}
	s, err := newStage(o)
	if err != nil {
		return nil, err
	}
	c := &call{
		options: o, stage: s, whole: extents(o),
		server: &server{pid: o.pid, admin: o.admin, web: s.web},
	}
	name := fmt.Sprintf("c-bench-%08x", rand.Uint32())
	first := firstName()
	for i := range o.members {
		room, place := i%o.rooms, i/o.rooms
		m := s.member(uint16(i), first+i, dials[i%len(dials)])
		m.room = fmt.Sprintf("%s-%d", name, room)
		m.sends = place < o.senders
		m.phase = audioEvery * time.Duration(i) / time.Duration(o.members)
		c.crowd = append(c.crowd, m)
	}
	return c, nil
}

// extents gives what there is when 0, 1, … of the members have joined.
func extents(o options) []extent {
	all := make([]extent, 1, o.members+1)
	for i := range o.members {
		place := i / o.rooms
		all = append(all, all[i].with(o, place, place < o.senders))
	}
	return all
}

// with adds one who finds so many others in the room.
func (e extent) with(o options, others int, sends bool) extent {
	receives := min(others, o.senders)
	e.legs += receives
	e.pairs += receives
	if sends {
		e.legs += 1 + others
		e.pairs += others
	}
	if o.load.isSilent() {
		e.pairs = 0
	}
	return e
}

func (r *call) run(ctx context.Context) (result, error) {
	rep, err := r.report(ctx)
	if rep == nil {
		return nil, err
	}
	return rep, err
}

// report plays the scenario.
func (r *call) report(ctx context.Context) (*report, error) {
	defer r.stage.close()
	began, err := r.server.look(ctx)
	if err != nil {
		return nil, err
	}
	rep := r.newReport()
	err = r.play(ctx, rep, began)
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
	defer cancel()
	r.leave(bye)
	if err == nil {
		rep.Settled, err = r.server.settle(ctx, began, r.stage.board)
	}
	r.finish(rep)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", errIncomplete, context.Cause(ctx))
	}
	return rep, err
}

// play goes from the first join to the last packet.
func (r *call) play(ctx context.Context, rep *report, began sight) error {
	start := r.stage.clock.now()
	joining, err := r.ramp(ctx, began)
	if err != nil {
		return err
	}
	rep.SetupSeconds = round(time.Duration(r.stage.clock.now()-start).Seconds(), 3)
	before, err := r.server.look(ctx)
	if err != nil {
		return err
	}
	joining.to, joining.after = r.stage.clock.now(), before
	own, repaired := lookAtSelf(), r.repairs()
	r.stage.window.from.Store(r.stage.clock.now())
	if err := pause(ctx, r.options.duration); err != nil {
		return err
	}
	r.stage.window.to.Store(r.stage.clock.now())
	after, err := r.server.look(ctx)
	if err != nil {
		return err
	}
	ownAfter := lookAtSelf()
	if err := r.drain(ctx); err != nil {
		return err
	}
	r.count(rep, repaired)
	r.costs(rep, began, before, after)
	if ownAfter.cpu > 0 {
		rep.Generator = newCost(own, ownAfter, r.stage.window.open(), rep.Received)
	}
	r.joinCost(rep, joining, before, after)
	return nil
}

// rush is a time in which members joined.
type rush struct {
	joins         int
	from, to      int64 // on the run's clock
	before, after sight
}

// ramp lets members join. In a call of equals that is one after another, the next when
// the room is whole again, or at a steady rate whatever comes of it. Where a few send
// to many the senders come first and one by one. It gives the time in which the others
// came.
func (r *call) ramp(ctx context.Context, began sight) (rush, error) {
	first := len(r.crowd)
	switch {
	case r.options.joinRate > 0 && r.options.senders*r.options.rooms < first:
		first = r.options.senders * r.options.rooms
	case r.options.joinRate > 0:
		first = 0
	}
	rest := rush{joins: len(r.crowd), from: r.stage.clock.now(), before: began}
	err := r.rampSlowly(ctx, r.crowd[:first])
	if err != nil || first == len(r.crowd) {
		return rest, err
	}
	if first > 0 {
		rest = rush{joins: len(r.crowd) - first, from: r.stage.clock.now()}
		if rest.before, err = r.server.look(ctx); err != nil {
			return rest, err
		}
	}
	return rest, r.rampSteadily(ctx, r.crowd[first:])
}

// rampSlowly lets one join after another. Once a room has failed to become whole, the
// rest join without waiting, to see how far they get.
func (r *call) rampSlowly(ctx context.Context, crowd []*member) error {
	joined, broken := 0, false
	for _, m := range crowd {
		if err := r.join(ctx, m); err != nil {
			broken = true
			continue
		}
		joined++
		if broken {
			continue
		}
		switch err := r.awaitWhole(ctx, joined); {
		case errors.Is(err, errNotWhole):
			broken = true
		case err != nil:
			return err
		default:
			m.timed(m.clock.now(), func(t *timings) *[]time.Duration { return &t.joinToWhole })
		}
	}
	if !broken {
		return ctx.Err()
	}
	return r.giveUpOn(r.awaitWhole(ctx, joined))
}

func (r *call) rampSteadily(ctx context.Context, crowd []*member) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / r.options.joinRate))
	defer tick.Stop()
	var joins sync.WaitGroup
	defer joins.Wait()
	for _, m := range crowd {
		joins.Go(func() { _ = r.join(ctx, m) }) // the board has it
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	joins.Wait()
	return r.giveUpOn(r.awaitWhole(ctx, len(r.crowd)))
}

// giveUpOn lets a room that is not whole pass: what is there is measured all the same.
func (r *call) giveUpOn(err error) error {
	if errors.Is(err, errNotWhole) {
		return nil
	}
	return err
}

// join lets one member in, as far as its line; a failure is on the board.
func (r *call) join(ctx context.Context, m *member) error {
	err := m.join(ctx)
	if err != nil && ctx.Err() == nil {
		r.stage.board.fault("member %d: %v", m.index, err)
	}
	return err
}

// awaitWhole waits until n members receive each other, and gives up with errNotWhole
// when that takes too long.
func (r *call) awaitWhole(ctx context.Context, n int) error {
	within, cancel := context.WithTimeoutCause(ctx, wholeLimit, errNotWhole)
	defer cancel()
	err := r.stage.board.await(within, func(p progress) bool {
		want := r.whole[max(n-p.gone, 0)]
		return p.joined >= n-p.gone && p.connected >= want.legs && p.flowing >= want.pairs
	})
	if errors.Is(err, errNotWhole) {
		r.stage.board.fault("%v %v after a join", err, wholeLimit)
	}
	return err
}

// drain waits until every packet of the window has come, or until no more do. Members
// keep sending meanwhile, so that the last packets of the window can be missed and
// asked for.
func (r *call) drain(ctx context.Context) error {
	began := r.stage.clock.now()
	came, last := uint64(0), began
	for {
		sum, now := r.tally(), r.stage.clock.now()
		if sum.received > came {
			came, last = sum.received, now
		}
		if sum.lost() == 0 || now-last > int64(drainIdle) || now-began > int64(drainLimit) {
			return nil
		}
		if err := pause(ctx, drainStep); err != nil {
			return err
		}
	}
}

// tally judges all tracks.
func (r *call) tally() outcome {
	var sum outcome
	came := make(map[uint16][]*subscription)
	people := make(map[string]int) // in each room
	for _, m := range r.crowd {
		people[m.room]++
		_, down := m.media()
		for _, sub := range down {
			came[sub.sender] = append(came[sub.sender], sub)
		}
	}
	for _, m := range r.crowd {
		up, _ := m.media()
		if up == nil {
			continue // sends nothing, or the report has it among those who did not join
		}
		for k := range kinds {
			var ledgers []*ledger
			for _, sub := range came[m.index] {
				ledgers = append(ledgers, &sub.came[k])
			}
			sum = sum.plus(judge(up.log[k].within(r.stage.window), people[m.room]-1, ledgers))
		}
	}
	return sum
}

// repairs counts the video packets that were missed on the way.
type repairs struct{ missed, recovered uint64 }

func (r *call) repairs() repairs {
	var sum repairs
	for _, m := range r.crowd {
		_, down := m.media()
		for _, sub := range down {
			sum.missed += sub.gaps.found.Load()
			sum.recovered += sub.gaps.recovered.Load()
		}
	}
	return sum
}

// leave lets everybody go at once.
func (r *call) leave(ctx context.Context) { r.stage.leave(ctx, r.crowd) }
