package media

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"confgate/core"
)

var (
	errBehind   = errors.New("connection was given more work than it can do")
	errEnded    = errors.New("connection has ended")
	errGather   = errors.New("local candidates could not be gathered")
	errICE      = errors.New("ICE failed: no way between the client and the media port, or the client went away")
	errDTLS     = errors.New("DTLS failed")
	errNoOffer  = errors.New("no offer was made on this connection")
	errNothing  = errors.New("offer of neither audio nor video")
	errPanic    = errors.New("internal error")
	errPatience = errors.New("client did not connect in time")
)

// gatherTime bounds what is instant, as the sockets are open already.
const gatherTime = 5 * time.Second

// leg is one PeerConnection. What is asked of it, and what Pion has to say, goes
// through its queue, so that it is never worked on by two at a time.
type leg struct {
	room  *room
	log   *slog.Logger
	name  name
	dir   int // uplink or downlink
	feed  *feed
	queue queue
	crew  crew          // those who read from the connection
	ended chan struct{} // closed when the leg is to end, so that nothing waits on
	began atomic.Bool   // the first RTP packet has come through

	talking atomic.Bool // the client speaks, as far as known

	// Guarded by room.mu.
	n      uint64
	client *description // of whom the connection is with; nil until known

	// Owned by the queue. pc is set once, before anything that reads it elsewhere.
	id        core.Leg
	pc        *webrtc.PeerConnection
	outlets   []*outlet
	offered   bool
	connected bool
	flowing   bool
	patience  *time.Timer

	toldTalking bool
}

// newLeg needs room.mu.
func newLeg(r *room, f *feed, id core.Leg) *leg {
	l := &leg{
		room: r, name: nameOf(id), dir: direction(id), feed: f, ended: make(chan struct{}),
		log: r.log.With("owner", id.Owner, "of", id.Stream.User, "source", id.Stream.Source),
		n:   id.N, id: id,
	}
	l.queue.rescue = l.rescue
	r.plane.legs.Add(1)
	r.plane.stats.connecting[l.dir].Add(1)
	l.patience = time.AfterFunc(r.plane.patience, func() {
		l.queue.post(func() {
			if !l.connected {
				l.fail(errPatience)
			}
		})
	})
	return l
}

func (l *leg) tell(e core.MediaEvent) { l.room.tell(e) }

// do queues what core asks for. A leg that has too much to do fails.
func (l *leg) do(job func()) {
	if !l.queue.push(job) {
		l.fail(errBehind)
	}
}

func (l *leg) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// end lets the leg close, once it has said so to whoever still waits for a reply; needs room.mu, and the leg to be out of the room's map.
func (l *leg) end() {
	close(l.ended)
	l.queue.close(l.close)
}

// fail ends the leg because of cause.
func (l *leg) fail(cause error) {
	id, ok := l.room.remove(l)
	if !ok {
		return
	}
	l.log.Debug("media connection failed", "cause", cause) // core tells the operator
	l.room.plane.stats.failed[l.dir].Add(1)
	close(l.ended)
	l.queue.close(func() {
		l.close()
		l.tell(core.Failed{Leg: id, Cause: cause})
	})
}

// discard ends the leg whose negotiation failed, of which core is told otherwise.
func (l *leg) discard() {
	if _, ok := l.room.remove(l); ok {
		close(l.ended)
		l.queue.close(l.close)
	}
}

// rescue keeps a panic to the leg it is about.
func (l *leg) rescue() {
	if v := recover(); v != nil {
		l.log.Error("panic in a media connection", "panic", v, "stack", string(debug.Stack()))
		l.fail(errPanic)
	}
}

// accept answers the client's offer.
func (l *leg) accept(id core.Leg, ref core.Ref, d *description) {
	l.id = id
	sdp, err := l.negotiate(func() error { return l.take(webrtc.SDPTypeOffer, d) }, func() (webrtc.SessionDescription, error) {
		return l.pc.CreateAnswer(nil)
	})
	if err != nil {
		l.discard()
		l.tell(core.Accepted{Leg: id, Ref: ref, Err: err})
		return
	}
	l.tell(core.Accepted{Leg: id, Ref: ref, Answer: sdp, Candidates: candidatesOf(sdp)})
	if l.connected { // renegotiated: the leg's new name has not heard it yet
		l.attach()
		l.tell(core.Connected{Leg: id})
		if l.flowing {
			l.tell(core.Flowing{Leg: id})
		}
	}
}

// offer makes an offer of what is wanted.
func (l *leg) offer(ref core.Ref, video, audio bool) {
	add := func() error {
		if !video && !audio {
			return errNothing
		}
		return errors.Join(l.addOutlet(webrtc.RTPCodecTypeAudio, audio), l.addOutlet(webrtc.RTPCodecTypeVideo, video))
	}
	sdp, err := l.negotiate(add, func() (webrtc.SessionDescription, error) { return l.pc.CreateOffer(nil) })
	if err != nil {
		l.discard()
		l.tell(core.Ready{Leg: l.id, Ref: ref, Err: err})
		return
	}
	l.offered = true
	l.tell(core.Ready{Leg: l.id, Ref: ref, Offer: sdp, Candidates: candidatesOf(sdp)})
}

// answer takes the client's answer. A second one changes nothing.
func (l *leg) answer(ref core.Ref, sdp string) {
	err := errNoOffer
	if l.offered {
		err = nil
		if l.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer {
			err = l.settle(sdp)
		}
	}
	l.tell(core.Settled{Leg: l.id, Ref: ref, Err: err})
}

func (l *leg) settle(sdp string) error {
	d, err := readAnswer(sdp)
	if err != nil {
		return err
	}
	release, err := l.turn()
	if err != nil {
		return err
	}
	defer release()
	if err := l.take(webrtc.SDPTypeAnswer, d); err != nil {
		return err
	}
	l.room.settled(l, d)
	return nil
}

// turn waits until few enough connections are being negotiated.
func (l *leg) turn() (release func(), err error) {
	if l.hasEnded() {
		return nil, errEnded
	}
	setups := l.room.plane.setups
	select {
	case setups <- struct{}{}:
		return func() { <-setups }, nil
	case <-l.ended:
		return nil, errEnded
	}
}

// negotiate opens the connection if need be and gives our description, complete
// with candidates.
func (l *leg) negotiate(prepare func() error, describe func() (webrtc.SessionDescription, error)) (string, error) {
	release, err := l.turn()
	if err != nil {
		return "", err
	}
	defer release()
	if l.pc == nil {
		if err := l.open(); err != nil {
			return "", fmt.Errorf("open connection: %w", err)
		}
	}
	if err := prepare(); err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(l.pc)
	d, err := describe()
	if err != nil {
		return "", fmt.Errorf("make description: %w", err)
	}
	if err := l.pc.SetLocalDescription(d); err != nil {
		return "", fmt.Errorf("set local description: %w", err)
	}
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	select {
	case <-gathered:
		return l.pc.LocalDescription().SDP, nil
	case <-l.ended:
		return "", errEnded
	case <-timer.C:
		return "", errGather
	}
}

func (l *leg) open() error {
	api := l.room.plane.down
	if l.dir == uplink {
		api = l.room.plane.up
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{Certificates: l.room.plane.certs})
	if err != nil {
		return err
	}
	l.pc = pc
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		l.queue.post(func() { l.changed(s) })
	})
	if l.dir == uplink {
		pc.OnTrack(l.receive)
	}
	return nil
}

// take sets the client's description.
func (l *leg) take(kind webrtc.SDPType, d *description) error {
	if l.dir == downlink && kind == webrtc.SDPTypeOffer {
		for _, k := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
			if err := l.addOutlet(k, d.has(k, webrtc.RTPTransceiverDirectionRecvonly)); err != nil {
				return err
			}
		}
	}
	if err := l.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: d.sdp}); err != nil {
		return fmt.Errorf("set remote description: %w", err)
	}
	return nil
}

// addOutlet adds a track to send, if it is wanted and not there yet.
func (l *leg) addOutlet(kind webrtc.RTPCodecType, wanted bool) error {
	stream := newStreamID()
	for _, o := range l.outlets {
		stream = o.stream
		wanted = wanted && o.kind != kind
	}
	if !wanted {
		return nil
	}
	o := newOutlet(l, l.feed.lane(kind), stream)
	t, err := l.pc.AddTransceiverFromTrack(o, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return fmt.Errorf("add %v track: %w", kind, err)
	}
	o.sender = t.Sender()
	l.outlets = append(l.outlets, o)
	return nil
}

// changed follows the connection's state.
func (l *leg) changed(s webrtc.PeerConnectionState) {
	if l.hasEnded() {
		return
	}
	switch s {
	case webrtc.PeerConnectionStateConnected:
		if l.connected {
			return // again, after a short absence
		}
		l.connected = true
		l.patience.Stop()
		l.room.plane.stats.connecting[l.dir].Add(-1)
		l.room.plane.stats.connected[l.dir].Add(1)
		l.tell(core.Connected{Leg: l.id})
		if l.flowing {
			l.tell(core.Flowing{Leg: l.id})
		}
		l.attach()
	case webrtc.PeerConnectionStateFailed:
		if l.pc.ICEConnectionState() == webrtc.ICEConnectionStateFailed {
			l.fail(errICE)
			return
		}
		l.fail(errDTLS)
	}
}

// number tells the leg from its predecessors.
func (l *leg) number() uint64 {
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	return l.n
}

// attach lets the outlets that were negotiated have packets.
func (l *leg) attach() {
	for _, o := range l.outlets {
		if o.bound && !o.attached {
			o.attached = true
			o.lane.attach(o)
			l.start(o.read)
		}
	}
}

// flow is told of each packet that comes through.
func (l *leg) flow() {
	if l.began.Load() || !l.began.CompareAndSwap(false, true) {
		return
	}
	l.queue.post(func() {
		l.flowing = true
		if l.connected {
			l.tell(core.Flowing{Leg: l.id})
		}
	})
}

// start runs a reader of the connection.
func (l *leg) start(read func()) {
	if !l.crew.join() {
		return
	}
	go func() {
		defer l.crew.leave()
		defer l.rescue()
		read()
	}()
}

// receive is Pion's goroutine for a track that the client sends.
func (l *leg) receive(in *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	if !l.crew.join() {
		return
	}
	defer l.crew.leave()
	defer l.rescue()
	t := newTrack(l, l.feed.lane(in.Kind()), in, receiver)
	if !t.lane.publish(t) {
		drain(in)
		return
	}
	defer t.close()
	l.start(func() { t.readReports(receiver) })
	t.read(in)
}

// close is the last job of the queue, and the one place where the connection ends.
func (l *leg) close() {
	defer l.room.plane.legs.Done()
	defer l.room.release(l)
	l.patience.Stop()
	for _, o := range l.outlets {
		o.lane.detach(o)
	}
	if l.pc != nil {
		watch := time.AfterFunc(closeWarning, func() {
			stacks := make([]byte, 1<<20)
			l.log.Error("a media connection does not close", "stacks", string(stacks[:runtime.Stack(stacks, true)]))
		})
		if err := l.pc.GracefulClose(); err != nil {
			l.log.Debug("media connection closed badly", "error", err)
		}
		l.crew.dismiss()
		watch.Stop()
	}
	gauge := &l.room.plane.stats.connecting[l.dir]
	if l.connected {
		gauge = &l.room.plane.stats.connected[l.dir]
	}
	gauge.Add(-1)
	if l.toldTalking {
		l.tell(core.Talked{User: l.name.owner, On: false})
	}
}

// candidatesOf gives the candidates of a description as trickled ones. All go by
// the first m-line that is in use, which BUNDLE shares with the others.
func candidatesOf(sdp string) []core.Candidate {
	var (
		all   []core.Candidate
		mid   string
		ufrag string
		index = -1 // of the section
		first = -1 // of the first section in use
	)
	for line := range strings.Lines(sdp) {
		line = strings.TrimRight(line, "\r\n")
		key, value, _ := strings.Cut(line, ":")
		switch {
		case strings.HasPrefix(line, "m="):
			if index++; first < 0 && strings.SplitN(line, " ", 3)[1] != "0" {
				first = index
			}
		case key == "a=mid" && index == first:
			mid = value
		case key == "a=ice-ufrag" && ufrag == "":
			ufrag = value
		case key == "a=candidate" && strings.Fields(value)[1] == "1": // RTP; RTCP is multiplexed
			all = append(all, core.Candidate{Line: line[len("a="):]})
		}
	}
	for i := range all {
		all[i].Mid, all[i].Index, all[i].Ufrag = mid, uint16(max(first, 0)), ufrag
	}
	return all
}
