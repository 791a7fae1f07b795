package media

import (
	"cmp"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"confgate/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is what a test that hangs is ended by; nothing is measured against it.
const deadline = 2 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

// stage is a plane with one room, and what the room was told.
type stage struct {
	t     testing.TB
	ctx   context.Context
	plane *Plane
	room  *room
	n     uint64 // of the last leg

	mu     sync.Mutex
	events []core.MediaEvent
	news   chan struct{} // closed and replaced at each event
}

func newStage(t testing.TB, o core.MediaOptions) *stage {
	t.Helper()
	return newStageOn(t, o, Config{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Log: quiet})
}

func newStageOn(t testing.TB, o core.MediaOptions, c Config) *stage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	// Nobody connects the legs of some tests, and fuzzing takes its time.
	c.Patience = cmp.Or(c.Patience, 24*time.Hour)
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &stage{t: t, ctx: ctx, plane: p, news: make(chan struct{})}
	s.room = p.Open("r1", o, s.tell).(*room)
	return s
}

func (s *stage) tell(e core.MediaEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	close(s.news)
	s.news = make(chan struct{})
}

// await gives the first event that matches, past ones included.
func (s *stage) await(what string, matches func(core.MediaEvent) bool) core.MediaEvent {
	s.t.Helper()
	for i := 0; ; {
		s.mu.Lock()
		events, news := s.events, s.news
		s.mu.Unlock()
		for ; i < len(events); i++ {
			if matches(events[i]) {
				return events[i]
			}
		}
		select {
		case <-news:
		case <-s.ctx.Done():
			s.t.Fatalf("never told %s; was told %#v", what, events)
		}
	}
}

func (s *stage) awaitEqual(want core.MediaEvent) {
	s.t.Helper()
	s.await("what was wanted", func(e core.MediaEvent) bool { return reflect.DeepEqual(e, want) })
}

func (s *stage) accepted(leg core.Leg) core.Accepted {
	s.t.Helper()
	e := s.await("Accepted", func(e core.MediaEvent) bool {
		a, ok := e.(core.Accepted)
		return ok && a.Leg == leg
	})
	return e.(core.Accepted)
}

func (s *stage) leg(owner, user core.UserID) core.Leg {
	s.n++
	return core.Leg{Owner: owner, Stream: core.Stream{User: user, Source: core.Cam}, N: s.n}
}

// client is a PeerConnection as a browser has, with its own socket.
type client struct {
	*webrtc.PeerConnection
	s         *stage
	connected chan struct{}
	packets   [video + 1]chan arrived           // what comes in
	early     [video + 1]map[uint16]*rtp.Packet // what follow has read and is not due yet
	reports   chan *rtcp.SenderReport
}

type arrived struct {
	stream   string
	repaired bool // by retransmission: given before packets that wait to be read, however old
	*rtp.Packet
}

// option changes how a client is made.
type option func(*webrtc.SettingEngine)

func (s *stage) client(options ...option) *client {
	s.t.Helper()
	e := webrtc.SettingEngine{LoggerFactory: logs{quiet}}
	e.SetIncludeLoopbackCandidate(true)
	e.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetSRTPReplayProtectionWindow(1024)
	for _, o := range options {
		o(&e)
	}
	m := &webrtc.MediaEngine{}
	if err := m.RegisterDefaultCodecs(); err != nil {
		s.t.Fatal(err)
	}
	if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.AudioLevelURI}, webrtc.RTPCodecTypeAudio); err != nil {
		s.t.Fatal(err)
	}
	chain := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(m, chain); err != nil {
		s.t.Fatal(err)
	}
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(e), webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(chain)).
		NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		s.t.Fatal(err)
	}
	c := &client{PeerConnection: pc, s: s, connected: make(chan struct{}), packets: [...]chan arrived{
		audio: make(chan arrived, 1<<14), video: make(chan arrived, 1<<14),
	}, early: [...]map[uint16]*rtp.Packet{audio: {}, video: {}}, reports: make(chan *rtcp.SenderReport, 1<<10)}
	var once sync.Once
	pc.OnConnectionStateChange(func(st webrtc.PeerConnectionState) {
		if st == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(c.connected) })
		}
	})
	var readers sync.WaitGroup
	pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		readers.Add(1)
		defer readers.Done()
		go func() { // feeds the receiver reports
			for {
				packets, _, err := r.ReadRTCP()
				if err != nil {
					return
				}
				for _, p := range packets {
					if p, ok := p.(*rtcp.SenderReport); ok {
						c.reports <- p
					}
				}
			}
		}()
		var repaired []arrived // until there is what came before them
		for begun := false; ; {
			p, about, err := t.ReadRTP()
			if err != nil {
				return
			}
			a := arrived{t.StreamID(), about.Get(webrtc.AttributeRtxSsrc) != nil, p}
			if a.repaired && !begun {
				repaired = append(repaired, a)
				continue
			}
			begun = true
			c.packets[kindOf(t.Kind())] <- a
			for _, a := range repaired {
				c.packets[kindOf(t.Kind())] <- a
			}
			repaired = nil
		}
	})
	s.t.Cleanup(func() {
		c.hangUp()
		readers.Wait()
	})
	return c
}

// hangUp ends the client, if it has not ended yet.
func (c *client) hangUp() {
	if err := c.GracefulClose(); err != nil {
		c.s.t.Error(err)
	}
}

// lossy makes a client lose RTP packets: those that it sends or those that it gets,
// whenever drop says so. What else it says goes through.
func (s *stage) lossy(out, in func() bool) option {
	s.t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.through(&lossyConn{conn, out, in})
}

// through has a client's packets go through conn.
func (s *stage) through(conn net.PacketConn) option {
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: logs{quiet}.NewLogger("ice"), UDPConn: conn})
	s.t.Cleanup(func() { _ = mux.Close() })
	return func(e *webrtc.SettingEngine) { e.SetICEUDPMux(mux) }
}

type lossyConn struct {
	net.PacketConn
	out, in func() bool
}

// isRTP tells RTP from STUN, DTLS (RFC 7983) and RTCP (RFC 5761).
func isRTP(b []byte) bool {
	return len(b) > 1 && b[0] >= 128 && b[0] < 192 && (b[1] < 192 || b[1] > 223)
}

func (c *lossyConn) WriteTo(b []byte, to net.Addr) (int, error) {
	if isRTP(b) && c.out != nil && c.out() {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, to)
}

func (c *lossyConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || !isRTP(b[:n]) || c.in == nil || !c.in() {
			return n, from, err
		}
	}
}

// makeOffer gives a complete offer.
func (c *client) makeOffer() string {
	c.s.t.Helper()
	o, err := c.CreateOffer(nil)
	if err != nil {
		c.s.t.Fatal(err)
	}
	return c.local(o)
}

func (c *client) local(d webrtc.SessionDescription) string {
	c.s.t.Helper()
	gathered := webrtc.GatheringCompletePromise(c.PeerConnection)
	if err := c.SetLocalDescription(d); err != nil {
		c.s.t.Fatal(err)
	}
	<-gathered
	return c.LocalDescription().SDP
}

func (c *client) remote(kind webrtc.SDPType, description string) {
	c.s.t.Helper()
	if err := c.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: description}); err != nil {
		c.s.t.Fatal(err)
	}
}

// call makes the client's offer, lets the plane answer it as leg, and waits until
// both are connected.
func (c *client) call(leg core.Leg) core.Accepted {
	c.s.t.Helper()
	c.s.room.Accept(leg, core.Ref{Op: "call"}, c.makeOffer())
	a := c.s.accepted(leg)
	if a.Err != nil {
		c.s.t.Fatal(a.Err)
	}
	c.remote(webrtc.SDPTypeAnswer, a.Answer)
	c.up(leg)
	return a
}

func (c *client) up(leg core.Leg) {
	c.s.t.Helper()
	select {
	case <-c.connected:
	case <-c.s.ctx.Done():
		c.s.t.Fatal("client never connected")
	}
	c.s.awaitEqual(core.Connected{Leg: leg})
}

// next gives the next packet of a kind that comes in.
func (c *client) next(k kind) arrived {
	c.s.t.Helper()
	select {
	case p := <-c.packets[k]:
		return p
	case <-c.s.ctx.Done():
		c.s.t.Fatalf("no %v packet came", k)
		return arrived{}
	}
}

// camera is a client that publishes: it sends a voice and a picture packet a tick,
// and a key frame when asked for one. All cameras have the same SSRCs. Payloads carry a mark and a count.
type camera struct {
	*client
	mark         byte
	pace         time.Duration
	audio, video *webrtc.TrackLocalStaticRTP
	plis         chan struct{}
	stop         func()
}

func kindOf(k webrtc.RTPCodecType) kind {
	if k == webrtc.RTPCodecTypeVideo {
		return video
	}
	return audio
}

// payload has the count of a packet after two bytes of VP8.
func payload(mark byte, key bool, count uint32) []byte {
	delta := byte(1)
	if key {
		delta = 0
	}
	return binary.BigEndian.AppendUint32([]byte{0x10, delta, mark}, count)
}

func isKey(p *rtp.Packet) bool     { key, _ := vp8Keyframe(p.Payload); return key }
func markOf(p *rtp.Packet) byte    { return p.Payload[2] }
func countOf(p *rtp.Packet) uint32 { return binary.BigEndian.Uint32(p.Payload[3:]) }

// camera makes a client that is ready to publish, but does not send yet.
func (s *stage) camera(mark byte, options ...option) *camera {
	s.t.Helper()
	c := &camera{client: s.client(options...), mark: mark, pace: 5 * time.Millisecond, plis: make(chan struct{}, 1<<12)}
	add := func(mime string, ssrc webrtc.SSRC, rate uint32, channels uint16) *webrtc.TrackLocalStaticRTP {
		t, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime, ClockRate: rate, Channels: channels}, mime[:5], "cam")
		if err != nil {
			s.t.Fatal(err)
		}
		tr, err := c.AddTransceiverFromTrack(t, webrtc.RTPTransceiverInit{
			Direction:     webrtc.RTPTransceiverDirectionSendonly,
			SendEncodings: []webrtc.RTPEncodingParameters{{RTPCodingParameters: webrtc.RTPCodingParameters{SSRC: ssrc}}},
		})
		if err != nil {
			s.t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				packets, _, err := tr.Sender().ReadRTCP()
				if err != nil {
					return
				}
				for _, p := range packets {
					if _, ok := p.(*rtcp.PictureLossIndication); ok {
						c.plis <- struct{}{}
					}
				}
			}
		}()
		s.t.Cleanup(func() { _ = c.Close(); <-done })
		return t
	}
	c.audio = add(webrtc.MimeTypeOpus, 1111, 48000, 2)
	c.video = add(webrtc.MimeTypeVP8, 2222, 90000, 0)
	return c
}

// levelID is the id of the audio-level header extension.
func (c *camera) levelID() uint8 {
	for _, x := range c.GetSenders()[0].GetParameters().HeaderExtensions {
		if x.URI == sdp.AudioLevelURI {
			return uint8(x.ID)
		}
	}
	c.s.t.Fatal("audio levels were not negotiated")
	return 0
}

// roll sends until the test ends or the camera is stopped.
func (c *camera) roll(seq uint16, stamp uint32) {
	quit, done := make(chan struct{}), make(chan struct{})
	c.stop = sync.OnceFunc(func() { close(quit); <-done })
	c.s.t.Cleanup(c.stop)
	go func() {
		defer close(done)
		tick := time.NewTicker(c.pace) // paces the camera, like a real one
		defer tick.Stop()
		for i := uint32(0); ; i++ {
			key := false
			select {
			case <-quit:
				return
			case <-c.plis:
				key = true
			case <-tick.C:
			}
			h := rtp.Header{Version: 2, SequenceNumber: seq + uint16(i), Timestamp: stamp + i*450, Marker: true}
			_ = c.video.WriteRTP(&rtp.Packet{Header: h, Payload: payload(c.mark, key, i)})
			h.Timestamp = stamp + i*240
			_ = c.audio.WriteRTP(&rtp.Packet{Header: h, Payload: payload(c.mark, false, i)})
		}
	}()
}

// viewer makes a client that is ready to subscribe.
func (s *stage) viewer(options ...option) *client {
	s.t.Helper()
	c := s.client(options...)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := c.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			s.t.Fatal(err)
		}
	}
	return c
}
