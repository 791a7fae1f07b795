package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"

	"confgate/core"
)

// socketBuffer is what is asked of the kernel for each direction of a UDP socket:
// all legs share it, and a publisher's key frame to a hundred subscribers is a
// burst of megabytes.
const socketBuffer = 4 << 20

// maxPacket is how many bytes of a datagram are read: what an Ethernet frame holds.
const maxPacket = 1500

// port is where all legs' packets come in and go out: UDP sockets for each address
// bound and, on the same port number, TCP listeners as the fallback.
type port struct {
	number    int
	hosts     []*host
	listeners []*net.TCPListener
}

// host is an address that is bound, by as many sockets as there are processors. The
// kernel gives each client's packets to one of them (SO_REUSEPORT), and any of them
// sends to any client.
type host struct {
	at      netip.AddrPort
	sockets []*socket
}

// path is a way to a client: over one of our hosts, or a TCP connection, and the
// client's address.
type path struct {
	host   *host
	stream *stream // nil over UDP
	to     netip.AddrPort
}

// send sends one packet by itself, copying it. It never waits: what there is no
// room for is lost, as it would be further down the road.
func (p *path) send(b []byte) {
	if p.stream != nil {
		p.stream.send(b)
		return
	}
	p.host.sockets[0].send(b, p.to)
}

// bind gives the addresses to listen on so that all of ips can be reached: those
// themselves if they are loopback, so that nothing is open to the outside, else
// the wildcard, since an advertised address need not be one of the machine's own.
func bind(ips []netip.Addr) []netip.Addr {
	is4 := true
	for _, ip := range ips {
		is4 = is4 && ip.Is4()
	}
	switch {
	case all(ips, netip.Addr.IsLoopback):
		return ips
	case is4:
		return []netip.Addr{netip.IPv4Unspecified()}
	default:
		return []netip.Addr{netip.IPv6Unspecified()}
	}
}

func all(ips []netip.Addr, is func(netip.Addr) bool) bool {
	return !slices.ContainsFunc(ips, func(ip netip.Addr) bool { return !is(ip) })
}

// openPort opens the sockets. Port 0 means any that is free for all of them.
func openPort(c Config, sockets int) (*port, error) {
	const tries = 8 // a port that UDP has free may be taken on TCP
	var err error
	for range tries {
		var p *port
		if p, err = tryPort(c, sockets); err == nil {
			return p, nil
		}
		if c.Port != 0 {
			break
		}
	}
	return nil, err
}

func tryPort(c Config, sockets int) (_ *port, err error) {
	p := &port{number: c.Port}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	for _, ip := range bind(c.IPs) {
		h := &host{}
		p.hosts = append(p.hosts, h)
		for range sockets {
			s, at, err := listenUDP(netip.AddrPortFrom(ip, uint16(p.number)), c.Log)
			if err != nil {
				return nil, err
			}
			h.at, p.number = at, int(at.Port())
			h.sockets = append(h.sockets, s)
		}
		if !c.TCP {
			continue
		}
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(h.at))
		if err != nil {
			return nil, fmt.Errorf("listen for media on TCP: %w", err)
		}
		p.listeners = append(p.listeners, l)
	}
	return p, nil
}

func listenUDP(at netip.AddrPort, log *slog.Logger) (*socket, netip.AddrPort, error) {
	network := "udp"
	if at.Addr().Is4() {
		network = "udp4"
	}
	l := net.ListenConfig{Control: share}
	c, err := l.ListenPacket(context.Background(), network, at.String())
	if err != nil {
		return nil, at, fmt.Errorf("listen for media on UDP: %w", err)
	}
	conn, ok := c.(*net.UDPConn)
	if !ok {
		return nil, at, errors.Join(fmt.Errorf("%T is no UDP socket", c), c.Close())
	}
	if err := errors.Join(conn.SetReadBuffer(socketBuffer), conn.SetWriteBuffer(socketBuffer)); err != nil {
		log.Warn("cannot set the media socket's buffers", "err", err)
	}
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		at = netip.AddrPortFrom(at.Addr(), uint16(local.Port)) // which may have been any
	}
	s, err := newSocket(conn, at)
	if err != nil {
		return nil, at, errors.Join(fmt.Errorf("media socket: %w", err), conn.Close())
	}
	if got, ok := s.buffers(); ok && got < socketBuffer {
		log.Warn("the kernel gives the media socket small buffers; raise net.core.rmem_max and net.core.wmem_max",
			"wanted", socketBuffer, "got", got)
	}
	return s, at, nil
}

func (p *port) close() (err error) {
	for _, h := range p.hosts {
		for _, s := range h.sockets {
			err = errors.Join(err, s.conn.Close())
		}
	}
	for _, l := range p.listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

// Local preferences of a candidate's priority (RFC 8445 section 5.1.2.1): all are
// host candidates, and UDP goes before TCP (RFC 6544 section 4.2).
const (
	hostPreference = 126
	udpPreference  = 1<<16 - 1
	tcpPreference  = 1<<15 - 1
)

// candidateLines gives the addresses at which clients reach the port.
func candidateLines(ips []netip.Addr, number int, tcp bool) []string {
	priority := func(local int) int { return hostPreference<<24 | local<<8 | (256 - 1) }
	var lines []string
	for i, ip := range ips {
		lines = append(lines, fmt.Sprintf("candidate:%d 1 udp %d %s %d typ host", i+1, priority(udpPreference-i), ip, number))
	}
	if !tcp {
		return lines
	}
	for i, ip := range ips {
		lines = append(lines, fmt.Sprintf("candidate:%d 1 tcp %d %s %d typ host tcptype passive", len(ips)+i+1, priority(tcpPreference-i), ip, number))
	}
	return lines
}

var _ core.Plane = (*Plane)(nil)
