package transport

import (
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

// needsMemory reports whether a command makes the house keep more than it did.
func needsMemory(cmd core.Command) bool {
	_, shows := cmd.(core.Show) // a page, which the room keeps for newcomers
	return shows || grows(cmd)
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
	debt := b.debt()
	if debt <= 0 {
		return 0
	}
	return time.Duration(debt / rate * float64(time.Second))
}

// debt gives how much was taken beyond what was there, at the last time.
func (b *bucket) debt() float64 { return b.spent - float64(b.rate.Burst) }

// throttle says when a client's frames are due. One that sends too much is slowed
// down, and loses nothing, which matters most where a dialect has no words to refuse
// with. One that sends far too much, or presses on without a pause, is cut off. One
// goroutine uses it.
type throttle struct {
	messages, drawing bucket
	bursts            int           // that may wait besides the first; 0: no limit
	patience          time.Duration // with who presses on; 0: no end
	pressed           time.Time     // since when frames come too fast; zero: they do not
}

func newThrottle(l Limits) throttle {
	return throttle{
		messages: bucket{rate: l.Messages}, drawing: bucket{rate: l.Drawing},
		bursts: l.FloodBursts, patience: l.FloodTime,
	}
}

// due gives how long a frame that came just now has to wait, behind so many others, or
// says that it is one too many. It tells when a client begins to be slowed down.
func (t *throttle) due(cmd core.Command, size, waiting int, slowed func(Limit)) (time.Duration, error) {
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
	case t.pressed.IsZero():
		t.pressed = now
		slowed(limit)
	case t.patience > 0 && now.Sub(t.pressed) >= t.patience, t.isFlood(max(float64(waiting), b.debt()-cost), b.rate):
		return 0, ErrFlood
	}
	return wait, nil
}

// noise is for what a framing takes that is no message of a dialect, so that nothing is
// waited for: it gives ErrFlood once too much came in too short a time.
func (t *throttle) noise(cost float64, size int) error {
	b := &t.messages
	cost += costBytes * float64(size)
	if b.take(cost, time.Now()); t.isFlood(b.debt()-cost, b.rate) {
		return ErrFlood
	}
	return nil
}

// isFlood reports whether too much waits: frames or their cost, whichever is more, or
// thousands of the cheapest could wait. The last one does not count: a single frame may
// cost as much as the dialect lets it.
func (t *throttle) isFlood(waiting float64, r Rate) bool {
	return t.bursts > 0 && waiting > float64(t.bursts*r.Burst)
}
