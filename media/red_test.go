package media

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/srtp/v3"

	"confgate/core"
)

// redOf makes a RED payload of blocks, the primary last.
func redOf(inner uint8, blocks ...string) []byte {
	var heads, bodies []byte
	for i, b := range blocks {
		if i == len(blocks)-1 {
			heads = append(heads, inner)
		} else {
			older := uint32(len(blocks)-1-i) * 960
			heads = append(heads, 0x80|inner, byte(older>>6), byte(older<<2)|byte(len(b)>>8), byte(len(b)))
		}
		bodies = append(bodies, b...)
	}
	return append(heads, bodies...)
}

func TestRED(t *testing.T) {
	many := strings.Split(strings.Repeat("x", maxBlocks+1), "")
	for name, test := range map[string]struct {
		payload []byte
		want    string // the primary block; empty: refused
	}{
		"primary alone":     {redOf(111, "now"), "now"},
		"one older":         {redOf(111, "before", "now"), "now"},
		"two older":         {redOf(111, "long ago", "before", "now"), "now"},
		"a long one":        {redOf(111, strings.Repeat("b", 1000), "now"), "now"},
		"an empty one":      {redOf(111, "", "now"), "now"},
		"empty":             {nil, ""},
		"of something else": {redOf(63, "now"), ""},
		"an older of something else": {
			append(append([]byte{0x80 | 9, 0, 0, 1}, 111), "xnow"...), "",
		},
		"header cut":         {redOf(111, "before", "now")[:3], ""},
		"last header cut":    {redOf(111, "before", "now")[:4], ""},
		"block cut":          {redOf(111, "before", "now")[:8], ""},
		"no primary":         {redOf(111, "before", ""), ""},
		"more than is usual": {redOf(111, many...), ""},
	} {
		primary, ok := redPrimary(test.payload, 111)
		if ok != (test.want != "") || ok && string(test.payload[primary:]) != test.want {
			t.Errorf("%s: %d, %v", name, primary, ok)
		}
	}
	b := redOf(111, "before", "now")
	if renumberRED(b, 109); !bytes.Equal(b, redOf(109, "before", "now")) {
		t.Errorf("renumbered to %x", b)
	}
}

func FuzzRED(f *testing.F) {
	f.Add(redOf(111, "now"))
	f.Add(redOf(111, "long ago", "before", "now"))
	f.Add([]byte{0x80 | 111, 0xff, 0xff, 0xff, 111, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		primary, ok := redPrimary(b, 111)
		if !ok {
			return
		}
		if primary < 1 || primary >= len(b) {
			t.Fatalf("primary block at %d of %d", primary, len(b))
		}
		renumberRED(b, 109)
		if again, ok := redPrimary(b, 109); !ok || again != primary {
			t.Fatalf("renumbered, the primary block is at %d, %v", again, ok)
		}
	})
}

func TestREDNegotiated(t *testing.T) {
	for name, test := range map[string]struct {
		on    bool
		offer string
		user  core.UserID
		want  string // payload types of the answer's audio
	}{
		"off":       {false, "publish", "ann", "111"},
		"publish":   {true, "publish", "ann", "63 111"},
		"subscribe": {true, "subscribe", "ben", "111 63"},
	} {
		t.Run(name, func(t *testing.T) {
			answer := newStage(t, core.MediaOptions{OpusRED: test.on}).answer(test.user, chromium(t, test.offer))
			if got := lines(answer, "m=audio 9 UDP/TLS/RTP/SAVPF "); len(got) != 1 || got[0] != test.want {
				t.Errorf("payload types %q, want %q", got, test.want)
			}
			if strings.Contains(answer, "a=fmtp:63 111/111\r\n") != test.on {
				t.Errorf("answer %s", answer)
			}
		})
	}
	for name, parameters := range map[string]string{"around another": "9/9", "around nothing": "", "around several": "111/9", "around one block": "111"} {
		offer := sdpOf(strings.Replace(opusSection, "SAVPF 111\r\n", "SAVPF 111 63\r\n", 1) + fmt.Sprintf("a=rtpmap:63 red/48000/2\r\na=fmtp:63 %s\r\n", parameters))
		if d, err := readUpOffer(offer, openRoom); err != nil || d.sections[0].codecs.set() != setOf(opus) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

// TestREDForwarded sends RED and plain packets: who has RED gets them as they are, but
// for the payload types, and all others get the primary block.
func TestREDForwarded(t *testing.T) {
	s := newStage(t, core.MediaOptions{OpusRED: true})
	ann := s.speaker()
	var hearers []*hearer
	for _, has := range []codecs{
		{opus: {payload: 111}, red: {payload: 63}}, {opus: {payload: 109}, red: {payload: 121}}, {opus: {payload: 100}},
	} {
		hearers = append(hearers, s.hearer(has))
	}
	for seq, sent := range []struct {
		payload uint8
		body    []byte
		as      []rtp.Packet // by each of the hearers
	}{
		{111, []byte("one"), heard(111, "one", 109, "one", 100, "one")},
		{63, redOf(111, "one", "two"), heard(63, string(redOf(111, "one", "two")), 121, string(redOf(109, "one", "two")), 100, "two")},
		{63, redOf(111, "one", "two")[:7], nil}, // makes no sense
		{63, redOf(111, "three"), heard(63, string(redOf(111, "three")), 121, string(redOf(109, "three")), 100, "three")},
	} {
		ann.say(sent.payload, sent.body)
		for i, want := range sent.as {
			if got := hearers[i].next(); got.PayloadType != want.PayloadType || !bytes.Equal(got.Payload, want.Payload) {
				t.Errorf("packet %d comes to hearer %d as %d %q, want %d %q", seq, i, got.PayloadType, got.Payload, want.PayloadType, want.Payload)
			}
		}
	}
	if n := s.plane.Stats().Refused; n != 1 {
		t.Errorf("%d packets refused", n)
	}
	if o := hearers[2].leg.outlets[0]; o.octets.Load() != uint64(len("onetwothree")) {
		t.Errorf("%d octets without RED", o.octets.Load())
	}
}

// speaker is ann, who publishes her voice, without a handshake.
type speaker struct {
	t    *testing.T
	leg  *leg
	keys *srtp.Context
	w    *worker
	seq  uint16
}

func (s *stage) speaker() *speaker {
	t := s.t.(*testing.T)
	ours, theirs := agreed(t)
	a := &speaker{t: t, leg: s.idle("ann", "ann"), keys: theirs, w: newWorker(s.plane, newBatch(0))}
	a.leg.link.keys.Store(ours)
	a.leg.reception.negotiated([]part{{
		kind: audio, mid: "0", way: sdp.DirectionRecvOnly, formats: []format{red, opus},
		codecs: codecs{opus: {payload: 111}, red: {payload: 63}}, extensions: map[string]uint8{sdp.AudioLevelURI: 1},
	}}, []section{{}})
	return a
}

// say sends a packet, which is loud.
func (a *speaker) say(payload uint8, body []byte) {
	a.t.Helper()
	a.seq++
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: payload, SSRC: 7, SequenceNumber: a.seq}, Payload: body}
	if err := p.SetExtension(1, []byte{0x80 | 30}); err != nil {
		a.t.Fatal(err)
	}
	plain, err := p.Marshal()
	if err != nil {
		a.t.Fatal(err)
	}
	sealed, err := a.keys.EncryptRTP(nil, plain, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	a.w.now = time.Now()
	a.w.media(a.leg.link, sealed)
	a.w.flush()
}

// TestSpeakingInRED: who speaks is heard to do so by RED as well.
func TestSpeakingInRED(t *testing.T) {
	s := newStage(t, core.MediaOptions{OpusRED: true, Speaking: true})
	ann := s.speaker()
	for range speechOnset {
		ann.say(63, redOf(111, "before", "now"))
	}
	s.awaitEqual(core.Talked{User: "ann", On: true})
}

// heard is how packets come: payload types and payloads in turn.
func heard(all ...any) []rtp.Packet {
	var packets []rtp.Packet
	for i := 0; i < len(all); i += 2 {
		packets = append(packets, rtp.Packet{Header: rtp.Header{PayloadType: uint8(all[i].(int))}, Payload: []byte(all[i+1].(string))})
	}
	return packets
}

// hearer is a subscriber to ann's voice, without a handshake.
type hearer struct {
	t    *testing.T
	leg  *leg
	keys *srtp.Context
	at   *net.UDPConn
}

func (s *stage) hearer(has codecs) *hearer {
	t := s.t.(*testing.T)
	ours, theirs := agreed(t)
	h := &hearer{t, s.idle(core.UserID(fmt.Sprint(s.n)), "ann"), theirs, s.sink()}
	h.leg.outlet(audio).agree(has, nil)
	h.leg.link.keys.Store(ours)
	h.leg.link.route.Store(&path{host: s.plane.port.hosts[0], to: netip.MustParseAddrPort(h.at.LocalAddr().String())})
	h.leg.attach()
	return h
}

func (h *hearer) next() (p rtp.Packet) {
	h.t.Helper()
	b := make([]byte, maxPacket)
	n, err := h.at.Read(b)
	if err != nil {
		h.t.Fatal(err)
	}
	plain, err := h.keys.DecryptRTP(nil, b[:n], nil)
	if err == nil {
		err = p.Unmarshal(plain)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}
