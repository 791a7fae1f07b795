package main

import (
	"errors"
	"strings"
	"sync"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"confgate/core"
)

var errLost = errors.New("connection was lost")

// leg is one PeerConnection.
type leg struct {
	room    *room
	id      core.Leg
	feed    *feed
	pc      *webrtc.PeerConnection
	reading sync.WaitGroup
	closing sync.Once
}

func newLeg(r *room, id core.Leg, f *feed) (*leg, error) {
	pc, err := r.plane.api.NewPeerConnection(r.plane.config)
	if err != nil {
		return nil, err
	}
	r.plane.legs.Add(1)
	l := &leg{room: r, id: id, feed: f, pc: pc}
	connected := sync.OnceFunc(func() { r.tell(core.Connected{Leg: id}) })
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			connected()
		case webrtc.PeerConnectionStateFailed:
			r.Drop(id)
			r.tell(core.Failed{Leg: id, Cause: errLost})
		default: // on the way there, or closed by us
		}
	})
	if id.Up() {
		pc.OnTrack(l.forward)
	}
	return l, nil
}

// forward sends a published track to all subscribers.
func (l *leg) forward(in *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	if in.Kind() == webrtc.RTPCodecTypeVideo {
		l.feed.published(l.pc, in.SSRC())
	}
	out := l.feed.tracks[in.Kind()]
	buffer := make([]byte, 1500)
	flowing := sync.OnceFunc(func() { l.room.tell(core.Flowing{Leg: l.id}) })
	for {
		n, _, err := in.Read(buffer)
		if err != nil {
			return
		}
		flowing()
		_, _ = out.Write(buffer[:n]) // one subscriber's trouble is not the others'
	}
}

// accept answers the client's offer.
func (l *leg) accept(offer string) (string, error) {
	if !l.id.Up() {
		for kind := range codecs {
			if err := l.send(kind, strings.Contains(offer, "m="+kind.String())); err != nil {
				return "", err
			}
		}
	}
	if err := l.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	return l.describe(l.pc.CreateAnswer(nil))
}

// offer makes an offer of what is wanted.
func (l *leg) offer(video, audio bool) (string, error) {
	err := errors.Join(l.send(webrtc.RTPCodecTypeAudio, audio), l.send(webrtc.RTPCodecTypeVideo, video))
	if err != nil {
		return "", err
	}
	return l.describe(l.pc.CreateOffer(nil))
}

func (l *leg) answer(sdp string) error {
	return l.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
}

// send adds the feed's track if it is wanted, and heeds what its receiver asks for.
func (l *leg) send(kind webrtc.RTPCodecType, wanted bool) error {
	if !wanted {
		return nil
	}
	t, err := l.pc.AddTransceiverFromTrack(l.feed.tracks[kind],
		webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return err
	}
	if kind == webrtc.RTPCodecTypeVideo {
		l.reading.Go(func() { l.heed(t.Sender()) })
	}
	return nil
}

func (l *leg) heed(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			if _, ok := p.(*rtcp.PictureLossIndication); ok {
				l.feed.askKeyFrame()
			}
		}
	}
}

// describe sets our description and gives it complete with candidates.
func (l *leg) describe(d webrtc.SessionDescription, err error) (string, error) {
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(l.pc)
	if err := l.pc.SetLocalDescription(d); err != nil {
		return "", err
	}
	<-gathered // at once: the socket is open
	return l.pc.LocalDescription().SDP, nil
}

// close ends the connection and waits for what reads from it.
func (l *leg) close() {
	l.closing.Do(func() {
		defer l.room.plane.legs.Done()
		_ = l.pc.GracefulClose()
		l.reading.Wait()
	})
}
