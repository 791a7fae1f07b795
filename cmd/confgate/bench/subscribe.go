package bench

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
)

// pliEvery is how long a receiver waits for a key frame before it asks again.
const pliEvery = 300 * time.Millisecond

// subscription is the connection on which one member receives another.
type subscription struct {
	link
	sender uint16
	clock  clock
	window *window
	told   flow
	ssrc   uint32 // ours, in RTCP

	came [kinds]ledger
	// Strays are packets that do not belong here: another member's, or unreadable.
	strays, duplicates atomic.Uint64
	gaps               gaps // owned by packet; its counters are atomic

	// Owned by packet: Pion gives a connection's packets one at a time.
	heard    bool        // anything at all
	began    [kinds]bool // or not expected
	flowing  bool
	asked    int64 // when a key frame was asked for
	reported int64 // when a receiver report was sent
	extended [kinds]counter

	mu    sync.Mutex
	delay spread // guarded by mu: of the packets in the window
}

// flow is what a subscription tells its owner, once each.
type flow struct {
	first   func(at int64) // the first packet came
	picture func(at int64) // the first key frame began
	flowing func()         // both kinds came, the video from a key frame on
}

// subscribe makes a connection that is to carry sender's tracks, those of a load.
func (e *engine) subscribe(sender uint16, l load, c clock, w *window, told flow, up upshot) *subscription {
	s := &subscription{sender: sender, clock: c, window: w, told: told, ssrc: rand.Uint32()}
	for k := range kinds {
		s.began[k] = !l.has(k)
	}
	up.packet = s.packet
	up.control = nil // sender reports
	s.link = e.receiver(up)
	return s
}

// packet takes one RTP packet.
func (s *subscription) packet(b []byte) {
	now := s.clock.now()
	head, payload, ok := parseRTP(b)
	if !ok {
		s.strays.Add(1)
		return
	}
	var pic picture
	var st stamp
	var err error
	k := head.kind
	if k == audio {
		st, err = parseAudio(payload)
	} else {
		pic, st, err = parseVideo(payload)
	}
	if err != nil || st.sender != s.sender || st.seq >= maxSeq {
		s.strays.Add(1)
		return
	}
	s.note(st, now)
	s.start(head, pic, now)
	s.extended[k].add(head)
	if k == video {
		if ask := s.gaps.arrived(head.seq, now); len(ask) > 0 {
			s.control(&rtcp.TransportLayerNack{SenderSSRC: s.ssrc, MediaSSRC: head.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(ask)})
		}
	}
	if now-s.reported >= int64(reportEvery) {
		s.reported = now
		s.report()
	}
}

// note counts a packet.
func (s *subscription) note(st stamp, now int64) {
	fresh := s.came[st.kind].add(st.seq)
	if !s.window.holds(st.at) {
		return
	}
	if !fresh {
		s.duplicates.Add(1)
		return
	}
	s.mu.Lock()
	s.delay.add(time.Duration(now - st.at))
	s.mu.Unlock()
}

// start watches the flow begin, and asks for a key frame until one has come.
func (s *subscription) start(head rtpHead, pic picture, now int64) {
	if s.flowing {
		return
	}
	if !s.heard {
		s.heard, s.reported = true, now
		s.told.first(now)
	}
	switch {
	case head.kind == audio:
		s.began[audio] = true
	case pic.first && pic.key && !s.began[video]:
		s.began[video] = true
		s.told.picture(now)
	case !s.began[video] && now-s.asked >= int64(pliEvery):
		s.asked = now
		s.control(&rtcp.PictureLossIndication{SenderSSRC: s.ssrc, MediaSSRC: head.ssrc})
	}
	if s.began[audio] && s.began[video] {
		s.flowing = true
		s.told.flowing()
	}
}

// report sends a receiver report (RFC 3550 section 6.4.2).
func (s *subscription) report() {
	r := &rtcp.ReceiverReport{SSRC: s.ssrc}
	for k := range s.extended {
		if c := &s.extended[k]; c.count > 0 {
			r.Reports = append(r.Reports, c.report())
		}
	}
	s.control(r)
}

// counter is what a receiver report says of a track.
type counter struct {
	ssrc                 uint32
	first, highest       uint32 // extended by the number of times that they wrapped
	count                uint32
	wasCount, wasHighest uint32 // at the last report
}

func (c *counter) add(h rtpHead) {
	if c.count == 0 || c.ssrc != h.ssrc {
		*c = counter{ssrc: h.ssrc, first: uint32(h.seq), highest: uint32(h.seq), wasHighest: uint32(h.seq) - 1}
	}
	if ahead := int16(h.seq - uint16(c.highest)); ahead > 0 {
		c.highest += uint32(ahead)
	}
	c.count++
}

func (c *counter) report() rtcp.ReceptionReport {
	expected, got := c.highest-c.wasHighest, c.count-c.wasCount
	c.wasHighest, c.wasCount = c.highest, c.count
	r := rtcp.ReceptionReport{SSRC: c.ssrc, LastSequenceNumber: c.highest}
	if all := c.highest - c.first + 1; all > c.count {
		r.TotalLost = min(all-c.count, 1<<23-1)
	}
	if expected > got {
		r.FractionLost = uint8((expected - got) * 255 / expected)
	}
	return r
}

// rtpHead is what a receiver needs of an RTP header.
type rtpHead struct {
	kind kind
	seq  uint16
	ssrc uint32
}

// parseRTP takes a packet apart (RFC 3550 section 5.1). It is here rather than in a
// library because it runs for every packet and must not allocate.
func parseRTP(b []byte) (head rtpHead, payload []byte, ok bool) {
	const fixed = 12
	if len(b) < fixed || b[0]>>6 != 2 {
		return rtpHead{}, nil, false
	}
	n := fixed + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return rtpHead{}, nil, false
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	if b[0]&0x20 != 0 { // padding
		b = b[:max(len(b)-int(b[len(b)-1]), 0)]
	}
	if len(b) < n {
		return rtpHead{}, nil, false
	}
	head = rtpHead{seq: binary.BigEndian.Uint16(b[2:]), ssrc: binary.BigEndian.Uint32(b[8:])}
	switch b[1] & 0x7f {
	case opusType:
		head.kind = audio
	case vp8Type:
		head.kind = video
	default:
		return rtpHead{}, nil, false
	}
	return head, b[n:], true
}
