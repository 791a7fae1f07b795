package media

import (
	"slices"
	"sync"
	"time"

	"github.com/pion/rtcp"
)

// feed is what one member sends of one source, for those who send it and those who
// take it.
type feed struct {
	audio, video lane
	legs         int // that use the feed; guarded by room.mu
}

func newFeed() *feed { return &feed{audio: newLane(audio), video: newLane(video)} }

func (f *feed) lane(k kind) *lane {
	if k == video {
		return &f.video
	}
	return &f.audio
}

// nowhere is a lane that nobody takes, for what is sent and may not be.
func (*feed) nowhere(k kind) *lane {
	l := newLane(k)
	return &l
}

// lane is the audio or the video of a feed. Its lock also is the turn that a
// publisher and its successor take: it is held once a packet to keep it, and once a
// burst to number it for each outlet, and not while it is sent.
type lane struct {
	kind kind
	rate uint32 // of timestamps, Hz

	mu      sync.Mutex
	tracks  []*track  // of whoever publishes: one, or its layers, the smallest first; guarded by mu
	outlets []*outlet // who takes it; guarded by mu
}

func newLane(k kind) lane {
	if k == video {
		return lane{kind: video, rate: 90000}
	}
	return lane{kind: audio, rate: 48000}
}

// publish gives t to the outlets, in the place of what was published before. It
// reports false when a newer connection publishes, or this one something else.
func (l *lane) publish(t *track) bool {
	l.mu.Lock()
	ok := l.add(t)
	var wanted []*track
	if ok {
		wanted = l.assignAll()
	}
	l.mu.Unlock()
	askAll(wanted) // for those who have been here before the publisher
	return ok
}

// add needs l.mu.
func (l *lane) add(t *track) bool {
	if len(l.tracks) > 0 {
		switch s := l.tracks[0]; {
		case s.born > t.born, s.leg == t.leg && s.mid != t.mid:
			return false
		case s.leg != t.leg:
			l.tracks = nil
		}
	}
	l.tracks = slices.DeleteFunc(l.tracks, func(s *track) bool { return s.layer == t.layer })
	l.tracks = append(l.tracks, t)
	return true
}

// has reports whether t is what is published now.
func (l *lane) has(t *track) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.tracks, t)
}

// retire lets go of a track and of the packets that it keeps.
func (l *lane) retire(t *track) {
	l.mu.Lock()
	l.tracks = slices.DeleteFunc(l.tracks, func(s *track) bool { return s == t })
	t.ring.slots = nil
	wanted := l.assignAll()
	l.mu.Unlock()
	askAll(wanted)
}

// askAll asks for the key frames that somebody waits for. It is called with no lock
// held but reception.mu.
func askAll(tracks []*track) {
	for _, t := range tracks {
		t.keyframes.ask(joinerGap)
	}
}

// attach lets o have packets from now on. A picture begins with a key frame: with
// the last one, if what followed it is not much, else with the next.
func (l *lane) attach(o *outlet) {
	b := o.leg.room.plane.batch()
	defer o.leg.room.plane.batches.Put(b)
	now := o.leg.room.plane.now()
	l.mu.Lock()
	l.outlets = append(l.outlets, o)
	l.assign(o)
	t := o.target
	if t != nil && l.kind == video && l.replay(o, t, b, now) {
		t = nil
	}
	l.mu.Unlock()
	o.leg.room.plane.flush(b)
	if t != nil {
		t.keyframes.ask(joinerGap)
	}
}

// Bounds of a replay: what a joiner's link takes in well under a second.
const (
	replayPackets = 256
	replayBytes   = 192 << 10
)

// replay sends o what t has sent since its last key frame, but for what is about to
// be forwarded, which o gets with the others: of a packet sent twice the second copy
// would have another time of sending, and SRTP must not see two packets of one
// number (RFC 7714 section 8). It reports false when it is too much, or not all
// there. It needs l.mu.
func (l *lane) replay(o *outlet, t *track, b *batch, now time.Time) bool {
	from, ok := t.ring.sinceKey(replayPackets, replayBytes)
	if !ok {
		return false
	}
	out, ok := o.begin(b, sendTime(now))
	if !ok {
		return false
	}
	n, octets := 0, 0
	for i := from; i <= t.ring.high; i++ {
		p, ok := t.ring.get(i)
		if !ok {
			continue // lost, or still to come
		}
		if t.ring.waits(i) {
			continue
		}
		if o.numbers.source != t {
			o.numbers.begin(t, &p, l.rate, now)
		}
		if seq, stamp, ok := o.numbers.next(&p, now); ok {
			if size := out.send(&p, seq, stamp, o.numbers.pictures); size > 0 {
				n++
				octets += size - out.overhead()
			}
		}
	}
	o.count(n, octets)
	o.leg.room.plane.stats.forwarded.Add(uint64(n))
	o.leg.room.plane.stats.forwardedBytes.Add(uint64(octets))
	return true
}

func (l *lane) detach(o *outlet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outlets = slices.DeleteFunc(l.outlets, func(other *outlet) bool { return other == o })
	o.target, o.numbers = nil, rewriter{}
}

// askKeyframe passes a subscriber's request on.
func (l *lane) askKeyframe(o *outlet) {
	l.mu.Lock()
	t := o.target
	l.mu.Unlock()
	if t != nil {
		t.keyframes.ask(keyframeGap)
	}
}

// copyTo is how one outlet sends one packet of a burst.
type copyTo struct {
	outlet *outlet
	packet int32 // its index in the burst
	seq    uint16
	stamp  uint32

	pictures pictureShift
}

// plan appends to copies how each outlet sends the packets of a burst of t, outlet
// by outlet. It reports whether somebody waits for a key frame.
func (l *lane) plan(t *track, burst []packet, now time.Time, copies []copyTo) (_ []copyTo, waiting bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range burst {
		t.ring.forwarded(burst[i].index)
	}
	for _, o := range l.outlets {
		if o.paused || o.target != t && o.numbers.source != t || !o.takes(t.format) {
			continue
		}
		for i := range burst {
			p := &burst[i]
			if o.numbers.source != t || o.stale {
				if o.target != t {
					break
				}
				if l.kind == video && !p.key {
					waiting = true
					continue
				}
				o.numbers.begin(t, p, l.rate, now)
				o.stale = false
			}
			if seq, stamp, ok := o.numbers.next(p, now); ok {
				copies = append(copies, copyTo{o, int32(i), seq, stamp, o.numbers.pictures})
			}
		}
	}
	return copies, waiting
}

// sent gives a packet as it was sent to o, its payload copied to scratch. Of a picture
// that is withheld there is none: the link's room is the voice's.
func (l *lane) sent(o *outlet, seq uint16, scratch []byte) (packet, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	index, ok := o.numbers.find(seq)
	if !ok || o.paused {
		return packet{}, false
	}
	p, ok := o.numbers.source.ring.get(index)
	if !ok {
		return packet{}, false
	}
	p.payload = append(scratch[:0], p.payload...)
	p.ids.shift(p.payload, o.numbers.pictures)
	p.stamp += o.numbers.shift
	return p, true
}

// report tells every outlet of t's sender report in the outlet's own terms: its
// timestamps and its counts. The wall clock stays the publisher's, by which a
// receiver relates the two streams of a feed.
func (l *lane) report(w *worker, t *track, r *rtcp.SenderReport) {
	w.copies = w.copies[:0]
	l.mu.Lock()
	for _, o := range l.outlets {
		if o.numbers.source == t && !o.paused {
			w.copies = append(w.copies, copyTo{outlet: o, stamp: r.RTPTime + o.numbers.shift})
		}
	}
	l.mu.Unlock()
	for _, c := range w.copies {
		c.outlet.leg.link.sendReports(
			&rtcp.SenderReport{
				SSRC: c.outlet.ssrc, NTPTime: r.NTPTime, RTPTime: c.stamp,
				PacketCount: uint32(c.outlet.packets.Load()), OctetCount: uint32(c.outlet.octets.Load()),
			},
			rtcp.NewCNAMESourceDescription(c.outlet.ssrc, c.outlet.stream),
		)
	}
	clear(w.copies)
}
