package media

import (
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socketsPerHost is how many sockets share a port.
func socketsPerHost() int { return min(runtime.GOMAXPROCS(0), 16) }

// share lets several sockets have one port.
func share(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); e != nil {
		return e
	}
	return err
}

// socket is a UDP socket that reads and writes many packets a system call. Its
// writes never wait: when the kernel's buffer is full a packet is lost, and whoever
// forwards to a hundred others goes on.
type socket struct {
	conn *net.UDPConn
	raw  syscall.RawConn
	is4  bool

	whole   atomic.Bool // the kernel cannot cut datagrams (UDP_SEGMENT)
	vectors sync.Pool   // of *vectors, for single packets
}

func newSocket(conn *net.UDPConn, at netip.AddrPort) (*socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &socket{conn: conn, raw: raw, is4: at.Addr().Is4()}, nil
}

// buffers is the smaller of the buffer sizes that the kernel has given.
func (s *socket) buffers() (size int, ok bool) {
	err := s.raw.Control(func(fd uintptr) {
		in, err1 := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		out, err2 := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		size, ok = min(in, out)/2, err1 == nil && err2 == nil // socket(7): the kernel doubles the value
	})
	return size, ok && err == nil
}

// cannotCut reports whether each datagram has to be a message of its own.
func (s *socket) cannotCut() bool { return s.whole.Load() }

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// inbox is what one recvmmsg fills.
type inbox struct {
	headers [inboxSize]mmsghdr
	vectors [inboxSize]unix.Iovec
	names   [inboxSize]unix.RawSockaddrInet6 // which is large enough for IPv4
	buffers [inboxSize][maxPacket]byte
	read    func(fd uintptr) bool
	n       int
	errno   syscall.Errno
}

const inboxSize = 64

func newInbox() *inbox {
	in := &inbox{}
	for i := range in.headers {
		in.vectors[i].Base = &in.buffers[i][0]
		in.vectors[i].SetLen(maxPacket)
		h := &in.headers[i].hdr
		h.Iov, h.Name = &in.vectors[i], (*byte)(unsafe.Pointer(&in.names[i]))
		h.SetIovlen(1)
	}
	in.read = in.fill
	return in
}

// fill reports whether there was something to read, or a reason not to wait.
func (in *inbox) fill(fd uintptr) bool {
	for i := range in.headers {
		in.headers[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	n, _, errno := syscall.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&in.headers[0])), inboxSize, unix.MSG_DONTWAIT, 0, 0)
	in.n, in.errno = int(n), errno
	if errno != 0 {
		in.n = 0
	}
	return errno != unix.EAGAIN
}

// receive waits for packets and reads as many as there are. An error is the end of
// the socket.
func (s *socket) receive(in *inbox) (int, error) {
	for {
		if err := s.raw.Read(in.read); err != nil {
			return 0, err
		}
		// What else can fail, such as an ICMP answer to something sent, is about
		// one packet.
		if in.errno == 0 {
			return in.n, nil
		}
	}
}

// packet gives the i-th packet read, which is nil when it was too long, and where
// it came from.
func (in *inbox) packet(i int) ([]byte, netip.AddrPort) {
	h := &in.headers[i]
	if h.hdr.Flags&unix.MSG_TRUNC != 0 {
		return nil, netip.AddrPort{}
	}
	var from netip.AddrPort
	switch name := &in.names[i]; name.Family {
	case unix.AF_INET:
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		from = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), swap(name.Port))
	case unix.AF_INET6:
		ip := netip.AddrFrom16(name.Addr).Unmap()
		if name.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(zoneName(name.Scope_id))
		}
		from = netip.AddrPortFrom(ip, swap(name.Port))
	}
	return in.buffers[i][:h.n], from
}

// swap turns a port of network order into a number and back.
func swap(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

// put writes an address into name and gives its size.
func (s *socket) put(name *unix.RawSockaddrInet6, to netip.AddrPort) uint32 {
	if s.is4 {
		n := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		*n = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swap(to.Port()), Addr: to.Addr().Unmap().As4()}
		return unix.SizeofSockaddrInet4
	}
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swap(to.Port()), Addr: to.Addr().As16(), Scope_id: zoneID(to.Addr().Zone())}
	return unix.SizeofSockaddrInet6
}

func (s *socket) take() *vectors {
	if v, ok := s.vectors.Get().(*vectors); ok {
		return v
	}
	return newVectors()
}

// send sends one packet.
func (s *socket) send(b []byte, to netip.AddrPort) {
	v := s.take()
	defer s.vectors.Put(v)
	v.one[0] = message{to: to, data: b}
	v.send(s, v.one[:])
	v.one[0] = message{}
}

// vectors are the arguments of sendmmsg, kept so that a write allocates nothing.
type vectors struct {
	headers  [vectorSize]mmsghdr
	vectors  [vectorSize]unix.Iovec
	names    [vectorSize]unix.RawSockaddrInet6
	controls [vectorSize]control
	write    func(fd uintptr)
	from, to int // of headers, what write is to send
	sent     int
	errno    syscall.Errno
	one      [1]message
}

const vectorSize = 128

// control is the ancillary message UDP_SEGMENT of udp(7): the size of each datagram
// but the last that the kernel cuts the data into.
type control struct {
	header unix.Cmsghdr
	size   uint16
	_      [6]byte
}

func newVectors() *vectors {
	v := &vectors{}
	for i := range v.headers {
		v.controls[i].header = unix.Cmsghdr{Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}
		v.controls[i].header.SetLen(unix.CmsgLen(2))
		h := &v.headers[i].hdr
		h.Iov, h.Name = &v.vectors[i], (*byte)(unsafe.Pointer(&v.names[i]))
		h.SetIovlen(1)
	}
	v.write = v.call
	return v
}

// call hands the messages to the kernel.
func (v *vectors) call(fd uintptr) {
	n, _, errno := syscall.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&v.headers[v.from])), uintptr(v.to-v.from), unix.MSG_DONTWAIT, 0, 0)
	v.sent, v.errno = int(n), errno
	if errno != 0 {
		v.sent = 0
	}
}

// send sends messages, at most vectorSize of them, and gives the number of packets
// that the kernel would not take.
func (v *vectors) send(s *socket, all []message) (lost int) {
	for i := range all {
		m, h := &all[i], &v.headers[i].hdr
		v.vectors[i].Base = unsafe.SliceData(m.data)
		v.vectors[i].SetLen(len(m.data))
		h.Namelen = s.put(&v.names[i], m.to)
		if m.segment == 0 {
			h.Control = nil
			h.SetControllen(0)
			continue
		}
		v.controls[i].size = m.segment
		h.Control = (*byte)(unsafe.Pointer(&v.controls[i]))
		h.SetControllen(int(unsafe.Sizeof(v.controls[i])))
	}
	for v.from, v.to = 0, len(all); v.from < v.to; {
		// Control, as Write would have the goroutines that send take turns.
		if err := s.raw.Control(v.write); err != nil {
			break // closed
		}
		v.from += v.sent
		if v.errno == 0 {
			continue
		}
		// The first of those left is what failed.
		if m := &all[v.from]; m.segment != 0 && v.errno != unix.EAGAIN {
			// EIO: the device cannot compute checksums of what is cut late.
			if v.errno == unix.EIO {
				s.whole.Store(true)
			}
			lost += s.sendCut(m)
		} else {
			lost += m.packets()
		}
		v.from++
	}
	for i := range all {
		v.vectors[i].Base = nil
	}
	return lost
}

// sendCut sends the datagrams of a message one by one, as when they are longer than
// the path takes, which the kernel then breaks up.
func (s *socket) sendCut(m *message) (lost int) {
	v := s.take()
	defer s.vectors.Put(v)
	for rest := m.data; len(rest) > 0; {
		n := min(int(m.segment), len(rest))
		v.one[0] = message{to: m.to, data: rest[:n]}
		lost += v.send(s, v.one[:])
		rest = rest[n:]
	}
	v.one[0] = message{}
	return lost
}

func zoneName(id uint32) string {
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return ""
}

// zoneID is the number of the interface that a link-local address belongs to.
func zoneID(zone string) uint32 {
	if zone == "" {
		return 0
	}
	i, err := net.InterfaceByName(zone)
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}
