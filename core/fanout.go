package core

import (
	"context"
	"time"
)

// fanout is the budget of what a room tells its members, in events: what one member
// says is told to each other one, so a few who each say no more than they may can make
// a large room cost more than a processor has. A room waits for nobody. It tells all at
// once, and who said it waits until that is paid for before they are listened to again.
type fanout struct {
	rate, burst float64 // 0: no limit
	spent       float64 // that is not there; never below 0
	at          time.Time
	slow        bool // the last who said something had to wait
}

// bytesAnEvent is how many bytes cost as much again as an event without any.
const bytesAnEvent = 4 << 10

// tellCost gives what an event costs for each who is told it.
func tellCost(e Event) float64 { return 1 + float64(weigh(e)-eventBytes)/bytesAnEvent }

func fanoutOf(l Limits) fanout {
	return fanout{rate: float64(l.RoomRate), burst: float64(l.RoomBurst)}
}

// charge takes what telling the news costs, and gives how long who caused it is to
// wait. It reports whether that is the first to wait in a while.
func (f *fanout) charge(told []news, now time.Time) (wait time.Duration, first bool) {
	if f.rate <= 0 || len(told) == 0 {
		return 0, false
	}
	f.spent = max(0, f.spent-f.rate*now.Sub(f.at).Seconds())
	f.at = now
	for _, n := range told {
		f.spent += tellCost(n.event)
	}
	wait = max(0, time.Duration((f.spent-f.burst)/f.rate*float64(time.Second)))
	first = wait > 0 && !f.slow
	f.slow = wait > 0
	return wait, first
}

// pay waits for what was told to be paid for, unless the connection ends before.
func pay(ctx context.Context, wait time.Duration) {
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
