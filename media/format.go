package media

import (
	"fmt"
	"slices"
	"strings"

	"confgate/core"
)

// format is an RTP payload format that the plane forwards: a codec, or RED around
// one. It is never transcoded.
type format uint8

const (
	noFormat format = iota
	opus            // RFC 7587
	red             // RFC 2198, around Opus
	vp8             // RFC 7741
	h264            // RFC 6184: constrained baseline, not interleaved
	vp9             // RFC 9628: profile 0
	formats         // how many there are
)

// encodings are the formats as rtpmap names them.
var encodings = [formats]struct {
	kind kind
	name string
}{
	opus: {audio, "opus/48000/2"},
	red:  {audio, "red/48000/2"},
	vp8:  {video, "VP8/90000"},
	h264: {video, "H264/90000"},
	vp9:  {video, "VP9/90000"},
}

// rtx is the encoding of packets that are sent again (RFC 4588).
const rtx = "rtx/90000"

// VideoCodecs are the names that [core.MediaOptions.Video] may have.
func VideoCodecs() []string {
	var names []string
	for f := range formats {
		if encodings[f].kind == video {
			names = append(names, f.codecName())
		}
	}
	return names
}

// codecName is "vp8" for "VP8/90000".
func (f format) codecName() string {
	name, _, _ := strings.Cut(strings.ToLower(encodings[f].name), "/")
	return name
}

// beginsKeyframe reports whether a payload begins a key frame; if so, area is how
// many pixels the picture has, 0 when it does not say.
func (f format) beginsKeyframe(payload []byte) (key bool, area int) {
	switch f {
	case vp8:
		return vp8Keyframe(payload)
	case h264:
		return h264Keyframe(payload)
	case vp9:
		return vp9Keyframe(payload)
	default:
		return false, 0
	}
}

// formatSet is a set of formats.
type formatSet uint16

func setOf(all ...format) formatSet {
	var s formatSet
	for _, f := range all {
		s |= 1 << f
	}
	return s
}

func (s formatSet) has(f format) bool { return s&(1<<f) != 0 }

// menu is what the members of a room may send: pictures in the formats of a list,
// the most wanted first, VP8 always among them; and voices.
type menu struct {
	video []format
	all   formatSet
}

// newMenu leaves out names that it does not know.
func newMenu(o core.MediaOptions) menu {
	var m menu
	for _, name := range append(slices.Clone(o.Video), vp8.codecName()) {
		for f := range formats {
			if encodings[f].kind == video && f.codecName() == name && !slices.Contains(m.video, f) {
				m.video = append(m.video, f)
			}
		}
	}
	m.all = setOf(opus) | setOf(m.video...)
	if o.OpusRED {
		m.all |= setOf(red)
	}
	return m
}

// of gives the formats of a kind, in the order in which they are to be listed.
// Browsers send RED if it comes before the codec.
func (m *menu) of(k kind, dir int) []format {
	switch {
	case k == video:
		return m.video
	case !m.all.has(red):
		return []format{opus}
	case dir == uplink:
		return []format{red, opus}
	default:
		return []format{opus, red}
	}
}

// codec is how one side numbers a format.
type codec struct {
	payload uint8  // its payload type; 0: the format is not there
	repair  uint8  // payload type of its RTX (RFC 4588); 0 when there is none
	profile uint32 // of H.264: its profile-level-id
	// Feedback that was offered (RFC 4585).
	nack, pli, fir, congestion, remb bool
}

// codecs are those of one m-line.
type codecs [formats]codec

// set gives the formats that are there.
func (c *codecs) set() formatSet {
	var s formatSet
	for f := range formats {
		if c[f].payload != 0 {
			s |= setOf(f)
		}
	}
	return s
}

// keep gives those of the formats that are in s.
func (c *codecs) keep(s formatSet) codecs {
	var kept codecs
	for f := range formats {
		if s.has(f) {
			kept[f] = c[f]
		}
	}
	return kept
}

// allow reports whether all formats but RED, which has no feedback of its own, are
// as they should be.
func (c *codecs) allow(good func(codec) bool) bool {
	for f := range formats {
		if c[f].payload != 0 && f != red && !good(c[f]) {
			return false
		}
	}
	return true
}

// withoutCongestion leaves transport-wide congestion control out.
func (c *codecs) withoutCongestion() {
	for f := range c {
		c[f].congestion = false
	}
}

// withoutEstimates leaves it to the other side how much it sends.
func (c *codecs) withoutEstimates() {
	for f := range c {
		c[f].remb = false
	}
}

// holdPublisher makes of what a publisher offers what we say to it: its picture is to
// be what every decoder can take.
func (c *codecs) holdPublisher() {
	c[h264].profile = c[h264].profile&^levels | level31
}

// find gives the format that a payload type stands for, or that it repeats.
func (c *codecs) find(payload uint8) (f format, repair bool) {
	for f := range formats {
		switch {
		case c[f].payload == 0:
		case c[f].payload == payload:
			return f, false
		case c[f].repair == payload:
			return f, true
		}
	}
	return noFormat, false
}

// repairs reports whether any of the formats has an RTX.
func (c *codecs) repairs() bool {
	return slices.ContainsFunc(c[:], func(c codec) bool { return c.repair != 0 })
}

// parameters gives the value of an fmtp line for a format; empty when it needs none.
func (c *codecs) parameters(f format) string {
	switch f {
	case opus:
		return "minptime=10;useinbandfec=1"
	case red:
		return fmt.Sprintf("%[1]d/%[1]d", c[opus].payload)
	case h264:
		return fmt.Sprintf("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=%06x", c[h264].profile)
	case vp9:
		return "profile-id=0"
	default:
		return ""
	}
}
