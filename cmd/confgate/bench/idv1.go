package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/pion/webrtc/v4"
)

// idLine is a line in the `id` dialect, over SockJS as its web clients have it.
type idLine struct {
	carrier
	user, token string
}

func dialID(ctx context.Context, web *http.Client, gateway *url.URL, user string) (line, error) {
	s, err := dialSockJS(ctx, web, gateway.JoinPath("rtc"))
	if err != nil {
		return nil, err
	}
	return &idLine{s, user, anybody}, nil
}

// idMember is a member of the room in what the gateway says.
type idMember struct {
	UserID string `json:"userId"`
}

type idCandidate struct {
	Candidate     string  `json:"candidate"`
	SDPMid        *string `json:"sdpMid"`
	SDPMLineIndex *uint16 `json:"sdpMLineIndex"`
	Ufrag         *string `json:"usernameFragment,omitempty"`
}

func (l *idLine) join(ctx context.Context, room string) error {
	return l.say(ctx, struct {
		ID          string `json:"id"`
		Token       string `json:"token"`
		UserID      string `json:"userId"`
		CommunityID string `json:"communityId"`
		RoomID      string `json:"roomId"`
		Video       bool   `json:"video"`
		Audio       bool   `json:"audio"`
	}{"joinRoom", l.token, l.user, "1", room, true, true})
}

func (l *idLine) offer(ctx context.Context, of, sdp string) error {
	return l.say(ctx, struct {
		ID       string `json:"id"`
		UserID   string `json:"userId"`
		SDPOffer string `json:"sdpOffer"`
	}{"receiveVideoFrom", of, sdp})
}

func (l *idLine) trickle(ctx context.Context, of string, c webrtc.ICECandidateInit) error {
	return l.say(ctx, struct {
		ID        string      `json:"id"`
		UserID    string      `json:"userId"`
		Candidate idCandidate `json:"candidate"`
	}{"onIceCandidate", of, idCandidate{c.Candidate, c.SDPMid, c.SDPMLineIndex, c.UsernameFragment}})
}

// poke says that the camera is on, which everybody in the room is told.
func (l *idLine) poke(ctx context.Context) error {
	return l.state(ctx, true)
}

// state says whether the camera is on.
func (l *idLine) state(ctx context.Context, on bool) error {
	return l.say(ctx, struct {
		ID     string `json:"id"`
		UserID string `json:"userId"`
		Video  bool   `json:"video"`
	}{"videoStateFrom", l.user, on})
}

func (l *idLine) leave(ctx context.Context) error {
	err := l.say(ctx, struct {
		ID string `json:"id"`
	}{"leaveRoom"})
	if err != nil {
		l.hangUp()
		return err
	}
	return l.close(ctx)
}

func (l *idLine) say(ctx context.Context, message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return l.write(ctx, b)
}

func (l *idLine) next(ctx context.Context) (notice, error) {
	for {
		b, err := l.read(ctx)
		if err != nil {
			return nil, err
		}
		if n, err := l.parse(b); n != nil || err != nil {
			return n, err
		}
	}
}

// parse reads one message; those that a bench has no use for are neither notice nor
// error. What the dialect's clients would throw on is an error.
func (l *idLine) parse(b []byte) (notice, error) {
	var m struct {
		ID        string       `json:"id"`
		UserID    string       `json:"userId"`
		Members   []idMember   `json:"members"`
		Member    idMember     `json:"member"`
		SDPAnswer string       `json:"sdpAnswer"`
		Candidate *idCandidate `json:"candidate"`
		RoomID    string       `json:"roomId"`
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("message %.80q: %w", b, err)
	}
	switch m.ID {
	case "existingParticipants":
		n := entered{}
		for _, other := range m.Members {
			n.others = append(n.others, other.UserID)
		}
		n.ready = n.others // whoever is there can be asked for, whether they send yet or not
		return n, nil
	case "limitJoinAnswer":
		return refused{why: "room is full"}, nil
	case "newParticipantArrived":
		return published{[]string{m.Member.UserID}}, nil
	case "participantLeft":
		return departed{m.UserID}, nil
	case "receiveVideoAnswer":
		return answered{m.UserID, m.SDPAnswer}, nil
	case "iceCandidate":
		if m.Candidate == nil {
			return nil, fmt.Errorf("iceCandidate without a candidate: %.80q", b)
		}
		return found{m.UserID, webrtc.ICECandidateInit{
			Candidate: m.Candidate.Candidate, SDPMid: m.Candidate.SDPMid, SDPMLineIndex: m.Candidate.SDPMLineIndex,
		}}, nil
	case "videoStateAnswer":
		if m.UserID == l.user {
			return echoed{}, nil
		}
		return nil, nil
	case "audioStateAnswer":
		return nil, nil
	default:
		return nil, fmt.Errorf("%w %.80q", errUnknownMessage, b)
	}
}
