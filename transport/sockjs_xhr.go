package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"confgate/protocol"
)

const (
	// absence is how long a session waits for its client to come back for more,
	// and how long one that has ended says so to those who ask.
	absence = 5 * time.Second
	// queuedFrames is how many frames wait for the client's next request.
	queuedFrames = 64
	// replyLimit is how many bytes go out in one reply, about: browsers keep all of it
	// until it ends.
	replyLimit = 128 << 10
	// batchFactor: the client sends all that has gathered in one body, which may be
	// so many times as long as one message.
	batchFactor = 16
)

// The framings of XHR sessions, by the request that opened them.
var (
	// A poll is answered with what there is. Real clients read several frames, one a
	// line, from either kind of reply, and a round trip for each would be dear.
	polling = reception{framing: "sockjs-xhr", once: true}

	// A stream goes on. Its prelude gets old browsers to hand it out piece by piece.
	streaming = reception{
		framing: "sockjs-xhr-streaming",
		prelude: append(bytes.Repeat([]byte{'h'}, 2048), '\n'),
	}
)

// reception is a way to hand out frames.
type reception struct {
	framing string
	prelude []byte
	once    bool // the reply ends with the first frames
}

// xhr is the part of a SockJS door in which a connection is a session made of many
// requests.
type xhr struct {
	edge    *Edge
	dialect protocol.Dialect

	mu       sync.Mutex
	sessions map[string]*xhrSession // guarded by mu
}

// xhrSession is a Conn over XHR requests: at most one that receives, and others,
// one after another, that send.
type xhrSession struct {
	// A session is only for who opened it, at the same address: clients think of its
	// name, which is short.
	network netip.Addr
	origin  string

	config  *Config
	limit   int // bytes of a message from the client
	cut     context.CancelCauseFunc
	frames  chan []byte   // from Write to the receiver
	batches chan batch    // from a sender to Read
	turn    chan struct{} // held by the one sender that may read its body

	ended chan struct{} // closed when the session has ended
	bye   []byte        // the last frame; read it after ended

	// Guarded by mu.
	mu       sync.Mutex
	attached bool        // there is a receiver
	away     *time.Timer // ends the session; runs while there is no receiver

	// Owned by Read.
	messages batch
}

// receive serves requests that wait for frames. The first one opens the session.
func (x *xhr) receive(k reception) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, err := readBody(w, r, 4<<10); err != nil {
			http.Error(w, "no body expected", http.StatusBadRequest)
			return
		}
		s, status := x.open(r, k.framing)
		if s == nil {
			http.Error(w, http.StatusText(status), status)
			return
		}
		h := w.Header()
		h.Set("Content-Type", "application/javascript; charset=UTF-8")
		h.Set("X-Accel-Buffering", "no") // nginx would hold back what streams
		s.deliver(r.Context(), reply{w, http.NewResponseController(w), s.config.WriteTimeout}, k)
	}
}

// open finds the session that r is for, or begins it; else it gives the status to
// answer with.
func (x *xhr) open(r *http.Request, framing string) (_ *xhrSession, status int) {
	key := chi.URLParam(r, "session")
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.sessions[key]
	switch {
	case s != nil && !s.belongsTo(r):
		return nil, http.StatusNotFound
	case s != nil:
		return s, http.StatusOK
	case len(x.sessions) >= x.edge.config.MaxXHRSessions:
		x.edge.limited(LimitXHRSessions, x.edge.remote(r))
		return nil, http.StatusServiceUnavailable
	}
	ctx, visit, err := x.edge.enter(r)
	if err != nil {
		return nil, statusOf(err)
	}
	s = newXHRSession(visit, r.Header.Get("Origin"), x.edge.maxFrame(x.dialect))
	x.sessions[key] = s
	options := x.edge.options(visit, framing)
	// A session outlives the requests that it is made of.
	go func() {
		defer visit.leave()
		s.end(Serve(ctx, s, s.config.Hub, x.dialect, options))
		time.AfterFunc(absence, func() { x.forget(key) })
	}()
	return s, http.StatusOK
}

func (x *xhr) forget(key string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.sessions, key)
}

// find gives the session that r is for, nil if there is none.
func (x *xhr) find(r *http.Request) *xhrSession {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.sessions[chi.URLParam(r, "session")]
	if s == nil || !s.belongsTo(r) {
		return nil
	}
	return s
}

// send serves requests that bring messages. They wait until the session has room
// for the messages, so a client cannot send much faster than it is served.
func (x *xhr) send(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	s := x.find(r)
	if s == nil {
		http.NotFound(w, r)
		return
	}
	patience := time.NewTimer(bodyTimeout)
	defer patience.Stop()
	busy := func() { http.Error(w, "messages come too fast", http.StatusTooManyRequests) }
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-s.ended:
		http.NotFound(w, r)
		return
	case <-patience.C:
		busy()
		return
	}
	messages, ok := x.messages(w, r, s)
	if !ok {
		return
	}
	select {
	case s.batches <- messages:
		w.WriteHeader(http.StatusNoContent)
	case <-s.ended:
		http.NotFound(w, r)
	case <-patience.C:
		busy()
	}
}

// messages reads those of a request. If there are none, it has answered.
func (x *xhr) messages(w http.ResponseWriter, r *http.Request, s *xhrSession) (_ batch, ok bool) {
	body, err := readBody(w, r, int64(batchFactor*s.limit))
	if _, big := errors.AsType[*http.MaxBytesError](err); err != nil && !big {
		http.Error(w, "body not readable", http.StatusBadRequest)
		return nil, false
	} else if big {
		err = ErrTooBig
	}
	if err == nil && len(body) == 0 {
		http.Error(w, "Payload expected.", http.StatusInternalServerError)
		return nil, false
	}
	var messages batch
	if err == nil {
		messages, err = splitFrame(body, s.limit)
	}
	switch {
	case errors.Is(err, ErrTooBig):
		s.cut(ErrTooBig)
		http.Error(w, ErrTooBig.Error(), http.StatusRequestEntityTooLarge)
	case err != nil:
		x.edge.config.Observer.BadFrame(x.dialect.Name)
		http.Error(w, "Broken JSON encoding.", http.StatusInternalServerError)
	case len(messages) == 0:
		w.WriteHeader(http.StatusNoContent)
	default:
		return messages, true
	}
	return nil, false
}

// readBody reads a request's body in the time that it has for it.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	// The deadline must not outlive the body: it would end the wait for frames.
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		_ = c.SetReadDeadline(time.Time{})
	}
	return body, err
}

func newXHRSession(v *visit, origin string, limit int) *xhrSession {
	s := &xhrSession{
		network: v.network, origin: origin,
		config: &v.edge.config, limit: limit, cut: v.cut,
		frames:  make(chan []byte, queuedFrames),
		batches: make(chan batch),
		turn:    make(chan struct{}, 1),
		ended:   make(chan struct{}),
	}
	s.frames <- openFrame
	s.away = time.AfterFunc(absence, func() { v.cut(ErrLost) })
	return s
}

func (s *xhrSession) belongsTo(r *http.Request) bool {
	return s.network == networkOf(s.config.Proxies.client(r)) && s.origin == r.Header.Get("Origin")
}

func (s *xhrSession) Read(ctx context.Context) ([]byte, error) {
	if len(s.messages) == 0 {
		select {
		case s.messages = <-s.batches:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return s.messages.next(), nil
}

func (s *xhrSession) Write(ctx context.Context, message []byte) error {
	select {
	case s.frames <- messageFrame(message):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end tells everyone who asks from now on that the session has ended.
func (s *xhrSession) end(cause error) {
	s.mu.Lock()
	s.away.Stop()
	s.mu.Unlock()
	s.bye = endingFrame(endingOf(cause))
	close(s.ended)
}

// attach makes the caller the session's one receiver, if there is none.
func (s *xhrSession) attach() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attached {
		return false
	}
	s.attached = true
	s.away.Stop()
	return true
}

func (s *xhrSession) detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attached = false
	s.away.Reset(absence) // ends nothing if the session has ended already
}

// deliver hands out frames in one reply. Every reply ends with the first heartbeat
// at the latest: a client that is still there comes back, one that has vanished
// without a word does not.
func (s *xhrSession) deliver(ctx context.Context, w reply, k reception) {
	if k.prelude != nil && w.write(k.prelude) != nil {
		return
	}
	select {
	case <-s.ended:
		_ = w.write(appendLine(nil, s.bye)) // it says so again to who asks again
		return
	default:
	}
	if !s.attach() {
		_ = w.write(appendLine(nil, closeFrame(2010, "Another connection still open")))
		return
	}
	defer s.detach()
	heartbeat := time.NewTimer(s.config.Heartbeat)
	defer heartbeat.Stop()
	for sent, last := 0, false; !last && sent < replyLimit; {
		var lines []byte
		select {
		case frame := <-s.frames:
			lines, last = s.waiting(appendLine(nil, frame)), k.once
		case <-s.ended:
			lines, last = appendLine(s.waiting(nil), s.bye), true
		case <-heartbeat.C:
			lines, last = appendLine(nil, heartbeatFrame), true
		case <-ctx.Done():
			s.cut(ErrLost) // what was under way may be lost; clients do not come back either
			return
		}
		sent += len(lines)
		if err := w.write(lines); err != nil {
			s.cut(err)
			return
		}
	}
}

// waiting appends the frames that wait already: queuedFrames at the most, or what
// is written meanwhile until the reply is long.
func (s *xhrSession) waiting(lines []byte) []byte {
	for len(lines) < replyLimit {
		select {
		case frame := <-s.frames:
			lines = appendLine(lines, frame)
		default:
			return lines
		}
	}
	return lines
}

func appendLine(b, frame []byte) []byte {
	return append(append(b, frame...), '\n')
}

// reply is a response that goes out piece by piece.
type reply struct {
	w       http.ResponseWriter
	control *http.ResponseController
	timeout time.Duration
}

// write sends lines at once.
func (r reply) write(lines []byte) error {
	_ = r.control.SetWriteDeadline(time.Now().Add(r.timeout))
	if _, err := r.w.Write(lines); err != nil {
		return writeError(err)
	}
	return writeError(r.control.Flush())
}
