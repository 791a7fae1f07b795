package core

import (
	"errors"
	"fmt"
	"strings"
)

// Code says what kind of failure an Error is. Each dialect has one table from
// codes to its own words.
type Code string

// The codes there are.
const (
	Internal      Code = "internal"
	Malformed     Code = "malformed"      // not a message of the dialect
	Unknown       Code = "unknown"        // a message of no known kind
	Missing       Code = "missing"        // a field that must be there is not
	Invalid       Code = "invalid"        // a field makes no sense
	Mismatch      Code = "mismatch"       // speaks for somebody else
	Unauthorized  Code = "unauthorized"   // credentials refused
	NotRegistered Code = "not_registered" // has not said who it is
	UserOnline    Code = "user_online"    // somebody else is that user
	TooMany       Code = "too_many"       // over a limit of the licence or the house
	NoSuchRoom    Code = "no_such_room"
	RoomExists    Code = "room_exists"
	RoomFull      Code = "room_full"
	AlreadyJoined Code = "already_joined"
	NotMember     Code = "not_member"
	NotPermitted  Code = "not_permitted"
	WrongMode     Code = "wrong_mode" // not in this mode of room
	NoSuchMember  Code = "no_such_member"
	NoSuchStream  Code = "no_such_stream"
	ShareTaken    Code = "share_taken" // another member shares
	NotSharing    Code = "not_sharing" // the sender does not share that
	MediaFailed   Code = "media_failed"
	Draining      Code = "draining" // the house takes no new calls
)

// Codes gives all of them, for tables to be held against.
func Codes() []Code {
	return []Code{
		Internal, Malformed, Unknown, Missing, Invalid, Mismatch, Unauthorized, NotRegistered, UserOnline, TooMany,
		NoSuchRoom, RoomExists, RoomFull, AlreadyJoined, NotMember, NotPermitted, WrongMode, NoSuchMember, NoSuchStream,
		ShareTaken, NotSharing, MediaFailed, Draining,
	}
}

// Error is a failure that a client may be told of. Msg is for people and never
// holds anything of another user; a cause, if there is one, is for the log only.
type Error struct {
	Code  Code
	Msg   string
	Cause error
	Limit Limit // the one that was hit, if one was
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %v", e.Msg, e.Cause)
	}
	return e.Msg
}

func (e *Error) Unwrap() error { return e.Cause }

// maxMsg is how long a message is at most, since it may quote what a client sent.
const maxMsg = 300

// Errorf makes an Error without a cause.
func Errorf(c Code, format string, args ...any) error {
	msg := fmt.Sprintf(format, args...)
	if len(msg) > maxMsg {
		msg = strings.ToValidUTF8(msg[:maxMsg], "") + "…"
	}
	return &Error{Code: c, Msg: msg}
}

// AsError gives err as an Error, for a Reply. Anything that is not one becomes
// Internal, and its text is kept from clients.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: Internal, Msg: "internal error", Cause: err}
}
