package transport

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"confgate/protocol"
)

// sioFraming names the framing, whatever Engine.IO carries it over: that changes
// while a connection lasts.
const sioFraming = "socketio"

// defaultMaxPayload lets images through that are 10 MB long as data URLs.
const defaultMaxPayload = 10 << 20

// SocketIO is how a dialect is spoken over Socket.IO, protocol 5 and 4, on
// Engine.IO, protocol 4 and 3: over a WebSocket, or by polling, or going from one
// to the other. Each message is the first argument of an event; a reply goes out
// as an event too, and as the acknowledgement if the client wants one.
//
// A namespace that a client connects is a connection of its own once an event
// comes through it. Old clients are connected to "/" without having asked, and
// others connect to more than they use.
type SocketIO struct {
	Event      string   // the name of all events, both ways
	Namespaces []string // alike, and beginning with "/"; none: "/"

	// Client holds socket.io.js and socket.io.min.js, for pages to load from here.
	// Where the second is missing, the first stands for it. Nil: none.
	Client fs.FS

	NodeID     string // letters and digits that session ids begin with; empty: made up
	MaxPayload int    // bytes of a packet, and of what one request brings; 0: as the dialect says, else 10 MiB
}

// Framing makes the handler of everything below a door's path. It is a Framing.
func (c SocketIO) Framing(e *Edge, d protocol.Dialect) http.Handler {
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{"/"}
	}
	door := &sioDoor{SocketIO: c, edge: e, dialect: d, head: eventHead(c.Event)}
	g := &engine{
		edge: e, node: cmp.Or(c.NodeID, strings.ToLower(newID()[:8])), limit: cmp.Or(c.MaxPayload, d.MaxFrame, defaultMaxPayload),
		talk: func(s *engineSession, v *visit) talker {
			return &sioClient{door: door, session: s, visit: v, noise: newThrottle(e.config.Limits)}
		},
		sessions: make(map[string]*engineSession),
	}
	r := chi.NewRouter()
	r.HandleFunc("/", e.crossOrigin(fresh(g.serve)))
	r.Options("/", e.crossOrigin(preflight("OPTIONS, GET, POST")))
	for _, name := range []string{"socket.io.js", "socket.io.min.js"} {
		if script := clientScript(c.Client, name, "socket.io.js"); script != nil {
			r.Get("/"+name, e.crossOrigin(script))
			r.Head("/"+name, e.crossOrigin(script))
			continue
		}
		e.config.Log.Warn("a script that pages load is not there", "name", name)
	}
	return r
}

// eventHead is what stands before the message in an event.
func eventHead(name string) []byte {
	b, err := json.Marshal([]string{name})
	if err != nil {
		panic(err) // a string
	}
	b[len(b)-1] = ','
	return b
}

// clientScript serves the first of some files that is there; nil if none is.
func clientScript(files fs.FS, names ...string) http.HandlerFunc {
	if files == nil {
		return nil
	}
	for _, name := range names {
		script, err := fs.ReadFile(files, name)
		if err != nil {
			continue
		}
		sum := sha256.Sum256(script)
		tag := `"` + hex.EncodeToString(sum[:12]) + `"`
		return func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Cache-Control", "no-cache") // ask whether the tag still holds
			h.Set("ETag", tag)
			h.Set("X-Content-Type-Options", "nosniff")
			http.ServeContent(w, r, "socket.io.js", time.Time{}, bytes.NewReader(script))
		}
	}
	return nil
}

// sioDoor is a door that leads into a dialect through Socket.IO.
type sioDoor struct {
	SocketIO
	edge    *Edge
	dialect protocol.Dialect
	head    []byte // of each event
}

// sioClient speaks Socket.IO over a session.
type sioClient struct {
	door    *sioDoor
	session *engineSession
	visit   *visit

	// Owned by whose turn it is.
	binary  *sioPacket // waits for its attachments
	missing int        // of them
	noise   throttle   // of what no namespace's connection pays for
	met     []string   // namespaces that it has been in

	// Guarded by mu.
	mu         sync.Mutex
	namespaces []*namespace // connected
	been       bool         // in any
}

// open connects a client of Engine.IO 3 to "/", without waiting for its wish.
func (c *sioClient) open() error {
	if c.session.revision == eio4 {
		return nil
	}
	return c.connect("/")
}

// message takes a packet.
func (c *sioClient) message(text []byte) error {
	if !utf8.Valid(text) {
		return ErrNotUTF8
	}
	p, err := decodeSocketIO(text)
	switch {
	case err != nil:
		return err
	case c.binary != nil:
		return fmt.Errorf("%w: a packet in the midst of another", ErrBroken)
	case p.attachments > 0:
		c.binary, c.missing = &p, p.attachments
		return nil
	}
	return c.take(p)
}

// attachment takes the bytes that belong to a packet. They are of no use here, but
// what comes with them may be.
func (c *sioClient) attachment() error {
	if c.binary == nil {
		return fmt.Errorf("%w: an attachment to nothing", ErrBroken)
	}
	if err := c.noise.noise(costMessage, 0); err != nil {
		return err
	}
	if c.missing--; c.missing > 0 {
		return nil
	}
	p := *c.binary
	c.binary = nil
	return c.take(p)
}

// take handles one packet. What makes no sense ends the session, as with the
// reference server.
func (c *sioClient) take(p sioPacket) error {
	if c.session.revision == eio3 {
		p.namespace, _, _ = strings.Cut(p.namespace, "?")
	}
	n := c.find(p.namespace)
	switch {
	case p.kind == sioConnect && (n == nil || n.isOver()):
		return c.connect(p.namespace)
	case n == nil, p.kind == sioConnect, p.kind == sioConnectError:
		return fmt.Errorf("%w: not in this state", ErrBroken)
	case p.kind == sioDisconnect:
		c.drop(n)
		n.disconnect()
	case (p.kind == sioEvent || p.kind == sioBinaryEvent) && p.named(c.door.Event):
		return c.pass(n, sioRequest{p.frame(), p.ack})
	}
	return c.noise.noise(costMessage, len(p.data)) // other events and acknowledgements ask for nothing
}

// admit lets a client connect to a namespace, which it pays for: where it has been before,
// with as much as a new connection is given at once.
func (c *sioClient) admit(name string) error {
	if !slices.Contains(c.met, name) {
		c.met = append(c.met, name)
		return c.noise.noise(costAdmission, 0)
	}
	return c.noise.noise(float64(max(c.noise.messages.rate.Burst, costAdmission)), 0)
}

// connect lets the client into a namespace, if there is one of that name.
func (c *sioClient) connect(name string) error {
	for _, n := range c.door.Namespaces {
		if n != name {
			continue
		}
		if err := c.admit(name); err != nil {
			return err
		}
		c.drop(c.find(name)) // it may have been put out
		c.mu.Lock()
		c.namespaces, c.been = append(c.namespaces, &namespace{client: c, name: name}), true
		c.mu.Unlock()
		packet := sioHead(sioConnect, name, "")
		if c.session.revision == eio4 {
			packet = fmt.Appendf(packet, `{"sid":"%s"}`, newID())
		}
		return c.session.tell(packet)
	}
	if err := c.noise.noise(costAdmission, len(name)); err != nil {
		return err
	}
	return c.session.tell(append(sioHead(sioConnectError, name, ""), `{"message":"Invalid namespace"}`...))
}

// find gives the namespace of that name, if the client is in it.
func (c *sioClient) find(name string) *namespace {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.namespaces, func(n *namespace) bool { return n.name == name })
	if i < 0 {
		return nil
	}
	return c.namespaces[i]
}

func (c *sioClient) drop(n *namespace) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.namespaces = slices.DeleteFunc(c.namespaces, func(o *namespace) bool { return o == n })
}

func (c *sioClient) joined() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.been
}

func (c *sioClient) quiet(missed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.namespaces {
		if n.quiet != nil {
			n.quiet(missed)
		}
	}
}

func (c *sioClient) settle() {
	c.mu.Lock()
	all := slices.Clone(c.namespaces)
	c.mu.Unlock()
	for _, n := range all {
		n.settle()
	}
}

func (c *sioClient) leave(cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range c.namespaces {
		if n.cut != nil {
			n.cut(cause)
		}
	}
}
