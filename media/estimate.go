package media

import (
	"math"

	"github.com/pion/rtcp"
)

// estimate is what a publisher is told that it may send (REMB,
// draft-alvestrand-rmcat-remb), when its own congestion control has nothing better to
// go by: by how much of what it sends is lost, up slowly and down fast, as the part
// of Google's congestion control that goes by loss (draft-ietf-rmcat-gcc-02 section 6).
type estimate struct {
	rate float64 // bit/s; 0 before the first judgement
}

const (
	firstEstimate = 1e6 // bit/s
	leastEstimate = 64e3
	mostEstimate  = 5e6

	lossToRise = 0.02 // a share of packets; less than that lets the rate rise
	lossToFall = 0.1
	estimateUp = 1.08 // a second
	// A publisher that sends less than it may shows nothing of what its link bears:
	// it may send so much more than it does.
	estimateLead = 1.5
)

// judge takes the share of packets that were lost and the rate that came, in bit/s, of
// the second that has passed.
func (e *estimate) judge(loss float64, came int) {
	if e.rate == 0 {
		e.rate = firstEstimate
	}
	switch {
	case came == 0: // which tells nothing
	case loss > lossToFall:
		e.rate *= 1 - loss/2
	case loss < lossToRise:
		e.rate = max(e.rate, min(e.rate*estimateUp, max(firstEstimate, float64(came)*estimateLead)))
	}
	e.rate = math.Round(min(max(e.rate, leastEstimate), mostEstimate))
}

// packet is what the publisher gets to read.
func (e *estimate) packet(sender uint32, of []*source) rtcp.Packet {
	p := &rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: sender, Bitrate: float32(e.rate)}
	for _, s := range of {
		p.SSRCs = append(p.SSRCs, s.ssrc)
	}
	return p
}
