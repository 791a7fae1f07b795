package media

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pion/webrtc/v4"
)

// Bounds of a session description (RFC 8866). Browsers' have 2 m-lines and about
// 7 KB; Pion takes most of a second over one with thousands.
const (
	maxSDP      = 128 << 10
	maxSections = 8
	maxLines    = 256 // in a section
)

var (
	errSDPSize     = fmt.Errorf("SDP is larger than %d bytes", maxSDP)
	errSDPSections = fmt.Errorf("SDP has more than %d m-lines", maxSections)
	errSDPLines    = fmt.Errorf("SDP has more than %d lines in a section", maxLines)
	errSDPEmpty    = errors.New("SDP has no audio and no video")
	errSDPIdentity = errors.New("SDP lacks an ICE ufrag or a DTLS fingerprint")
	errNotSending  = errors.New("offer does not send: publishing needs a sendonly or sendrecv m-line")
	errNotTaking   = errors.New("offer does not receive: subscribing needs a recvonly or sendrecv m-line")
	errNoCodec     = errors.New("SDP has neither Opus nor VP8")
)

// description is an SDP that passed, made fit for Pion.
type description struct {
	sdp                string
	ufrag, fingerprint string // the first of each
	sections           []section
}

// section is an m-line and what belongs to it.
type section struct {
	kind      webrtc.RTPCodecType // zero unless audio or video
	direction webrtc.RTPTransceiverDirection
	usable    bool // has the room's codec
}

// has reports whether there is an audio or video section with the room's codec
// that goes one of the ways.
func (d *description) has(kind webrtc.RTPCodecType, ways ...webrtc.RTPTransceiverDirection) bool {
	for _, s := range d.sections {
		if s.kind == kind && s.usable && slices.Contains(ways, s.direction) {
			return true
		}
	}
	return false
}

// isSame reports whether two descriptions are of the same connection.
func (d *description) isSame(other *description) bool {
	return d.ufrag == other.ufrag && d.fingerprint == other.fingerprint
}

// readUpOffer takes the offer of a publisher.
func readUpOffer(sdp string) (*description, error) {
	asIs := func(way webrtc.RTPTransceiverDirection) webrtc.RTPTransceiverDirection { return way }
	return readOffer(sdp, asIs, errNotSending, webrtc.RTPTransceiverDirectionSendonly, webrtc.RTPTransceiverDirectionSendrecv)
}

// readDownOffer takes the offer of a subscriber, as if it did not want to send,
// which some native clients offer: an answer of sendonly fits that as well, and
// there is nothing to drain.
func readDownOffer(sdp string) (*description, error) {
	return readOffer(sdp, withoutSending, errNotTaking, webrtc.RTPTransceiverDirectionRecvonly)
}

func withoutSending(way webrtc.RTPTransceiverDirection) webrtc.RTPTransceiverDirection {
	switch way {
	case webrtc.RTPTransceiverDirectionSendrecv:
		return webrtc.RTPTransceiverDirectionRecvonly
	case webrtc.RTPTransceiverDirectionSendonly:
		return webrtc.RTPTransceiverDirectionInactive
	default:
		return way
	}
}

// readAnswer takes the answer of a subscriber.
func readAnswer(sdp string) (*description, error) { return readSDP(sdp, withoutSending) }

func readOffer(sdp string, turn turn, wrongWay error, ways ...webrtc.RTPTransceiverDirection) (*description, error) {
	d, err := readSDP(sdp, turn)
	if err != nil {
		return nil, err
	}
	audio, video := webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo
	if d.has(audio, ways...) || d.has(video, ways...) {
		return d, nil
	}
	for _, s := range d.sections {
		if s.usable {
			return nil, wrongWay
		}
	}
	return nil, errNoCodec
}

// turn gives the direction to take a section for.
type turn func(webrtc.RTPTransceiverDirection) webrtc.RTPTransceiverDirection

// readSDP checks a description and leaves out of it what this plane never takes:
// candidates (see room.Trickle), simulcast, repair streams (see codecs), and data
// channels, whose section is turned off. Each section says its direction, which
// Pion wants of it.
func readSDP(sdp string, turn turn) (*description, error) {
	if len(sdp) > maxSDP {
		return nil, errSDPSize
	}
	if strings.Count(sdp, "\nm=") > maxSections {
		return nil, errSDPSections
	}
	d := &description{}
	var (
		out     strings.Builder
		lines   int
		session = section{direction: webrtc.RTPTransceiverDirectionSendrecv}
		current = &session
		extra   = extraStreams(sdp)
	)
	finish := func() {
		if current != &session {
			current.direction = turn(current.direction)
			fmt.Fprintf(&out, "a=%s\r\n", current.direction)
		}
	}
	for line := range strings.Lines(sdp) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			continue
		}
		if lines++; lines > maxLines {
			return nil, errSDPLines
		}
		if m, ok := strings.CutPrefix(line, "m="); ok {
			finish()
			lines = 0
			d.sections = append(d.sections, section{kind: kindOf(m), direction: session.direction})
			current = &d.sections[len(d.sections)-1]
			line = closeData(line)
		} else if !current.read(line, d) || slices.Contains(extra, ssrcOf(line)) {
			continue
		}
		out.WriteString(line)
		out.WriteString("\r\n")
	}
	finish()
	d.sdp = out.String()
	return d, d.check()
}

func (d *description) check() error {
	if d.ufrag == "" || d.fingerprint == "" {
		return errSDPIdentity
	}
	media := false
	for _, s := range d.sections {
		media = media || s.kind != 0
	}
	if !media {
		return errSDPEmpty
	}
	return nil
}

// read takes note of a line and reports whether to keep it.
func (s *section) read(line string, d *description) bool {
	key, value, _ := strings.Cut(line, ":")
	switch key {
	case "a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive":
		s.direction = webrtc.NewRTPTransceiverDirection(line[len("a="):])
		return false
	case "a=ice-ufrag":
		if d.ufrag == "" {
			d.ufrag = strings.TrimSpace(value)
		}
	case "a=fingerprint":
		if d.fingerprint == "" {
			d.fingerprint = strings.ToLower(strings.TrimSpace(value))
		}
	case "a=rtpmap":
		_, codec, _ := strings.Cut(value, " ")
		codec = strings.ToLower(strings.TrimSpace(codec))
		s.usable = s.usable || s.kind == webrtc.RTPCodecTypeAudio && codec == "opus/48000/2" ||
			s.kind == webrtc.RTPCodecTypeVideo && codec == "vp8/90000"
	case "a=candidate", "a=end-of-candidates", "a=simulcast", "a=rid", "a=ssrc-group":
		return false
	}
	return true
}

// extraStreams gives the SSRCs that a group (RFC 5576) has besides its first: of
// retransmission, error correction or further layers.
func extraStreams(sdp string) []string {
	var all []string
	for rest := sdp; ; {
		var found bool
		if _, rest, found = strings.Cut(rest, "\na=ssrc-group:"); !found {
			return all
		}
		line, _, _ := strings.Cut(rest, "\n")
		if ssrcs := strings.Fields(line); len(ssrcs) > 2 {
			all = append(all, ssrcs[2:min(len(ssrcs), 2+maxSections)]...)
		}
	}
}

// ssrcOf is the SSRC that a line is about; empty when it is about none.
func ssrcOf(line string) string {
	rest, ok := strings.CutPrefix(line, "a=ssrc:")
	if !ok {
		return ""
	}
	ssrc, _, _ := strings.Cut(rest, " ")
	return ssrc
}

func kindOf(m string) webrtc.RTPCodecType {
	kind, _, _ := strings.Cut(m, " ")
	return webrtc.NewRTPCodecType(kind)
}

// closeData turns an m-line of data channels off (port 0, RFC 3264 section 6).
func closeData(line string) string {
	fields := strings.SplitN(line, " ", 3)
	if len(fields) < 3 || fields[0] != "m=application" {
		return line
	}
	return fields[0] + " 0 " + fields[2]
}
