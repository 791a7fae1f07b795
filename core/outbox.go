package core

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// Reasons for which core ends a connection; see context.Cause.
var (
	// ErrSlow: the client lets its outbox fill up.
	ErrSlow = errors.New("client does not keep up")
	// ErrDisplaced: the same person has come in through another connection.
	ErrDisplaced = errors.New("displaced by a newer connection")
	// ErrRevoked: the client's tenant was taken out of the house.
	ErrRevoked = errors.New("access was revoked")
	// ErrRoomFailed: a bug ended the client's room.
	ErrRoomFailed = errors.New("room failed")
)

// Outbox holds the events that a client has yet to get, in order. Everything a
// client is told goes through its one outbox.
type Outbox struct {
	limit int
	cut   context.CancelCauseFunc
	wake  chan struct{} // holds a token while events wait
	quiet atomic.Bool   // the client has missed a sign of life

	mu     sync.Mutex
	events []Event // guarded by mu
}

// NewOutbox makes an outbox for at most limit events; cut ends the connection
// that it belongs to.
func NewOutbox(limit int, cut context.CancelCauseFunc) *Outbox {
	return &Outbox{limit: limit, cut: cut, wake: make(chan struct{}, 1)}
}

// Put adds an event. It never waits: a client that has let its outbox fill up is
// cut off.
func (o *Outbox) Put(e Event) {
	o.mu.Lock()
	full := len(o.events) >= o.limit
	if !full {
		o.events = append(o.events, e)
	}
	o.mu.Unlock()
	if full {
		o.cut(ErrSlow)
		return
	}
	select {
	case o.wake <- struct{}{}:
	default: // the token is there already
	}
}

// Take waits for events and gives all that there are, in order.
func (o *Outbox) Take(ctx context.Context) ([]Event, error) {
	select {
	case <-o.wake:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	events := o.events
	o.events = nil
	return events, nil
}

// Cut ends the connection with err as its cause.
func (o *Outbox) Cut(err error) { o.cut(err) }

// Quiet notes whether the client has missed a sign of life that it owed: the same
// person may then come in again before this connection is given up.
func (o *Outbox) Quiet(missed bool) { o.quiet.Store(missed) }
