package media

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"confgate/core"
)

// chromium gives an offer that Chromium made.
func chromium(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/chromium-" + name + ".sdp")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answer gives the room's answer to ann's offer for somebody's stream.
func (s *stage) answer(user core.UserID, offer string) string {
	s.t.Helper()
	leg := s.leg("ann", user)
	s.room.Accept(leg, core.Ref{}, offer)
	a := s.accepted(leg)
	if a.Err != nil {
		s.t.Fatal(a.Err)
	}
	return a.Answer
}

func TestDTX(t *testing.T) {
	for name, test := range map[string]struct {
		options core.MediaOptions
		offer   string
		user    core.UserID
		wanted  string
	}{
		"off":       {core.MediaOptions{}, "publish", "ann", "111 minptime=10;useinbandfec=1"},
		"publish":   {core.MediaOptions{OpusDTX: true}, "publish", "ann", "111 minptime=10;useinbandfec=1;usedtx=1"},
		"subscribe": {core.MediaOptions{OpusDTX: true}, "subscribe", "ben", "111 minptime=10;useinbandfec=1"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := newStage(t, test.options).answer(test.user, chromium(t, test.offer))
			if got := lines(answer, "a=fmtp:"); !slices.Contains(got, test.wanted) {
				t.Errorf("got %q, want %q", got, test.wanted)
			}
		})
	}
}

// videoOffer gives an offer of pictures in formats, as rtpmap and fmtp lines say, of
// payload types from 96 on.
func videoOffer(way string, formats ...string) string {
	section := "m=video 9 UDP/TLS/RTP/SAVPF"
	lines := ""
	for i, f := range formats {
		encoding, parameters, _ := strings.Cut(f, " ")
		section += fmt.Sprintf(" %d", 96+i)
		lines += fmt.Sprintf("a=rtpmap:%d %s/90000\r\n", 96+i, encoding)
		if parameters != "" {
			lines += fmt.Sprintf("a=fmtp:%d %s\r\n", 96+i, parameters)
		}
	}
	return sdpOf(section + "\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" + way + lines)
}

// What browsers offer.
const (
	offersVP8  = "VP8"
	offersVP9  = "VP9 profile-id=0"
	offersH264 = "H264 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
)

func TestFormatsRead(t *testing.T) {
	rtxOf := func(pt int) string { return fmt.Sprintf("rtx apt=%d", pt) }
	for name, test := range map[string]struct {
		formats []string
		want    codecs
	}{
		"VP8":                       {[]string{offersVP8, rtxOf(96)}, codecs{vp8: {payload: 96, repair: 97}}},
		"any case":                  {[]string{"vp8", "h264 Packetization-Mode=1; Profile-Level-Id=42E01F"}, codecs{vp8: {payload: 96}, h264: {payload: 97, profile: 0x42e01f}}},
		"VP9":                       {[]string{offersVP9}, codecs{vp9: {payload: 96}}},
		"VP9 without saying":        {[]string{"VP9"}, codecs{vp9: {payload: 96}}},
		"VP9 of 10 bits":            {[]string{"VP9 profile-id=2"}, codecs{}},
		"H.264":                     {[]string{offersH264, rtxOf(96)}, codecs{h264: {payload: 96, profile: 0x42e01f, repair: 97}}},
		"H.264 baseline":            {[]string{"H264 packetization-mode=1;profile-level-id=42001f"}, codecs{h264: {payload: 96, profile: 0x42001f}}},
		"H.264, both baselines":     {[]string{"H264 packetization-mode=1;profile-level-id=42001f", offersH264}, codecs{h264: {payload: 97, profile: 0x42e01f}}},
		"H.264 of a higher level":   {[]string{"H264 packetization-mode=1;profile-level-id=42e034"}, codecs{h264: {payload: 96, profile: 0x42e034}}},
		"H.264 of a lower level":    {[]string{"H264 packetization-mode=1;profile-level-id=42e00a"}, codecs{}},
		"H.264 in single units":     {[]string{"H264 packetization-mode=0;profile-level-id=42e01f"}, codecs{}},
		"H.264 without saying":      {[]string{"H264"}, codecs{}},
		"H.264 high":                {[]string{"H264 packetization-mode=1;profile-level-id=64001f"}, codecs{}},
		"H.264 of no known profile": {[]string{"H264 packetization-mode=1;profile-level-id=hello"}, codecs{}},
		"RTX of another":            {[]string{offersVP8, rtxOf(99)}, codecs{vp8: {payload: 96}}},
		"the first counts":          {[]string{offersVP8, offersVP8, rtxOf(97)}, codecs{vp8: {payload: 96}}},
		"others":                    {[]string{"AV1", "H265", offersVP8}, codecs{vp8: {payload: 98}}},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := readSDP(videoOffer(sendonly, test.formats...), openRoom)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.sections[0].codecs; got != test.want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// payloads gives the encodings of an answer's pictures, RTX left out.
func payloads(answer string) []string {
	var all []string
	for _, l := range lines(answer, "a=rtpmap:") {
		_, encoding, _ := strings.Cut(l, " ")
		if name, _, _ := strings.Cut(encoding, "/"); name != "rtx" {
			all = append(all, strings.ToLower(name))
		}
	}
	return all
}

// TestNegotiation has members come to a room one after the other, each with what it
// can take or send: what the last one sends is what all can take.
func TestNegotiation(t *testing.T) {
	chrome := []string{offersVP8, offersVP9, offersH264}
	safari := []string{offersH264, offersVP8}
	old := []string{offersVP8}
	hardware := []string{offersH264}
	type member struct {
		way     string // sendonly publishes
		formats []string
		lasting bool // does not publish anew when the connection fails
	}
	subscriber := func(formats []string) member { return member{way: recvonly, formats: formats} }
	publisher := func(formats []string) member { return member{way: sendonly, formats: formats} }
	for name, test := range map[string]struct {
		room    []string
		members []member
		want    string // of the last
	}{
		"no options":                         {nil, []member{publisher(chrome)}, "vp8"},
		"unknown names":                      {[]string{"av1", "opus", "red"}, []member{publisher(chrome)}, "vp8"},
		"alone":                              {[]string{"h264"}, []member{publisher(chrome)}, "h264"},
		"the wish counts, not the offer":     {[]string{"vp9", "h264"}, []member{publisher(safari)}, "h264"},
		"VP8 in the middle":                  {[]string{"vp9", "vp8", "h264"}, []member{publisher(safari)}, "vp8"},
		"nothing wanted is offered":          {[]string{"vp9"}, []member{publisher(safari)}, "vp8"},
		"no VP8 is offered":                  {[]string{"vp9", "h264"}, []member{publisher(hardware)}, "h264"},
		"all take it":                        {[]string{"h264"}, []member{subscriber(chrome), subscriber(safari), publisher(chrome)}, "h264"},
		"one cannot":                         {[]string{"h264"}, []member{subscriber(chrome), subscriber(old), publisher(chrome)}, "vp8"},
		"the second wish":                    {[]string{"vp9", "h264"}, []member{subscriber(safari), publisher(chrome)}, "h264"},
		"one cannot take VP8":                {[]string{"h264"}, []member{subscriber(hardware), publisher(chrome)}, "h264"},
		"nothing is common":                  {[]string{"h264"}, []member{subscriber(hardware), subscriber(old), publisher(chrome)}, "vp8"},
		"another publisher cannot send it":   {[]string{"vp9", "h264"}, []member{publisher(safari), publisher(chrome)}, "h264"},
		"a publisher alone is no subscriber": {[]string{"h264"}, []member{publisher(old), subscriber(hardware), publisher(chrome)}, "h264"},
		"cannot change later":                {[]string{"h264"}, []member{subscriber(chrome), {sendonly, chrome, true}}, "vp8"},
		"cannot change, and has no VP8":      {[]string{"h264"}, []member{{sendonly, hardware, true}}, "h264"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, core.MediaOptions{Video: test.room})
			for i, m := range test.members {
				owner := core.UserID(fmt.Sprint("member ", i))
				leg := s.leg(owner, "somebody")
				if m.way == sendonly {
					leg = s.leg(owner, owner)
					leg.Renews = !m.lasting
				}
				s.room.Accept(leg, core.Ref{}, videoOffer(m.way, m.formats...))
				a := s.accepted(leg)
				if m.way == recvonly {
					continue
				}
				if got := payloads(a.Answer); a.Err != nil || i == len(test.members)-1 && !slices.Equal(got, []string{test.want}) {
					t.Errorf("%s gets %q, %v", owner, got, a.Err)
				}
			}
		})
	}
}

// TestSubscriberAnswers has a room's subscribers told of all that may come.
func TestSubscriberAnswers(t *testing.T) {
	s := newStage(t, core.MediaOptions{Video: []string{"h264", "vp9"}})
	answer := s.answer("ben", chromium(t, "subscribe"))
	if got := payloads(answer); !slices.Equal(got, []string{"opus", "h264", "vp9", "vp8"}) {
		t.Errorf("formats %q", got)
	}
	if got := len(lines(answer, "a=fmtp:")); got != 1+2+3 { // of Opus, of H.264 and VP9, and each one's RTX
		t.Errorf("%d lines of parameters in %s", got, answer)
	}
	s.room.Offer(s.leg("ann", "cid"), core.Ref{}, true, true)
	offer := s.await("Ready", func(e core.MediaEvent) bool { _, ok := e.(core.Ready); return ok }).(core.Ready).Offer
	if got := payloads(offer); !slices.Equal(got, []string{"opus", "h264", "vp9", "vp8"}) {
		t.Errorf("we offer %q", got)
	}
}

// TestNobodyLeft forgets what members could not take, once nobody is left.
func TestNobodyLeft(t *testing.T) {
	s := newStage(t, core.MediaOptions{Video: []string{"h264"}})
	down := s.leg("old", "ann")
	s.room.Accept(down, core.Ref{}, videoOffer(recvonly, offersVP8))
	s.accepted(down)
	for _, want := range []string{"vp8", "h264"} {
		up := s.leg("ann", "ann")
		up.Renews = true
		s.room.Accept(up, core.Ref{}, videoOffer(sendonly, offersVP8, offersH264))
		if got := payloads(s.accepted(up).Answer); !slices.Equal(got, []string{want}) {
			t.Errorf("formats %q, want %s", got, want)
		}
		s.room.Drop(down)
		s.room.Drop(up)
	}
}
