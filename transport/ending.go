package transport

import (
	"cmp"
	"errors"

	"confgate/core"
)

// Reasons for which a connection ends, besides those of core. Causes may wrap them
// with detail; their own texts go to clients, in close frames.
var (
	// ErrLeft: the client closed the connection.
	ErrLeft = errors.New("client left")
	// ErrLost: the connection broke, or the client did not come back for more.
	ErrLost = errors.New("connection interrupted")
	// ErrSilent: the client did not answer a ping.
	ErrSilent = errors.New("no sign of life")
	// ErrUnregistered: the client has not said who it is, or was not let in.
	ErrUnregistered = errors.New("not registered in time")
	// ErrStalled: a frame could not be written in time.
	ErrStalled = errors.New("client does not read")
	// ErrTooBig: a frame was over the limit.
	ErrTooBig = errors.New("message too big")
	// ErrNotUTF8: a text frame held something else.
	ErrNotUTF8 = errors.New("text is not UTF-8")
	// ErrFlood: the client sent too much for too long.
	ErrFlood = errors.New("messages come too fast")
	// ErrBroken: a frame was none of the framing.
	ErrBroken = errors.New("broken framing")
	// ErrPanicked: a bug ended the connection.
	ErrPanicked = errors.New("internal error")
	// ErrShutdown: the server stops.
	ErrShutdown = errors.New("server is going away")
)

// ending is how a client is told of a cause.
type ending struct {
	cause  error
	code   int    // RFC 6455 section 7.4; from 4000 on our own, after HTTP's
	reason string // for metrics
	text   string // for the client; empty: the cause's own
	limit  Limit  // that bit, and was not told of yet; empty: none
}

// endings are the causes there are. Codes under 3000 are for protocols, but SockJS
// passes any code on to applications, so all framings use the same.
var endings = []ending{
	{cause: ErrLeft, code: 1000, reason: "left"},
	{cause: ErrShutdown, code: 1001, reason: "shutdown"},
	{cause: ErrLost, code: 1002, reason: "lost", text: "Connection interrupted"}, // SockJS has it so
	{cause: ErrBroken, code: 1002, reason: "broken"},
	{cause: ErrNotUTF8, code: 1007, reason: "not_utf8"},
	{cause: ErrTooBig, code: 1009, reason: "too_big", limit: LimitFrame},
	{cause: ErrPanicked, code: 1011, reason: "panicked"},
	{cause: core.ErrRoomFailed, code: 1011, reason: "room_failed"},
	{cause: core.ErrSlow, code: 1013, reason: "slow", limit: LimitOutbox},
	{cause: ErrStalled, code: 1013, reason: "stalled", limit: LimitWriteTime},
	{cause: ErrUnregistered, code: 4401, reason: "unregistered"},
	{cause: ErrSilent, code: 4408, reason: "silent"},
	{cause: core.ErrRevoked, code: 4403, reason: "revoked"},
	{cause: ErrFlood, code: 4429, reason: "flood", limit: LimitFlood},
	{cause: core.ErrDisplaced, code: 4409, reason: "displaced"},
}

// goAway is the ending for any other cause, in the words of the SockJS protocol.
var goAway = ending{code: 3000, reason: "other", text: "Go away!"}

func endingOf(cause error) ending {
	for _, e := range endings {
		if errors.Is(cause, e.cause) {
			e.text = cmp.Or(e.text, e.cause.Error())
			return e
		}
	}
	return goAway
}

// Reason names the cause of a connection's end in one word of a closed set, for
// metrics: left, lost, silent, unregistered, stalled, slow, too_big, not_utf8, broken, flood,
// displaced, revoked, room_failed, panicked, shutdown or other.
func Reason(cause error) string { return endingOf(cause).reason }
