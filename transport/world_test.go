package transport

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"confgate/core"
	"confgate/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// parrot is a dialect of one-word frames for tests of what is around dialects.
//
//	join ROOM USER   enters a room; the answer is "joined"
//	claim ROOM USER  the same, where USER has gone quiet; else it is "refused"
//	hello USER   says who the client is; the answer is "welcome"
//	say TEXT         tells everyone else in the room TEXT
//	stroke TEXT      is a stroke on the whiteboard, with the body TEXT
//	trickle X        is a candidate
//	offer X          is an SDP
//	bad REASON       is malformed
//	panic            makes Decode panic, mute makes Encode panic
//
// Any other frame comes back as it is.
var parrot = protocol.Dialect{Name: "parrot", Codec: parrotCodec{}}

type parrotCodec struct{}

func (parrotCodec) Decode(frame []byte) (core.Command, core.Ref, error) {
	text := string(frame)
	ref := core.Ref{Op: "echo", ID: text}
	op, rest, _ := strings.Cut(text, " ")
	switch op {
	case "join", "claim":
		room, user, _ := strings.Cut(rest, " ")
		online := core.Cut
		if op == "claim" {
			online = core.Reclaim
		}
		return core.Join{
			Room: core.RoomID(room), Cred: &core.Credentials{User: core.UserID(user)},
			Online: online, Make: &core.Open{Mode: core.SFU}, Alone: true,
		}, core.Ref{Op: op, ID: "joined"}, nil
	case "hello":
		if rest != "" {
			return core.Hello{Cred: core.Credentials{User: core.UserID(rest)}, Online: core.Cut}, core.Ref{Op: op, ID: "welcome"}, nil
		}
	case "say":
		return core.Say{Message: core.JSON(rest)}, core.Ref{}, nil
	case "stroke":
		return core.Cast{Topic: core.Stroke, Body: core.JSON(rest)}, core.Ref{}, nil
	case "trickle":
		return core.Trickle{}, core.Ref{}, nil
	case "offer":
		return core.Offer{SDP: rest}, core.Ref{}, nil
	case "bad":
		return nil, core.Ref{Op: "bad", ID: "sorry"}, core.Errorf(core.Malformed, "%s", rest)
	case "panic":
		panic("parrot panics")
	case "nothing":
		return nil, core.Ref{}, nil
	}
	return core.Ping{}, ref, nil
}

func (parrotCodec) Encode(e core.Event) [][]byte {
	switch e := e.(type) {
	case core.Reply:
		if e.Ref.ID == "mute" {
			panic("parrot is mute")
		}
		if e.Ref.Op == "claim" && e.Err != nil {
			return [][]byte{[]byte("refused")}
		}
		if e.Ref.ID != "" {
			return [][]byte{[]byte(e.Ref.ID)}
		}
	case core.Said:
		return [][]byte{e.Message}
	case core.Passed:
		return [][]byte{e.Body}
	default: // a parrot says nothing by itself
	}
	return nil
}

// noMedia is a media plane without media.
type noMedia struct{}

func (noMedia) Open(core.RoomID, core.MediaOptions, func(core.MediaEvent)) core.Media {
	return noMedia{}
}
func (noMedia) Accept(core.Leg, core.Ref, string)                           {}
func (noMedia) Offer(core.Leg, core.Ref, bool, bool)                        {}
func (noMedia) Answer(core.Leg, core.Ref, string)                           {}
func (noMedia) Trickle(core.UserID, core.Stream, core.Candidate)            {}
func (noMedia) Drop(core.Leg)                                               {}
func (noMedia) Close()                                                      {}
func (noMedia) Handled(core.RoomID, core.Caller, core.Command, *core.Error) {}
func (noMedia) LegFailed(core.RoomID, core.Leg, error)                      {}
func (noMedia) FirstPacket(time.Duration)                                   {}
func (noMedia) Expelled(core.RoomID, core.Caller, error)                    {}
func (noMedia) Slowed(core.RoomID)                                          {}
func (noMedia) Panicked(core.RoomID, any, []byte)                           {}
func (noMedia) Authorize(_ context.Context, c core.Credentials) (core.Grant, error) {
	return core.Grant{User: c.User}, nil
}

func newHub() *core.Hub {
	return core.NewHub(core.HubConfig{Plane: noMedia{}, Auth: noMedia{}, Observer: noMedia{}})
}

// ledger is an Observer that takes notes, and a log to read.
type ledger struct {
	mu     sync.Mutex
	opened []string
	closed []string // framing and reason
	bad    int
	limits []Limit
	log    bytes.Buffer
}

func (l *ledger) Opened(_, framing string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = append(l.opened, framing)
}

func (l *ledger) Closed(_, framing string, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = append(l.closed, framing+" "+Reason(cause))
}

func (l *ledger) BadFrame(string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bad++
}

func (l *ledger) Limited(limit Limit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limits = append(l.limits, limit)
}

func (l *ledger) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Write(p)
}

// lines gives the log, each line of which must be one JSON object.
func (l *ledger) lines(t *testing.T) (lines []map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.log.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		lines = append(lines, fields)
	}
	return lines
}

// badFrames gives how many were handled.
func (l *ledger) badFrames() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bad
}

// ends gives how connections have ended.
func (l *ledger) ends() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.closed...)
}

// world is an edge with a SockJS door at /rtc and a bare one at /ws, reached
// through memory so that virtual time sees everybody wait.
type world struct {
	*testing.T
	edge   *Edge
	hub    *core.Hub
	ledger *ledger
	server *http.Server
	listen *memory
	client *http.Client
}

func newWorld(t *testing.T, c Config) *world {
	w := &world{T: t, hub: newHub(), ledger: &ledger{}, listen: newMemory()}
	c.Hub, c.Observer, c.Log = w.hub, w.ledger, slog.New(slog.NewJSONHandler(w.ledger, nil))
	if c.AllowOrigin == nil {
		c.AllowOrigin = func(origin string) bool { return origin == "https://good.com" }
	}
	w.edge = New(c)
	doors := []Door{{"/rtc", (*Edge).SockJS, parrot}, {"/ws", (*Edge).WebSocket, parrot}, {"/socket.io", talk.Framing, parrot}}
	w.server = NewServer(w.edge.Handler(doors, nil), c.Log)
	w.server.ConnState = w.edge.ConnState
	w.client = &http.Client{Transport: &http.Transport{DialContext: w.listen.dial}}
	served := make(chan struct{})
	go func() {
		defer close(served)
		w.server.Serve(w.listen)
	}()
	t.Cleanup(func() {
		if err := w.edge.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		w.client.CloseIdleConnections()
		w.server.Close()
		<-served
		<-time.After(time.Second) // the server lingers on connections that it closes
	})
	return w
}

// memory is a listener whose connections are pipes.
type memory struct {
	conns chan net.Conn
	done  chan struct{}
	close sync.Once
}

func newMemory() *memory { return &memory{conns: make(chan net.Conn), done: make(chan struct{})} }

func (m *memory) Accept() (net.Conn, error) {
	select {
	case c := <-m.conns:
		return c, nil
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *memory) Close() error {
	m.close.Do(func() { close(m.done) })
	return nil
}

func (m *memory) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "unix"} }

func (m *memory) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case m.conns <- there:
		return here, nil
	case <-m.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// dial opens a WebSocket.
func (w *world) dial(path string) *websocket.Conn {
	w.Helper()
	c, _, err := websocket.Dial(w.Context(), "ws://gate.test"+path, &websocket.DialOptions{HTTPClient: w.client})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { c.CloseNow() })
	c.SetReadLimit(1 << 20)
	return c
}

// upgradeRequest asks for a WebSocket, and offers compression, which is declined.
const upgradeRequest = "GET PATH HTTP/1.1\r\nHost: gate.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"

// upgrade opens a WebSocket by hand, for a client that misbehaves.
func (w *world) upgrade(path string) (net.Conn, *bufio.Reader) {
	w.Helper()
	conn, err := w.listen.dial(w.Context(), "", "")
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { conn.Close() })
	io.WriteString(conn, strings.Replace(upgradeRequest, "PATH", path, 1))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		w.Fatal(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
		w.Fatalf("upgrade: %s, extensions %q", resp.Status, resp.Header.Get("Sec-WebSocket-Extensions"))
	}
	return conn, r
}

func (w *world) tell(c *websocket.Conn, frame string) {
	w.Helper()
	if err := c.Write(w.Context(), websocket.MessageText, []byte(frame)); err != nil {
		w.Fatalf("write %.40q: %v", frame, err)
	}
}

func (w *world) hear(c *websocket.Conn, want string) {
	w.Helper()
	_, got, err := c.Read(w.Context())
	if err != nil {
		w.Fatalf("read: %v, want %.40q", err, want)
	}
	if string(got) != want {
		w.Fatalf("heard %.80q, want %.80q", got, want)
	}
}

// hearClose reads until the connection closes, and wants the code.
func (w *world) hearClose(c *websocket.Conn, code websocket.StatusCode) {
	w.Helper()
	for {
		_, _, err := c.Read(w.Context())
		if err == nil {
			continue
		}
		if got := websocket.CloseStatus(err); got != code {
			w.Fatalf("closed with %d (%v), want %d", got, err, code)
		}
		return
	}
}

// post sends an XHR request and gives the status and the body.
func (w *world) post(path, body string) (int, string) {
	w.Helper()
	resp := w.do(http.MethodPost, path, body, nil)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (w *world) do(method, path, body string, header http.Header) *http.Response {
	w.Helper()
	req, err := http.NewRequestWithContext(w.Context(), method, "http://gate.test"+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	for name, values := range header {
		if name == "Host" {
			req.Host = values[0]
			continue
		}
		req.Header[name] = values
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.Fatal(err)
	}
	return resp
}

// wantPost checks an XHR request's answer.
func (w *world) wantPost(path, body string, status int, want string) {
	w.Helper()
	got, text := w.post(path, body)
	if got != status || text != want {
		w.Fatalf("POST %s %.40q: %d %.80q, want %d %.80q", path, body, got, text, status, want)
	}
}

// script is a Conn that reads frames from a list and then waits.
type script struct {
	frames []string
	write  func(context.Context, []byte) error // nil: takes everything
	then   error                               // what Read ends with; nil: it waits
}

func (s *script) Read(ctx context.Context) ([]byte, error) {
	if len(s.frames) > 0 {
		f := s.frames[0]
		s.frames = s.frames[1:]
		return []byte(f), nil
	}
	if s.then != nil {
		return nil, s.then
	}
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func (s *script) Write(ctx context.Context, frame []byte) error {
	if s.write == nil {
		return nil
	}
	return s.write(ctx, frame)
}

// stuck is how a Conn writes to a client that does not read.
func stuck(ctx context.Context, _ []byte) error {
	<-ctx.Done()
	return ctx.Err()
}

var errQuit = errors.New("test quits")

func (l *ledger) options() Options {
	return Options{Framing: "script", Remote: "192.0.2.1:1", Observer: l, Log: slog.New(slog.NewJSONHandler(l, nil))}
}
