package transport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// joinTimeout is how long a client has to say what it wants of a session.
	joinTimeout = 45 * time.Second
	// lateAfter is how late a sign of life may be until the client counts as quiet.
	lateAfter = 2 * time.Second
	// queuedPackets and queuedBytes bound what waits for a poll. A packet of any
	// size may wait alone.
	queuedPackets = 64
	queuedBytes   = 1 << 20
)

// pingTimeouts are how late a sign of life may be until the session ends. They are
// announced. In revision 4 the server asks for it, in 3 the client has to think of
// it.
var pingTimeouts = map[revision]time.Duration{eio3: 5 * time.Second, eio4: 20 * time.Second}

// Packets that are always the same.
var (
	closePacket = []byte{eioClose}
	pingPacket  = []byte{eioPing}
	pongPacket  = []byte{eioPong}
	noopPacket  = []byte{eioNoop} // ends a poll that has nothing to say
)

// talker is what is spoken over a session. Messages and attachments come one after
// another, and may be waited with for as long as the session lasts.
type talker interface {
	open() error // the session has begun
	message(text []byte) error
	attachment() error // a message of bytes
	joined() bool      // the client has said what it wants
	quiet(missed bool) // the client has missed a sign of life, or is back
	settle()           // wait until all that came is done, or the session has ended
	leave(cause error) // the session has ended
}

// engineSession is an Engine.IO session: packets, whatever carries them.
type engineSession struct {
	engine   *engine
	sid      string
	page     string // the origin of who opened it
	revision revision
	talker   talker
	cut      context.CancelCauseFunc
	done     <-chan struct{}
	turn     chan struct{}  // held by who brings packets: a request, or the WebSocket for good
	running  sync.WaitGroup // what the end waits for

	began  time.Time
	heard  atomic.Int64 // when the client was heard last, in time since it began
	busy   atomic.Bool  // with what the client sent: it may have said more already
	missed atomic.Bool  // the talker was told so
	alarm  *time.Timer  // runs watch

	// Owned by watch.
	asked, sent time.Duration // the last ping: when it was made, and when it was on its way

	// Guarded by mu.
	mu        sync.Mutex
	queue     [][]byte      // packets for the next poll
	queued    int           // their bytes
	polled    bool          // a poll waits
	upgrading bool          // probe has been claimed
	probe     *engineSocket // may become the socket
	probed    bool          // it works: polls are to end
	socket    *engineSocket // carries all packets from now on
	bye       []byte        // the last packet for polls; the session has ended
	cause     error         // for which it has
	changed   chan struct{} // closed, and made anew, when any of this changes
}

func newEngineSession(g *engine, r *http.Request, rev revision) *engineSession {
	return &engineSession{
		engine: g, sid: g.node + "." + newID(), page: pageOf(r), revision: rev,
		turn: make(chan struct{}, 1), began: time.Now(), changed: make(chan struct{}),
	}
}

// begin lets the session run until ctx ends, which is what cut does, and says hello.
func (s *engineSession) begin(ctx context.Context, v *visit) {
	s.cut, s.done = v.cut, ctx.Done()
	s.talker = s.engine.talk(s, v)
	s.mu.Lock()
	s.alarm = time.AfterFunc(s.engine.edge.config.Heartbeat, s.watch)
	s.mu.Unlock()
	context.AfterFunc(ctx, func() {
		s.end(context.Cause(ctx))
		v.leave()
	})
	err := s.tell(s.hello())
	if err == nil {
		err = s.talker.open()
	}
	if err != nil {
		s.cut(err)
	}
}

// hello makes the packet that opens a session.
func (s *engineSession) hello() []byte {
	upgrades := []string{"websocket"}
	if s.socket != nil { // it began there
		upgrades = []string{}
	}
	b, err := json.Marshal(struct {
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"` // milliseconds, here and below
		PingTimeout  int64    `json:"pingTimeout"`
		MaxPayload   int      `json:"maxPayload"` // bytes
	}{
		s.sid, upgrades,
		s.engine.edge.config.Heartbeat.Milliseconds(), pingTimeouts[s.revision].Milliseconds(), s.engine.limit,
	})
	if err != nil {
		panic(err) // strings and numbers
	}
	return append([]byte{eioOpen}, b...)
}

// end ends the session, once, and returns when nothing of it runs any more.
func (s *engineSession) end(cause error) {
	s.mu.Lock()
	s.cause = cause
	if s.bye = closePacket; errors.Is(cause, ErrLeft) {
		s.bye = noopPacket
	}
	polls := s.socket == nil
	sockets := []*engineSocket{s.socket, s.probe}
	s.announce()
	s.mu.Unlock()
	s.talker.leave(cause)
	for _, ws := range sockets {
		if ws != nil {
			ws.close(cause)
		}
	}
	s.running.Wait()
	s.alarm.Stop()
	s.engine.forget(s, polls)
}

// enter makes the end wait for the caller, who must call running.Done. Once the
// session has ended, nothing may enter.
func (s *engineSession) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bye != nil {
		return false
	}
	s.running.Add(1)
	return true
}

// announce wakes whoever waits for a change. It is called with mu held.
func (s *engineSession) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// take handles one packet from the client. It is the caller's turn.
func (s *engineSession) take(p enginePacket) error {
	s.busy.Store(true)
	err := guard(s.engine.edge.log, func() error { return s.handle(p) })
	s.hear()
	s.busy.Store(false)
	return err
}

func (s *engineSession) handle(p enginePacket) error {
	switch {
	case p.binary:
		return s.talker.attachment()
	case p.kind == eioMessage:
		return s.talker.message(p.data)
	case p.kind == eioClose:
		return ErrLeft
	case p.kind == eioPing && s.revision == eio3:
		return s.tell(pongPacket)
	case p.kind == eioPing, p.kind == eioPong && s.revision == eio3:
		return fmt.Errorf("%w: heartbeat in the wrong direction", ErrBroken)
	}
	return nil // a pong, or something that means nothing here
}

// finish ends the session once all is done that came before its client's last word.
func (s *engineSession) finish(cause error) {
	s.talker.settle()
	s.cut(cause)
}

// takeTurn makes the caller the one who brings packets, unless somebody is.
func (s *engineSession) takeTurn() bool {
	select {
	case s.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *engineSession) endTurn() { <-s.turn }

// tell sends the client a packet of the session's own.
func (s *engineSession) tell(packet []byte) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), s.engine.edge.config.WriteTimeout, ErrStalled)
	defer cancel()
	return s.send(ctx, packet)
}

// send sends the client a packet: over the WebSocket, or with a poll, for which it
// waits where many packets do so already.
func (s *engineSession) send(ctx context.Context, packet []byte) error {
	for {
		s.mu.Lock()
		socket, changed, ended, cause := s.socket, s.changed, s.bye != nil, s.cause
		room := len(s.queue) == 0 || len(s.queue) < queuedPackets && s.queued+len(packet) <= queuedBytes
		if socket == nil && !ended && room {
			s.queue = append(s.queue, packet)
			s.queued += len(packet)
			s.announce()
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		switch {
		case ended:
			return cause // whoever has left is not lost
		case socket != nil:
			return socket.send(ctx, packet)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// await gives the packets that wait, as soon as there are any, for a poll to bring
// to the client: none if ctx ends before. Polls must not overlap.
func (s *engineSession) await(ctx context.Context) (packets [][]byte, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.polled {
		s.cut(fmt.Errorf("%w: polls overlap", ErrBroken))
		return nil, false
	}
	s.polled = true
	defer func() { s.polled = false }()
	for len(s.queue) == 0 && s.socket == nil && !s.probed && s.bye == nil {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			s.cut(ErrLost) // as clients see it too
			return nil, true
		}
	}
	if packets = s.flush(); s.bye != nil {
		packets = append(packets, s.bye)
	}
	if len(packets) == 0 {
		packets = [][]byte{noopPacket}
	}
	return packets, true
}

// flush empties the queue. It is called with mu held.
func (s *engineSession) flush() [][]byte {
	packets := s.queue
	s.queue, s.queued = nil, 0
	s.announce()
	return packets
}

// hear notes a sign of life.
func (s *engineSession) hear() {
	s.heard.Store(int64(time.Since(s.began)))
	if s.missed.Load() && s.missed.Swap(false) {
		s.talker.quiet(false)
	}
}

// watch runs whenever the client may be late, or a ping is due.
func (s *engineSession) watch() {
	if !s.enter() {
		return
	}
	defer s.running.Done()
	next, err := s.inspect(time.Since(s.began))
	if err != nil {
		s.cut(err)
		return
	}
	s.alarm.Reset(next)
}

// inspect does what is due, and says when something will be again.
func (s *engineSession) inspect(now time.Duration) (next time.Duration, err error) {
	interval, timeout := s.engine.edge.config.Heartbeat, pingTimeouts[s.revision]
	heard := time.Duration(s.heard.Load())
	if s.busy.Load() {
		heard = now
	}
	owed := heard + interval // when there was to be a sign of life
	if s.revision == eio4 {
		owed = s.sent
	}
	late := now - owed
	switch ping := s.asked + interval; {
	case s.revision == eio4 && heard >= s.asked && now >= ping:
		s.asked = now
		err = s.tell(pingPacket)
		s.sent = time.Since(s.began)
		next = lateAfter
	case s.revision == eio4 && heard >= s.asked:
		next = ping - now
	case late >= timeout:
		err = ErrSilent
	case late >= lateAfter:
		s.talker.quiet(true)
		s.missed.Store(true) // only now, or it could be taken back before it is said
		next = timeout - late
	default:
		next = lateAfter - late
	}
	if wait := joinTimeout - now; !s.talker.joined() {
		next = min(next, wait)
		if wait <= 0 {
			err = ErrSilent
		}
	}
	return next, err
}
