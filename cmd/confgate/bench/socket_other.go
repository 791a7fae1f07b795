//go:build !linux

package bench

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// reader reads UDP sockets, each in a goroutine: the portable way.
type reader struct{ running sync.WaitGroup }

func newReader() (*reader, error) { return new(reader), nil }

// close ends the reader, whose sockets are closed already.
func (r *reader) close() { r.running.Wait() }

// socket is a UDP socket that is connected to the gateway.
type socket struct {
	conn  *net.UDPConn
	to    netip.AddrPort
	ended chan struct{}
}

// open makes a socket whose packets go to take, one at a time; they are not to be kept.
func (r *reader) open(to netip.AddrPort, take func([]byte)) (*socket, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	s := &socket{conn, to, make(chan struct{})}
	r.running.Go(func() {
		defer close(s.ended)
		buffer := make([]byte, 2048)
		for {
			n, err := conn.Read(buffer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				take(buffer[:n])
			}
		}
	})
	return s, nil
}

// address is where the gateway's packets come in.
func (s *socket) address() (netip.AddrPort, error) {
	return netip.ParseAddrPort(s.conn.LocalAddr().String())
}

func (s *socket) write(b []byte) error {
	_, err := s.conn.Write(b)
	return err
}

// close returns when the last packet has been taken. It is not to be called by take.
func (s *socket) close() {
	_ = s.conn.Close()
	<-s.ended
}
