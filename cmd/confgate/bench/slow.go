package bench

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

func parseSlow(f *trialFlags) {
	f.IntVar(&f.trial.members, "members", 1000, "how `many` sit there, of whom a tenth stop reading")
	f.DurationVar(&f.trial.duration, "duration", 15*time.Second, "how `long` the others are watched, before and after")
}

const (
	slowTurns   = 5
	slowShare   = 10   // one of so many
	slowPokes   = 500  // requests a second, of those who read
	slowWord    = 8000 // bytes of what is said in each room each second
	slowSettle  = 2 * time.Second
	slowRatio   = 1.5
	slowNoise   = 5.0 // ms, below which a difference of p99 tells nothing
	rssPerSlow  = 1.2 * (1 << 20)
	slowCutTime = 70 * time.Second
)

// playSlow has a tenth of all stop reading, and watches what becomes of the others.
func playSlow(ctx context.Context, o *ordeal, rep *faultReport) error {
	h := newHall(o.subject, o.trial.members, perRoom)
	var slow []*sitter
	var gone departures
	roads := make(map[*sitter]*road)
	rng := seeded(o.trial.seed)
	for i, s := range h.crowd {
		switch i % perRoom {
		case slowShare / 2:
			roads[s] = newRoad(address(rng))
			slow = append(slow, s)
		case 0: // sees who goes
			s.told = gone.told
		}
	}
	defer h.rise(ctx)
	defer func() {
		for _, r := range roads {
			r.close()
		}
	}()
	o.now("seating")
	err := h.each(dialsAtOnce, func(_ int, s *sitter) error {
		web := h.web
		if r := roads[s]; r != nil {
			web = r.web
		}
		return s.sit(ctx, web, o.subject.gateway(), dialLimit)
	})
	if err != nil {
		return err
	}
	o.now("watching, while all read")
	if err := pause(ctx, slowSettle); err != nil {
		return err
	}
	before, _, err := h.watched(ctx, o.trial.duration, roads, h.sayMuch)
	if err != nil {
		return err
	}
	had, err := o.subject.server().look(ctx)
	if err != nil {
		return err
	}
	o.now("watching, while a tenth do not")
	began := time.Now()
	gone.from(began, slow)
	for _, r := range roads {
		r.stall()
	}
	after, lost, err := h.watched(ctx, o.trial.duration, roads, h.sayMuch)
	if err != nil {
		return err
	}
	has, err := o.subject.server().look(ctx)
	if err != nil {
		return err
	}
	o.now("waiting for them to be cut off")
	within, cancel := context.WithTimeout(ctx, slowCutTime)
	defer cancel()
	until(within, func() bool { return gone.count() == len(slow) })
	sum := gone.summary()
	rep.tell("others' round trip while all read, p50", before.P50, "ms")
	rep.tell("p99", before.P99, "ms")
	rep.tell("while a tenth do not, p50", after.P50, "ms")
	rep.most("p99", after.P99, max(slowRatio*before.P99, before.P99+slowNoise), "ms")
	rep.tell("ratio of both", after.P99/max(before.P99, 0.001), "")
	rep.exactly("requests of others without an answer", float64(lost), 0, "")
	rep.exactly("who stopped reading and was cut off", float64(sum.N), float64(len(slow)), "")
	rep.tell("cut off after, p50", sum.P50/1e3, "s")
	rep.most("at the latest", sum.Max/1e3, slowCutTime.Seconds(), "s")
	rep.most("RSS for each of them", (float64(has.rss)-float64(had.rss))/float64(len(slow)), rssPerSlow, "bytes")
	return nil
}

// watched watches in several turns, and gives the median of their figures: a machine that
// does something else for a moment spoils one turn, and a gateway that lets the others
// wait spoils all.
func (h *hall) watched(ctx context.Context, d time.Duration, roads map[*sitter]*road, also func(context.Context)) (sum summary, lost int, err error) {
	var p50, p99 []float64
	for range slowTurns {
		turn, unanswered, err := h.talkFor(ctx, d/slowTurns, roads, also)
		if err != nil {
			return sum, lost, err
		}
		p50, p99, lost = append(p50, turn.P50), append(p99, turn.P99), lost+unanswered
	}
	slices.Sort(p50)
	slices.Sort(p99)
	return summary{P50: p50[slowTurns/2], P99: p99[slowTurns/2]}, lost, nil
}

// talkFor has all who have no road of their own ask for something, in turn, while also
// something else goes on, and gives how long answers took, and how many there were not.
func (h *hall) talkFor(ctx context.Context, d time.Duration, roads map[*sitter]*road, also func(context.Context)) (summary, int, error) {
	took := new(trips)
	var who []*sitter
	for _, s := range h.crowd {
		if roads[s] == nil {
			s.took.Store(took)
			who = append(who, s)
		}
	}
	talking, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var busy sync.WaitGroup
	busy.Go(func() { also(talking) })
	every, next := int64(time.Second/slowPokes), h.clock.now()
	for i := 0; talking.Err() == nil; i++ {
		if wait := time.Duration(next - h.clock.now()); wait > 0 {
			_ = pause(talking, wait) // its end is the loop's
		}
		who[i%len(who)].poke(context.WithoutCancel(ctx), next)
		next += every
	}
	busy.Wait()
	waiting, stop := context.WithTimeout(ctx, answerLimit)
	defer stop()
	left := 0
	until(waiting, func() bool {
		left = 0
		for _, s := range who {
			left += s.echoes.unanswered()
		}
		return left == 0
	})
	return took.summary(), left, ctx.Err()
}

// sayMuch has one in each room say something long each second.
func (h *hall) sayMuch(ctx context.Context) {
	word := strings.Repeat("x", slowWord)
	every := time.Second / time.Duration(max(len(h.crowd)/perRoom, 1))
	for i := 0; pause(ctx, every) == nil; i += perRoom {
		at := i%len(h.crowd) + 1 // who speaks eventOp, and reads
		if at >= len(h.crowd) {
			continue
		}
		if l, ok := h.crowd[at].line.(*eventopLine); ok {
			_ = l.say(context.WithoutCancel(ctx), eventopRequest{Op: "chat", Room: l.room, Message: word}) // it may have ended
		}
	}
}

// departures are when the others were told that some had left.
type departures struct {
	mu    sync.Mutex
	began time.Time       // guarded by mu
	wait  map[string]bool // guarded by mu: those who have not left yet
	took  []time.Duration // guarded by mu
}

func (d *departures) from(began time.Time, who []*sitter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.began, d.wait = began, make(map[string]bool)
	for _, s := range who {
		d.wait[s.user] = true
	}
}

func (d *departures) told(n notice, _ *sitter) {
	left, ok := n.(departed)
	if !ok {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.wait[left.user] {
		delete(d.wait, left.user)
		d.took = append(d.took, time.Since(d.began))
	}
}

func (d *departures) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.took)
}

func (d *departures) summary() summary {
	d.mu.Lock()
	defer d.mu.Unlock()
	return summarize(d.took)
}
