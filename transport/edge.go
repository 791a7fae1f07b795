package transport

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"

	"confgate/core"
	"confgate/protocol"
)

// Config is what an edge is made of. Everything but Hub may be left out.
type Config struct {
	Hub      *core.Hub
	Observer Observer     // nil: nobody watches
	Log      *slog.Logger // nil: silent

	// AllowOrigin says whether web pages of an origin may connect; see Origins. It
	// is given "scheme://host" in lower case, with the port if it is not the
	// scheme's own, or "null". Pages from the edge's own host always may. Nil: no
	// other origin.
	AllowOrigin func(origin string) bool

	// Full says that there is no memory for more connections and calls; nil: never.
	Full func() bool

	Proxies Proxies // whose word on clients' addresses counts
	Limits  Limits  // zero: none

	Heartbeat      time.Duration // between signs of life on an idle connection; 0: 25 s
	PongTimeout    time.Duration // for the answer to a ping; 0: 10 s
	WriteTimeout   time.Duration // for one frame, and more if it is long; 0: 10 s
	MaxFrame       int           // bytes of a client's message, where the dialect does not say; 0: 64 KiB
	OutboxLimit    int           // events a client may be behind; 0: 1024
	OutboxBytes    int           // that they may hold, besides the largest of them; 0: 4 MiB
	MaxXHRSessions int           // of each door, that poll over XHR; 0: 10,000
}

// Edge is where clients come in: it knows every connection there is.
type Edge struct {
	config     Config
	notices    notices
	proxyNoted sync.Once
	scratch    scratch

	// Guarded by mu.
	mu      sync.Mutex
	visits  map[*visit]struct{}
	http    map[net.Conn]netip.Addr // connections that carry requests, by network
	asking  census                  // of those
	census  census
	closing bool
	gone    chan struct{} // closed when closing and the last visit has ended
}

// New makes an edge without doors; see Handler.
func New(c Config) *Edge {
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.AllowOrigin == nil {
		c.AllowOrigin = func(string) bool { return false }
	}
	if c.Full == nil {
		c.Full = func() bool { return false }
	}
	c.Heartbeat = cmp.Or(c.Heartbeat, 25*time.Second)
	c.PongTimeout = cmp.Or(c.PongTimeout, 10*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, defaultWriteTimeout)
	c.MaxFrame = cmp.Or(c.MaxFrame, 64<<10)
	c.OutboxLimit = cmp.Or(c.OutboxLimit, defaultOutboxLimit)
	c.OutboxBytes = cmp.Or(c.OutboxBytes, defaultOutboxBytes)
	c.MaxXHRSessions = cmp.Or(c.MaxXHRSessions, 10_000)
	return &Edge{
		config: c, visits: make(map[*visit]struct{}), gone: make(chan struct{}),
		census: census{addresses: make(map[netip.Addr]*tally)},
		http:   make(map[net.Conn]netip.Addr), asking: census{addresses: make(map[netip.Addr]*tally)},
	}
}

// visit is one connection in the edge's book, from before it is accepted until its
// last goroutine has gone.
type visit struct {
	edge    *Edge
	cut     context.CancelCauseFunc
	network netip.Addr
	remote  string
	origin  string // of the page; empty: it is none

	// Guarded by edge.mu.
	patience   *time.Timer // ends the visit, until it is registered; nil: nothing does
	registered bool        // its client has said who it is
}

// enter takes a connection into the book, unless the edge is closing or there are
// too many already. The context ends with the visit, not with the request that began
// it, nor does it hold on to that.
func (e *Edge) enter(r *http.Request) (context.Context, *visit, error) {
	ctx, cut := context.WithCancelCause(context.Background())
	v := &visit{edge: e, cut: cut, network: networkOf(e.config.Proxies.client(r)), remote: e.remote(r)}
	v.origin, _ = canonicalOrigin(r.Header.Get("Origin")) // admit has seen to it
	e.noteProxy(r)
	err := e.welcome(v)
	if err != nil {
		cut(err)
	}
	if r, ok := errors.AsType[refused](err); ok {
		e.limited(r.limit, v.remote)
	}
	return ctx, v, err
}

func (e *Edge) welcome(v *visit) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return ErrShutdown
	}
	if e.config.Full() {
		return refused{LimitMemory}
	}
	if err := e.census.admit(v.network, e.config.Limits); err != nil {
		return err
	}
	e.visits[v] = struct{}{}
	if t := e.config.Limits.RegisterTimeout; t > 0 {
		v.patience = time.AfterFunc(t, v.expire)
	}
	return nil
}

// expire ends a visit whose client has not said who it is.
func (v *visit) expire() {
	v.edge.mu.Lock()
	late := !v.registered
	if late {
		v.cut(ErrUnregistered)
	}
	v.edge.mu.Unlock()
	if late {
		v.edge.limited(LimitRegisterTime, v.remote)
	}
}

// register notes that the client has said who it is, and was let in.
func (v *visit) register() {
	v.edge.mu.Lock()
	defer v.edge.mu.Unlock()
	if v.registered {
		return
	}
	v.registered = true
	v.edge.census.register(v.network)
	v.rest()
}

// rest stops the visit's timer. It is called with edge.mu held.
func (v *visit) rest() {
	if v.patience != nil {
		v.patience.Stop()
		v.patience = nil
	}
}

func (e *Edge) log() *slog.Logger { return e.config.Log }

func (e *Edge) isClosing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closing
}

// leave takes a connection out of the book.
func (v *visit) leave() {
	v.cut(nil)
	v.edge.mu.Lock()
	defer v.edge.mu.Unlock()
	delete(v.edge.visits, v)
	v.rest()
	v.edge.census.leave(v.network, v.registered)
	if v.edge.closing && len(v.edge.visits) == 0 {
		close(v.edge.gone)
	}
}

// Shutdown takes no more connections, ends those there are, and waits until all
// their goroutines have gone.
func (e *Edge) Shutdown(ctx context.Context) error {
	e.mu.Lock()
	if !e.closing && len(e.visits) == 0 {
		close(e.gone)
	}
	e.closing = true
	for v := range e.visits {
		v.cut(ErrShutdown)
	}
	e.mu.Unlock()
	select {
	case <-e.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// maxFrame is how long a message of a dialect's clients may be, in bytes.
func (e *Edge) maxFrame(d protocol.Dialect) int { return cmp.Or(d.MaxFrame, e.config.MaxFrame) }

// options are those of a connection that was let in as v.
func (e *Edge) options(v *visit, framing string) Options {
	return Options{
		Framing: framing, Remote: v.remote, Origin: v.origin, Registered: v.register,
		Full: e.config.Full, Limits: e.config.Limits, Limited: func(l Limit) { e.limited(l, v.remote) },
		Observer: e.config.Observer, Log: e.config.Log, Sparing: e.notices.due,
		OutboxLimit: e.config.OutboxLimit, OutboxBytes: e.config.OutboxBytes, WriteTimeout: e.config.WriteTimeout,
	}
}

// Framing makes the handler of everything below a door's path. It is a method of
// Edge: (*Edge).WebSocket or (*Edge).SockJS.
type Framing func(*Edge, protocol.Dialect) http.Handler

// Door is a way in: a path, how frames come through it, and the dialect they are in.
type Door struct {
	Path    string
	Framing Framing
	Dialect protocol.Dialect
}

// Handler is the client side of the house: the doors, and static for all other
// paths. Static may be nil.
func (e *Edge) Handler(doors []Door, static http.Handler) http.Handler {
	r := chi.NewRouter()
	r.Use(bounded)
	for _, d := range doors {
		r.Mount(d.Path, d.Framing(e, d.Dialect))
	}
	if static != nil {
		r.Handle("/*", secured(static))
	}
	return r
}

// Time-outs of HTTP.
const (
	headerTimeout = 5 * time.Second
	bodyTimeout   = 10 * time.Second
	replyTimeout  = time.Minute // a page on a bad line; streams set their own
	idleTimeout   = time.Minute
)

// NewServer makes an HTTP server whose time-outs suit h: strict with clients that
// dawdle, but without an end to replies that stream.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// ConnState is for the server that serves the edge's handler: it bounds the
// connections that carry requests, or nothing, or only a part of a request. Those of
// trusted proxies are theirs to bound, and WebSockets count in another place.
func (e *Edge) ConnState(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if limit := e.greet(c); limit != "" {
			e.limited(limit, c.RemoteAddr().String())
			_ = c.Close() // the server finds out
		}
	case http.StateHijacked, http.StateClosed:
		e.mu.Lock()
		defer e.mu.Unlock()
		if network, ok := e.http[c]; ok {
			delete(e.http, c)
			e.asking.leave(network, false)
		}
	default: // it stays
	}
}

// greet counts a connection, unless that is too many.
func (e *Edge) greet(c net.Conn) Limit {
	at := parseHost(c.RemoteAddr().String())
	if e.config.Proxies.trusts(at) {
		return ""
	}
	l := e.config.Limits
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.asking.admit(networkOf(at), Limits{Sockets: l.Sockets, SocketsPerAddress: l.SocketsPerAddress})
	r, _ := errors.AsType[refused](err)
	switch {
	case err == nil:
		e.http[c] = networkOf(at)
		return ""
	case r.limit == LimitSocketsAddress:
		return LimitHTTPAddress
	default:
		return LimitHTTP
	}
}

// bounded gives each request its time, since the server's own time-outs would end
// replies that stream.
func bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A writer without deadlines is a test's.
		c := http.NewResponseController(w)
		_ = c.SetWriteDeadline(time.Now().Add(replyTimeout))
		if r.ContentLength != 0 {
			_ = c.SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		next.ServeHTTP(w, r)
	})
}

// pagePolicy lets pages load what the gateway itself serves and nothing else; they
// may connect to a gateway elsewhere, and play what they hold in memory.
const pagePolicy = "default-src 'self'; connect-src 'self' ws: wss:; media-src 'self' blob:; " +
	"base-uri 'none'; object-src 'none'; frame-ancestors 'self'"

// secured adds the headers that keep pages to themselves.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
