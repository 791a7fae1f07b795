package media

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"

	"confgate/core"
)

// checkOf writes a client's connectivity check of a link.
func checkOf(t testing.TB, k *link, more ...stun.Setter) []byte {
	t.Helper()
	setters := append([]stun.Setter{stun.TransactionID, stun.BindingRequest, stun.NewUsername(k.ufrag + ":them")}, more...)
	m, err := stun.Build(append(setters, k.integrity, stun.Fingerprint)...)
	if err != nil {
		t.Fatal(err)
	}
	return m.Raw
}

// nominating makes a check nominate the path that it comes by.
type nominating struct{}

func (nominating) AddTo(m *stun.Message) error {
	m.Add(stun.AttrUseCandidate, nil)
	return nil
}

// idle makes a leg that nothing is known of yet.
func (s *stage) idle(owner, user core.UserID) *leg { return s.room.replace(s.leg(owner, user), nil) }

// over is the path of a client at a port of this machine, who need not be there.
func (s *stage) over(port uint16) path {
	return path{host: s.plane.port.hosts[0], to: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)}
}

// TestRoaming has a client change its address: by nomination, as it does when it
// knows, and without, as when a NAT has done it.
func TestRoaming(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	k := s.idle("ben", "ann").link
	first, second, third := s.over(9), s.over(10), s.over(11)
	now := s.plane.now()
	routed := func(what string, want path) {
		t.Helper()
		if got := k.route.Load(); got == nil || *got != want {
			t.Errorf("%s: routed by %+v, want %+v", what, got, want)
		}
	}
	k.check(first, false, now)
	routed("the first check", first)
	k.check(second, false, now)
	routed("a check by another path", first)
	k.check(second, true, now)
	routed("a nomination", second)
	for range 5 { // both live: nothing changes
		now = now.Add(3 * time.Second)
		k.check(second, false, now)
		k.check(third, false, now)
	}
	routed("checks by both", second)
	for range 3 {
		now = now.Add(3 * time.Second)
		k.check(third, false, now)
	}
	routed("the other falls silent", third)
	for _, p := range []path{first, second, third} {
		if s.plane.links.at(p) != k {
			t.Errorf("what comes by %v is not heard any more", p.to)
		}
	}
	if k.isGone(now) {
		t.Error("the client is taken for gone")
	}
}

// TestManyPaths checks by more paths than are kept: the one in use is.
func TestManyPaths(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	k := s.idle("ben", "ann").link
	now := s.plane.now()
	for port := range uint16(100) {
		k.check(s.over(100+port), port == 0, now)
	}
	if len(k.paths) != maxPaths || s.plane.links.at(s.over(100)) != k || s.plane.links.at(s.over(199)) != k || s.plane.links.at(s.over(150)) != nil {
		t.Errorf("kept %v", k.paths)
	}
}

// TestAddressReused has one client use an address for one connection after the other: the
// latest check tells whose it is, and the end of one is not the other's.
func TestAddressReused(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	first, second := s.idle("ben", "ann"), s.idle("ben", "cid")
	at, now := s.over(9), s.plane.now()
	holder := func(what string, want *link) {
		t.Helper()
		if s.plane.links.at(at) != want {
			t.Errorf("%s: the address is not whose it should be", what)
		}
	}
	first.link.check(at, true, now)
	second.link.check(at, true, now)
	holder("a new connection", second.link)
	first.link.check(at, true, now) // it is there still, and somebody forged its address
	holder("the old one again", first.link)
	second.link.check(at, true, now)
	s.room.Drop(core.Leg{Owner: "ben", Stream: first.name.stream, N: first.n})
	first.crew.dismiss()
	<-first.ended
	first.link.close()
	holder("the old one ended", second.link)
}

// TestAddressOfAnother has a member send checks from the address of another, as one can who
// forges senders: they get nothing by it, neither what comes from there nor anything sent
// there, until it is plain that nobody else is there.
func TestAddressOfAnother(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	ben, cid := s.idle("ben", "ann").link, s.idle("cid", "ann").link
	at, now := s.over(9), s.plane.now()
	ben.check(at, true, now)
	for range 10 {
		cid.check(at, true, now)
		now = now.Add(time.Second)
		if s.plane.links.at(at) != ben || cid.route.Load() != nil || len(cid.paths) != 0 {
			t.Fatalf("the address is taken over; the other is sent to %v", cid.route.Load())
		}
		if now.Sub(time.Unix(0, ben.routed.Load())) > 2*time.Second {
			ben.check(at, false, now)
		}
	}
	now = now.Add(2 * disuse)
	cid.check(at, true, now)
	if s.plane.links.at(at) != cid || cid.route.Load() == nil {
		t.Error("an address that nobody uses is not given to who comes from there")
	}
}

// tcpPath is a TCP connection with the plane, as the plane sees it.
func (s *stage) tcpPath(port uint16) (path, net.Conn) {
	s.t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	near, err := l.AcceptTCP()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = far.Close(); _ = near.Close() })
	p := s.over(port)
	p.stream = &stream{conn: near, out: make(chan []byte, streamBacklog), closed: make(chan struct{})}
	return p, far
}

func isClosed(s *stream) bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}

// TestStreamsOfALink closes a client's TCP connections that are of no more use to
// it, and no other's.
func TestStreamsOfALink(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	first, second := s.idle("ben", "ann").link, s.idle("ben", "cid").link
	now := s.plane.now()
	one, _ := s.tcpPath(1)
	two, _ := s.tcpPath(2)
	first.check(one, false, now)
	first.check(two, true, now)
	second.check(two, true, now)
	for port := range uint16(maxPaths) {
		first.check(s.over(100+port), false, now)
	}
	if !isClosed(one.stream) {
		t.Error("a connection that was given up is left open")
	}
	first.close()
	if isClosed(two.stream) {
		t.Error("the connection of another is closed")
	}
	second.close()
	if !isClosed(two.stream) {
		t.Error("a connection outlives its link")
	}
}

// failing is a TCP listener that for a while has no file descriptors left.
type failing struct {
	times int
	done  chan struct{}
}

func (f *failing) AcceptTCP() (*net.TCPConn, error) {
	if f.times--; f.times >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	close(f.done)
	return nil, net.ErrClosed
}

func TestAcceptGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Plane{done: make(chan struct{})}
		l := &failing{times: 50, done: make(chan struct{})}
		go p.accept(l, nil)
		<-l.done
		synctest.Wait()
		l = &failing{times: 1 << 30}
		closed := make(chan struct{})
		go func() { p.accept(l, nil); close(closed) }()
		synctest.Wait()
		close(p.done)
		<-closed
	})
}

// raw is a client in SRTP only, over TCP: its link is given the keys.
type raw struct {
	*broadcast
	conn net.Conn
}

func (s *stage) rawTCP(l *leg) *raw {
	s.t.Helper()
	conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", portString(s.plane)))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return &raw{conn: conn, broadcast: &broadcast{s: s, up: l}}
}

func portString(p *Plane) string {
	_, port, _ := net.SplitHostPort(netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(p.Port())).String())
	return port
}

func framed(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func (r *raw) write(b []byte) {
	r.s.t.Helper()
	if _, err := r.conn.Write(b); err != nil {
		r.s.t.Fatal(err)
	}
}

// read gives the next packet of the plane's.
func (r *raw) read() []byte {
	r.s.t.Helper()
	if err := r.conn.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		r.s.t.Fatal(err)
	}
	b := make([]byte, maxPacket)
	n, err := readFrame(r.conn, b)
	if err != nil {
		r.s.t.Fatal(err)
	}
	return b[:n]
}

// TestHalfAFrame has a packet come over TCP together with the beginning of the next:
// it is not kept until that is whole.
func TestHalfAFrame(t *testing.T) {
	s := newStageOn(t, core.MediaOptions{}, Config{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, TCP: true, Log: quiet})
	b := newBroadcast(s, 1)
	r := s.rawTCP(b.up)
	r.write(framed(checkOf(t, b.up.link, nominating{})))
	r.read()
	sink := b.sinks[0]
	r.write(append(framed(b.sealedNext()), 5, 0))
	if err := sink.SetReadDeadline(time.Now().Add(deadline)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := sink.ReadFrom(make([]byte, maxPacket)); err != nil {
		t.Error(err)
	}
}

// TestLastFramesOfAStream has a publisher's TCP connection end in the midst of what it
// sends: what came is forwarded, and what comes by another way later as well.
func TestLastFramesOfAStream(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	b := newBroadcast(s, 1)
	from, far := s.tcpPath(9)
	s.plane.links.bind(b.up.link, from, s.plane.now())
	frame := func(size int, body []byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(size)), body...)
	}
	sealed := slices.Clone(b.sealedNext())
	too := maxPacket + 1
	if _, err := far.Write(slices.Concat(frame(len(sealed), sealed), frame(too, make([]byte, too)))); err != nil {
		t.Fatal(err)
	}
	s.plane.readStream(from.stream, from) // until the frame that is too long
	if n := s.plane.Stats().Forwarded.Packets; n != 1 {
		t.Errorf("%d packets were forwarded, want what came before the end", n)
	}
	b.next(true)
	if n := s.plane.Stats().Forwarded.Packets; n != 2 {
		t.Errorf("%d packets were forwarded, want those by UDP, too", n)
	}
}
