package media

import (
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"confgate/core"
)

// chameleon is a picture that is sent in whatever format the answer says, as browsers do.
type chameleon struct {
	mu     sync.Mutex
	writer webrtc.TrackLocalWriter // guarded by mu
	ssrc   webrtc.SSRC             // guarded by mu
	codec  webrtc.RTPCodecParameters
	bound  chan struct{}
}

func (l *chameleon) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writer, l.ssrc, l.codec = c.WriteStream(), c.SSRC(), c.CodecParameters()[0]
	close(l.bound)
	return l.codec, nil
}

func (*chameleon) Unbind(webrtc.TrackLocalContext) error { return nil }
func (*chameleon) ID() string                            { return "video" }
func (*chameleon) RID() string                           { return "" }
func (*chameleon) StreamID() string                      { return "cam" }
func (*chameleon) Kind() webrtc.RTPCodecType             { return webrtc.RTPCodecTypeVideo }

func (l *chameleon) format() format {
	for f := range formats {
		if strings.EqualFold(l.codec.MimeType, "video/"+f.codecName()) {
			return f
		}
	}
	return noFormat
}

// picturePayload has the count of a packet after two bytes of its format.
func picturePayload(f format, key bool, mark byte, count uint32) []byte {
	begins := [formats]struct{ delta, key [2]byte }{
		vp8: {[2]byte{0x10, 1}, [2]byte{0x10, 0}}, vp9: {[2]byte{0x48, 0x86}, [2]byte{0x08, 0x82}}, h264: {[2]byte{0x41, 0x9a}, [2]byte{0x65, 0x88}},
	}
	begin := begins[f].delta
	if key {
		begin = begins[f].key
	}
	return binary.BigEndian.AppendUint32(append(begin[:], mark), count)
}

// film makes a client that publishes a picture as leg, until the test ends or it is
// stopped.
func (s *stage) film(leg core.Leg, mark byte) (f format, stop func()) {
	s.t.Helper()
	c, l := s.client(), &chameleon{bound: make(chan struct{})}
	tr, err := c.AddTransceiverFromTrack(l, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		s.t.Fatal(err)
	}
	wanted := make(chan struct{}, 1<<12)
	var reports sync.WaitGroup
	reports.Go(func() {
		for {
			packets, _, err := tr.Sender().ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				if _, ok := p.(*rtcp.PictureLossIndication); ok {
					wanted <- struct{}{}
				}
			}
		}
	})
	c.call(leg)
	<-l.bound
	f = l.format()
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond) // paces the camera, like a real one
		defer tick.Stop()
		for i := uint32(0); ; i++ {
			key := false
			select {
			case <-quit:
				return
			case <-wanted:
				key = true
			case <-tick.C:
			}
			h := rtp.Header{Version: 2, Marker: true, SequenceNumber: uint16(i), Timestamp: i * 450, SSRC: uint32(l.ssrc), PayloadType: uint8(l.codec.PayloadType)}
			_, _ = l.writer.WriteRTP(&h, picturePayload(f, key, mark, i))
		}
	}()
	stop = sync.OnceFunc(func() {
		close(quit)
		<-done
		c.hangUp()
		reports.Wait()
	})
	s.t.Cleanup(stop)
	return f, stop
}

// watch makes a client that takes pictures in those formats; none: in all of them.
func (s *stage) watch(leg core.Leg, only ...format) *client {
	s.t.Helper()
	c := s.client()
	tr, err := c.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
	if err != nil {
		s.t.Fatal(err)
	}
	if len(only) > 0 {
		var kept []webrtc.RTPCodecParameters
		for _, p := range tr.Receiver().GetParameters().Codecs {
			for _, f := range only {
				if strings.EqualFold(p.MimeType, "video/"+f.codecName()) {
					kept = append(kept, p)
				}
			}
		}
		if err := tr.SetCodecPreferences(kept); err != nil {
			s.t.Fatal(err)
		}
	}
	c.call(leg)
	return c
}

// sees waits until a picture comes that begins with a key frame of a format, in a
// payload type that the client has for that, and goes on.
func (c *client) sees(f format, mark byte) {
	c.s.t.Helper()
	began := 0
	for began < 20 {
		p := c.next(video)
		got := noFormat
		for _, codec := range c.GetTransceivers()[0].Receiver().GetParameters().Codecs {
			for g := range formats {
				if uint8(codec.PayloadType) == p.PayloadType && strings.EqualFold(codec.MimeType, "video/"+g.codecName()) {
					got = g
				}
			}
		}
		if got == noFormat {
			c.s.t.Fatalf("payload type %d was not negotiated", p.PayloadType)
		}
		key, _ := got.beginsKeyframe(p.Payload)
		switch {
		case markOf(p.Packet) != mark || got != f: // still the picture before
		case began == 0 && !key && p.repaired: // out of turn
		case began == 0 && !key:
			c.s.t.Fatalf("the picture of %c begins without a key frame", mark)
		default:
			began++
		}
	}
}

// TestFormatsForwarded has a picture of each format come to who joins later and to
// who was there before.
func TestFormatsForwarded(t *testing.T) {
	for _, f := range []format{h264, vp9} {
		t.Run(f.codecName(), func(t *testing.T) {
			s := newStage(t, core.MediaOptions{Video: []string{f.codecName()}})
			early := s.watch(s.leg("ben", "ann"))
			up := s.leg("ann", "ann")
			up.Renews = true
			if got, _ := s.film(up, 'a'); got != f {
				t.Fatalf("publishes format %d", got)
			}
			early.sees(f, 'a')
			s.watch(s.leg("cid", "ann"), f).sees(f, 'a')
		})
	}
}

// TestLateSubscriberWithoutCodec: who comes late and has VP8 only gets a picture as
// soon as the publisher has published anew, and so does everybody else.
func TestLateSubscriberWithoutCodec(t *testing.T) {
	s := newStage(t, core.MediaOptions{Video: []string{"h264"}})
	first := s.leg("ann", "ann")
	first.Renews = true
	f, stop := s.film(first, 'a')
	if f != h264 {
		t.Fatalf("publishes format %d", f)
	}
	ben := s.watch(s.leg("ben", "ann"))
	ben.sees(h264, 'a')

	cid := s.watch(s.leg("cid", "ann"), vp8)
	s.awaitEqual(core.Failed{Leg: first, Cause: errCodec})
	stop()
	again := s.leg("ann", "ann")
	again.Renews = true
	if f, _ = s.film(again, 'b'); f != vp8 {
		t.Fatalf("publishes anew in format %d", f)
	}
	cid.sees(vp8, 'b')
	ben.sees(vp8, 'b')
	other := s.leg("dan", "dan")
	other.Renews = true
	if f, _ = s.film(other, 'd'); f != vp8 { // right at once
		t.Errorf("another publishes in format %d", f)
	}
}

// TestAnswerWithoutCodec: the same, where the server makes the offer.
func TestAnswerWithoutCodec(t *testing.T) {
	s := newStage(t, core.MediaOptions{Video: []string{"h264"}})
	up := s.leg("ann", "ann")
	up.Renews = true
	s.film(up, 'a')
	down := s.leg("ben", "ann")
	s.room.Offer(down, core.Ref{}, true, false)
	s.await("Ready", func(e core.MediaEvent) bool { _, ok := e.(core.Ready); return ok })
	s.room.Answer(down, core.Ref{}, strings.Replace(videoOffer(recvonly, offersVP8), "a=mid:1", "a=mid:0", 1))
	s.awaitEqual(core.Failed{Leg: up, Cause: errCodec})
}

// TestLastingPublisherStays: a client that would not publish anew is never asked to,
// and sends what everybody has.
func TestLastingPublisherStays(t *testing.T) {
	s := newStage(t, core.MediaOptions{Video: []string{"h264"}})
	if f, _ := s.film(s.leg("ann", "ann"), 'a'); f != vp8 {
		t.Fatalf("publishes format %d", f)
	}
	s.watch(s.leg("ben", "ann")).sees(vp8, 'a')
	s.watch(s.leg("cid", "ann"), vp8).sees(vp8, 'a')
}

// TestPayloadTypeChanged renegotiates a publisher's connection, its picture now
// having another payload type: what had the old one ends, and the rest goes on.
func TestPayloadTypeChanged(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 1)
	b.next(true)
	if n := b.s.plane.Stats().Forwarded.Packets; n != 1 {
		t.Fatalf("%d packets forwarded", n)
	}
	p := part{kind: video, mid: "0", way: sdp.DirectionRecvOnly, formats: []format{vp8}, codecs: codecs{vp8: {payload: 98}}}
	b.up.reception.negotiated([]part{p}, []section{{}})
	b.next(true) // still the old one
	if n := b.s.plane.Stats().Forwarded.Packets; n != 1 {
		t.Errorf("%d packets forwarded, the last of a payload type that is no more", n)
	}
	b.header.PayloadType = 98
	b.next(true)
	if n := b.s.plane.Stats().Forwarded.Packets; n != 2 {
		t.Errorf("%d packets forwarded", n)
	}
}

// TestForeignFormat: what a subscriber has not negotiated is not sent to it, nor is a
// publisher bothered for its sake.
func TestForeignFormat(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 2)
	b.lane.outlets[0].codecs = codecs{h264: {payload: 96}}
	b.next(true)
	if n := b.s.plane.Stats().Forwarded.Packets; n != 1 {
		t.Errorf("%d packets forwarded", n)
	}
	if o := b.lane.outlets[0]; o.target != nil || o.packets.Load() != 0 {
		t.Errorf("%d packets to who cannot take them", o.packets.Load())
	}
}
