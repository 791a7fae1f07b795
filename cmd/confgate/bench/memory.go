package bench

import (
	"context"
	"strings"
	"sync"
	"time"
)

func parseMemory(f *trialFlags) {
	f.IntVar(&f.trial.members, "members", 5000, "how `many` sit there and ask for something")
	f.DurationVar(&f.trial.duration, "duration", 15*time.Second, "how `long` they are watched")
}

const (
	memoryLimit = "GOMEMLIMIT=256MiB"
	memoryMost  = 400 << 20 // bytes of RSS
	memoryTrip  = 25.0      // ms, p99
	memoryCalls = 50        // people in calls
	memoryLook  = 100 * time.Millisecond
)

// playMemory has thousands of people, some of them in calls, at a gateway with little
// memory.
func playMemory(ctx context.Context, o *ordeal, rep *faultReport) error {
	if err := o.again(ctx, func(s *subject) { s.env = []string{memoryLimit} }); err != nil {
		return err
	}
	h := newHall(o.subject, o.trial.members, perRoom)
	defer h.rise(ctx)
	watching, stop := context.WithCancel(ctx)
	var highest uint64
	var failed error
	var watcher sync.WaitGroup
	watcher.Go(func() { highest, failed = o.highestRSS(watching) })
	defer watcher.Wait()
	defer stop()
	o.now("seating")
	if err := h.seat(ctx); err != nil {
		return err
	}
	o.now("calling")
	c, err := o.calls(ctx, memoryCalls)
	if err != nil {
		return err
	}
	defer c.end(ctx)
	o.now("watching")
	hour, err := h.beside(ctx, c, o.trial.duration)
	if err != nil {
		return err
	}
	seen, err := o.subject.server().look(ctx)
	if err != nil {
		return err
	}
	stop()
	watcher.Wait()
	if failed != nil {
		return failed
	}
	rep.exactly("people there", seen.gauges["confgate_people"], float64(len(h.crowd)+len(c.crowd)), "")
	rep.tell("connections for media", legs(seen), "")
	rep.most("RSS at most", float64(highest)/(1<<20), memoryMost/(1<<20), "MiB")
	rep.most("round trip, p99", hour.trips.P99, memoryTrip, "ms")
	hour.tell(rep)
	return nil
}

// legs counts the connections for media that there are.
func legs(s sight) (n float64) {
	for key, value := range s.gauges {
		if strings.HasPrefix(key, "confgate_legs{") {
			n += value
		}
	}
	return n
}

// highestRSS looks at what the gateway has resident until ctx is done.
func (o *ordeal) highestRSS(ctx context.Context) (highest uint64, err error) {
	for ctx.Err() == nil {
		now, err := usageOf(procRoot, o.subject.process.PID())
		if err != nil {
			return highest, err
		}
		highest = max(highest, now.rss)
		_ = pause(ctx, memoryLook) // its end is the loop's
	}
	return highest, nil
}
