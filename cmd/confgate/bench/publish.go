package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

const (
	audioClock = 48_000 // RTP ticks a second
	videoClock = 90_000

	audioEvery = 20 * time.Millisecond
	audioSize  = 80 // bytes of payload

	maxVideoPayload = 1150 // so that a packet stays below 1200 bytes, as browsers keep it
	keyFrameWeight  = 3    // a key frame is so many times the size of others
	reportEvery     = time.Second

	tooLate = 200 * time.Millisecond

	resendable = 256 // video packets that are kept for NACKs; a power of two
)

// load is what each sender sends.
type load struct {
	audio    bool
	fps      int           // video frames a second; 0: no video
	packets  int           // of a frame that is no key frame
	size     int           // bytes of such a packet's payload
	keyEvery time.Duration // between key frames that nobody asked for
}

// videoLoad gives a load of that many kbit a second, with audio.
func videoLoad(kbps, fps int, keyEvery time.Duration) load {
	frame := max(kbps*1000/8/fps, minVideoPayload)
	packets := (frame + maxVideoPayload - 1) / maxVideoPayload
	return load{audio: true, fps: fps, packets: packets, size: max(frame/packets, minVideoPayload), keyEvery: keyEvery}
}

func (l load) has(k kind) bool {
	if k == audio {
		return l.audio
	}
	return l.fps > 0
}

func (l load) isSilent() bool { return !l.has(audio) && !l.has(video) }

// every is the time between a track's packets, or frames.
func (l load) every(k kind) time.Duration {
	if k == audio {
		return audioEvery
	}
	return time.Second / time.Duration(max(l.fps, 1))
}

// publication is the connection that one member sends on.
type publication struct {
	*peer
	sender uint16
	load   load
	clock  clock
	window *window

	log [kinds]tracklog
	// late is how long after their time the window's packets were sent: the
	// instrument's own fault. Owned by run, and by the report once run has returned.
	late spread
	// skipped counts packets and frames that were so late in the window that they were
	// not sent, and not expected. Owned like late.
	skipped uint64

	wantKey atomic.Bool

	out [kinds]outlet

	mu   sync.Mutex
	kept [resendable]*rtp.Packet // guarded by mu: the latest video packets
}

// outlet is one track on its way out.
type outlet struct {
	track *webrtc.TrackLocalStaticRTP
	ssrc  uint32
	base  uint16 // the RTP sequence number of packet 0
	ticks uint32 // the RTP timestamp at time 0

	// Owned by run.
	seq    uint32 // of the next packet
	octets uint32
}

// publish makes the connection; run sends on it.
func (e *engine) publish(sender uint16, l load, c clock, w *window, up upshot) (*publication, error) {
	p := &publication{sender: sender, load: l, clock: c, window: w}
	up.packet = func([]byte) {} // nothing is expected on the way back
	up.control = p.heed
	peer, err := e.peer(up)
	if err != nil {
		return nil, err
	}
	p.peer = peer
	for k := range kinds {
		if err := p.addTrack(k); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *publication) addTrack(k kind) error {
	track, err := webrtc.NewTrackLocalStaticRTP(codecs[k].RTPCodecCapability, k.String(), "bench")
	if err != nil {
		return fmt.Errorf("make track: %w", err)
	}
	t, err := p.pc.AddTransceiverFromTrack(track,
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return fmt.Errorf("add track: %w", err)
	}
	p.out[k] = outlet{
		track: track, base: uint16(rand.Uint32()), ticks: rand.Uint32(),
		ssrc: uint32(t.Sender().GetParameters().Encodings[0].SSRC),
	}
	return nil
}

// run sends until ctx is done. Times are absolute: a packet that is late makes no
// other late. What could not be sent for too long is left out, as by any live source:
// sent in one go it would only flood the sockets on its way. phase, within the audio's
// interval, keeps members apart.
func (p *publication) run(ctx context.Context, phase time.Duration) {
	start := p.clock.now()
	var every, next [kinds]int64
	for k := range kinds {
		every[k], next[k] = int64(p.load.every(k)), math.MaxInt64
		if p.load.has(k) {
			next[k] = start + int64(phase)*every[k]/int64(audioEvery)
		}
	}
	report, key := start+int64(reportEvery), start
	timer := time.NewTimer(0)
	defer timer.Stop()
	var frame uint16
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := p.clock.now()
		for k := range kinds {
			next[k] += p.skip(now, next[k], every[k])
		}
		for ; next[audio] <= now; next[audio] += every[audio] {
			p.sendAudio(next[audio])
		}
		for ; next[video] <= now; next[video] += every[video] {
			isKey := p.wantKey.Swap(false) || next[video] >= key
			if isKey {
				key = next[video] + int64(p.load.keyEvery)
			}
			p.sendFrame(next[video], frame&0x7fff, isKey)
			frame++
		}
		if report <= now {
			report += int64(reportEvery)
			p.report(now)
		}
		// A sender with nothing to send comes by to report only.
		timer.Reset(time.Duration(min(next[audio], next[video], report) - p.clock.now()))
	}
}

// skip gives how far to move a track's next time so that it is not too late.
func (p *publication) skip(now, next, every int64) int64 {
	if next > now {
		return 0
	}
	late := now - next - int64(tooLate)
	if late <= 0 {
		return 0
	}
	missed := (late + every - 1) / every
	if p.window.holds(now) {
		p.skipped += uint64(missed)
	}
	return missed * every
}

func (p *publication) sendAudio(due int64) {
	b := make([]byte, audioSize)
	putAudio(b, p.stamp(audio, due))
	p.write(audio, due, b, false)
}

// sendFrame sends a frame in packets of equal size.
func (p *publication) sendFrame(due int64, id uint16, key bool) {
	packets := p.load.packets
	if key {
		packets *= keyFrameWeight
	}
	for i := range packets {
		b := make([]byte, p.load.size)
		putVideo(b, picture{id: id, first: i == 0, key: key}, p.stamp(video, due))
		p.write(video, due, b, i == packets-1)
	}
}

// stamp is for the next packet of a track, which was to be sent at due.
func (p *publication) stamp(k kind, due int64) stamp {
	now := p.clock.now()
	if p.window.holds(now) {
		p.late.add(time.Duration(now - due))
	}
	p.log[k].add(now)
	return stamp{kind: k, sender: p.sender, seq: p.out[k].seq, at: now}
}

func (p *publication) write(k kind, due int64, payload []byte, marker bool) {
	o := &p.out[k]
	packet := &rtp.Packet{
		Header: rtp.Header{
			Version: 2, Marker: marker, SequenceNumber: o.base + uint16(o.seq), Timestamp: o.timestamp(k, due),
		},
		Payload: payload,
	}
	o.seq++
	o.octets += uint32(len(payload))
	if k == video {
		p.keep(packet)
	}
	_ = o.track.WriteRTP(packet) // one that cannot be sent is one that is lost
}

func (o *outlet) timestamp(k kind, at int64) uint32 {
	rate := [kinds]int64{audio: audioClock, video: videoClock}[k]
	return o.ticks + uint32(at/int64(time.Microsecond)*rate/1_000_000)
}

// report sends a sender report for each track (RFC 3550 section 6.4.1).
func (p *publication) report(now int64) {
	for k := range kinds {
		if !p.load.has(k) {
			continue
		}
		o := &p.out[k]
		p.control(&rtcp.SenderReport{
			SSRC: o.ssrc, NTPTime: p.clock.ntp(now), RTPTime: o.timestamp(k, now),
			PacketCount: o.seq, OctetCount: o.octets,
		})
	}
}

func (p *publication) keep(packet *rtp.Packet) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept[packet.SequenceNumber%resendable] = packet
}

// heed does what the gateway asks by RTCP: key frames and packets once more.
func (p *publication) heed(packets []rtcp.Packet) {
	for _, packet := range packets {
		switch packet := packet.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			p.wantKey.Store(true)
		case *rtcp.TransportLayerNack:
			if packet.MediaSSRC != p.out[video].ssrc {
				continue
			}
			for _, pair := range packet.Nacks {
				pair.Range(func(seq uint16) bool { p.resend(seq); return true })
			}
		}
	}
}

func (p *publication) resend(seq uint16) {
	p.mu.Lock()
	packet := p.kept[seq%resendable]
	p.mu.Unlock()
	if packet != nil && packet.SequenceNumber == seq {
		_ = p.out[video].track.WriteRTP(packet)
	}
}

// clock counts nanoseconds since the run began. All of a run's parts share one.
type clock struct{ epoch time.Time }

func (c clock) now() int64 { return int64(time.Since(c.epoch)) }

// ntp gives an instant as an NTP timestamp (RFC 5905 section 6).
func (c clock) ntp(now int64) uint64 {
	const since1900 = 2_208_988_800
	t := c.epoch.Add(time.Duration(now))
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/1_000_000_000
}
