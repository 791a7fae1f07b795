package media

import (
	"context"
	"fmt"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/elliptic"
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/interceptor/pkg/twcc"
	"github.com/pion/logging"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const (
	maxPacket = 1500 // bytes of an RTP or RTCP packet that are read

	// A publisher answers NACKs on the stream's own SSRC (see codecs), so the SRTP
	// replay window must reach as far back as a packet may be asked for.
	replayWindow = 512
)

// newSettings are what both directions have in common.
func newSettings(s *sockets, loggers logging.LoggerFactory, lite bool) webrtc.SettingEngine {
	e := webrtc.SettingEngine{LoggerFactory: loggers}
	networks := []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}
	e.SetICEUDPMux(&s.udp)
	if len(s.tcp.muxes) > 0 {
		e.SetICETCPMux(&s.tcp)
		networks = append(networks, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6)
	}
	e.SetNetworkTypes(networks)
	e.SetNet(s.net)
	e.SetLite(lite)
	e.SetIncludeLoopbackCandidate(true)
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.DisableActiveTCP(true)
	e.SetPrflxAcceptanceMinWait(0) // there are no others to wait for, see room.Trickle
	e.SetICETimeouts(10*time.Second, 5*time.Second, 2*time.Second)

	e.SetDTLSRetransmissionInterval(100 * time.Millisecond)
	e.SetDTLSConnectContextMaker(func() (context.Context, func()) {
		return context.WithTimeout(context.Background(), 10*time.Second)
	})
	e.SetDTLSEllipticCurves(elliptic.X25519, elliptic.P256, elliptic.P384)
	e.DisableCloseByDTLS(true) // an alert can be forged; ICE consent decides who lives
	e.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
	e.SetSRTPReplayProtectionWindow(replayWindow)
	e.SetReceiveMTU(maxPacket)
	e.SetFireOnTrackBeforeFirstRTP(true)

	// Data channels are never opened (see intake); should one be, it gets little.
	e.SetSCTPMaxReceiveBufferSize(64 << 10)
	e.SetSCTPMaxMessageSize(64 << 10)
	return e
}

// codecs are those of every room: nothing is transcoded, so they have to suit
// everybody. Payload types are the client's where it offers.
//
// RTX (RFC 4588) is left out: without it a publisher repeats a packet as it was,
// and so do we, which costs a browser its probing with padding on a second stream
// and saves both sides one, with its repair reader and the second numbering.
func codecs(feedback ...webrtc.RTCPFeedback) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	opus := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
			SDPFmtpLine: "minptime=10;useinbandfec=1", RTCPFeedback: feedback,
		},
		PayloadType: 111,
	}
	vp8 := webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeVP8, ClockRate: 90000,
			RTCPFeedback: append([]webrtc.RTCPFeedback{
				{Type: webrtc.TypeRTCPFBNACK, Parameter: "pli"}, {Type: webrtc.TypeRTCPFBCCM, Parameter: "fir"},
			}, feedback...),
		},
		PayloadType: 96,
	}
	if err := m.RegisterCodec(opus, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, fmt.Errorf("register Opus: %w", err)
	}
	if err := m.RegisterCodec(vp8, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, fmt.Errorf("register VP8: %w", err)
	}
	return m, nil
}

// newUpAPI makes connections that receive: they ask for what is missing, report
// what came, and tell the publisher's congestion control what it wants to know.
func newUpAPI(e webrtc.SettingEngine, loggers logging.LoggerFactory) (*webrtc.API, error) {
	m, err := codecs(
		webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBNACK},
		webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC},
		webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBGoogREMB},
	)
	if err != nil {
		return nil, err
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		uris := []string{sdp.SDESMidURI, sdp.TransportCCURI, sdp.ABSSendTimeURI}
		if kind == webrtc.RTPCodecTypeAudio {
			uris = append(uris, sdp.AudioLevelURI)
		}
		for _, uri := range uris {
			if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
				return nil, fmt.Errorf("register %s: %w", uri, err)
			}
		}
	}
	nacks, err := nack.NewGeneratorInterceptor(
		nack.GeneratorSize(replayWindow), nack.GeneratorMaxNacksPerPacket(10),
		nack.GeneratorInterval(50*time.Millisecond), nack.WithGeneratorLoggerFactory(loggers))
	if err != nil {
		return nil, fmt.Errorf("NACK generator: %w", err)
	}
	reports, err := report.NewReceiverInterceptor(report.WithReceiverLoggerFactory(loggers))
	if err != nil {
		return nil, fmt.Errorf("receiver reports: %w", err)
	}
	congestion, err := twcc.NewSenderInterceptor(twcc.WithLoggerFactory(loggers))
	if err != nil {
		return nil, fmt.Errorf("transport-cc: %w", err)
	}
	chain := &interceptor.Registry{}
	chain.Add(nacks)
	chain.Add(reports)
	chain.Add(congestion)
	return webrtc.NewAPI(webrtc.WithSettingEngine(e), webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(chain)), nil
}

// newDownAPI makes connections that send. They have no interceptors and no header
// extensions: outlets answer NACKs from the publisher's ring and translate its
// sender reports, and receivers find streams by the SSRC in the SDP.
func newDownAPI(e webrtc.SettingEngine) (*webrtc.API, error) {
	m, err := codecs(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBNACK})
	if err != nil {
		return nil, err
	}
	return webrtc.NewAPI(webrtc.WithSettingEngine(e), webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(&interceptor.Registry{})), nil
}
