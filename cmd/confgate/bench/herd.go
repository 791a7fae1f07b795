package bench

import (
	"context"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

func parseHerd(f *trialFlags) {
	f.IntVar(&f.trial.members, "members", 2000, "how `many` come back")
	f.DurationVar(&f.trial.duration, "within", 2*time.Second, "`time` in which they begin to")
}

const (
	perRoom    = 10
	herdLimit  = 30 * time.Second       // for all to be back
	herdPause  = 250 * time.Millisecond // between tries, about
	probeEvery = 20 * time.Millisecond
)

// playHerd kills the gateway, starts it again, and has all its people come back at once.
func playHerd(ctx context.Context, o *ordeal, rep *faultReport) error {
	h := newHall(o.subject, o.trial.members, perRoom)
	defer h.rise(ctx)
	o.now("seating")
	if err := h.seat(ctx); err != nil {
		return err
	}
	if _, err := o.subject.stop(os.Kill); err != nil {
		return err
	}
	for _, s := range h.crowd {
		s.listening.Wait() // they see that the line has ended
	}
	o.now("coming back")
	began := time.Now()
	if err := o.subject.launch(); err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	var w watch
	var watchers sync.WaitGroup
	watchers.Go(func() { w.run(watching, o.subject, began) })
	var back spread
	var mu sync.Mutex
	var tries atomic.Uint64
	rng := seeded(o.trial.seed)
	delays := make([]time.Duration, len(h.crowd))
	for i := range delays {
		delays[i] = time.Duration(rng.Float64() * float64(o.trial.duration))
	}
	within, cancel := context.WithTimeout(ctx, herdLimit)
	defer cancel()
	err := h.each(len(h.crowd), func(i int, s *sitter) error {
		if err := pause(within, delays[i]); err != nil {
			return err
		}
		started := time.Now()
		for {
			tries.Add(1)
			err := s.sit(within, h.web, o.subject.gateway(), herdLimit)
			if err == nil {
				break
			}
			if pause(within, herdPause/2+delays[i]%herdPause) != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		back.add(time.Since(started))
		return nil
	})
	all := time.Since(began)
	if err != nil {
		rep.fault("%v", err)
	}
	_ = pause(ctx, time.Second) // what came at once is to be over, too
	stop()
	watchers.Wait()
	seen, lookErr := o.subject.server().look(ctx)
	if lookErr != nil {
		return lookErr
	}
	sum := back.summary()
	rep.tell("until the gateway was ready again", millis(w.ready), "ms")
	rep.exactly("people back in their rooms", seen.gauges["confgate_members"], float64(o.trial.members), "")
	rep.most("all back, from the restart", millis(all), 20_000, "ms")
	rep.tell("back in one's room, from the first try, p50", sum.P50, "ms")
	rep.tell("p99", sum.P99, "ms")
	rep.tell("slowest", sum.Max, "ms")
	rep.tell("tries", float64(tries.Load()), "")
	rep.tell("readiness probes, once ready", float64(w.probes), "")
	rep.exactly("that failed", float64(w.failed), 0, "")
	rep.tell("slowest probe", millis(w.slowest), "ms")
	return nil
}

// watch asks for readiness all the time.
type watch struct {
	ready          time.Duration // from the start to the first yes
	probes, failed int           // since then
	slowest        time.Duration
}

func (w *watch) run(ctx context.Context, s *subject, began time.Time) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		asked := time.Now()
		code, err := s.probe(context.WithoutCancel(ctx))
		ok := err == nil && code == http.StatusOK
		switch {
		case ok && w.ready == 0:
			w.ready = time.Since(began)
		case w.ready != 0:
			w.probes++
			w.slowest = max(w.slowest, time.Since(asked))
			if !ok {
				w.failed++
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
