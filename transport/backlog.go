package transport

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"confgate/core"
)

// Bounds of what waits of one client. What is over stays on the line.
const (
	backlogBytes = 1 << 20
	lateFrame    = 256 // bytes, about, of a frame besides its text
)

// request is a frame that was read.
type request struct {
	cmd  core.Command
	ref  core.Ref
	bad  error // why it could not be
	size int   // bytes
	due  time.Time
}

// backlog holds, in order, the frames of a client that came before they were due. A
// client that sends as it should has none: its frames are handled where they are read.
type backlog struct {
	count atomic.Int32 // of late, to be asked at each frame

	// Guarded by mu.
	mu     sync.Mutex
	late   []request
	bytes  int           // of them
	shrunk chan struct{} // holds a token when it has become less; nil: it was never used
}

// waiting gives how many frames wait. The one that is being handled is one of them.
func (b *backlog) waiting() int { return int(b.count.Load()) }

// add has a frame wait, as soon as there is room for it; there always is for one. It
// reports whether it is the first, so that somebody has to begin to take them out. One
// goroutine at a time adds.
func (b *backlog) add(ctx context.Context, r request) (first bool, err error) {
	weight := r.size + lateFrame
	err = b.until(ctx, func() bool {
		if len(b.late) > 0 && b.bytes+weight > backlogBytes {
			return false
		}
		first = len(b.late) == 0
		b.late = append(b.late, r)
		b.bytes += weight
		b.count.Add(1)
		return true
	})
	return first, err
}

// settle waits until nothing waits any more.
func (b *backlog) settle(ctx context.Context) {
	// If ctx ends, so does the connection, and nothing of it is to be handled.
	_ = b.until(ctx, func() bool { return len(b.late) == 0 })
}

// until waits for something to become true, which may as frames are handled. It is
// asked with mu held. Who adds frames is the only one to wait.
func (b *backlog) until(ctx context.Context, done func() bool) error {
	for {
		b.mu.Lock()
		if b.shrunk == nil {
			b.shrunk = make(chan struct{}, 1)
		}
		ok := done()
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-b.shrunk:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// first gives the frame whose turn it is.
func (b *backlog) first() request {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.late[0]
}

// drop takes out the first frame, which was handled, and reports whether there are
// more.
func (b *backlog) drop() (more bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bytes -= b.late[0].size + lateFrame
	b.late[0] = request{} // what it holds can go
	b.late = b.late[1:]
	if more = len(b.late) > 0; !more {
		b.late = nil
	}
	b.count.Add(-1)
	select {
	case b.shrunk <- struct{}{}:
	default: // the token is there already
	}
	return more
}

// sleep waits for a while, but not after ctx has ended.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
