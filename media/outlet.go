package media

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

var errOtherCodec = errors.New("client takes neither Opus nor VP8")

// outlet is one subscriber's copy of a lane. It implements webrtc.TrackLocal: it is
// bound to its connection from the start, whoever publishes when.
type outlet struct {
	leg    *leg
	lane   *lane
	kind   webrtc.RTPCodecType
	stream string // the msid that audio and video share

	// Owned by the leg's queue until the lane has the outlet; constant from then on.
	sender   *webrtc.RTPSender
	bound    bool
	attached bool
	writer   webrtc.TrackLocalWriter
	ssrc     uint32
	payload  uint8

	numbers rewriter // guarded by lane.mu

	packets, octets atomic.Uint64 // sent, without headers

	// Owned by read.
	again  resends
	header rtp.Header
}

func newOutlet(l *leg, lane *lane, stream string) *outlet {
	return &outlet{leg: l, lane: lane, kind: lane.kind, stream: stream}
}

// Bind implements webrtc.TrackLocal. Pion calls it in the leg's own call to set a
// description.
func (o *outlet) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	mime := webrtc.MimeTypeOpus
	if o.kind == webrtc.RTPCodecTypeVideo {
		mime = webrtc.MimeTypeVP8
	}
	for _, codec := range c.CodecParameters() {
		if strings.EqualFold(codec.MimeType, mime) {
			o.bound, o.writer = true, c.WriteStream()
			o.ssrc, o.payload = uint32(c.SSRC()), uint8(codec.PayloadType)
			return codec, nil
		}
	}
	return webrtc.RTPCodecParameters{}, errOtherCodec
}

// Unbind implements webrtc.TrackLocal. The leg detaches its outlets itself.
func (o *outlet) Unbind(webrtc.TrackLocalContext) error { return nil }

// ID implements webrtc.TrackLocal.
func (o *outlet) ID() string { return o.kind.String() }

// RID implements webrtc.TrackLocal.
func (o *outlet) RID() string { return "" }

// StreamID implements webrtc.TrackLocal.
func (o *outlet) StreamID() string { return o.stream }

// Kind implements webrtc.TrackLocal.
func (o *outlet) Kind() webrtc.RTPCodecType { return o.kind }

// write sends a packet and gives its size; 0 when it could not be sent, which is
// the affair of this connection alone.
func (o *outlet) write(h *rtp.Header, payload []byte) int {
	h.SSRC, h.PayloadType = o.ssrc, o.payload
	n, err := o.writer.WriteRTP(h, payload)
	if err != nil || n == 0 {
		return 0
	}
	o.packets.Add(1)
	o.octets.Add(uint64(len(payload)))
	o.leg.flow()
	return h.MarshalSize() + len(payload)
}

// read answers what the subscriber reports.
func (o *outlet) read() {
	buffer := make([]byte, maxPacket)
	for {
		n, _, err := o.sender.Read(buffer)
		if isPassing(err) {
			continue
		}
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buffer[:n])
		if err != nil {
			continue
		}
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.TransportLayerNack:
				o.resend(p, buffer)
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				o.lane.askKeyframe()
			}
		}
	}
}

// resend sends again what the subscriber misses, as far as the ring still has it.
// scratch is what the reports were read into, and free by now.
func (o *outlet) resend(n *rtcp.TransportLayerNack, scratch []byte) {
	now := time.Now()
	for _, pair := range n.Nacks {
		for _, seq := range pair.PacketList() {
			p, ok := o.lane.sent(o, seq, scratch)
			if !ok || !o.again.allow(seq, len(p.payload), o.octets.Load(), now) {
				continue
			}
			o.header = rtp.Header{Version: 2, Marker: p.marker, SequenceNumber: seq, Timestamp: p.stamp}
			if o.write(&o.header, p.payload) > 0 {
				o.leg.room.plane.stats.retransmitted.Add(1)
			}
		}
	}
}

// sent gives a packet as it was sent to o, its payload copied to scratch.
func (l *lane) sent(o *outlet, seq uint16, scratch []byte) (packet, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	index, ok := o.numbers.find(seq)
	if !ok {
		return packet{}, false
	}
	p, ok := o.numbers.source.ring.get(index)
	if !ok {
		return packet{}, false
	}
	p.payload = scratch[:copy(scratch, p.payload)]
	p.stamp += o.numbers.shift
	return p, true
}

// report tells every outlet of t's sender report in the outlet's own terms: its
// timestamps and its counts. The wall clock stays the publisher's, by which a
// receiver relates the two streams of a feed.
func (l *lane) report(t *track, r *rtcp.SenderReport) {
	var all []copyTo
	l.mu.Lock()
	for _, o := range l.outlets {
		if o.numbers.source == t {
			all = append(all, copyTo{outlet: o, stamp: r.RTPTime + o.numbers.shift})
		}
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.outlet.leg.pc.WriteRTCP([]rtcp.Packet{ // fails on a closed connection
			&rtcp.SenderReport{
				SSRC: c.outlet.ssrc, NTPTime: r.NTPTime, RTPTime: c.stamp,
				PacketCount: uint32(c.outlet.packets.Load()), OctetCount: uint32(c.outlet.octets.Load()),
			},
			rtcp.NewCNAMESourceDescription(c.outlet.ssrc, c.outlet.stream),
		})
	}
}

// takers is how many outlets there are.
func (l *lane) takers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.outlets)
}

// Bounds of what is sent again, so that a subscriber's reports cannot make us send
// much more than the publisher does.
const (
	resendTries = 3        // for a packet
	resendShare = 5        // one part in so many of what is sent
	resendFloor = 2 << 10  // bytes a second, however little is sent
	resendBurst = 64 << 10 // bytes
)

// resends is the account of what a subscriber may have sent again.
type resends struct {
	tokens int       // bytes that may be sent now
	octets uint64    // sent in all, as far as they have earned tokens
	at     time.Time // when tokens were last earned
	tries  []try     // by the low bits of the sequence number
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

func (r *resends) earn(octets uint64, now time.Time) {
	shares := (octets - r.octets) / resendShare
	r.octets += shares * resendShare
	r.tokens += int(min(shares, resendBurst))
	if passed := int(min(now.Sub(r.at), time.Minute).Milliseconds()) * resendFloor / 1000; passed > 0 {
		r.tokens += passed
		r.at = now
	}
	r.tokens = min(r.tokens, resendBurst)
}
