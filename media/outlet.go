package media

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"
)

// outlet is one subscriber's copy of a lane. It is part of its connection from the
// start, whoever publishes when.
type outlet struct {
	leg        *leg
	lane       *lane
	kind       kind
	stream     string // the msid that audio and video share
	ssrc       uint32
	repairSSRC uint32

	// Owned by the leg's queue until the lane has the outlet; constant from then on.
	codecs   codecs
	timeID   uint8 // of the header extension abs-send-time; 0 when there is none
	attached bool

	// Guarded by lane.mu.
	numbers rewriter
	target  *track // that it is to send; nil when there is none
	stale   bool   // what it sent last is too long ago to go on without a key frame
	paused  bool
	link    bandwidth
	repair  uint16 // the last sequence number on repairSSRC

	packets, octets atomic.Uint64 // sent, without headers

	again resends // guarded by leg.feedback
}

func newOutlet(l *leg, k kind, s ssrcPair) *outlet {
	return &outlet{
		leg: l, lane: l.feed.lane(k), kind: k, stream: l.guise.stream,
		ssrc: s.media, repairSSRC: s.repair, repair: uint16(rand.Uint32() & 0x3fff),
	}
}

// agree takes what was negotiated.
func (o *outlet) agree(c codecs, extensions map[string]uint8) {
	o.codecs, o.timeID = c, timeIDOf(c, extensions)
}

// takes reports whether the subscriber has negotiated a format.
func (o *outlet) takes(f format) bool { return o.codecs[f].payload != 0 }

// timeIDOf gives the id under which the time of sending is stamped on packets, 0 when
// it is not: not on those that may have to be sent again as they were, as no two
// that SRTP encrypts with one number may differ (RFC 7714 section 8).
func timeIDOf(all codecs, extensions map[string]uint8) uint8 {
	if !all.allow(func(c codec) bool { return c.remb && (c.repair != 0 || !c.nack) }) {
		return 0
	}
	return extensions[sdp.ABSSendTimeURI]
}

// sending is an outlet that sends: its way to the client, looked up once a burst.
type sending struct {
	outlet *outlet
	batch  *batch
	route  *path
	keys   *keys
	time   uint32
}

// begin gets ready to send. ok is false while the client cannot be reached.
func (o *outlet) begin(b *batch, stamp uint32) (s sending, ok bool) {
	route, keys := o.leg.link.route.Load(), o.leg.link.keys.Load()
	return sending{o, b, route, keys, stamp}, route != nil && keys != nil
}

// count notes what was sent.
func (o *outlet) count(packets, octets int) {
	if packets == 0 {
		return
	}
	o.packets.Add(uint64(packets))
	o.octets.Add(uint64(octets))
	o.leg.flow()
}

// send gives a packet to the batch. It gives the packet's size before encryption, 0
// when it cannot be sent, which is the affair of this connection alone: a format that
// it has not negotiated never is.
func (s *sending) send(p *packet, seq uint16, stamp uint32, pictures pictureShift) int {
	f, body := p.format, p.payload
	if f == red && s.outlet.codecs[red].payload == 0 {
		f, body = opus, body[p.primary:]
	}
	c := &s.outlet.codecs[f]
	if c.payload == 0 {
		return 0
	}
	b := s.header(p.marker, c.payload, seq, stamp, s.outlet.ssrc)
	at := len(b)
	b = append(b, body...)
	p.ids.shift(b[at:], pictures)
	if f == red {
		renumberRED(b[at:], s.outlet.codecs[opus].payload)
	}
	return s.finish(b)
}

// again sends a packet once more, under number: on the stream for that, or as it
// was.
func (s *sending) again(p *packet, seq, number uint16) int {
	repair := s.outlet.codecs[p.format].repair
	if repair == 0 {
		if s.outlet.timeID != 0 {
			return 0 // it could not be as it was
		}
		return s.send(p, seq, p.stamp, pictureShift{})
	}
	b := s.header(p.marker, repair, number, p.stamp, s.outlet.repairSSRC)
	b = binary.BigEndian.AppendUint16(b, seq)
	return s.finish(append(b, p.payload...))
}

// header writes an RTP header (RFC 3550 section 5.1) with the time of sending (RFC
// 8285 section 4.2), if the client wants that.
func (s *sending) header(marker bool, payload uint8, seq uint16, stamp, ssrc uint32) []byte {
	b := s.batch.room()
	first := byte(0x80)
	if s.outlet.timeID != 0 {
		first |= 0x10
	}
	if marker {
		payload |= 0x80
	}
	b = append(b, first, payload)
	b = binary.BigEndian.AppendUint16(b, seq)
	b = binary.BigEndian.AppendUint32(b, stamp)
	b = binary.BigEndian.AppendUint32(b, ssrc)
	if s.outlet.timeID != 0 {
		b = append(b, 0xbe, 0xde, 0, 1, s.outlet.timeID<<4|2, byte(s.time>>16), byte(s.time>>8), byte(s.time))
	}
	return b
}

// overhead is the size of what header writes.
func (s *sending) overhead() int {
	if s.outlet.timeID != 0 {
		return 20
	}
	return 12
}

func (s *sending) finish(plain []byte) int {
	sealed, err := s.keys.seal(plain, &s.batch.header)
	if err != nil || len(sealed) > maxSealed {
		return 0
	}
	s.batch.add(s.route, sealed)
	return len(plain)
}

// resend sends again what the subscriber misses, as far as the ring still has it.
// It needs leg.feedback.
func (o *outlet) resend(w *worker, n *rtcp.TransportLayerNack, scratch []byte) {
	out, ok := o.begin(w.batch, sendTime(w.now))
	if !ok {
		return
	}
	for _, pair := range n.Nacks {
		for _, seq := range pair.PacketList() {
			if !o.again.look(w.now) {
				return
			}
			p, ok := o.lane.sent(o, seq, scratch)
			if !ok || !o.again.allow(seq, len(p.payload), o.octets.Load(), w.now) {
				continue
			}
			if out.again(&p, seq, o.nextRepair()) > 0 {
				o.leg.room.plane.stats.retransmitted.Add(1)
			}
		}
	}
}

func (o *outlet) nextRepair() uint16 {
	o.lane.mu.Lock()
	defer o.lane.mu.Unlock()
	o.repair++
	return o.repair
}

// report takes what a client says of the streams that it gets, or of those that it
// sends.
func (l *leg) report(w *worker, b []byte) {
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		l.room.plane.stats.refused.Add(1)
		return
	}
	if l.dir == uplink {
		l.reception.told(w, packets)
		return
	}
	l.feedback.Lock()
	defer l.feedback.Unlock()
	scratch := make([]byte, 0, maxPacket)
	for _, p := range packets {
		switch p := p.(type) {
		case *rtcp.TransportLayerNack:
			if o := l.sends(p.MediaSSRC); o != nil {
				o.resend(w, p, scratch)
			}
		case *rtcp.PictureLossIndication:
			if o := l.sends(p.MediaSSRC); o != nil {
				o.lane.askKeyframe(o)
			}
		case *rtcp.FullIntraRequest:
			for _, f := range p.FIR {
				if o := l.sends(f.SSRC); o != nil {
					o.lane.askKeyframe(o)
				}
			}
		case *rtcp.ReceiverReport:
			l.received(p.Reports)
		case *rtcp.SenderReport: // of clients that could send as well
			l.received(p.Reports)
		case *rtcp.ReceiverEstimatedMaximumBitrate:
			l.estimated(p)
		}
	}
}

// sends gives the outlet that sends a stream; nil when none does. It needs feedback.
func (l *leg) sends(ssrc uint32) *outlet {
	for _, o := range l.sending {
		if o.ssrc == ssrc {
			return o
		}
	}
	return nil
}

// received takes reports of what arrived.
func (l *leg) received(reports []rtcp.ReceptionReport) {
	for i := range reports {
		if o := l.sends(reports[i].SSRC); o != nil {
			l.room.plane.stats.observe(downlink, &reports[i], o.lane.rate)
			if o.kind == video {
				o.again.loss = o.lane.lossReported(o, &reports[i])
			}
		}
	}
}

// estimated takes what the client believes its link to bear (REMB,
// draft-alvestrand-rmcat-remb).
func (l *leg) estimated(p *rtcp.ReceiverEstimatedMaximumBitrate) {
	rate := min(max(float64(p.Bitrate), 0), 1e9) // which a client may claim as it likes
	for _, o := range l.sending {
		if o.kind == video {
			o.lane.estimateReported(o, int(rate))
		}
	}
}

// Bounds of what is sent again, so that a subscriber's reports cannot make us send
// much more than the publisher does.
const (
	resendTries = 10       // for a packet, as often as Chromium asks: one that never comes stops the picture for seconds
	resendShare = 0.2      // of what is sent
	resendTwice = 1.25     // asked for once more while a copy is on its way
	resendMost  = 0.6      // of what is sent, to a subscriber that reports such a loss
	resendFloor = 2 << 10  // bytes a second, however little is sent
	resendBurst = 64 << 10 // bytes
	resendLooks = 4096     // for a packet, a second: each takes the lane's lock
)

// resends is the account of what a subscriber may have sent again.
type resends struct {
	loss   float64   // the share of packets to make up for
	tokens int       // bytes that may be sent now
	octets uint64    // sent in all, when tokens were last earned
	at     time.Time // when tokens were last earned
	tries  []try     // by the low bits of the sequence number

	looks   int       // that are left until looksAt is a second ago
	looksAt time.Time // when looks were last full
}

// look reports whether one more packet may be looked for.
func (r *resends) look(now time.Time) bool {
	if now.Sub(r.looksAt) >= time.Second {
		r.looks, r.looksAt = resendLooks, now
	}
	r.looks--
	return r.looks >= 0
}

type try struct {
	seq uint16
	n   uint8
}

// allow takes size bytes for another copy of seq, if there are as many. octets is
// how many have been sent in all.
func (r *resends) allow(seq uint16, size int, octets uint64, now time.Time) bool {
	if r.tries == nil {
		r.tries = make([]try, 256)
		r.tokens, r.octets, r.at = resendBurst, octets, now
	}
	t := &r.tries[int(seq)%len(r.tries)]
	if t.seq != seq {
		*t = try{seq: seq}
	}
	r.earn(octets, now)
	if t.n >= resendTries || r.tokens < size {
		return false
	}
	t.n++
	r.tokens -= size
	return true
}

// share is how much of what is sent may be sent again. Copies are lost as often as
// what they are copies of: to repair a loss takes loss + loss² + … of what is sent, and
// what is asked for too often.
// Who reports a loss to have more is taken at their word in what picture they get, too.
func (r *resends) share() float64 {
	return min(max(resendShare, resendTwice*r.loss/(1-r.loss)), resendMost)
}

func (r *resends) earn(octets uint64, now time.Time) {
	r.tokens += int(min(float64(octets-r.octets)*r.share(), resendBurst))
	r.octets = octets
	if passed := int(min(now.Sub(r.at), time.Minute).Milliseconds()) * resendFloor / 1000; passed > 0 {
		r.tokens += passed
		r.at = now
	}
	r.tokens = min(r.tokens, resendBurst)
}
