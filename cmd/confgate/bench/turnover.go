package bench

import (
	"context"
	"net/netip"
	"time"
)

func parseTurnover(f *trialFlags) {
	f.IntVar(&f.trial.members, "members", 500, "how `many` are there together, half in each dialect")
	f.IntVar(&f.trial.visitors, "visitors", 100_000, "how `many` come in all, one after the other")
}

const (
	waveSites = 200 // addresses that waves come from in turn, so that ports do not run out
)

// playTurnover has people come, sit in rooms and go, wave after wave, each under a name
// and in a room that nobody has had. Nothing may be left of them.
func playTurnover(ctx context.Context, o *ordeal, rep *faultReport) error {
	o.now("warming up")
	if err := o.wave(ctx, 0, o.trial.members); err != nil {
		return err
	}
	before, err := o.subject.rest(ctx, nil)
	if err != nil {
		return err
	}
	o.now("coming and going")
	began := time.Now()
	for came, n := 0, 1; came < o.trial.visitors; came, n = came+o.trial.members, n+1 {
		if err := o.wave(ctx, n, min(o.trial.members, o.trial.visitors-came)); err != nil {
			return err
		}
	}
	took := time.Since(began)
	after, err := o.subject.rest(ctx, before)
	if err != nil {
		return err
	}
	rep.tell("people who came, sat in a room and went", float64(o.trial.visitors), "")
	rep.tell("of them a second", float64(o.trial.visitors)/took.Seconds(), "")
	rep.most("goroutines more than before", after.Goroutines-before.Goroutines, 0, "")
	rep.most("file descriptors more", float64(after.Descriptors-before.Descriptors), 0, "")
	rep.most("heap more", (after.Heap-before.Heap)/(1<<20), heapSlackBytes/(1<<20), "MiB")
	rep.tell("RSS more", (float64(after.RSS)-float64(before.RSS))/(1<<20), "MiB")
	rep.exactly("panics", after.panics, 0, "")
	for _, left := range after.leftover(before) {
		rep.fault("left behind: %s", left)
	}
	return nil
}

// wave has some people come from one address and go.
func (o *ordeal) wave(ctx context.Context, n, people int) error {
	h := newHall(o.subject, people, perRoom)
	way := newRoad(netip.AddrFrom4([4]byte{127, 0, 2, byte(1 + n%waveSites)}))
	defer way.close()
	h.web = way.web
	defer h.rise(ctx)
	return h.seat(ctx)
}
