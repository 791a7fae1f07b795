package media

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/sdp/v3"

	"confgate/core"
)

// The formats of rooms without options, and with all of them.
const (
	plainRoom = formatSet(1<<opus | 1<<vp8)
	openRoom  = plainRoom | 1<<red | 1<<h264 | 1<<vp9
)

// sdp makes a description from its sections.
func sdpOf(sections ...string) string {
	return "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n" +
		"a=fingerprint:sha-256 " + strings.Repeat("AB:", 31) + "AB\r\n" + strings.Join(sections, "")
}

const (
	opusSection = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=setup:actpass\r\na=rtcp-mux\r\n" +
		"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=rtpmap:111 opus/48000/2\r\n"
	vp8Section = "m=video 9 UDP/TLS/RTP/SAVPF 100 101\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=setup:actpass\r\na=rtcp-mux\r\n" +
		"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=rtpmap:100 H264/90000\r\na=rtpmap:101 VP8/90000\r\n"
	h264Section = "m=video 9 UDP/TLS/RTP/SAVPF 100\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" +
		"a=rtpmap:100 H264/90000\r\n"
	dataSection = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n"
	sendonly    = "a=sendonly\r\n"
	recvonly    = "a=recvonly\r\n"
)

func TestOffersRefused(t *testing.T) {
	for name, test := range map[string]struct {
		offer    string
		up, down error
	}{
		"empty":           {"", errSDPIdentity, errSDPIdentity},
		"nonsense":        {"hello", errSDPForm, errSDPForm},
		"too large":       {sdpOf(opusSection) + strings.Repeat("x", maxSDP), errSDPSize, errSDPSize},
		"4,000 m-lines":   {sdpOf(strings.Repeat("m=audio 9 RTP/AVP 0\r\n", 4000)), errSDPSections, errSDPSections},
		"300 lines":       {sdpOf(opusSection, strings.Repeat("a=x\r\n", 300)), errSDPLines, errSDPLines},
		"no media":        {sdpOf("m=application 9 UDP/DTLS/SCTP 1\r\na=ice-ufrag:abcd\r\n"), errSDPEmpty, errSDPEmpty},
		"no codec":        {sdpOf(h264Section), errNoCodec, errNoCodec},
		"only sends":      {sdpOf(opusSection+sendonly, vp8Section+sendonly), nil, errNotTaking},
		"only receives":   {sdpOf(opusSection+recvonly, vp8Section+recvonly), errNotSending, nil},
		"both ways":       {sdpOf(opusSection, vp8Section), nil, nil},
		"inactive":        {sdpOf(opusSection + "a=inactive\r\n"), errNotSending, errNotTaking},
		"one can be used": {sdpOf(opusSection, h264Section), nil, nil},
		"with data":       {sdpOf(opusSection, vp8Section, dataSection), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := readUpOffer(test.offer, plainRoom); !errors.Is(err, test.up) {
				t.Errorf("publishing: %v, want %v", err, test.up)
			}
			if _, err := readDownOffer(test.offer, plainRoom); !errors.Is(err, test.down) {
				t.Errorf("subscribing: %v, want %v", err, test.down)
			}
		})
	}
}

func TestOfferRead(t *testing.T) {
	d, err := readDownOffer(sdpOf(opusSection+"b=AS:50\r\n", vp8Section+sendonly+"a=simulcast:send f\r\na=rid:f send\r\na=imageattr:* recv [x=[16:400],y=[16:225]]\r\n", dataSection), plainRoom)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.sections) != 3 || d.find(audio, ways{sdp.DirectionSendRecv}) == nil || d.find(video, downWays) != nil {
		t.Errorf("%+v", d.sections)
	}
	if s := d.sections[1]; !slices.Equal(s.layers, []string{"f"}) || s.codecs[vp8].payload != 101 || s.largest != 400*225 || d.sections[0].limit != 50_000 {
		t.Errorf("%+v", d.sections[1])
	}
}

// lines gives those lines of a description that begin so, without that.
func lines(text, begin string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, begin); ok {
			all = append(all, strings.TrimSpace(rest))
		}
	}
	return all
}

// TestAnswers answers offers as browsers make them.
func TestAnswers(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, test := range map[string]struct {
		offer  string
		user   core.UserID // whose stream; the offerer is ann
		codecs []string
		ways   []string
		extmap []string
	}{
		"chromium publishes": {
			read("chromium-publish.sdp"), "ann", []string{"111 opus/48000/2", "96 VP8/90000", "97 rtx/90000"}, []string{"recvonly", "recvonly"},
			[]string{"1 " + sdp.AudioLevelURI, "10 " + sdp.SDESRTPStreamIDURI, "11 " + sdesRepairedRID, "3 " + sdp.TransportCCURI, "3 " + sdp.TransportCCURI, "4 " + sdp.SDESMidURI, "4 " + sdp.SDESMidURI},
		},
		"chromium subscribes": {
			read("chromium-subscribe.sdp"), "ben", []string{"111 opus/48000/2", "96 VP8/90000", "97 rtx/90000"}, []string{"sendonly", "sendonly"},
			[]string{"2 " + sdp.ABSSendTimeURI, "2 " + sdp.ABSSendTimeURI},
		},
		"other payload types": {
			sdpOf(opusSection, vp8Section), "ben", []string{"111 opus/48000/2", "101 VP8/90000"}, []string{"sendonly", "sendonly"}, nil,
		},
		"no VP8": {
			sdpOf(opusSection, h264Section), "ben", []string{"111 opus/48000/2"}, []string{"inactive", "sendonly"}, nil,
		},
		"data too": {
			sdpOf(opusSection, vp8Section, dataSection), "ann", []string{"111 opus/48000/2", "101 VP8/90000"}, []string{"inactive", "recvonly", "recvonly"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, core.MediaOptions{})
			leg := s.leg("ann", test.user)
			s.room.Accept(leg, core.Ref{}, test.offer)
			a := s.accepted(leg)
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			var ways []string
			for _, way := range []string{"sendrecv", "sendonly", "recvonly", "inactive"} {
				ways = append(ways, slices.Repeat([]string{way}, len(lines(a.Answer, "a="+way)))...)
			}
			slices.Sort(ways)
			if got := lines(a.Answer, "a=rtpmap:"); !slices.Equal(got, test.codecs) {
				t.Errorf("codecs %q, want %q", got, test.codecs)
			}
			if !slices.Equal(ways, test.ways) {
				t.Errorf("directions %q, want %q", ways, test.ways)
			}
			got := lines(a.Answer, "a=extmap:")
			if slices.Sort(got); !slices.Equal(got, test.extmap) {
				t.Errorf("header extensions %q, want %q", got, test.extmap)
			}
			streams := map[string]bool{}
			for _, id := range lines(a.Answer, "a=msid:") {
				stream, _, _ := strings.Cut(id, " ")
				streams[stream] = true
			}
			if want := min(1, strings.Count(strings.Join(ways, " "), "sendonly")); len(streams) != want {
				t.Errorf("streams %v, want %d", streams, want)
			}
			if n := len(lines(a.Answer, "m=")); n != len(lines(test.offer, "m=")) {
				t.Errorf("%d m-lines", n)
			}
		})
	}
}

// TestOneStreamAKind offers streams of retransmission beside the others.
func TestOneStreamAKind(t *testing.T) {
	b, err := os.ReadFile("testdata/chromium-publish.sdp")
	if err != nil {
		t.Fatal(err)
	}
	d, err := readUpOffer(string(b), plainRoom)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range d.sections {
		if len(s.streams) != 1 {
			t.Errorf("%v: SSRCs %v", s.kind, s.streams)
		}
	}
}

// TestBadOfferEndsPredecessor asks for a connection with what is no offer.
func TestBadOfferEndsPredecessor(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	cam.call(s.leg("ann", "ann"))
	bad := s.leg("ann", "ann")
	s.room.Accept(bad, core.Ref{ID: "7"}, "hello")
	if a := s.accepted(bad); !errors.Is(a.Err, errSDPForm) || a.Ref.ID != "7" {
		t.Errorf("%+v", a)
	}
	worse := s.leg("ann", "ann")
	s.room.Accept(worse, core.Ref{}, sdpOf(strings.ReplaceAll(opusSection, "a=mid:0\r\n", ""), vp8Section))
	if a := s.accepted(worse); a.Err == nil {
		t.Error("an offer without mid is accepted")
	}
	s.room.Answer(worse, core.Ref{ID: "8"}, "")
	s.awaitEqual(core.Settled{Leg: worse, Ref: core.Ref{ID: "8"}, Err: errNoLeg})
}

func BenchmarkRefuseManySections(b *testing.B) {
	offer := sdpOf(strings.Repeat("m=audio 9 RTP/AVP 0\r\n", 4000))
	for b.Loop() {
		if _, err := readUpOffer(offer, plainRoom); err == nil {
			b.Fatal("taken")
		}
	}
}

// FuzzOffer finds offers that our check lets through and that are not fit for Pion,
// or upset it.
func FuzzOffer(f *testing.F) {
	for _, name := range []string{"chromium-publish.sdp", "chromium-subscribe.sdp"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b), name == "chromium-publish.sdp")
	}
	s := newStage(f, core.MediaOptions{})
	n := 0
	f.Fuzz(func(t *testing.T, offer string, up bool) {
		read, user := readDownOffer, core.UserID("ben")
		if up {
			read, user = readUpOffer, "ann"
		}
		d, err := read(offer, openRoom)
		if err != nil {
			return
		}
		if len(d.sections) > maxSections {
			t.Fatalf("%d sections", len(d.sections))
		}
		n++
		told := make(chan core.MediaEvent, 16)
		room := s.plane.Open(core.RoomID(fmt.Sprint(n)), core.MediaOptions{Video: VideoCodecs()}, func(e core.MediaEvent) { told <- e })
		defer room.Close()
		room.Accept(core.Leg{Owner: "ann", Stream: core.Stream{User: user}, N: 1}, core.Ref{}, offer)
		select {
		case e := <-told:
			a, ok := e.(core.Accepted)
			if !ok || (a.Err == nil) != (a.Answer != "") || errors.Is(a.Err, errPanic) {
				t.Fatalf("%+v", e)
			}
		case <-time.After(deadline):
			t.Fatal("no answer")
		}
	})
}
