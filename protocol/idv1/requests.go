package idv1

import (
	"confgate/core"
	"confgate/protocol"
)

// requests is all that a client can say: one row an id.
//
// Ids come as strings or numbers, booleans in many spellings, and a missing
// boolean is false.
func requests(k Knobs) map[string]protocol.Decoder {
	return map[string]protocol.Decoder{
		"joinRoom": protocol.On(func(f struct {
			Token     string        `json:"token"`
			User      protocol.Text `json:"userId"`
			Community protocol.Text `json:"communityId"`
			Room      protocol.Text `json:"roomId"`
			Video     protocol.Flag `json:"video"`
			Audio     protocol.Flag `json:"audio"`
		}) (core.Command, error) {
			if err := protocol.Need("userId", f.User, "roomId", f.Room); err != nil {
				return nil, err
			}
			return core.Join{
				Room:   core.RoomID(f.Room),
				As:     core.Profile{Community: string(f.Community), Video: f.Video.Or(false), Audio: f.Audio.Or(false)},
				Cred:   &core.Credentials{User: core.UserID(f.User), Token: f.Token},
				Online: core.Displace, // the same user again: the old session leaves first
				Grace:  k.Grace,
				Make:   &core.Open{Mode: core.SFU, Capacity: k.RoomLimit},
				Alone:  true, // a second room: it leaves the first
				Renews: k.Republish,
				Untold: true, // a client would go on with pictures that stand still
			}, nil
		}),
		"receiveVideoFrom": protocol.On(func(f struct {
			User protocol.Text `json:"userId"`
			SDP  string        `json:"sdpOffer"`
		}) (core.Command, error) {
			if err := protocol.Need("userId", f.User, "sdpOffer", protocol.Text(f.SDP)); err != nil {
				return nil, err
			}
			return core.Offer{Stream: cam(f.User), SDP: f.SDP}, nil
		}),
		"onIceCandidate": protocol.On(func(f struct {
			User      protocol.Text `json:"userId"`
			Candidate *struct {
				Line  string          `json:"candidate"`
				Mid   protocol.Text   `json:"sdpMid"`
				Index protocol.Number `json:"sdpMLineIndex"`
				Ufrag protocol.Text   `json:"usernameFragment"`
			} `json:"candidate"`
		}) (core.Command, error) {
			switch {
			case f.User == "":
				return nil, protocol.Missing("userId")
			case f.Candidate == nil:
				return nil, nil // the end of candidates, which nobody waits for
			}
			c := f.Candidate
			return core.Trickle{Stream: cam(f.User), Candidate: core.Candidate{
				Line: c.Line, Mid: string(c.Mid), Index: uint16(c.Index.Or(0)), Ufrag: string(c.Ufrag),
			}}, nil
		}),
		"leaveRoom": protocol.On(func(struct{}) (core.Command, error) {
			return core.Leave{}, nil
		}),
		// The userId of these two does not count: a mobile client sends an empty one,
		// and nobody may speak for another.
		"videoStateFrom": protocol.On(func(f struct {
			Video protocol.Flag `json:"video"`
		}) (core.Command, error) {
			return core.Edit{Video: new(f.Video.Or(false))}, nil
		}),
		"audioStateFrom": protocol.On(func(f struct {
			Audio protocol.Flag `json:"audio"`
		}) (core.Command, error) {
			return core.Edit{Audio: new(f.Audio.Or(false))}, nil
		}),
	}
}

// cam is the only stream of a user that this dialect has words for.
func cam(u protocol.Text) core.Stream {
	return core.Stream{User: core.UserID(u), Source: core.Cam}
}
