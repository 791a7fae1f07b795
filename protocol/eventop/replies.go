package eventop

import (
	"github.com/go-json-experiment/json/jsontext"

	"confgate/core"
	"confgate/protocol"
)

// codes are the dialect's words for what can go wrong.
var codes = map[core.Code]string{
	core.Internal:      "500",
	core.Malformed:     "422",
	core.Unknown:       "400",
	core.Missing:       "421",
	core.Invalid:       "422",
	core.Mismatch:      "412",
	core.Unauthorized:  "401",
	core.NotRegistered: "410",
	core.UserOnline:    "409",
	core.TooMany:       "445",
	core.NoSuchRoom:    "441",
	core.RoomExists:    "443",
	core.RoomFull:      "444",
	core.AlreadyJoined: "442",
	core.NotMember:     "413",
	core.NotPermitted:  "413",
	core.WrongMode:     "405",
	core.NoSuchMember:  "410",
	core.NoSuchStream:  "451",
	core.ShareTaken:    "440",
	core.NotSharing:    "412",
	core.MediaFailed:   "570",
	core.Draining:      "543",
}

func (c *codec) encodeReply(r core.Reply) [][]byte {
	h := head{Op: r.Ref.Op, Code: "200", Message: "OK"}
	if r.Ref.ID != "" {
		h.Req = jsontext.Value(r.Ref.ID)
	}
	if r.Err != nil {
		h.Code, h.Message = codes[r.Err.Code], r.Err.Msg
	}
	reply, event := any(h), any(nil)
	switch res := r.Result.(type) {
	case core.Welcome:
		reply = welcome(h, res)
	case core.Opened:
		reply = inRoomReply{head: h, Room: res.Room}
	case core.Joined:
		reply = joined(h, res.State)
	case core.Listed:
		reply = struct {
			head
			Members jsontext.Value `json:"members"`
		}{h, membersOf(res.Members)}
	case core.Answered:
		reply, event = c.answered(h, res)
	case core.Offered:
		reply, event = c.offered(h, res)
	case core.Relayed:
		event = c.subscribed(res)
	case core.Grouped:
		reply = struct {
			head
			Group core.RoomID `json:"groupId"`
		}{h, res.Group}
	case core.Done, core.Edited, nil:
	}
	var out [][]byte
	if h.Req != nil || !c.OnlyWithReqID {
		out = frames(reply)
	}
	if event != nil {
		out = append(out, frames(event)...)
	}
	return out
}

// inRoomReply is a reply with what the media operations add.
type inRoomReply struct {
	head
	Room   core.RoomID  `json:"roomId"`
	Type   core.Source  `json:"type,omitzero"`
	Target core.UserID  `json:"target,omitzero"`
	SDP    *description `json:"sdp,omitzero"`
}

// sdpEvent carries the server's SDP a second time, for clients that wait for it in
// an event. User, userId, displayId and target all name whose stream it is.
type sdpEvent struct {
	Op      string      `json:"eventOp"`
	Room    core.RoomID `json:"roomId"`
	Type    core.Source `json:"type"`
	SDP     description `json:"sdp"`
	Target  core.UserID `json:"target,omitzero"`
	User    core.UserID `json:"user"`
	ID      core.UserID `json:"userId"`
	Display core.UserID `json:"displayId,omitzero"`
	Usage   core.Source `json:"usage,omitzero"`
	Media   string      `json:"useMediaSvr"`
}

func (c *codec) answered(h head, a core.Answered) (reply, event any) {
	answer := description{"answer", a.SDP}
	r := inRoomReply{head: h, Room: a.Room, Type: a.Stream.Source}
	if c.SDPDelivery != InEvent {
		r.SDP = &answer
	}
	if c.SDPDelivery != InReply {
		event = sdpEvent{
			Op: "sdpRoom", Room: a.Room, Type: a.Stream.Source, SDP: answer,
			User: a.Stream.User, ID: a.Stream.User, Media: "Y",
		}
	}
	return r, event
}

func (c *codec) offered(h head, o core.Offered) (reply, event any) {
	offer := description{"offer", o.SDP}
	r := inRoomReply{head: h, Room: o.Room, Type: o.Stream.Source, Target: o.Stream.User}
	if c.SDPDelivery != InEvent {
		r.SDP = &offer
	}
	if c.SDPDelivery != InReply {
		u := o.Stream.User
		event = sdpEvent{
			Op: "sdpRoom", Room: o.Room, Type: o.Stream.Source, SDP: offer,
			Target: u, User: u, ID: u, Display: u, Usage: o.Stream.Source, Media: "Y",
		}
	}
	return r, event
}

// iceServer is an RTCIceServer as browsers take it.
type iceServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username,omitzero"`
	Credential string   `json:"credential,omitzero"`
}

func welcome(h head, w core.Welcome) any {
	servers := make([]iceServer, len(w.ICEServers))
	for i, s := range w.ICEServers {
		servers[i] = iceServer(s)
	}
	return struct {
		head
		User    core.UserID `json:"userId"`
		Servers []iceServer `json:"iceServers"`
	}{h, w.User, servers}
}

func joined(h head, s core.RoomState) any {
	r := struct {
		head
		Room       core.RoomID    `json:"roomId"`
		Title      string         `json:"title"`
		Media      bool           `json:"media"`
		Recording  bool           `json:"isRecording"`
		Talking    bool           `json:"talkingNoty"`
		Created    string         `json:"createdAt"`
		FileServer string         `json:"fileServerUrl"`
		Host       member         `json:"host"`
		Members    jsontext.Value `json:"members"`
		Share      *sharing       `json:"share,omitzero"`
		Groups     []core.RoomID  `json:"group,omitzero"`
	}{
		head: h, Room: s.Room, Title: s.Title, Media: s.Mode == core.SFU, Talking: s.Speaking,
		Created: s.Created.Format(createdAt), Host: memberOf(s.Host), Members: membersOf(s.Members), Groups: s.Groups,
	}
	if s.Sharing != nil {
		r.Share = &sharing{s.Sharing.Content, s.Sharing.User, s.Sharing.Image}
	}
	return r
}

// subscribed tells who answered a peer-to-peer offer that the answer was passed on.
func (c *codec) subscribed(r core.Relayed) any {
	if r.Topic != core.Signal || r.To == "" || c.NoP2PSubscribed {
		return nil
	}
	f, err := protocol.Read[struct {
		SDP  sdp    `json:"sdp"`
		Type source `json:"type"`
	}](r.Body)
	if err != nil || f.SDP.Type != "answer" {
		return nil
	}
	return struct {
		presence
		User core.UserID `json:"user"`
		Cam  bool        `json:"cam"`
	}{news("subscribed", ""), r.To, f.Type.orCam() == core.Cam}
}
