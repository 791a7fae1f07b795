// Package idv1 is the dialect whose frames carry an "id": Kurento group-call style
// JSON, described in docs/idv1.md. It keeps out what its clients cannot be told:
// errors are silent here, since clients throw on a message that they do not know.
package idv1

import (
	"confgate/core"
	"confgate/protocol"
)

// New makes the dialect. A room made by one of its clients holds at most roomLimit
// members; 0: as many as the house allows.
func New(roomLimit int) protocol.Dialect { return With(Knobs{RoomLimit: roomLimit}) }

// Knobs say what the dialect's clients are like, and what is meant by what they say.
type Knobs struct {
	RoomLimit int // as for New
	// Grace is for how many seconds the seat of a client whose connection was lost is
	// kept.
	Grace int
	// Republish says that clients publish anew when their connection fails. Those that
	// do not must never need to: they send the one codec that everybody has.
	Republish bool
}

// With makes the dialect with knobs.
func With(k Knobs) protocol.Dialect {
	return protocol.Dialect{Name: "id", Codec: &codec{requests: requests(k)}}
}

// codec implements protocol.Codec. It is read only once made.
type codec struct{ requests map[string]protocol.Decoder }

// Decode reads one of the requests. The Ref keeps the room of a joinRoom, for the
// one refusal that clients are told of.
func (c *codec) Decode(frame []byte) (core.Command, core.Ref, error) {
	if err := protocol.Check(frame); err != nil {
		return nil, core.Ref{}, err
	}
	head, err := protocol.Read[struct {
		ID   string        `json:"id"`
		Room protocol.Text `json:"roomId"`
	}](frame)
	if err != nil {
		return nil, core.Ref{}, err
	}
	ref := core.Ref{Op: head.ID, ID: string(head.Room)}
	decode := c.requests[head.ID]
	if decode == nil {
		return nil, ref, core.Errorf(core.Unknown, "unknown id %q", head.ID)
	}
	cmd, err := decode(frame)
	return cmd, ref, err
}
