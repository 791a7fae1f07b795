package transport

import (
	"context"
	"errors"

	"confgate/core"
)

// namespace is a Conn over one namespace of a session.
type namespace struct {
	client *sioClient
	name   string

	// Made with the first event; nil until then.
	frames chan sioRequest // from whose turn it is to Read; closed when the client leaves
	over   chan struct{}   // closed when nobody reads any more

	// Owned by Read.
	ack string // that the last frame wants

	// Guarded by client.mu.
	cut   context.CancelCauseFunc // nil until the first event
	quiet func(missed bool)
}

// sioRequest is a frame from a client.
type sioRequest struct {
	frame []byte
	ack   string // the id of the acknowledgement that is wanted; empty: none
}

// pass hands a frame on, as the first of its namespace to a new connection. It
// waits until the frame is read: a client cannot send faster than it is served.
func (c *sioClient) pass(n *namespace, q sioRequest) error {
	if n.frames == nil && !c.serve(n) {
		return ErrLost
	}
	select {
	case n.frames <- q:
	case <-n.over:
	case <-c.session.done:
	}
	return nil
}

// serve begins a connection in a namespace, unless the session has ended.
func (c *sioClient) serve(n *namespace) bool {
	ctx, cut := context.WithCancelCause(context.Background())
	n.frames, n.over = make(chan sioRequest), make(chan struct{})
	c.mu.Lock()
	n.cut = cut
	c.mu.Unlock()
	if !c.session.enter() {
		cut(ErrLost)
		return false
	}
	go func() {
		defer c.session.running.Done()
		defer cut(nil)
		cause := Serve(ctx, n, c.door.edge.config.Hub, c.door.dialect, c.door.edge.options(c.visit, sioFraming))
		close(n.over)
		c.ended(n, cause)
	}()
	return true
}

// ended tells the client that its connection in a namespace has ended. One who is
// displaced is put out, and does not come back by itself. All else ends the
// session: clients begin anew.
func (c *sioClient) ended(n *namespace, cause error) {
	switch {
	case errors.Is(cause, ErrLeft):
	case errors.Is(cause, core.ErrDisplaced):
		if err := c.session.tell(sioHead(sioDisconnect, n.name, "")); err != nil {
			c.session.cut(err)
		}
	default:
		c.session.cut(cause)
	}
}

// isOver reports whether the connection has ended.
func (n *namespace) isOver() bool {
	select {
	case <-n.over:
		return true
	default:
		return false // or it has not begun
	}
}

// disconnect ends the connection, as the client wishes.
func (n *namespace) disconnect() {
	if n.frames != nil {
		close(n.frames)
	}
}

func (n *namespace) Read(ctx context.Context) ([]byte, error) {
	select {
	case q, ok := <-n.frames:
		if !ok {
			return nil, ErrLeft
		}
		n.ack = q.ack
		return q.frame, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
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
