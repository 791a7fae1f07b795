package media

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"confgate/core"
)

// Config is what a plane needs to know.
type Config struct {
	// Port is the UDP port of all media, and the TCP port of the fallback. 0 takes
	// any that is free.
	Port int
	// IPs are the addresses at which clients reach the port, as they are to stand
	// in ICE candidates. Where all are public, the plane is ICE-lite (RFC 8445).
	IPs []netip.Addr
	// TCP adds ICE-TCP (RFC 6544) for clients whose UDP is blocked.
	TCP bool
	// Log gets what an operator should see; nil drops it.
	Log *slog.Logger
	// Patience is how long a client may take to connect, or to answer an offer;
	// 0 is 30 s.
	Patience time.Duration
}

// setupsAtOnce limits how many connections are negotiated at the same time, so
// that a rush of joins leaves the processors to those who are in a call.
const setupsAtOnce = 16

// closeWarning is how long a connection may take to close before it is reported.
const closeWarning = 5 * time.Second

var errClosed = errors.New("media plane is closed")

// Plane implements [core.Plane] with one UDP socket and one certificate for all.
type Plane struct {
	log      *slog.Logger
	patience time.Duration
	sockets  *sockets
	up, down *webrtc.API
	certs    []webrtc.Certificate
	setups   chan struct{} // a token for each negotiation under way
	legs     sync.WaitGroup
	stats    counters

	mu     sync.Mutex
	closed bool               // guarded by mu
	rooms  map[*room]struct{} // guarded by mu
}

// New opens the sockets and makes a plane.
func New(c Config) (*Plane, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.IPs = distinct(c.IPs)
	cert, err := newCertificate()
	if err != nil {
		return nil, err
	}
	loggers := logs{c.Log}
	s, err := listen(c, loggers.NewLogger("ice"))
	if err != nil {
		return nil, err
	}
	settings := newSettings(s, loggers, all(c.IPs, isPublic))
	up, err := newUpAPI(settings, loggers)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	down, err := newDownAPI(settings)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return &Plane{
		log: c.Log, patience: c.Patience, sockets: s, up: up, down: down, certs: []webrtc.Certificate{*cert},
		setups: make(chan struct{}, setupsAtOnce), rooms: make(map[*room]struct{}),
	}, nil
}

func (c Config) check() error {
	if len(c.IPs) == 0 {
		return errors.New("media needs an address to put into candidates")
	}
	for _, ip := range c.IPs {
		if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
			return fmt.Errorf("%v cannot be reached by clients", ip)
		}
	}
	if c.Port < 0 || c.Port > 65535 {
		return fmt.Errorf("%d is not a port", c.Port)
	}
	return nil
}

func distinct(ips []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, ip := range ips {
		if ip = ip.Unmap(); !slices.Contains(out, ip) {
			out = append(out, ip)
		}
	}
	return out
}

func isPublic(ip netip.Addr) bool { return ip.IsGlobalUnicast() && !ip.IsPrivate() }

func newCertificate() (*webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a DTLS key: %w", err)
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("make a DTLS certificate: %w", err)
	}
	return cert, nil
}

// Port is the port that media goes through.
func (p *Plane) Port() int { return p.sockets.port }

// Open implements [core.Plane].
func (p *Plane) Open(id core.RoomID, o core.MediaOptions, tell func(core.MediaEvent)) core.Media {
	r := &room{
		plane: p, log: p.log.With("room", id), options: o, tell: tell,
		legs: make(map[name]*leg), feeds: make(map[core.Stream]*feed),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		r.closed = true
	} else {
		p.rooms[r] = struct{}{}
	}
	return r
}

// forget is told by a room that has closed.
func (p *Plane) forget(r *room) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.rooms, r)
}

// Close ends all legs of all rooms, waits until they are gone, and closes the
// sockets. Rooms opened later refuse all work.
func (p *Plane) Close() error {
	p.mu.Lock()
	p.closed = true
	rooms := p.rooms
	p.rooms = make(map[*room]struct{})
	p.mu.Unlock()
	for r := range rooms {
		r.Close()
	}
	p.legs.Wait()
	if err := p.sockets.close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the media sockets: %w", err)
	}
	return nil
}
