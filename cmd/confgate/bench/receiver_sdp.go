package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

var (
	errNoICE   = errors.New("no ICE credentials in the SDP")
	errNoPrint = errors.New("no SHA-256 fingerprint in the SDP")
)

// description is what a receiver needs of the gateway's SDP.
type description struct {
	ufrag, pwd  string
	fingerprint string // of the certificate: SHA-256 in lower-case hexadecimal, with colons
	setup       string
	lite        bool
	candidates  []netip.AddrPort
	media       []section
}

// section is one m-line.
type section struct {
	kind   string
	mid    string
	usable bool // it is in use, and can carry what this package knows
}

// formats are the payload types of what this package knows.
var formats = map[string]int{"audio": opusType, "video": vp8Type}

// sections are what a receiver offers.
func sections() []section {
	return []section{{audio.String(), "0", true}, {video.String(), "1", true}}
}

// parseDescription reads an offer or an answer. BUNDLE is taken for granted.
func parseDescription(text string) (*description, error) {
	var s sdp.SessionDescription
	if err := s.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("SDP: %w", err)
	}
	d := new(description)
	d.take(s.Attributes)
	for _, m := range s.MediaDescriptions {
		one := section{kind: m.MediaName.Media}
		one.mid, _ = m.Attribute(sdp.AttrKeyMID)
		if format := formats[one.kind]; format != 0 && m.MediaName.Port.Value != 0 {
			one.usable = slices.Contains(m.MediaName.Formats, strconv.Itoa(format))
		}
		d.media = append(d.media, one)
		d.take(m.Attributes)
	}
	switch {
	case d.ufrag == "" || d.pwd == "":
		return nil, errNoICE
	case d.fingerprint == "":
		return nil, errNoPrint
	}
	return d, nil
}

// take reads the attributes that count for the whole connection, wherever they stand.
func (d *description) take(attributes []sdp.Attribute) {
	for _, a := range attributes {
		switch a.Key {
		case "ice-ufrag":
			d.ufrag = a.Value
		case "ice-pwd":
			d.pwd = a.Value
		case "ice-lite":
			d.lite = true
		case "setup":
			d.setup = a.Value
		case "fingerprint":
			if hash, value, ok := strings.Cut(a.Value, " "); ok && strings.EqualFold(hash, "sha-256") {
				d.fingerprint = strings.ToLower(value)
			}
		case "candidate":
			if at, ok := parseCandidate(a.Value); ok {
				d.candidates = append(d.candidates, at)
			}
		}
	}
}

// parseCandidate gives the address of a UDP candidate (RFC 8839 section 5.1) with or
// without "candidate:" before it; ok is false for what a receiver has no use for.
func parseCandidate(text string) (at netip.AddrPort, ok bool) {
	f := strings.Fields(strings.TrimPrefix(text, "candidate:"))
	if len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") {
		return netip.AddrPort{}, false
	}
	ip, err := netip.ParseAddr(f[4])
	port, err2 := strconv.ParseUint(f[5], 10, 16)
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), err == nil && err2 == nil && port != 0
}

// describe writes the receiver's side: an offer of media, or the answer to an offer
// of it. setup is the DTLS role (RFC 5763 section 5).
func (r *receiver) describe(media []section, setup string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0\r\no=- %d 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0", r.tiebreaker>>1)
	var mids []string
	for _, m := range media {
		if m.usable {
			mids = append(mids, m.mid)
		}
	}
	line("a=group:BUNDLE %s", strings.Join(mids, " "))
	for _, m := range media {
		if !m.usable {
			line("m=%s 0 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\na=mid:%s", m.kind, m.mid)
			continue
		}
		format, lines := opusType, fmt.Sprintf("a=rtpmap:%d opus/48000/2\r\na=fmtp:%[1]d minptime=10;useinbandfec=1", opusType)
		if m.kind == video.String() {
			format = vp8Type
			lines = fmt.Sprintf("a=rtpmap:%d VP8/90000\r\na=rtcp-fb:%[1]d ccm fir\r\na=rtcp-fb:%[1]d nack\r\na=rtcp-fb:%[1]d nack pli", vp8Type)
		}
		line("m=%s 9 UDP/TLS/RTP/SAVPF %d\r\nc=IN IP4 0.0.0.0", m.kind, format)
		line("a=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=ice-options:trickle", r.ufrag, r.pwd)
		line("a=fingerprint:sha-256 %s\r\na=setup:%s", strings.ToUpper(r.rig.fingerprint), setup)
		line("a=mid:%s\r\na=recvonly\r\na=rtcp-mux\r\na=rtcp-rsize", m.mid)
		line("%s", lines)
	}
	return b.String()
}
