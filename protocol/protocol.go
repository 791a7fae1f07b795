// Package protocol says what a dialect is: a way to write core's commands and
// events as frames, and what dialects share to do it. The dialects themselves are
// the folders beside this file; sockets and time are kept out of all of them.
package protocol

import "confgate/core"

// Codec translates one dialect. It is a pair of pure functions: no input or
// output, no clock, no state, so one value serves every connection.
type Codec interface {
	// Decode reads one frame from a client. A frame that asks for nothing gives
	// neither command nor error. The Ref is good even with an error, as far as the
	// frame let it be read. Errors are *core.Error.
	Decode(frame []byte) (core.Command, core.Ref, error)

	// Encode writes one event as frames: none when the dialect has no words for
	// it, two when its clients expect it twice. Frames are valid UTF-8 JSON texts
	// and the caller's to keep.
	Encode(core.Event) [][]byte
}

// Dialect is a codec with a name, which labels its metrics and log lines.
type Dialect struct {
	Name  string
	Codec Codec
	// MaxFrame is the longest frame a client has reason to send, in bytes; 0: as the
	// transport is configured.
	MaxFrame int
}
