package bench

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"time"
)

func parseDrain(f *trialFlags) {
	f.IntVar(&f.trial.members, "members", 50, "how `many` are in calls, five in each")
	f.DurationVar(&f.trial.duration, "duration", 5*time.Second, "how `long` they talk on")
}

const (
	refuseWait = 2 * time.Second // for an answer that must not come
	readyMost  = 100.0           // ms until it says that it takes no new calls
	exitMost   = 2000.0          // ms from the last leave to the end
)

// playDrain asks a gateway to stop while people are in calls.
func playDrain(ctx context.Context, o *ordeal, rep *faultReport) error {
	o.now("calling")
	c, err := o.calls(ctx, o.trial.members)
	if err != nil {
		return err
	}
	end := sync.OnceFunc(func() { c.end(ctx) })
	defer end()
	from, _, _ := c.stage.board.read()
	c.stage.window.from.Store(c.stage.clock.now())
	o.now("draining")
	asked := time.Now()
	if err := o.subject.process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	unready, err := o.awaitUnready(ctx, asked)
	if err != nil {
		return err
	}
	entered := o.tryToEnter(ctx)
	if err := pause(ctx, o.trial.duration-time.Since(asked)); err != nil {
		return err
	}
	c.stage.window.to.Store(c.stage.clock.now())
	if err := c.drain(ctx); err != nil {
		return err
	}
	sum := c.tally()
	to, _, faults := c.stage.board.read()
	select {
	case <-o.subject.ended:
		rep.fault("the gateway ended while people were in calls")
	default:
	}
	end()
	gone := time.Now()
	code, err := o.subject.awaitEnd()
	if err != nil {
		return err
	}
	rep.most("not ready any more, after SIGTERM", millis(unready), readyMost, "ms")
	rep.exactly("newcomers let in after that", float64(entered), 0, "")
	rep.exactly("people in calls", float64(from.joined), float64(len(c.crowd)), "")
	rep.tell("packets that they should get of each other meanwhile", float64(sum.expected), "")
	rep.exactly("of those lost", float64(sum.lost()), 0, "")
	rep.exactly("calls and connections that broke", float64(to.gone-from.gone+to.interruptions-from.interruptions), 0, "")
	rep.most("end of the gateway, after the last left", millis(time.Since(gone)), exitMost, "ms")
	rep.exactly("exit code", float64(code), 0, "")
	for _, f := range faults {
		rep.fault("%s", f)
	}
	return nil
}

var errStillReady = errors.New("the gateway says that it takes calls, though it was asked to stop")

// awaitUnready gives how long after it was asked to stop the gateway says that it takes
// no new calls.
func (o *ordeal) awaitUnready(ctx context.Context, asked time.Time) (time.Duration, error) {
	within, cancel := context.WithTimeoutCause(ctx, readyLimit, errStillReady)
	defer cancel()
	for {
		code, err := o.subject.probe(within)
		if err == nil && code == http.StatusServiceUnavailable {
			return time.Since(asked), nil
		}
		if err := pause(within, time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// tryToEnter has one of each dialect try to join a room of their own, and gives how many
// were let in.
func (o *ordeal) tryToEnter(ctx context.Context) (entered int) {
	h := newHall(o.subject, 2, 1)
	defer h.rise(ctx)
	for _, s := range h.crowd {
		if s.sit(ctx, h.web, o.subject.gateway(), refuseWait) == nil {
			entered++
		}
	}
	return entered
}
