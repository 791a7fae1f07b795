package media

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"

	"confgate/core"
)

var (
	errBehind   = errors.New("connection was given more work than it can do")
	errEnded    = errors.New("connection has ended")
	errICE      = errors.New("ICE failed: no way between the client and the media port, or the client went away")
	errDTLS     = errors.New("DTLS failed")
	errNoOffer  = errors.New("no offer was made on this connection")
	errNothing  = errors.New("offer of neither audio nor video")
	errPanic    = errors.New("internal error")
	errCodec    = errors.New("another member cannot take the codec of this connection's picture; the client is to publish anew")
	errPatience = errors.New("client did not connect in time")
)

// leg is one connection with a client. What is asked of it, and what its link has
// to say, goes through its queue, so that it is never worked on by two at a time.
type leg struct {
	room  *room
	log   *slog.Logger
	name  name
	dir   int // uplink or downlink
	guise guise
	feed  *feed
	link  *link
	queue queue
	crew  crew          // the goroutine that shakes hands
	ended chan struct{} // closed when the leg is to end, so that nothing waits on
	began atomic.Bool   // the first RTP packet has come through

	reception *reception // nil on a downlink

	talking atomic.Bool // the client speaks, as far as known

	// Guarded by room.mu.
	n       uint64
	renews  bool         // see [core.Leg]
	client  *description // of whom the connection is with; nil until known
	picture picture      // that an uplink sends

	feedback sync.Mutex // for who takes the client's reports
	sending  []*outlet  // those attached; guarded by feedback

	// Owned by the queue.
	id        core.Leg
	session   uint64 // of our descriptions (RFC 8866 section 5.2)
	version   uint64
	outlets   []*outlet
	named     [video + 1]bool // kinds that have an outlet, or had one
	parts     []part          // that were offered by us
	connected bool
	flowing   bool
	patience  *time.Timer

	toldTalking bool
}

// newLeg needs room.mu. Checks for it name at.
func newLeg(r *room, f *feed, id core.Leg, g guise, at string) *leg {
	l := &leg{
		room: r, name: nameOf(id), dir: direction(id), guise: g, feed: f, ended: make(chan struct{}),
		log: r.log.With("owner", id.Owner, "of", id.Stream.User, "source", id.Stream.Source),
		n:   id.N, renews: id.Renews, id: id, session: rand.Uint64() >> 2,
	}
	l.link = newLink(r.plane, l, g.access, at)
	if l.dir == uplink {
		l.reception = &reception{leg: l, ssrc: rand.Uint32()}
		r.plane.watch(l)
	}
	l.queue.rescue = l.rescue
	r.plane.legs.Add(1)
	r.plane.stats.connecting[l.dir].Add(1)
	l.patience = time.AfterFunc(r.plane.patience, func() {
		l.queue.post(func() {
			if !l.connected {
				l.fail(errPatience)
			}
		})
	})
	return l
}

func (l *leg) tell(e core.MediaEvent) { l.room.tell(e) }

// do queues what core asks for. A leg that has too much to do fails.
func (l *leg) do(job func()) {
	if !l.queue.push(job) {
		l.fail(errBehind)
	}
}

func (l *leg) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// end lets the leg close, once it has said so to whoever still waits for a reply; needs room.mu, and the leg to be out of the room's map.
func (l *leg) end() {
	close(l.ended)
	l.queue.close(l.close)
}

// fail ends the leg because of cause.
func (l *leg) fail(cause error) {
	id, ok := l.room.remove(l)
	if !ok {
		return
	}
	l.log.Debug("media connection failed", "cause", cause) // core tells the operator
	l.room.plane.stats.failed[l.dir].Add(1)
	close(l.ended)
	l.queue.close(func() {
		l.close()
		l.room.plane.farewells.add(l.link, l.room.plane.now())
		l.tell(core.Failed{Leg: id, Cause: cause})
	})
}

// discard ends the leg whose negotiation failed, of which core is told otherwise.
func (l *leg) discard() {
	if _, ok := l.room.remove(l); ok {
		close(l.ended)
		l.queue.close(l.close)
	}
}

// rescue keeps a panic to the leg it is about.
func (l *leg) rescue() {
	if v := recover(); v != nil {
		l.log.Error("panic in a media connection", "panic", v, "stack", string(debug.Stack()))
		l.fail(errPanic)
	}
}

// accept answers the client's offer.
func (l *leg) accept(id core.Leg, ref core.Ref, d *description) {
	l.id = id
	answer, parts, err := l.negotiate(d)
	if err != nil {
		l.discard()
		l.tell(core.Accepted{Leg: id, Ref: ref, Err: err})
		return
	}
	l.tell(core.Accepted{Leg: id, Ref: ref, Answer: answer, Candidates: l.candidatesOf(parts)})
	if l.connected { // renegotiated: the leg's new name has not heard it yet
		l.attach()
		l.tell(core.Connected{Leg: id})
		if l.flowing {
			l.tell(core.Flowing{Leg: id})
		}
	}
}

// negotiate works out our side of a client's offer.
func (l *leg) negotiate(d *description) (answer string, parts []part, err error) {
	if l.hasEnded() {
		return "", nil, errEnded
	}
	if l.dir == uplink {
		parts = l.acceptUp(d)
		l.reception.negotiated(parts, d.sections)
	} else {
		parts = l.acceptDown(d)
	}
	if l.link.isRestart(d) {
		l.link.restart()
	}
	setup := "active"
	if d.active {
		setup = "passive"
	}
	if answer, err = l.describe(parts, setup); err != nil {
		return "", nil, err
	}
	l.link.known(d)
	return answer, parts, nil
}

// acceptUp takes the first picture and the first voice that a publisher offers.
func (l *leg) acceptUp(d *description) []part {
	var parts []part
	taken := make(map[kind]bool)
	for i := range d.sections {
		s := &d.sections[i]
		p := answerPart(s, l.room.menu.of(s.kind, uplink), upExtensions)
		if s.usable() && !taken[s.kind] && s.goes(upWays) {
			taken[s.kind] = true
			l.receive(&p, s)
		}
		parts = append(parts, p)
	}
	return parts
}

// receive has p take what s sends.
func (l *leg) receive(p *part, s *section) {
	p.way = sdp.DirectionRecvOnly
	p.dtx = s.kind == audio && l.room.options.OpusDTX
	if s.kind == video {
		p.agree(s, []format{l.room.choose(l, s.codecs.set())})
	}
	p.codecs.holdPublisher()
	counts := p.counts()
	if !counts {
		p.codecs.withoutCongestion()
	}
	if counts || s.kind != video {
		p.codecs.withoutEstimates()
	}
	if _, ok := p.extensions[sdp.SDESRTPStreamIDURI]; ok {
		p.layers = s.layers
	}
}

// acceptDown sends on the first section of each kind that a subscriber offers.
func (l *leg) acceptDown(d *description) []part {
	var parts []part
	var used []*outlet
	for i := range d.sections {
		s := &d.sections[i]
		p := answerPart(s, l.room.menu.of(s.kind, downlink), downExtensions)
		p.codecs.withoutCongestion()
		if s.usable() && s.goes(downWays) {
			if o := l.outlet(s.kind); !slices.Contains(used, o) {
				o = l.agree(o, p.codecs, p.extensions)
				used = append(used, o)
				o.lane.limit(o, s)
				p.way, p.outlet = sdp.DirectionSendOnly, o
			}
		}
		parts = append(parts, p)
	}
	l.keep(used)
	return parts
}

// outlet gives the leg's outlet of a kind, and makes it if need be.
func (l *leg) outlet(k kind) *outlet {
	for _, o := range l.outlets {
		if o.kind == k {
			return o
		}
	}
	pair := l.guise.ssrcs[k]
	if l.named[k] { // what a client has seen end does not go on
		pair = newSSRCs()
	}
	l.named[k] = true
	o := newOutlet(l, k, pair)
	l.outlets = append(l.outlets, o)
	return o
}

// agree gives an outlet what was negotiated. One that has packets already stays as it
// is, or another takes its place, with an SSRC of its own.
func (l *leg) agree(o *outlet, c codecs, extensions map[string]uint8) *outlet {
	if o.attached {
		if o.codecs == c && o.timeID == timeIDOf(c, extensions) {
			return o
		}
		l.detach(o)
		l.outlets = slices.DeleteFunc(l.outlets, func(other *outlet) bool { return other == o })
		o = newOutlet(l, o.kind, newSSRCs())
		l.outlets = append(l.outlets, o)
	}
	o.agree(c, extensions)
	return o
}

// keep lets go of the outlets that are no longer wanted.
func (l *leg) keep(used []*outlet) {
	for _, o := range l.outlets {
		if !slices.Contains(used, o) && o.attached {
			l.detach(o)
		}
	}
	l.outlets = slices.DeleteFunc(l.outlets, func(o *outlet) bool { return !slices.Contains(used, o) })
}

// offer makes an offer of what is wanted.
func (l *leg) offer(ref core.Ref, wantVideo, wantAudio bool) {
	var parts []part
	for _, k := range []kind{audio, video} {
		if k == audio && wantAudio || k == video && wantVideo {
			parts = append(parts, offerPart(k, l.room.menu.of(k, downlink), len(parts), l.outlet(k)))
		}
	}
	text, err := "", errNothing
	if len(parts) > 0 {
		text, err = l.describe(parts, "actpass")
	}
	if err != nil {
		l.discard()
		l.tell(core.Ready{Leg: l.id, Ref: ref, Err: err})
		return
	}
	l.parts = parts
	l.tell(core.Ready{Leg: l.id, Ref: ref, Offer: text, Candidates: l.candidatesOf(parts)})
}

// answer takes the client's answer. A second one changes nothing.
func (l *leg) answer(ref core.Ref, text string) {
	err := errNoOffer
	if l.parts != nil {
		err = nil
		if !l.isSettled() {
			err = l.settle(text)
		}
	}
	l.tell(core.Settled{Leg: l.id, Ref: ref, Err: err})
}

func (l *leg) isSettled() bool {
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	return l.client != nil
}

func (l *leg) settle(text string) error {
	d, err := readSDP(text, l.room.menu.all)
	if err != nil {
		return err
	}
	var used []*outlet
	for i := range min(len(l.parts), len(d.sections)) {
		s, o := &d.sections[i], l.parts[i].outlet
		if s.kind != o.kind || !s.usable() || !s.goes(downWays) {
			continue
		}
		used = append(used, o)
		o.agree(s.codecs, s.extensions)
		o.lane.limit(o, s)
	}
	l.keep(used)
	l.room.settled(l, d)
	l.link.known(d)
	return nil
}

// up says that the handshake is done. Any goroutine may.
func (l *leg) up() {
	l.queue.post(func() {
		if l.hasEnded() || l.connected {
			return
		}
		l.connected = true
		l.patience.Stop()
		l.room.plane.stats.connecting[l.dir].Add(-1)
		l.room.plane.stats.connected[l.dir].Add(1)
		l.tell(core.Connected{Leg: l.id})
		if l.flowing {
			l.tell(core.Flowing{Leg: l.id})
		}
		l.attach()
		l.fit()
	})
}

// number tells the leg from its predecessors.
func (l *leg) number() uint64 {
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	return l.n
}

// attach lets the outlets that were negotiated have packets.
func (l *leg) attach() {
	for _, o := range l.outlets {
		if o.attached {
			continue
		}
		o.attached = true
		l.feedback.Lock()
		l.sending = append(l.sending, o)
		l.feedback.Unlock()
		o.lane.attach(o)
	}
}

func (l *leg) detach(o *outlet) {
	o.lane.detach(o)
	l.feedback.Lock()
	defer l.feedback.Unlock()
	l.sending = slices.DeleteFunc(l.sending, func(other *outlet) bool { return other == o })
}

// flow is told when packets come through.
func (l *leg) flow() {
	if l.began.Load() || !l.began.CompareAndSwap(false, true) {
		return
	}
	l.queue.post(func() {
		l.flowing = true
		if l.connected {
			l.tell(core.Flowing{Leg: l.id})
		}
	})
}

// start runs a goroutine of the leg.
func (l *leg) start(run func()) {
	if !l.crew.join() {
		return
	}
	go func() {
		defer l.crew.leave()
		defer l.rescue()
		run()
	}()
}

// sendReports sends RTCP. What cannot be sent is lost.
func (k *link) sendReports(packets ...rtcp.Packet) {
	keys := k.keys.Load()
	if keys == nil || len(packets) == 0 {
		return
	}
	plain, err := rtcp.Marshal(packets)
	if err != nil {
		return
	}
	if sealed, err := keys.sealReport(plain); err == nil {
		k.send(sealed)
	}
}

// close is the last job of the queue, and the one place where the connection ends.
func (l *leg) close() {
	defer l.room.plane.legs.Done()
	defer l.room.release(l)
	l.patience.Stop()
	for _, o := range l.outlets {
		l.detach(o)
	}
	if l.dir == uplink {
		l.room.plane.unwatch(l)
		l.reception.close()
	}
	l.link.close()
	l.crew.dismiss()
	gauge := &l.room.plane.stats.connecting[l.dir]
	if l.connected {
		gauge = &l.room.plane.stats.connected[l.dir]
	}
	gauge.Add(-1)
	if l.toldTalking {
		l.tell(core.Talked{User: l.name.owner, On: false})
	}
}
