package media

import (
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"confgate/core"
)

// TestRenegotiateWatching renegotiates a subscriber's connection while packets go
// through it: they go on as one stream.
func TestRenegotiateWatching(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	cam.call(s.leg("ann", "ann"))
	cam.roll(1, 1)
	view := s.viewer()
	view.call(s.leg("ben", "ann"))
	view.follow(video, count('a', 10))
	for range 5 {
		view.call(s.leg("ben", "ann"))
		view.follow(video, count('a', 10))
	}
}

// TestSectionLeavesAndReturns takes the picture out of a subscription, and puts it
// in again: it begins with a key frame then, under another SSRC.
func TestSectionLeavesAndReturns(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	cam.call(s.leg("ann", "ann"))
	cam.roll(1, 1)
	view := s.viewer()
	view.call(s.leg("ben", "ann"))
	before := view.next(video)
	offer := view.makeOffer()
	picture := strings.Index(offer, "m=video")
	without := offer[:picture] + strings.Replace(offer[picture:], "a=recvonly", "a=inactive", 1)

	less := s.leg("ben", "ann")
	s.room.Accept(less, core.Ref{}, without)
	if a := s.accepted(less); a.Err != nil || strings.Count(a.Answer, "a=sendonly") != 1 {
		t.Fatalf("%+v", a)
	}
	again := s.leg("ben", "ann")
	s.room.Accept(again, core.Ref{}, offer)
	a := s.accepted(again)
	view.remote(webrtc.SDPTypeAnswer, a.Answer)
	for {
		p := view.next(video)
		if p.SSRC == before.SSRC {
			continue // of before
		}
		if !isKey(p.Packet) {
			t.Error("the picture comes back without a key frame")
		}
		return
	}
}

// TestPublisherMovesSection stops a section that sends a picture, and sends it on
// another one: subscribers go on with that.
func TestPublisherMovesSection(t *testing.T) {
	b := newBroadcast(newStage(t, core.MediaOptions{}), 1)
	for range 3 {
		b.next(true)
	}
	seqs := numbersAt(t, b.sinks[0], 3)
	old := b.up.reception.sources[0].track
	p := b.up.reception.takes[0]
	p.mid = "7"
	b.up.reception.negotiated([]part{p}, []section{{}})
	b.header.SSRC = 8
	b.header.SequenceNumber = 4711
	b.next(true)
	if got := numbersAt(t, b.sinks[0], 1); got[0] != seqs[2]+1 {
		t.Errorf("number %d after %d", got[0], seqs[2])
	}
	if old.ring.slots != nil || len(b.up.reception.sources) != 1 {
		t.Error("what nobody sends any more is kept")
	}
}
