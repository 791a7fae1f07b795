package core

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Command is something a client asks for. The set is closed; every switch over it
// is checked for completeness. Commands are plain data, so that one can be
// written down, replayed, or sent to another machine.
//
// A Room field left empty means the room the client is in, for dialects whose
// frames do not name one.
//
//sumtype:decl
type Command interface {
	// room gives the room that the command names, if it does.
	room() RoomID
}

type (
	// Hello says who the client is. Anything else is refused until it was
	// accepted, except a Join that carries credentials of its own.
	Hello struct {
		Cred   Credentials `json:"-"`
		Online Online
		Grace  int `json:"-"` // how many seconds seats are kept when the connection is lost
	}

	// Open makes a room without entering it. Whoever does so is its host.
	Open struct {
		Room     RoomID // empty: core thinks of one
		Mode     Mode
		Title    string
		Capacity int  // 0: as the hub is configured
		Keep     bool // stays when its last member leaves
		Speaking bool // tell members who speaks

		// How the house is configured for the dialect.
		Deny    Permits `json:"-"` // what members may not do until it is permitted
		AnyHost bool    `json:"-"` // everyone may do what is the host's
	}

	// Close ends a room, whoever is in it. Host only.
	Close struct{ Room RoomID }

	// Join enters a room.
	Join struct {
		Room RoomID
		As   Profile

		// How the dialect wants it done; no part of the story.
		Cred   *Credentials `json:"-"` // set where the dialect has no Hello
		Online Online       `json:"-"` // for Cred
		Grace  int          `json:"-"` // for Cred; see Hello
		Make   *Open        `json:"-"` // make the room so if it is missing
		Alone  bool         `json:"-"` // leave every other room first
		Renews bool         `json:"-"` // the client makes an uplink anew when it fails
		Untold bool         `json:"-"` // it has no word for Kicked, so it is cut off instead when it is put out
	}

	// Leave goes out of a room; out of all when Room is empty.
	Leave struct{ Room RoomID }

	// Edit changes what a member shows of themself. Nil leaves a field as it is.
	Edit struct {
		Room         RoomID
		Name         *string `json:",omitzero"`
		Video, Audio *bool   `json:",omitzero"`
		Quiet        bool    `json:",omitzero"` // store it, tell nobody
		To           UserID  `json:",omitzero"` // tell this member only
	}

	// Arrange changes a room. Nil leaves a field as it is. Host only.
	Arrange struct {
		Room     RoomID
		Title    *string
		Capacity *int
		Host     *UserID
	}

	// List asks who is in a room.
	List struct{ Room RoomID }

	// Offer asks for a connection that carries Stream: to the server when the
	// stream is the sender's own, else from it. The sender made the SDP offer. Here
	// as in Trickle an empty user is the sender.
	Offer struct {
		Room   RoomID
		Stream Stream
		SDP    string
	}

	// Subscribe asks the server to make the offer for Stream.
	Subscribe struct {
		Room         RoomID
		Stream       Stream
		Video, Audio bool // what of it is wanted
	}

	// Answer settles an offer that the server made for Stream.
	Answer struct {
		Room   RoomID
		Stream Stream
		SDP    string
	}

	// Trickle adds one ICE candidate: in an SFU room to the sender's connection
	// that the candidate or else the stream names; in a mesh room it is passed on
	// as Body, to To or to everyone else.
	Trickle struct {
		Room      RoomID
		Stream    Stream
		Candidate Candidate
		To        UserID `json:",omitzero"`
		Body      JSON   `json:",omitzero"`
	}

	// Share takes the room's share lock.
	Share struct {
		Room    RoomID
		Content Content
	}

	// Show puts up a page of the document that the sender shares.
	Show struct {
		Room  RoomID
		Image string
	}

	// Unshare gives the share lock back.
	Unshare struct{ Room RoomID }

	// Say sends a message to people: to everyone else in Room, to To, or both.
	Say struct {
		Room    RoomID
		To      UserID
		Message JSON
	}

	// Cast passes Body on untouched: to To when it is set, else to everyone else
	// in the room.
	Cast struct {
		Room  RoomID
		To    UserID
		Topic Topic
		Body  JSON
	}

	// Permit changes what a member may do. Nil leaves a permit as it is. Host only.
	Permit struct {
		Room                                     RoomID
		User                                     UserID
		Screen, Chat, Whiteboard, Draw, Document *bool
	}

	// Kick asks a member to go. Host only.
	Kick struct {
		Room RoomID
		User UserID
	}

	// Group opens a breakout room of Room and invites people. Host only.
	Group struct {
		Room  RoomID
		Users []UserID
		Title string
	}

	// Ungroup ends a breakout room, whoever is in it. Host only.
	Ungroup struct {
		Room  RoomID
		Group RoomID
	}

	// Ping asks for nothing but a reply.
	Ping struct{}

	// Bad asks for something in words that make no sense: it is refused with Code
	// and Msg, unless the sender may ask for nothing anyhow.
	Bad struct {
		Code Code
		Msg  string
	}
)

func (Hello) room() RoomID       { return "" }
func (c Open) room() RoomID      { return c.Room }
func (c Close) room() RoomID     { return c.Room }
func (c Join) room() RoomID      { return c.Room }
func (c Leave) room() RoomID     { return c.Room }
func (c Edit) room() RoomID      { return c.Room }
func (c Arrange) room() RoomID   { return c.Room }
func (c List) room() RoomID      { return c.Room }
func (c Offer) room() RoomID     { return c.Room }
func (c Subscribe) room() RoomID { return c.Room }
func (c Answer) room() RoomID    { return c.Room }
func (c Trickle) room() RoomID   { return c.Room }
func (c Share) room() RoomID     { return c.Room }
func (c Show) room() RoomID      { return c.Room }
func (c Unshare) room() RoomID   { return c.Room }
func (c Say) room() RoomID       { return c.Room }
func (c Cast) room() RoomID      { return c.Room }
func (c Permit) room() RoomID    { return c.Room }
func (c Kick) room() RoomID      { return c.Room }
func (c Group) room() RoomID     { return c.Room }
func (c Ungroup) room() RoomID   { return c.Room }
func (Ping) room() RoomID        { return "" }
func (Bad) room() RoomID         { return "" }

// inRoom gives c with its room filled in, as if the client had named it.
func inRoom(c Command, id RoomID) Command {
	switch c := c.(type) {
	case Close:
		c.Room = id
		return c
	case Leave:
		c.Room = id
		return c
	case Edit:
		c.Room = id
		return c
	case Arrange:
		c.Room = id
		return c
	case List:
		c.Room = id
		return c
	case Offer:
		c.Room = id
		return c
	case Subscribe:
		c.Room = id
		return c
	case Answer:
		c.Room = id
		return c
	case Trickle:
		c.Room = id
		return c
	case Share:
		c.Room = id
		return c
	case Show:
		c.Room = id
		return c
	case Unshare:
		c.Room = id
		return c
	case Say:
		c.Room = id
		return c
	case Cast:
		c.Room = id
		return c
	case Permit:
		c.Room = id
		return c
	case Kick:
		c.Room = id
		return c
	case Group:
		c.Room = id
		return c
	case Ungroup:
		c.Room = id
		return c
	case Hello, Ping, Bad, Open, Join:
	}
	return c
}

// Profile is what people choose to show of themselves on joining.
type Profile struct {
	Name         string `json:",omitzero"`
	Device       string `json:",omitzero"`
	Community    string `json:",omitzero"` // where they come from, for the backends
	Video, Audio bool
}

// Online says what becomes of a session that already is who a client says it is.
type Online string

// The policies there are.
const (
	Refuse   Online = "refuse"   // it stays, the newcomer is refused
	Reclaim  Online = "reclaim"  // if it has gone quiet and the credentials are the same, the newcomer takes its seats and it is closed; else as Refuse
	Displace Online = "displace" // it leaves its rooms, or with a grace the newcomer takes its seats; its connection stays open
	Cut      Online = "cut"      // it leaves its rooms and its connection is closed
)

// Ref names a request to the dialect that made it. Core copies it from the command
// into the Reply.
type Ref struct {
	Op, ID string // the dialect's own; core never looks inside
	// As is who the frame says it is from, where it says so. It gives no rights: a
	// command is refused if it is anybody but the sender.
	As UserID
	// Ack names the acknowledgement that the client wants with the reply, where the
	// framing has such a thing. It is the framing's own.
	Ack string
}

// CommandName gives the name of c's type, for metrics and transcripts. The set of
// names is closed.
func CommandName(c Command) string {
	return strings.TrimPrefix(fmt.Sprintf("%T", c), "core.")
}

// Describe writes a command on one line, for transcripts.
func Describe(c Command) string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // commands are plain data
	}
	return CommandName(c) + string(b)
}
