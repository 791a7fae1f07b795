package bench

import (
	"slices"
	"sync"
	"time"
)

// echoes are a member's pokes that wait for their answers. The time counts from when a
// poke was to be made, so that one that is held up by the others' slowness does not
// look fast.
type echoes struct {
	mu      sync.Mutex
	waiting []int64 // guarded by mu: when they were to be made
}

func (e *echoes) due(at int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = append(e.waiting, at)
}

// came takes an answer; ok is false for one to nothing.
func (e *echoes) came(now int64) (took time.Duration, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.waiting) == 0 {
		return 0, false
	}
	took = time.Duration(now - e.waiting[0])
	e.waiting = slices.Delete(e.waiting, 0, 1)
	return took, true
}

func (e *echoes) unanswered() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.waiting)
}

// trips are how long pokes took to be answered.
type trips struct {
	mu   sync.Mutex
	took spread // guarded by mu
}

func (t *trips) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took.add(d)
}

func (t *trips) summary() summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.took.summary()
}
