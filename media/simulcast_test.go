package media

import (
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

// lens is a layer of a camera's picture.
type lens struct {
	rid   string
	size  int // of a packet, of which there are 200 a second
	track *webrtc.TrackLocalStaticRTP
	plis  chan struct{}
	stop  func()
}

// lenses makes a client publish a picture in layers, the smallest first. Its packets
// carry the rid's first letter as their mark.
func (s *stage) lenses(layers ...*lens) *client {
	s.t.Helper()
	c := s.client()
	var sender *webrtc.RTPSender
	for _, l := range layers {
		t, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", "cam", webrtc.WithRTPStreamID(l.rid))
		if err != nil {
			s.t.Fatal(err)
		}
		l.track, l.plis = t, make(chan struct{}, 1<<12)
		if sender == nil {
			sender, err = c.AddTrack(t)
		} else {
			err = sender.AddEncoding(t)
		}
		if err != nil {
			s.t.Fatal(err)
		}
	}
	for _, l := range layers {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				packets, _, err := sender.ReadSimulcastRTCP(l.rid)
				if err != nil {
					return
				}
				for _, p := range packets {
					if _, ok := p.(*rtcp.PictureLossIndication); ok {
						l.plis <- struct{}{}
					}
				}
			}
		}()
		s.t.Cleanup(func() { _ = c.Close(); <-done })
	}
	return c
}

// roll sends the layer until the test ends or the layer is stopped.
func (l *lens) roll(c *client) {
	extensions := make(map[uint8]string)
	for _, x := range c.GetSenders()[0].GetParameters().HeaderExtensions {
		switch x.URI {
		case sdp.SDESMidURI:
			extensions[uint8(x.ID)] = c.GetTransceivers()[0].Mid()
		case sdp.SDESRTPStreamIDURI:
			extensions[uint8(x.ID)] = l.rid
		}
	}
	quit, done := make(chan struct{}), make(chan struct{})
	l.stop = sync.OnceFunc(func() { close(quit); <-done })
	c.s.t.Cleanup(l.stop)
	go func() {
		defer close(done)
		tick := time.NewTicker(5 * time.Millisecond) // paces the camera, like a real one
		defer tick.Stop()
		for i := uint32(0); ; i++ {
			key := false
			select {
			case <-quit:
				return
			case <-l.plis:
				key = true
			case <-tick.C:
			}
			h := rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: i * 450, Marker: true}
			body := append(payload(l.rid[0], key, i), make([]byte, l.size)...)
			_ = l.track.WriteRTP(&rtp.Packet{Header: with(h, extensions), Payload: body})
		}
	}()
}

// callWith is call with an offer that is changed first.
func (c *client) callWith(leg core.Leg, change func(string) string) {
	c.s.t.Helper()
	c.s.room.Accept(leg, core.Ref{}, change(c.makeOffer()))
	a := c.s.accepted(leg)
	if a.Err != nil {
		c.s.t.Fatal(a.Err)
	}
	c.remote(webrtc.SDPTypeAnswer, a.Answer)
	c.up(leg)
}

// TestSimulcast publishes a picture in three layers. Who limits what it takes gets a
// smaller one than who does not; when the largest stops, whoever had it gets the next.
// What each gets is one stream, and every other layer begins with a key frame.
func TestSimulcast(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	small, middle, large := &lens{rid: "q", size: 30}, &lens{rid: "h", size: 200}, &lens{rid: "f", size: 700}
	cam := s.lenses(small, middle, large)
	a := cam.call(s.leg("ann", "ann"))
	if got := lines(a.Answer, "a=simulcast:"); len(got) != 1 || got[0] != "recv q;h;f" {
		t.Errorf("the answer takes %q", got)
	}
	for _, l := range []*lens{small, middle, large} {
		l.roll(cam)
	}
	thrifty, lavish := s.viewer(), s.viewer()
	thrifty.callWith(s.leg("ben", "ann"), func(offer string) string {
		picture := strings.Index(offer, "m=video")
		return offer[:picture] + strings.Replace(offer[picture:], "\r\na=", "\r\nb=TIAS:150000\r\na=", 1)
	})
	lavish.call(s.leg("cid", "ann"))
	thrifty.follow(video, count('q', 50))
	lavish.follow(video, count('f', 50))
	large.stop()
	lavish.follow(video, count('h', 50))
}
