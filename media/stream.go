package media

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of ICE-TCP (RFC 6544).
const (
	maxStreams     = 4096
	maxStrangers   = 1024            // of which no check has been answered yet
	maxStrangersAt = 256             // of them, of one address: a class behind one NAT
	strangerTime   = 5 * time.Second // they have for that
	streamIdle     = 30 * time.Second
	streamBacklog  = 512 // packets that wait to be written; a slow client loses more
)

// stream is a TCP connection of a client, which carries packets framed by their
// length (RFC 4571).
type stream struct {
	conn   *net.TCPConn
	place  netip.Addr  // where it comes from, for what one place may have
	known  atomic.Bool // a check that came over it was answered
	out    chan []byte
	closed chan struct{}
	once   sync.Once
}

// send queues a copy of packet. It reports false when there is no room for it.
func (s *stream) send(packet []byte) bool {
	framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(packet)), uint16(len(packet))), packet...)
	select {
	case s.out <- framed:
		return true
	default:
		return false
	}
}

func (s *stream) close() {
	s.once.Do(func() {
		close(s.closed)
		_ = s.conn.Close()
	})
}

// write writes what is queued until the stream ends.
func (s *stream) write() {
	for {
		select {
		case packet := <-s.out:
			if _, err := s.conn.Write(packet); err != nil {
				s.close()
				return
			}
		case <-s.closed:
			return
		}
	}
}

// streams are the TCP connections that are open.
type streams struct {
	mu        sync.Mutex // guards all below
	closed    bool
	all       map[*stream]struct{}
	strangers int
	places    map[netip.Addr]int // of the strangers
}

// place is what counts as one address: a /64 of IPv6 is one.
func place(a netip.Addr) netip.Addr {
	const site = 64
	if a = a.Unmap().WithZone(""); a.Is6() {
		if p, err := a.Prefix(site); err == nil {
			return p.Addr()
		}
	}
	return a
}

func newStreams() *streams {
	return &streams{all: make(map[*stream]struct{}), places: make(map[netip.Addr]int)}
}

// admit takes a new stream, unless there are too many.
func (t *streams) admit(s *stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.all) >= maxStreams || t.strangers >= maxStrangers || t.places[s.place] >= maxStrangersAt {
		return false
	}
	t.all[s] = struct{}{}
	t.strangers++
	t.places[s.place]++
	return true
}

// met notes that a stream's client is known.
func (t *streams) met(s *stream) {
	if !s.known.CompareAndSwap(false, true) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.strangers--
	if t.places[s.place]--; t.places[s.place] == 0 {
		delete(t.places, s.place)
	}
}

func (t *streams) remove(s *stream) {
	t.met(s)
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, s)
}

func (t *streams) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for s := range t.all {
		s.close()
	}
}

// acceptor is a TCP listener.
type acceptor interface {
	AcceptTCP() (*net.TCPConn, error)
}

// acceptAgain is how long to wait when a connection could not be taken.
const acceptAgain = 100 * time.Millisecond

// waits reports false when the plane is closed before d is over.
func (p *Plane) waits(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.done:
		return false
	}
}

// accept takes TCP connections until the listener is closed.
func (p *Plane) accept(l acceptor, h *host) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !p.waits(acceptAgain) {
				return
			}
			continue // for want of file descriptors, say; that passes
		}
		remote, ok := conn.RemoteAddr().(*net.TCPAddr)
		if !ok {
			_ = conn.Close()
			continue
		}
		at := remote.AddrPort()
		s := &stream{conn: conn, place: place(at.Addr()), out: make(chan []byte, streamBacklog), closed: make(chan struct{})}
		if !p.streams.admit(s) {
			_ = conn.Close()
			continue
		}
		from := path{host: h, stream: s, to: netip.AddrPortFrom(at.Addr().Unmap(), at.Port())}
		p.readers.Go(func() { p.readStream(s, from) })
		p.readers.Go(s.write)
	}
}

// readStream takes a client's packets until the connection ends.
func (p *Plane) readStream(s *stream, from path) {
	defer p.streams.remove(s)
	defer s.close()
	r := bufio.NewReaderSize(s.conn, 2*maxPacket)
	w := newWorker(p, nil)
	done := func() {
		if w.batch != nil {
			w.flush()
			p.batches.Put(w.batch)
			w.batch = nil
		}
	}
	defer done() // or what came before the end would never be forwarded, nor anything after it
	buffer := make([]byte, maxPacket)
	began := time.Now()
	for {
		patience := began.Add(min(strangerTime, p.patience))
		if s.known.Load() {
			patience = time.Now().Add(streamIdle)
		}
		if s.conn.SetReadDeadline(patience) != nil {
			return
		}
		n, err := readFrame(r, buffer)
		if err != nil {
			return
		}
		w.now = p.now()
		if w.batch == nil {
			w.batch = p.batch()
		}
		w.take(buffer[:n], from)
		if !holdsFrame(r) {
			done()
		}
	}
}

// holdsFrame reports whether the next packet can be had without waiting.
func holdsFrame(r *bufio.Reader) bool {
	if r.Buffered() < 2 {
		return false
	}
	size, err := r.Peek(2)
	return err == nil && r.Buffered() >= 2+int(binary.BigEndian.Uint16(size))
}

// readFrame reads one packet (RFC 4571 section 2).
func readFrame(r io.Reader, buffer []byte) (int, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return 0, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n > len(buffer) {
		return 0, io.ErrShortBuffer
	}
	return io.ReadFull(r, buffer[:n])
}
