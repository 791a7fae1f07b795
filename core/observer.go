package core

import "time"

// Observer is told what happens, from the goroutines in which it happens: its
// methods must not wait. Metrics and transcripts are observers.
type Observer interface {
	// Handled is told of every command that was carried out, or refused with err.
	// Room, and who the client is, are empty as far as they are not known. An Offer, Subscribe or
	// Answer that was handed to the media plane counts as carried out; LegFailed
	// tells if nothing came of it.
	Handled(room RoomID, from Caller, cmd Command, err *Error)

	// LegFailed is told that a connection could not be made, or died by itself.
	LegFailed(room RoomID, leg Leg, cause error)

	// FirstPacket is told, once for each member who gets media, how long after the
	// join the first packet was on its way to them.
	FirstPacket(after time.Duration)

	// Expelled is told of somebody who was put out of a room, and why: ErrRevoked,
	// ErrLapsed, or what Grant.Stays said.
	Expelled(room RoomID, who Caller, cause error)

	// Slowed is told when people begin to be slowed down because too much is told in
	// their room.
	Slowed(room RoomID)

	// Panicked is told that a room was ended by a bug.
	Panicked(room RoomID, reason any, stack []byte)
}

// Caller is a client for the log.
type Caller struct {
	User   UserID
	Remote string // its address, as the edge saw it
}
