package transport

import (
	"context"
	"time"

	"confgate/core"
)

// Rate is how many messages a client may send for as long as it likes, and how many
// more at once. The zero value sets no limit.
type Rate struct{ PerSecond, Burst int }

// What messages cost: one that is told on to others costs 1.
const (
	costCandidate = 0.2 // they come by the dozen, and are read and let be
	costMessage   = 1.0
	costSDP       = 4.0 // a connection is made or changed
	costAdmission = 5.0 // credentials are checked, or a room is made
	costBytes     = 1.0 / (64 << 10)
)

// costOf gives what a frame costs, and whether it is paid for from what a client has
// for drawing. A frame that asks for nothing, or cannot be read, costs as much as any.
func costOf(cmd core.Command, size int) (cost float64, drawing bool) {
	cost = costMessage
	switch c := cmd.(type) {
	case core.Trickle:
		cost = costCandidate
	case core.Offer, core.Subscribe, core.Answer:
		cost = costSDP
	case core.Cast:
		drawing = c.Topic == core.Stroke
	default: // told on, answered or refused at once
	}
	if grows(cmd) {
		cost = costAdmission
	}
	return cost + costBytes*float64(size), drawing
}

// grows reports whether a command makes the house larger, by people or rooms.
func grows(cmd core.Command) bool {
	switch cmd.(type) {
	case core.Hello, core.Join, core.Open, core.Group:
		return true
	default:
		return false
	}
}

// bucket is a token bucket that can be overdrawn: what is taken beyond it is paid
// back with waiting.
type bucket struct {
	rate  Rate
	spent float64 // tokens that are not there; never below 0
	at    time.Time
}

// take takes tokens, and gives how long to wait until they are paid for.
func (b *bucket) take(tokens float64, now time.Time) time.Duration {
	if b.rate.PerSecond <= 0 {
		return 0
	}
	rate := float64(b.rate.PerSecond)
	b.spent = max(0, b.spent-rate*now.Sub(b.at).Seconds()) + tokens
	b.at = now
	debt := b.spent - float64(b.rate.Burst)
	if debt <= 0 {
		return 0
	}
	return time.Duration(debt / rate * float64(time.Second))
}

// throttle slows a client down that sends too much: its frames are not read until
// they are due, and wait on the line and in the client. Nothing is lost, which
// matters most where a dialect has no words to refuse with. Who presses on without a
// pause is cut off in the end. One goroutine uses it.
type throttle struct {
	messages, drawing bucket
	patience          time.Duration // with who presses on; 0: no end
	pressed           time.Time     // since when frames come too fast; zero: they do not
}

func newThrottle(l Limits) throttle {
	return throttle{messages: bucket{rate: l.Messages}, drawing: bucket{rate: l.Drawing}, patience: l.FloodTime}
}

// hold waits until a frame is due. It tells when a client begins to be slowed down.
func (t *throttle) hold(ctx context.Context, cmd core.Command, size int, slowed func(Limit)) error {
	b, limit := &t.messages, LimitMessages
	cost, drawing := costOf(cmd, size)
	if drawing {
		b, limit = &t.drawing, LimitDrawing
	}
	now := time.Now()
	wait := b.take(cost, now)
	switch {
	case wait == 0:
		t.pressed = time.Time{}
		return nil
	case t.pressed.IsZero():
		t.pressed = now
		slowed(limit)
	case t.patience > 0 && now.Sub(t.pressed) >= t.patience:
		return ErrFlood
	}
	due := time.NewTimer(wait)
	defer due.Stop()
	select {
	case <-due.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
