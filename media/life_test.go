package media

import (
	"errors"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"confgate/core"
)

// gone waits until no leg is left of those the plane was given.
func (s *stage) gone() {
	s.t.Helper()
	s.room.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.plane.legs.Wait()
	}()
	select {
	case <-done:
	case <-s.ctx.Done():
		s.t.Fatal("legs do not end")
	}
	if st := s.plane.Stats(); st.Uplinks.Connecting+st.Uplinks.Connected+st.Downlinks.Connecting+st.Downlinks.Connected != 0 {
		s.t.Errorf("gauges are left: %+v", st)
	}
	if len(s.room.legs)+len(s.room.feeds) != 0 {
		s.t.Errorf("%d legs and %d feeds are left", len(s.room.legs), len(s.room.feeds))
	}
}

// unlucky are the ways in which a connection may end. Each is given a leg of its
// own and a client for it.
var unlucky = map[string]func(s *stage, leg core.Leg, c *client){
	"at once": func(s *stage, leg core.Leg, c *client) {
		s.room.Accept(leg, core.Ref{}, c.makeOffer())
		s.room.Drop(leg)
	},
	"answered": func(s *stage, leg core.Leg, c *client) {
		s.room.Accept(leg, core.Ref{}, c.makeOffer())
		s.accepted(leg)
		s.room.Drop(leg)
	},
	"offered": func(s *stage, leg core.Leg, _ *client) {
		s.room.Offer(leg, core.Ref{}, true, true)
		s.await("Ready", func(e core.MediaEvent) bool { r, ok := e.(core.Ready); return ok && r.Leg == leg })
		s.room.Drop(leg)
	},
	"offered and answered at once": func(s *stage, leg core.Leg, _ *client) {
		s.room.Offer(leg, core.Ref{}, true, true)
		s.room.Answer(leg, core.Ref{}, "hello")
		s.room.Drop(leg)
	},
	"connecting": func(s *stage, leg core.Leg, c *client) {
		s.room.Accept(leg, core.Ref{}, c.makeOffer())
		c.remote(webrtc.SDPTypeAnswer, s.accepted(leg).Answer)
		s.room.Drop(leg)
	},
	"connected": func(s *stage, leg core.Leg, c *client) {
		c.call(leg)
		s.room.Drop(leg)
	},
	"client gone": func(s *stage, leg core.Leg, c *client) {
		c.call(leg)
		c.hangUp()
		s.room.Drop(leg)
	},
	"replaced": func(s *stage, leg core.Leg, c *client) {
		c.call(leg)
		leg.N += 1 << 32
		other := s.viewer()
		defer other.hangUp()
		other.call(leg)
	},
	"left to the room": func(_ *stage, leg core.Leg, c *client) { c.call(leg) },
}

// TestChurn ends 300 legs in unlucky ways, several at a time, with a publisher
// there; goleak sees to it that nothing is left.
func TestChurn(t *testing.T) {
	const rounds, atOnce = 34, 4
	for name, end := range unlucky {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, core.MediaOptions{})
			cam := s.camera('a')
			cam.call(s.leg("ann", "ann"))
			cam.pace = 50 * time.Millisecond
			cam.roll(1, 1)
			legs := make(chan core.Leg, rounds)
			for range rounds {
				legs <- s.leg(core.UserID("viewer "+string(rune('A'+s.n))), "ann")
			}
			close(legs)
			var all sync.WaitGroup
			for range atOnce {
				all.Go(func() {
					for leg := range legs {
						c := s.viewer()
						end(s, leg, c)
						c.hangUp()
					}
				})
			}
			all.Wait()
			s.gone()
		})
	}
}

// TestGoroutines holds the number of goroutines that a connected subscriber costs.
func TestGoroutines(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	idle := runtime.NumGoroutine()
	down := s.leg("ben", "ann")
	view := s.viewer()
	view.call(down)
	if err := view.GracefulClose(); err != nil { // so that what is left is ours
		t.Fatal(err)
	}
	const most = 3                           // of the handshake, until the client shows that it is over
	for runtime.NumGoroutine()-idle > most { // the leg's queue may still be at work
		if s.ctx.Err() != nil {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, want at most %d\n%s", runtime.NumGoroutine()-idle, most, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

func TestImpatience(t *testing.T) {
	s := newStageOn(t, core.MediaOptions{}, Config{
		IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Log: quiet, Patience: time.Millisecond,
	})
	down := s.leg("ben", "ann")
	s.room.Offer(down, core.Ref{}, true, true)
	s.awaitEqual(core.Failed{Leg: down, Cause: errPatience})
	s.room.Answer(down, core.Ref{}, "")
	s.awaitEqual(core.Settled{Leg: down, Err: errNoLeg})
	if n := s.plane.Stats().Downlinks.Failed; n != 1 {
		t.Errorf("%d failed", n)
	}
}

// TestWrongFingerprint calls as somebody else.
func TestWrongFingerprint(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	up := s.leg("ann", "ann")
	var lines []string
	for line := range strings.Lines(cam.makeOffer()) {
		if strings.HasPrefix(line, "a=fingerprint:") {
			line = "a=fingerprint:sha-256 " + strings.Repeat("00:", 31) + "00\r\n"
		}
		lines = append(lines, line)
	}
	s.room.Accept(up, core.Ref{}, strings.Join(lines, ""))
	cam.remote(webrtc.SDPTypeAnswer, s.accepted(up).Answer)
	cam.roll(1, 1)
	e := s.await("Failed", func(e core.MediaEvent) bool { _, ok := e.(core.Failed); return ok }).(core.Failed)
	if e.Leg != up || !errors.Is(e.Cause, errDTLS) {
		t.Errorf("%+v", e)
	}
	if n := s.plane.Stats().Received.Packets; n != 0 {
		t.Errorf("%d packets were taken", n)
	}
}

// TestFlood gives a leg more to do than it may owe.
func TestFlood(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	down := s.leg("ben", "ann")
	s.room.Offer(down, core.Ref{}, true, true)
	gate := make(chan struct{})
	s.room.find(down).queue.post(func() { <-gate }) // so that the leg has to wait
	for range 2 * backlog {
		s.room.Answer(down, core.Ref{}, "")
	}
	close(gate)
	s.awaitEqual(core.Failed{Leg: down, Cause: errBehind})
}

func TestRoomClosed(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	s.room.Close()
	leg := s.leg("ann", "ann")
	s.room.Accept(leg, core.Ref{}, s.camera('a').makeOffer())
	if a := s.accepted(leg); !errors.Is(a.Err, errClosed) {
		t.Errorf("%+v", a)
	}
	s.room.Offer(leg, core.Ref{}, true, true)
	s.awaitEqual(core.Ready{Leg: leg, Err: errClosed})
}

func TestOfferOfNothing(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	leg := s.leg("ben", "ann")
	s.room.Offer(leg, core.Ref{}, false, false)
	e := s.await("Ready", func(e core.MediaEvent) bool { _, ok := e.(core.Ready); return ok }).(core.Ready)
	if !errors.Is(e.Err, errNothing) {
		t.Errorf("%+v", e)
	}
	s.gone()
}

func TestOfferOfVideoAlone(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	leg := s.leg("ben", "ann")
	s.room.Offer(leg, core.Ref{}, true, false)
	e := s.await("Ready", func(e core.MediaEvent) bool { _, ok := e.(core.Ready); return ok }).(core.Ready)
	if strings.Count(e.Offer, "\nm=") != 1 || !strings.Contains(e.Offer, "\nm=video") || !strings.Contains(e.Offer, "a=sendonly") {
		t.Errorf("%+v", e)
	}
}

func TestConfigRefused(t *testing.T) {
	for name, c := range map[string]Config{
		"no address": {},
		"wildcard":   {IPs: []netip.Addr{netip.IPv4Unspecified()}},
		"multicast":  {IPs: []netip.Addr{netip.MustParseAddr("224.0.0.1")}},
		"zero":       {IPs: []netip.Addr{{}}},
		"port":       {IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Port: 1 << 16},
	} {
		if p, err := New(c); err == nil {
			t.Errorf("%s: taken", name)
			_ = p.Close()
		}
	}
}

// TestPanic has a bug in a leg's work: the leg fails, and nobody else.
func TestPanic(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	down := s.leg("ben", "ann")
	s.room.Offer(down, core.Ref{}, true, true)
	l := s.room.find(down)
	l.queue.post(func() { panic("bug") })
	s.awaitEqual(core.Failed{Leg: down, Cause: errPanic})
	s.gone()
}

// TestEveryRequestSettles fails a leg that has work waiting.
func TestEveryRequestSettles(t *testing.T) {
	s := newStage(t, core.MediaOptions{})
	cam := s.camera('a')
	first := s.leg("ann", "ann")
	cam.call(first)
	l := s.room.find(first)
	gate := make(chan struct{})
	l.queue.post(func() { <-gate })
	again := s.leg("ann", "ann")
	s.room.Accept(again, core.Ref{}, cam.makeOffer())
	l.fail(errICE)
	close(gate)
	if a := s.accepted(again); !errors.Is(a.Err, errEnded) {
		t.Errorf("%+v", a)
	}
	s.awaitEqual(core.Failed{Leg: again, Cause: errICE})
}

// TestAnswersCross has a client ask for somebody anew before the answer to its first
// offer has come, as it does when it is told meanwhile that they left and came back. In
// the `id` dialect answers name no request: the client takes the first for that to its
// second offer, and is heard and sees all the same; so does one that waits for the
// second. What the first connection still has to say changes nothing.
func TestAnswersCross(t *testing.T) {
	for name, takes := range map[string]int{"the first answer": 0, "the second": 1} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, core.MediaOptions{})
			cam := s.camera('a')
			cam.call(s.leg("ann", "ann"))
			cam.roll(1, 1)
			var answers []string
			clients := []*client{s.viewer(), s.viewer()}
			for n, c := range clients {
				leg := core.Leg{Owner: "ben", Stream: core.Stream{User: "ann", Source: core.Cam}, N: uint64(100 + n)}
				s.room.Accept(leg, core.Ref{}, c.makeOffer())
				answers = append(answers, s.accepted(leg).Answer)
			}
			clients[0].remote(webrtc.SDPTypeAnswer, answers[0]) // and checks on
			clients[1].remote(webrtc.SDPTypeAnswer, answers[takes])
			clients[1].up(core.Leg{Owner: "ben", Stream: core.Stream{User: "ann", Source: core.Cam}, N: 101})
			for _, k := range []kind{audio, video} {
				clients[1].follow(k, count('a', 50))
			}
		})
	}
}
