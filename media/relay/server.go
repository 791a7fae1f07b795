package relay

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/turn/v5"

	"confgate/core"
)

// realm is what passwords are for (RFC 8489, section 14.9). It is as short as it is
// because strangers are told.
const realm = "cg"

// Config says what a server is.
type Config struct {
	// Where clients come to, each a host:port; empty: they cannot.
	UDP, TCP, TLS string
	// Certificate is for TLS.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	IPs   []netip.Addr // this machine's, as clients know them
	Ports Ports        // of allocations
	Media uint16       // the port of the gateway's own media, at those addresses
	Admit []netip.Prefix

	Secret []byte        // of the credentials
	TTL    time.Duration // of the credentials

	Allocations     int // at most, in all
	UserAllocations int // at most, of one user
	UserRate        int // at most, bytes a second of one user, both ways; 0: no limit

	Binding bool // answers STUN's binding requests, of everybody

	// Refused is told of what was refused to clients.
	Refused func(Refusal)
	Log     *slog.Logger
}

// Ports is a range of them.
type Ports struct{ First, Last uint16 }

// String writes it as ParsePorts reads it.
func (p Ports) String() string { return fmt.Sprintf("%d-%d", p.First, p.Last) }

var errPorts = errors.New("must be two ports such as 49152-65535, the lower first, of at least 1024")

// ParsePorts reads first-last.
func ParsePorts(text string) (Ports, error) {
	first, last, _ := strings.Cut(text, "-")
	a, err := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil || a < 1024 || a > b {
		return Ports{}, errPorts
	}
	return Ports{uint16(a), uint16(b)}, nil
}

// Transport is a way in which clients reach a server.
type Transport string

// The transports there are.
const (
	UDP Transport = "UDP"
	TCP Transport = "TCP"
	TLS Transport = "TLS"
)

// ListenError says which port of a server could not be opened.
type ListenError struct {
	On  Transport
	Err error
}

func (e *ListenError) Error() string {
	return "listen for TURN on " + string(e.On) + ": " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// Server is a STUN and TURN server.
type Server struct {
	config  Config
	policy  *policy
	books   *books
	ledger  *ledger
	streams *streams
	homes   []home

	udp      net.PacketConn // nil: none
	tcp, tls net.Listener   // nil: none
	online   func(core.TenantID, core.UserID) bool
	pion     *turn.Server // nil before Start

	refused        map[Reason]*atomic.Uint64
	made           atomic.Uint64 // allocations
	sent, received traffic

	// Guarded by mu.
	mu          sync.Mutex
	allocations map[*relayed]struct{}
	closed      bool
}

// Listen opens a server's ports. It serves nobody before Start.
func Listen(c Config) (_ *Server, err error) {
	s := &Server{
		config: c, policy: newPolicy(c.IPs, c.Media, c.Admit),
		books:  newBooks(c.Allocations, c.UserAllocations, c.UserRate),
		ledger: newLedger(), streams: newStreams(),
		refused: make(map[Reason]*atomic.Uint64), allocations: make(map[*relayed]struct{}),
	}
	for _, r := range Reasons {
		s.refused[r] = new(atomic.Uint64)
	}
	for _, ip := range c.IPs {
		s.homes = append(s.homes, homeOf(ip, s.policy.machine))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if c.UDP != "" {
		if s.udp, err = net.ListenPacket("udp", c.UDP); err != nil {
			return nil, &ListenError{UDP, err}
		}
	}
	if c.TCP != "" {
		if s.tcp, err = net.Listen("tcp", c.TCP); err != nil {
			return nil, &ListenError{TCP, err}
		}
	}
	if c.TLS != "" {
		if s.tls, err = net.Listen("tcp", c.TLS); err != nil {
			return nil, &ListenError{TLS, err}
		}
	}
	return s, nil
}

// Start serves. Only those get an allocation who are online then.
func (s *Server) Start(online func(core.TenantID, core.UserID) bool) error {
	s.online = online
	c := turn.ServerConfig{
		Realm: realm, AuthHandler: s.authenticate, QuotaHandler: s.hasRoom, LoggerFactory: logs{s.config.Log},
		PermissionTimeout: peerLasts, ChannelBindTimeout: peerLasts,
	}
	if s.udp != nil {
		c.PacketConnConfigs = append(c.PacketConnConfigs, turn.PacketConnConfig{
			PacketConn: &gate{s.udp, s}, RelayAddressGenerator: sockets{s}, PermissionHandler: s.permits,
		})
	}
	for _, d := range []*door{{s.tcp, s, nil}, {s.tls, s, s.tlsConfig()}} {
		if d.Listener != nil {
			c.ListenerConfigs = append(c.ListenerConfigs, turn.ListenerConfig{
				Listener: d, RelayAddressGenerator: sockets{s}, PermissionHandler: s.permits,
			})
		}
	}
	var err error
	s.pion, err = turn.NewServer(c)
	return err
}

func (s *Server) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.config.Certificate}
}

// Close ends all allocations, and closes all ports. It may be called more than once.
func (s *Server) Close() error {
	s.mu.Lock()
	closed, relays := s.closed, s.allocations
	s.closed, s.allocations = true, make(map[*relayed]struct{})
	s.mu.Unlock()
	if closed {
		return nil
	}

	var errs []error
	if s.udp != nil {
		errs = append(errs, s.udp.Close())
	}
	for _, l := range []net.Listener{s.tcp, s.tls} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	for _, st := range s.streams.close() {
		_ = st.Close() // the client may have closed it
	}
	for r := range relays {
		_ = r.Close() // never fails
	}
	return errors.Join(errs...)
}

// URLs are where clients find the server, which they know by a name or an address.
func (s *Server) URLs(host string) []string {
	var all []string
	if s.udp != nil {
		at := net.JoinHostPort(host, portOf(s.udp.LocalAddr()))
		if s.config.Binding {
			all = append(all, "stun:"+at)
		}
		all = append(all, "turn:"+at+"?transport=udp")
	}
	if s.tcp != nil {
		all = append(all, "turn:"+net.JoinHostPort(host, portOf(s.tcp.Addr()))+"?transport=tcp")
	}
	if s.tls != nil {
		all = append(all, "turns:"+net.JoinHostPort(host, portOf(s.tls.Addr()))+"?transport=tcp")
	}
	return all
}

func portOf(a net.Addr) string {
	at, _ := addrPort(a)
	return strconv.Itoa(int(at.Port()))
}

// home gives where allocations of a family are.
func (s *Server) home(network string) (home, bool) {
	i := slices.IndexFunc(s.homes, func(h home) bool { return h.known.Is4() == (network == "udp4") })
	if i < 0 {
		return home{}, false
	}
	return s.homes[i], true
}

// hasRoom implements turn.QuotaHandler.
func (s *Server) hasRoom(user, _ string, from net.Addr) bool {
	c, err := parseUsername(user)
	h := holder{c.tenant, c.user}
	if err == nil && s.books.room(h) {
		return true
	}
	s.refuse(Refusal{Reason: Quota, Tenant: h.tenant, User: h.user, Remote: from.String()})
	return false
}

// permits implements turn.PermissionHandler.
func (s *Server) permits(from net.Addr, peer net.IP) bool {
	ip, ok := netip.AddrFromSlice(peer)
	if ip = ip.Unmap(); ok && s.policy.mayPermit(ip) {
		return true
	}
	s.refuse(Refusal{Reason: Peer, Remote: from.String(), Peer: ip})
	return false
}

// keep notes an allocation's socket.
func (s *Server) keep(r *relayed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	s.allocations[r] = struct{}{}
	s.policy.open(r.known.Port())
	s.made.Add(1)
	return nil
}

func (s *Server) drop(r *relayed) {
	s.mu.Lock()
	delete(s.allocations, r)
	s.mu.Unlock()
	s.policy.close(r.known.Port())
	s.books.give(r.holder)
}

func (s *Server) count(r Reason) { s.refused[r].Add(1) }

func (s *Server) refuse(r Refusal) {
	s.count(r.Reason)
	if s.config.Refused != nil {
		s.config.Refused(r)
	}
}

// Traffic counts packets.
type Traffic struct{ Packets, Bytes uint64 }

type traffic struct{ packets, bytes atomic.Uint64 }

func (t *traffic) add(n int) {
	t.packets.Add(1)
	t.bytes.Add(uint64(n))
}

func (t *traffic) read() Traffic { return Traffic{t.packets.Load(), t.bytes.Load()} }

// Stats are a server's figures.
type Stats struct {
	Allocations int               // now
	Made        uint64            // allocations, ever
	Refused     map[Reason]uint64 // ever
	Sent        Traffic           // by clients, to peers
	Received    Traffic           // by clients, from peers
}

// Stats counts.
func (s *Server) Stats() Stats {
	st := Stats{
		Allocations: s.books.allocations(), Made: s.made.Load(), Refused: make(map[Reason]uint64),
		Sent: s.sent.read(), Received: s.received.read(),
	}
	for r, n := range s.refused {
		st.Refused[r] = n.Load()
	}
	return st
}
