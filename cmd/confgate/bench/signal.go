package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	maxSockets     = 20_000
	maxBusy        = 20_000
	maxPerRoom     = 100
	maxCallers     = 50
	maxConnectRate = 5000
	dialsAtOnce    = 64
	answerLimit    = 5 * time.Second // for the last answers
)

// parseSignal reads the arguments of `bench signal`, in which people sit in rooms
// without media while others hold a call.
func parseSignal(args []string, w io.Writer) (options, error) {
	f := newFlags("signal", w)
	f.IntVar(&f.members, "sockets", 1000, "how `many` sit there")
	f.IntVar(&f.perRoom, "per-room", 10, "how many of them are in a `room`")
	f.Float64Var(&f.joinRate, "connect-rate", 500, "how many `connect` each second")
	f.IntVar(&f.busy, "busy", 0, "`requests` a second, of all together")
	f.IntVar(&f.callers, "callers", 10, "people that `join` a call before and among them; 0: no call")
	f.DurationVar(&f.duration, "duration", 20*time.Second, "how `long` they sit there once all are connected")
	if err := f.parse(args); err != nil {
		return f.options, err
	}
	f.rooms = (f.members + max(f.perRoom, 1) - 1) / max(f.perRoom, 1)
	f.open = newSignal
	return f.options, errors.Join(
		within("sockets", f.members, 1, maxSockets),
		within("per-room", f.perRoom, 1, maxPerRoom),
		rateWithin("connect-rate", f.joinRate, 1, maxConnectRate),
		within("busy", f.busy, 0, maxBusy),
		within("callers", f.callers, 0, maxCallers),
		durationWithin("duration", f.duration, 100*time.Millisecond),
	)
}

// signal is a scenario of people who have a line and no media.
type signal struct {
	options options
	stage   *stage
	crowd   []*member
	server  *server
}

func newSignal(o options) (scenario, error) {
	dials, err := findDialect(o.dialect)
	if err != nil {
		return nil, err
	}
	s, err := newStage(o)
	if err != nil {
		return nil, err
	}
	g := &signal{options: o, stage: s, server: &server{pid: o.pid, admin: o.admin, web: s.web}}
	name, first := fmt.Sprintf("c-bench-%08x", rand.Uint32()), firstName()
	for i := range o.members {
		m := s.member(uint16(i), first+i, dials[i%len(dials)])
		m.room = fmt.Sprintf("%s-%d", name, i/o.perRoom)
		g.crowd = append(g.crowd, m)
	}
	return g, nil
}

func (g *signal) run(ctx context.Context) (result, error) {
	defer g.stage.close()
	o := g.options
	rep := &signalReport{
		Scenario: o.scenario, Dialect: o.dialect, URL: o.gateway.String(), Seconds: o.duration.Seconds(),
		SocketsWanted: o.members, Busy: o.busy,
	}
	err := g.measure(ctx, rep)
	now, _, faults := g.stage.board.read()
	rep.Sockets, rep.Gone, rep.RoundTrip = now.joined, now.gone, g.stage.trips.summary()
	rep.Faults, rep.FaultCount = append(rep.Faults, faults...), rep.FaultCount+now.faults
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", errIncomplete, context.Cause(ctx))
	}
	return rep, err
}

func (g *signal) measure(ctx context.Context, rep *signalReport) error {
	if err := g.hold(ctx, rep, &rep.CallAlone); err != nil {
		return err
	}
	began, err := g.server.rest(ctx)
	if err != nil {
		return err
	}
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
		defer cancel()
		g.stage.leave(bye, g.crowd)
	}()
	if err := g.seat(ctx); err != nil {
		return err
	}
	before, err := g.server.look(ctx)
	if err != nil {
		return err
	}
	rep.take(began, before)
	if err := g.sit(ctx, rep); err != nil {
		return err
	}
	after, err := g.server.look(ctx)
	if err != nil {
		return err
	}
	rep.takeCost(before, after)
	rep.Unanswered = g.awaitAnswers(ctx)
	bye, cancel := context.WithTimeout(ctx, leaveFor)
	defer cancel()
	g.stage.leave(bye, g.crowd)
	g.crowd = nil
	rep.Settled, err = g.server.settle(ctx, began, g.stage.board)
	return err
}

// seat lets everybody connect and join.
func (g *signal) seat(ctx context.Context) error {
	tick := time.NewTicker(time.Duration(float64(time.Second) / g.options.joinRate))
	defer tick.Stop()
	var joins sync.WaitGroup
	defer joins.Wait()
	turns := make(chan struct{}, dialsAtOnce)
	for _, m := range g.crowd {
		select {
		case <-tick.C:
			turns <- struct{}{}
		case <-ctx.Done():
			return ctx.Err()
		}
		joins.Go(func() {
			defer func() { <-turns }()
			if err := m.join(ctx); err != nil && ctx.Err() == nil {
				g.stage.board.fault("member %d: %v", m.index, err)
				g.stage.board.note(func(p *progress, _ *timings) { p.gone++ })
			}
		})
	}
	joins.Wait()
	within, cancel := context.WithTimeout(ctx, wholeLimit)
	defer cancel()
	_ = g.stage.board.await(within, func(p progress) bool { return p.joined+p.gone >= len(g.crowd) }) // the report tells
	return ctx.Err()
}

// sit lets time pass, with requests and a call.
func (g *signal) sit(ctx context.Context, rep *signalReport) error {
	sitting, cancel := context.WithTimeout(ctx, g.options.duration)
	defer cancel()
	var busy sync.WaitGroup
	busy.Go(func() { rep.Late = g.poke(sitting) })
	err := g.hold(ctx, rep, &rep.CallAmong)
	<-sitting.Done()
	busy.Wait()
	return errors.Join(err, ctx.Err())
}

// poke makes requests until ctx is done. They come at even times, whatever becomes of
// those before; the times are those that were meant. It gives how late it was at most,
// in milliseconds.
func (g *signal) poke(ctx context.Context) float64 {
	if g.options.busy == 0 {
		return 0
	}
	every, next := int64(time.Second)/int64(g.options.busy), g.stage.clock.now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var late time.Duration
	for i := 0; ; {
		select {
		case <-ctx.Done():
			return millis(late)
		case <-timer.C:
		}
		now := g.stage.clock.now()
		for ; next <= now && ctx.Err() == nil; next += every {
			m := g.crowd[i%len(g.crowd)]
			i++
			m.pokeAt(context.WithoutCancel(ctx), next)
			late = max(late, time.Duration(g.stage.clock.now()-next))
		}
		timer.Reset(time.Duration(next - g.stage.clock.now()))
	}
}

// pokeAt makes a request that was to be made at a time. If the line is broken, listen
// says so.
func (m *member) pokeAt(ctx context.Context, at int64) {
	if m.hush == nil {
		return // did not get in
	}
	m.echoes.due(at)
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	_ = m.line.poke(ctx)
}

// awaitAnswers gives how many requests are not answered in the end.
func (g *signal) awaitAnswers(ctx context.Context) int {
	for deadline := time.Now().Add(answerLimit); ; {
		left := 0
		for _, m := range g.crowd {
			left += m.echoes.unanswered()
		}
		if left == 0 || time.Now().After(deadline) || pause(ctx, drainStep) != nil {
			return left
		}
	}
}

// hold holds a call, whose people join one after another.
func (g *signal) hold(ctx context.Context, rep *signalReport, to **callTimes) error {
	if g.options.callers == 0 {
		return nil
	}
	o := g.options
	o.members, o.rooms, o.senders, o.joinRate = o.callers+1, 1, 1, 0
	o.duration, o.load, o.pid, o.admin = time.Second, videoLoad(150, 15, 10*time.Second), 0, nil
	c, err := openCall(o)
	if err != nil {
		return err
	}
	r, err := c.report(ctx)
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	*to = &callTimes{r.JoinToFirst, r.JoinToPicture, r.Expected - r.Received}
	rep.Faults, rep.FaultCount = append(rep.Faults, r.Faults...), rep.FaultCount+r.FaultCount
	return nil
}

func (g *signal) progressLine() string {
	now, _, _ := g.stage.board.read()
	return fmt.Sprintf("connected %d/%d  gone %d  faults %d", now.joined, g.options.members, now.gone, now.faults)
}
