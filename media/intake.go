package media

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Bounds of a session description (RFC 8866). Browsers' have 2 m-lines and about
// 7 KB; parsers take most of a second over one with thousands.
const (
	maxSDP      = 128 << 10
	maxSections = 8
	maxLines    = 256 // in a section
	maxLine     = 4 << 10
	maxLayers   = 3 // of simulcast
)

var (
	errSDPSize     = fmt.Errorf("SDP is larger than %d bytes", maxSDP)
	errSDPSections = fmt.Errorf("SDP has more than %d m-lines", maxSections)
	errSDPLines    = fmt.Errorf("SDP has more than %d lines in a section", maxLines)
	errSDPLine     = fmt.Errorf("SDP has a line of more than %d bytes", maxLine)
	errSDPEmpty    = errors.New("SDP has no audio and no video")
	errSDPIdentity = errors.New("SDP lacks an ICE ufrag or a DTLS fingerprint")
	errSDPForm     = errors.New("SDP cannot be parsed")
	errSDPMid      = errors.New("SDP has two sections and they have no mid")
	errNotSending  = errors.New("offer does not send: publishing needs a sendonly or sendrecv m-line")
	errNotTaking   = errors.New("offer does not receive: subscribing needs a recvonly or sendrecv m-line")
	errNoCodec     = errors.New("SDP has neither Opus nor a picture that the room takes")
)

// kind is what an m-line carries.
type kind uint8

const (
	neither kind = iota
	audio
	video
)

func (k kind) String() string { return [...]string{"neither", "audio", "video"}[k] }

// description is what a client's SDP says that matters here. What this plane never
// takes it leaves out: candidates (see room.Trickle), data channels, and codecs
// that it does not know.
type description struct {
	session      uint64 // of the client's descriptions (RFC 8866 section 5.2)
	version      uint64 // of the session
	ufrag        string
	fingerprints []certificateHash
	active       bool // the client will be the DTLS client (RFC 5763), or may be
	sections     []section
}

// certificateHash is the hash of a certificate (RFC 8122).
type certificateHash struct{ algorithm, value string }

// section is an m-line and what belongs to it.
type section struct {
	name    sdp.MediaName
	kind    kind
	mid     string
	bundled bool // goes over the one transport (RFC 9143)
	way     sdp.Direction
	codecs  codecs // of those offered; none when the section is turned off

	extensions map[string]uint8 // ids of RTP header extensions (RFC 8285), by URI
	streams    []uint32         // SSRCs of media, first of each group (RFC 5576)
	layers     []string         // rids that are sent (RFC 8853), as they were listed
	limit      uint64           // what the client can take, bit/s (RFC 8866 section 5.8); 0 when it does not say
	largest    int              // picture that it has use for, in pixels (RFC 6236); 0 when any
}

func (s *section) usable() bool { return s.codecs.set() != 0 && s.bundled }

// ways are directions of a client's section.
type ways [2]sdp.Direction

var (
	upWays   = ways{sdp.DirectionSendOnly, sdp.DirectionSendRecv}
	downWays = ways{sdp.DirectionRecvOnly, sdp.DirectionSendRecv}
)

func (s *section) goes(w ways) bool { return slices.Contains(w[:], s.way) }

// find gives the first usable section of a kind that goes one of the ways.
func (d *description) find(k kind, w ways) *section {
	for i := range d.sections {
		if s := &d.sections[i]; s.kind == k && s.usable() && s.goes(w) {
			return s
		}
	}
	return nil
}

// identity is that part of a description that is of use as long as the connection
// lasts. It shares nothing with the text that it came from, which is far larger.
func (d *description) identity() *description {
	if d == nil {
		return nil
	}
	who := &description{session: d.session, version: d.version, ufrag: strings.Clone(d.ufrag), active: d.active}
	for _, f := range d.fingerprints {
		who.fingerprints = append(who.fingerprints, certificateHash{strings.Clone(f.algorithm), strings.Clone(f.value)})
	}
	return who
}

// isSame reports whether a later description is of the same connection: of the same
// certificate, and with the same ufrag or, when ICE begins anew, further on in the
// same session.
func (d *description) isSame(later *description) bool {
	goesOn := d.session == later.session && d.version < later.version
	return (d.ufrag == later.ufrag || goesOn) && slices.Equal(d.fingerprints, later.fingerprints)
}

// readUpOffer takes the offer of a publisher in a room that knows those formats.
func readUpOffer(text string, known formatSet) (*description, error) {
	return readOffer(text, known, errNotSending, upWays)
}

// readDownOffer takes the offer of a subscriber. Some native clients offer to send
// as well: an answer of sendonly fits that too, and there is nothing to drain.
func readDownOffer(text string, known formatSet) (*description, error) {
	return readOffer(text, known, errNotTaking, downWays)
}

func readOffer(text string, known formatSet, wrongWay error, w ways) (*description, error) {
	d, err := readSDP(text, known)
	if err != nil {
		return nil, err
	}
	if d.find(audio, w) != nil || d.find(video, w) != nil {
		return d, nil
	}
	for i := range d.sections {
		if d.sections[i].usable() {
			return nil, wrongWay
		}
	}
	return nil, errNoCodec
}

// readSDP reads a description, and does so in little time whatever it is. Of formats
// it leaves out those that are not among the known.
func readSDP(text string, known formatSet) (*description, error) {
	if err := bounded(text); err != nil {
		return nil, err
	}
	var parsed sdp.SessionDescription
	if err := parsed.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("%w: %w", errSDPForm, err)
	}
	d := &description{active: true, session: parsed.Origin.SessionID, version: parsed.Origin.SessionVersion}
	d.identify(parsed.Attributes)
	session := sdp.DirectionSendRecv
	for _, a := range parsed.Attributes {
		if way, err := sdp.NewDirection(a.Key); err == nil {
			session = way
		}
	}
	bundle, _ := parsed.Attribute("group")
	for _, m := range parsed.MediaDescriptions {
		d.identify(m.Attributes)
		d.sections = append(d.sections, readSection(m, session, known))
	}
	return d, d.check(strings.Fields(bundle))
}

// bounded refuses what would take long to parse.
func bounded(text string) error {
	if len(text) > maxSDP {
		return errSDPSize
	}
	sections, lines := 0, 0
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "m=") {
			sections++
			lines = 0
		}
		lines++
		switch {
		case sections > maxSections:
			return errSDPSections
		case lines > maxLines:
			return errSDPLines
		case len(line) > maxLine:
			return errSDPLine
		}
	}
	return nil
}

// identify notes by what the client is known. The first of each counts.
func (d *description) identify(attributes []sdp.Attribute) {
	known := len(d.fingerprints) > 0
	for _, a := range attributes {
		switch a.Key {
		case "ice-ufrag":
			if d.ufrag == "" {
				d.ufrag = a.Value
			}
		case "fingerprint":
			if algorithm, value, ok := strings.Cut(a.Value, " "); ok && !known {
				d.fingerprints = append(d.fingerprints, certificateHash{strings.ToLower(algorithm), strings.ToLower(strings.TrimSpace(value))})
			}
		case "setup":
			d.active = a.Value != "passive"
		}
	}
}

// check refuses what no connection can be made of, and finds the sections that
// share the transport: those in the bundle, or the first where there is none.
func (d *description) check(group []string) error {
	if d.ufrag == "" || len(d.fingerprints) == 0 {
		return errSDPIdentity
	}
	media, first, nameless := false, true, 0
	for i := range d.sections {
		s := &d.sections[i]
		if s.mid == "" {
			nameless++
		}
		if s.kind == neither {
			continue
		}
		media = true
		if len(group) > 0 && group[0] == "BUNDLE" {
			s.bundled = slices.Contains(group[1:], s.mid)
		} else {
			s.bundled = first
		}
		first = false
	}
	switch {
	case !media:
		return errSDPEmpty
	case nameless > 0 && len(d.sections) > 1:
		return errSDPMid
	}
	return nil
}

func readSection(m *sdp.MediaDescription, way sdp.Direction, known formatSet) section {
	s := section{name: m.MediaName, way: way, extensions: make(map[string]uint8)}
	switch m.MediaName.Media {
	case "audio":
		s.kind = audio
	case "video":
		s.kind = video
	}
	for _, b := range m.Bandwidth {
		s.readLimit(b)
	}
	s.largest = largestPicture(m.Attributes)
	var repairs []uint32
	for _, a := range m.Attributes {
		if way, err := sdp.NewDirection(a.Key); err == nil {
			s.way = way
		}
		switch a.Key {
		case "mid":
			s.mid = a.Value
		case "extmap":
			s.readExtension(a.Value)
		case "rid":
			if f := strings.Fields(a.Value); len(f) > 1 && f[1] == "send" && len(s.layers) < maxLayers {
				s.layers = append(s.layers, f[0])
			}
		case "ssrc-group":
			// What a group has besides its first is of retransmission or error correction.
			if f := strings.Fields(a.Value); len(f) > 2 {
				repairs = append(repairs, ssrcs(f[2:])...)
			}
		}
	}
	for _, a := range m.Attributes {
		if a.Key == "ssrc" {
			for _, ssrc := range ssrcs(strings.Fields(a.Value)[:min(1, len(strings.Fields(a.Value)))]) {
				if !slices.Contains(repairs, ssrc) && !slices.Contains(s.streams, ssrc) {
					s.streams = append(s.streams, ssrc)
				}
			}
		}
	}
	if s.kind != neither && m.MediaName.Port.Value != 0 {
		offered := readCodecs(s.kind, payloadTypes(m.MediaName.Formats, m.Attributes))
		s.codecs = offered.keep(known)
	}
	return s
}

func ssrcs(fields []string) []uint32 {
	var all []uint32
	for _, f := range fields {
		if n, err := strconv.ParseUint(f, 10, 32); err == nil {
			all = append(all, uint32(n))
		}
	}
	return all
}

func (s *section) readLimit(b sdp.Bandwidth) {
	switch b.Type {
	case "TIAS": // RFC 3890, without the headers below RTP
		s.limit = b.Bandwidth
	case "AS": // kbit/s
		if s.limit == 0 && b.Bandwidth < 1<<32 {
			s.limit = b.Bandwidth * 1000
		}
	}
}

// readExtension takes "3 uri" or "3/recvonly uri" (RFC 8285 section 5), if the
// one-byte form can carry it.
func (s *section) readExtension(value string) {
	id, uri, _ := strings.Cut(value, " ")
	id, _, _ = strings.Cut(id, "/")
	uri, _, _ = strings.Cut(uri, " ")
	if n, err := strconv.ParseUint(id, 10, 8); err == nil && n >= 1 && n <= 14 {
		s.extensions[uri] = uint8(n)
	}
}
