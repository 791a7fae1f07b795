package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxChurnRate = 100 // joins a second
	maxPartySize = 20
	maxStay      = time.Minute
	seeLimit     = 20 * time.Second // to see somebody
)

var errSawNobody = errors.New("saw nobody")

// parseChurn reads the arguments of `bench churn`, in which people come, meet in rooms
// of a few, and go.
func parseChurn(args []string, w io.Writer) (options, error) {
	f := newFlags("churn", w)
	f.Float64Var(&f.joinRate, "rate", 10, "people that `join` each second")
	f.IntVar(&f.members, "members", 2, "how many `meet` in a room, where everybody receives everybody")
	f.DurationVar(&f.stay, "stay", 2*time.Second, "how `long` they stay once everybody sees somebody")
	f.DurationVar(&f.warmUp, "warm-up", 10*time.Second, "`time` of the same before what is counted")
	f.DurationVar(&f.duration, "duration", time.Minute, "how `long` people come")
	if err := f.parse(args); err != nil {
		return f.options, err
	}
	if err := errors.Join(
		rateWithin("rate", f.joinRate, 0.1, maxChurnRate),
		within("members", f.members, 2, maxPartySize),
		durationWithin("stay", f.stay, 0),
		durationWithin("warm-up", f.warmUp, 0),
		durationWithin("duration", f.duration, 100*time.Millisecond),
	); err != nil {
		return f.options, err
	}
	if f.stay > maxStay {
		return f.options, fmt.Errorf("--stay must be at most %v", maxStay)
	}
	f.load = videoLoad(150, 15, 10*time.Second)
	f.open = newChurn
	return f.options, nil
}

// churn is a scenario in which nobody stays.
type churn struct {
	options options
	dials   []dialect
	stage   *stage
	server  *server
	rooms   string // what their names begin with
	first   int    // the first member's name
	come    int    // owned by rush: members who have been let loose
	here    atomic.Int64
}

func newChurn(o options) (scenario, error) {
	dials, err := findDialect(o.dialect)
	if err != nil {
		return nil, err
	}
	s, err := newStage(o)
	if err != nil {
		return nil, err
	}
	return &churn{
		options: o, dials: dials, stage: s, server: &server{pid: o.pid, admin: o.admin, web: s.web},
		rooms: fmt.Sprintf("c-bench-%08x", rand.Uint32()), first: firstName(),
	}, nil
}

func (c *churn) run(ctx context.Context) (result, error) {
	defer c.stage.close()
	o := c.options
	rep := &churnReport{
		Scenario: o.scenario, Dialect: o.dialect, URL: o.gateway.String(), Rate: o.joinRate,
		Party: o.members, Seconds: o.duration.Seconds(),
	}
	err := c.measure(ctx, rep)
	now, took, faults := c.stage.board.read()
	rep.Interruptions, rep.Faults, rep.FaultCount = now.interruptions, faults, now.faults
	rep.JoinToFirst, rep.JoinToPicture = summarize(took.joinToFirst), summarize(took.joinToPicture)
	rep.OfferToConnected = summarize(took.offerToConnected)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", errIncomplete, context.Cause(ctx))
	}
	return rep, err
}

// measure compares the gateway after the churn with what it was before. It is warm
// both times: what is made once and kept for good is there already.
func (c *churn) measure(ctx context.Context, rep *churnReport) error {
	cold, err := c.server.look(ctx)
	if err != nil {
		return err
	}
	if _, err := c.rush(ctx, c.options.warmUp); err != nil {
		return err
	}
	if _, err := c.server.settle(ctx, cold, newBoard()); err != nil { // connections to ask with may stay
		return err
	}
	before, err := c.server.rest(ctx)
	if err != nil {
		return err
	}
	joined, _, _ := c.stage.board.read()
	if rep.JoinsWanted, err = c.rush(ctx, c.options.duration); err != nil {
		return err
	}
	busy, err := c.server.look(ctx)
	if err != nil {
		return err
	}
	if rep.Settled, err = c.server.settle(ctx, before, c.stage.board); err != nil {
		return err
	}
	after, err := c.server.rest(ctx)
	if err != nil {
		return err
	}
	now, _, _ := c.stage.board.read()
	rep.Joins = now.joined - joined.joined
	rep.take(before, busy, after)
	return nil
}

// rush lets people come for d, and returns when the last has gone: how many came.
func (c *churn) rush(ctx context.Context, d time.Duration) (int, error) {
	size := c.options.members
	parties := int(c.options.joinRate*d.Seconds()+0.5) / size
	if d > 0 {
		parties = max(parties, 1)
	}
	var visits sync.WaitGroup
	defer visits.Wait()
	tick := time.NewTicker(time.Duration(float64(time.Second) / c.options.joinRate))
	defer tick.Stop()
	for range parties {
		p := c.party()
		for _, m := range p.members {
			visits.Go(func() {
				c.visit(ctx, m, p)
				if p.left.Add(1) == int64(size) {
					c.stage.people.forget(p.members)
				}
			})
			select {
			case <-tick.C:
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
	}
	visits.Wait()
	c.stage.web.CloseIdleConnections() // they would count among the gateway's goroutines
	return parties * size, ctx.Err()
}

// party is those who meet in a room.
type party struct {
	members []*member
	seen    atomic.Int64  // those who saw somebody, or have given up
	met     chan struct{} // closed once that is all
	left    atomic.Int64
}

// settled notes one who saw somebody, or has given up.
func (p *party) settled() {
	if p.seen.Add(1) == int64(len(p.members)) {
		close(p.met)
	}
}

func (c *churn) party() *party {
	p := &party{met: make(chan struct{})}
	room := fmt.Sprintf("%s-%d", c.rooms, c.come/c.options.members)
	for range c.options.members {
		m := c.stage.member(uint16(c.come), c.first+c.come, c.dials[c.come%len(c.dials)])
		m.room, m.sends = room, true
		p.members = append(p.members, m)
		c.come++
	}
	return p
}

// visit is one member's: to join, to see somebody and be seen, to stay for a while, to go.
func (c *churn) visit(ctx context.Context, m *member, p *party) {
	c.here.Add(1)
	defer c.here.Add(-1)
	defer func() {
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
		defer cancel()
		m.leave(bye)
	}()
	err := m.join(ctx)
	if err == nil {
		err = m.awaitSight(ctx)
	}
	if err != nil && ctx.Err() == nil {
		c.stage.board.fault("member %d: %v", m.index, err)
	}
	p.settled()
	select {
	case <-p.met:
		_ = pause(ctx, c.options.stay) // rush says if it was broken off
	case <-ctx.Done():
	}
}

// awaitSight waits for somebody's first key frame.
func (m *member) awaitSight(ctx context.Context) error {
	limit := time.NewTimer(seeLimit)
	defer limit.Stop()
	select {
	case <-m.seeing:
		return nil
	case <-limit.C:
		return fmt.Errorf("%w for %v", errSawNobody, seeLimit)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *churn) progressLine() string {
	now, _, _ := c.stage.board.read()
	return fmt.Sprintf("joined %d  here %d  connected %d  faults %d", now.joined, c.here.Load(), now.connected, now.faults)
}
