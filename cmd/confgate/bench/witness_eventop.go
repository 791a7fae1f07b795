package bench

import (
	"encoding/json"
	"slices"
)

// opTongue knows the promises of the `eventOp` dialect.
type opTongue struct {
	*roll
	waiting map[string]string // requests' operations, by number
	inTurn  []string          // numbers of those that are answered in order
}

// opWords is what of the gateway's messages counts.
type opWords struct {
	Op      string              `json:"eventOp"`
	Req     string              `json:"reqId"`
	Code    string              `json:"code"`
	Type    string              `json:"type"`
	Room    string              `json:"roomId"`
	User    json.RawMessage     `json:"user"`
	UserID  string              `json:"userId"`
	Target  string              `json:"target"`
	Message json.RawMessage     `json:"message"`
	Members map[string]struct{} `json:"members"`
	Feeds   []struct {
		ID string `json:"id"`
	} `json:"feeds"`
}

// mediaAnswers are the operations that wait for the media plane, and so may be answered
// after what was asked later. What their replies may say besides a yes is that somebody
// has left meanwhile, or had their connection replaced.
var mediaAnswers = map[string][]string{
	"sdpRoom":   {"410", "413", "441", "451", "570"},
	"subscribe": {"410", "413", "441", "451", "570"},
	"candidate": {"410", "413", "441"},
}

// toMember are the replies that members' clients look at.
var toMember = []string{"register", "createVideoRoom", "joinRoom", "leaveRoom", "memberList", "sdpRoom", "subscribe", "candidate"}

func (t *opTongue) said(message []byte) {
	var m struct {
		Op  string `json:"eventOp"`
		Req string `json:"reqId"`
	}
	if json.Unmarshal(message, &m) != nil || m.Req == "" {
		return // malformed on purpose
	}
	t.account.requests.Add(1)
	t.waiting[m.Req] = m.Op
	if mediaAnswers[m.Op] == nil {
		t.inTurn = append(t.inTurn, m.Req)
	}
}

func (t *opTongue) heard(message []byte) bool {
	t.account.heard.Add(1)
	var m opWords
	if err := json.Unmarshal(message, &m); err != nil {
		t.complain("%.80q: %v", message, err)
		return false
	}
	if m.Code != "" {
		return t.replied(m)
	}
	if m.Room != "" && m.Room != t.room {
		t.complain("%.80q, which is another room's", message)
	}
	switch m.Op {
	case "sdpRoom": // the SDP was in the reply
		if m.Target != "" {
			t.aboutOther(m.Op, m.Target)
		}
		return false
	case "drawing":
		t.aboutOther(m.Op, m.UserID)
		return false
	case "presence":
		return t.presence(m)
	default:
		t.complain("%.80q, which no client knows", message)
		return false
	}
}

// replied takes a reply: one a request, and in order but where media take their time.
func (t *opTongue) replied(m opWords) bool {
	op, asked := t.waiting[m.Req]
	if !asked || op != m.Op {
		t.complain("a reply to %s %q (%s), which it does not wait for", m.Op, m.Req, m.Code)
		return false
	}
	delete(t.waiting, m.Req)
	t.account.replies.Add(1)
	if mediaAnswers[op] == nil {
		if t.inTurn[0] != m.Req {
			t.complain("a reply to %s %q before that to %q", m.Op, m.Req, t.inTurn[0])
		}
		t.inTurn = slices.DeleteFunc(t.inTurn, func(req string) bool { return req == m.Req })
	}
	var all []string
	for user := range m.Members {
		all = append(all, user)
	}
	switch {
	case op == "joinRoom" && m.Code == eventopOK:
		t.enter(slices.DeleteFunc(all, func(user string) bool { return user == t.self }))
	case op == "memberList" && m.Code == eventopOK:
		t.listed(all)
	}
	return slices.Contains(toMember, op) && !slices.Contains(mediaAnswers[op], m.Code)
}

func (t *opTongue) presence(m opWords) bool {
	switch m.Type {
	case "join":
		var who struct{ ID string }
		if err := json.Unmarshal(m.User, &who); err != nil {
			t.complain("of somebody who came, %.80q: %v", m.User, err)
		}
		t.came(who.ID)
	case "publish":
		for _, f := range m.Feeds {
			t.aboutOther(m.Type, f.ID)
		}
	case "leave":
		t.left(t.user(m))
	case "editUserInfo":
		t.about(m.Type, t.user(m))
	case "chat":
		var text string
		if err := json.Unmarshal(m.Message, &text); err != nil {
			t.complain("%.80q: %v", m.Message, err)
		}
		t.chatted(t.user(m), text)
		return false
	case "whiteboard", "screen", "document", "documentShare", "shareStop", "inform":
		t.aboutOther(m.Type, t.user(m))
		return false
	default:
		t.complain("the presence %q, which no client knows", m.Type)
		return false
	}
	return true
}

func (t *opTongue) user(m opWords) (id string) {
	if err := json.Unmarshal(m.User, &id); err != nil {
		t.complain("%s of %.80q: %v", m.Type, m.User, err)
	}
	return id
}

func (t *opTongue) owed() int { return len(t.waiting) }
