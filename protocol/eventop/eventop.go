// Package eventop is the dialect whose frames carry an "eventOp": requests with a
// reqId, replies with a code, and presence events, described in docs/eventop.md. It
// keeps out what rooms decide; here are only its words.
package eventop

import (
	"cmp"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"confgate/core"
	"confgate/protocol"
)

// Knobs choose among readings of what the dialect's documents leave open. The zero
// value is the most compatible of each.
type Knobs struct {
	// SDPDelivery says where the server's SDP travels.
	SDPDelivery SDPDelivery
	// OnlyWithReqID leaves requests without a reqId without a reply.
	OnlyWithReqID bool
	// DrawingAsPresence gives relayed strokes the eventOp "presence".
	DrawingAsPresence bool
	// NoP2PSubscribed leaves out the event that tells who answered a peer-to-peer
	// offer that the answer was passed on.
	NoP2PSubscribed bool
	// NotifyDestroy tells members when their room is destroyed under them.
	NotifyDestroy bool
	// NoRepublish says that clients do not publish anew when their connection fails.
	// They then send the one codec that everybody has.
	NoRepublish bool
	// AnyHost lets every member do what is the host's.
	AnyHost bool
	// Capacity is the most members of a room that was made without saying; 0: as
	// the house is configured.
	Capacity int
	// Grace is for how many seconds the seats of a client whose connection was lost
	// are kept.
	Grace int
	// MaxMessage is the longest message a client may send, in bytes; 0: 10 MiB,
	// since canvases travel as data URLs.
	MaxMessage int
	// Deny is what members may not do until the host permits it.
	Deny core.Permits
}

// SDPDelivery is a way for the server's SDP to travel.
type SDPDelivery string

// The ways there are.
const (
	InBoth  SDPDelivery = "both" // in the reply and in an event right after it; so is none
	InReply SDPDelivery = "reply"
	InEvent SDPDelivery = "event"
)

// New makes the dialect.
func New(k Knobs) protocol.Dialect {
	return protocol.Dialect{
		Name: "eventop", Codec: &codec{Knobs: k, requests: requests(k)}, MaxFrame: cmp.Or(k.MaxMessage, 10<<20),
	}
}

// codec implements protocol.Codec. It is read only once made.
type codec struct {
	Knobs
	requests map[string]protocol.Decoder
}

// Decode reads one of the requests. What a registered client gets wrong is a
// command too, since whether one may ask at all is answered first.
func (c *codec) Decode(frame []byte) (core.Command, core.Ref, error) {
	if err := protocol.Check(frame); err != nil {
		return nil, core.Ref{Op: "error"}, err
	}
	head, err := protocol.Read[struct {
		Op   string         `json:"eventOp"`
		Req  jsontext.Value `json:"reqId"` // echoed with its own type
		User protocol.Text  `json:"userId"`
		Code jsontext.Value `json:"code"`
	}](frame)
	if err != nil {
		return nil, core.Ref{Op: "error"}, err
	}
	ref := core.Ref{Op: head.Op, ID: string(head.Req)}
	decode := c.requests[head.Op]
	switch {
	case head.Code != nil:
		return nil, ref, nil // older clients acknowledge so
	case decode == nil && head.Req == nil:
		return nil, ref, nil // nobody waits for a reply
	case decode == nil:
		return nil, ref, core.Errorf(core.Unknown, "unknown eventOp")
	}
	cmd, err := decode(frame)
	if head.Op == "register" { // its userId is who the client would like to be
		return cmd, ref, err
	}
	ref.As = core.UserID(head.User)
	if err != nil {
		bad := core.AsError(err)
		return core.Bad{Code: bad.Code, Msg: bad.Msg}, ref, nil
	}
	return cmd, ref, nil
}

// idChars are what client-chosen ids are made of.
const idChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

// checkID refuses an id that a client may not choose. None is fine.
func checkID(field string, id protocol.Text) error {
	if len(id) > 64 || strings.Trim(string(id), idChars) != "" {
		return core.Errorf(core.Invalid, "field %q is not an id", field)
	}
	return nil
}
