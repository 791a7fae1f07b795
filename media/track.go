package media

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"

	"confgate/core"
)

// How many packets a track keeps: some two seconds of a good picture, and more
// than anybody wants of a voice.
const (
	videoRing = 512
	audioRing = 128
)

// track is what a publisher sends on a lane: one SSRC, which may be one of several
// layers of the same picture (simulcast).
type track struct {
	leg       *leg
	lane      *lane
	kind      kind
	mid       string
	layer     string // its rid (RFC 8851); empty when there is but one
	born      uint64 // the number of the leg that it came on
	ssrc      uint32
	payload   uint8
	red       uint8 // payload type of RED; 0 when there is none
	format    format
	keyframes keyframes
	speech    *speech // nil unless somebody wants to know
	levelID   uint8   // of the audio-level header extension; 0 when there is none
	nacks     bool    // the publisher repeats what is asked for

	// Guarded by reception.mu.
	spare   []byte   // for the next packet; becomes part of the ring
	fresh   []packet // to be forwarded at the end of the burst
	missing missing
	lost    uint64    // of ring.lost, as far as counted
	since   time.Time // it was last measured
	bytes   int       // from then on
	silent  int       // measurements in a row that found nothing

	// Guarded by lane.mu.
	ring *ring
	rate int // bit/s as last measured; 0 when nothing comes, -1 when it is too early to tell
	area int // of the picture, in pixels; 0 when not known
}

// newTrack makes a track of what p has: one format, with RED or without.
func newTrack(l *leg, p *part, layer string, ssrc uint32) *track {
	f := p.main()
	t := &track{
		leg: l, lane: l.feed.lane(p.kind), kind: p.kind, mid: p.mid, layer: layer, born: l.number(), ssrc: ssrc,
		payload: p.codecs[f].payload, red: p.codecs[red].payload, format: f, nacks: p.codecs[f].nack, ring: newRing(audioRing), spare: make([]byte, 0, maxPacket), rate: -1,
	}
	if p.kind == video {
		t.ring = newRing(videoRing)
		t.keyframes.send = t.sendPLI
		return t
	}
	if id, ok := p.extensions[sdp.AudioLevelURI]; ok && l.room.options.Speaking && l.name.stream.Source == core.Cam {
		t.levelID = id
		t.speech = newSpeech(l.talk)
	}
	return t
}

func (t *track) sendPLI() {
	t.leg.room.plane.stats.keyframes.Add(1)
	t.leg.link.sendReports(&rtcp.PictureLossIndication{SenderSSRC: t.leg.reception.ssrc, MediaSSRC: t.ssrc})
}

func (t *track) nack(seqs []uint16) rtcp.Packet {
	return &rtcp.TransportLayerNack{SenderSSRC: t.leg.reception.ssrc, MediaSSRC: t.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(seqs)}
}

// take keeps a packet of size bytes, whose payload lies in t.spare, and has it
// forwarded at the end of the burst. It needs reception.mu. The packet's header
// extensions end here: their ids are the publisher's. It reports false when the
// packet makes no sense.
func (t *track) take(w *worker, h *rtp.Header, payload []byte, size int) bool {
	if t.speech != nil {
		if level := h.GetExtension(t.levelID); len(level) > 0 {
			t.speech.heard(level[0] & 0x7f)
		}
	}
	key, area := t.format.beginsKeyframe(payload)
	p := packet{stamp: h.Timestamp, marker: h.Marker, format: t.format, key: key, ids: t.format.pictureIDs(payload), payload: payload, size: size}
	if t.red != 0 && h.PayloadType == t.red {
		var ok bool
		if p.primary, ok = redPrimary(payload, t.payload); !ok {
			return false
		}
		p.format = red
	}
	t.lane.mu.Lock()
	p.index = t.ring.index(h.SequenceNumber)
	before := t.ring.high
	spare, fresh := t.ring.put(p, t.spare)
	lost := t.ring.lost
	if area > 0 {
		t.area = area
	}
	t.lane.mu.Unlock()

	t.spare = spare[:0]
	if t.since.IsZero() {
		t.since = w.now
	}
	t.bytes += size
	stats := &t.leg.room.plane.stats
	stats.received.Add(1)
	stats.receivedBytes.Add(uint64(size))
	if lost > t.lost {
		stats.lost.Add(lost - t.lost)
		t.lost = lost
	}
	t.leg.flow()
	if !fresh {
		return true
	}
	switch {
	case !t.nacks || before == 0:
	case p.index < before:
		t.missing.came(p.index)
	case p.index-before <= maxGap:
		t.missing.add(before+1, p.index)
	}
	if len(t.fresh) == 0 {
		w.fresh = append(w.fresh, t)
	}
	t.fresh = append(t.fresh, p)
	return true
}

// carries reports whether packets of a payload type are the track's.
func (t *track) carries(payload uint8) bool {
	return payload == t.payload || t.red != 0 && payload == t.red
}

// repeated takes a packet of the repair stream: the number of the packet that it
// repeats, and that one's payload (RFC 4588 section 4). It needs reception.mu.
func (t *track) repeated(w *worker, h *rtp.Header, payload []byte) bool {
	if len(payload) < 2 || len(payload) > maxPacket {
		return len(payload) == 0 // of padding alone, which probes the link
	}
	h.SequenceNumber = binary.BigEndian.Uint16(payload)
	h.PayloadType = t.payload
	return t.take(w, h, append(t.spare, payload[2:]...), len(payload))
}

// forward gives what is fresh to the subscribers.
func (t *track) forward(w *worker) {
	defer t.leg.rescue()
	t.leg.reception.mu.Lock()
	defer t.leg.reception.mu.Unlock()
	var waiting bool
	w.copies, waiting = t.lane.plan(t, t.fresh, w.now, w.copies[:0])
	t.send(w)
	clear(w.copies) // or a worker that has nothing to do keeps whole rooms
	clear(t.fresh)
	t.fresh = t.fresh[:0]
	if waiting {
		t.keyframes.ask(keyframeGap)
	}
	if seqs := t.missing.ask(w.now); len(seqs) > 0 {
		t.leg.link.sendReports(t.nack(seqs))
	}
}

// send gives the worker's copies to its batch.
func (t *track) send(w *worker) {
	stamp := sendTime(w.now)
	packets, bytes := 0, 0
	for i := 0; i < len(w.copies); {
		o := w.copies[i].outlet
		out, ok := o.begin(w.batch, stamp)
		n, octets := 0, 0
		for ; i < len(w.copies) && w.copies[i].outlet == o; i++ {
			c := &w.copies[i]
			if !ok {
				continue
			}
			if size := out.send(&t.fresh[c.packet], c.seq, c.stamp, c.pictures); size > 0 {
				n++
				bytes += size
				octets += size - out.overhead()
			}
		}
		o.count(n, octets)
		packets += n
	}
	stats := &t.leg.room.plane.stats
	stats.forwarded.Add(uint64(packets))
	stats.forwardedBytes.Add(uint64(bytes))
}

// shortest is the least time that says what a track's rate is.
const shortest = 500 * time.Millisecond

// silence is after how many measurements that found nothing a track has stopped. A
// page that shows something still may send no more than a picture a second.
const silence = 2

// measure works out the track's rate. It is called about once a second, and needs
// reception.mu.
func (t *track) measure(now time.Time) {
	passed := now.Sub(t.since)
	if t.since.IsZero() || passed < shortest {
		return
	}
	rate := int(int64(t.bytes) * 8 * int64(time.Second) / int64(passed))
	if t.silent++; t.bytes > 0 {
		t.silent = 0
	}
	t.since, t.bytes = now, 0
	if rate > 0 || t.silent >= silence {
		t.lane.measured(t, rate, now)
	}
}

// isOver reports whether the track has stopped and another has taken its place.
func (t *track) isOver() bool { return t.silent >= silence && !t.lane.has(t) }

// isOf reports whether it is what a section is to carry.
func (t *track) isOf(p part) bool {
	return p.kind == t.kind && p.mid == t.mid && p.codecs[t.format].payload == t.payload && p.codecs[red].payload == t.red &&
		(t.layer == "" && len(p.layers) == 0 || slices.Contains(p.layers, t.layer))
}

// close ends what the track began.
func (t *track) close() {
	t.lane.retire(t)
	t.keyframes.close()
	if t.speech != nil {
		t.speech.close()
	}
}

// sendTime is the abs-send-time of now: seconds, 6 bits, and their fraction, 18.
func sendTime(now time.Time) uint32 {
	ns := uint64(now.UnixNano())
	return uint32((ns/1e9&0x3f)<<18 | (ns%1e9<<18)/1e9)
}
