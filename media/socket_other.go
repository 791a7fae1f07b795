//go:build !linux

package media

import (
	"net"
	"net/netip"
)

// socket is a UDP socket. Elsewhere than on Linux, its writes may wait for room in
// the kernel's buffer.
type socket struct {
	*net.UDPConn
	at netip.AddrPort // that it is bound to
}

func newSocket(conn *net.UDPConn, at netip.AddrPort) (*socket, error) { return &socket{conn, at}, nil }

func (s *socket) buffers() (size int, ok bool) { return 0, false }

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (s *socket) ReadFromAddrPort(b []byte) (int, netip.AddrPort, error) {
	return s.ReadFromUDPAddrPort(b)
}

// WriteToAddrPort implements ice.AddrPortReaderWriter.
func (s *socket) WriteToAddrPort(b []byte, to netip.AddrPort) (int, error) {
	return s.WriteToUDPAddrPort(b, to)
}
