package transport

import (
	"context"
	"errors"
	"sync"

	"confgate/core"
)

// namespace is a connection over one namespace of a session. Its frames are handled
// by whose turn it is: a goroutine of its own would do nothing but wait.
type namespace struct {
	client *sioClient
	name   string

	// Guarded by mu, which is held while a frame is handled.
	mu     sync.Mutex
	take   func(frame []byte) // made with the first event; nil until then
	finish func()             // waits until what was taken is handled; made with take
	over   bool               // nothing is taken any more
	ack    string             // that the last frame wants

	// Guarded by client.mu.
	cut   context.CancelCauseFunc // nil until the first event
	quiet func(missed bool)
}

// sioRequest is a frame from a client.
type sioRequest struct {
	frame []byte
	ack   string // the id of the acknowledgement that is wanted; empty: none
}

// pass handles a frame, as the first of its namespace for a new connection. A client
// cannot send much faster than it is served.
func (c *sioClient) pass(n *namespace, q sioRequest) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.take == nil && !c.serve(n) {
		return ErrLost
	}
	if !n.over {
		n.ack = q.ack
		n.take(q.frame)
	}
	return nil
}

// serve begins a connection in a namespace, unless the session has ended. It is
// called with n.mu held.
func (c *sioClient) serve(n *namespace) bool {
	ctx, cut := context.WithCancelCause(context.Background())
	c.mu.Lock()
	n.cut = cut
	c.mu.Unlock()
	if !c.session.enter() {
		cut(ErrLost)
		return false
	}
	p := newPumps(ctx, cut, n, c.door.edge.config.Hub, c.door.dialect, c.door.edge.options(c.visit, sioFraming))
	n.take = func(frame []byte) {
		if err := p.guard(func() error { return p.take(ctx, frame) }); err != nil {
			cut(err)
		}
	}
	n.finish = func() { p.settle(ctx) }
	context.AfterFunc(ctx, func() {
		defer c.session.running.Done()
		n.mu.Lock() // a frame that is being handled heeds ctx
		n.over = true
		n.mu.Unlock()
		c.finish(n, p, context.Cause(ctx))
	})
	return true
}

// finish ends a connection, and tells the client. One who is displaced is put out,
// and does not come back by itself. All else ends the session, and what is being
// written with it: clients begin anew.
func (c *sioClient) finish(n *namespace, p *pumps, cause error) {
	displaced := errors.Is(cause, core.ErrDisplaced)
	if !displaced && !errors.Is(cause, ErrLeft) {
		c.session.cut(cause)
	}
	p.end(cause)
	if !displaced {
		return
	}
	if err := c.session.tell(sioHead(sioDisconnect, n.name, "")); err != nil {
		c.session.cut(err)
	}
}

// isOver reports whether the connection has ended, or is about to.
func (n *namespace) isOver() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.over
}

// settle waits until all that came is handled, or the connection has ended.
func (n *namespace) settle() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.finish != nil && !n.over {
		n.finish()
	}
}

// disconnect ends the connection, as the client wishes.
func (n *namespace) disconnect() {
	n.settle()
	n.client.mu.Lock()
	cut := n.cut
	n.client.mu.Unlock()
	if cut != nil {
		cut(ErrLeft)
	}
}

func (n *namespace) Write(ctx context.Context, frame []byte) error {
	return n.send(ctx, sioHead(sioEvent, n.name, ""), n.client.door.head, frame)
}

// Wanted gives the id of the acknowledgement.
func (n *namespace) Wanted() string { return n.ack }

// Acknowledge sends a frame as an acknowledgement.
func (n *namespace) Acknowledge(ctx context.Context, id string, frame []byte) error {
	return n.send(ctx, sioHead(sioAck, n.name, id), []byte{'['}, frame)
}

// send sends a packet whose data are a list: what it begins with, and the frame.
func (n *namespace) send(ctx context.Context, packet, list, frame []byte) error {
	packet = append(make([]byte, 0, len(packet)+len(list)+len(frame)+1), packet...)
	packet = append(append(append(packet, list...), frame...), ']')
	return n.client.session.send(ctx, packet)
}

// Watch keeps whom to tell of missed signs of life.
func (n *namespace) Watch(quiet func(missed bool)) {
	n.client.mu.Lock()
	defer n.client.mu.Unlock()
	n.quiet = quiet
}
