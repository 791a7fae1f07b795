package media

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/stdnet"
)

// socketBuffer is what is asked of the kernel for each direction of a UDP socket:
// all legs share it, and a publisher's key frame to a hundred subscribers is a
// burst of megabytes.
const socketBuffer = 4 << 20

// sockets are where all legs' packets come in and go out: a UDP socket for each
// address bound and, on the same port number, a TCP listener as fallback.
type sockets struct {
	port int
	udp  udpMux
	tcp  tcpMux // empty when TCP is off
	net  ifaces
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

// listen opens the sockets. Port 0 means any that is free for both.
func listen(c Config, logger logging.LeveledLogger) (*sockets, error) {
	const tries = 8 // a port that UDP has free may be taken on TCP
	var err error
	for range tries {
		var s *sockets
		if s, err = open(c, logger); err == nil {
			return s, nil
		}
		if c.Port != 0 {
			break
		}
	}
	return nil, err
}

func open(c Config, logger logging.LeveledLogger) (_ *sockets, err error) {
	std, err := stdnet.NewNet()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	s := &sockets{port: c.Port, net: newIfaces(std, c.IPs)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	bound := bind(c.IPs)
	for _, ip := range bound {
		conn, err := listenUDP(netip.AddrPortFrom(ip, uint16(s.port)), c.Log)
		if err != nil {
			return nil, err
		}
		s.port = int(conn.at.Port())
		s.udp.muxes = append(s.udp.muxes, ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: logger, UDPConn: conn, Net: std}))
	}
	for _, ip := range c.IPs {
		s.udp.addrs = append(s.udp.addrs, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(s.port))))
	}
	if !c.TCP {
		return s, nil
	}
	for _, ip := range bound {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(s.port))))
		if err != nil {
			return nil, fmt.Errorf("listen for media on TCP: %w", err)
		}
		s.tcp.muxes = append(s.tcp.muxes, ice.NewTCPMuxDefault(ice.TCPMuxParams{
			Listener:             &listener{l, c.IPs},
			Logger:               logger,
			ReadBufferSize:       64,
			WriteBufferSize:      1 << 20, // a slow client loses packets, it does not hold up a publisher
			FirstStunBindTimeout: 5 * time.Second,
		}))
	}
	return s, nil
}

func listenUDP(at netip.AddrPort, log *slog.Logger) (*socket, error) {
	network := "udp"
	if at.Addr().Is4() {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, fmt.Errorf("listen for media on UDP: %w", err)
	}
	if err := errors.Join(conn.SetReadBuffer(socketBuffer), conn.SetWriteBuffer(socketBuffer)); err != nil {
		log.Warn("cannot set the media socket's buffers", "err", err)
	}
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		at = netip.AddrPortFrom(at.Addr(), uint16(local.Port)) // which may have been any
	}
	s, err := newSocket(conn, at)
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("media socket: %w", err)
	}
	if got, ok := s.buffers(); ok && got < socketBuffer {
		log.Warn("the kernel gives the media socket small buffers; raise net.core.rmem_max and net.core.wmem_max",
			"wanted", socketBuffer, "got", got)
	}
	return s, nil
}

func (s *sockets) close() error { return errors.Join(s.udp.Close(), s.tcp.Close()) }

// udpMux hands out connections on our sockets. It differs from Pion's own in what
// it calls its addresses: exactly those that are to stand in candidates.
type udpMux struct {
	addrs []net.Addr
	muxes []*ice.UDPMuxDefault // one for all addrs, or one each
}

// GetListenAddresses implements ice.UDPMux.
func (m *udpMux) GetListenAddresses() []net.Addr { return m.addrs }

// GetConn implements ice.UDPMux.
func (m *udpMux) GetConn(ufrag string, addr net.Addr) (net.PacketConn, error) {
	for _, mux := range m.muxes {
		if len(m.muxes) == 1 || mux.LocalAddr().String() == addr.String() {
			return mux.GetConn(ufrag, addr)
		}
	}
	return nil, fmt.Errorf("no media socket for %v", addr)
}

// RemoveConnByUfrag implements ice.UDPMux.
func (m *udpMux) RemoveConnByUfrag(ufrag string) {
	for _, mux := range m.muxes {
		mux.RemoveConnByUfrag(ufrag)
	}
}

// Close implements ice.UDPMux.
func (m *udpMux) Close() (err error) {
	for _, mux := range m.muxes {
		err = errors.Join(err, mux.Close())
	}
	return err
}

// tcpMux is the same for TCP.
type tcpMux struct {
	muxes []*ice.TCPMuxDefault
}

// GetConnByUfrag implements ice.TCPMux.
func (m *tcpMux) GetConnByUfrag(ufrag string, isIPv6 bool, local net.IP) (net.PacketConn, error) {
	for _, mux := range m.muxes {
		if at, ok := mux.LocalAddr().(*net.TCPAddr); len(m.muxes) == 1 || ok && at.IP.Equal(local) {
			return mux.GetConnByUfrag(ufrag, isIPv6, local)
		}
	}
	return nil, fmt.Errorf("no media listener for %v", local)
}

// RemoveConnByUfrag implements ice.TCPMux.
func (m *tcpMux) RemoveConnByUfrag(ufrag string) {
	for _, mux := range m.muxes {
		mux.RemoveConnByUfrag(ufrag)
	}
}

// Close implements ice.TCPMux.
func (m *tcpMux) Close() (err error) {
	for _, mux := range m.muxes {
		err = errors.Join(err, mux.Close())
	}
	return err
}

// listener calls the local end of a connection by the address that was advertised
// for it. Pion finds a client's leg by it, and behind a NAT the two differ.
type listener struct {
	*net.TCPListener
	ips []netip.Addr
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	local, ok := conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return conn, nil
	}
	at := local.AddrPort()
	ip := at.Addr().Unmap()
	if !slices.Contains(l.ips, ip) {
		for _, other := range l.ips {
			if other.Is4() == ip.Is4() {
				ip = other
				break
			}
		}
	}
	return &tcpConn{conn, net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, at.Port()))}, nil
}

type tcpConn struct {
	*net.TCPConn
	local net.Addr
}

// LocalAddr implements net.Conn.
func (c *tcpConn) LocalAddr() net.Addr { return c.local }

// ifaces makes Pion believe that the machine has one interface with exactly the
// advertised addresses: TCP candidates are made from it, and no connection has to
// ask the kernel.
type ifaces struct {
	transport.Net
	all []*transport.Interface
}

func newIfaces(std transport.Net, ips []netip.Addr) ifaces {
	i := transport.NewInterface(net.Interface{Index: 1, MTU: 1500, Name: "media", Flags: net.FlagUp})
	for _, ip := range ips {
		i.AddAddress(&net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())})
	}
	return ifaces{std, []*transport.Interface{i}}
}

// Interfaces implements transport.Net.
func (i ifaces) Interfaces() ([]*transport.Interface, error) { return i.all, nil }
