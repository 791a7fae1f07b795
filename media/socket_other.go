//go:build !linux

package media

import (
	"net"
	"net/netip"
	"syscall"
	"time"
)

// socketsPerHost is one: others would not share a port fairly.
func socketsPerHost() int { return 1 }

// share does nothing: one socket has the port.
func share(_, _ string, _ syscall.RawConn) error { return nil }

// socket is a UDP socket that reads and writes a packet a system call.
type socket struct {
	conn *net.UDPConn
}

func newSocket(conn *net.UDPConn, _ netip.AddrPort) (*socket, error) { return &socket{conn}, nil }

func (*socket) buffers() (int, bool) { return 0, false }

func (*socket) cannotCut() bool { return true }

// inbox is what one read fills.
type inbox struct {
	buffer [maxPacket + 1]byte
	n      int
	from   netip.AddrPort
}

func newInbox() *inbox { return &inbox{} }

func (s *socket) receive(in *inbox) (int, error) {
	n, from, err := s.conn.ReadFromUDPAddrPort(in.buffer[:])
	if err != nil {
		return 0, err
	}
	in.n, in.from = n, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	return 1, nil
}

func (in *inbox) packet(int) ([]byte, netip.AddrPort) {
	if in.n > maxPacket {
		return nil, netip.AddrPort{}
	}
	return in.buffer[:in.n], in.from
}

// patience is how long a write may wait for room in the kernel's buffer.
const patience = time.Millisecond

func (s *socket) send(b []byte, to netip.AddrPort) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = s.conn.WriteToUDPAddrPort(b, to) // what fails is lost
}

const vectorSize = 128

type vectors struct{}

func newVectors() *vectors { return &vectors{} }

func (*vectors) send(s *socket, all []message) (lost int) {
	for i := range all {
		s.send(all[i].data, all[i].to)
	}
	return 0
}
