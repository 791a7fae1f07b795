package idv1

import (
	"confgate/core"
	"confgate/protocol"
)

// The frames that clients are sent. Their ids are strings and their booleans are
// booleans, always: a native client decodes them strictly.
type (
	existingParticipants struct {
		ID      string   `json:"id"`
		Members []member `json:"members"`
	}
	newParticipantArrived struct {
		ID     string `json:"id"`
		Member member `json:"member"`
	}
	participantLeft struct {
		ID   string      `json:"id"`
		User core.UserID `json:"userId"`
	}
	receiveVideoAnswer struct {
		ID   string      `json:"id"`
		User core.UserID `json:"userId"`
		SDP  string      `json:"sdpAnswer"`
	}
	iceCandidate struct {
		ID        string      `json:"id"`
		User      core.UserID `json:"userId"`
		Candidate candidate   `json:"candidate"`
	}
	videoStateAnswer struct {
		ID    string      `json:"id"`
		User  core.UserID `json:"userId"`
		Video bool        `json:"video"`
	}
	audioStateAnswer struct {
		ID    string      `json:"id"`
		User  core.UserID `json:"userId"`
		Audio bool        `json:"audio"`
	}
	limitJoinAnswer struct {
		ID   string `json:"id"`
		Room string `json:"roomId"`
	}
)

type member struct {
	User  core.UserID `json:"userId"`
	Video bool        `json:"video"`
	Audio bool        `json:"audio"`
}

func memberOf(m core.Member) member { return member{m.User, m.Video, m.Audio} }

// candidate has all three fields, always.
type candidate struct {
	Line  string `json:"candidate"`
	Mid   string `json:"sdpMid"`
	Index uint16 `json:"sdpMLineIndex"`
}

// Encode writes an event, or nothing: most of what other dialects can do has no
// words here.
func (*codec) Encode(e core.Event) [][]byte {
	switch e := e.(type) {
	case core.Reply:
		return encodeReply(e)
	case core.MemberJoined:
		return frames(newParticipantArrived{"newParticipantArrived", memberOf(e.Member)})
	case core.MemberLeft:
		return frames(participantLeft{"participantLeft", e.User})
	case core.MemberEdited:
		return encodeEdit(e.Member, e.Changed)
	case core.Found:
		if e.Stream.Source != core.Cam {
			return nil
		}
		c := candidate{e.Candidate.Line, e.Candidate.Mid, e.Candidate.Index}
		return frames(iceCandidate{"iceCandidate", e.Stream.User, c})
	case core.FeedsAdded, core.FeedRemoved, core.Shared, core.Shown, core.Unshared, core.Said, core.Passed,
		core.CandidatePassed, core.Speaking, core.Invited, core.Kicked, core.RoomClosed:
	}
	return nil
}

// encodeReply writes a reply where the dialect has one. Of the refusals clients
// know one only.
func encodeReply(r core.Reply) [][]byte {
	if r.Err != nil {
		if r.Err.Code == core.RoomFull {
			return frames(limitJoinAnswer{"limitJoinAnswer", r.Ref.ID})
		}
		return nil
	}
	switch res := r.Result.(type) {
	case core.Joined:
		// The newcomer is the last member, and not told of itself.
		members := make([]member, len(res.State.Members)-1)
		for i := range members {
			members[i] = memberOf(res.State.Members[i])
		}
		return frames(existingParticipants{"existingParticipants", members})
	case core.Answered:
		return frames(receiveVideoAnswer{"receiveVideoAnswer", res.Stream.User, res.SDP})
	case core.Edited:
		return encodeEdit(res.Member, res.Changed)
	case core.Done, core.Welcome, core.Opened, core.Listed, core.Offered, core.Relayed, core.Grouped:
	}
	return nil
}

// encodeEdit writes a state change, for the one who made it as for everyone else.
func encodeEdit(m core.Member, changed core.Changed) (out [][]byte) {
	if changed.Video {
		out = append(out, protocol.Write(videoStateAnswer{"videoStateAnswer", m.User, m.Video}))
	}
	if changed.Audio {
		out = append(out, protocol.Write(audioStateAnswer{"audioStateAnswer", m.User, m.Audio}))
	}
	return out
}

func frames(v any) [][]byte { return [][]byte{protocol.Write(v)} }
