package eventop

import (
	"cmp"

	"github.com/go-json-experiment/json/jsontext"

	"confgate/core"
	"confgate/protocol"
)

// head begins every reply.
type head struct {
	Op      string         `json:"eventOp"`
	Req     jsontext.Value `json:"reqId,omitzero"`
	Code    string         `json:"code"`
	Message string         `json:"message"`
}

// presence begins almost every event.
type presence struct {
	Op   string      `json:"eventOp"`
	Type string      `json:"type"`
	Room core.RoomID `json:"roomId,omitzero"`
}

func news(kind string, room core.RoomID) presence { return presence{"presence", kind, room} }

// member is a person in all the spellings that clients of different years read.
type member struct {
	ID         core.UserID `json:"id"`
	User       core.UserID `json:"userId"`
	Name       string      `json:"name"`
	Type       string      `json:"userType"`
	Device     string      `json:"device"`
	Video      bool        `json:"video"`
	Audio      bool        `json:"audio"`
	Publishing bool        `json:"publishing"`
	Pulishing  bool        `json:"pulishing"`
	May        permits     `json:"permit"`
}

type permits struct {
	Screen     bool `json:"screen"`
	Chat       bool `json:"chat"`
	Whiteboard bool `json:"whiteboard"`
	Draw       bool `json:"draw"`
	Document   bool `json:"document"`
}

func memberOf(m core.Member) member {
	kind := "guest"
	if m.Host {
		kind = "host"
	}
	return member{
		m.User, m.User, cmp.Or(m.Name, anonymous), kind, m.Device, m.Video, m.Audio, m.Publishing, m.Publishing, permits(m.May),
	}
}

// membersOf gives a map, in order of arrival.
func membersOf(members []core.Member) jsontext.Value {
	out := []byte{'{'}
	for i, m := range members {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, protocol.Write(m.User)...), ':'), protocol.Write(memberOf(m))...)
	}
	return append(out, '}')
}

// feedOf is a member and "cam", or for a screen the least that names it.
func feedOf(f core.Feed) any {
	if f.Source == core.Screen {
		return struct {
			ID   core.UserID `json:"id"`
			Type string      `json:"type"`
		}{f.Member.User, "screen"}
	}
	return struct {
		member
		Type string `json:"type"`
	}{memberOf(f.Member), "cam"}
}

type sharing struct {
	Type  core.Content `json:"type"`
	User  core.UserID  `json:"user"`
	Image string       `json:"img,omitzero"`
}

type description struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

// Encode writes an event.
func (c *codec) Encode(e core.Event) [][]byte {
	switch e := e.(type) {
	case core.Reply:
		return c.encodeReply(e)
	case core.MemberJoined:
		return frames(struct {
			presence
			User member `json:"user"`
		}{news("join", e.Room), memberOf(e.Member)})
	case core.MemberLeft:
		return frames(about{presence: news("leave", e.Room), User: e.User})
	case core.MemberEdited:
		return frames(struct {
			presence
			User  core.UserID `json:"user"`
			Name  string      `json:"name"`
			Video bool        `json:"video"`
			Audio bool        `json:"audio"`
		}{news("editUserInfo", e.Room), e.Member.User, cmp.Or(e.Member.Name, anonymous), e.Member.Video, e.Member.Audio})
	case core.FeedsAdded:
		feeds := make([]any, len(e.Feeds))
		for i, f := range e.Feeds {
			feeds[i] = feedOf(f)
		}
		return frames(struct {
			presence
			Feeds []any `json:"feeds"`
		}{news("publish", e.Room), feeds})
	case core.Shared:
		return frames(about{presence: news(string(e.Content), e.Room), User: e.User})
	case core.Shown:
		return frames(about{presence: news("documentShare", e.Room), User: e.User, Image: e.Image})
	case core.Unshared:
		return frames(about{presence: news("shareStop", e.Room), User: e.User, Sender: e.User})
	case core.Said:
		return frames(about{presence: news("chat", e.Room), User: e.From, Message: e.Message})
	case core.Passed:
		return c.encodePassed(e)
	case core.CandidatePassed:
		return [][]byte{relayed(e.Body, e.From)}
	case core.Speaking:
		return frames(struct {
			presence
			User    core.UserID `json:"user"`
			Talking bool        `json:"talking"`
		}{news("talking", e.Room), e.User, e.On})
	case core.Invited:
		return frames(about{presence: news("createGroup", ""), User: e.From, Group: e.Group})
	case core.Kicked:
		return frames(about{presence: news("kickOut", e.Room), User: e.By})
	case core.RoomClosed:
		if c.NotifyDestroy {
			return frames(about{presence: news("destroyRoom", e.Room)})
		}
	case core.Found, core.FeedRemoved: // SDPs hold all candidates; a connection that dies is no presence
	}
	return nil
}

// about is an event about somebody.
type about struct {
	presence
	User    core.UserID `json:"user,omitzero"`
	Sender  core.UserID `json:"sender,omitzero"`
	Group   core.RoomID `json:"groupId,omitzero"`
	Image   string      `json:"img,omitzero"`
	Message core.JSON   `json:"message,omitzero"`
}

func (c *codec) encodePassed(e core.Passed) [][]byte {
	switch e.Topic {
	case core.Signal:
		return [][]byte{relayed(e.Body, e.From)}
	case core.Stroke:
		if c.DrawingAsPresence {
			// The op's own type field makes way for presence's.
			return [][]byte{with(without(e.Body, "eventOp", "type"), about{
				presence: presence{Op: "presence", Type: "drawing"}, User: e.From,
			})}
		}
		return [][]byte{relayed(e.Body, e.From)}
	case core.Notice:
		return frames(about{presence: news("inform", ""), User: e.From, Message: e.Body})
	case core.CanvasAsked:
		return frames(about{presence: news("reqCanvasImage", e.Room), User: e.From, Sender: e.From})
	case core.CanvasShown:
		return frames(struct {
			about
			Image core.JSON `json:"img"`
		}{about{presence: news("updateImage", ""), User: e.From, Sender: e.From}, e.Body})
	}
	return nil
}

// relayed is a client's frame as it goes on to others: under its own op, since its
// type field would collide with presence's.
func relayed(body core.JSON, from core.UserID) []byte {
	return with(body, struct {
		ID   core.UserID `json:"userId"`
		User core.UserID `json:"user"`
	}{from, from})
}

func frames(v ...any) [][]byte {
	out := make([][]byte, len(v))
	for i := range v {
		out[i] = protocol.Write(v[i])
	}
	return out
}

// createdAt is how the document writes a time.
const createdAt = "2006/01/02 15:04:05"
