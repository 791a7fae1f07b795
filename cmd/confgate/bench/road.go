package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// road is one client's way to the gateway over TCP, which can go bad while it is used.
type road struct {
	dialer net.Dialer
	web    *http.Client  // takes the road
	gone   chan struct{} // closed once the gateway is seen to have hung up

	mu    sync.Mutex
	state roadState // guarded by mu
	conns []*lane   // guarded by mu
	seen  sync.Once // over gone
}

// roadState says what is wrong with a road.
type roadState int

const (
	sound  roadState = iota
	deaf             // the client reads nothing any more, but writes
	silent           // nothing passes, and nobody is told
)

// newRoad makes the way of a client that comes from an address of this machine.
func newRoad(from netip.Addr) *road {
	r := &road{dialer: net.Dialer{LocalAddr: &net.TCPAddr{IP: from.AsSlice()}}, gone: make(chan struct{})}
	r.web = &http.Client{Transport: &http.Transport{Proxy: nil, DialContext: r.dial}}
	return r
}

func (r *road) dial(ctx context.Context, network, to string) (net.Conn, error) {
	conn, err := r.dialer.DialContext(ctx, network, to)
	if err != nil {
		return nil, err
	}
	l := &lane{Conn: conn, road: r, closed: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, l)
	return l, nil
}

// reset tears all connections down, so that the gateway's machine is told (RST).
func (r *road) reset() {
	for _, l := range r.turn(silent) {
		if tcp, ok := l.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = l.Close()
	}
}

const smallBuffer = 4 << 10 // bytes

// stall has the client read nothing any more, and its machine keep little of that.
func (r *road) stall() {
	for _, l := range r.turn(deaf) {
		if tcp, ok := l.Conn.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(smallBuffer)
		}
	}
}

// silence lets nothing pass any more. The gateway's machine is not told. What it sends
// is taken in and let be.
func (r *road) silence() {
	for _, l := range r.turn(silent) {
		go func() {
			_, _ = io.Copy(io.Discard, l.Conn)
			r.sawEnd()
		}()
	}
}

func (r *road) turn(state roadState) []*lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = state
	return r.conns
}

func (r *road) now() roadState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

func (r *road) sawEnd() { r.seen.Do(func() { close(r.gone) }) }

// close ends all connections, and whoever waits for one of them.
func (r *road) close() {
	r.web.CloseIdleConnections()
	r.mu.Lock()
	conns := r.conns
	r.mu.Unlock()
	for _, l := range conns {
		_ = l.Close()
	}
}

// lane is one connection on a road.
type lane struct {
	net.Conn
	road   *road
	once   sync.Once
	closed chan struct{}
}

func (l *lane) Read(b []byte) (int, error) {
	for {
		if l.road.now() != sound {
			<-l.closed
			return 0, net.ErrClosed
		}
		n, err := l.Conn.Read(b)
		if l.road.now() == sound {
			return n, err
		}
	}
}

func (l *lane) Write(b []byte) (int, error) {
	if l.road.now() == silent {
		return len(b), nil
	}
	n, err := l.Conn.Write(b)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		l.road.sawEnd()
	}
	return n, err
}

// Close is the client's doing.
func (l *lane) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Conn.Close()
}
