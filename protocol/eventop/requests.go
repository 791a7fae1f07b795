package eventop

import (
	"github.com/go-json-experiment/json/jsontext"

	"confgate/core"
	"confgate/protocol"
)

// anonymous is the name of people who give none.
const anonymous = "익명"

// requests is all that a client can say: one row an operation, in the order of the
// document.
func requests(k Knobs) map[string]protocol.Decoder {
	ops := map[string]protocol.Decoder{
		"register":        protocol.On(register(k)),
		"createRoom":      protocol.On(createRoom(k, core.Mesh)),
		"createVideoRoom": protocol.On(createRoom(k, core.SFU)),
		"destroyRoom":     inRoom(func(r core.RoomID) core.Command { return core.Close{Room: r} }),
		"joinRoom": inRoom(func(r core.RoomID) core.Command {
			return core.Join{Room: r, As: core.Profile{Video: true, Audio: true}, Renews: !k.NoRepublish}
		}),
		"leaveRoom":      inRoom(func(r core.RoomID) core.Command { return core.Leave{Room: r} }),
		"sdpRoom":        protocol.On(sdpRoom),
		"subscribe":      protocol.On(subscribe),
		"sdp":            relaySDP,
		"candidate":      relayCandidate,
		"screen":         share(core.ScreenShare),
		"whiteboard":     share(core.Whiteboard),
		"document":       share(core.Document),
		"documentShare":  protocol.On(documentShare),
		"drawing":        drawing,
		"shareStop":      inRoom(func(r core.RoomID) core.Command { return core.Unshare{Room: r} }),
		"changeName":     protocol.On(changeName),
		"chat":           protocol.On(chat),
		"permit":         protocol.On(permit),
		"editUserInfo":   protocol.On(editUserInfo),
		"memberList":     inRoom(func(r core.RoomID) core.Command { return core.List{Room: r} }),
		"createGroup":    protocol.On(createGroup),
		"endGroup":       protocol.On(endGroup),
		"inform":         protocol.On(inform),
		"kickOut":        protocol.On(kickOut),
		"editRoomInfo":   protocol.On(editRoomInfo),
		"reqCanvasImage": protocol.On(reqCanvasImage),
		"updateImage":    protocol.On(updateImage),
		"KeepAlive":      protocol.On(func(struct{}) (core.Command, error) { return core.Ping{}, nil }),
	}
	return ops
}

// inRoom is the row of an operation that needs a room and nothing else.
func inRoom(to func(core.RoomID) core.Command) protocol.Decoder {
	return protocol.On(func(f struct {
		Room protocol.Text `json:"roomId"`
	}) (core.Command, error) {
		if err := protocol.Need("roomId", f.Room); err != nil {
			return nil, err
		}
		return to(core.RoomID(f.Room)), nil
	})
}

func share(c core.Content) protocol.Decoder {
	return inRoom(func(r core.RoomID) core.Command { return core.Share{Room: r, Content: c} })
}

// registration is what register is given.
type registration struct {
	Tenant protocol.Text `json:"cpCode"`
	Key    protocol.Text `json:"authKey"`
	User   protocol.Text `json:"userId"`
	Name   protocol.Text `json:"name"`
	Device protocol.Text `json:"device"`
	Forced protocol.Flag `json:"forced"`
}

func register(k Knobs) func(registration) (core.Command, error) {
	return func(f registration) (core.Command, error) {
		if err := protocol.Need("cpCode", f.Tenant, "authKey", f.Key); err != nil {
			return nil, err
		}
		online := core.Reclaim
		if f.Forced.Or(false) {
			online = core.Cut
		}
		return core.Hello{Online: online, Grace: k.Grace, Cred: core.Credentials{
			Tenant: string(f.Tenant), Key: string(f.Key), User: core.UserID(f.User), Name: string(f.Name), Device: string(f.Device),
		}}, checkID("userId", f.User)
	}
}

// createRoom is an operation for each mode: the kind of a room is fixed when it is
// made.
func createRoom(k Knobs, mode core.Mode) func(f struct {
	Room     protocol.Text   `json:"roomId"`
	Title    protocol.Text   `json:"title"`
	Capacity protocol.Number `json:"capacity"`
	Destroy  protocol.Flag   `json:"destroy"`
	Talking  protocol.Flag   `json:"talkingNoty"`
}) (core.Command, error) {
	return func(f struct {
		Room     protocol.Text   `json:"roomId"`
		Title    protocol.Text   `json:"title"`
		Capacity protocol.Number `json:"capacity"`
		Destroy  protocol.Flag   `json:"destroy"`
		Talking  protocol.Flag   `json:"talkingNoty"`
	}) (core.Command, error) {
		capacity := f.Capacity.Or(k.Capacity)
		if capacity < 0 {
			return nil, core.Errorf(core.Invalid, "field %q makes no sense", "capacity")
		}
		return core.Open{
			Room: core.RoomID(f.Room), Mode: mode, Title: string(f.Title), Capacity: capacity,
			Keep: !f.Destroy.Or(true), Speaking: mode == core.SFU && f.Talking.Or(false),
			Deny: k.Deny, AnyHost: k.AnyHost,
		}, checkID("roomId", f.Room)
	}
}

func sdpRoom(f struct {
	Room   protocol.Text `json:"roomId"`
	SDP    *sdp          `json:"sdp"`
	Type   source        `json:"type"`
	Target protocol.Text `json:"target"`
}) (core.Command, error) {
	switch {
	case f.Room == "":
		return nil, protocol.Missing("roomId")
	case f.SDP == nil:
		return nil, protocol.Missing("sdp")
	}
	room := core.RoomID(f.Room)
	stream := core.Stream{User: core.UserID(f.Target), Source: f.Type.orCam()}
	switch {
	case f.SDP.SDP == "":
	case f.SDP.Type == "offer":
		return core.Offer{Room: room, Stream: stream, SDP: f.SDP.SDP}, nil
	case f.SDP.Type == "answer":
		return core.Answer{Room: room, Stream: stream, SDP: f.SDP.SDP}, nil
	}
	return nil, core.Errorf(core.Invalid, "field %q is neither offer nor answer", "sdp")
}

func subscribe(f struct {
	Room   protocol.Text `json:"roomId"`
	Target protocol.Text `json:"target"`
	Type   source        `json:"type"`
	Video  protocol.Flag `json:"video"`
	Audio  protocol.Flag `json:"audio"`
}) (core.Command, error) {
	if err := protocol.Need("roomId", f.Room, "target", f.Target); err != nil {
		return nil, err
	}
	return core.Subscribe{
		Room:   core.RoomID(f.Room),
		Stream: core.Stream{User: core.UserID(f.Target), Source: f.Type.orCam()},
		Video:  f.Video.Or(true), Audio: f.Audio.Or(true),
	}, nil
}

// envelope is what the server writes into a relayed frame itself.
var envelope = []string{"reqId", "userId", "user"}

// relaySDP passes the frame on, whatever else is in it.
func relaySDP(frame []byte) (core.Command, error) {
	f, err := protocol.Read[struct {
		Room   protocol.Text `json:"roomId"`
		Target protocol.Text `json:"target"`
		SDP    *sdp          `json:"sdp"`
	}](frame)
	switch {
	case err != nil:
		return nil, err
	case f.SDP == nil:
		return nil, protocol.Missing("sdp")
	case f.SDP.SDP == "":
		return nil, core.Errorf(core.Invalid, "field %q is empty", "sdp")
	}
	return core.Cast{
		Room: core.RoomID(f.Room), To: core.UserID(f.Target), Topic: core.Signal, Body: without(frame, envelope...),
	}, nil
}

// relayCandidate is for the server's connection in an SFU room, and passed on in a
// mesh room. In the former type is not looked at: clients put anything there.
func relayCandidate(frame []byte) (core.Command, error) {
	f, err := protocol.Read[struct {
		Room      protocol.Text `json:"roomId"`
		Target    protocol.Text `json:"target"`
		Cam       source        `json:"cam"`
		Candidate candidate     `json:"candidate"`
	}](frame)
	switch {
	case err != nil:
		return nil, err
	case !f.Candidate.given:
		return nil, protocol.Missing("candidate")
	}
	return core.Trickle{
		Room: core.RoomID(f.Room), To: core.UserID(f.Target),
		Stream:    core.Stream{User: core.UserID(f.Target), Source: f.Cam.orCam()},
		Candidate: f.Candidate.Candidate, Body: without(frame, envelope...),
	}, nil
}

func documentShare(f struct {
	Room  protocol.Text `json:"roomId"`
	Image protocol.Text `json:"img"`
}) (core.Command, error) {
	if err := protocol.Need("roomId", f.Room, "img", f.Image); err != nil {
		return nil, err
	}
	return core.Show{Room: core.RoomID(f.Room), Image: string(f.Image)}, nil
}

// drawing passes the frame on, whatever else is in it.
func drawing(frame []byte) (core.Command, error) {
	f, err := protocol.Read[struct {
		Room protocol.Text `json:"roomId"`
	}](frame)
	switch {
	case err != nil:
		return nil, err
	case f.Room == "":
		return nil, protocol.Missing("roomId")
	}
	return core.Cast{Room: core.RoomID(f.Room), Topic: core.Stroke, Body: without(frame, envelope...)}, nil
}

// changeName is as good as editUserInfo, in all the rooms one is in. Its document
// has no field for the name.
func changeName(f struct {
	Room protocol.Text `json:"roomId"`
	Name protocol.Text `json:"name"`
}) (core.Command, error) {
	if f.Name == "" {
		return core.Ping{}, nil
	}
	return core.Edit{Room: core.RoomID(f.Room), Name: new(string(f.Name))}, nil
}

func chat(f struct {
	Room    protocol.Text  `json:"roomId"`
	Target  protocol.Text  `json:"target"`
	Message jsontext.Value `json:"message"`
}) (core.Command, error) {
	switch {
	case f.Message == nil || f.Message.Kind() == jsontext.KindNull:
		return nil, protocol.Missing("message")
	case f.Room == "" && f.Target == "":
		return nil, protocol.Missing("roomId")
	}
	return core.Say{Room: core.RoomID(f.Room), To: core.UserID(f.Target), Message: core.JSON(f.Message)}, nil
}

func permit(f struct {
	Room       protocol.Text `json:"roomId"`
	Target     protocol.Text `json:"target"`
	Chat       protocol.Flag `json:"chat"`
	Draw       protocol.Flag `json:"draw"`
	Screen     protocol.Flag `json:"screen"`
	Whiteboard protocol.Flag `json:"whiteboard"`
	Document   protocol.Flag `json:"document"`
}) (core.Command, error) {
	c := core.Permit{
		Room: core.RoomID(f.Room), User: core.UserID(f.Target),
		Chat: f.Chat.Ptr(), Draw: f.Draw.Ptr(), Screen: f.Screen.Ptr(), Whiteboard: f.Whiteboard.Ptr(), Document: f.Document.Ptr(),
	}
	switch {
	case f.Room == "":
		return nil, protocol.Missing("roomId")
	case f.Target == "":
		return nil, protocol.Missing("target")
	case c == core.Permit{Room: c.Room, User: c.User}:
		return nil, protocol.Missing("chat")
	}
	return c, nil
}

func editUserInfo(f struct {
	Room      protocol.Text  `json:"roomId"`
	Target    protocol.Text  `json:"target"`
	Name      *protocol.Text `json:"name"`
	Video     protocol.Flag  `json:"video"`
	Audio     protocol.Flag  `json:"audio"`
	Broadcast protocol.Flag  `json:"broadcast"`
}) (core.Command, error) {
	c := core.Edit{
		Room: core.RoomID(f.Room), To: core.UserID(f.Target), Quiet: !f.Broadcast.Or(true),
		Name: (*string)(f.Name), Video: f.Video.Ptr(), Audio: f.Audio.Ptr(),
	}
	switch {
	case f.Room == "":
		return nil, protocol.Missing("roomId")
	case c.Name == nil && c.Video == nil && c.Audio == nil:
		return nil, protocol.Missing("name")
	}
	return c, nil
}

func createGroup(f struct {
	Room  protocol.Text `json:"roomId"`
	List  users         `json:"list"`
	Title protocol.Text `json:"title"`
}) (core.Command, error) {
	if err := protocol.Need("roomId", f.Room); err != nil {
		return nil, err
	}
	return core.Group{Room: core.RoomID(f.Room), Users: f.List, Title: string(f.Title)}, nil
}

func endGroup(f struct {
	Room  protocol.Text `json:"roomId"`
	Group protocol.Text `json:"groupId"`
}) (core.Command, error) {
	if err := protocol.Need("roomId", f.Room, "groupId", f.Group); err != nil {
		return nil, err
	}
	return core.Ungroup{Room: core.RoomID(f.Room), Group: core.RoomID(f.Group)}, nil
}

func inform(f struct {
	Room    protocol.Text  `json:"roomId"`
	Target  protocol.Text  `json:"target"`
	Message jsontext.Value `json:"message"`
}) (core.Command, error) {
	switch {
	case f.Message == nil:
		return nil, protocol.Missing("message")
	case f.Room == "" && f.Target == "":
		return nil, protocol.Missing("roomId")
	}
	c := core.Cast{Room: core.RoomID(f.Room), To: core.UserID(f.Target), Topic: core.Notice, Body: core.JSON(f.Message)}
	if c.To != "" {
		c.Room = "" // a target hears it wherever they are
	}
	return c, nil
}

func kickOut(f struct {
	Room   protocol.Text `json:"roomId"`
	Target protocol.Text `json:"target"`
}) (core.Command, error) {
	if err := protocol.Need("target", f.Target); err != nil {
		return nil, err
	}
	return core.Kick{Room: core.RoomID(f.Room), User: core.UserID(f.Target)}, nil
}

func editRoomInfo(f struct {
	Room     protocol.Text   `json:"roomId"`
	Title    *protocol.Text  `json:"title"`
	Capacity protocol.Number `json:"capacity"`
	Host     protocol.Text   `json:"host"`
}) (core.Command, error) {
	c := core.Arrange{Room: core.RoomID(f.Room), Title: (*string)(f.Title), Capacity: f.Capacity.Ptr()}
	if f.Host != "" {
		c.Host = new(core.UserID(f.Host))
	}
	switch {
	case f.Room == "":
		return nil, protocol.Missing("roomId")
	case c == core.Arrange{Room: c.Room}:
		return nil, protocol.Missing("title")
	case c.Capacity != nil && *c.Capacity < 0:
		return nil, core.Errorf(core.Invalid, "field %q makes no sense", "capacity")
	}
	return c, nil
}

func reqCanvasImage(f struct {
	Room   protocol.Text `json:"roomId"`
	Target protocol.Text `json:"target"`
}) (core.Command, error) {
	if err := protocol.Need("target", f.Target); err != nil {
		return nil, err
	}
	return core.Cast{Room: core.RoomID(f.Room), To: core.UserID(f.Target), Topic: core.CanvasAsked}, nil
}

func updateImage(f struct {
	Target protocol.Text  `json:"target"`
	Image  jsontext.Value `json:"img"`
}) (core.Command, error) {
	switch {
	case f.Target == "":
		return nil, protocol.Missing("target")
	case f.Image == nil:
		return nil, protocol.Missing("img")
	}
	return core.Cast{To: core.UserID(f.Target), Topic: core.CanvasShown, Body: core.JSON(f.Image)}, nil
}
