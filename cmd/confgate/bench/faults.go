package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"time"
)

// ordeal is a fault that a gateway is put through, with figures.
type ordeal struct {
	trial trial
	name  string
	flags []string // for the gateway
	play  func(ctx context.Context, o *ordeal, rep *faultReport) error

	subject *subject
	step    atomic.Pointer[string]
}

// faulty makes what opens an ordeal.
func faulty(name string, play func(context.Context, *ordeal, *faultReport) error, flags ...string) func(trial) (scenario, error) {
	return func(t trial) (scenario, error) {
		if t.seed == 0 {
			t.seed = rand.Uint64()
		}
		if t.members < 2 {
			return nil, errors.New("--members must be 2 or more")
		}
		o := &ordeal{trial: t, name: name, flags: flags, play: play}
		o.now("starting")
		return o, nil
	}
}

// now says how far it is.
func (o *ordeal) now(step string) { o.step.Store(&step) }

func (o *ordeal) progressLine() string { return o.name + ": " + *o.step.Load() }

func (o *ordeal) run(ctx context.Context) (_ result, err error) {
	if o.subject, err = newSubject(o.trial.programs, append(o.flags, o.trial.serve...)...); err != nil {
		return nil, err
	}
	defer o.subject.close()
	rep := &faultReport{Fault: o.name, Seed: o.trial.seed}
	if err := o.subject.begin(ctx); err != nil {
		return nil, err
	}
	err = o.play(ctx, o, rep)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", errIncomplete, context.Cause(ctx))
	}
	n, lines := o.subject.log.complaints()
	rep.exactly("error lines in the log", float64(n), 0, "")
	for _, line := range lines {
		rep.fault("log: %s", line)
	}
	rep.judge()
	return rep, err
}

// again stops the gateway and starts it anew, with something about it changed.
func (o *ordeal) again(ctx context.Context, change func(*subject)) error {
	if _, err := o.subject.stop(syscall.SIGTERM); err != nil {
		return err
	}
	change(o.subject)
	return o.subject.begin(ctx)
}

// Calls of a trial.
const (
	partySize  = 5    // in a call
	partyJoins = 20.0 // a second
)

// calls has people of both dialects in calls of a few, who all send.
func (o *ordeal) calls(ctx context.Context, people int) (*call, error) {
	n := max(people/partySize, 1)
	c, err := openCall(options{
		gateway: o.subject.gateway(), dialect: "id", members: n * partySize, rooms: n, senders: partySize,
		load: soakLoad(), joinRate: partyJoins,
	})
	if err != nil {
		return nil, err
	}
	for i, m := range c.crowd {
		m.dial = crowdDialect(dialectOf(i/n), o.subject.key(), waiting)
	}
	if err := c.rampSteadily(ctx, c.crowd); err != nil {
		c.end(ctx)
		return nil, err
	}
	return c, nil
}

// end lets all say goodbye.
func (r *call) end(ctx context.Context) {
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveFor)
	defer cancel()
	r.leave(bye)
	r.stage.close()
}

// awaitEmpty waits until the gateway knows of nobody any more, or for too long, and looks
// at it then.
func (o *ordeal) awaitEmpty(ctx context.Context) (sight, error) {
	for deadline := time.Now().Add(settleFor); ; {
		seen, err := o.subject.server().look(ctx)
		if err != nil || seen.gauges["confgate_people"]+seen.gauges["confgate_members"] == 0 || time.Now().After(deadline) {
			return seen, err
		}
		if err := pause(ctx, drainStep); err != nil {
			return seen, err
		}
	}
}
