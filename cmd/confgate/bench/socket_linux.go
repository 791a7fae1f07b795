package bench

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

const (
	batch       = 16      // messages of one system call
	messageSize = 1 << 16 // bytes: what the kernel joins is one message
	udpGRO      = 104     // UDP_GRO of linux/udp.h; socket option and control message
)

// reader reads many UDP sockets in one goroutine: it sleeps until some have something,
// and takes all that one has in one system call. The kernel hands over packets that
// were sent as one (UDP_GRO) as one.
type reader struct {
	epoll int
	wake  *os.File // closing it ends run
	stop  int      // its other end
	ended chan struct{}

	mu      sync.Mutex
	sockets map[int32]*socket // guarded by mu; by descriptor

	// Owned by run.
	headers [batch]messageHeader
	vectors [batch]syscall.Iovec
	buffers [batch][messageSize]byte
	options [batch][64]byte // control messages
}

// messageHeader is struct mmsghdr (recvmmsg(2)).
type messageHeader struct {
	syscall.Msghdr
	received uint32
}

func newReader() (*reader, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return nil, errors.Join(os.NewSyscallError("pipe2", err), syscall.Close(epoll))
	}
	r := &reader{
		epoll: epoll, stop: ends[0], wake: os.NewFile(uintptr(ends[1]), "wake"),
		ended: make(chan struct{}), sockets: make(map[int32]*socket),
	}
	if err := r.watch(r.stop); err != nil {
		return nil, errors.Join(err, r.wake.Close(), syscall.Close(r.stop), syscall.Close(epoll))
	}
	for i := range batch {
		r.vectors[i].Base = &r.buffers[i][0]
		r.vectors[i].SetLen(messageSize)
		r.headers[i].Iov = &r.vectors[i]
		r.headers[i].Iovlen = 1
		r.headers[i].Control = &r.options[i][0]
	}
	go r.run()
	return r, nil
}

func (r *reader) watch(fd int) error {
	event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(r.epoll, syscall.EPOLL_CTL_ADD, fd, &event))
}

// close ends the reader, whose sockets are closed already.
func (r *reader) close() {
	_ = r.wake.Close()
	<-r.ended
	_ = syscall.Close(r.stop)
	_ = syscall.Close(r.epoll)
}

func (r *reader) run() {
	defer close(r.ended)
	var events [128]syscall.EpollEvent
	for {
		n, err := syscall.EpollWait(r.epoll, events[:], -1)
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return // the descriptor is gone
		}
		for _, e := range events[:max(n, 0)] {
			if int(e.Fd) == r.stop {
				return
			}
			r.mu.Lock()
			s := r.sockets[e.Fd]
			r.mu.Unlock()
			if s != nil {
				r.read(s)
			}
		}
	}
}

// read takes what a socket has, as far as there is room. If there is more, the next
// look tells.
func (r *reader) read(s *socket) {
	s.reading.Lock()
	defer s.reading.Unlock()
	if s.fd < 0 {
		return
	}
	for i := range r.headers {
		r.headers[i].SetControllen(len(r.options[i]))
	}
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&r.headers)), batch,
		syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return // nothing after all, or the far end is closed, as ICMP says: the checks will tell
	}
	for i := range int(n) {
		message := r.buffers[i][:r.headers[i].received]
		size := r.segment(i)
		if size <= 0 {
			size = len(message)
		}
		for len(message) > 0 {
			one := message[:min(size, len(message))]
			message = message[len(one):]
			s.take(one)
		}
	}
}

// segment gives the size of the packets of which message i was joined, 0 if it is one.
func (r *reader) segment(i int) int {
	const head = syscall.SizeofCmsghdr
	if r.headers[i].Controllen < head+4 {
		return 0
	}
	c := (*syscall.Cmsghdr)(unsafe.Pointer(&r.options[i]))
	if c.Level != syscall.IPPROTO_UDP || c.Type != udpGRO {
		return 0
	}
	return int(*(*int32)(unsafe.Pointer(&r.options[i][head])))
}

// socket is a UDP socket that is connected to the gateway.
type socket struct {
	reader *reader
	to     netip.AddrPort
	take   func([]byte)

	reading sync.Mutex   // held while packets are taken
	writing sync.RWMutex // fd is guarded by both: to change it one needs both
	fd      int          // negative when it is closed
}

// open makes a socket whose packets go to take, one at a time; they are not to be kept.
func (r *reader) open(to netip.AddrPort, take func([]byte)) (*socket, error) {
	family, address := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()})
	if to.Addr().Is4() {
		family, address = syscall.AF_INET, &syscall.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_DGRAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{reader: r, to: to, take: take, fd: fd}
	if err := s.prepare(address); err != nil {
		return nil, errors.Join(err, syscall.Close(fd))
	}
	r.mu.Lock()
	r.sockets[int32(fd)] = s
	r.mu.Unlock()
	if err := r.watch(fd); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *socket) prepare(to syscall.Sockaddr) error {
	// A kernel without UDP_GRO hands over packet by packet.
	_ = syscall.SetsockoptInt(s.fd, syscall.IPPROTO_UDP, udpGRO, 1)
	if err := syscall.SetsockoptInt(s.fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("connect", syscall.Connect(s.fd, to))
}

// address is where the gateway's packets come in.
func (s *socket) address() (netip.AddrPort, error) {
	s.writing.RLock()
	defer s.writing.RUnlock()
	if s.fd < 0 {
		return netip.AddrPort{}, net.ErrClosed
	}
	name, err := syscall.Getsockname(s.fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	switch name := name.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port)), nil
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), uint16(name.Port)), nil
	default:
		return netip.AddrPort{}, fmt.Errorf("socket has an address of type %T", name)
	}
}

// write never waits: what there is no room for is lost.
func (s *socket) write(b []byte) error {
	s.writing.RLock()
	defer s.writing.RUnlock()
	if s.fd < 0 {
		return net.ErrClosed
	}
	_, err := syscall.Write(s.fd, b)
	return err
}

// close returns when the last packet has been taken. It is not to be called by take.
func (s *socket) close() {
	s.reading.Lock()
	defer s.reading.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.fd < 0 {
		return
	}
	s.reader.mu.Lock()
	delete(s.reader.sockets, int32(s.fd))
	s.reader.mu.Unlock()
	_ = syscall.Close(s.fd) // which ends the watch too
	s.fd = -1
}
