package transport

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// upgradeTimeout is how long a client may try out a WebSocket before it goes on
// over it.
const upgradeTimeout = 10 * time.Second

// engineSocket is a WebSocket that carries packets, one a frame.
type engineSocket struct {
	socket
	turn chan struct{} // held by who writes: each frame has a deadline of its own
}

// enginePackets is a WebSocket with nothing on top: a session makes its frames itself.
var enginePackets = wire{framing: sioFraming}

// accept makes a WebSocket of a request. If it cannot, it has answered.
func (s *engineSession) accept(w http.ResponseWriter, r *http.Request) (*engineSocket, error) {
	// A client that sends an image over a slow line has no time for pongs.
	t := &tap{ResponseWriter: w, came: s.hear}
	ws, err := t.accept(r, s.engine.limit)
	if err != nil {
		return nil, err
	}
	return &engineSocket{socket{ws: ws, line: t.line, wire: &enginePackets, edge: s.engine.edge, closed: make(chan struct{})}, make(chan struct{}, 1)}, nil
}

// openSocket begins a session on a WebSocket, and serves it.
func (g *engine) openSocket(w http.ResponseWriter, r *http.Request, rev revision) {
	ctx, visit, err := g.edge.enter(r)
	if err != nil {
		turnAway(w, err)
		return
	}
	s := newEngineSession(g, r, rev)
	ws, err := s.accept(w, r)
	if err != nil {
		visit.leave()
		return
	}
	s.socket = ws
	s.takeTurn()
	s.begin(ctx, visit)
	if s.enter() {
		s.startReading(ws)
	}
}

// upgrade lets a session go on over a WebSocket once the client is content with it,
// and serves it from then on.
func (g *engine) upgrade(w http.ResponseWriter, r *http.Request, s *engineSession) {
	if !s.claimProbe() {
		badRequest.refuse(w)
		return
	}
	ws, err := s.accept(w, r)
	if err == nil {
		if err = s.tryOut(ws); err != nil {
			ws.close(err)
		}
	}
	if err != nil {
		s.setProbe(nil) // polls go on
		s.running.Done()
		return
	}
	g.pollsNoMore()
	select {
	case s.turn <- struct{}{}: // after what a request still brings
	case <-s.done:
	}
	s.startReading(ws)
}

// startReading serves a WebSocket until it ends, or the session does, in which the
// caller has entered. It does so in a goroutine of its own, for connections last:
// the request's holds on to a large stack, and to the request.
func (s *engineSession) startReading(ws *engineSocket) {
	go func() {
		defer s.running.Done()
		s.finish(s.read(ws))
	}()
}

// claimProbe makes the caller the one who tries out a WebSocket, and the session's
// end wait for it.
func (s *engineSession) claimProbe() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upgrading || s.socket != nil || s.bye != nil {
		return false
	}
	s.upgrading = true
	s.running.Add(1)
	return true
}

// setProbe says which WebSocket is tried out, or that none is any more. It reports
// whether the session still runs.
func (s *engineSession) setProbe(ws *engineSocket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probe = ws
	if ws == nil {
		s.upgrading, s.probed = false, false
	}
	return s.bye == nil
}

// tryOut answers the client's probes until it goes over to the WebSocket.
func (s *engineSession) tryOut(ws *engineSocket) error {
	if !s.setProbe(ws) {
		return ErrLost
	}
	if err := ws.line.SetReadDeadline(time.Now().Add(upgradeTimeout)); err != nil {
		return err
	}
	for {
		p, err := s.next(ws)
		switch {
		case err != nil:
			return err
		case p.kind == eioPing && string(p.data) == "probe":
			err = s.answerProbe(ws)
		case p.kind == eioUpgrade:
			return s.adopt(ws)
		default:
			err = fmt.Errorf("%w: neither a probe nor the upgrade", ErrBroken)
		}
		if err != nil {
			return err
		}
	}
}

// answerProbe shows that the WebSocket works, and ends the poll that the client
// waits for before it goes over.
func (s *engineSession) answerProbe(ws *engineSocket) error {
	s.mu.Lock()
	s.probed = true
	s.announce()
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), upgradeTimeout)
	defer cancel()
	return ws.send(ctx, []byte("3probe"))
}

// adopt makes the WebSocket carry all packets: first those that wait for a poll.
func (s *engineSession) adopt(ws *engineSocket) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.engine.edge.config.WriteTimeout, ErrStalled)
	defer cancel()
	ws.turn <- struct{}{} // nobody else writes to it yet
	defer func() { <-ws.turn }()
	s.mu.Lock()
	if s.bye != nil {
		s.mu.Unlock()
		return ErrLost
	}
	s.socket, s.probe, s.probed = ws, nil, false
	waiting := s.flush()
	s.mu.Unlock()
	err := ws.line.SetReadDeadline(time.Time{})
	for _, packet := range waiting {
		if err == nil {
			err = ws.sendInTurn(ctx, packet)
		}
	}
	if err != nil {
		s.cut(err)
	}
	return nil
}

// upgraded reports whether a WebSocket carries the session.
func (s *engineSession) upgraded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.socket != nil
}

// read takes packets until the connection ends, and gives the reason.
func (s *engineSession) read(ws *engineSocket) error {
	for {
		p, err := s.next(ws)
		if err == nil {
			err = s.take(p)
		}
		if err != nil {
			return err
		}
	}
}

// next reads a packet.
func (s *engineSession) next(ws *engineSocket) (enginePacket, error) {
	kind, frame, err := s.engine.edge.scratch.read(ws.ws, ws.line)
	switch {
	case err != nil:
		return enginePacket{}, readError(err)
	case kind == websocket.MessageBinary:
		return decodeBytes(s.revision, frame)
	default:
		return decodeText(s.revision, frame)
	}
}

// send writes a packet. It heeds ctx while others write, then its deadline only.
func (s *engineSocket) send(ctx context.Context, packet []byte) error {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
		return s.sendInTurn(ctx, packet)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *engineSocket) sendInTurn(ctx context.Context, packet []byte) error {
	deadline, _ := ctx.Deadline()
	return s.write(packet, deadline)
}
