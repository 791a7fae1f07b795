package bench

import (
	"context"
	"errors"
	"os"
	"time"
)

func parseDisk(f *trialFlags) {
	f.IntVar(&f.trial.members, "members", 200, "how `many` sit there and ask for something")
	f.DurationVar(&f.trial.duration, "duration", 15*time.Second, "how `long` they are watched, before and after")
}

const (
	fullDisk  = "/dev/full" // full(4)
	diskCalls = 20          // people in calls
	diskRatio = 1.2
	diskNoise = 5.0 // ms, below which a difference of p99 tells nothing
)

// playDisk has a gateway that tells every command write its log to a disk that is full.
func playDisk(ctx context.Context, o *ordeal, rep *faultReport) (err error) {
	full, err := os.OpenFile(fullDisk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, full.Close()) }()
	o.now("watching, while the log is written")
	before, err := o.busyHour(ctx)
	if err != nil {
		return err
	}
	lines := o.subject.log.written()
	if err := o.again(ctx, func(s *subject) { s.logTo = full }); err != nil {
		return err
	}
	o.now("watching, while it cannot be written")
	after, err := o.busyHour(ctx)
	if err != nil {
		return err
	}
	rep.tell("lines of the log, while it was written", float64(lines), "")
	rep.tell("round trip then, p99", before.trips.P99, "ms")
	rep.most("while the disk is full, p99", after.trips.P99, max(diskRatio*before.trips.P99, before.trips.P99+diskNoise), "ms")
	after.tell(rep)
	return nil
}

// busyHour is what comes of people who sit there and ask, and others in calls.
type busyHour struct {
	trips      summary // of who asks
	unanswered int
	calls      outcome
	broken     int
	faults     []string // of the calls
}

func (h *busyHour) tell(rep *faultReport) {
	rep.exactly("requests without an answer", float64(h.unanswered), 0, "")
	rep.tell("packets that people in calls should get of each other", float64(h.calls.expected), "")
	rep.exactly("of those lost", float64(h.calls.lost()), 0, "")
	rep.exactly("calls and connections that broke", float64(h.broken), 0, "")
	for _, f := range h.faults {
		rep.fault("%s", f)
	}
}

// busyHour has all that come, sit there and ask, and others in calls beside them, and all
// of them leave again.
func (o *ordeal) busyHour(ctx context.Context) (*busyHour, error) {
	h := newHall(o.subject, o.trial.members, perRoom)
	defer h.rise(ctx)
	if err := h.seat(ctx); err != nil {
		return nil, err
	}
	c, err := o.calls(ctx, diskCalls)
	if err != nil {
		return nil, err
	}
	defer c.end(ctx)
	return h.beside(ctx, c, o.trial.duration)
}

// beside has the hall ask for things for so long, while others hold a call.
func (h *hall) beside(ctx context.Context, c *call, d time.Duration) (*busyHour, error) {
	from, _, _ := c.stage.board.read()
	c.stage.window.from.Store(c.stage.clock.now())
	var hour busyHour
	var err error
	if hour.trips, hour.unanswered, err = h.watched(ctx, d, nil, func(context.Context) {}); err != nil {
		return nil, err
	}
	c.stage.window.to.Store(c.stage.clock.now())
	if err := c.drain(ctx); err != nil {
		return nil, err
	}
	hour.calls = c.tally()
	to, _, faults := c.stage.board.read()
	hour.broken, hour.faults = to.gone-from.gone+to.interruptions-from.interruptions, faults
	return &hour, nil
}
