package media

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"confgate/core"
)

// sink takes packets as Pion does, short of encrypting and sending them.
type sink struct{}

func (sink) WriteRTP(h *rtp.Header, b []byte) (int, error) { return h.MarshalSize() + len(b), nil }
func (sink) Write(b []byte) (int, error)                   { return len(b), nil }

// published is a track with n subscribers, without connections.
func published(s *stage, n int) *track {
	l := newLeg(s.room, newFeed(), s.leg("ann", "ann"))
	t := &track{leg: l, lane: &l.feed.video, ring: newRing(videoRing)}
	t.lane.source = t
	legs := []*leg{l}
	for range n {
		o := newOutlet(newLeg(s.room, l.feed, s.leg("ben", "ann")), t.lane, "")
		o.writer = sink{}
		legs = append(legs, o.leg)
		t.lane.outlets = append(t.lane.outlets, o)
	}
	s.t.Cleanup(func() {
		for _, l := range legs {
			l.close()
		}
	})
	return t
}

// feedPackets gives a track packets as its reader does.
func feedPackets(t *track) (next func()) {
	h := rtp.Header{Version: 2, Marker: true}
	if err := h.SetExtension(3, []byte{1, 2, 3}); err != nil {
		panic(err)
	}
	body := make([]byte, 1150)
	copy(body, payload('a', true, 0))
	buffer := make([]byte, maxPacket)
	return func() {
		h.SequenceNumber++
		h.Timestamp += 3000
		n, err := h.MarshalTo(buffer)
		if err != nil {
			panic(err)
		}
		n += copy(buffer[n:], body)
		buffer = t.take(buffer, n)
	}
}

func TestForwardAllocatesNothing(t *testing.T) {
	next := feedPackets(published(newStage(t, core.MediaOptions{}), 100))
	for range 2 * videoRing { // fills the ring
		next()
	}
	if n := testing.AllocsPerRun(1000, next); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

// BenchmarkForward takes a packet in and gives it to the subscribers; the time is
// a packet and subscriber's.
func BenchmarkForward(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("numbering/%d", n), func(b *testing.B) {
			next := feedPackets(published(newStage(b, core.MediaOptions{}), n))
			b.ReportAllocs()
			for range b.N / n {
				next()
			}
		})
	}
	b.Run("wire/10", func(b *testing.B) {
		const n = 10
		s := newStage(b, core.MediaOptions{})
		t := published(s, 0)
		s.room.feeds[core.Stream{User: "ann", Source: core.Cam}] = t.leg.feed
		t.leg.feed.legs = n
		for range n {
			leg := s.leg(core.UserID(fmt.Sprint(s.n)), "ann")
			view := s.viewer(s.lossy(nil, func() bool { return true }))
			view.call(leg)
		}
		for t.lane.takers() < n {
			runtime.Gosched() // the last leg is told of before it is attached
		}
		next := feedPackets(t)
		b.ReportAllocs()
		b.ResetTimer()
		for range b.N / n {
			next()
		}
		b.StopTimer()
		if got := s.plane.Stats().Forwarded.Packets; b.N >= n && got == 0 {
			b.Fatal("nothing was sent")
		}
	})
}

var _ webrtc.TrackLocalWriter = sink{}
