package transport

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Limits are how much clients may have of what the gateway has little of. A field
// that is 0 sets no limit.
type Limits struct {
	// Connections, in all and of one address. A /64 of IPv6 is one address. Those of
	// HTTP that carry requests count apart, and may be as many; see Edge.ConnState.
	Sockets, SocketsPerAddress int
	// Of them, those whose client has not said yet who it is, or was not let in.
	Unregistered, UnregisteredPerAddress int
	// RegisterTimeout is how long they may last.
	RegisterTimeout time.Duration

	// What one connection may send; see costOf. What is over waits for its turn.
	Messages, Drawing Rate
	// FloodBursts is how many bursts may wait besides the first, FloodTime how long a
	// client may send too much without a pause.
	FloodBursts int
	FloodTime   time.Duration
}

// DefaultLimits suit a school behind one address, on a small machine.
func DefaultLimits() Limits {
	return Limits{
		Sockets: 20_000, SocketsPerAddress: 5_000,
		Unregistered: 5_000, UnregisteredPerAddress: 500,
		RegisterTimeout: 10 * time.Second,
		Messages:        Rate{PerSecond: 50, Burst: 200}, Drawing: Rate{PerSecond: 200, Burst: 400},
		FloodBursts: 3, FloodTime: 30 * time.Second,
	}
}

// Limit names a limit that bites, in one word of a closed set, for metrics.
type Limit string

// The limits there are.
const (
	LimitSockets        Limit = "sockets"
	LimitSocketsAddress Limit = "sockets_per_address"
	LimitNewcomers      Limit = "unregistered"
	LimitNewcomersHere  Limit = "unregistered_per_address"
	LimitRegisterTime   Limit = "register_time"
	LimitXHRSessions    Limit = "xhr_sessions"
	LimitFrame          Limit = "message_size"
	LimitOutbox         Limit = "outbox"
	LimitWriteTime      Limit = "write_time"
	LimitMessages       Limit = "messages"
	LimitDrawing        Limit = "drawing"
	LimitFlood          Limit = "flood"
	LimitMemory         Limit = "memory"
	LimitHTTP           Limit = "http"
	LimitHTTPAddress    Limit = "http_per_address"
)

// AllLimits gives all of them.
func AllLimits() []Limit {
	return []Limit{
		LimitSockets, LimitSocketsAddress, LimitNewcomers, LimitNewcomersHere, LimitRegisterTime, LimitXHRSessions,
		LimitFrame, LimitOutbox, LimitWriteTime, LimitMessages, LimitDrawing, LimitFlood, LimitMemory,
		LimitHTTP, LimitHTTPAddress,
	}
}

// refused is why a connection is not let in.
type refused struct{ limit Limit }

func (r refused) Error() string { return fmt.Sprintf("too many connections (%s)", r.limit) }

// turnAway answers a client that was not let in.
func turnAway(w http.ResponseWriter, why error) {
	w.Header().Set("Retry-After", "5")
	http.Error(w, why.Error(), statusOf(why))
}

// statusOf says whose fault it is that somebody was not let in: that of one address,
// or nobody's.
func statusOf(why error) int {
	r, ok := errors.AsType[refused](why)
	if ok && (r.limit == LimitSocketsAddress || r.limit == LimitNewcomersHere) {
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

// tally counts connections.
type tally struct{ sockets, unregistered int }

// census counts connections in all and by address.
type census struct {
	all       tally
	addresses map[netip.Addr]*tally
}

// admit counts one more, of a client that has not said who it is, unless that is too
// many.
func (c *census) admit(a netip.Addr, l Limits) error {
	here := c.addresses[a]
	if here == nil {
		here = &tally{}
	}
	for _, c := range []struct {
		limit     Limit
		have, max int
	}{
		{LimitSockets, c.all.sockets, l.Sockets},
		{LimitSocketsAddress, here.sockets, l.SocketsPerAddress},
		{LimitNewcomers, c.all.unregistered, l.Unregistered},
		{LimitNewcomersHere, here.unregistered, l.UnregisteredPerAddress},
	} {
		if c.max > 0 && c.have >= c.max {
			return refused{c.limit}
		}
	}
	c.addresses[a] = here
	for _, t := range []*tally{&c.all, here} {
		t.sockets++
		t.unregistered++
	}
	return nil
}

// register notes that a client has said who it is.
func (c *census) register(a netip.Addr) {
	c.all.unregistered--
	c.addresses[a].unregistered--
}

// leave counts one less.
func (c *census) leave(a netip.Addr, registered bool) {
	if !registered {
		c.register(a)
	}
	c.all.sockets--
	here := c.addresses[a]
	if here.sockets--; here.sockets == 0 {
		delete(c.addresses, a)
	}
}

// noticeSpan is how often the log has a line of one kind at most, where strangers can
// cause as many as they like.
const noticeSpan = 10 * time.Second

// notices keeps the log from being filled by those who run into limits, and by
// strangers. The kinds of lines are a closed set.
type notices struct {
	mu   sync.Mutex
	kind map[string]*notice // guarded by mu
}

type notice struct {
	told    time.Time
	skipped int
}

// due reports whether it is time for a line of a kind, and how many there would have
// been since the last one.
func (n *notices) due(kind string) (skipped int, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kind == nil {
		n.kind = make(map[string]*notice)
	}
	now := time.Now()
	last := n.kind[kind]
	if last == nil {
		last = &notice{}
		n.kind[kind] = last
	} else if now.Sub(last.told) < noticeSpan {
		last.skipped++
		return 0, false
	}
	skipped = last.skipped
	last.told, last.skipped = now, 0
	return skipped, true
}

// limited tells of a limit that bites, and of whom.
func (e *Edge) limited(l Limit, remote string) {
	e.config.Observer.Limited(l)
	if skipped, ok := e.notices.due("limit " + string(l)); ok {
		e.config.Log.Warn("limit reached", "limit", string(l), "remote", remote, "lines_skipped", skipped)
	}
}
