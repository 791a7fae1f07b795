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
	// ErrRevoked: the client, or its tenant, was put out of the house.
	ErrRevoked = errors.New("access was revoked")
	// ErrRoomFailed: a bug ended the client's room.
	ErrRoomFailed = errors.New("room failed")
)

// Outbox holds the events that a client has yet to get, in order. Everything a
// client is told goes through its one outbox.
type Outbox struct {
	limit    int
	maxBytes int // 0: no limit
	cut      context.CancelCauseFunc
	start    func()        // see OnWork; nil: somebody waits in Take
	wake     chan struct{} // holds a token while events wait
	quiet    atomic.Bool   // the client has missed a sign of life

	// Guarded by mu.
	mu      sync.Mutex
	events  []Event
	working bool // start was called, and Drain will be
	bytes   int  // that they hold; see weigh
	largest int  // of them
}

// NewOutbox makes an outbox for at most limit events; cut ends the connection
// that it belongs to.
func NewOutbox(limit int, cut context.CancelCauseFunc) *Outbox {
	return &Outbox{limit: limit, cut: cut, wake: make(chan struct{}, 1)}
}

// LimitBytes bounds what the events hold that wait, too. The largest of them does
// not count: one picture may be as large as the dialect lets it be. It is called
// before the outbox is used.
func (o *Outbox) LimitBytes(n int) { o.maxBytes = n }

// OnWork is for who does not want to wait in Take: start is called whenever events
// wait and nobody has promised yet to take them. It must not wait, and promises that
// Drain is called until that gives nothing. OnWork is called before the outbox is
// used.
func (o *Outbox) OnWork(start func()) { o.start = start }

// Put adds an event. It never waits: a client that has let its outbox fill up is
// cut off.
func (o *Outbox) Put(e Event) {
	weight := weigh(e)
	o.mu.Lock()
	bytes, largest := o.bytes+weight, max(o.largest, weight)
	full := len(o.events) >= o.limit || o.maxBytes > 0 && bytes-largest > o.maxBytes
	if !full {
		o.events, o.bytes, o.largest = append(o.events, e), bytes, largest
	}
	start := !full && !o.working && o.start != nil
	o.working = o.working || start
	o.mu.Unlock()
	switch {
	case full:
		o.cut(ErrSlow)
		return
	case o.start != nil:
		if start {
			o.start()
		}
		return
	}
	select {
	case o.wake <- struct{}{}:
	default: // the token is there already
	}
}

// Take waits for events and gives all that there are, in order. They do not count
// any more.
func (o *Outbox) Take(ctx context.Context) ([]Event, error) {
	select {
	case <-o.wake:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return o.Drain(), nil
}

// Drain gives all events that there are, in order, without waiting: none fulfils the
// promise that was made; see OnWork. They do not count any more.
func (o *Outbox) Drain() []Event {
	o.mu.Lock()
	defer o.mu.Unlock()
	events := o.events
	o.events, o.bytes, o.largest = nil, 0, 0
	o.working = len(events) > 0
	return events
}

// Cut ends the connection with err as its cause.
func (o *Outbox) Cut(err error) { o.cut(err) }

// Quiet notes whether the client has missed a sign of life that it owed: the same
// person may then come in again before this connection is given up.
func (o *Outbox) Quiet(missed bool) { o.quiet.Store(missed) }

// What an event and a member take up in an outbox, about, besides what they carry.
const (
	eventBytes  = 256
	memberBytes = 256
	idBytes     = 32
)

// weigh says how many bytes an event keeps from being freed, about. What many
// outboxes hold in common is weighed in each: it is not freed before all are.
func weigh(e Event) int {
	carried := 0
	switch e := e.(type) {
	case Reply:
		carried = weighResult(e.Result) + len(e.Ref.Op) + len(e.Ref.ID) + len(e.Ref.As) + len(e.Ref.Ack)
		if e.Err != nil {
			carried += len(e.Err.Msg)
		}
	case Shown:
		carried = len(e.Image)
	case Said:
		carried = len(e.Message)
	case Passed:
		carried = len(e.Body)
	case CandidatePassed:
		carried = len(e.Body)
	case FeedsAdded:
		carried = memberBytes * len(e.Feeds)
	default: // all others carry names and flags
	}
	return eventBytes + carried
}

func weighResult(r Result) int {
	switch r := r.(type) {
	case Joined:
		n := memberBytes*len(r.State.Members) + idBytes*len(r.State.Groups)
		if r.State.Sharing != nil {
			n += len(r.State.Sharing.Image)
		}
		return n
	case Listed:
		return memberBytes * len(r.Members)
	case Answered:
		return len(r.SDP)
	case Offered:
		return len(r.SDP)
	case Relayed:
		return len(r.Body)
	default: // all others carry names and flags
		return 0
	}
}
