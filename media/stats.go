package media

import (
	"sync/atomic"

	"confgate/core"
)

// Stats are a plane's counters since it was made, and its gauges as they are now.
type Stats struct {
	Uplinks, Downlinks LegStats

	Received, Forwarded Traffic

	// Lost counts publishers' packets that were missed and did not come when they
	// were asked for again.
	Lost uint64
	// Retransmitted counts packets sent again to subscribers who reported them lost.
	Retransmitted uint64
	// KeyframeRequests counts the PLIs sent to publishers.
	KeyframeRequests uint64
}

// LegStats counts the legs of one direction.
type LegStats struct {
	Connecting, Connected int
	// Failed counts the legs that died by themselves since the plane was made.
	Failed uint64
}

// Traffic counts RTP packets and their bytes, headers included.
type Traffic struct{ Packets, Bytes uint64 }

// counters are what Stats is made of. They are indexed by direction.
type counters struct {
	connecting, connected [2]atomic.Int64
	failed                [2]atomic.Uint64

	received, receivedBytes   atomic.Uint64
	forwarded, forwardedBytes atomic.Uint64

	lost, retransmitted, keyframes atomic.Uint64
}

const (
	uplink   = 0
	downlink = 1
)

func direction(l core.Leg) int {
	if l.Up() {
		return uplink
	}
	return downlink
}

// Stats is a snapshot. Its fields are read one by one, so they may be a packet
// apart from each other.
func (p *Plane) Stats() Stats {
	c := &p.stats
	legs := func(dir int) LegStats {
		return LegStats{
			Connecting: int(c.connecting[dir].Load()),
			Connected:  int(c.connected[dir].Load()),
			Failed:     c.failed[dir].Load(),
		}
	}
	return Stats{
		Uplinks:          legs(uplink),
		Downlinks:        legs(downlink),
		Received:         Traffic{c.received.Load(), c.receivedBytes.Load()},
		Forwarded:        Traffic{c.forwarded.Load(), c.forwardedBytes.Load()},
		Lost:             c.lost.Load(),
		Retransmitted:    c.retransmitted.Load(),
		KeyframeRequests: c.keyframes.Load(),
	}
}
