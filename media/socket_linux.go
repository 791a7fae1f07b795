package media

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// socket is a UDP socket whose writes never wait: when the kernel's buffer is full
// a packet is lost, as it would be further down the road, and whoever forwards to
// a hundred others goes on. It is the one place through which all legs' packets
// leave, the place to batch them.
type socket struct {
	*net.UDPConn
	at     netip.AddrPort // that it is bound to
	raw    syscall.RawConn
	writes sync.Pool // of *sendto
}

func newSocket(conn *net.UDPConn, at netip.AddrPort) (*socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &socket{UDPConn: conn, at: at, raw: raw}, nil
}

// buffers is the smaller of the buffer sizes that the kernel has given.
func (s *socket) buffers() (size int, ok bool) {
	err := s.raw.Control(func(fd uintptr) {
		in, err1 := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
		out, err2 := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
		size, ok = min(in, out)/2, err1 == nil && err2 == nil // socket(7): the kernel doubles the value
	})
	return size, ok && err == nil
}

// sendto is a system call's arguments, kept so that a write allocates nothing.
type sendto struct {
	b   []byte
	in4 syscall.SockaddrInet4
	in6 syscall.SockaddrInet6
	to  syscall.Sockaddr
	err error
	do  func(fd uintptr) bool
}

func newSendto() *sendto {
	w := &sendto{}
	w.do = func(fd uintptr) bool {
		w.err = syscall.Sendto(int(fd), w.b, syscall.MSG_DONTWAIT, w.to)
		return true // never wait for room
	}
	return w
}

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (s *socket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return s.ReadFromUDPAddrPort(b)
}

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (s *socket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	ip, is4 := to.Addr().Unmap(), s.at.Addr().Is4()
	if is4 && !ip.Is4() {
		return 0, net.InvalidAddrError("not an IPv4 address")
	}
	w, ok := s.writes.Get().(*sendto)
	if !ok {
		w = newSendto()
	}
	defer s.writes.Put(w)
	if w.b = b; is4 {
		w.in4 = syscall.SockaddrInet4{Port: int(to.Port()), Addr: ip.As4()}
		w.to = &w.in4
	} else {
		w.in6 = syscall.SockaddrInet6{Port: int(to.Port()), Addr: ip.As16(), ZoneId: zone(ip)}
		w.to = &w.in6
	}
	err := s.raw.Write(w.do)
	w.b = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(w.err, syscall.EAGAIN), errors.Is(w.err, syscall.ENOBUFS):
		return len(b), nil // lost
	case w.err != nil:
		return 0, w.err
	}
	return len(b), nil
}

// zone is the number of the interface that a link-local address belongs to.
func zone(a netip.Addr) uint32 {
	if a.Zone() == "" {
		return 0
	}
	i, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}

// WriteTo implements net.PacketConn.
func (s *socket) WriteTo(b []byte, to net.Addr) (int, error) {
	addr, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, net.InvalidAddrError("not a UDP address")
	}
	return s.WriteToAddrPort(b, addr.AddrPort())
}

// SetWriteDeadline implements net.PacketConn. Pion sets one to interrupt a write of
// a leg that closes, and would hit those of all others; here no write needs it.
func (s *socket) SetWriteDeadline(time.Time) error { return nil }
