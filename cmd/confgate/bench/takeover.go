package bench

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

func parseTakeover(f *trialFlags) {
	f.IntVar(&f.trial.members, "members", 1000, "how `many` pairs come under one name each, half in each dialect")
}

const (
	pairsAtOnce = 16
	loserWait   = 250 * time.Millisecond // for an answer that must not come
	racerLimit  = 10 * time.Second
	lateLimit   = 2 * time.Second // for the other one
)

// playTakeover has pairs of connections claim one name at the same moment. One of them
// must be the person afterwards, and only one.
func playTakeover(ctx context.Context, o *ordeal, rep *faultReport) error {
	h := newHall(o.subject, o.trial.members, 2*perRoom)
	defer h.web.CloseIdleConnections()
	var won [3]atomic.Uint64 // how often none, one, both of a pair answer for the name
	o.now("racing")
	err := h.each(pairsAtOnce, func(i int, first *sitter) error {
		first.dial = crowdDialect(dialectOf(i), o.subject.key(), displacing)
		p := &pair{first, &sitter{user: first.user, room: first.room, dial: first.dial, clock: first.clock}}
		p.race(ctx, h)
		defer p.part(ctx)
		won[p.answering(ctx)].Add(1)
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	seen, err := o.awaitEmpty(ctx)
	if err != nil {
		return err
	}
	rep.tell("pairs that came under one name at once", float64(o.trial.members), "")
	rep.exactly("of which one speaks for it afterwards", float64(won[1].Load()), float64(o.trial.members), "")
	rep.exactly("of which both do", float64(won[2].Load()), 0, "")
	rep.exactly("of which none does", float64(won[0].Load()), 0, "")
	rep.exactly("people left when all had gone", seen.gauges["confgate_people"]+seen.gauges["confgate_members"], 0, "")
	return nil
}

// pair is two connections that claim one name.
type pair [2]*sitter

// race lets both in, or one of them. In `id`, who is too late is not told so.
func (p *pair) race(ctx context.Context, h *hall) {
	within, over := context.WithTimeout(ctx, racerLimit)
	defer over()
	first := make(chan struct{}, len(p))
	var both sync.WaitGroup
	start := make(chan struct{})
	for _, s := range p {
		both.Go(func() {
			<-start
			_ = s.sit(within, h.web, h.subject.gateway(), racerLimit) // who is too late may be told so
			first <- struct{}{}
		})
	}
	close(start)
	<-first
	late := time.AfterFunc(lateLimit, over)
	defer late.Stop()
	both.Wait()
}

// answering asks both, and gives how many get an answer.
func (p *pair) answering(ctx context.Context) (n int) {
	within, cancel := context.WithTimeout(ctx, racerLimit)
	defer cancel()
	for _, s := range p {
		if s.line != nil {
			s.poke(ctx, s.clock.now())
		}
	}
	until(within, func() bool { return p.answers() > 0 })
	_ = pause(ctx, loserWait)
	return p.answers()
}

func (p *pair) answers() (n int) {
	for _, s := range p {
		if s.answered.Load() > 0 {
			n++
		}
	}
	return n
}

// part lets both go, the second first.
func (p *pair) part(ctx context.Context) {
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
	defer cancel()
	p[1].rise(bye)
	p[0].rise(bye)
}
