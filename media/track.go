package media

import (
	"errors"
	"io"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"confgate/core"
)

// How many packets a track keeps: some two seconds of a good picture, and more
// than anybody wants of a voice.
const (
	videoRing = 512
	audioRing = 128
)

// track is what a publisher sends on a lane. Its reader is the one goroutine that
// reads and forwards its packets.
type track struct {
	leg       *leg
	lane      *lane
	mid       string
	born      uint64 // the number of the leg that it came on
	ssrc      uint32
	keyframes keyframes
	speech    *speech // nil unless somebody wants to know
	levelID   uint8   // of the audio-level header extension; 0 when there is none

	ring *ring // guarded by lane.mu

	// Owned by the reader.
	in    rtp.Header
	out   rtp.Header
	batch []copyTo
	lost  uint64 // of ring.lost, as far as counted
}

func newTrack(l *leg, lane *lane, in *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) *track {
	t := &track{leg: l, lane: lane, born: l.number(), ssrc: uint32(in.SSRC()), ring: newRing(audioRing)}
	if tr := receiver.RTPTransceiver(); tr != nil {
		t.mid = tr.Mid()
	}
	if lane.kind == webrtc.RTPCodecTypeVideo {
		t.ring = newRing(videoRing)
		t.keyframes.send = t.sendPLI
		return t
	}
	if l.room.options.Speaking && l.name.stream.Source == core.Cam {
		for _, x := range receiver.GetParameters().HeaderExtensions {
			if x.URI == sdp.AudioLevelURI {
				t.levelID = uint8(x.ID)
				t.speech = newSpeech(l.talk)
			}
		}
	}
	return t
}

func (t *track) sendPLI() {
	t.leg.room.plane.stats.keyframes.Add(1)
	_ = t.leg.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: t.ssrc}}) // fails on a closed connection
}

// read forwards packets until the track ends.
func (t *track) read(in *webrtc.TrackRemote) {
	if t.lane.takers() > 0 {
		t.keyframes.ask(joinerGap) // they have been here before the publisher
	}
	buffer := make([]byte, maxPacket)
	for {
		n, _, err := in.Read(buffer)
		if isPassing(err) {
			continue
		}
		if err != nil {
			return
		}
		buffer = t.take(buffer, n)
	}
}

// isPassing reports whether a read failed for the sake of one packet: it is too
// long, or of a payload type that was not negotiated.
func isPassing(err error) bool {
	return errors.Is(err, webrtc.ErrCodecNotFound) || errors.Is(err, io.ErrShortBuffer)
}

// drain reads what nobody wants.
func drain(in *webrtc.TrackRemote) {
	buffer := make([]byte, maxPacket)
	for {
		if _, _, err := in.Read(buffer); err != nil && !isPassing(err) {
			return
		}
	}
}

// take forwards the packet of size bytes in buffer and gives a buffer for the next
// one.
func (t *track) take(buffer []byte, size int) (spare []byte) {
	p, ok := t.parse(buffer[:size])
	if !ok {
		return buffer
	}
	stats := &t.leg.room.plane.stats
	stats.received.Add(1)
	stats.receivedBytes.Add(uint64(size))
	t.leg.flow()
	now := time.Now()

	t.lane.mu.Lock()
	p.index = t.ring.index(t.in.SequenceNumber)
	spare, fresh := t.ring.put(p, buffer)
	waiting := false
	t.batch = t.batch[:0]
	if fresh && t.lane.source == t {
		t.batch, waiting = t.lane.plan(t, &p, now, t.batch)
	}
	lost := t.ring.lost
	t.lane.mu.Unlock()

	t.send(&p)
	if waiting {
		t.keyframes.ask(keyframeGap)
	}
	if lost > t.lost {
		stats.lost.Add(lost - t.lost)
		t.lost = lost
	}
	return spare
}

// parse reads an RTP packet. Its header extensions end here: their ids are the
// publisher's.
func (t *track) parse(b []byte) (p packet, ok bool) {
	n, err := t.in.Unmarshal(b)
	if err != nil {
		return p, false
	}
	payload := b[n:]
	if t.in.Padding {
		if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
			return p, false
		}
		payload = payload[:len(payload)-int(payload[len(payload)-1])]
	}
	if t.speech != nil && t.levelID != 0 {
		if level := t.in.GetExtension(t.levelID); len(level) > 0 {
			t.speech.heard(level[0] & 0x7f)
		}
	}
	return packet{
		stamp: t.in.Timestamp, marker: t.in.Marker, payload: payload, size: len(b),
		key: t.lane.kind == webrtc.RTPCodecTypeVideo && beginsKeyframe(payload),
	}, true
}

// send sends the batch. It is the place to hand a whole fan-out to the kernel at
// once.
func (t *track) send(p *packet) {
	t.out = rtp.Header{Version: 2, Marker: p.marker}
	packets, bytes := 0, 0
	for i := range t.batch {
		c := &t.batch[i]
		t.out.SequenceNumber, t.out.Timestamp = c.seq, c.stamp
		if n := c.outlet.write(&t.out, p.payload); n > 0 {
			packets++
			bytes += n
		}
	}
	if packets > 0 {
		t.leg.room.plane.stats.forwarded.Add(uint64(packets))
		t.leg.room.plane.stats.forwardedBytes.Add(uint64(bytes))
	}
}

// readReports passes the publisher's sender reports on to the subscribers, so that
// they can play voice and picture in step.
func (t *track) readReports(receiver *webrtc.RTPReceiver) {
	buffer := make([]byte, maxPacket)
	for {
		n, _, err := receiver.Read(buffer)
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
			if r, ok := p.(*rtcp.SenderReport); ok && r.SSRC == t.ssrc {
				t.lane.report(t, r)
			}
		}
	}
}

// close ends what the track's reader began.
func (t *track) close() {
	t.lane.retire(t)
	t.keyframes.close()
	if t.speech != nil {
		t.speech.close()
	}
}

// beginsKeyframe reports whether a VP8 payload begins a key frame: it begins the
// first partition (RFC 7741 section 4.2) of a frame whose P bit is 0 (RFC 6386
// section 9.1).
func beginsKeyframe(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	const x, s, partition = 0x80, 0x10, 0x07
	if b[0]&s == 0 || b[0]&partition != 0 {
		return false
	}
	n := 1
	if b[0]&x != 0 {
		if len(b) < 2 {
			return false
		}
		const i, l, t, k = 0x80, 0x40, 0x20, 0x10
		extensions := b[1]
		n = 2
		if extensions&i != 0 {
			if len(b) <= n {
				return false
			}
			if b[n]&0x80 != 0 { // a picture id of two bytes
				n++
			}
			n++
		}
		if extensions&l != 0 {
			n++
		}
		if extensions&(t|k) != 0 {
			n++
		}
	}
	return len(b) > n && b[n]&1 == 0
}
