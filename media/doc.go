// Package media is the media plane: it terminates one WebRTC connection a leg, on
// Pion's STUN, DTLS, SRTP, RTP and SDP, and forwards what publishers send to
// whoever subscribed. It keeps out who may do so, every wire word of a dialect, and
// transcoding.
//
// # Map
//
//	Plane     owns the port, the certificate, the links' directory and the counters
//	├ port    one UDP port with a socket for each processor, and TCP as the fallback
//	├ worker  reads a socket: packets come and go in bursts
//	└ room    implements [core.Media]: names legs and streams
//	  ├ leg   one connection; all work on it goes through the leg's queue
//	  │ ├ link       its transport: ICE-lite, a handshake, then keys
//	  │ └ reception  of a publisher: which packet belongs to what, reports
//	  └ feed  one core.Stream, made by whoever comes first, publisher or subscriber
//	    └ lane    its audio or its video: who publishes now, who takes it
//	      ├ track   a published stream, or a layer of one, in a ring of packets
//	      └ outlet  one subscriber's copy: its numbers, its link, what it may have
//
// # A packet's way
//
// A worker reads up to 64 packets with one system call. Each is found its link by
// where it comes from, decrypted into what becomes a slot of its track's ring, and
// noted. When all that was there has been read, each track gives the burst that it
// got to its lane, which works out, under its lock, what sequence numbers and
// timestamps each outlet gives it; then, with that lock released, the copies are
// encrypted side by side into one buffer, and go to the kernel together: a burst
// for one subscriber is one message that the kernel cuts (UDP_SEGMENT), and the
// messages for a hundred are one system call. Nothing waits for more to come; under
// load there is more, and a call carries more.
//
// A NACK is answered from the same ring through the outlet's numbering, so there is
// no copy a subscriber. Whoever joins gets the ring from its last key frame on.
//
// # Codecs
//
// Nothing is transcoded. A track has the [format] that its publisher was given, and
// an outlet those that its subscriber negotiated: a packet goes out under the payload
// type that the subscriber has for its format, or not at all. What a publisher is
// given follows from what the room's members have in [common].
//
// # What a connection costs
//
// An idle leg has no goroutine, no timer and no DTLS: the gateway never probes
// (ICE-lite, RFC 8445), so a client's checks are answered where they are read and
// are all that tells that it lives; the handshake, once the client has shown that
// it has the keys, is let go of. One goroutine of the plane ticks for all.
//
// # Who may wait for whom
//
// No method of a room waits, and no reader of the port does more for signalling
// than push to a leg's queue. A leg's queue runs in a goroutine that lives while
// there is work; only it negotiates, and only it closes the leg.
//
// Locks are taken in this order: reception.mu or leg.feedback, then lane.mu, then
// those of keys, keyframes and speech, which are leaves, as are those of a link and
// of the directory. room.mu comes before queue.mu; neither is held in a call to
// tell. A write to a socket never waits.
package media
