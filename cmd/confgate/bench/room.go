package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
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
	settleFor  = 15 * time.Second      // for the gateway to be as it was before
)

var (
	errNotWhole   = errors.New("not everybody hears and sees everybody")
	errUnsettled  = errors.New("the gateway is not as it was before the run")
	errIncomplete = errors.New("the run was broken off")
)

// room is the scenario in which everybody in one room receives everybody else.
type room struct {
	options options
	stage   *stage
	crowd   []*member
	server  *server
}

func newRoom(o options) (*room, error) {
	dials, err := findDialect(o.dialect)
	if err != nil {
		return nil, err
	}
	within := loopback
	if o.allowRemote {
		within = anywhere
	}
	engine, err := newEngine(within)
	if err != nil {
		return nil, err
	}
	web := newWeb()
	s := &stage{
		web: web, gateway: o.gateway,
		room:   fmt.Sprintf("c-bench-%08x", rand.Uint32()),
		users:  make(map[string]uint16),
		engine: engine, load: o.load,
		clock: clock{time.Now()}, window: newWindow(), board: newBoard(),
	}
	r := &room{options: o, stage: s, server: &server{pid: o.pid, admin: o.admin, web: web}}
	// Names are numbers, because some dialects' are, and nobody else's, because
	// joining under somebody's name would push them out.
	first := 1_000_000_000 + rand.IntN(1_000_000)*1000
	for i := range o.members {
		user := strconv.Itoa(first + i)
		s.users[user] = uint16(i)
		r.crowd = append(r.crowd, &member{
			stage: s, dial: dials[i%len(dials)], index: uint16(i), user: user,
			connected: make(chan *publication, 1), down: make(map[string]*subscription),
			phase: audioEvery * time.Duration(i) / time.Duration(o.members),
		})
	}
	return r, nil
}

// newWeb makes an HTTP client that goes straight to where it is sent.
func newWeb() *http.Client {
	return &http.Client{Transport: &http.Transport{Proxy: nil, MaxIdleConnsPerHost: 4}}
}

// run plays the scenario. There is a report even if things went wrong; the error
// says that the run could not be played to its end.
func (r *room) run(ctx context.Context) (*report, error) {
	defer r.stage.web.CloseIdleConnections()
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
		err = r.settle(ctx, rep, began)
	}
	r.finish(rep)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", errIncomplete, context.Cause(ctx))
	}
	return rep, err
}

// play goes from the first join to the last packet.
func (r *room) play(ctx context.Context, rep *report, began sight) error {
	start := r.stage.clock.now()
	if err := r.ramp(ctx); err != nil {
		return err
	}
	rep.SetupSeconds = round(time.Duration(r.stage.clock.now()-start).Seconds(), 3)
	before, err := r.server.look(ctx)
	if err != nil {
		return err
	}
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
	r.costs(rep, began, before, after, own, ownAfter)
	return nil
}

// ramp lets members join: one after another, the next when the room is whole again,
// or at a steady rate whatever comes of it. Once the room has failed to become whole,
// the rest join without waiting, to see how far they get.
func (r *room) ramp(ctx context.Context) error {
	if r.options.joinRate > 0 {
		return r.rampSteadily(ctx)
	}
	joined, broken := 0, false
	for _, m := range r.crowd {
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

func (r *room) rampSteadily(ctx context.Context) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / r.options.joinRate))
	defer tick.Stop()
	var joins sync.WaitGroup
	defer joins.Wait()
	for _, m := range r.crowd {
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
func (r *room) giveUpOn(err error) error {
	if errors.Is(err, errNotWhole) {
		return nil
	}
	return err
}

// join lets one member in, as far as its line; a failure is on the board.
func (r *room) join(ctx context.Context, m *member) error {
	err := m.join(ctx, dialLimit)
	if err != nil && ctx.Err() == nil {
		r.stage.board.fault("member %d: %v", m.index, err)
	}
	return err
}

// awaitWhole waits until n members receive each other, and gives up with errNotWhole
// when that takes too long.
func (r *room) awaitWhole(ctx context.Context, n int) error {
	within, cancel := context.WithTimeoutCause(ctx, wholeLimit, errNotWhole)
	defer cancel()
	err := r.stage.board.await(within, whole(n))
	if errors.Is(err, errNotWhole) {
		r.stage.board.fault("%v %v after a join", err, wholeLimit)
	}
	return err
}

// drain waits until every packet of the window has come, or until no more do. Members
// keep sending meanwhile, so that the last packets of the window can be missed and
// asked for.
func (r *room) drain(ctx context.Context) error {
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
func (r *room) tally() outcome {
	var sum outcome
	came := make(map[uint16][]*subscription)
	for _, m := range r.crowd {
		_, down := m.media()
		for _, sub := range down {
			came[sub.sender] = append(came[sub.sender], sub)
		}
	}
	for _, m := range r.crowd {
		up, _ := m.media()
		if up == nil {
			continue // the report has it among those who did not join
		}
		for k := range kinds {
			var ledgers []*ledger
			for _, sub := range came[m.index] {
				ledgers = append(ledgers, &sub.came[k])
			}
			sum = sum.plus(judge(up.log[k].within(r.stage.window), len(r.crowd)-1, ledgers))
		}
	}
	return sum
}

// repairs counts the video packets that were missed on the way.
type repairs struct{ missed, recovered uint64 }

func (r *room) repairs() repairs {
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
func (r *room) leave(ctx context.Context) {
	var goodbyes sync.WaitGroup
	for _, m := range r.crowd {
		m.leaving.Store(true)
	}
	for _, m := range r.crowd {
		goodbyes.Go(func() { m.leave(ctx) })
	}
	goodbyes.Wait()
	r.stage.web.CloseIdleConnections() // they would count among the gateway's goroutines
}

// settle waits until the gateway is as it was before the run.
func (r *room) settle(ctx context.Context, rep *report, began sight) error {
	if r.options.admin == nil {
		return nil
	}
	for deadline := r.stage.clock.now() + int64(settleFor); ; {
		now, err := r.server.look(ctx)
		if err != nil {
			return err
		}
		left := now.leftover(began)
		rep.Settled = new(len(left) == 0)
		if len(left) == 0 {
			return nil
		}
		if r.stage.clock.now() > deadline {
			r.stage.board.fault("%v: %v", errUnsettled, left)
			return nil
		}
		if err := pause(ctx, time.Second/4); err != nil {
			return err
		}
	}
}

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
