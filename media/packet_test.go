package media

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// TestStream sends packets of several publishers, lost, late, twice and around the
// turn of the numbers, through a lane with subscribers who come at different times,
// and checks what must hold for each of them.
func TestStream(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		l := newFeed().lane(video)
		subs := []*subscriber{newSubscriber(t, l, seed)}
		now := time.Unix(0, 0)
		for range 3 {
			src := &track{lane: l, kind: video, format: vp8, leg: &leg{}, ring: newRing(64), rate: -1}
			l.publish(src)
			seq, stamp := uint16(r.Uint32()), r.Uint32()
			if r.IntN(2) == 0 {
				seq = 65500
			}
			for _, i := range spoiled(r, 300) {
				now = now.Add(time.Duration(r.IntN(20)) * time.Millisecond)
				if r.IntN(100) == 0 {
					subs = append(subs, newSubscriber(t, l, seed))
				}
				p := packet{stamp: stamp + uint32(i)*1800, key: i%50 == 0, payload: []byte{byte(i)}}
				p.index = src.ring.index(seq + uint16(i))
				if _, fresh := src.ring.put(p, nil); !fresh {
					continue
				}
				copies, _ := l.plan(src, []packet{p}, now, nil)
				for _, c := range copies {
					subs[c.outlet.ssrc].get(src, p, c)
				}
			}
			for _, s := range subs {
				s.nack()
			}
		}
	}
}

// spoiled gives the numbers up to n, some left out, some late, some twice.
func spoiled(r *rand.Rand, n int) []int {
	var out, late []int
	for i := range n {
		switch r.IntN(12) {
		case 0:
		case 1:
			late = append(late, i)
		case 2:
			out = append(out, i, i)
		default:
			out = append(out, i)
		}
		if r.IntN(4) == 0 {
			out, late = append(out, late...), nil
		}
	}
	return out
}

// anyVP8 is what a subscriber without retransmission has negotiated.
var anyVP8 = codecs{vp8: {payload: 96}}

// subscriber checks what comes to one outlet.
type subscriber struct {
	t      *testing.T
	seed   uint64
	outlet *outlet
	sent   map[uint16]sent // by our number; tests send fewer than 2¹⁶
	last   *sent           // the furthest
}

type sent struct {
	source     *track
	index      int64
	seq        uint16
	stamp, own uint32
}

func newSubscriber(t *testing.T, l *lane, seed uint64) *subscriber {
	o := &outlet{lane: l, ssrc: uint32(len(l.outlets)), codecs: anyVP8}
	l.outlets = append(l.outlets, o)
	l.assignAll()
	return &subscriber{t: t, seed: seed, outlet: o, sent: make(map[uint16]sent)}
}

func (s *subscriber) get(source *track, p packet, c copyTo) {
	s.t.Helper()
	got := sent{source, p.index, c.seq, c.stamp, p.stamp}
	if old, ok := s.sent[c.seq]; ok {
		s.t.Fatalf("seed %d: number %d is used for %+v and %+v", s.seed, c.seq, old, got)
	}
	s.sent[c.seq] = got
	switch {
	case s.last == nil || s.last.source != source:
		if !p.key {
			s.t.Fatalf("seed %d: begins without a key frame", s.seed)
		}
		if s.last != nil && (c.seq != s.last.seq+1 || int32(c.stamp-s.last.stamp) <= 0) {
			s.t.Fatalf("seed %d: a new publisher begins with %+v after %+v", s.seed, got, *s.last)
		}
	case int16(c.seq-s.last.seq) != int16(p.index-s.last.index):
		s.t.Fatalf("seed %d: gaps differ: %+v after %+v", s.seed, got, *s.last)
	case c.stamp-s.last.stamp != p.stamp-s.last.own:
		s.t.Fatalf("seed %d: times differ: %+v after %+v", s.seed, got, *s.last)
	}
	if s.last == nil || int16(c.seq-s.last.seq) > 0 {
		s.last = &got
	}
}

// nack asks for all numbers around the last one: a packet that is found is the one that was
// sent so, and the publisher's latest are all found.
func (s *subscriber) nack() {
	s.t.Helper()
	scratch := make([]byte, maxPacket)
	if s.last == nil {
		return
	}
	found := 0
	for seq := s.last.seq - 1000; seq != s.last.seq+1000; seq++ {
		p, ok := s.outlet.lane.sent(s.outlet, seq, scratch)
		if !ok {
			continue
		}
		if _, ok := s.sent[seq]; !ok { // came before the key frame that it follows, and is sent only now
			s.sent[seq] = sent{s.last.source, p.index, seq, p.stamp, p.stamp - s.outlet.numbers.shift}
		}
		if found++; s.sent[seq].index != p.index || s.sent[seq].stamp != p.stamp || s.sent[seq].source != s.outlet.numbers.source {
			s.t.Fatalf("seed %d: number %d was %+v and is now %+v", s.seed, seq, s.sent[seq], p)
		}
	}
	size := int64(len(s.last.source.ring.slots))
	for seq, sent := range s.sent {
		if sent.source == s.last.source && sent.index > s.last.source.ring.high-size {
			if found--; found < 0 {
				s.t.Fatalf("seed %d: number %d is not found", s.seed, seq)
			}
		}
	}
}

func TestLostCounted(t *testing.T) {
	r := newRing(8)
	for _, seq := range []uint16{65530, 65531, 65533, 65535, 65532, 2, 3} { // 65534, 0 and 1 are missing
		r.put(packet{index: r.index(seq)}, nil)
	}
	if r.lost != 0 {
		t.Errorf("%d counted too early", r.lost)
	}
	for seq := range uint16(10) {
		r.put(packet{index: r.index(4 + seq)}, nil)
	}
	if r.lost != 3 {
		t.Errorf("%d lost, want 3", r.lost)
	}
	r.put(packet{index: r.index(20000)}, nil) // begins anew
	if r.lost != 3 {
		t.Errorf("%d lost after a jump", r.lost)
	}
}

func TestResends(t *testing.T) {
	now := time.Unix(0, 0)
	var r resends
	for i := range resendTries + 2 {
		if ok := r.allow(7, 1000, 0, now); ok != (i < resendTries) {
			t.Errorf("copy %d allowed: %v", i, ok)
		}
	}
	r = resends{}
	n := 0
	for seq := uint16(1); r.allow(seq, 1000, 0, now); seq++ {
		n++
	}
	if want := resendBurst / 1000; n != want {
		t.Errorf("%d packets at once, want %d", n, want)
	}
	r.tokens = 0
	if r.allow(1, 1000, 4000, now) || !r.allow(1, 1000, 5000, now) {
		t.Error("a share of what is sent is not what is earned")
	}
	if r.allow(2, 1000, 5000, now) || !r.allow(2, 1000, 5000, now.Add(time.Second)) {
		t.Error("time earns nothing")
	}
	for loss, want := range map[float64]int{0: 2000, 0.1: 2000, 0.3: 10000 * 3 / 7 * 5 / 4, 0.9: 6000} {
		r = resends{}
		r.allow(1, 0, 0, now)
		r.tokens, r.loss = 0, loss
		if r.allow(2, want+100, 10000, now) || !r.allow(3, want-100, 10000, now) {
			t.Errorf("with a loss of %v, what 10000 bytes earn is not about %d", loss, want)
		}
	}
}

func FuzzPacket(f *testing.F) {
	for _, p := range []rtp.Packet{
		{Header: rtp.Header{Version: 2, SequenceNumber: 1}, Payload: payload('a', true, 1)},
		{Header: rtp.Header{Version: 2, Marker: true, CSRC: []uint32{1, 2}}, Payload: []byte{0x90, 0xf0, 0x81, 2, 3, 4, 0}},
		{Header: rtp.Header{Version: 2, Padding: true, PaddingSize: 3}, Payload: []byte{0x10, 0}},
	} {
		b, err := p.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h rtp.Header
		if _, err := h.Unmarshal(b); err != nil {
			return
		}
		payload, ok := unpad(b[headerSize(b):], h.Padding)
		if !ok {
			return
		}
		if len(payload) > len(b)-12 {
			t.Fatalf("a payload of %d bytes in %d", len(payload), len(b))
		}
		if key, area := vp8Keyframe(payload); key && len(payload) < 2 || !key && area > 0 {
			t.Fatal("a key frame without a frame")
		}
	})
}

func TestVP8Keyframe(t *testing.T) {
	for name, test := range map[string]struct {
		payload []byte
		want    bool
	}{
		"empty":               {nil, false},
		"descriptor only":     {[]byte{0x10}, false},
		"key":                 {[]byte{0x10, 0x00}, true},
		"delta":               {[]byte{0x10, 0x01}, false},
		"not the start":       {[]byte{0x00, 0x00}, false},
		"second partition":    {[]byte{0x11, 0x00}, false},
		"extension cut":       {[]byte{0x90}, false},
		"picture id cut":      {[]byte{0x90, 0x80}, false},
		"short picture id":    {[]byte{0x90, 0x80, 0x01, 0x00}, true},
		"long picture id":     {[]byte{0x90, 0x80, 0x81, 0x01, 0x00}, true},
		"all extensions":      {[]byte{0x90, 0xf0, 0x81, 0x01, 0x02, 0x03, 0x00}, true},
		"all, and delta":      {[]byte{0x90, 0xe0, 0x81, 0x01, 0x02, 0x03, 0x01}, false},
		"all but the payload": {[]byte{0x90, 0xf0, 0x81, 0x01, 0x02, 0x03}, false},
	} {
		if got, _ := vp8Keyframe(test.payload); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestBuffersThatWait has packets come round the ring before one of them was forwarded:
// its bytes are its own.
func TestBuffersThatWait(t *testing.T) {
	r := newRing(4)
	first := append(make([]byte, 0, 8), "first"...)
	spare, _ := r.put(packet{index: 1<<16 + 1, payload: first}, first)
	again, _ := r.put(packet{index: 1<<16 + 5}, spare)
	if copy(again[:5], "other"); string(first) != "first" {
		t.Errorf("a packet that waits reads %q", first)
	}
	r.forwarded(1<<16 + 5)
	if back, _ := r.put(packet{index: 1<<16 + 9}, again); &back[:1][0] != &spare[:1][0] {
		t.Error("a buffer that is free is not used again")
	}
}

// TestPictureIDs finds the numbers of pictures in the descriptors of both codecs, and
// changes them where they stand.
func TestPictureIDs(t *testing.T) {
	for name, test := range map[string]struct {
		format  format
		payload []byte
		want    pictureIDs
		shifted []byte // by 3 and 2
	}{
		"vp8, all":          {vp8, []byte{0x90, 0xf0, 0x81, 2, 7, 4, 0}, pictureIDs{0x102, 7, 2, 4, true}, []byte{0x90, 0xf0, 0x81, 5, 9, 4, 0}},
		"vp8, turning over": {vp8, []byte{0x90, 0xe0, 0xff, 0xfe, 255, 4, 0}, pictureIDs{0x7ffe, 255, 2, 4, true}, []byte{0x90, 0xe0, 0x80, 1, 1, 4, 0}},
		"vp8, narrow":       {vp8, []byte{0x90, 0x80, 0x7f, 0}, pictureIDs{picture: 0x7f, pictureAt: 2}, []byte{0x90, 0x80, 2, 0}},
		"vp8, layers only":  {vp8, []byte{0x90, 0x40, 5, 0}, pictureIDs{base: 5, baseAt: 2}, []byte{0x90, 0x40, 7, 0}},
		"vp8, neither":      {vp8, []byte{0x90, 0x20, 5, 0}, pictureIDs{}, []byte{0x90, 0x20, 5, 0}},
		"vp8, plain":        {vp8, []byte{0x10, 0x80, 5, 0}, pictureIDs{}, []byte{0x10, 0x80, 5, 0}},
		"vp8, cut off":      {vp8, []byte{0x90, 0xe0, 0x81}, pictureIDs{}, []byte{0x90, 0xe0, 0x81}},
		"vp9, all":          {vp9, []byte{0xa0, 0x81, 2, 0x10, 7, 0}, pictureIDs{0x102, 7, 1, 4, true}, []byte{0xa0, 0x81, 5, 0x10, 9, 0}},
		"vp9, flexible":     {vp9, []byte{0xb0, 0x81, 2, 0x10, 7, 0}, pictureIDs{picture: 0x102, pictureAt: 1, wide: true}, []byte{0xb0, 0x81, 5, 0x10, 7, 0}},
		"vp9, no layers":    {vp9, []byte{0x80, 0x11, 7, 0}, pictureIDs{picture: 0x11, pictureAt: 1}, []byte{0x80, 0x14, 7, 0}},
		"h264":              {h264, []byte{0x90, 0xf0, 0x81, 2, 7, 4, 0}, pictureIDs{}, []byte{0x90, 0xf0, 0x81, 2, 7, 4, 0}},
		"nothing":           {vp8, nil, pictureIDs{}, nil},
	} {
		ids := test.format.pictureIDs(test.payload)
		if ids != test.want {
			t.Errorf("%s: %+v, want %+v", name, ids, test.want)
		}
		got := slices.Clone(test.payload)
		if ids.shift(got, pictureShift{3, 2}); !slices.Equal(got, test.shifted) {
			t.Errorf("%s: becomes %v, want %v", name, got, test.shifted)
		}
		if len(got) > 0 {
			last := test.format.pictureIDs(got)
			if next := ids.plus(ids.after(last)); ids.pictureAt != 0 && next.picture != last.plus(pictureShift{1, 1}).picture {
				t.Errorf("%s: %+v follows %+v", name, next, last)
			}
		}
	}
}

// FuzzPictureIDs: no payload has numbers outside itself, and what is changed is found.
func FuzzPictureIDs(f *testing.F) {
	f.Add([]byte{0x90, 0xf0, 0x81, 2, 7, 4, 0}, uint16(3), uint8(2))
	f.Add([]byte{0xa0, 0x81, 2, 0x10, 7, 0}, uint16(0x7fff), uint8(255))
	f.Fuzz(func(t *testing.T, payload []byte, picture uint16, base uint8) {
		for _, format := range []format{vp8, vp9, h264, opus} {
			b := slices.Clone(payload)
			ids := format.pictureIDs(b)
			ids.shift(b, pictureShift{picture, base})
			got, want := format.pictureIDs(b), ids.plus(pictureShift{picture, base})
			if ids.pictureAt == 0 {
				want.picture = 0
			}
			if ids.baseAt == 0 {
				want.base = 0
			}
			if got != want {
				t.Errorf("%v: %+v becomes %+v, want %+v", payload, ids, got, want)
			}
		}
	})
}
