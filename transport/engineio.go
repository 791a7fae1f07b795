package transport

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// engine serves Engine.IO: sessions that begin with requests that poll and may go
// on over a WebSocket, or begin there.
type engine struct {
	edge  *Edge
	node  string // begins the ids of sessions
	limit int    // bytes of a packet, and of what one request brings
	talk  func(*engineSession, *visit) talker

	// Guarded by mu.
	mu       sync.Mutex
	sessions map[string]*engineSession // that began with a poll; nobody asks for others
	polling  int                       // of those, how many still poll
}

// refusal is how a request is told what is wrong with it, in the words of the
// reference server.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var (
	unknownTransport = refusal{0, "Transport unknown"}
	unknownSession   = refusal{1, "Session ID unknown"}
	badMethod        = refusal{2, "Bad handshake method"}
	badRequest       = refusal{3, "Bad request"}
	unknownRevision  = refusal{5, "Unsupported protocol version"}
)

func (f refusal) refuse(w http.ResponseWriter) {
	body, err := json.Marshal(f)
	if err != nil {
		panic(err) // a number and a word
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write(body) // if it fails, nobody waits for it
}

// revisions are the names under which clients ask for them.
var revisions = map[string]revision{"3": eio3, "4": eio4}

// serve answers one request.
func (g *engine) serve(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	over, sid := q.Get("transport"), q.Get("sid")
	rev, known := revisions[q.Get("EIO")]
	switch {
	case over != "polling" && over != "websocket" || q.Has("j"): // j: as a script, for browsers without CORS
		unknownTransport.refuse(w)
	case sid != "":
		g.resume(w, r, rev, over, sid)
	case r.Method != http.MethodGet:
		badMethod.refuse(w)
	case !known:
		unknownRevision.refuse(w)
	case over == "polling" && isEmbedded(r):
		http.Error(w, "origin not allowed", http.StatusForbidden)
	case over == "polling":
		if s := g.open(w, r, rev); s != nil {
			g.poll(w, r, s)
		}
	case !wantsWebSocket(r):
		badRequest.refuse(w)
	default:
		g.openSocket(w, r, rev)
	}
}

func wantsWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// resume serves a request for a session that there is. Whoever did not open it
// learns nothing about it.
func (g *engine) resume(w http.ResponseWriter, r *http.Request, rev revision, over, sid string) {
	g.mu.Lock()
	s := g.sessions[sid]
	g.mu.Unlock()
	switch {
	case s == nil || s.page != pageOf(r):
		unknownSession.refuse(w)
	case s.revision != rev:
		badRequest.refuse(w)
	case over == "websocket" && wantsWebSocket(r):
		g.upgrade(w, r, s)
	case over != "polling" || s.upgraded():
		badRequest.refuse(w)
	case r.Method == http.MethodGet:
		g.poll(w, r, s)
	case r.Method == http.MethodPost:
		g.receive(w, r, s)
	default:
		badRequest.refuse(w)
	}
}

// pageOf says of which origin the page is that sent a request; empty: of this one, or
// it was no page. Browsers name the origin of a page from here in some requests and
// not in others. A session is only for pages of the origin that opened it. It is
// not bound to an address: those of phones change, and those behind large networks
// differ from request to request. What keeps others out is that nobody guesses the id.
func pageOf(r *http.Request) string {
	origin, ok := canonicalOrigin(r.Header.Get("Origin"))
	if !ok || sameOrigin(origin, r) {
		return ""
	}
	return origin
}

// open begins a session that polls. If there can be none, r was answered.
func (g *engine) open(w http.ResponseWriter, r *http.Request, rev revision) *engineSession {
	s := newEngineSession(g, r, rev)
	if !g.remember(s) {
		g.edge.limited(LimitXHRSessions, g.edge.remote(r))
		http.Error(w, "too many sessions", http.StatusServiceUnavailable)
		return nil
	}
	ctx, visit, err := g.edge.enter(r)
	if err != nil {
		g.forget(s, true)
		turnAway(w, err)
		return nil
	}
	s.begin(ctx, visit)
	return s
}

// remember keeps a session that polls, unless there are too many. Nobody knows its
// id yet.
func (g *engine) remember(s *engineSession) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.polling >= g.edge.config.MaxXHRSessions {
		return false
	}
	g.polling++
	g.sessions[s.sid] = s
	return true
}

// pollsNoMore notes that a session goes on over a WebSocket.
func (g *engine) pollsNoMore() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.polling--
}

// forget drops a session that has ended, polling or not.
func (g *engine) forget(s *engineSession, polls bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, s.sid)
	if polls {
		g.polling--
	}
}

// newID makes an id that nobody guesses: 144 random bits.
func newID() string {
	var random [18]byte
	rand.Read(random[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// poll answers with the packets that wait, as soon as there are any.
func (g *engine) poll(w http.ResponseWriter, r *http.Request, s *engineSession) {
	packets, ok := s.await(r.Context())
	switch {
	case !ok:
		badRequest.refuse(w)
		return
	case packets == nil:
		return // the client has gone
	}
	body := encodePayload(s.revision, packets)
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	patience := transferTime(g.edge.config.WriteTimeout, len(body))
	if err := (reply{w, http.NewResponseController(w), patience}).write(body); err != nil {
		s.cut(err)
	}
}

// receive takes the packets that a request brings. One request at a time may: they
// are in order.
func (g *engine) receive(w http.ResponseWriter, r *http.Request, s *engineSession) {
	if !s.takeTurn() {
		s.cut(fmt.Errorf("%w: requests overlap", ErrBroken))
		badRequest.refuse(w)
		return
	}
	defer s.endTurn()
	body, err := readBodyWhileItComes(w, r, int64(g.limit), s.hear)
	if _, big := errors.AsType[*http.MaxBytesError](err); big {
		s.cut(ErrTooBig)
		http.Error(w, ErrTooBig.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	var packets []enginePacket
	if err == nil {
		packets, err = decodePayload(s.revision, r.Header.Get("Content-Type"), body)
	} else {
		err = fmt.Errorf("%w: %w", ErrLost, err)
	}
	if err != nil {
		s.cut(err)
		badRequest.refuse(w)
		return
	}
	for _, p := range packets {
		if err := s.take(p); err != nil {
			s.finish(err)
			break
		}
	}
	// As text/plain, some browsers would offer it for download.
	w.Header().Set("Content-Type", "text/html")
	io.WriteString(w, "ok")
}

// bodyPiece is how much of a body must come within bodyTimeout: an image on a slow
// line takes minutes, one that trickles is not waited for.
const bodyPiece = 64 << 10

// readBodyWhileItComes reads a request's body, and tells of each piece.
func readBodyWhileItComes(w http.ResponseWriter, r *http.Request, limit int64, came func()) ([]byte, error) {
	// The deadline must not outlive the body: it would end what comes after it.
	c := http.NewResponseController(w)
	body := http.MaxBytesReader(w, r.Body, limit)
	if r.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	var b bytes.Buffer
	for {
		_ = c.SetReadDeadline(time.Now().Add(bodyTimeout))
		_, err := io.CopyN(&b, body, bodyPiece)
		came()
		switch {
		case errors.Is(err, io.EOF):
			_ = c.SetReadDeadline(time.Time{})
			return b.Bytes(), nil
		case err != nil:
			return nil, err
		}
	}
}
