package core

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits bound what clients can make of the house. In each, 0 is no limit.
type Limits struct {
	TenantRooms int // rooms of one tenant
	UserRooms   int // of them, rooms that one user has made
	SpareLegs   int // connections of a member, besides one for each member of the room
	Candidates  int // that a client trickles for a connection
	Name        int // bytes of a name or a title; what is longer is cut
	Message     int // bytes of a chat message, a stroke, a notice
	SDP         int // bytes of a session description
	Image       int // bytes of a page or a canvas
	Pages       int // bytes of the pages that one user shows in all rooms, which rooms keep for newcomers
	RoomRate    int // events a second that one room tells its members, together; see tellCost
	RoomBurst   int // of them, more that may be told at once
	Misses      int // rooms that one user asks for in vain, and joins refused to one connection, in ten minutes
}

// DefaultLimits are more than any call needs.
func DefaultLimits() Limits {
	return Limits{
		TenantRooms: 10_000, UserRooms: 100, SpareLegs: 2, Candidates: 64,
		Name: 256, Message: 64 << 10, SDP: 256 << 10, Image: 10 << 20, Pages: 40 << 20, Misses: 50,
		RoomRate: 50_000, RoomBurst: 100_000,
	}
}

// Limit names one of the Limits, for metrics.
type Limit string

// The limits that bite.
const (
	TenantRooms Limit = "tenant_rooms"
	UserRooms   Limit = "user_rooms"
	Legs        Limit = "legs"
	Candidates  Limit = "candidates"
	MessageSize Limit = "message"
	SDPSize     Limit = "sdp"
	ImageSize   Limit = "image"
	PagesSize   Limit = "pages"
	Misses      Limit = "misses"
	RoomRate    Limit = "room_rate" // slows down
)

// LimitNames gives all of them.
func LimitNames() []Limit {
	return []Limit{TenantRooms, UserRooms, Legs, Candidates, MessageSize, SDPSize, ImageSize, PagesSize, Misses, RoomRate}
}

// over refuses what is over a limit.
func over(l Limit, format string, args ...any) error {
	return &Error{Code: TooMany, Limit: l, Msg: fmt.Sprintf(format, args...)}
}

// admit refuses a command that carries too much.
func (l Limits) admit(cmd Command) error {
	size := func(n, most int, limit Limit) error {
		if most > 0 && n > most {
			return over(limit, "more than %d bytes", most)
		}
		return nil
	}
	switch c := cmd.(type) {
	case Offer:
		return size(len(c.SDP), l.SDP, SDPSize)
	case Answer:
		return size(len(c.SDP), l.SDP, SDPSize)
	case Trickle:
		return size(max(len(c.Body), len(c.Candidate.Line)), l.Message, MessageSize)
	case Say:
		return size(len(c.Message), l.Message, MessageSize)
	case Show:
		return size(len(c.Image), l.Image, ImageSize)
	case Cast:
		switch c.Topic {
		case Signal:
			return size(len(c.Body), l.SDP, SDPSize)
		case CanvasShown:
			return size(len(c.Body), l.Image, ImageSize)
		case Stroke, Notice, CanvasAsked:
		}
		return size(len(c.Body), l.Message, MessageSize)
	default:
		return nil
	}
}

// name gives a name or a title as it may be shown: without what cannot be seen and
// would change how the text around it looks, and cut to its limit.
func (l Limits) name(text string) string {
	text = l.shorten(text, 4) // before more is done with it; some of it may not be seen
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r), r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x2028, r == 0x2029:
			return -1 // controls, overrides of the writing direction, separators of lines
		}
		return r
	}, text)
	return l.shorten(text, 1)
}

// shorten cuts a text to some times the limit of a name, and keeps nothing of the frame
// that it came in.
func (l Limits) shorten(text string, times int) string {
	cut := times * l.Name
	if l.Name == 0 || len(text) <= cut {
		return strings.Clone(text)
	}
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strings.Clone(text[:cut])
}

func (l Limits) profile(p Profile) Profile {
	p.Name, p.Device, p.Community = l.name(p.Name), l.name(p.Device), l.name(p.Community)
	return p
}
