package media

import (
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// feed is what one member sends of one source, for those who send it and those who
// take it.
type feed struct {
	audio, video lane
	legs         int // that use the feed; guarded by room.mu
}

func newFeed() *feed {
	return &feed{
		audio: lane{kind: webrtc.RTPCodecTypeAudio, rate: 48000},
		video: lane{kind: webrtc.RTPCodecTypeVideo, rate: 90000},
	}
}

func (f *feed) lane(kind webrtc.RTPCodecType) *lane {
	if kind == webrtc.RTPCodecTypeVideo {
		return &f.video
	}
	return &f.audio
}

// lane is the audio or the video of a feed. Its lock also is the turn that a
// publisher and its successor take: it is held once a packet, to keep the packet
// and number it for each outlet, and not while it is sent.
type lane struct {
	kind webrtc.RTPCodecType
	rate uint32 // of timestamps, Hz

	mu      sync.Mutex
	source  *track    // who publishes; guarded by mu
	outlets []*outlet // who takes it; guarded by mu
}

// publish makes t the source, unless the same connection or a newer one sends
// something else here already.
func (l *lane) publish(t *track) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.source; s != nil && (s.leg == t.leg && s.mid != t.mid || s.born > t.born) {
		return false
	}
	l.source = t
	return true
}

// retire lets go of a source and of the packets that it keeps.
func (l *lane) retire(t *track) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.source == t {
		l.source = nil
	}
	t.ring.slots = nil
}

// attach lets o have packets from now on. A picture begins with a key frame, so
// one is asked for at once.
func (l *lane) attach(o *outlet) {
	l.mu.Lock()
	l.outlets = append(l.outlets, o)
	source := l.source
	l.mu.Unlock()
	if source != nil {
		source.keyframes.ask(joinerGap)
	}
}

func (l *lane) detach(o *outlet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outlets = slices.DeleteFunc(l.outlets, func(other *outlet) bool { return other == o })
}

// askKeyframe passes a subscriber's request on.
func (l *lane) askKeyframe() {
	l.mu.Lock()
	source := l.source
	l.mu.Unlock()
	if source != nil {
		source.keyframes.ask(keyframeGap)
	}
}

// copyTo is a packet's header for one outlet.
type copyTo struct {
	outlet *outlet
	seq    uint16
	stamp  uint32
}

// plan appends to batch how each outlet sends p. It reports whether somebody waits
// for a key frame. It needs l.mu.
func (l *lane) plan(t *track, p *packet, now time.Time, batch []copyTo) (_ []copyTo, waiting bool) {
	for _, o := range l.outlets {
		if o.numbers.source != t {
			if l.kind == webrtc.RTPCodecTypeVideo && !p.key {
				waiting = true
				continue
			}
			o.numbers.begin(t, p.index, p.stamp, l.rate, now)
		}
		if seq, stamp, ok := o.numbers.next(p.index, p.stamp, now); ok {
			batch = append(batch, copyTo{o, seq, stamp})
		}
	}
	return batch, waiting
}
