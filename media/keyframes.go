package media

import (
	"sync"
	"time"
)

const (
	// keyframeGap is the shortest time between two requests to a publisher.
	keyframeGap = 500 * time.Millisecond
	// joinerGap is the shortest time from a request to one for a newcomer, whose
	// picture depends on it.
	joinerGap = 100 * time.Millisecond
)

// keyframes asks a publisher for key frames, not too often. A request that comes
// too early is remembered and sent when its time has come; others that come until
// then are the same request. The zero value never asks.
type keyframes struct {
	send func() // nil on a lane of audio

	mu     sync.Mutex
	closed bool        // guarded by mu
	last   time.Time   // of the last request sent; guarded by mu
	due    time.Time   // of the one that waits; zero when none does; guarded by mu
	timer  *time.Timer // guarded by mu
}

// ask sends a request as soon as gap has passed since the last one.
func (k *keyframes) ask(gap time.Duration) {
	if k.send != nil && k.admit(gap, time.Now()) {
		k.send()
	}
}

// admit reports whether to send at once; if not, it sees to it later.
func (k *keyframes) admit(gap time.Duration, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	due := k.last.Add(gap)
	switch {
	case k.closed:
		return false
	case !due.After(now):
		k.clear(now)
		return true
	case k.due.IsZero() || due.Before(k.due):
		if k.timer != nil {
			k.timer.Stop()
		}
		k.due = due
		k.timer = time.AfterFunc(due.Sub(now), k.fire)
	}
	return false
}

func (k *keyframes) fire() {
	k.mu.Lock()
	ready := !k.closed && !k.due.IsZero()
	if ready {
		k.clear(time.Now())
	}
	k.mu.Unlock()
	if ready {
		k.send()
	}
}

// clear notes that a request is being sent; it needs k.mu.
func (k *keyframes) clear(now time.Time) {
	k.last, k.due = now, time.Time{}
	if k.timer != nil {
		k.timer.Stop()
	}
}

func (k *keyframes) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	if k.timer != nil {
		k.timer.Stop()
	}
}
