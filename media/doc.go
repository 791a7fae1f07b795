// Package media is the media plane on Pion: it terminates one WebRTC connection a
// leg and forwards what publishers send to whoever subscribed. It keeps out who
// may do so, every wire word of a dialect, and transcoding.
//
// # Map
//
//	Plane     owns the sockets, the certificate, two Pion APIs and the counters
//	└ room    implements [core.Media]: names legs and streams, routes candidates
//	  ├ leg   one PeerConnection; all work on it goes through the leg's queue
//	  └ feed  one core.Stream, made by whoever comes first, publisher or subscriber
//	    └ lane    its audio or its video: who publishes now, who takes it
//	      ├ track   a published track: reads packets, keeps them in a ring
//	      └ outlet  one subscriber's copy: rewrites headers, answers RTCP
//
// A packet is read once into a buffer, which then becomes a slot of the track's
// ring. The lane works out, under its lock, what sequence number and timestamp
// each outlet gives it; then, with no lock held, the batch is sent. A NACK is
// answered from the same ring through the outlet's numbering, so there is no copy
// a subscriber.
//
// # Who may wait for whom
//
// No method of a room waits, and no callback of Pion does more than push to its
// leg's queue. A leg's queue runs in a goroutine that lives while there is work;
// only it calls into its PeerConnection for signalling, and only it closes it. The
// locks (Plane.mu, room.mu, lane.mu and the small ones of queue, crew, keyframes
// and speech) are leaves but for one order, room.mu before queue.mu, and none is
// held in a call to Pion or to tell.
package media
