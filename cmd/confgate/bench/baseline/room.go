package main

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"confgate/core"
)

var errNoLeg = errors.New("there is no such connection")

// room implements core.Media.
type room struct {
	plane *plane
	tell  func(core.MediaEvent)

	mu     sync.Mutex
	closed bool                  // guarded by mu
	legs   map[core.Leg]*leg     // guarded by mu
	feeds  map[core.Stream]*feed // guarded by mu; a stream's feed stays while the room does
}

// feed is what one stream's subscribers share.
type feed struct {
	tracks map[webrtc.RTPCodecType]*webrtc.TrackLocalStaticRTP

	mu    sync.Mutex
	from  *webrtc.PeerConnection // guarded by mu; nil until video comes
	ssrc  webrtc.SSRC            // guarded by mu: of the video
	asked time.Time              // guarded by mu: for a key frame
}

// pliEvery is how often a publisher is asked for a key frame at most, and a joiner's
// request is not held up long.
const pliEvery = 100 * time.Millisecond

func newFeed() (*feed, error) {
	f := &feed{tracks: make(map[webrtc.RTPCodecType]*webrtc.TrackLocalStaticRTP)}
	for kind, codec := range codecs {
		track, err := webrtc.NewTrackLocalStaticRTP(codec.RTPCodecCapability, kind.String(), "feed")
		if err != nil {
			return nil, fmt.Errorf("make track: %w", err)
		}
		f.tracks[kind] = track
	}
	return f, nil
}

// published says where key frames come from.
func (f *feed) published(pc *webrtc.PeerConnection, ssrc webrtc.SSRC) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.from, f.ssrc = pc, ssrc
}

func (f *feed) askKeyFrame() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.from == nil || time.Since(f.asked) < pliEvery {
		return // the subscriber asks again
	}
	f.asked = time.Now()
	_ = f.from.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(f.ssrc)}})
}

// Accept implements core.Media. An offer always makes a new connection.
func (r *room) Accept(id core.Leg, ref core.Ref, offer string) {
	r.work(id, func(l *leg) {
		sdp, err := l.accept(offer)
		r.tell(core.Accepted{Leg: id, Ref: ref, Answer: sdp, Err: err})
	}, func(err error) { r.tell(core.Accepted{Leg: id, Ref: ref, Err: err}) })
}

// Offer implements core.Media.
func (r *room) Offer(id core.Leg, ref core.Ref, video, audio bool) {
	r.work(id, func(l *leg) {
		sdp, err := l.offer(video, audio)
		r.tell(core.Ready{Leg: id, Ref: ref, Offer: sdp, Err: err})
	}, func(err error) { r.tell(core.Ready{Leg: id, Ref: ref, Err: err}) })
}

// Answer implements core.Media.
func (r *room) Answer(id core.Leg, ref core.Ref, answer string) {
	r.mu.Lock()
	l := r.legs[id]
	r.mu.Unlock()
	go func() {
		err := errNoLeg
		if l != nil {
			err = l.answer(answer)
		}
		r.tell(core.Settled{Leg: id, Ref: ref, Err: err})
	}()
}

// Trickle implements core.Media. Clients reach the one address there is.
func (r *room) Trickle(core.UserID, core.Stream, core.Candidate) {}

// Drop implements core.Media.
func (r *room) Drop(id core.Leg) {
	r.mu.Lock()
	l := r.legs[id]
	delete(r.legs, id)
	r.mu.Unlock()
	if l != nil {
		go l.close()
	}
}

// Close implements core.Media.
func (r *room) Close() {
	r.mu.Lock()
	r.closed = true
	legs := r.legs
	r.legs = make(map[core.Leg]*leg)
	r.mu.Unlock()
	for _, l := range legs {
		go l.close()
	}
	r.plane.forget(r)
}

// work makes a connection and lets do go on with it.
func (r *room) work(id core.Leg, do func(*leg), fail func(error)) {
	go func() {
		l, err := r.open(id)
		if err != nil {
			fail(err)
			return
		}
		do(l)
	}()
}

// open makes a connection in the place of its predecessor, if there is one.
func (r *room) open(id core.Leg) (*leg, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errNoLeg
	}
	f := r.feeds[id.Stream]
	if f == nil {
		var err error
		if f, err = newFeed(); err != nil {
			return nil, err
		}
		r.feeds[id.Stream] = f
	}
	for old, l := range r.legs {
		if old.Owner == id.Owner && old.Stream == id.Stream {
			delete(r.legs, old)
			go l.close()
		}
	}
	l, err := newLeg(r, id, f)
	if err != nil {
		return nil, err
	}
	r.legs[id] = l
	return l, nil
}
