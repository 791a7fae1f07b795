package bench

import (
	"context"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// link is one connection to the gateway: a peer or a receiver.
type link interface {
	// offer hands the client's offer to send.
	offer(ctx context.Context, send func(ctx context.Context, sdp string) error) error
	// answer takes the gateway's answer to it.
	answer(sdp string) error
	// accept takes the gateway's offer and hands the answer to send.
	accept(ctx context.Context, sdp string, send func(ctx context.Context, sdp string) error) error
	// candidate takes one of the gateway's candidates.
	candidate(c webrtc.ICECandidateInit) error
	// control sends RTCP. A packet that cannot be sent is as good as lost on the way.
	control(packets ...rtcp.Packet)
	// close ends the connection; nothing is told of it afterwards.
	close()
}

// upshot is what a link tells its owner, from goroutines of its own.
type upshot struct {
	connected   func()      // once, when it is up
	interrupted func()      // each time that nothing was heard of the gateway for a while
	failed      func(error) // it will not be up any more
	found       func(webrtc.ICECandidateInit)
	packet      func([]byte)        // each RTP packet, one at a time; not to be kept
	control     func([]rtcp.Packet) // each RTCP packet; nil: they are dropped
}
