package bench

import "encoding/json"

// idTongue knows the promises of the `id` dialect.
type idTongue struct {
	*roll
	offers map[string]int // that wait for an answer, by whose media they ask for
	late   map[string]int // that waited when whom they ask for left
	video  []bool         // states that the member told, in order, and has not heard of yet
	audio  []bool
}

// idWords is what of both sides' messages counts.
type idWords struct {
	ID      string     `json:"id"`
	UserID  string     `json:"userId"`
	Video   bool       `json:"video"`
	Audio   bool       `json:"audio"`
	Member  idMember   `json:"member"`
	Members []idMember `json:"members"`
}

func (t *idTongue) said(message []byte) {
	var m idWords
	if json.Unmarshal(message, &m) != nil {
		return // malformed on purpose
	}
	switch m.ID {
	case "receiveVideoFrom":
		t.offers[m.UserID]++
	case "videoStateFrom":
		t.video = append(t.video, m.Video)
	case "audioStateFrom":
		t.audio = append(t.audio, m.Audio)
	default:
		return
	}
	t.account.requests.Add(1)
}

func (t *idTongue) heard(message []byte) bool {
	t.account.heard.Add(1)
	var m idWords
	if err := json.Unmarshal(message, &m); err != nil {
		t.complain("%.80q: %v", message, err)
		return false
	}
	switch m.ID {
	case "existingParticipants":
		var others []string
		for _, one := range m.Members {
			others = append(others, one.UserID)
		}
		t.enter(others)
	case "newParticipantArrived":
		t.came(m.Member.UserID)
	case "participantLeft":
		t.left(m.UserID)
		// Nobody can expect an answer any more; but who comes back before an offer was
		// seen is asked by it, and the answer to it names no request.
		t.late[m.UserID] += t.offers[m.UserID]
		delete(t.offers, m.UserID)
	case "receiveVideoAnswer":
		t.about(m.ID, m.UserID)
		if t.late[m.UserID] > 0 && t.offers[m.UserID] == 0 {
			t.late[m.UserID]--
			break
		}
		if t.offers[m.UserID] == 0 {
			t.complain("an answer about %s to no offer", m.UserID)
			break
		}
		t.offers[m.UserID]--
		t.account.replies.Add(1)
	case "iceCandidate":
		t.about(m.ID, m.UserID)
	case "videoStateAnswer":
		t.state(&t.video, m.ID, m.UserID, m.Video)
	case "audioStateAnswer":
		t.state(&t.audio, m.ID, m.UserID, m.Audio)
		return false
	default:
		t.complain("%.80q, which no client knows", message)
		return false
	}
	return true
}

// state takes somebody's state; one's own comes back in the order in which it was told.
func (t *idTongue) state(sent *[]bool, what, user string, on bool) {
	if user != t.self {
		t.aboutOther(what, user)
		return
	}
	if len(*sent) == 0 || (*sent)[0] != on {
		t.complain("its own %s, %t, out of turn: it waits for %v", what, on, *sent)
		return
	}
	*sent = (*sent)[1:]
	t.account.replies.Add(1)
}

func (t *idTongue) owed() int {
	n := len(t.video) + len(t.audio)
	for _, offers := range t.offers {
		n += offers
	}
	return n
}
