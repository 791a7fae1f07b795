package relay

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"

	"github.com/pion/turn/v5"
)

var (
	errNoTCP    = errors.New("relaying over TCP is not on offer")
	errNoPairs  = errors.New("particular ports are not on offer")
	errNoFamily = errors.New("no address of that family")
	errQuota    = errors.New("too many allocations")
	errNoPort   = errors.New("no free port")
)

// sockets implements turn.RelayAddressGenerator: it makes the sockets of
// allocations.
type sockets struct{ server *Server }

// Validate has nothing to look at.
func (sockets) Validate() error { return nil }

// AllocateListener refuses: what uses WebRTC has no use for it, and who scans ports
// has.
func (sockets) AllocateListener(turn.AllocateListenerConfig) (net.Listener, net.Addr, error) {
	return nil, nil, errNoTCP
}

// AllocateConn refuses, as AllocateListener does.
func (sockets) AllocateConn(turn.AllocateConnConfig) (net.Conn, error) { return nil, errNoTCP }

// AllocatePacketConn opens a port. Pairs of ports are refused: they are for RTP and
// RTCP apart, which WebRTC has not.
func (s sockets) AllocatePacketConn(c turn.AllocateListenerConfig) (net.PacketConn, net.Addr, error) {
	if c.RequestedPort != 0 || c.UserID == "" {
		return nil, nil, errNoPairs
	}
	who, err := parseUsername(c.UserID)
	if err != nil {
		return nil, nil, err
	}
	h := holder{who.tenant, who.user}
	a := s.server.books.take(h)
	if a == nil {
		return nil, nil, errQuota
	}
	r, err := s.server.open(c.Network, h, a)
	if err != nil {
		s.server.books.give(h)
		return nil, nil, err
	}
	return r, net.UDPAddrFromAddrPort(r.known), nil
}

// portTries is how many ports are tried before one gives up.
const portTries = 32

func (s *Server) open(network string, h holder, a *account) (*relayed, error) {
	at, ok := s.home(network)
	if !ok {
		return nil, errNoFamily
	}
	first, ports := s.config.Ports.First, int(s.config.Ports.Last)-int(s.config.Ports.First)+1
	for range portTries {
		port := first + uint16(rand.IntN(ports))
		conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.bind, port)))
		if err != nil {
			continue
		}
		r := &relayed{UDPConn: conn, server: s, holder: h, account: a, home: at, known: netip.AddrPortFrom(at.known, port)}
		if err := s.keep(r); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return r, nil
	}
	return nil, fmt.Errorf("%w between %d and %d", errNoPort, s.config.Ports.First, s.config.Ports.Last)
}

// home is where allocations of one family are.
type home struct {
	known netip.Addr // what clients are told
	bind  netip.Addr // unspecified if known is not on this machine: it is behind a NAT

	// inside is set behind a NAT, which may not let us reach ourselves by our own
	// address: what goes to known stays inside.
	inside netip.Addr
}

func homeOf(known netip.Addr, m *machine) home {
	switch {
	case known.IsLoopback() || m.owns(known):
		return home{known: known, bind: known}
	case known.Is4():
		return home{known: known, bind: netip.IPv4Unspecified(), inside: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	return home{known: known, bind: netip.IPv6Unspecified(), inside: netip.IPv6Loopback()}
}

// relayed is an allocation's socket, with all that is sent and received through it
// looked at and counted.
type relayed struct {
	*net.UDPConn
	server  *Server
	holder  holder
	account *account
	home    home
	known   netip.AddrPort
	closed  sync.Once
}

// WriteTo sends what a client sends to a peer. What is refused is lost, as packets
// are.
func (r *relayed) WriteTo(b []byte, to net.Addr) (int, error) {
	dst, ok := addrPort(to)
	if !ok || !r.server.policy.allows(dst) {
		r.server.refuse(Refusal{Reason: Peer, Tenant: r.holder.tenant, User: r.holder.user, Peer: dst.Addr()})
		return len(b), nil
	}
	if !r.account.flow.pass(len(b)) {
		r.server.count(Bandwidth)
		return len(b), nil
	}
	if r.home.inside.IsValid() && dst.Addr() == r.home.known {
		dst = netip.AddrPortFrom(r.home.inside, dst.Port())
	}
	r.server.sent.add(len(b))
	return r.WriteToUDPAddrPort(b, dst)
}

// ReadFrom receives what a peer sends to the client.
func (r *relayed) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, src, err := r.ReadFromUDPAddrPort(b)
		if err != nil {
			return n, nil, err
		}
		src = netip.AddrPortFrom(src.Addr().Unmap(), src.Port())
		if src.Addr() == r.home.inside {
			src = netip.AddrPortFrom(r.home.known, src.Port())
		}
		if !r.server.policy.allows(src) {
			continue
		}
		if !r.account.flow.pass(n) {
			r.server.count(Bandwidth)
			continue
		}
		r.server.received.add(n)
		return n, net.UDPAddrFromAddrPort(src), nil
	}
}

// Close gives everything back. It may be called more than once.
func (r *relayed) Close() error {
	r.closed.Do(func() {
		_ = r.UDPConn.Close() // nothing is left to be done
		r.server.drop(r)
	})
	return nil
}
