package transport

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"confgate/protocol"
)

// maxName bounds the session ids that clients think of.
const maxName = 128

// sockjsSocket is the SockJS framing on a WebSocket.
var sockjsSocket = wire{
	framing:   "sockjs-websocket",
	overhead:  2, // quotes and backslashes of the JSON inside are escaped again
	hello:     openFrame,
	heartbeat: heartbeatFrame,
	wrap:      messageFrame,
	unwrap:    splitFrame,
	bye:       endingFrame,
}

// SockJS serves a dialect to clients that speak SockJS, protocol 0.3.3: over a
// WebSocket or, where none gets through, over XHR, streaming or polling. What only
// browsers without CORS need is not offered (iframe, eventsource, htmlfile, jsonp).
// The bare WebSocket is there too, as /websocket.
func (e *Edge) SockJS(d protocol.Dialect) http.Handler {
	const session = "/{server}/{session}" // see named
	x := &xhr{edge: e, dialect: d, sessions: make(map[string]*xhrSession)}

	r := chi.NewRouter()
	r.Get("/", greet)
	r.Get("/websocket", e.socketHandler(d, bare))
	r.Get(session+"/websocket", named(e.socketHandler(d, sockjsSocket)))
	for _, route := range []struct {
		method, path string
		serve        http.HandlerFunc
	}{
		{http.MethodGet, "/info", e.info},
		{http.MethodPost, session + "/xhr", named(x.receive(polling))},
		{http.MethodPost, session + "/xhr_streaming", named(x.receive(streaming))},
		{http.MethodPost, session + "/xhr_send", named(x.send)},
	} {
		r.Method(route.method, route.path, e.crossOrigin(fresh(route.serve)))
		r.Options(route.path, e.crossOrigin(preflight("OPTIONS, "+route.method)))
	}
	return r
}

// named finds nothing under names that no client thinks of: any will do for the
// server and the session, but not an empty one, nor one with a dot.
func named(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, param := range []string{"server", "session"} {
			if name := chi.URLParam(r, param); name == "" || len(name) > maxName || strings.Contains(name, ".") {
				http.NotFound(w, r)
				return
			}
		}
		next(w, r)
	}
}

func greet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	io.WriteString(w, "Welcome to SockJS!\n")
}

// info tells the client what there is, and how long a round trip takes.
func (e *Edge) info(w http.ResponseWriter, _ *http.Request) {
	if e.isClosing() {
		turnAway(w, ErrShutdown)
		return
	}
	var entropy [4]byte
	rand.Read(entropy[:]) // never fails
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	fmt.Fprintf(w, `{"websocket":true,"origins":["*:*"],"cookie_needed":false,"entropy":%d}`,
		binary.BigEndian.Uint32(entropy[:]))
}

// crossOrigin admits pages of other origins, as far as they are allowed, with
// their credentials. Browsers take no wildcard where there are credentials, so the
// origin is given back to them as it came.
func (e *Edge) crossOrigin(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		if !e.admit(w, r) {
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" {
			h.Set("Access-Control-Allow-Origin", origin)
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
			h.Set("Access-Control-Allow-Headers", asked)
		}
		next(w, r)
	}
}

// preflight answers a browser that asks before it sends.
func preflight(methods string) http.HandlerFunc {
	const year = 365 * 24 * time.Hour
	return func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", methods)
		h.Set("Access-Control-Max-Age", fmt.Sprint(int(year.Seconds())))
		h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(year.Seconds())))
		h.Set("Expires", time.Now().Add(year).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNoContent)
	}
}

// fresh keeps a reply out of caches; some cache even what was posted.
func fresh(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store, no-cache, must-revalidate, max-age=0")
		next(w, r)
	}
}
