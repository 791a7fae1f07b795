package media

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"confgate/core"
)

// sdesRepairedRID is the URI of the header extension of repair streams that names
// the layer they belong to (RFC 8852).
const sdesRepairedRID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"

// part is an m-line of ours. One that is turned off (port 0, RFC 3264 section 6)
// has no codec.
type part struct {
	kind       kind
	name       sdp.MediaName
	mid        string
	way        sdp.Direction
	codec      codec
	extensions map[string]uint8
	layers     []string // that we take (RFC 8853)
	dtx        bool     // silence is to be sent as next to nothing (RFC 7587)
	outlet     *outlet  // that sends on it; nil when none does
}

// The header extensions that we take from publishers and that we send subscribers.
var (
	upExtensions   = []string{sdp.SDESMidURI, sdp.SDESRTPStreamIDURI, sdesRepairedRID, sdp.TransportCCURI, sdp.AudioLevelURI}
	downExtensions = []string{sdp.ABSSendTimeURI}
)

// answerPart is our side of a client's section, yet without a direction.
func answerPart(s *section, take []string) part {
	p := part{kind: s.kind, name: s.name, mid: s.mid, way: sdp.DirectionInactive}
	if !s.usable() {
		p.name.Port.Value = 0
		return p
	}
	p.name.Port.Value = 9
	p.codec = s.codec
	p.extensions = make(map[string]uint8)
	for _, uri := range take {
		if id, ok := s.extensions[uri]; ok && (s.kind == audio) == (uri == sdp.AudioLevelURI) || ok && uri != sdp.AudioLevelURI {
			p.extensions[uri] = id
		}
	}
	return p
}

// offerPart is a section of which we make the offer.
func offerPart(k kind, mid int, o *outlet) part {
	p := part{
		kind: k, mid: strconv.Itoa(mid), way: sdp.DirectionSendOnly, outlet: o, codec: o.codec,
		name:       sdp.MediaName{Media: k.String(), Port: sdp.RangedPort{Value: 9}, Protos: []string{"UDP", "TLS", "RTP", "SAVPF"}},
		extensions: map[string]uint8{sdp.ABSSendTimeURI: offerTimeID},
	}
	return p
}

// What we number things in our own offers.
const (
	offerOpus   = 111
	offerVP8    = 96
	offerRTX    = 97
	offerTimeID = 2
)

func offerCodec(k kind) codec {
	if k == audio {
		return codec{payload: offerOpus, remb: true}
	}
	return codec{payload: offerVP8, repair: offerRTX, nack: true, pli: true, fir: true, remb: true}
}

// describe writes our side of a connection. setup is our DTLS role (RFC 5763).
func (l *leg) describe(parts []part, setup string) (string, error) {
	var bundle []string
	for i := range parts {
		if parts[i].codec.payload != 0 && parts[i].mid != "" {
			bundle = append(bundle, parts[i].mid)
		}
	}
	l.version++
	s := sdp.SessionDescription{
		Origin: sdp.Origin{
			Username: "-", SessionID: l.session, SessionVersion: l.version,
			NetworkType: "IN", AddressType: "IP4", UnicastAddress: "127.0.0.1",
		},
		SessionName:      "-",
		TimeDescriptions: []sdp.TimeDescription{{}},
	}
	if len(bundle) > 0 {
		s.WithValueAttribute("group", "BUNDLE "+strings.Join(bundle, " "))
	}
	s.WithPropertyAttribute("ice-lite")
	s.WithValueAttribute("msid-semantic", "WMS *")
	s.WithValueAttribute("fingerprint", l.room.plane.identity.fingerprint)
	first := true
	for i := range parts {
		m := l.media(&parts[i], setup)
		if parts[i].codec.payload != 0 && first {
			first = false
			for _, c := range l.room.plane.candidates {
				m.WithValueAttribute("candidate", strings.TrimPrefix(c, "candidate:"))
			}
			m.WithPropertyAttribute("end-of-candidates")
		}
		s.WithMedia(m)
	}
	b, err := s.Marshal()
	if err != nil {
		return "", fmt.Errorf("make description: %w", err)
	}
	return string(b), nil
}

// media writes one section.
func (l *leg) media(p *part, setup string) *sdp.MediaDescription {
	m := &sdp.MediaDescription{
		MediaName: p.name,
		ConnectionInformation: &sdp.ConnectionInformation{
			NetworkType: "IN", AddressType: "IP4", Address: &sdp.Address{Address: "0.0.0.0"},
		},
	}
	if p.mid != "" {
		m.WithValueAttribute("mid", p.mid)
	}
	if p.codec.payload == 0 {
		return m.WithPropertyAttribute(sdp.DirectionInactive.String())
	}
	m.MediaName.Formats = nil
	m.WithValueAttribute("setup", setup)
	m.WithValueAttribute("ice-ufrag", l.link.ufrag)
	m.WithValueAttribute("ice-pwd", l.link.pwd)
	m.WithPropertyAttribute(p.way.String())
	m.WithPropertyAttribute("rtcp-mux")
	m.WithPropertyAttribute("rtcp-rsize")
	p.writeCodec(m)
	for _, uri := range append(upExtensions, downExtensions...) {
		if id, ok := p.extensions[uri]; ok {
			m.WithValueAttribute("extmap", fmt.Sprintf("%d %s", id, uri))
		}
	}
	for _, rid := range p.layers {
		m.WithValueAttribute("rid", rid+" recv")
	}
	if len(p.layers) > 0 {
		m.WithValueAttribute("simulcast", "recv "+strings.Join(p.layers, ";"))
	}
	if p.outlet != nil {
		p.outlet.write(m)
	}
	return m
}

// write names the streams that the outlet sends (RFC 8830, RFC 5576).
func (o *outlet) write(m *sdp.MediaDescription) {
	id := o.stream + " " + o.kind.String()
	m.WithValueAttribute("msid", id)
	all := []uint32{o.ssrc}
	if o.codec.repair != 0 {
		all = append(all, o.repairSSRC)
		m.WithValueAttribute("ssrc-group", fmt.Sprintf("FID %d %d", o.ssrc, o.repairSSRC))
	}
	for _, ssrc := range all {
		m.WithValueAttribute("ssrc", fmt.Sprintf("%d cname:%s", ssrc, o.stream))
		m.WithValueAttribute("ssrc", fmt.Sprintf("%d msid:%s", ssrc, id))
	}
}

func (p *part) writeCodec(m *sdp.MediaDescription) {
	pt := int(p.codec.payload)
	m.MediaName.Formats = append(m.MediaName.Formats, strconv.Itoa(pt))
	if p.kind == audio {
		m.WithValueAttribute("rtpmap", fmt.Sprintf("%d opus/48000/2", pt))
		parameters := "minptime=10;useinbandfec=1"
		if p.dtx {
			parameters += ";usedtx=1"
		}
		m.WithValueAttribute("fmtp", fmt.Sprintf("%d %s", pt, parameters))
	} else {
		m.WithValueAttribute("rtpmap", fmt.Sprintf("%d VP8/90000", pt))
	}
	for _, f := range []struct {
		on    bool
		value string
	}{
		{p.codec.nack, "nack"},
		{p.codec.pli, "nack pli"},
		{p.codec.fir, "ccm fir"},
		{p.codec.congestion, "transport-cc"},
		{p.codec.remb, "goog-remb"},
	} {
		if f.on {
			m.WithValueAttribute("rtcp-fb", fmt.Sprintf("%d %s", pt, f.value))
		}
	}
	if p.codec.repair != 0 {
		m.MediaName.Formats = append(m.MediaName.Formats, strconv.Itoa(int(p.codec.repair)))
		m.WithValueAttribute("rtpmap", fmt.Sprintf("%d rtx/90000", p.codec.repair))
		m.WithValueAttribute("fmtp", fmt.Sprintf("%d apt=%d", p.codec.repair, pt))
	}
}

// candidatesOf gives our candidates as trickled ones. All go by the first m-line
// that is in use, which BUNDLE shares with the others.
func (l *leg) candidatesOf(parts []part) []core.Candidate {
	for i := range parts {
		if parts[i].codec.payload == 0 {
			continue
		}
		all := make([]core.Candidate, len(l.room.plane.candidates))
		for j, line := range l.room.plane.candidates {
			all[j] = core.Candidate{Line: line, Mid: parts[i].mid, Index: uint16(i), Ufrag: l.link.ufrag}
		}
		return all
	}
	return nil
}
