package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/pion/webrtc/v4"
)

// eventopLine is a line in the `eventOp` dialect. It registers, makes the room if
// nobody has, and joins it, each when the gateway has said yes to what was before.
type eventopLine struct {
	carrier
	user     string
	tenant   string
	key      string // the tenant's
	entry    entry
	room     string // set by join
	requests atomic.Uint64
}

func dialEventop(ctx context.Context, web *http.Client, gateway *url.URL, user string) (line, error) {
	s, err := dialSocketIO(ctx, web, gateway.JoinPath("socket.io/"), "knowledgetalk")
	if err != nil {
		return nil, err
	}
	return &eventopLine{carrier: s, user: user, tenant: anybody, key: anybody}, nil
}

// The codes of replies that a bench takes for a yes.
const (
	eventopOK     = "200"
	eventopExists = "443" // the room that was to be made is there
)

// eventopCam is a member's camera and microphone, other than their screen.
const eventopCam = "cam"

// eventopRequest has the fields of all that a bench says.
type eventopRequest struct {
	Op      string `json:"eventOp"`
	Req     string `json:"reqId"`
	User    string `json:"userId"`
	CPCode  string `json:"cpCode,omitempty"`
	AuthKey string `json:"authKey,omitempty"`
	Forced  *bool  `json:"forced,omitempty"`
	Message string `json:"message,omitempty"`

	Room      string                   `json:"roomId,omitempty"`
	Destroy   *bool                    `json:"destroy,omitempty"`
	Type      string                   `json:"type,omitempty"`
	Cam       *bool                    `json:"cam,omitempty"`
	Target    string                   `json:"target,omitempty"`
	Video     *bool                    `json:"video,omitempty"`
	Audio     *bool                    `json:"audio,omitempty"`
	SDP       *eventopSDP              `json:"sdp,omitempty"`
	Candidate *webrtc.ICECandidateInit `json:"candidate,omitempty"`
}

type eventopSDP struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

// eventopMessage is what of the gateway's messages a bench looks at.
type eventopMessage struct {
	Op      string `json:"eventOp"`
	Code    string `json:"code"` // of replies only
	Message string `json:"message"`

	Type    string              `json:"type"`
	Members map[string]struct{} `json:"members"`
	Target  string              `json:"target"`
	SDP     *eventopSDP         `json:"sdp"`
	User    json.RawMessage     `json:"user"` // a member or an id, as type has it
	Feeds   []struct {
		ID   string `json:"id"`
		Type string `json:"type"`
	} `json:"feeds"`
}

func (l *eventopLine) join(ctx context.Context, room string) error {
	l.room = room
	r := eventopRequest{Op: "register", CPCode: l.tenant, AuthKey: l.key}
	if l.entry == displacing {
		r.Forced = new(true)
	}
	return l.say(ctx, r)
}

// offer offers the member's own media. Nobody else's are asked for so: see ask.
func (l *eventopLine) offer(ctx context.Context, of, sdp string) error {
	if of != l.user {
		return fmt.Errorf("offer for the media of %q, which the gateway is to offer", of)
	}
	return l.say(ctx, eventopRequest{Op: "sdpRoom", Room: l.room, Type: eventopCam, SDP: &eventopSDP{"offer", sdp}})
}

func (l *eventopLine) ask(ctx context.Context, of string) error {
	return l.say(ctx, eventopRequest{
		Op: "subscribe", Room: l.room, Type: eventopCam, Target: of, Video: new(true), Audio: new(true),
	})
}

func (l *eventopLine) answer(ctx context.Context, of, sdp string) error {
	return l.say(ctx, eventopRequest{
		Op: "sdpRoom", Room: l.room, Type: eventopCam, Target: of, SDP: &eventopSDP{"answer", sdp},
	})
}

func (l *eventopLine) trickle(ctx context.Context, of string, c webrtc.ICECandidateInit) error {
	r := eventopRequest{Op: "candidate", Room: l.room, Cam: new(true), Candidate: &c}
	if of != l.user {
		r.Target = of
	}
	return l.say(ctx, r)
}

// poke asks who is in the room.
func (l *eventopLine) poke(ctx context.Context) error {
	return l.say(ctx, eventopRequest{Op: "memberList", Room: l.room})
}

func (l *eventopLine) leave(ctx context.Context) error {
	if err := l.say(ctx, eventopRequest{Op: "leaveRoom", Room: l.room}); err != nil {
		l.hangUp()
		return err
	}
	return l.close(ctx)
}

// say sends a request, in the member's name and under a number of its own.
func (l *eventopLine) say(ctx context.Context, r eventopRequest) error {
	r.User, r.Req = l.user, strconv.FormatUint(l.requests.Add(1), 10)
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return l.write(ctx, b)
}

func (l *eventopLine) next(ctx context.Context) (notice, error) {
	for {
		b, err := l.read(ctx)
		if err != nil {
			return nil, err
		}
		var m eventopMessage
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, fmt.Errorf("message %.80q: %w", b, err)
		}
		var n notice
		if m.Code != "" {
			n, err = l.replied(ctx, m)
		} else {
			n, err = m.event()
		}
		if err != nil {
			return nil, fmt.Errorf("message %.80q: %w", b, err)
		}
		if n != nil {
			return n, nil
		}
	}
}

// replied takes the gateway's reply to a request. On the way into the room it makes
// the next one; what needs no more is neither notice nor error.
func (l *eventopLine) replied(ctx context.Context, m eventopMessage) (notice, error) {
	ok := m.Code == eventopOK
	switch m.Op {
	case "register":
		if ok {
			return nil, l.say(ctx, eventopRequest{Op: "createVideoRoom", Room: l.room, Destroy: new(true)})
		}
	case "createVideoRoom":
		if ok || m.Code == eventopExists {
			return nil, l.say(ctx, eventopRequest{Op: "joinRoom", Room: l.room})
		}
	case "joinRoom":
		if ok {
			delete(m.Members, l.user)
			return entered{others: slices.Sorted(maps.Keys(m.Members))}, nil
		}
	default:
		if !ok {
			return nil, fmt.Errorf("%s failed: %s %s", m.Op, m.Code, m.Message)
		}
		return m.granted(l.user)
	}
	return refused{fmt.Sprintf("%s: %s %s", m.Op, m.Code, m.Message)}, nil
}

// granted reads the reply to what was asked for in the room.
func (m eventopMessage) granted(user string) (notice, error) {
	switch m.Op {
	case "sdpRoom":
		if m.SDP == nil {
			return nil, nil // an answer was taken
		}
		if m.SDP.Type != "answer" {
			return nil, fmt.Errorf("offer was answered with %q", m.SDP.Type)
		}
		return answered{user, m.SDP.SDP}, nil
	case "subscribe":
		if m.SDP == nil || m.SDP.Type != "offer" {
			return nil, errors.New("no offer")
		}
		return offered{m.Target, m.SDP.SDP}, nil
	case "memberList":
		return echoed{}, nil
	case "candidate", "leaveRoom":
		return nil, nil
	default:
		return nil, errUnknownMessage
	}
}

// event reads what is no reply. Those that a bench has no use for are neither notice
// nor error.
func (m eventopMessage) event() (notice, error) {
	switch {
	case m.Op == "sdpRoom":
		return nil, nil // the SDP was in the reply
	case m.Op != "presence":
		return nil, errUnknownMessage
	}
	switch m.Type {
	case "join", "editUserInfo":
		return nil, nil // publish follows; somebody's camera is on
	case "publish":
		var n published
		for _, f := range m.Feeds {
			if f.Type == eventopCam {
				n.users = append(n.users, f.ID)
			}
		}
		return n, nil
	case "leave":
		var n departed
		err := json.Unmarshal(m.User, &n.user)
		return n, err
	default:
		return nil, errUnknownMessage
	}
}
