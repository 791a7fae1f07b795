package transport

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/go-chi/chi/v5"

	"confgate/protocol"
)

// closeGrace is how long a client has to take what is being written to it and to
// answer the close frame, before the connection is torn down.
const closeGrace = 2 * time.Second

// WebSocket serves a dialect to clients that open a bare WebSocket: one message a
// frame, no framing around it.
func (e *Edge) WebSocket(d protocol.Dialect) http.Handler {
	r := chi.NewRouter()
	r.Get("/", e.socketHandler(d, bare))
	return r
}

// wire is how messages look on a WebSocket.
type wire struct {
	framing   string
	overhead  int    // a frame may be so many times as long as the message in it
	hello     []byte // the first frame; nil: none
	heartbeat []byte // the frame that says that there is nothing to say; nil: none
	wrap      func(message []byte) []byte
	// unwrap gives the messages of a frame, none of them longer than limit.
	unwrap func(frame []byte, limit int) (batch, error)
	bye    func(ending) []byte // the last frame; nil: none
}

// bare is a WebSocket with nothing on top. Clients send binary frames too, and
// mean the text in them.
var bare = wire{
	framing:  "websocket",
	overhead: 1,
	wrap:     func(message []byte) []byte { return message },
	unwrap:   func(frame []byte, _ int) (batch, error) { return batch{frame}, nil },
}

func (e *Edge) socketHandler(d protocol.Dialect, wire wire) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !e.admit(w, r) {
			return
		}
		ctx, visit, err := e.enter(r)
		if err != nil {
			turnAway(w, err)
			return
		}
		s := &socket{wire: &wire, limit: e.maxFrame(d), edge: e, cut: visit.cut, closed: make(chan struct{})}
		t := &tap{ResponseWriter: w, came: s.hear}
		s.ws, err = t.accept(r, wire.overhead*s.limit)
		if err != nil {
			visit.leave()
			return // it was answered
		}
		s.line = t.line
		// The request's goroutine has a large stack and holds on to the request.
		go func() {
			defer visit.leave()
			s.serve(ctx, d, visit)
		}()
	}
}

// Buffers of a WebSocket: most frames fit, and there are many connections. What is
// longer goes past them.
const (
	readBuffer  = 512
	writeBuffer = 1024
)

// tap keeps the connection that is hijacked through it.
type tap struct {
	http.ResponseWriter
	came func() // told whenever bytes come
	line *line
}

func (t *tap) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, err := rw.Reader.Peek(rw.Reader.Buffered()) // what came right behind the request
	if err != nil {
		return nil, nil, err
	}
	t.line = &line{Conn: conn, came: t.came}
	r := bufio.NewReaderSize(bytes.NewReader(early), max(readBuffer, len(early)))
	if _, err := r.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return t.line, bufio.NewReadWriter(r, bufio.NewWriterSize(t.line, writeBuffer)), nil
}

// accept makes a WebSocket of a request, with messages up to limit bytes. If it
// cannot, it has answered.
func (t *tap) accept(r *http.Request, limit int) (*websocket.Conn, error) {
	ws, err := websocket.Accept(t, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true, // admit has looked at the origin
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err == nil {
		ws.SetReadLimit(int64(limit))
	}
	return ws, err
}

// line is a connection that tells when bytes come.
type line struct {
	net.Conn
	came func()

	ended atomic.Bool // there will be no more bytes; whoever closes the connection reads, too
}

func (l *line) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 {
		l.came()
	}
	if err != nil {
		l.ended.Store(true)
	}
	return n, err
}

// socket is a Conn over a WebSocket. The library tears a connection down when a
// context given to it ends; the socket gives it none that can, so that the close
// frame still finds its way.
type socket struct {
	ws    *websocket.Conn
	line  *line // below ws; closing it ends whatever is going on in ws
	wire  *wire
	limit int // bytes of a message from the client
	edge  *Edge
	cut   context.CancelCauseFunc

	wrote   atomic.Bool // since the last heartbeat
	heard   atomic.Bool // since the last ping
	busy    atomic.Bool // with what the client sent: its answer to a ping may be behind that
	missed  atomic.Bool // quiet was told so
	closing atomic.Bool
	closed  chan struct{} // closed when the connection has ended

	// Owned by Read.
	messages batch // of the last frame, not read yet

	// Made by Watch, before anything is read.
	quiet func(missed bool)
	pulse *pulse
}

// serve runs the connection from its first frame to its last.
func (s *socket) serve(ctx context.Context, d protocol.Dialect, v *visit) {
	if s.wire.hello != nil {
		if err := s.write(s.wire.hello, time.Now().Add(s.edge.config.WriteTimeout)); err != nil {
			s.close(err)
			return
		}
	}
	s.close(Serve(ctx, s, s.edge.config.Hub, d, s.edge.options(v, s.wire.framing)))
	s.pulse.stop() // after close, which leaves no beat waiting
}

// Watch begins to look for signs of life.
func (s *socket) Watch(quiet func(missed bool)) {
	s.quiet = quiet
	s.pulse = startPulse(s.edge.config.Heartbeat, s.beat)
}

// hear notes a sign of life.
func (s *socket) hear() {
	s.heard.Store(true)
	if s.missed.Load() && s.missed.Swap(false) {
		s.quiet(false)
	}
}

// miss tells that an answer is late, if it is the client's doing.
func (s *socket) miss() {
	if s.heard.Load() || s.busy.Load() {
		return
	}
	s.quiet(true)
	s.missed.Store(true) // only now, or it could be taken back before it is said
	if s.heard.Load() {
		s.hear()
	}
}

// Read has the connection closed when ctx ends, whatever goes on in it.
func (s *socket) Read(ctx context.Context) ([]byte, error) {
	stop := context.AfterFunc(ctx, func() { s.close(context.Cause(ctx)) })
	defer stop()
	s.busy.Store(len(s.messages) > 0)
	defer s.busy.Store(true)
	for len(s.messages) == 0 {
		if err := s.readFrame(); err != nil {
			return nil, err
		}
	}
	return s.messages.next(), nil
}

func (s *socket) readFrame() error {
	_, frame, err := s.edge.scratch.read(s.ws, s.line)
	if err != nil {
		return readError(err)
	}
	s.messages, err = s.wire.unwrap(frame, s.limit)
	return err
}

// scratch holds buffers for messages that are on their way in.
type scratch struct{ pool sync.Pool }

// scratchBytes are enough for an SDP.
const scratchBytes = 8 << 10

// read reads a whole message. One that breaks off is an error; to the library, it may
// look whole.
func (s *scratch) read(ws *websocket.Conn, l *line) (websocket.MessageType, []byte, error) {
	kind, message, err := s.readAny(ws)
	if err == nil && l.ended.Load() {
		err = io.ErrUnexpectedEOF
	}
	return kind, message, err
}

func (s *scratch) readAny(ws *websocket.Conn) (websocket.MessageType, []byte, error) {
	kind, r, err := ws.Reader(context.Background())
	if err != nil {
		return 0, nil, err
	}
	buffer, ok := s.pool.Get().(*[scratchBytes]byte)
	if !ok {
		buffer = new([scratchBytes]byte)
	}
	defer s.pool.Put(buffer)
	n := 0
	for n < len(buffer) && err == nil {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	switch {
	case err == nil:
		message, err := io.ReadAll(io.MultiReader(bytes.NewReader(buffer[:]), r))
		return kind, message, err
	case errors.Is(err, io.EOF):
		return kind, bytes.Clone(buffer[:n]), nil
	default:
		return 0, nil, err
	}
}

// readError gives the cause of a connection's end that shows as an error of a read.
func readError(err error) error {
	switch {
	case errors.Is(err, websocket.ErrMessageTooBig):
		return ErrTooBig
	case websocket.CloseStatus(err) != -1:
		return fmt.Errorf("%w: code %d", ErrLeft, websocket.CloseStatus(err))
	default:
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
}

// Write heeds the deadline of ctx only: what is under way when the connection is
// cut off has its grace.
func (s *socket) Write(ctx context.Context, message []byte) error {
	deadline, _ := ctx.Deadline()
	return s.write(s.wire.wrap(message), deadline)
}

func (s *socket) write(frame []byte, deadline time.Time) error {
	s.wrote.Store(true)
	err := s.line.SetWriteDeadline(deadline)
	if err == nil {
		err = s.ws.Write(context.Background(), websocket.MessageText, frame)
	}
	if err == nil {
		// The deadline was this frame's: pongs go out when they must.
		err = s.line.SetWriteDeadline(time.Time{})
	}
	return writeError(err)
}

// writeError gives the cause of a connection's end that shows as an error of a
// write.
func writeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrStalled
	default:
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
}

// beat shows the client a sign of life, and wants one: a connection whose other
// end has vanished looks open for a long time. Any bytes are one: an answer may be
// on its way behind an image. It reports whether to go on.
func (s *socket) beat() bool {
	s.heard.Store(false)
	late := time.AfterFunc(lateAfter, s.miss)
	defer late.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), s.edge.config.PongTimeout)
	defer cancel()
	var err error
	if idle := !s.wrote.Swap(false); idle && s.wire.heartbeat != nil {
		err = s.ws.Write(ctx, websocket.MessageText, s.wire.heartbeat)
	}
	if err == nil {
		err = s.ws.Ping(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		if s.heard.Load() || s.busy.Load() {
			return true
		}
		s.cut(ErrSilent)
	}
	return err == nil
}

// close ends the connection and returns when it has ended: with the frames that fit
// the first cause if the client takes them in time, without a word otherwise.
func (s *socket) close(cause error) {
	if s.closing.Swap(true) {
		<-s.closed
		return
	}
	defer close(s.closed)
	teardown := time.AfterFunc(closeGrace, func() { s.line.Close() })
	defer teardown.Stop()
	end := endingOf(cause)
	if s.wire.bye != nil {
		// Where it fails, so does Close.
		_ = s.ws.Write(context.Background(), websocket.MessageText, s.wire.bye(end))
	}
	_ = s.ws.Close(websocket.StatusCode(end.code), end.text)
}

// pulse calls a function now and then until it is stopped. It holds no goroutine
// between the calls.
type pulse struct {
	mu      sync.Mutex  // held during a call
	timer   *time.Timer // guarded by mu
	stopped bool        // guarded by mu
}

// startPulse calls beat every so often, for as long as it returns true.
func startPulse(every time.Duration, beat func() bool) *pulse {
	p := &pulse{}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(every, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		began := time.Now()
		if !p.stopped && beat() {
			p.timer.Reset(every - time.Since(began))
		}
	})
	return p
}

// stop waits for a call that is under way.
func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
	p.timer.Stop()
}
