package main

import (
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
	"github.com/pion/transport/v4/stdnet"
	"github.com/pion/webrtc/v4"

	"confgate/core"
)

// socketBuffer is what confgate asks of the kernel for its media socket.
const socketBuffer = 4 << 20

// The payload types of what rooms have.
var codecs = map[webrtc.RTPCodecType]webrtc.RTPCodecParameters{
	webrtc.RTPCodecTypeAudio: {PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48_000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
	}},
	webrtc.RTPCodecTypeVideo: {PayloadType: 96, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeVP8, ClockRate: 90_000, RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack", Parameter: "pli"}},
	}},
}

// plane implements core.Plane with a PeerConnection for each leg and one UDP port.
type plane struct {
	mux    *ice.UDPMuxDefault
	api    *webrtc.API
	config webrtc.Configuration
	legs   sync.WaitGroup

	mu    sync.Mutex
	rooms map[*room]struct{} // guarded by mu
}

func newPlane(port int) (*plane, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	certificate, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	known := new(webrtc.MediaEngine)
	for kind, codec := range codecs {
		if err := known.RegisterCodec(codec, kind); err != nil {
			return nil, fmt.Errorf("register codec: %w", err)
		}
	}
	sockets, err := stdnet.NewNet()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(conn.SetReadBuffer(socketBuffer), conn.SetWriteBuffer(socketBuffer)); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	loggers := &logging.DefaultLoggerFactory{Writer: io.Discard}
	p := &plane{
		mux:    ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn, Net: sockets, Logger: loggers.NewLogger("ice")}),
		config: webrtc.Configuration{Certificates: []webrtc.Certificate{*certificate}},
		rooms:  make(map[*room]struct{}),
	}
	var s webrtc.SettingEngine
	s.LoggerFactory = loggers
	s.SetNet(sockets)
	s.SetICEUDPMux(p.mux)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetPrflxAcceptanceMinWait(0) // clients are known by their checks alone, as in confgate
	s.SetDTLSRetransmissionInterval(100 * time.Millisecond)
	s.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	p.api = webrtc.NewAPI(webrtc.WithMediaEngine(known), webrtc.WithSettingEngine(s),
		webrtc.WithInterceptorRegistry(new(interceptor.Registry)))
	return p, nil
}

// Open implements core.Plane.
func (p *plane) Open(_ core.RoomID, _ core.MediaOptions, tell func(core.MediaEvent)) core.Media {
	r := &room{plane: p, tell: tell, legs: make(map[core.Leg]*leg), feeds: make(map[core.Stream]*feed)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rooms[r] = struct{}{}
	return r
}

func (p *plane) forget(r *room) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.rooms, r)
}

// close ends what rooms are left and waits until all connections are closed.
func (p *plane) close() error {
	p.mu.Lock()
	rooms := p.rooms
	p.rooms = make(map[*room]struct{})
	p.mu.Unlock()
	for r := range rooms {
		r.Close()
	}
	p.legs.Wait()
	return p.mux.Close()
}
