package media

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"confgate/core"
)

func TestForwardClientOffers(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	up := s.leg("ann", "ann")
	cam.call(up)
	cam.roll(1000, 5000)
	s.awaitEqual(core.Flowing{Leg: up})

	view := s.viewer()
	down := s.leg("ben", "ann")
	view.call(down)
	s.awaitEqual(core.Flowing{Leg: down})
	a, v := view.next(audio), view.next(video)
	if !isKey(v.Packet) {
		t.Error("picture does not begin with a key frame")
	}
	if markOf(a.Packet) != 'a' || markOf(v.Packet) != 'a' {
		t.Error("packets are not the publisher's")
	}
	if a.stream != v.stream || a.stream == "" {
		t.Errorf("voice is in stream %q, picture in %q", a.stream, v.stream)
	}
	if a.Extension || v.Extension {
		t.Error("header extensions leak")
	}
}

func TestForwardServerOffers(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	cam.call(s.leg("ann", "ann"))
	cam.roll(1000, 5000)

	view := s.client()
	down := s.leg("ben", "ann")
	s.room.Offer(down, core.Ref{ID: "1"}, true, true)
	ready := s.await("Ready", func(e core.MediaEvent) bool { _, ok := e.(core.Ready); return ok }).(core.Ready)
	if ready.Err != nil || ready.Leg != down || ready.Ref.ID != "1" {
		t.Fatalf("%+v", ready)
	}
	view.remote(webrtc.SDPTypeOffer, ready.Offer)
	answer, err := view.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.room.Answer(down, core.Ref{ID: "2"}, view.local(answer))
	s.awaitEqual(core.Settled{Leg: down, Ref: core.Ref{ID: "2"}})
	view.up(down)
	s.awaitEqual(core.Flowing{Leg: down})
	a, v := view.next(audio), view.next(video)
	if !isKey(v.Packet) || a.stream != v.stream {
		t.Errorf("key frame: %v, streams %q and %q", isKey(v.Packet), a.stream, v.stream)
	}
	s.room.Answer(down, core.Ref{ID: "3"}, view.LocalDescription().SDP)
	s.awaitEqual(core.Settled{Leg: down, Ref: core.Ref{ID: "3"}})
}

func TestSubscriberBeforePublisher(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	view := s.viewer()
	down := s.leg("ben", "ann")
	view.call(down)

	cam := s.camera('a')
	cam.call(s.leg("ann", "ann"))
	cam.roll(1000, 5000)
	if v := view.next(video); !isKey(v.Packet) {
		t.Error("picture does not begin with a key frame")
	}
	view.next(audio)
	s.awaitEqual(core.Flowing{Leg: down})
}

// due gives the packet that comes after last in its stream. The system may lose one on
// its way under load; the client then has it sent again, and it comes out of turn.
func (c *client) due(k kind, last *rtp.Packet) *rtp.Packet {
	c.s.t.Helper()
	early := c.early[k]
	for {
		if last != nil && early[last.SequenceNumber+1] != nil {
			p := early[last.SequenceNumber+1]
			delete(early, p.SequenceNumber)
			return p
		}
		p := c.next(k)
		switch n := p.SequenceNumber; {
		case last == nil && !p.repaired || last != nil && n == last.SequenceNumber+1:
			return p.Packet
		case last == nil || int16(n-last.SequenceNumber) > 0 && early[n] == nil:
			early[n] = p.Packet
		case !p.repaired:
			c.s.t.Fatalf("%v: number %d after %d", k, n, last.SequenceNumber)
		}
	}
}

// follow reads packets of a kind until done says so, and checks that they make one
// stream: no number left out or used twice, time never going back.
func (c *client) follow(k kind, done func(*rtp.Packet) bool) {
	c.s.t.Helper()
	var last *rtp.Packet
	for {
		p := c.due(k, last)
		if last != nil {
			if int32(p.Timestamp-last.Timestamp) <= 0 {
				c.s.t.Fatalf("%v: timestamp %d after %d", k, p.Timestamp, last.Timestamp)
			}
			if p.SSRC != last.SSRC || p.PayloadType != last.PayloadType {
				c.s.t.Fatalf("%v: SSRC %d, payload type %d after %d, %d", k, p.SSRC, p.PayloadType, last.SSRC, last.PayloadType)
			}
			if k == video && markOf(p) != markOf(last) && !isKey(p) {
				c.s.t.Fatal("a new publisher's picture does not begin with a key frame")
			}
		}
		last = p
		if done(p) {
			return
		}
	}
}

// count is done after n packets of the camera with that mark.
func count(mark byte, n int) func(*rtp.Packet) bool {
	return func(p *rtp.Packet) bool {
		if markOf(p) == mark {
			n--
		}
		return n <= 0
	}
}

func TestPublisherReplaced(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	first := s.camera('a')
	first.call(s.leg("ann", "ann"))
	first.roll(65500, 1<<32-9000) // soon turns over
	view := s.viewer()
	view.call(s.leg("ben", "ann"))
	view.follow(video, count('a', 50))
	view.follow(audio, count('a', 50))

	second := s.camera('b')
	up := s.leg("ann", "ann")
	second.call(up)
	second.roll(7, 123456)
	s.awaitEqual(core.Flowing{Leg: up})
	view.follow(video, count('b', 50))
	view.follow(audio, count('b', 50))
	if n := s.plane.Stats().Uplinks.Connected; n != 1 {
		t.Errorf("%d uplinks are left", n)
	}
}

func TestPublisherReturns(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	first := s.camera('a')
	up := s.leg("ann", "ann")
	first.call(up)
	first.roll(100, 0)
	view := s.viewer()
	view.call(s.leg("ben", "ann"))
	view.follow(video, count('a', 20))
	s.room.Drop(up)
	second := s.camera('b')
	second.call(s.leg("ann", "ann"))
	second.roll(100, 0)
	view.follow(video, count('b', 20))
}

func TestRenegotiation(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	first := s.leg("ann", "ann")
	cam.call(first)
	cam.roll(1, 1)
	s.awaitEqual(core.Flowing{Leg: first})

	again := s.leg("ann", "ann")
	cam.call(again)
	s.awaitEqual(core.Flowing{Leg: again})
	s.room.Drop(first) // means nothing any more
	view := s.viewer()
	view.call(s.leg("ben", "ann"))
	view.follow(video, count('a', 20))
	if n := s.plane.Stats().Uplinks; n.Connected != 1 || n.Connecting != 0 {
		t.Errorf("uplinks %+v", n)
	}
}

// every drops one packet in n, at random but the same each time.
func every(n int) func() bool {
	r := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	return func() bool {
		mu.Lock()
		defer mu.Unlock()
		return r.IntN(n) == 0
	}
}

// TestLoss loses packets on the way in and on the way out, and all arrive.
func TestLoss(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a', s.lossy(every(10), nil))
	cam.call(s.leg("ann", "ann"))
	cam.roll(65300, 0)
	view := s.viewer(s.lossy(nil, every(10)))
	view.call(s.leg("ben", "ann"))

	const n = 400
	got := make(map[uint32]uint16) // sequence numbers by the camera's count
	first := countOf(view.next(video).Packet)
	for !covers(got, first, n) {
		p := view.next(video).Packet
		if seq, ok := got[countOf(p)]; ok && seq != p.SequenceNumber {
			t.Fatalf("packet %d came as %d and as %d", countOf(p), seq, p.SequenceNumber)
		}
		got[countOf(p)] = p.SequenceNumber
	}
	for i := first + 2; i < first+n; i++ {
		if got[i] != got[i-1]+1 {
			t.Fatalf("packets %d and %d are numbered %d and %d", i-1, i, got[i-1], got[i])
		}
	}
	// One in ten is lost, and each is sent again as often as a busy client asks, up to
	// resendTries; TestNACKStorm and TestResends hold the rate, in time of their own.
	if st := s.plane.Stats(); st.Retransmitted == 0 || st.Retransmitted > (st.Forwarded.Packets/10+1)*resendTries {
		t.Errorf("%d of %d packets sent again", st.Retransmitted, st.Forwarded.Packets)
	}
}

// covers reports whether the n packets after first have come.
func covers(got map[uint32]uint16, first uint32, n int) bool {
	if len(got) < n-1 {
		return false
	}
	for i := first + 1; i < first+uint32(n); i++ {
		if _, ok := got[i]; !ok {
			return false
		}
	}
	return true
}

// TestSameSSRC has two publishers whose SSRCs are the same, as all cameras' are.
func TestSameSSRC(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	for _, user := range []core.UserID{"ann", "ben"} {
		cam := s.camera(user[0])
		cam.call(s.leg(user, user))
		cam.roll(100, 100)
	}
	for _, user := range []core.UserID{"ann", "ben"} {
		view := s.viewer()
		view.call(s.leg("cid", user))
		only := func(p *rtp.Packet) bool {
			if markOf(p) != user[0] {
				t.Fatalf("%s's viewer gets a packet of %c", user, markOf(p))
			}
			return false
		}
		done := count(user[0], 50)
		view.follow(video, func(p *rtp.Packet) bool { return only(p) || done(p) })
	}
}

func TestKeyframesThrottled(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	cam.call(s.leg("ann", "ann"))
	cam.roll(1, 1)
	view := s.viewer()
	view.call(s.leg("ben", "ann"))
	p := view.next(video)
	before := s.plane.Stats().KeyframeRequests
	start := time.Now()
	for range 100 {
		if err := view.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: p.SSRC}}); err != nil {
			t.Fatal(err)
		}
	}
	view.follow(video, isKey)
	most := 2 + uint64(time.Since(start)/keyframeGap)
	if n := s.plane.Stats().KeyframeRequests - before; n == 0 || n > most {
		t.Errorf("100 requests became %d", n)
	}
}

func TestSenderReports(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	cam.call(s.leg("ann", "ann"))
	cam.roll(1, 5000)
	view := s.viewer()
	view.call(s.leg("ben", "ann"))
	p := view.next(video)
	shift := p.Timestamp - (5000 + countOf(p.Packet)*450)
	if err := cam.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: 2222, NTPTime: 77, RTPTime: 9000}}); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case r := <-view.reports:
			if r.NTPTime != 77 {
				continue // the camera's own
			}
			if r.SSRC != p.SSRC || r.RTPTime != 9000+shift || r.PacketCount == 0 {
				t.Errorf("%+v", r)
			}
			return
		case <-s.ctx.Done():
			t.Fatal("no report came")
		}
	}
}

func TestSpeaking(t *testing.T) {
	s := newStage(t, core.MediaOptions{Speaking: true})
	cam := s.camera('a')
	up := s.leg("ann", "ann")
	cam.call(up)
	say := func(seq uint16, level byte) {
		h := rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: uint32(seq) * 960}
		if err := h.SetExtension(cam.levelID(), []byte{level}); err != nil {
			t.Fatal(err)
		}
		if err := cam.audio.WriteRTP(&rtp.Packet{Header: h, Payload: []byte{1, 2, 3}}); err != nil {
			t.Fatal(err)
		}
	}
	for seq := range uint16(10) {
		say(seq, 0x80|30)
	}
	s.awaitEqual(core.Talked{User: "ann", On: true})
	s.awaitEqual(core.Talked{User: "ann", On: false}) // as nothing more is heard
}

func TestSpeakerLeaves(t *testing.T) {
	s := newStage(t, core.MediaOptions{Speaking: true})
	up := s.leg("ann", "ann")
	l := s.room.replace(up, nil)
	l.talk(true)
	s.awaitEqual(core.Talked{User: "ann", On: true})
	s.room.Drop(up)
	s.awaitEqual(core.Talked{User: "ann", On: false})
}

func TestTCP(t *testing.T) {
	loopback, other := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1")
	for name, ips := range map[string][]netip.Addr{"loopback": {loopback}, "behind NAT": {loopback, other}, "two sockets": {netip.MustParseAddr("127.0.0.2"), loopback}} {
		t.Run(name, func(t *testing.T) {
			s := newStageOn(t, core.MediaOptions{}, Config{IPs: ips, TCP: true, Log: quiet})
			overTCP := func(e *webrtc.SettingEngine) { e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4}) }
			cam := s.camera('a')
			cam.call(s.leg("ann", "ann"))
			cam.roll(1, 1)
			view := s.viewer(overTCP)
			view.call(s.leg("ben", "ann"))
			view.follow(video, count('a', 20))
		})
	}
}

// TestTrickle names a sink's address to the plane in every way there is, and 5,000
// times: nothing is sent to it, and the call comes up.
func TestTrickle(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	sink, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	line := fmt.Sprintf("candidate:1 1 udp 2130706431 127.0.0.1 %d typ host", sink.LocalAddr().(*net.UDPAddr).Port)
	hidden := strings.Replace(line, "127.0.0.1", "0b2c5d9e-7c3f-4bb6-a8c4-3a1b0f2f3c55.local", 1)
	up := s.leg("ann", "ann")
	lines := []string{line, hidden, "", "nonsense", "candidate:", strings.Repeat("x", 1<<16)}
	trickle := func() {
		for _, l := range lines {
			s.room.Trickle("ann", up.Stream, core.Candidate{Line: l, Mid: "0"})
			s.room.Trickle("ann", up.Stream, core.Candidate{Line: l, Ufrag: "none"})
		}
	}
	trickle() // before the leg exists
	cam := s.camera('a')
	offer := strings.ReplaceAll(cam.makeOffer(), "a=end-of-candidates\r\n", "a="+line+"\r\na="+hidden+"\r\na=end-of-candidates\r\n")
	s.room.Accept(up, core.Ref{}, offer)
	for range 5000 {
		trickle()
	}
	cam.remote(webrtc.SDPTypeAnswer, s.accepted(up).Answer)
	cam.up(up)
	if err := sink.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, _, err := sink.ReadFrom(make([]byte, 100)); err == nil {
		t.Errorf("the sink got %d bytes", n)
	}
}

func TestCandidates(t *testing.T) {
	for _, test := range [][]string{{"127.0.0.1"}, {"10.1.2.3", "127.0.0.1"}, {"192.0.2.7", "2001:db8::7"}} {
		t.Run(strings.Join(test, " "), func(t *testing.T) {
			var ips []netip.Addr
			for _, ip := range test {
				ips = append(ips, netip.MustParseAddr(ip))
			}
			s := newStageOn(t, core.MediaOptions{}, Config{IPs: ips, TCP: true, Log: quiet})
			leg := s.leg("ann", "ann")
			s.room.Accept(leg, core.Ref{}, s.camera('a').makeOffer())
			a := s.accepted(leg)
			if a.Err != nil {
				t.Fatal(a.Err)
			}
			var want, got []string
			for _, ip := range test {
				want = append(want, fmt.Sprintf("udp %s %d", ip, s.plane.Port()), fmt.Sprintf("tcp %s %d", ip, s.plane.Port()))
			}
			for _, c := range a.Candidates {
				f := strings.Fields(c.Line)
				got = append(got, strings.Join([]string{f[2], f[4], f[5]}, " "))
				if c.Mid != "0" || c.Index != 0 || c.Ufrag == "" || !strings.Contains(a.Answer, "a="+c.Line+"\r\n") {
					t.Errorf("%+v", c)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if !strings.Contains(a.Answer, "a=end-of-candidates\r\n") {
				t.Error("candidates do not end")
			}
			if !strings.Contains(a.Answer, "\r\na=ice-lite\r\n") {
				t.Error("the answer does not say that the plane never probes")
			}
		})
	}
}

// TestSendrecvSubscription offers to send where one only may receive, as some
// native clients do.
func TestSendrecvSubscription(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	cam.call(s.leg("ann", "ann"))
	cam.roll(1, 1)
	view := s.client()
	for _, mime := range []string{webrtc.MimeTypeOpus, webrtc.MimeTypeVP8} {
		own, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime}, "own", "own")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := view.AddTrack(own); err != nil {
			t.Fatal(err)
		}
	}
	down := s.leg("ben", "ann")
	a := view.call(down)
	view.follow(video, count('a', 20))
	if strings.Contains(a.Answer, "a=sendrecv") || strings.Contains(a.Answer, "a=recvonly") {
		t.Error("the answer wants to receive")
	}
}
