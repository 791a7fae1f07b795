package bench

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// TestReceiver connects to a whole Pion client, whichever side offers and whatever
// part the other takes in ICE and DTLS.
func TestReceiver(t *testing.T) {
	for name, change := range map[string]func(*webrtc.SettingEngine){
		"DTLS server":       func(*webrtc.SettingEngine) {}, // Pion answers as the client
		"DTLS client":       func(s *webrtc.SettingEngine) { _ = s.SetAnsweringDTLSRole(webrtc.DTLSRoleServer) },
		"of a lite gateway": func(s *webrtc.SettingEngine) { s.SetLite(true) },
	} {
		t.Run(name, func(t *testing.T) {
			e := testEngine(t)
			far := e.far(t, change)
			heard, told := make(chan []byte, 64), newFate()
			r := e.receiver(told.upshot(heard))
			defer r.close()
			err := r.offer(t.Context(), func(_ context.Context, sdp string) error {
				return r.answer(far.answer(sdp))
			})
			if err != nil {
				t.Fatal(err)
			}
			told.awaitConnected(t)
			far.sendTo(t, r, heard)
		})
	}
	t.Run("answers", func(t *testing.T) {
		e := testEngine(t)
		far := e.far(t, func(s *webrtc.SettingEngine) { s.SetPrflxAcceptanceMinWait(0) })
		heard, told := make(chan []byte, 64), newFate()
		r := e.receiver(told.upshot(heard))
		defer r.close()
		err := r.accept(t.Context(), far.offer(), func(_ context.Context, sdp string) error { far.take(sdp); return nil })
		if err != nil {
			t.Fatal(err)
		}
		told.awaitConnected(t)
		far.sendTo(t, r, heard)
	})
}

// TestReceiverKnowsTheGateway: one whose certificate is not that of its SDP is refused.
func TestReceiverKnowsTheGateway(t *testing.T) {
	e := testEngine(t)
	far := e.far(t, func(*webrtc.SettingEngine) {})
	told := newFate()
	r := e.receiver(told.upshot(nil))
	defer r.close()
	err := r.offer(t.Context(), func(_ context.Context, sdp string) error {
		answer := far.answer(sdp)
		at := strings.Index(answer, "a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
		digit := "0"
		if answer[at:at+1] == digit {
			digit = "1"
		}
		return r.answer(answer[:at] + digit + answer[at+1:])
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := <-told.failed; !errors.Is(err, errConnectionFailed) {
		t.Error(err)
	}
}

func TestReceiverRefuses(t *testing.T) {
	e := testEngine(t)
	told := newFate()
	r := e.receiver(told.upshot(nil))
	const good = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AB\r\n"
	if err := r.answer(good); !errors.Is(err, errUnwanted) {
		t.Errorf("answer to no offer: %v", err)
	}
	ok := func(context.Context, string) error { return nil }
	if err := r.offer(t.Context(), ok); err != nil {
		t.Fatal(err)
	}
	if err := r.answer(good); err != nil { // candidates may follow
		t.Error(err)
	}
	if err := r.answer(good); !errors.Is(err, errAnswered) {
		t.Errorf("second answer: %v", err)
	}
	if err := r.candidate(webrtc.ICECandidateInit{Candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host"}); !errors.Is(err, errNoWay) {
		t.Errorf("address elsewhere: %v", err)
	}
	r.control(&rtcp.PictureLossIndication{}) // nobody to send it to
	r.close()
	r.close()
	if err := r.answer(good); err != nil {
		t.Errorf("after the end: %v", err)
	}
}

// TestConsent: a gateway that does not answer is noticed, once, and given up.
func TestConsent(t *testing.T) {
	e := testEngine(t)
	deaf, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	told := newFate()
	r := e.receiver(told.upshot(nil))
	defer r.close()
	r.remote = &description{ufrag: "u", pwd: "p"}
	if r.socket, err = e.open(netip.MustParseAddrPort(deaf.LocalAddr().String()), r.take); err != nil {
		t.Fatal(err)
	}
	for _, quiet := range []time.Duration{0, silence + time.Second, silence + 2*time.Second, death + time.Second, death + 2*time.Second} {
		r.checks.last.Store(time.Now().Add(-quiet).UnixNano())
		r.consent()
	}
	if len(told.interrupted) != 1 || len(told.failed) != 1 {
		t.Errorf("%d interruptions, %d failures", len(told.interrupted), len(told.failed))
	}
}

func TestParseDescription(t *testing.T) {
	d, err := parseDescription(strings.ReplaceAll(`v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=ice-lite
a=fingerprint:SHA-256 AB:CD
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
a=ice-ufrag:uf
a=ice-pwd:pw
a=setup:passive
a=mid:a
a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host
a=candidate:2 1 tcp 1 127.0.0.1 5000 typ host tcptype passive
a=candidate:3 2 udp 1 127.0.0.1 5001 typ host
a=candidate:4 1 udp 1 name.local 5001 typ host
m=video 0 UDP/TLS/RTP/SAVPF 96
a=mid:v
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=mid:d
`, "\n", "\r\n"))
	want := &description{
		ufrag: "uf", pwd: "pw", fingerprint: "ab:cd", setup: "passive", lite: true,
		candidates: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5000")},
		media:      []section{{"audio", "a", true}, {"video", "v", false}, {"application", "d", false}},
	}
	if err != nil || !reflect.DeepEqual(d, want) {
		t.Errorf("%+v, %v", d, err)
	}
	for _, bad := range []string{"", "v=0", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\n"} {
		if _, err := parseDescription(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func testEngine(t *testing.T) *engine {
	e, err := newEngine(loopback)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

// fate is what becomes of a receiver.
type fate struct {
	connected, interrupted chan struct{}
	failed                 chan error
}

func newFate() *fate {
	return &fate{make(chan struct{}, 9), make(chan struct{}, 9), make(chan error, 9)}
}

func (f *fate) upshot(heard chan<- []byte) upshot {
	return upshot{
		connected:   func() { f.connected <- struct{}{} },
		interrupted: func() { f.interrupted <- struct{}{} },
		failed:      func(err error) { f.failed <- err },
		found:       func(webrtc.ICECandidateInit) {},
		packet:      func(b []byte) { heard <- append([]byte(nil), b...) },
	}
}

func (f *fate) awaitConnected(t *testing.T) {
	t.Helper()
	select {
	case <-f.connected:
	case err := <-f.failed:
		t.Fatal(err)
	}
}

// far is the other end of a receiver's connection.
type far struct {
	t     *testing.T
	pc    *webrtc.PeerConnection
	track *webrtc.TrackLocalStaticRTP
	rtcp  chan []rtcp.Packet
}

func (e *engine) far(t *testing.T, change func(*webrtc.SettingEngine)) *far {
	s := e.setting
	change(&s)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(e.codecs), webrtc.WithSettingEngine(s),
		webrtc.WithInterceptorRegistry(new(interceptor.Registry))).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	track, err := webrtc.NewTrackLocalStaticRTP(codecs[video].RTPCodecCapability, "video", "far")
	if err != nil {
		t.Fatal(err)
	}
	tr, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		t.Fatal(err)
	}
	f := &far{t, pc, track, make(chan []rtcp.Packet, 9)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			packets, _, err := tr.Sender().ReadRTCP()
			if err != nil {
				return
			}
			f.rtcp <- packets
		}
	}()
	t.Cleanup(func() {
		_ = pc.GracefulClose()
		<-ended
	})
	return f
}

func (f *far) answer(offer string) string {
	if err := f.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		f.t.Fatal(err)
	}
	return f.describe(f.pc.CreateAnswer(nil))
}

func (f *far) offer() string { return f.describe(f.pc.CreateOffer(nil)) }

func (f *far) take(answer string) {
	if err := f.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *far) describe(d webrtc.SessionDescription, err error) string {
	if err != nil {
		f.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(f.pc)
	if err := f.pc.SetLocalDescription(d); err != nil {
		f.t.Fatal(err)
	}
	<-gathered
	return f.pc.LocalDescription().SDP
}

// sendTo lets a packet go over, and RTCP come back.
func (f *far) sendTo(t *testing.T, r *receiver, heard <-chan []byte) {
	t.Helper()
	up := make(chan struct{})
	f.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			close(up)
		}
	})
	if f.pc.ConnectionState() != webrtc.PeerConnectionStateConnected {
		<-up
	}
	if err := f.track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: 7}, Payload: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	b := <-heard
	head, payload, ok := parseRTP(b)
	if !ok || head.kind != video || head.seq != 7 || string(payload) != "hello" {
		t.Errorf("heard %x", b)
	}
	r.control(&rtcp.PictureLossIndication{MediaSSRC: head.ssrc})
	if _, ok := (<-f.rtcp)[0].(*rtcp.PictureLossIndication); !ok {
		t.Error("the request for a key frame did not come")
	}
}

func FuzzParseDescription(f *testing.F) {
	f.Add("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:u\r\na=ice-pwd:p\r\na=fingerprint:sha-256 AB\r\na=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := parseDescription(text); (d == nil) == (err == nil) {
			t.Errorf("%+v, %v", d, err)
		}
	})
}
