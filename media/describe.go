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
// has no formats.
type part struct {
	kind       kind
	name       sdp.MediaName
	mid        string
	way        sdp.Direction
	formats    []format // that are agreed on, in the order in which we list them
	codecs     codecs   // of those
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

func (p *part) on() bool { return len(p.formats) > 0 }

// main gives the first format that is not RED, which only goes around another.
func (p *part) main() format {
	if p.formats[0] == red {
		return p.formats[1]
	}
	return p.formats[0]
}

// agree lists those of the formats that s offers.
func (p *part) agree(s *section, listed []format) {
	p.formats = nil
	for _, f := range listed {
		if s.codecs[f].payload != 0 {
			p.formats = append(p.formats, f)
		}
	}
	p.codecs = s.codecs.keep(setOf(p.formats...))
}

// answerPart is our side of a client's section, yet without a direction.
func answerPart(s *section, listed []format, take []string) part {
	p := part{kind: s.kind, name: s.name, mid: s.mid, way: sdp.DirectionInactive}
	if !s.usable() {
		p.name.Port.Value = 0
		return p
	}
	p.name.Port.Value = 9
	p.agree(s, listed)
	p.extensions = make(map[string]uint8)
	for _, uri := range take {
		if id, ok := s.extensions[uri]; ok && (s.kind == audio) == (uri == sdp.AudioLevelURI) || ok && uri != sdp.AudioLevelURI {
			p.extensions[uri] = id
		}
	}
	return p
}

// offerPart is a section of which we make the offer.
func offerPart(k kind, listed []format, mid int, o *outlet) part {
	return part{
		kind: k, mid: strconv.Itoa(mid), way: sdp.DirectionSendOnly, outlet: o, formats: listed, codecs: offerCodecs(listed),
		name:       sdp.MediaName{Media: k.String(), Port: sdp.RangedPort{Value: 9}, Protos: []string{"UDP", "TLS", "RTP", "SAVPF"}},
		extensions: map[string]uint8{sdp.ABSSendTimeURI: offerTimeID},
	}
}

// What we number things in our own offers.
const (
	offerTimeID  = 2
	offerOpus    = 111
	offerRED     = 63
	offerVP8     = 96 // and its RTX the next, as the others
	offerVP9     = 98
	offerH264    = 102
	offerProfile = 0x42e01f // constrained baseline, level 3.1
)

func offerCodecs(listed []format) codecs {
	picture := func(payload uint8) codec {
		return codec{payload: payload, repair: payload + 1, profile: offerProfile, nack: true, pli: true, fir: true, remb: true}
	}
	all := codecs{opus: {payload: offerOpus, remb: true}, red: {payload: offerRED}, vp8: picture(offerVP8), vp9: picture(offerVP9), h264: picture(offerH264)}
	return all.keep(setOf(listed...))
}

// describe writes our side of a connection. setup is our DTLS role (RFC 5763).
func (l *leg) describe(parts []part, setup string) (string, error) {
	var bundle []string
	for i := range parts {
		if parts[i].on() && parts[i].mid != "" {
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
		if parts[i].on() && first {
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
	if !p.on() {
		return m.WithPropertyAttribute(sdp.DirectionInactive.String())
	}
	m.MediaName.Formats = nil
	m.WithValueAttribute("setup", setup)
	m.WithValueAttribute("ice-ufrag", l.link.ufrag)
	m.WithValueAttribute("ice-pwd", l.link.pwd)
	m.WithPropertyAttribute(p.way.String())
	m.WithPropertyAttribute("rtcp-mux")
	m.WithPropertyAttribute("rtcp-rsize")
	for _, f := range p.formats {
		p.writeCodec(m, f)
	}
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
		p.outlet.write(m, p.codecs.repairs())
	}
	return m
}

// write names the streams that the outlet sends (RFC 8830, RFC 5576).
func (o *outlet) write(m *sdp.MediaDescription, repairs bool) {
	id := o.stream + " " + o.kind.String()
	m.WithValueAttribute("msid", id)
	all := []uint32{o.ssrc}
	if repairs {
		all = append(all, o.repairSSRC)
		m.WithValueAttribute("ssrc-group", fmt.Sprintf("FID %d %d", o.ssrc, o.repairSSRC))
	}
	for _, ssrc := range all {
		m.WithValueAttribute("ssrc", fmt.Sprintf("%d cname:%s", ssrc, o.stream))
		m.WithValueAttribute("ssrc", fmt.Sprintf("%d msid:%s", ssrc, id))
	}
}

func (p *part) writeCodec(m *sdp.MediaDescription, f format) {
	c := &p.codecs[f]
	m.MediaName.Formats = append(m.MediaName.Formats, strconv.Itoa(int(c.payload)))
	m.WithValueAttribute("rtpmap", fmt.Sprintf("%d %s", c.payload, encodings[f].name))
	parameters := p.codecs.parameters(f)
	if f == opus && p.dtx {
		parameters += ";usedtx=1"
	}
	if parameters != "" {
		m.WithValueAttribute("fmtp", fmt.Sprintf("%d %s", c.payload, parameters))
	}
	for _, feedback := range []struct {
		on    bool
		value string
	}{
		{c.nack, "nack"},
		{c.pli, "nack pli"},
		{c.fir, "ccm fir"},
		{c.congestion, "transport-cc"},
		{c.remb, "goog-remb"},
	} {
		if feedback.on {
			m.WithValueAttribute("rtcp-fb", fmt.Sprintf("%d %s", c.payload, feedback.value))
		}
	}
	if c.repair != 0 {
		m.MediaName.Formats = append(m.MediaName.Formats, strconv.Itoa(int(c.repair)))
		m.WithValueAttribute("rtpmap", fmt.Sprintf("%d %s", c.repair, rtx))
		m.WithValueAttribute("fmtp", fmt.Sprintf("%d apt=%d", c.repair, c.payload))
	}
}

// candidatesOf gives our candidates as trickled ones. All go by the first m-line
// that is in use, which BUNDLE shares with the others.
func (l *leg) candidatesOf(parts []part) []core.Candidate {
	for i := range parts {
		if !parts[i].on() {
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
