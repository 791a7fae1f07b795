package core

// Plane is the media side of the house.
type Plane interface {
	// Open starts the media of one room. What becomes of the work asked of it is
	// told through tell, which may block until the room has taken the message and
	// must not be called from within a method of Media. Nil says that there can be no
	// media; the room is good for all else.
	Open(room RoomID, o MediaOptions, tell func(MediaEvent)) Media
}

// MediaOptions is what a room wants of its media.
type MediaOptions struct {
	Speaking bool // tell Talked, from the audio-level header extension (RFC 6464)
	// Video names the codecs that publishers' pictures may have, the most wanted first.
	// The plane adds the one that everybody has, and uses no other where that would
	// leave a member without a picture.
	Video   []string
	OpusRED bool // have publishers repeat each voice packet's predecessor, for who takes that (RFC 2198)
	OpusDTX bool // have publishers send next to nothing while they are silent (RFC 7587 section 3.1.3)
}

// Media is one room's media. No method may wait: each starts the work, and the
// outcome comes back as an event.
type Media interface {
	// Accept makes leg a connection that answers the client's SDP offer; tells
	// Accepted. On an uplink the answer receives what is offered. On a downlink it
	// sends one audio and one video track under one msid stream id, from the start,
	// whether or not the stream exists yet: what is published later flows then.
	// The leg takes the place of its predecessor of the same name, if there is one:
	// an offer with that one's DTLS fingerprint, and its ICE ufrag or later in its SDP
	// session, renegotiates its connection or restarts its ICE, any other ends it.
	// Subscribers of a replaced uplink flow on.
	Accept(leg Leg, ref Ref, offer string)

	// Offer makes leg a downlink for which the server makes the SDP offer, with the
	// m-lines wanted; tells Ready.
	Offer(leg Leg, ref Ref, video, audio bool)

	// Answer gives leg the client's SDP answer; tells Settled.
	Answer(leg Leg, ref Ref, answer string)

	// Trickle gives a client's candidate to owner's connection that has the
	// candidate's ufrag, else to the one that carries stream. One that fits none is
	// dropped, as is one that the plane has no use for.
	Trickle(owner UserID, stream Stream, c Candidate)

	// Drop ends a leg. Events about it that are under way may still come.
	Drop(leg Leg)

	// Close ends all legs.
	Close()
}

// Leg names one connection: Owner's, for Stream. N tells a connection from its
// predecessors of the same name; core never reuses one in a room.
type Leg struct {
	Owner  UserID
	Stream Stream
	N      uint64
	// Renews says of an uplink that its client makes it anew when it fails: it may
	// then be ended to get another codec.
	Renews bool
}

// Up reports whether media flows from the client to the server.
func (l Leg) Up() bool { return l.Owner == l.Stream.User }

// MediaEvent is something the plane tells a room. The set is closed.
//
//sumtype:decl
type MediaEvent interface{ mediaEvent() }

type (
	// Accepted settles Accept. The answer holds all candidates; they are given one
	// by one as well, for dialects that announce them so.
	Accepted struct {
		Leg        Leg
		Ref        Ref
		Answer     string
		Candidates []Candidate
		Err        error
	}

	// Ready settles Offer.
	Ready struct {
		Leg        Leg
		Ref        Ref
		Offer      string
		Candidates []Candidate
		Err        error
	}

	// Settled settles Answer.
	Settled struct {
		Leg Leg
		Ref Ref
		Err error
	}

	// Connected says that ICE and DTLS are up. It comes once a leg.
	Connected struct{ Leg Leg }

	// Flowing says that the first RTP packet went through the leg: into the gateway
	// on an uplink, out of it on a downlink. It comes once a leg.
	Flowing struct{ Leg Leg }

	// Failed says that a leg died by itself; the plane has let go of it.
	Failed struct {
		Leg   Leg
		Cause error
	}

	// Talked says that a member began or stopped to speak.
	Talked struct {
		User UserID
		On   bool
	}
)

func (Accepted) mediaEvent()  {}
func (Ready) mediaEvent()     {}
func (Settled) mediaEvent()   {}
func (Connected) mediaEvent() {}
func (Flowing) mediaEvent()   {}
func (Failed) mediaEvent()    {}
func (Talked) mediaEvent()    {}
