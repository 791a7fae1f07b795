package core

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

type (
	// TenantID names the world a person or a room belongs to. People and rooms of
	// different tenants never meet.
	TenantID string
	// RoomID names a room within its tenant.
	RoomID string
	// UserID names a person within their tenant.
	UserID string
)

// maxID is the longest id there may be, in bytes.
const maxID = 128

// validID reports whether an id can be kept, logged and shown: any script, but
// nothing that cannot be seen.
func validID(id string) bool {
	unseen := func(r rune) bool { return !unicode.IsPrint(r) }
	return id != "" && len(id) <= maxID && utf8.ValidString(id) && !strings.ContainsFunc(id, unseen)
}

// Source is what a stream shows. A member sends at most one stream of each.
type Source string

// The sources there are.
const (
	Cam    Source = "cam"
	Screen Source = "screen"
)

// Stream names what one member sends. Every connection is named by a stream:
// publishing is asking for a connection that carries one's own, subscribing is
// asking for one that carries another's.
type Stream struct {
	User   UserID
	Source Source
}

// Member is a person in a room, as the others see them.
type Member struct {
	User   UserID
	Name   string
	Device string
	// Community is where the member comes from, for the backends.
	Community string
	Host      bool
	// Video and Audio say what the member's devices are set to. They are for
	// people to see: no packet is held back by them.
	Video, Audio bool
	Publishing   bool
	May          Permits
}

// Permits is what a member may do in a room.
type Permits struct{ Screen, Chat, Whiteboard, Draw, Document bool }

// AllPermits lets a member do everything.
var AllPermits = Permits{Screen: true, Chat: true, Whiteboard: true, Draw: true, Document: true}

// but gives p without what is denied.
func (p Permits) but(deny Permits) Permits {
	return Permits{
		Screen:     p.Screen && !deny.Screen,
		Chat:       p.Chat && !deny.Chat,
		Whiteboard: p.Whiteboard && !deny.Whiteboard,
		Draw:       p.Draw && !deny.Draw,
		Document:   p.Document && !deny.Document,
	}
}

// Content is what a room's one share lock can be taken for.
type Content string

// The contents there are.
const (
	ScreenShare Content = "screen"
	Whiteboard  Content = "whiteboard"
	Document    Content = "document"
)

// Sharing is who shares what in a room.
type Sharing struct {
	Content Content
	User    UserID
	Image   string // the last page shown, when the content is a document
}

// Feed is a stream that can be subscribed to, and its sender.
type Feed struct {
	Member Member
	Source Source
}

// Topic is what a cast message is about; core needs it to know who may send one.
// The message itself is opaque to core.
type Topic string

// The topics there are.
const (
	Signal      Topic = "signal"       // an SDP between two members of a mesh room
	Stroke      Topic = "stroke"       // a line drawn on the whiteboard
	Notice      Topic = "notice"       // anything applications tell each other
	CanvasAsked Topic = "canvas-asked" // please send me your canvas
	CanvasShown Topic = "canvas-shown" // here it is
)

// Mode is how the members of a room exchange media.
type Mode string

// The modes there are. A room has the one it was opened with.
const (
	SFU  Mode = "sfu"  // through the media plane
	Mesh Mode = "mesh" // among themselves; the room relays their signalling
)

// Candidate is an ICE candidate in trickle form (RFC 8838). An empty Line is the
// end of candidates.
type Candidate struct {
	Line  string // "candidate:…", RFC 8839 section 5.1
	Mid   string
	Index uint16
	Ufrag string `json:",omitzero"` // of the connection it is for, where the client says so
}

// RoomState is what a newcomer is told of a room.
type RoomState struct {
	Room     RoomID
	Title    string
	Mode     Mode
	Speaking bool // members are told who speaks
	Host     Member
	Members  []Member // in order of arrival, the newcomer last
	Sharing  *Sharing // nil when nobody shares
	Groups   []RoomID // the breakout rooms of this one
	Created  time.Time
}

// JSON is a value that core carries from one client to another and never reads.
type JSON = json.RawMessage
