package relay

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// Bounds of connections over TCP and TLS.
const (
	maxMessage = 1500             // bytes; Pion's server takes no longer ones
	introduced = 10 * time.Second // to show a credential that counts, TLS included
	idle       = 15 * time.Minute // allocations are refreshed more often than that
	writing    = 10 * time.Second // to take what was sent
	maxStreams = 4096             // connections there may be
	perAddress = 256              // of them from one address, which may be a whole school's, or an IPv6 /64
	acceptRest = 50 * time.Millisecond
)

// door is a listener, as Pion's server sees it. Pion's server neither bounds the
// connections, nor closes them at its end, and can be kept busy for ever by a
// message of a made-up length; this does, and cannot.
type door struct {
	net.Listener
	server *Server
	tls    *tls.Config // nil: none
}

// Accept waits for a connection that may be let in.
func (d *door) Accept() (net.Conn, error) {
	for {
		conn, err := d.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			<-time.After(acceptRest) // short of file descriptors; it may pass
			continue
		}
		from, ok := addrPort(conn.RemoteAddr())
		st := &stream{Conn: conn, raw: conn, server: d.server, from: from}
		if d.tls != nil {
			st.Conn = tls.Server(conn, d.tls)
		}
		if !ok || !d.server.streams.add(st) || conn.SetReadDeadline(time.Now().Add(introduced)) != nil {
			_ = st.Close()
			continue
		}
		return st, nil
	}
}

// stream is a connection from which only whole messages are read, and only those
// that the gate admits.
type stream struct {
	net.Conn
	raw    net.Conn // below TLS
	server *Server
	from   netip.AddrPort
	closed sync.Once

	// Owned by the reader.
	known bool // a credential was shown that counts
	frame [maxMessage]byte
	rest  []byte // of the frame, not yet read
}

// Read gives what is left of a message, or begins the next.
func (s *stream) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		n, err := s.next()
		if err != nil {
			return 0, err
		}
		n, known := s.server.admit(s.frame[:n], s.from)
		s.rest = s.frame[:n]
		if s.known = s.known || known; !s.known {
			continue // a stranger has no more time for it
		}
		if err := s.SetReadDeadline(time.Now().Add(idle)); err != nil {
			return 0, err
		}
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

var errNoMessage = errors.New("neither STUN nor data on a channel")

// next reads one message (RFC 8656, section 12.5; RFC 8489, section 6.2.2).
func (s *stream) next() (int, error) {
	const prefix = 4
	if _, err := io.ReadFull(s.Conn, s.frame[:prefix]); err != nil {
		return 0, err
	}
	length := int(binary.BigEndian.Uint16(s.frame[2:]))
	if isData(s.frame[:prefix]) {
		length = prefix + (length+3)/4*4
	} else {
		length += stunHeader
	}
	if length > maxMessage {
		return 0, errNoMessage
	}
	if _, err := io.ReadFull(s.Conn, s.frame[prefix:length]); err != nil {
		return 0, err
	}
	if !isData(s.frame[:length]) && !stun.IsMessage(s.frame[:length]) {
		return 0, errNoMessage
	}
	return length, nil
}

// Write sends a message. A client that does not take it loses the connection.
func (s *stream) Write(b []byte) (int, error) {
	if err := s.SetWriteDeadline(time.Now().Add(writing)); err != nil {
		return 0, err
	}
	n, err := s.Conn.Write(b)
	if err != nil {
		_ = s.Close()
	}
	return n, err
}

// Close ends the connection. It may be called more than once, and does not wait for
// the client, as a close of TLS does.
func (s *stream) Close() error {
	var err error
	s.closed.Do(func() {
		s.server.streams.remove(s)
		err = s.raw.Close()
	})
	return err
}

// streams are the connections that are open.
type streams struct {
	// Guarded by mu.
	mu     sync.Mutex
	open   map[*stream]struct{}
	from   map[netip.Addr]int
	closed bool
}

func newStreams() *streams {
	return &streams{open: make(map[*stream]struct{}), from: make(map[netip.Addr]int)}
}

// site is what one customer has: an address, or the /64 of IPv6.
func site(a netip.Addr) netip.Addr {
	const bits = 64
	if a = a.Unmap().WithZone(""); a.Is6() {
		if p, err := a.Prefix(bits); err == nil {
			return p.Addr()
		}
	}
	return a
}

// add reports whether there is room for s.
func (s *streams) add(st *stream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.open) >= maxStreams || s.from[site(st.from.Addr())] >= perAddress {
		return false
	}
	s.open[st] = struct{}{}
	s.from[site(st.from.Addr())]++
	return true
}

func (s *streams) remove(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.open[st]; !ok {
		return
	}
	delete(s.open, st)
	if s.from[site(st.from.Addr())]--; s.from[site(st.from.Addr())] == 0 {
		delete(s.from, site(st.from.Addr()))
	}
}

// close lets no more in, and gives those that are.
func (s *streams) close() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var all []*stream
	for st := range s.open {
		all = append(all, st)
	}
	return all
}
