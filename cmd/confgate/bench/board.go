package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// board is where members chalk up how far they got, and where the scenario watches.
type board struct {
	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed and replaced with each change
	now     progress      // guarded by mu
	took    timings       // guarded by mu
	faults  []string      // guarded by mu; the first maxFaults of them
}

// progress counts what has come about since the run began.
type progress struct {
	joined    int // members who were let in
	gone      int // members who were not let in or whose line broke
	connected int // connections that are up
	flowing   int // pairs of sender and receiver with sound and picture
	faults    int // things that went wrong

	interruptions int // of connections
}

// timings are how long things took, one entry each time.
type timings struct {
	// From asking to join, for members who found somebody there: to the first packet,
	// to the first key frame.
	joinToFirst, joinToPicture []time.Duration
	// From asking to join until the room was whole again. Only known where members
	// join one after another.
	joinToWhole []time.Duration
	// From offering a connection, or asking to be offered one, until it was up.
	offerToConnected []time.Duration
	connectedAt      []int64 // when each was, on the run's clock
}

const maxFaults = 20

func newBoard() *board { return &board{changed: make(chan struct{})} }

// note changes the board and wakes who watches it.
func (b *board) note(change func(p *progress, t *timings)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.now, &b.took)
	close(b.changed)
	b.changed = make(chan struct{})
}

// fault notes that something went wrong.
func (b *board) fault(format string, args ...any) {
	b.note(func(p *progress, _ *timings) {
		p.faults++
		if len(b.faults) < maxFaults {
			b.faults = append(b.faults, fmt.Sprintf(format, args...))
		}
	})
}

// await waits until the progress is as wanted.
func (b *board) await(ctx context.Context, wanted func(progress) bool) error {
	for {
		b.mu.Lock()
		now, changed := b.now, b.changed
		b.mu.Unlock()
		if wanted(now) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// read gives what stands on the board.
func (b *board) read() (progress, timings, []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now, b.took, b.faults
}
