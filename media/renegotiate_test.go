package media

import (
	"slices"
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

// TestICERestart has a publisher and a subscriber restart ICE, as browsers do when
// their network changes: DTLS stays, so the connection must, with another password.
func TestICERestart(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam, view := s.camera('a'), s.viewer()
	cam.call(s.leg("ann", "ann"))
	cam.roll(1, 1)
	view.call(s.leg("ben", "ann"))
	view.follow(video, count('a', 10))
	restart := func(c *client, leg core.Leg) core.Accepted {
		t.Helper()
		o, err := c.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
		if err != nil {
			t.Fatal(err)
		}
		s.room.Accept(leg, core.Ref{}, c.local(o))
		a := s.accepted(leg)
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		c.remote(webrtc.SDPTypeAnswer, a.Answer)
		s.awaitEqual(core.Connected{Leg: leg})
		return a
	}
	var ufrags []string
	for range 3 {
		a := restart(cam.client, s.leg("ann", "ann"))
		restart(view, s.leg("ben", "ann"))
		for range 100 { // of which some may be late, as the client drops what comes meanwhile
			view.next(video)
			view.next(audio)
		}
		ufrag := lines(a.Answer, "a=ice-ufrag:")[0]
		if slices.Contains(ufrags, ufrag) || a.Candidates[0].Ufrag != ufrag {
			t.Errorf("user fragment %s after %s, %s in candidates", ufrag, ufrags, a.Candidates[0].Ufrag)
		}
		ufrags = append(ufrags, ufrag)
	}
	if st := s.plane.Stats(); st.Uplinks.Connected != 1 || st.Downlinks.Connected != 1 {
		t.Errorf("%+v", st)
	}
	if n := len(s.plane.links.byName); n != 4 {
		t.Errorf("%d user fragments of two connections are known, want the latest and the one before of each", n)
	}
	s.gone()
	if n := len(s.plane.links.byName); n != 0 {
		t.Errorf("%d user fragments are left", n)
	}
}

// TestAnotherConnection offers a connection of another PeerConnection with the same
// certificate: it is another one, not a restart.
func TestAnotherConnection(t *testing.T) {
	offer := sdpOf(opusSection)
	d, err := readUpOffer(offer, plainRoom)
	if err != nil {
		t.Fatal(err)
	}
	restarted := func(origin string) string {
		return strings.Replace(strings.Replace(offer, "a=ice-ufrag:abcd", "a=ice-ufrag:efgh", 1), "o=- 1 2", origin, 1)
	}
	for what, test := range map[string]struct {
		offer string
		want  bool
	}{
		"the same":             {offer, true},
		"a restart":            {restarted("o=- 1 3"), true},
		"no later":             {restarted("o=- 1 2"), false},
		"of another session":   {restarted("o=- 3 3"), false},
		"with another key":     {strings.ReplaceAll(restarted("o=- 1 3"), "AB", "CD"), false},
		"by ufrag, as of some": {strings.Replace(offer, "o=- 1 2", "o=- 3 1", 1), true},
	} {
		other, err := readUpOffer(test.offer, plainRoom)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.identity().isSame(other); got != test.want {
			t.Errorf("%s: the same %v", what, got)
		}
	}
}

// TestShortAnswer answers an offer of two sections with one: that is sent, alone.
func TestShortAnswer(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	down := s.leg("ben", "ann")
	s.room.Offer(down, core.Ref{}, true, true)
	s.await("Ready", func(e core.MediaEvent) bool { _, ok := e.(core.Ready); return ok })
	s.room.Answer(down, core.Ref{}, sdpOf(opusSection+recvonly))
	s.awaitEqual(core.Settled{Leg: down})
	l := s.room.find(down)
	kinds := make(chan []kind)
	l.queue.post(func() {
		var all []kind
		for _, o := range l.outlets {
			all = append(all, o.kind)
		}
		kinds <- all
	})
	if got := <-kinds; !slices.Equal(got, []kind{audio}) {
		t.Errorf("%v", got)
	}
}
