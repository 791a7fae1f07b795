package media

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/srtp/v3"

	"confgate/core"
)

// agreed gives both ends of an SRTP session.
func agreed(t testing.TB) (ours *keys, theirs *srtp.Context) {
	t.Helper()
	const profile = srtp.ProtectionProfileAeadAes128Gcm
	key, salt := make([]byte, 16), make([]byte, 12)
	_, _ = rand.Read(key)
	_, _ = rand.Read(salt)
	end := func(options ...srtp.ContextOption) *srtp.Context {
		c, err := srtp.CreateContext(key, salt, profile, options...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ours = &keys{}
	ours.in.context, ours.out.context = end(srtp.SRTPReplayProtection(replayWindow)), end()
	return ours, end()
}

// sink is a socket of nobody.
func (s *stage) sink() *net.UDPConn {
	s.t.Helper()
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = sink.Close() })
	return sink
}

// broadcast is a publisher of a picture and its subscribers, whose handshakes are
// left out, and whose packets go to sockets that nobody reads.
type broadcast struct {
	s      *stage
	w      *worker
	up     *leg
	client *srtp.Context
	packet []byte
	sealed []byte
	header rtp.Header
	body   []byte
	lane   *lane
	sinks  []*net.UDPConn // where the subscribers are
	clock  time.Time      // of what the test lets go by
}

func newBroadcast(s *stage, n int) *broadcast {
	b := &broadcast{s: s, clock: s.plane.now(), w: newWorker(s.plane, newBatch(0)), body: make([]byte, 1150)}
	copy(b.body, payload('a', true, 0))
	id := s.leg("ann", "ann")
	b.up = s.room.replace(id, nil)
	b.lane = b.up.feed.lane(video)
	keys, client := agreed(s.t)
	b.client = client
	b.up.link.keys.Store(keys)
	b.up.reception.negotiated([]part{{kind: video, mid: "0", way: sdp.DirectionRecvOnly, formats: []format{vp8}, codecs: codecs{vp8: {payload: 96, nack: true}}}}, []section{{}})
	for range n {
		b.join(s.sink())
	}
	b.header = rtp.Header{Version: 2, Marker: true, PayloadType: 96, SSRC: 7}
	if err := b.header.SetExtension(3, []byte{1, 2, 3}); err != nil {
		s.t.Fatal(err)
	}
	b.packet, b.sealed = make([]byte, 0, maxPacket), make([]byte, 0, maxPacket)
	return b
}

// join attaches a subscriber at sink.
func (b *broadcast) join(sink *net.UDPConn) *leg {
	s := b.s
	b.sinks = append(b.sinks, sink)
	l := s.idle(core.UserID(fmt.Sprint(s.n)), "ann")
	o := l.outlet(video)
	o.agree(codecs{vp8: {payload: 96, repair: 97, nack: true, remb: true}}, map[string]uint8{sdp.ABSSendTimeURI: 2})
	keys, _ := agreed(s.t)
	l.link.keys.Store(keys)
	l.link.route.Store(&path{host: s.plane.port.hosts[0], to: netip.MustParseAddrPort(sink.LocalAddr().String())})
	l.attach()
	return l
}

// next has the publisher send a packet; with last, the burst ends.
func (b *broadcast) next(last bool) {
	if last {
		b.header.Timestamp += 3000
	}
	sealed := b.sealedNext()
	b.w.now = time.Now()
	b.w.media(b.up.link, sealed)
	if last {
		b.w.flush()
	}
}

// sealedNext gives the publisher's next packet, as it goes over the wire.
func (b *broadcast) sealedNext() []byte {
	b.header.SequenceNumber++
	b.packet = b.packet[:cap(b.packet)]
	n, err := b.header.MarshalTo(b.packet)
	if err != nil {
		panic(err)
	}
	b.packet = append(b.packet[:n], b.body...)
	sealed, err := b.client.EncryptRTP(b.sealed, b.packet, &b.w.header)
	if err != nil {
		panic(err)
	}
	return sealed
}

func TestForwardAllocatesNothing(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 100)
	for range 2 * videoRing { // fills the ring
		b.next(true)
	}
	if n := testing.AllocsPerRun(1000, func() { b.next(true) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	if n := b.s.plane.Stats().Forwarded.Packets; n < 100*1000 {
		t.Errorf("only %d packets were forwarded", n)
	}
}

// TestGoneLegsLeaveNothing forwards to subscribers, by what all publishers share, and
// then nothing keeps those who have gone: not even until the next burst, which may not
// come for long.
func TestGoneLegsLeaveNothing(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	b := newBroadcast(s, 0)
	var legs []weak.Pointer[leg]
	for range 10 {
		legs = append(legs, weak.Make(b.join(s.sink())))
	}
	b.next(false)
	b.next(true)
	if err := s.plane.Close(); err != nil {
		t.Fatal(err)
	}
	left := func() (n int) {
		runtime.GC()
		for _, l := range legs {
			if l.Value() != nil {
				n++
			}
		}
		return n
	}
	for tries := 0; left() > 0; tries++ { // goroutines may not have ended all the way
		if tries == 100 {
			t.Fatalf("%d of %d legs are kept", left(), len(legs))
		}
	}
	runtime.KeepAlive(b)
}

// BenchmarkForward takes packets in, decrypts them, and numbers, encrypts and sends
// them for each subscriber, in bursts as long as a frame; the time and the
// allocations are those of a packet forwarded to one subscriber.
func BenchmarkForward(b *testing.B) {
	for _, n := range []int{1, 10, 100, 300} {
		for _, burst := range []int{1, 4} {
			b.Run(fmt.Sprintf("subscribers=%d/burst=%d", n, burst), func(b *testing.B) {
				all := newBroadcast(newStage(b, core.MediaOptions{}), n)
				for range 2 * videoRing {
					all.next(true)
				}
				b.ReportAllocs()
				b.ResetTimer()
				for i := range b.N / n {
					all.next(i%burst == burst-1)
				}
			})
		}
	}
}

// BenchmarkAccept answers a browser's offer, which is what somebody's joining costs
// before the handshake, and ends the connection again.
func BenchmarkAccept(b *testing.B) {
	for _, test := range []struct{ name, file, user string }{
		{"publisher", "chromium-publish.sdp", "ann"}, {"subscriber", "chromium-subscribe.sdp", "ben"},
	} {
		offer, err := os.ReadFile("testdata/" + test.file)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(test.name, func(b *testing.B) {
			s := newStage(b, core.MediaOptions{})
			told := make(chan core.Accepted, 1)
			r := s.plane.Open("r2", core.MediaOptions{}, func(e core.MediaEvent) {
				if a, ok := e.(core.Accepted); ok {
					told <- a
				}
			})
			b.ReportAllocs()
			for b.Loop() {
				leg := s.leg("ann", core.UserID(test.user))
				r.Accept(leg, core.Ref{}, string(offer))
				if a := <-told; a.Err != nil {
					b.Fatal(a.Err)
				}
				r.Drop(leg)
			}
			r.Close()
		})
	}
}

// BenchmarkReadOffer is the part of BenchmarkAccept that reads the offer.
func BenchmarkReadOffer(b *testing.B) {
	offer, err := os.ReadFile("testdata/chromium-publish.sdp")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readUpOffer(string(offer), plainRoom); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHandshake is what comes after BenchmarkAccept: DTLS with a client, whose
// half of the work is part of what is measured.
func BenchmarkHandshake(b *testing.B) {
	who, err := newIdentity()
	if err != nil {
		b.Fatal(err)
	}
	s := newStage(b, core.MediaOptions{})
	algorithm, value, _ := strings.Cut(who.fingerprint, " ")
	client := &description{active: true, fingerprints: []certificateHash{{algorithm, strings.ToLower(value)}}}
	b.ReportAllocs()
	for b.Loop() {
		l := s.idle("ben", "ann")
		l.link.known(client)
		sink := s.sink()
		from := path{host: s.plane.port.hosts[0], to: netip.MustParseAddrPort(sink.LocalAddr().String())}
		l.link.check(from, true, s.plane.now())
		conn, err := dtls.ClientWithOptions(sink, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.plane.Port()))),
			dtls.WithCertificates(who.certificate), dtls.WithSRTPProtectionProfiles(profiles...), dtls.WithInsecureSkipVerify(true))
		if err != nil {
			b.Fatal(err)
		}
		if err := conn.HandshakeContext(s.ctx); err != nil {
			b.Fatal(err)
		}
		s.awaitEqual(core.Connected{Leg: l.id})
		s.room.Drop(l.id)
		_ = conn.Close()
		s.mu.Lock()
		s.events = nil
		s.mu.Unlock()
	}
}

// BenchmarkLeg says what a thousand connected subscribers cost that send nothing and
// get nothing, as most do most of the time: bytes of heap and of stacks, and goroutines.
func BenchmarkLeg(b *testing.B) {
	const n = 1000
	offer, err := os.ReadFile("testdata/chromium-subscribe.sdp")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := newStage(b, core.MediaOptions{})
		all := newBroadcast(s, 0)
		sink := s.sink()
		used := func() (bytes float64, goroutines int) {
			runtime.GC()
			runtime.GC() // what the first has put aside
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return float64(m.HeapAlloc) + float64(m.StackInuse), runtime.NumGoroutine()
		}
		bytes, goroutines := used()
		for i := range uint16(n) {
			l := all.join(sink)
			d, err := readDownOffer(string(offer), plainRoom)
			if err != nil {
				b.Fatal(err)
			}
			s.room.settled(l, d)
			l.link.known(d)
			l.link.check(s.over(1+i), true, s.plane.now())
			l.up()
		}
		for s.plane.Stats().Downlinks.Connected < n {
			runtime.Gosched()
		}
		more, running := used()
		b.ReportMetric((more-bytes)/n, "B/leg")
		b.ReportMetric(float64(running-goroutines)/n, "goroutines/leg")
		s.gone()
	}
}
