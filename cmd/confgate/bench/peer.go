package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/transport/v4"
	"github.com/pion/transport/v4/packetio"
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"
)

// The payload types that Chromium gives to Opus and VP8.
const (
	opusType = 111
	vp8Type  = 96
)

// codecs are what every client has.
var codecs = [kinds]webrtc.RTPCodecParameters{
	audio: {PayloadType: opusType, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: audioClock, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
	}},
	video: {PayloadType: vp8Type, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: videoClock,
		RTCPFeedback: []webrtc.RTCPFeedback{{Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}},
	}},
}

// mediaTypes are Pion's names for kinds.
var mediaTypes = [kinds]webrtc.RTPCodecType{audio: webrtc.RTPCodecTypeAudio, video: webrtc.RTPCodecTypeVideo}

// engine makes peers and receivers. Each has a UDP socket of its own, as real clients do, and no
// interceptors: what RTCP a client owes, this package sends itself.
type engine struct {
	codecs  *webrtc.MediaEngine // copied by each peer
	setting webrtc.SettingEngine
	config  webrtc.Configuration
	*rig    // of receivers
}

// reach is where peers look for the gateway.
type reach int

const (
	loopback reach = iota // on this machine's loopback interface only
	anywhere              // over every interface
)

// newEngine makes an engine, which is to be closed after what it made.
func newEngine(r reach) (*engine, error) {
	known := new(webrtc.MediaEngine)
	for k, codec := range codecs {
		if err := known.RegisterCodec(codec, mediaTypes[k]); err != nil {
			return nil, fmt.Errorf("register codec: %w", err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	setting, err := settings(r)
	if err != nil {
		return nil, err
	}
	g, err := newRig(r)
	if err != nil {
		return nil, err
	}
	return &engine{
		rig:     g,
		codecs:  known,
		setting: setting,
		config:  webrtc.Configuration{Certificates: []webrtc.Certificate{*cert}},
	}, nil
}

func settings(r reach) (webrtc.SettingEngine, error) {
	var s webrtc.SettingEngine
	sockets, err := stdnet.NewNet()
	if err != nil {
		return s, fmt.Errorf("list network interfaces: %w", err)
	}
	s.SetNet(roomy{sockets})
	s.LoggerFactory = &logging.DefaultLoggerFactory{Writer: io.Discard}
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.DisableActiveTCP(true)
	s.SetDTLSRetransmissionInterval(100 * time.Millisecond)
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	s.SetFireOnTrackBeforeFirstRTP(true) // nothing is read from tracks: see tap
	if r == loopback {
		s.SetIncludeLoopbackCandidate(true)
		s.SetIPFilter(net.IP.IsLoopback)
	}
	return s, nil
}

// roomy gives sockets that hold what comes while the instrument waits for a processor,
// so that its own delays are not taken for the gateway's losses.
type roomy struct{ *stdnet.Net }

const receiveBuffer = 1 << 20 // bytes, as far as the kernel allows

// ListenUDP implements [transport.Net].
func (n roomy) ListenUDP(network string, at *net.UDPAddr) (transport.UDPConn, error) {
	conn, err := n.Net.ListenUDP(network, at)
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(receiveBuffer); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// peer is a whole WebRTC client's connection, for those who send.
type peer struct{ pc *webrtc.PeerConnection }

func (e *engine) peer(up upshot) (*peer, error) {
	setting := e.setting
	setting.BufferFactory = func(kind packetio.BufferPacketType, _ uint32) io.ReadWriteCloser {
		if kind == packetio.RTPBufferPacket {
			return newTap(up.packet)
		}
		return newTap(func(b []byte) {
			if packets, err := rtcp.Unmarshal(b); err == nil {
				up.control(packets)
			}
		})
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(e.codecs), webrtc.WithSettingEngine(setting),
		webrtc.WithInterceptorRegistry(new(interceptor.Registry)))
	pc, err := api.NewPeerConnection(e.config)
	if err != nil {
		return nil, fmt.Errorf("make connection: %w", err)
	}
	connected := sync.OnceFunc(up.connected)
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			connected()
		case webrtc.PeerConnectionStateDisconnected:
			up.interrupted()
		case webrtc.PeerConnectionStateFailed:
			up.failed(errConnectionFailed)
		default: // on the way there, or closed by us
		}
	})
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c != nil {
			up.found(c.ToJSON())
		}
	})
	return &peer{pc}, nil
}

// offer hands the offer to send before it is applied: candidates, which the gateway
// has no use for until it knows the offer, are found only after that.
func (p *peer) offer(ctx context.Context, send func(ctx context.Context, sdp string) error) error {
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("make offer: %w", err)
	}
	if err := send(ctx, offer.SDP); err != nil {
		return err
	}
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("apply offer: %w", err)
	}
	return nil
}

// accept answers the gateway's offer. As in offer, the answer goes out before
// candidates are found.
func (p *peer) accept(ctx context.Context, sdp string, send func(ctx context.Context, sdp string) error) error {
	offer := webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: sdp}
	if err := p.pc.SetRemoteDescription(offer); err != nil {
		return fmt.Errorf("apply offer: %w", err)
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("make answer: %w", err)
	}
	if err := send(ctx, answer.SDP); err != nil {
		return err
	}
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return fmt.Errorf("apply answer: %w", err)
	}
	return nil
}

func (p *peer) answer(sdp string) error {
	answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}
	if err := p.pc.SetRemoteDescription(answer); err != nil {
		return fmt.Errorf("apply answer: %w", err)
	}
	return nil
}

func (p *peer) candidate(c webrtc.ICECandidateInit) error {
	if err := p.pc.AddICECandidate(c); err != nil {
		return fmt.Errorf("add candidate: %w", err)
	}
	return nil
}

// control sends RTCP. A packet that cannot be sent is as good as lost on the way.
func (p *peer) control(packets ...rtcp.Packet) { _ = p.pc.WriteRTCP(packets) }

// close waits for all that the peer has running.
func (p *peer) close() { _ = p.pc.GracefulClose() }

// tap stands where Pion keeps the decrypted packets of a stream until they are read.
// It gives them away at once, in the goroutine that decrypted them, which saves a
// copy and a wake-up for each of the many packets that a receiver gets.
type tap struct {
	take   func([]byte)
	closed chan struct{}
	close  func() // closes it, once
}

func newTap(take func([]byte)) *tap {
	closed := make(chan struct{})
	return &tap{take, closed, sync.OnceFunc(func() { close(closed) })}
}

func (t *tap) Write(b []byte) (int, error) {
	t.take(b)
	return len(b), nil
}

// Read waits for Close: there is never anything left to read.
func (t *tap) Read([]byte) (int, error) {
	<-t.closed
	return 0, io.EOF
}

// Close may be called more than once: a stream's receiver and its connection both do.
func (t *tap) Close() error {
	t.close()
	return nil
}
