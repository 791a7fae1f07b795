package media

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// payloadType is what an m-line says of one of its payload types (RFC 8866 section
// 6.6, RFC 4585 section 4.2).
type payloadType struct {
	number     uint8
	encoding   string
	parameters string
	feedback   []string
}

// payloadTypes reads them, in the order in which the m-line lists them. Static ones,
// which need no rtpmap, are of no use here.
func payloadTypes(listed []string, attributes []sdp.Attribute) []payloadType {
	var all []payloadType
	at := make(map[string]int)
	for _, l := range listed {
		n, err := strconv.ParseUint(l, 10, 8)
		if _, twice := at[l]; err != nil || n == 0 || n > 127 || twice {
			continue
		}
		at[l] = len(all)
		all = append(all, payloadType{number: uint8(n)})
	}
	for _, a := range attributes {
		who, value, _ := strings.Cut(a.Value, " ")
		value = strings.TrimSpace(value)
		i, known := at[who]
		switch {
		case a.Key == "rtcp-fb" && who == "*":
			for i := range all {
				all[i].feedback = append(all[i].feedback, value)
			}
		case !known:
		case a.Key == "rtcp-fb":
			all[i].feedback = append(all[i].feedback, value)
		case a.Key == "rtpmap" && all[i].encoding == "":
			all[i].encoding = value
		case a.Key == "fmtp":
			all[i].parameters = value
		}
	}
	return all
}

// readCodecs finds the formats that the plane knows. The first of each counts.
func readCodecs(k kind, types []payloadType) codecs {
	var c codecs
	for _, t := range types {
		f := t.format(k)
		switch {
		case f == noFormat:
		case f == h264:
			c[h264] = betterH264(c[h264], t.codec())
		case c[f].payload == 0:
			c[f] = t.codec()
		}
	}
	for _, t := range types {
		switch {
		case k == audio && t.is(encodings[red].name) && c[red].payload == 0 && t.wraps(c[opus].payload):
			c[red] = t.codec()
		case k == video && t.is(rtx):
			for f := range formats {
				if c[f].payload != 0 && c[f].repair == 0 && t.parameter("apt") == strconv.Itoa(int(c[f].payload)) {
					c[f].repair = t.number
				}
			}
		}
	}
	return c
}

func (t *payloadType) is(encoding string) bool { return strings.EqualFold(t.encoding, encoding) }

// parameter gives one of the parameters of an fmtp line, "a=1;b=2".
func (t *payloadType) parameter(name string) string {
	for p := range strings.SplitSeq(t.parameters, ";") {
		if key, value, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// format gives the format that t is of, RED left aside.
func (t *payloadType) format(k kind) format {
	for f := range formats {
		if encodings[f].kind != k || f == red || !t.is(encodings[f].name) {
			continue
		}
		switch {
		case f == vp9 && cmp.Or(t.parameter("profile-id"), "0") != "0":
			return noFormat
		case f == h264 && (t.parameter("packetization-mode") != "1" || !isBaseline(t.profile())):
			return noFormat
		}
		return f
	}
	return noFormat
}

// profile gives H.264's profile-level-id: three bytes, which are a profile, what
// constrains it, and a level (RFC 6184 section 8.1); 0 when there is none.
func (t *payloadType) profile() uint32 {
	n, err := strconv.ParseUint(t.parameter("profile-level-id"), 16, 24)
	if err != nil {
		return 0
	}
	return uint32(n)
}

const (
	baseline    = 0x420000
	constrained = 0x004000 // what keeps baseline to what all decoders have
	levels      = 0x0000ff
	level31     = 31 // 1280x720 at 30 frames a second: what publishers are held to
)

// isBaseline reports whether who says so of itself can decode what publishers of
// H.264 send: constrained baseline, up to level 3.1 (RFC 7742 section 6.2).
func isBaseline(profile uint32) bool {
	return profile&0xff0000 == baseline && profile&levels >= level31
}

// betterH264 prefers constrained baseline, else the first.
func betterH264(a, b codec) codec {
	if a.payload == 0 || a.profile&constrained == 0 && b.profile&constrained != 0 {
		return b
	}
	return a
}

// wraps reports whether t is RED around a payload type and no other: "111/111".
func (t *payloadType) wraps(payload uint8) bool {
	blocks := 0
	for block := range strings.SplitSeq(t.parameters, "/") {
		if strings.TrimSpace(block) != strconv.Itoa(int(payload)) {
			return false
		}
		blocks++
	}
	return payload != 0 && blocks > 1
}

func (t *payloadType) codec() codec {
	c := codec{payload: t.number, profile: t.profile()}
	for _, value := range t.feedback {
		switch value {
		case "nack":
			c.nack = true
		case "nack pli":
			c.pli = true
		case "ccm fir":
			c.fir = true
		case "transport-cc":
			c.congestion = true
		case "goog-remb":
			c.remb = true
		}
	}
	return c
}
